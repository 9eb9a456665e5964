# ruff: noqa: FBT001 - the interfaces say where a truth value stands
"""The contracts as classes: what they answer, and what they carry out. Generated from the artefacts by ``generate.py``.

A reading method takes the block to read at. A writing method tries, sends and waits, as :meth:`Chain.send` does. Structs go in
as the objects of :mod:`tallystick.protocol` (whatever has ``as_tuple``) and come out as typed dictionaries. ``value`` is what is
paid in the chain's own coin, in wei.
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


class MotionFacts(TypedDict):
    """What `IParticipantRegistry.Motion` holds."""

    regulator: str
    effectiveAt: int
    reason: bytes


class OperatorFacts(TypedDict):
    """What `IOperators.Operator` holds."""

    scopes: int
    everScopes: int
    notAfter: int
    nonce: int
    signsUntil: int


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

    def acts_for(self, operator: str, account: str, scope: int, *, block: Block = "latest") -> bool:
        """Whether `operator` may act for `account` now, in every bit of `scope`. An operator of a participant that is not
        active, or outside its validity, acts for nobody."""
        return cast("bool", self._chain.call("ParticipantRegistry", "actsFor", operator, account, scope, block=block))

    def add_authority(self, x: bytes, y: bytes, not_before: int, not_after: int) -> Receipt:
        """Accepts a consortium authority's P-256 key. Governor only."""
        return self._chain.send("ParticipantRegistry", "addAuthority", x, y, not_before, not_after)

    def authorisation_digest(
        self, account: str, operator: str, scopes: int, not_after: int, nonce: int, *, block: Block = "latest"
    ) -> bytes:
        """`authorisationDigest(address,address,uint16,uint40,uint32)`."""
        return cast(
            "bytes",
            self._chain.call(
                "ParticipantRegistry", "authorisationDigest", account, operator, scopes, not_after, nonce, block=block
            ),
        )

    def authorise(self, operator: str, scopes: int, not_after: int) -> Receipt:
        """Says what an operator may do for the caller, in the place of what was said before. With scopes zero nothing, at once:
        also what was signed and not relayed yet is void then. An active participant only; any account takes back. A key serves
        the participant that authorised it first and no other: else whoever authorised it unasked would be meant by what it
        calls."""
        return self._chain.send("ParticipantRegistry", "authorise", operator, scopes, not_after)

    def authorise_signed(self, account: str, operator: str, scopes: int, not_after: int, signature: bytes) -> Receipt:
        """The same, signed by the participant (EIP-712; EOA or EIP-1271): Authorisation(address account,address operator,uint16
        scopes,uint40 notAfter,uint32 nonce). Anyone may relay it, once."""
        return self._chain.send("ParticipantRegistry", "authoriseSigned", account, operator, scopes, not_after, signature)

    def authority_at(self, authority: int, *, block: Block = "latest") -> AuthorityFacts:
        """`authorityAt(uint32)`."""
        return cast("AuthorityFacts", self._chain.call("ParticipantRegistry", "authorityAt", authority, block=block))

    def carry_suspension(self, account: str) -> Receipt:
        """Carries out a motion that is due, for two weeks. Anyone, while the regulator that moved it is still active as one."""
        return self._chain.send("ParticipantRegistry", "carrySuspension", account)

    def certificate_revocation_digest(self, account: str, fingerprint: bytes, reason: bytes, *, block: Block = "latest") -> bytes:
        """`certificateRevocationDigest(address,bytes32,bytes32)`."""
        return cast(
            "bytes",
            self._chain.call("ParticipantRegistry", "certificateRevocationDigest", account, fingerprint, reason, block=block),
        )

    def certificate_revoked(self, authority: int, fingerprint: bytes, *, block: Block = "latest") -> bool:
        """`certificateRevoked(uint32,bytes32)`."""
        return cast("bool", self._chain.call("ParticipantRegistry", "certificateRevoked", authority, fingerprint, block=block))

    def could_sign(self, operator: str, account: str, since: int, *, block: Block = "latest") -> bool:
        """Whether `operator` could sign for `account` (scope SIGN) at a time from `since` on, be it revoked or expired
        meanwhile: what it signed then binds the participant."""
        return cast("bool", self._chain.call("ParticipantRegistry", "couldSign", operator, account, since, block=block))

    def drop_suspension(self, account: str, reason: bytes) -> Receipt:
        """Drops a motion. The governor, or the regulator that moved it."""
        return self._chain.send("ParticipantRegistry", "dropSuspension", account, reason)

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

    def motion_against(self, account: str, *, block: Block = "latest") -> MotionFacts:
        """`motionAgainst(address)`."""
        return cast("MotionFacts", self._chain.call("ParticipantRegistry", "motionAgainst", account, block=block))

    def move_suspension(self, account: str, reason: bytes) -> Receipt:
        """Moves to suspend an active participant, with a digest of the grounds, for everybody to see. A regulator only. It
        takes effect after two days when somebody carries it out; until then the governor may drop it, or the regulator
        itself."""
        return self._chain.send("ParticipantRegistry", "moveSuspension", account, reason)

    def operator_at(self, account: str, operator: str, *, block: Block = "latest") -> OperatorFacts:
        """`operatorAt(address,address)`."""
        return cast("OperatorFacts", self._chain.call("ParticipantRegistry", "operatorAt", account, operator, block=block))

    def operators_of(self, account: str, *, block: Block = "latest") -> Sequence[str]:
        """Every operator that a participant ever had, in the order of their first authorisations."""
        return cast("Sequence[str]", self._chain.call("ParticipantRegistry", "operatorsOf", account, block=block))

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

    def resign(self, account: str) -> Receipt:
        """The calling operator acts no more for a participant: for a key that may be stolen, and without the participant's
        own."""
        return self._chain.send("ParticipantRegistry", "resign", account)

    def retire_authority(self, authority: int) -> Receipt:
        """Ends an authority: nobody it certified is active any longer. Governor only."""
        return self._chain.send("ParticipantRegistry", "retireAuthority", authority)

    def revoke(self, account: str, reason: bytes) -> Receipt:
        """Revokes for good. The governor, or the participant itself."""
        return self._chain.send("ParticipantRegistry", "revoke", account, reason)

    def revoke_certificate(
        self, authority: int, account: str, fingerprint: bytes, reason: bytes, by_authority: Struct | tuple[Any, ...]
    ) -> Receipt:
        """Puts a certificate on the authority's revocation list, by the authority's signature (P-256, EIP-712):
        CertificateRevocation(address account,bytes32 fingerprint,bytes32 reason). Anyone may relay it; a retired authority may
        still revoke. The certificate cannot enrol afterwards, and if the account is enrolled with it, it is revoked for
        good."""
        return self._chain.send(
            "ParticipantRegistry", "revokeCertificate", authority, account, fingerprint, reason, _plain(by_authority)
        )

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

    def narrow(self, grant: Struct | tuple[Any, ...], narrowing: Struct | tuple[Any, ...], signature: bytes) -> Receipt:
        """Lowers what a grant still allows: uses, privacy budget, end of validity. None of them can be raised; what was used
        stays used. The owner itself, or anyone with its signature (EIP-712; EOA or EIP-1271) of the narrowing. A narrowing that
        is relayed twice changes nothing the second time, so it needs no nonce."""
        return self._chain.send("GrantLedger", "narrow", _plain(grant), _plain(narrowing), signature)

    def narrowing_digest(self, narrowing: Struct | tuple[Any, ...], *, block: Block = "latest") -> bytes:
        """`narrowingDigest((bytes32,uint32,uint64,uint40))`."""
        return cast("bytes", self._chain.call("GrantLedger", "narrowingDigest", _plain(narrowing), block=block))

    def participants(self, *, block: Block = "latest") -> str:
        """`participants()`."""
        return cast("str", self._chain.call("GrantLedger", "participants", block=block))

    def revocation_digest(self, grant: bytes, *, block: Block = "latest") -> bytes:
        """`revocationDigest(bytes32)`."""
        return cast("bytes", self._chain.call("GrantLedger", "revocationDigest", grant, block=block))

    def revoke(self, grant: Struct | tuple[Any, ...]) -> Receipt:
        """Ends a grant at once. The dataset's owner only; allowed also when suspended. One that was signed and not relayed yet
        can never be issued afterwards: a signature that went out is taken back."""
        return self._chain.send("GrantLedger", "revoke", _plain(grant))

    def revoke_signed(self, grant: Struct | tuple[Any, ...], signature: bytes) -> Receipt:
        """The same, signed by the owner (EIP-712; EOA or EIP-1271): Revocation(bytes32 grant). Anyone may relay it."""
        return self._chain.send("GrantLedger", "revokeSigned", _plain(grant), signature)

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
        """Records signed acceptances, each the EIP-712 signature of a party, or of its operator, over Acceptance(bytes32
        task,bytes32 spec,uint8 attempt). Anyone may relay one or several. The one that completes the set debits every grant
        what the proposal says and starts the attempt: all of it or nothing."""
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
        """Ends a running attempt with a reason code and a digest of the evidence. A party only, or its operator, until `runBy`:
        afterwards the run has ended in silence."""
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
        """`taskId((address,bytes32,(address,bytes32,bytes32,uint64,uint32)[],bytes4,uint40,uint32,uint8,bytes32))`."""
        return cast("bytes", self._chain.call("TaskLedger", "taskId", _plain(proposal), block=block))


