"""How an owner takes back what a grant still allows: revocation and narrowing, by transaction or by signature.

Neither needs a nonce: both only lower what is allowed, so that relaying one again changes nothing. Extending is granting anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tallystick.protocol import typed

NARROWING_TYPE = "Narrowing(bytes32 grant,uint32 uses,uint64 epsilonMicros,uint40 notAfter)"
REVOCATION_TYPE = "Revocation(bytes32 grant)"


@dataclass(frozen=True)
class Narrowing:
    """Lower limits for a grant (``Terms.sol``): uses and epsilon in all, those spent included; the end in seconds since 1970."""

    grant: bytes
    uses: int
    epsilon_micros: int
    not_after: int

    def as_tuple(self) -> tuple[Any, ...]:
        """The struct in ABI order."""
        return (self.grant, self.uses, self.epsilon_micros, self.not_after)

    def hash(self) -> bytes:
        """The EIP-712 struct hash."""
        return typed.struct_hash(NARROWING_TYPE, ("bytes32", "uint32", "uint64", "uint40"), self.as_tuple())


def narrowing_digest(domain: typed.Domain, narrowing: Narrowing) -> bytes:
    """What the dataset's owner signs to narrow a grant; domain of GrantLedger."""
    return domain.digest(narrowing.hash())


def revocation_digest(domain: typed.Domain, grant: bytes) -> bytes:
    """What the dataset's owner signs to revoke a grant, issued or not; domain of GrantLedger."""
    return domain.digest(typed.struct_hash(REVOCATION_TYPE, ("bytes32",), (grant,)))
