"""The contracts as classes: what they answer, and what they carry out. Generated from the artefacts by ``generate.py``.

A reading method takes the block to read at. A writing method tries, sends and waits, as :meth:`Chain.send` does. Structs go in
as the objects of :mod:`tallystick.protocol` (whatever has ``as_tuple``) and come out as typed dictionaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, cast

if TYPE_CHECKING:
    from tallystick.chain.connection import Block, Chain, Receipt


class Struct(Protocol):
    """A struct that a contract takes."""

    def as_tuple(self) -> tuple[Any, ...]:
        """Its members in the order of the interface."""


class AuthorityFacts(TypedDict):
    """What `IParticipantRegistry.Authority` holds."""

    x: bytes
    y: bytes
    notBefore: int
    notAfter: int
    retired: bool


class ParticipantFacts(TypedDict):
    """What `IParticipantRegistry.Participant` holds."""

    fingerprint: bytes
    roles: int
    notBefore: int
    notAfter: int
    authority: int
    status: int


class ParticipantRegistry:
    """`ParticipantRegistry` at the address of a connection's deployment."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def accept_ownership(self) -> Receipt:
        """`acceptOwnership()`."""
        return self._chain.send("ParticipantRegistry", "acceptOwnership")

    def add_authority(self, x: bytes, y: bytes, not_before: int, not_after: int) -> Receipt:
        """Accepts a consortium authority's P-256 key. Governor only."""
        return self._chain.send("ParticipantRegistry", "addAuthority", x, y, not_before, not_after)

    def authority_at(self, authority: int, *, block: Block = "latest") -> AuthorityFacts:
        """`authorityAt(uint32)`."""
        return cast("AuthorityFacts", self._chain.call("ParticipantRegistry", "authorityAt", authority, block=block))

    def enrol(
        self,
        authority: int,
        enrolment: Struct | tuple[Any, ...],
        by_authority: Struct | tuple[Any, ...],
        by_subject: Struct | tuple[Any, ...],
    ) -> Receipt:
        """Enrols the caller, or rotates its certificate. Needs the authority's signature over the enrolment and the subject
        key's signature over Possession(address account,bytes32 fingerprint). Certificates succeed one another: a rotation's
        `notBefore` is later than its predecessor's, so an old enrolment cannot be replayed. A suspended or revoked account
        cannot enrol."""
        return self._chain.send(
            "ParticipantRegistry", "enrol", authority, _plain(enrolment), _plain(by_authority), _plain(by_subject)
        )

    def enrolment_digest(self, enrolment: Struct | tuple[Any, ...], *, block: Block = "latest") -> bytes:
        """The EIP-712 digests to sign, as this contract computes them."""
        return cast("bytes", self._chain.call("ParticipantRegistry", "enrolmentDigest", _plain(enrolment), block=block))

    def governor(self, *, block: Block = "latest") -> str:
        """`governor()`."""
        return cast("str", self._chain.call("ParticipantRegistry", "governor", block=block))

    def owner(self, *, block: Block = "latest") -> str:
        """`owner()`."""
        return cast("str", self._chain.call("ParticipantRegistry", "owner", block=block))

    def participant(self, account: str, *, block: Block = "latest") -> ParticipantFacts:
        """`participant(address)`."""
        return cast("ParticipantFacts", self._chain.call("ParticipantRegistry", "participant", account, block=block))

    def pending_owner(self, *, block: Block = "latest") -> str:
        """`pendingOwner()`."""
        return cast("str", self._chain.call("ParticipantRegistry", "pendingOwner", block=block))

    def possession_digest(self, account: str, fingerprint: bytes, *, block: Block = "latest") -> bytes:
        """`possessionDigest(address,bytes32)`."""
        return cast("bytes", self._chain.call("ParticipantRegistry", "possessionDigest", account, fingerprint, block=block))

    def reinstate(self, account: str) -> Receipt:
        """Lifts a suspension. Governor only."""
        return self._chain.send("ParticipantRegistry", "reinstate", account)

    def renounce_ownership(self) -> Receipt:
        """`renounceOwnership()`."""
        return self._chain.send("ParticipantRegistry", "renounceOwnership")

    def require_active(self, account: str, role: int, *, block: Block = "latest") -> None:
        """Reverts unless `account` is active now, inside its validity and its authority's, and holds every bit of `role`."""
        self._chain.call("ParticipantRegistry", "requireActive", account, role, block=block)

    def require_active_in_any(self, account: str, roles: int, *, block: Block = "latest") -> None:
        """Reverts unless `account` is active now, inside its validity and its authority's, and holds a bit of `roles`."""
        self._chain.call("ParticipantRegistry", "requireActiveInAny", account, roles, block=block)

    def retire_authority(self, authority: int) -> Receipt:
        """Ends an authority: nobody it certified is active any longer. Governor only."""
        return self._chain.send("ParticipantRegistry", "retireAuthority", authority)

    def revoke(self, account: str, reason: bytes) -> Receipt:
        """Revokes for good. The governor, or the participant itself."""
        return self._chain.send("ParticipantRegistry", "revoke", account, reason)

    def suspend(self, account: str, reason: bytes) -> Receipt:
        """Suspends an active participant. Governor only. `reason` is a digest of the grounds."""
        return self._chain.send("ParticipantRegistry", "suspend", account, reason)

    def transfer_ownership(self, new_owner: str) -> Receipt:
        """`transferOwnership(address)`."""
        return self._chain.send("ParticipantRegistry", "transferOwnership", new_owner)