class ProofFacts(TypedDict):
    """What `IProofRegistry.Proof` holds."""

    kind: bytes
    attempt: int
    provedAt: int
    absent: int
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
        """Verifies a result and closes its task. A party of the task, or any relayer: the signatures decide. Of the kinds that
        tolerate absent parties, only owners of data who did not propose the task may be absent."""
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

    def anchor_for(self, account: str, root: bytes, size: int) -> Receipt:
        """Anchors the head of a participant's log. Its operator, with scope REPORT; as {anchor} else."""
        return self._chain.send("AuditLog", "anchorFor", account, root, size)

    def head_of(self, account: str, *, block: Block = "latest") -> HeadFacts:
        """`headOf(address)`."""
        return cast("HeadFacts", self._chain.call("AuditLog", "headOf", account, block=block))

    def participants(self, *, block: Block = "latest") -> str:
        """`participants()`."""
        return cast("str", self._chain.call("AuditLog", "participants", block=block))


class EscrowFacts(TypedDict):
    """What `ISettlement.Escrow` holds."""

    agreement: bytes
    stage: int
    measured: bool
    posted: int
    lost: int
    denied: int
    claimed: int
    attempts: int
    contributions: int


class Settlement:
    """`Settlement` at the address of a connection's deployment."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def agreement_id(self, agreement: Struct | tuple[Any, ...], *, block: Block = "latest") -> bytes:
        """`agreementId((bytes32,address,uint128,uint128,uint32,uint32,bool,bool,uint16[],address[],uint128))`."""
        return cast("bytes", self._chain.call("Settlement", "agreementId", _plain(agreement), block=block))

    def claim(self, proposal: Struct | tuple[Any, ...], agreement: Struct | tuple[Any, ...], to: str) -> Receipt:
        """Pays the caller what it is owed of a settled task, to an account of its choice."""
        return self._chain.send("Settlement", "claim", _plain(proposal), _plain(agreement), to)

    def closes_at(self, task: bytes, accept_by: int, attempts: int, dispute_seconds: int, *, block: Block = "latest") -> int:
        """Until when evidence and challenges are taken; zero while the task can still be proved. `acceptBy` and `attempts` are
        those of the task's proposal: the caller knows it."""
        return cast("int", self._chain.call("Settlement", "closesAt", task, accept_by, attempts, dispute_seconds, block=block))

    def contribution_digest(
        self, task: bytes, attempt: int, result: bytes, shares: Sequence[int], *, block: Block = "latest"
    ) -> bytes:
        """`contributionDigest(bytes32,uint8,bytes32,uint16[])`."""
        return cast("bytes", self._chain.call("Settlement", "contributionDigest", task, attempt, result, shares, block=block))

    def disputes(self, *, block: Block = "latest") -> str:
        """`disputes()`."""
        return cast("str", self._chain.call("Settlement", "disputes", block=block))

    def escrow_of(self, task: bytes, *, block: Block = "latest") -> EscrowFacts:
        """`escrowOf(bytes32)`."""
        return cast("EscrowFacts", self._chain.call("Settlement", "escrowOf", task, block=block))

    def measure(
        self,
        proposal: Struct | tuple[Any, ...],
        agreement: Struct | tuple[Any, ...],
        shares: Sequence[int],
        signatures: Sequence[bytes],
    ) -> Receipt:
        """Replaces the declared shares by contributions that every party signed for the proved result. Anyone may relay,
        once."""
        return self._chain.send("Settlement", "measure", _plain(proposal), _plain(agreement), shares, signatures)

    def open(self, proposal: Struct | tuple[Any, ...], agreement: Struct | tuple[Any, ...], *, value: int) -> Receipt:
        """Declares an agreement and deposits its fee. The requester only, before any party accepted; once for each task."""
        return self._chain.send("Settlement", "open", _plain(proposal), _plain(agreement), value=value)

    def participants(self, *, block: Block = "latest") -> str:
        """`participants()`."""
        return cast("str", self._chain.call("Settlement", "participants", block=block))

    def payouts(
        self, proposal: Struct | tuple[Any, ...], agreement: Struct | tuple[Any, ...], *, block: Block = "latest"
    ) -> Sequence[int]:
        """What each party, then the requester, then the consortium is owed of a settled task, claimed or not."""
        return cast("Sequence[int]", self._chain.call("Settlement", "payouts", _plain(proposal), _plain(agreement), block=block))

    def post(self, proposal: Struct | tuple[Any, ...], agreement: Struct | tuple[Any, ...], *, value: int) -> Receipt:
        """Undertakes the agreement and stakes its bond, which may be zero. A party or the requester, for itself, or a party's
        operator for it and with coins of its own, before the first attempt starts. What comes back of the bond is the party's.
        Who undertakes promises to meet the task's deadlines and takes the arbiters' word. A party that does not, where a bond
        is asked, gets no share."""
        return self._chain.send("Settlement", "post", _plain(proposal), _plain(agreement), value=value)

    def proofs(self, *, block: Block = "latest") -> str:
        """`proofs()`."""
        return cast("str", self._chain.call("Settlement", "proofs", block=block))

    def settle(self, proposal: Struct | tuple[Any, ...], agreement: Struct | tuple[Any, ...]) -> Receipt:
        """Divides fee and bonds, for good; a party that was absent from the proved result gets no share: after the end of the
        task, after the time for disputes, when none is pending. Anyone. A task that ended without proof and without bonds is
        settled at once."""
        return self._chain.send("Settlement", "settle", _plain(proposal), _plain(agreement))

    def tasks(self, *, block: Block = "latest") -> str:
        """`tasks()`."""
        return cast("str", self._chain.call("Settlement", "tasks", block=block))

    def terms_of(self, task: bytes, *, block: Block = "latest") -> bytes:
        """The id of a task's agreement, zero where none was opened, and who staked a bond under it."""
        return cast("bytes", self._chain.call("Settlement", "termsOf", task, block=block))


