"""What a verifier says of evidence that it appraised, for a quorum: signed as EIP-712, and a document.

For evidence that a chain cannot check (SEV-SNP, Nitro, CSV, CCA) participants that the governor and the task name appraise it,
each by itself and with the endorsements that it has, and sign what they found for the chain's ``ProofRegistry``. What they sign
has no word for a simulation, and :func:`vouch` refuses one. The bytes stand in ``docs/spec/attested-task.md``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Self

from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.references import Identified, ReferenceValues
from tallystick.attestation.rules import Rule, require
from tallystick.attestation.runs import task_digest
from tallystick.attestation.verifier import Evidence, appraise
from tallystick.protocol import canonical, typed
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.proof.subject import context_of
from tallystick.protocol.task import MAX_ATTEMPTS, MAX_PARTIES

FAMILIES = ("sgx", "tdx", "snp", "nitro", "csv", "cca")
"""The families of evidence in a vouching; the first has number 1."""
TYPE = (
    "Vouching(bytes32 task,uint8 attempt,uint8 family,bytes32 identity,bytes32 platform,bytes32 reportData,"
    "bytes32 reportDataRest,bool debug,bytes32 evidence,bytes32 policy,uint40 notAfter)"
)
LIMIT = 1 << 16
MAX_SIGNATURE = 8192
_RUN, _VOUCHING = "tallystick.run/1", "tallystick.vouching/1"
_PLATFORM = b"tallystick/tee/platform/v1"
_MEMBERS = ("bytes32", "uint8", "uint8", "bytes32", "bytes32", "bytes32", "bytes32", "bool", "bytes32", "bytes32", "uint40")


@dataclass(frozen=True)
class RunClaim:
    """What a run's evidence has to be about: one attempt of one task for one registry, its algorithm, the commitments of its inputs
    ascending by party, the digest of its output, and the enclave's public key (32 bytes)."""

    chain_id: int
    registry: str
    task: bytes
    attempt: int
    algorithm: bytes
    commitments: tuple[bytes, ...]
    output: bytes
    key: bytes

    @property
    def context(self) -> bytes:
        """The attempt."""
        return context_of(self.chain_id, self.registry, self.task, self.attempt)

    @property
    def report_data(self) -> bytes:
        """The 64 bytes that the evidence has to hold."""
        digest = task_digest(self.context, self.algorithm, self.commitments, self.output)
        return digest + hashlib.sha256(self.key).digest()

    def to_bytes(self) -> bytes:
        """The document that the prover sends to verifiers with the evidence."""
        words = {name: canonical.hex32(getattr(self, name)) for name in ("task", "algorithm", "output", "key")}
        listed = [canonical.hex32(each) for each in self.commitments]
        attempt = {"chain_id": self.chain_id, "registry": self.registry, "attempt": self.attempt}
        return canonical.encode({"type": _RUN, **attempt, **words, "commitments": listed})

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote. Raises :class:`MalformedDocument`."""
        names = ("type", "chain_id", "registry", "task", "attempt", "algorithm", "commitments", "output", "key")
        fields = Fields(canonical.decode(data, LIMIT), names, "run")
        fields.constant("type", _RUN)
        listed = fields.items("commitments", 1, MAX_PARTIES, lambda item, _: canonical.unhex32(item))
        return cls(
            chain_id=fields.integer("chain_id", 1, canonical.MAX_INTEGER),
            registry=fields.address("registry"),
            attempt=fields.integer("attempt", 1, MAX_ATTEMPTS),
            commitments=listed,
            **{name: canonical.unhex32(fields.hex32(name)) for name in ("task", "algorithm", "output", "key")},
        )


@dataclass(frozen=True)
class Vouching:
    """What one verifier found, and its signature. ``registry`` on chain ``chain_id`` is whom it is for; ``platform`` is another
    value for the same machine in every attempt, as a chain is public; ``not_after`` in seconds since 1970."""

    chain_id: int
    registry: str
    task: bytes
    attempt: int
    family: str
    identity: bytes
    platform: bytes
    report_data: bytes
    evidence: bytes
    policy: bytes
    not_after: int
    verifier: str
    signature: bytes = b""

    @property
    def digest(self) -> bytes:
        """What the verifier signs: that the environment cannot be debugged is part of it. Raises MalformedDocument."""
        if self.family not in FAMILIES:
            raise MalformedDocument(f"nobody vouches for evidence of the family {self.family[:20]!r}")
        halves = self.report_data[:32], self.report_data[32:]
        said = (FAMILIES.index(self.family) + 1, self.identity, self.platform, *halves, False, self.evidence, self.policy)
        struct = typed.struct_hash(TYPE, _MEMBERS, (self.task, self.attempt, *said, self.not_after))
        return typed.Domain("ProofRegistry", self.chain_id, self.registry).digest(struct)

    def to_bytes(self) -> bytes:
        """The document that the verifier sends back."""
        words = {name: canonical.hex32(getattr(self, name)) for name in ("task", "identity", "platform", "evidence", "policy")}
        value: dict[str, Any] = {"type": _VOUCHING, **words, "report_data": f"0x{self.report_data.hex()}"}
        plain = ("chain_id", "registry", "attempt", "family", "not_after", "verifier")
        value |= {name: getattr(self, name) for name in plain}
        return canonical.encode(value | {"signature": f"0x{self.signature.hex()}"})

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote. Raises :class:`MalformedDocument`; the signature is not checked."""
        members = ("type", *cls.__dataclass_fields__)
        fields = Fields(canonical.decode(data, LIMIT), members, "vouching")
        fields.constant("type", _VOUCHING)
        report_data = fields.hexbytes("report_data", 64)
        if len(report_data) != 64:
            raise MalformedDocument("vouching.report_data: must have 64 bytes")
        words = {name: canonical.unhex32(fields.hex32(name)) for name in ("task", "identity", "platform", "evidence", "policy")}
        return cls(
            chain_id=fields.integer("chain_id", 1, canonical.MAX_INTEGER),
            registry=fields.address("registry"),
            attempt=fields.integer("attempt", 1, MAX_ATTEMPTS),
            family=fields.choice("family", FAMILIES),
            report_data=report_data,
            not_after=fields.seconds("not_after"),
            verifier=fields.address("verifier"),
            signature=fields.hexbytes("signature", MAX_SIGNATURE),
            **words,
        )