class DatasetFacts(TypedDict):
    """What `IDatasetRegistry.Dataset` holds."""

    owner: str
    version: int
    withdrawn: bool
    descriptor: bytes
    rows: bytes


class DatasetRegistry:
    """`DatasetRegistry` at the address of a connection's deployment."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def dataset_at(self, dataset: bytes, *, block: Block = "latest") -> DatasetFacts:
        """`datasetAt(bytes32)`."""
        return cast("DatasetFacts", self._chain.call("DatasetRegistry", "datasetAt", dataset, block=block))

    def participants(self, *, block: Block = "latest") -> str:
        """`participants()`."""
        return cast("str", self._chain.call("DatasetRegistry", "participants", block=block))

    def publish(self, descriptor: bytes, rows: bytes, schema: bytes) -> Receipt:
        """Publishes a dataset; the caller, a data provider, owns it. Its id is keccak256(abi.encode(owner, descriptor))."""
        return self._chain.send("DatasetRegistry", "publish", descriptor, rows, schema)

    def require_usable(self, dataset: bytes, *, block: Block = "latest") -> str:
        """The owner of a dataset that is in use; reverts when unknown or withdrawn."""
        return cast("str", self._chain.call("DatasetRegistry", "requireUsable", dataset, block=block))

    def revise(self, dataset: bytes, descriptor: bytes, rows: bytes, schema: bytes) -> Receipt:
        """Replaces the commitments by those of a new version. Owner only."""
        return self._chain.send("DatasetRegistry", "revise", dataset, descriptor, rows, schema)

    def withdraw(self, dataset: bytes) -> Receipt:
        """Ends all use of a dataset, for good. Owner only; allowed also when suspended, so that an owner can always
        withdraw."""
        return self._chain.send("DatasetRegistry", "withdraw", dataset)


class AccountFacts(TypedDict):
    """What `IGrantLedger.Account` holds."""

    grantee: str
    uses: int
    used: int
    revoked: bool
    binding: bytes
    notBefore: int
    notAfter: int
    epsilonMicros: int
    spentMicros: int


class GrantLedger:
    """`GrantLedger` at the address of a connection's deployment."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def account_of(self, grant: bytes, *, block: Block = "latest") -> AccountFacts:
        """`accountOf(bytes32)`."""
        return cast("AccountFacts", self._chain.call("GrantLedger", "accountOf", grant, block=block))

    def datasets(self, *, block: Block = "latest") -> str:
        """`datasets()`."""
        return cast("str", self._chain.call("GrantLedger", "datasets", block=block))

    def grant_digest(self, grant: Struct | tuple[Any, ...], *, block: Block = "latest") -> bytes:
        """`grantDigest((bytes32,address,bytes32,uint32,uint64,uint40,uint40,bytes32))`."""
        return cast("bytes", self._chain.call("GrantLedger", "grantDigest", _plain(grant), block=block))

    def grant_id(self, grant: Struct | tuple[Any, ...], *, block: Block = "latest") -> bytes:
        """`grantId((bytes32,address,bytes32,uint32,uint64,uint40,uint40,bytes32))`."""
        return cast("bytes", self._chain.call("GrantLedger", "grantId", _plain(grant), block=block))

    def issue(self, grant: Struct | tuple[Any, ...], signature: bytes) -> Receipt:
        """Records a grant signed (EIP-712; EOA or EIP-1271) by the active owner of its dataset. Anyone may relay it."""
        return self._chain.send("GrantLedger", "issue", _plain(grant), signature)

    def participants(self, *, block: Block = "latest") -> str:
        """`participants()`."""
        return cast("str", self._chain.call("GrantLedger", "participants", block=block))

    def revoke(self, grant: Struct | tuple[Any, ...]) -> Receipt:
        """Ends a grant at once. The dataset's owner only; allowed also when suspended."""
        return self._chain.send("GrantLedger", "revoke", _plain(grant))

    def tasks(self, *, block: Block = "latest") -> str:
        """`tasks()`."""
        return cast("str", self._chain.call("GrantLedger", "tasks", block=block))


