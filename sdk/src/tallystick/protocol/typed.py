"""EIP-712 digests of what accounts and certificate keys sign, exactly as the contracts compute them.

The domain is name ``Tallystick <ContractName>``, version ``1``, the chain id and the contract's address, so that a
signature holds on one chain, for one contract, for one kind of message. Source: EIP-712, "Definition of
domainSeparator".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tallystick.ethereum import abi_encode, keccak
from tallystick.protocol.errors import MalformedDocument

DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
ENROLMENT_TYPE = (
    "Enrolment(address account,bytes32 fingerprint,bytes32 subjectX,bytes32 subjectY,uint16 roles,uint40 notBefore,uint40 notAfter)"
)
POSSESSION_TYPE = "Possession(address account,bytes32 fingerprint)"
GRANT_TYPE = (
    "Grant(bytes32 dataset,address grantee,bytes32 terms,uint32 uses,uint64 epsilonMicros,"
    "uint40 notBefore,uint40 notAfter,bytes32 salt)"
)
PARTY_TYPE = "Party(address account,bytes32 dataset,bytes32 grant,uint64 epsilonMicros,uint32 uses)"
PROPOSAL_TYPE = (
    "Proposal(address requester,bytes32 spec,Party[] parties,bytes4 proofKind,uint40 acceptBy,uint32 runSeconds,"
    "uint8 attempts,bytes32 salt)" + PARTY_TYPE
)
ACCEPTANCE_TYPE = "Acceptance(bytes32 task,bytes32 spec,uint8 attempt)"
RESULT_TYPE = "Result(bytes32 task,uint8 attempt,bytes32 statement,bytes32 inputs,bytes32 output,bytes4 proofKind)"


@dataclass(frozen=True)
class Domain:
    """The EIP-712 domain of one deployed contract. ``contract`` is its name without the ``Tallystick`` prefix."""

    contract: str
    chain_id: int
    address: str

    def separator(self) -> bytes:
        """The domain separator."""
        return struct_hash(
            DOMAIN_TYPE,
            ("bytes32", "bytes32", "uint256", "address"),
            (keccak(f"Tallystick {self.contract}".encode()), keccak(b"1"), self.chain_id, self.address),
        )

    def digest(self, struct: bytes) -> bytes:
        """What is signed for a struct with this hash: keccak256(0x19 0x01 || separator || struct)."""
        return keccak(b"\x19\x01" + self.separator() + struct)


@dataclass(frozen=True)
class Enrolment:
    """What a consortium authority certifies about one account (``Types.sol``).

    Times in seconds since 1970, inclusive.
    """

    account: str
    fingerprint: bytes
    subject_x: bytes
    subject_y: bytes
    roles: int
    not_before: int
    not_after: int

    def as_tuple(self) -> tuple[Any, ...]:
        """The struct in ABI order."""
        return (
            self.account, self.fingerprint, self.subject_x, self.subject_y, self.roles, self.not_before, self.not_after
        )  # fmt: skip

    def hash(self) -> bytes:
        """The EIP-712 struct hash."""
        kinds = ("address", "bytes32", "bytes32", "bytes32", "uint16", "uint40", "uint40")
        return struct_hash(ENROLMENT_TYPE, kinds, self.as_tuple())


@dataclass(frozen=True)
class Result:
    """What every party signs about a result (``Types.sol``)."""

    task: bytes
    attempt: int
    statement: bytes
    inputs: bytes
    output: bytes
    proof_kind: bytes

    def as_tuple(self) -> tuple[Any, ...]:
        """The struct in ABI order."""
        return (self.task, self.attempt, self.statement, self.inputs, self.output, self.proof_kind)

    def hash(self) -> bytes:
        """The EIP-712 struct hash: ``Proof.digest`` on chain."""
        kinds = ("bytes32", "uint8", "bytes32", "bytes32", "bytes32", "bytes4")
        return struct_hash(RESULT_TYPE, kinds, self.as_tuple())


def struct_hash(kind: str, types: Sequence[str], values: Sequence[Any]) -> bytes:
    """keccak256(typeHash || abi.encode(values)); dynamic members are hashed by the caller and given as ``bytes32``.

    Raises :class:`MalformedDocument` when a value does not fit its type.
    """
    try:
        return keccak(keccak(kind.encode()) + abi_encode(list(types), list(values)))
    except (TypeError, ValueError) as error:
        raise MalformedDocument(f"{kind.partition('(')[0]}: {error}") from None


def proof_kind(name: str) -> bytes:
    """The four bytes that name a proof kind on chain: the first four of keccak256(name)."""
    return keccak(name.encode())[:4]


def enrolment_digest(domain: Domain, enrolment: Enrolment) -> bytes:
    """What the authority's P-256 key signs; domain of ParticipantRegistry."""
    return domain.digest(enrolment.hash())


def possession_digest(domain: Domain, account: str, fingerprint: bytes) -> bytes:
    """What the certificate's own P-256 key signs; domain of ParticipantRegistry."""
    return domain.digest(struct_hash(POSSESSION_TYPE, ("address", "bytes32"), (account, fingerprint)))


def grant_digest(domain: Domain, grant_hash: bytes) -> bytes:
    """What the dataset's owner signs, for a grant with this id; domain of GrantLedger."""
    return domain.digest(grant_hash)


def acceptance_digest(domain: Domain, task: bytes, spec: bytes, attempt: int) -> bytes:
    """What a party signs to accept one attempt of a task; domain of TaskLedger."""
    return domain.digest(struct_hash(ACCEPTANCE_TYPE, ("bytes32", "bytes32", "uint8"), (task, spec, attempt)))


def result_digest(domain: Domain, result: Result) -> bytes:
    """What a party signs about a result; domain of ProofRegistry."""
    return domain.digest(result.hash())