class AgreementFacts(TypedDict):
    """What `Agreement` holds."""

    task: bytes
    token: str
    fee: int
    bond: int
    disputeSeconds: int
    rulingSeconds: int
    measured: bool
    upheldByDefault: bool
    shares: Sequence[int]
    arbiters: Sequence[str]
    price: int


class DisputeFacts(TypedDict):
    """What `IDisputes.Dispute` holds."""

    task: bytes
    outcome: int
    accused: int
    challenger: int
    upholding: int
    dismissing: int
    voted: int
    ruleBy: int


class VerdictFacts(TypedDict):
    """What `IDisputes.Verdict` holds."""

    pending: int
    void: bool
    atFault: int
    forfeited: int
    willing: int
    reported: int
    attempt: int


class Disputes:
    """`Disputes` at the address of a connection's deployment."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def answer_opening(
        self,
        proposal: Struct | tuple[Any, ...],
        agreement: Struct | tuple[Any, ...],
        dispute: bytes,
        opening: Struct | tuple[Any, ...],
    ) -> Receipt:
        """Answers a demand by an opening that leads to the commitment, which dismisses it and costs the challenger nothing.
        Anyone, until the deadline: the opening speaks for itself."""
        return self._chain.send("Disputes", "answerOpening", _plain(proposal), _plain(agreement), dispute, _plain(opening))

    def challenge(
        self, proposal: Struct | tuple[Any, ...], agreement: Struct | tuple[Any, ...], accused: str, reason: int, evidence: bytes
    ) -> Receipt:
        """Challenges a party, or with `accused` zero the statement itself. A party or the requester, within the agreement's
        time; where a bond is asked, only who staked it. Once for each challenger and accused. A party is challenged only when
        it undertook the agreement ({ISettlement.post}), or accepted a task without one; a statement only when there is one."""
        return self._chain.send("Disputes", "challenge", _plain(proposal), _plain(agreement), accused, reason, evidence)

    def conclude(self, proposal: Struct | tuple[Any, ...], agreement: Struct | tuple[Any, ...], dispute: bytes) -> Receipt:
        """Decides a dispute that the arbiters left open, by the agreement's default. Anyone, after the deadline."""
        return self._chain.send("Disputes", "conclude", _plain(proposal), _plain(agreement), dispute)

    def demand_id(self, task: bytes, challenger: str, accused: str, *, block: Block = "latest") -> bytes:
        """`demandId(bytes32,address,address)`."""
        return cast("bytes", self._chain.call("Disputes", "demandId", task, challenger, accused, block=block))

    def demand_opening(
        self, proposal: Struct | tuple[Any, ...], agreement: Struct | tuple[Any, ...], demand: Struct | tuple[Any, ...]
    ) -> Receipt:
        """Demands that the owner of a dataset in the task shows where a row stands in it: a challenge that its answer ends, and
        that arbiters judge, or the default decides, when it is silent. As {challenge} else, and besides one. They look also
        whether the demand is for the commitment and the size that the statement and the dataset's descriptor name."""
        return self._chain.send("Disputes", "demandOpening", _plain(proposal), _plain(agreement), _plain(demand))

    def dispute_at(self, dispute: bytes, *, block: Block = "latest") -> DisputeFacts:
        """`disputeAt(bytes32)`."""
        return cast("DisputeFacts", self._chain.call("Disputes", "disputeAt", dispute, block=block))

    def dispute_id(self, task: bytes, challenger: str, accused: str, *, block: Block = "latest") -> bytes:
        """`disputeId(bytes32,address,address)`."""
        return cast("bytes", self._chain.call("Disputes", "disputeId", task, challenger, accused, block=block))

    def link_digest(self, link: Struct | tuple[Any, ...], *, block: Block = "latest") -> bytes:
        """`linkDigest((bytes32,uint8,address,address,uint64,uint64,bytes32))`."""
        return cast("bytes", self._chain.call("Disputes", "linkDigest", _plain(link), block=block))

    def opening_digest(self, opening: Struct | tuple[Any, ...], *, block: Block = "latest") -> bytes:
        """`openingDigest((bytes32,bytes32,bytes32,bytes32,uint64,uint64,bytes32[]))`."""
        return cast("bytes", self._chain.call("Disputes", "openingDigest", _plain(opening), block=block))

    def participants(self, *, block: Block = "latest") -> str:
        """`participants()`."""
        return cast("str", self._chain.call("Disputes", "participants", block=block))

    def proofs(self, *, block: Block = "latest") -> str:
        """`proofs()`."""
        return cast("str", self._chain.call("Disputes", "proofs", block=block))

    def prove_false_opening(
        self,
        proposal: Struct | tuple[Any, ...],
        agreement: Struct | tuple[Any, ...],
        opening: Struct | tuple[Any, ...],
        signature: bytes,
    ) -> Receipt:
        """Shows an opening, signed by a dataset's owner, that does not lead to the commitment which it names. Anyone."""
        return self._chain.send("Disputes", "proveFalseOpening", _plain(proposal), _plain(agreement), _plain(opening), signature)

    def prove_lateness(self, proposal: Struct | tuple[Any, ...], agreement: Struct | tuple[Any, ...]) -> Receipt:
        """Finds at fault who missed a deadline of an expired task. Anyone. When the first attempt was never accepted by all:
        who staked a bond and neither accepted nor showed its acceptance in time. When a run ended in silence: who staked a bond
        and neither showed its signed result of the attempt in time nor reported what it waits for."""
        return self._chain.send("Disputes", "proveLateness", _plain(proposal), _plain(agreement))

    def prove_two_digests(
        self,
        proposal: Struct | tuple[Any, ...],
        agreement: Struct | tuple[Any, ...],
        one: Struct | tuple[Any, ...],
        other: Struct | tuple[Any, ...],
    ) -> Receipt:
        """Shows two different signed digests of the same messages. Of one signer: a breach. Of the two ends of the link: the
        contract knows that one of them lies and puts that on record, which anyone may repeat to no effect, for a {challenge} of
        either. Anyone."""
        return self._chain.send("Disputes", "proveTwoDigests", _plain(proposal), _plain(agreement), _plain(one), _plain(other))

    def prove_two_statements(
        self,
        proposal: Struct | tuple[Any, ...],
        agreement: Struct | tuple[Any, ...],
        accused: str,
        one: Struct | tuple[Any, ...],
        other: Struct | tuple[Any, ...],
    ) -> Receipt:
        """Shows that a party signed two different results for one attempt. Anyone."""
        return self._chain.send(
            "Disputes", "proveTwoStatements", _plain(proposal), _plain(agreement), accused, _plain(one), _plain(other)
        )

    def rule(
        self, proposal: Struct | tuple[Any, ...], agreement: Struct | tuple[Any, ...], dispute: bytes, uphold: bool, reasons: bytes
    ) -> Receipt:
        """An arbiter's opinion, until the deadline. The majority of the arbiters decides. The governor, who judges where no
        arbiters are named, gives none about a task that it takes part in: the default decides then."""
        return self._chain.send("Disputes", "rule", _plain(proposal), _plain(agreement), dispute, uphold, reasons)

    def settlement(self, *, block: Block = "latest") -> str:
        """`settlement()`."""
        return cast("str", self._chain.call("Disputes", "settlement", block=block))

    def standard_agreement(self, proposal: Struct | tuple[Any, ...], *, block: Block = "latest") -> AgreementFacts:
        """The terms under which a task without an agreement can be challenged."""
        return cast("AgreementFacts", self._chain.call("Disputes", "standardAgreement", _plain(proposal), block=block))

    def tasks(self, *, block: Block = "latest") -> str:
        """`tasks()`."""
        return cast("str", self._chain.call("Disputes", "tasks", block=block))

    def tender_acceptance(self, proposal: Struct | tuple[Any, ...], party: str, signature: bytes) -> Receipt:
        """Records in time that a party accepts the first attempt, for when the ledger refuses the acceptance for another's
        fault (a grant revoked, a dataset withdrawn), or the requester proposes with no time left to accept: so it is taken
        before the task is proposed too. Anyone may relay."""
        return self._chain.send("Disputes", "tenderAcceptance", _plain(proposal), party, signature)

    def tender_report(
        self, proposal: Struct | tuple[Any, ...], attempt: int, accused: str, reason: int, evidence: bytes
    ) -> Receipt:
        """Says in time that the calling party, or that of the calling operator, is not the one that is silent: whom it waits
        for (zero: it does not know), why, and a digest of its evidence. Unlike {ITaskLedger.fail} it leaves the run open for
        the silent one to speak, until the run expires."""
        return self._chain.send("Disputes", "tenderReport", _plain(proposal), attempt, accused, reason, evidence)

    def tender_result(self, proposal: Struct | tuple[Any, ...], party: str, signed: Struct | tuple[Any, ...]) -> Receipt:
        """Records in time that a party signed a result of the running attempt, for when another withholds its signature. Anyone
        may relay."""
        return self._chain.send("Disputes", "tenderResult", _plain(proposal), party, _plain(signed))

    def verdict_of(self, task: bytes, *, block: Block = "latest") -> VerdictFacts:
        """`verdictOf(bytes32)`."""
        return cast("VerdictFacts", self._chain.call("Disputes", "verdictOf", task, block=block))