def platform_in(context: bytes, platform: bytes) -> bytes:
    """What stands on chain for a machine in one attempt: nobody who does not know the machine can tell where else it served."""
    return hashlib.sha256(_PLATFORM + context + platform).digest()


def vouch(
    claim: RunClaim,
    evidence: Evidence,
    identities: Collection[bytes],
    policy: AppraisalPolicy,
    verifier: str,
    sign: Callable[[bytes], bytes],
    at: int,
) -> Vouching:
    """Appraise ``evidence`` in full at ``at`` and sign, as ``verifier``, that it shows the claimed run in one of ``identities``.

    ``sign`` gets the EIP-712 digest. Raises :class:`EvidenceRefused` by the rule that fails, 701 for a simulation whatever the
    policy says of it.
    """
    references = ReferenceValues(tuple(Identified(each) for each in identities))
    found = appraise(evidence, references, policy, claim.report_data, at)
    require(not found.simulated, Rule.AUTHORITY, "a quorum vouches for genuine hardware alone, and this is a simulation")
    made = Vouching(
        chain_id=claim.chain_id,
        registry=claim.registry,
        task=claim.task,
        attempt=claim.attempt,
        family=found.kind,
        identity=found.identity,
        platform=platform_in(claim.context, found.platform),
        report_data=found.report_data,
        evidence=found.evidence,
        policy=found.policy_digest,
        not_after=found.expires,
        verifier=verifier,
    )
    return replace(made, signature=sign(made.digest))