class TaskFacts(TypedDict):
    """What `ITaskLedger.Task` holds."""

    state: int
    attempt: int
    accepted: int
    startedAt: int
    runBy: int


class TaskLedger:
    """`TaskLedger` at the address of a connection's deployment."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def accept(
        self,
        proposal: Struct | tuple[Any, ...],
        attempt: int,
        indices: Sequence[int],
        signatures: Sequence[bytes],
        terms: Sequence[bytes],
    ) -> Receipt:
        """Records signed acceptances, each the EIP-712 signature of a party over Acceptance(bytes32 task,bytes32 spec,uint8
        attempt). Anyone may relay one or several. The one that completes the set debits every grant and starts the attempt: all
        of it or nothing."""
        return self._chain.send("TaskLedger", "accept", _plain(proposal), attempt, indices, signatures, terms)

    def acceptance_digest(self, task: bytes, spec: bytes, attempt: int, *, block: Block = "latest") -> bytes:
        """`acceptanceDigest(bytes32,bytes32,uint8)`."""
        return cast("bytes", self._chain.call("TaskLedger", "acceptanceDigest", task, spec, attempt, block=block))

    def cancel(self, proposal: Struct | tuple[Any, ...]) -> Receipt:
        """Withdraws a proposal that has not started. Requester only."""
        return self._chain.send("TaskLedger", "cancel", _plain(proposal))

    def datasets(self, *, block: Block = "latest") -> str:
        """`datasets()`."""
        return cast("str", self._chain.call("TaskLedger", "datasets", block=block))

    def expire(self, proposal: Struct | tuple[Any, ...]) -> Receipt:
        """Closes a task whose deadline has passed. Anyone."""
        return self._chain.send("TaskLedger", "expire", _plain(proposal))

    def fail(self, proposal: Struct | tuple[Any, ...], attempt: int, accused: str, reason: int, evidence: bytes) -> Receipt:
        """Ends a running attempt with a reason code and a digest of the evidence. A party only."""
        return self._chain.send("TaskLedger", "fail", _plain(proposal), attempt, accused, reason, evidence)

    def grants(self, *, block: Block = "latest") -> str:
        """`grants()`."""
        return cast("str", self._chain.call("TaskLedger", "grants", block=block))

    def participants(self, *, block: Block = "latest") -> str:
        """`participants()`."""
        return cast("str", self._chain.call("TaskLedger", "participants", block=block))

    def proofs(self, *, block: Block = "latest") -> str:
        """`proofs()`."""
        return cast("str", self._chain.call("TaskLedger", "proofs", block=block))

    def propose(self, proposal: Struct | tuple[Any, ...]) -> Receipt:
        """Proposes a task. The requester itself, active with role REQUESTER. Every party with a dataset must own it."""
        return self._chain.send("TaskLedger", "propose", _plain(proposal))

    def task_at(self, task: bytes, *, block: Block = "latest") -> TaskFacts:
        """`taskAt(bytes32)`."""
        return cast("TaskFacts", self._chain.call("TaskLedger", "taskAt", task, block=block))

    def task_id(self, proposal: Struct | tuple[Any, ...], *, block: Block = "latest") -> bytes:
        """`taskId((address,bytes32,(address,bytes32,bytes32,uint64)[],bytes4,uint40,uint32,uint8,bytes32))`."""
        return cast("bytes", self._chain.call("TaskLedger", "taskId", _plain(proposal), block=block))


class ProofFacts(TypedDict):
    """What `IProofRegistry.Proof` holds."""

    kind: bytes
    attempt: int
    provedAt: int
    digest: bytes


class ProofRegistry:
    """`ProofRegistry` at the address of a connection's deployment."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def add_verifier(self, verifier: str) -> Receipt:
        """Adds a verifier under its own kind. Governor only; a kind is never replaced."""
        return self._chain.send("ProofRegistry", "addVerifier", verifier)

    def participants(self, *, block: Block = "latest") -> str:
        """`participants()`."""
        return cast("str", self._chain.call("ProofRegistry", "participants", block=block))

    def proof_of(self, task: bytes, *, block: Block = "latest") -> ProofFacts:
        """`proofOf(bytes32)`."""
        return cast("ProofFacts", self._chain.call("ProofRegistry", "proofOf", task, block=block))

    def result_digest(self, result: Struct | tuple[Any, ...], *, block: Block = "latest") -> bytes:
        """`resultDigest((bytes32,uint8,bytes32,bytes32,bytes32,bytes4))`."""
        return cast("bytes", self._chain.call("ProofRegistry", "resultDigest", _plain(result), block=block))

    def submit(
        self, proposal: Struct | tuple[Any, ...], result: Struct | tuple[Any, ...], signatures: Sequence[bytes], proof: bytes
    ) -> Receipt:
        """Verifies a result and closes its task. A party of the task, or any relayer: the signatures decide."""
        return self._chain.send("ProofRegistry", "submit", _plain(proposal), _plain(result), signatures, proof)

    def tasks(self, *, block: Block = "latest") -> str:
        """`tasks()`."""
        return cast("str", self._chain.call("ProofRegistry", "tasks", block=block))

    def verifier_of(self, kind: bytes, *, block: Block = "latest") -> str:
        """`verifierOf(bytes4)`."""
        return cast("str", self._chain.call("ProofRegistry", "verifierOf", kind, block=block))


class HeadFacts(TypedDict):
    """What `IAuditLog.Head` holds."""

    root: bytes
    size: int
    anchoredAt: int


class AuditLog:
    """`AuditLog` at the address of a connection's deployment."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def anchor(self, root: bytes, size: int) -> Receipt:
        """Anchors the head of the caller's log. The caller is active in some role; the size only grows."""
        return self._chain.send("AuditLog", "anchor", root, size)

    def head_of(self, account: str, *, block: Block = "latest") -> HeadFacts:
        """`headOf(address)`."""
        return cast("HeadFacts", self._chain.call("AuditLog", "headOf", account, block=block))

    def participants(self, *, block: Block = "latest") -> str:
        """`participants()`."""
        return cast("str", self._chain.call("AuditLog", "participants", block=block))


def _plain(value: Struct | tuple[Any, ...]) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else value.as_tuple()