class AlgorithmFacts(TypedDict):
    """What `IAlgorithmRegistry.Algorithm` holds."""

    author: str
    kind: int
    withdrawn: bool
    registeredAt: int
    reviewers: int
    card: bytes
    newest: str


class ReviewFacts(TypedDict):
    """What `IAlgorithmRegistry.Review` holds."""

    reviewer: str
    approved: bool
    reviewedAt: int
    reason: bytes


class VerdictsFacts(TypedDict):
    """What `IAlgorithmRegistry.Verdicts` holds."""

    approved: int
    rejected: int


class AlgorithmRegistry:
    """`AlgorithmRegistry` at the address of a connection's deployment."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def algorithm_at(self, code: bytes, *, block: Block = "latest") -> AlgorithmFacts:
        """`algorithmAt(bytes32)`."""
        return cast("AlgorithmFacts", self._chain.call("AlgorithmRegistry", "algorithmAt", code, block=block))

    def approvals(self, code: bytes, reviewers: Sequence[str], *, block: Block = "latest") -> VerdictsFacts:
        """How many of these accounts, in ascending order, approve now, and how many reject. An approval counts while who gave
        it is active and of another organisation than the author, a rejection always. Reverts when the code is unknown or
        withdrawn."""
        return cast("VerdictsFacts", self._chain.call("AlgorithmRegistry", "approvals", code, reviewers, block=block))

    def participants(self, *, block: Block = "latest") -> str:
        """`participants()`."""
        return cast("str", self._chain.call("AlgorithmRegistry", "participants", block=block))

    def register(self, code: bytes, kind: int, card: bytes) -> Receipt:
        """Registers the code with this digest; the caller, an active algorithm provider, is its author. Once."""
        return self._chain.send("AlgorithmRegistry", "register", code, kind, card)

    def review(self, code: bytes, approved: bool, reason: bytes) -> Receipt:
        """Says of an algorithm that the caller approves or rejects it, in the place of the opposite that it said before. Any
        active participant but the author; to approve, of another organisation. `reason` is the digest of its written
        grounds."""
        return self._chain.send("AlgorithmRegistry", "review", code, approved, reason)

    def review_at(self, code: bytes, reviewer: str, *, block: Block = "latest") -> ReviewFacts:
        """What `reviewer` says now; reverts when it never reviewed this code."""
        return cast("ReviewFacts", self._chain.call("AlgorithmRegistry", "reviewAt", code, reviewer, block=block))

    def reviews_of(self, code: bytes, after_reviewer: str, most: int, *, block: Block = "latest") -> Sequence[ReviewFacts]:
        """What reviewers say now, at most `most` of them: whoever reviewed first comes last. The next page is the one after the
        last reviewer of this one; `afterReviewer` is zero for the first page."""
        return cast(
            "Sequence[ReviewFacts]", self._chain.call("AlgorithmRegistry", "reviewsOf", code, after_reviewer, most, block=block)
        )

    def withdraw(self, code: bytes) -> Receipt:
        """Ends the registration for good. Author only; allowed also when suspended, so that an author can always warn of its
        code."""
        return self._chain.send("AlgorithmRegistry", "withdraw", code)


class PlatformFacts(TypedDict):
    """What `IAttestationVerifier.Platform` holds."""

    notBefore: int
    notAfter: int
    revoked: bool


class QuotedFacts(TypedDict):
    """What `IAttestationVerifier.Quoted` holds."""

    identity: bytes
    reportData: bytes
    reportDataRest: bytes


class HardwareVerifier:
    """`HardwareVerifier` at the address of a connection's deployment."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def allow(self, identity: bytes) -> Receipt:
        """Lets results come from an enclave. Governor only; a task names those that its parties accept besides."""
        return self._chain.send("HardwareVerifier", "allow", identity)

    def allowed(self, identity: bytes, *, block: Block = "latest") -> bool:
        """`allowed(bytes32)`."""
        return cast("bool", self._chain.call("HardwareVerifier", "allowed", identity, block=block))

    def appraise(self, x: bytes, y: bytes, signed: bytes, endorsement: bytes, *, block: Block = "latest") -> QuotedFacts:
        """Reverts unless the quote is of an enclave, not a debug one, on a platform that counts now."""
        return cast("QuotedFacts", self._chain.call("HardwareVerifier", "appraise", x, y, signed, endorsement, block=block))

    def disallow(self, identity: bytes, reason: bytes) -> Receipt:
        """Ends the use of an enclave at once. Governor only."""
        return self._chain.send("HardwareVerifier", "disallow", identity, reason)

    def is_issuer(self, x: bytes, y: bytes, *, block: Block = "latest") -> bool:
        """`isIssuer(bytes32,bytes32)`."""
        return cast("bool", self._chain.call("HardwareVerifier", "isIssuer", x, y, block=block))

    def participants(self, *, block: Block = "latest") -> str:
        """`participants()`."""
        return cast("str", self._chain.call("HardwareVerifier", "participants", block=block))

    def platform_at(self, platform: bytes, *, block: Block = "latest") -> PlatformFacts:
        """`platformAt(bytes32)`."""
        return cast("PlatformFacts", self._chain.call("HardwareVerifier", "platformAt", platform, block=block))

    def register_platform(self, tbs: bytes, signature: Struct | tuple[Any, ...], issuer_x: bytes, issuer_y: bytes) -> Receipt:
        """Registers a platform by its PCK certificate. Anyone: the issuer's signature decides. A platform that has another
        certificate for the same key is registered anew with the one that ends later; never with one that ends earlier."""
        return self._chain.send("HardwareVerifier", "registerPlatform", tbs, _plain(signature), issuer_x, issuer_y)

    def revoke_platform(self, platform: bytes, reason: bytes) -> Receipt:
        """Ends a platform's use for good, registered or not. Governor only."""
        return self._chain.send("HardwareVerifier", "revokePlatform", platform, reason)


