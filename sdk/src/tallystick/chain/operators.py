"""Who signs for whom, as the registry of participants says (docs/spec/identity.md).

Trusted: the chain's endpoint. Everything that counts in the end is checked by the contracts again.
"""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.chain.connection import Chain, Receipt
from tallystick.protocol.operators import Scope, authorisation_digest, scope_names
from tallystick.protocol.signature import recover


@dataclass(frozen=True)
class Operator:
    """What an operator may do for a participant until ``not_after`` (seconds since 1970); no scopes when it was revoked."""

    operator: str
    scopes: tuple[str, ...]
    not_after: int
    nonce: int


def signs_for(chain: Chain, account: str, scope: Scope, digest: bytes, signature: bytes) -> bool:
    """Whether an account signed a digest, itself or by an operator that may do so now. Asks the chain only where the account's own
    key did not sign. Raises ChainUnreachable."""
    signer = recover(digest, signature)
    return signer == account or (signer is not None and chain.participants.acts_for(signer, account, int(scope)))


def signers_of(chain: Chain, account: str, scope: Scope) -> tuple[str, ...]:
    """Every key that may sign for an account now: its own, and its operators' of this scope."""
    operators = chain.participants.operators_of(account)
    return (account, *(each for each in operators if chain.participants.acts_for(each, account, int(scope))))


def ever_allowed(chain: Chain, account: str, scope: Scope) -> frozenset[str]:
    """The operators that an account ever let do something."""
    asked = chain.participants.operators_of(account)
    return frozenset(each for each in asked if chain.participants.operator_at(account, each)["everScopes"] & scope)


def operators_of(chain: Chain, account: str) -> list[Operator]:
    """Every operator that an account ever had, with what it may do now."""
    found = []
    for each in chain.participants.operators_of(account):
        held = chain.participants.operator_at(account, each)
        found.append(Operator(each, scope_names(held["scopes"]), held["notAfter"], held["nonce"]))
    return found


def authorise(chain: Chain, operator: str, scopes: Scope, not_after: int) -> Receipt:
    """Say what an operator may do for the own account from now on; nothing, at once, without scopes."""
    return chain.participants.authorise(operator, int(scopes), not_after)


def sign_authorisation(chain: Chain, operator: str, scopes: Scope, not_after: int) -> bytes:
    """The own account's signature that lets anybody relay the same, once and while nothing else was said of this operator."""
    account = chain.own().address
    nonce = chain.participants.operator_at(account, operator)["nonce"]
    domain = chain.domain("ParticipantRegistry")
    return chain.own().sign_digest(authorisation_digest(domain, account, operator, int(scopes), not_after, nonce))
