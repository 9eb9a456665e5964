"""Keys that act for a participant in what its node does by itself (`IOperators.sol`, docs/spec/identity.md).

A participant authorises an operator by a transaction or by a signature that anyone relays once. The operator then signs and
calls in the participant's name, in its scopes and until its expiry; it never grants, publishes, proposes, challenges, claims or
authorises.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag

from tallystick.protocol import typed
from tallystick.protocol.errors import MalformedDocument

AUTHORISATION_TYPE = "Authorisation(address account,address operator,uint16 scopes,uint40 notAfter,uint32 nonce)"


class Scope(IntFlag):
    """What an operator may do (``Scopes`` in ``Types.sol``)."""

    ACCEPT = 1
    SIGN = 2
    REPORT = 4
    STAKE = 8


NODE = Scope.ACCEPT | Scope.SIGN | Scope.REPORT
"""What a node needs. With STAKE it also undertakes agreements, with its own key's coins."""


def scopes_named(names: Iterable[str]) -> Scope:
    """The scopes with these names, in lower case. Raises MalformedDocument."""
    found = Scope(0)
    for name in names:
        if name.upper() not in Scope.__members__:
            known = ", ".join(scope_names(Scope.ACCEPT | Scope.SIGN | Scope.REPORT | Scope.STAKE))
            raise MalformedDocument("not a scope of operators", party=name[:40], remedy=f"one of {known}")
        found |= Scope[name.upper()]
    return found


def scope_names(scopes: int) -> tuple[str, ...]:
    """The names of scopes, in lower case."""
    return tuple(str(each.name).lower() for each in Scope if scopes & each)


def authorisation_digest(domain: typed.Domain, account: str, operator: str, scopes: int, not_after: int, nonce: int) -> bytes:
    """What a participant signs to say what an operator may do; domain of ParticipantRegistry. ``nonce``: as the registry has it."""
    kinds = ("address", "address", "uint16", "uint40", "uint32")
    return domain.digest(typed.struct_hash(AUTHORISATION_TYPE, kinds, (account, operator, scopes, not_after, nonce)))