class SimulationVerifier:
    """`SimulationVerifier` at the address of a connection's deployment."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def allow(self, identity: bytes) -> Receipt:
        """Lets results come from an enclave. Governor only; a task names those that its parties accept besides."""
        return self._chain.send("SimulationVerifier", "allow", identity)

    def allowed(self, identity: bytes, *, block: Block = "latest") -> bool:
        """`allowed(bytes32)`."""
        return cast("bool", self._chain.call("SimulationVerifier", "allowed", identity, block=block))

    def appraise(self, x: bytes, y: bytes, signed: bytes, endorsement: bytes, *, block: Block = "latest") -> QuotedFacts:
        """Reverts unless the quote is of an enclave, not a debug one, on a platform that counts now."""
        return cast("QuotedFacts", self._chain.call("SimulationVerifier", "appraise", x, y, signed, endorsement, block=block))

    def disallow(self, identity: bytes, reason: bytes) -> Receipt:
        """Ends the use of an enclave at once. Governor only."""
        return self._chain.send("SimulationVerifier", "disallow", identity, reason)

    def drop_authority(self, x: bytes, y: bytes) -> Receipt:
        """Takes no more platforms of a simulation authority; those that it certified stay. Governor only."""
        return self._chain.send("SimulationVerifier", "dropAuthority", x, y)

    def is_issuer(self, x: bytes, y: bytes, *, block: Block = "latest") -> bool:
        """`isIssuer(bytes32,bytes32)`."""
        return cast("bool", self._chain.call("SimulationVerifier", "isIssuer", x, y, block=block))

    def name_authority(self, x: bytes, y: bytes) -> Receipt:
        """Lets a simulation authority's PCK key certify platforms. Governor only."""
        return self._chain.send("SimulationVerifier", "nameAuthority", x, y)

    def participants(self, *, block: Block = "latest") -> str:
        """`participants()`."""
        return cast("str", self._chain.call("SimulationVerifier", "participants", block=block))

    def platform_at(self, platform: bytes, *, block: Block = "latest") -> PlatformFacts:
        """`platformAt(bytes32)`."""
        return cast("PlatformFacts", self._chain.call("SimulationVerifier", "platformAt", platform, block=block))

    def register_platform(self, tbs: bytes, signature: Struct | tuple[Any, ...], issuer_x: bytes, issuer_y: bytes) -> Receipt:
        """Registers a platform by its PCK certificate. Anyone: the issuer's signature decides. A platform that has another
        certificate for the same key is registered anew with the one that ends later; never with one that ends earlier."""
        return self._chain.send("SimulationVerifier", "registerPlatform", tbs, _plain(signature), issuer_x, issuer_y)

    def revoke_platform(self, platform: bytes, reason: bytes) -> Receipt:
        """Ends a platform's use for good, registered or not. Governor only."""
        return self._chain.send("SimulationVerifier", "revokePlatform", platform, reason)


class QuorumVerifier:
    """`QuorumVerifier` at the address of a connection's deployment."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def allow(self, identity: bytes) -> Receipt:
        """Lets results come from an enclave. Governor only; a task names those that its parties accept besides."""
        return self._chain.send("QuorumVerifier", "allow", identity)

    def allowed(self, identity: bytes, *, block: Block = "latest") -> bool:
        """`allowed(bytes32)`."""
        return cast("bool", self._chain.call("QuorumVerifier", "allowed", identity, block=block))

    def disallow(self, identity: bytes, reason: bytes) -> Receipt:
        """Ends the use of an enclave at once. Governor only."""
        return self._chain.send("QuorumVerifier", "disallow", identity, reason)

    def drop_verifier(self, account: str, reason: bytes) -> Receipt:
        """Ends at once that a participant may vouch. Governor only."""
        return self._chain.send("QuorumVerifier", "dropVerifier", account, reason)

    def is_verifier(self, account: str, *, block: Block = "latest") -> bool:
        """`isVerifier(address)`."""
        return cast("bool", self._chain.call("QuorumVerifier", "isVerifier", account, block=block))

    def name_verifier(self, account: str) -> Receipt:
        """Lets a participant vouch for evidence. Governor only."""
        return self._chain.send("QuorumVerifier", "nameVerifier", account)

    def participants(self, *, block: Block = "latest") -> str:
        """`participants()`."""
        return cast("str", self._chain.call("QuorumVerifier", "participants", block=block))

    def set_threshold(self, least: int) -> Receipt:
        """How many verifiers a task has to ask for at least, from 2 on: one alone could make hardware of anything. Governor
        only. Until it is set, nothing is proved here."""
        return self._chain.send("QuorumVerifier", "setThreshold", least)

    def threshold(self, *, block: Block = "latest") -> int:
        """`threshold()`."""
        return cast("int", self._chain.call("QuorumVerifier", "threshold", block=block))


class Groth16Verifier:
    """`Groth16Verifier` at the address of a connection's deployment."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def participants(self, *, block: Block = "latest") -> str:
        """`participants()`."""
        return cast("str", self._chain.call("Groth16Verifier", "participants", block=block))

    def register(self, circuit: bytes, points: bytes) -> Receipt:
        """Registers a circuit's verifying key for good: it is never changed and never removed. An active participant, which the
        key's id names."""
        return self._chain.send("Groth16Verifier", "register", circuit, points)

    def registered_at(self, key: bytes, *, block: Block = "latest") -> int:
        """When a key was registered, in seconds since 1970; zero for none that is."""
        return cast("int", self._chain.call("Groth16Verifier", "registeredAt", key, block=block))


def _plain(value: Struct | tuple[Any, ...]) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else value.as_tuple()
