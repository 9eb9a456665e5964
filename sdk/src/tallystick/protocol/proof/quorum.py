"""``attested-hardware-quorum``: an enclave of genuine hardware computed the result, as verifiers say that appraised its evidence.

Every party signs who may vouch and how many have to, as the spec names them, and what they are to vouch for; the vouchings come
beside that and may be collected after. The chain checks that the governor named the verifiers, that each is active and none a
party, and that enough of them signed (``QuorumVerifier.sol``); this module checks all of it offline but whom the governor named.
What each check shows stands in ``docs/spec/attested-task.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tallystick.attestation.documents import read_evidence
from tallystick.attestation.references import Identified, ReferenceValues
from tallystick.attestation.result import AttestationResult
from tallystick.attestation.rules import EvidenceRefused
from tallystick.attestation.runs import task_digest
from tallystick.attestation.verifier import appraise
from tallystick.ethereum import keccak, to_checksum_address
from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields, order
from tallystick.protocol.proof.attested import WORD, Appraisal, EnclaveTerms, commitments_of
from tallystick.protocol.proof.kind import require_no_aggregate
from tallystick.protocol.proof.subject import Subject
from tallystick.protocol.proof.vouching import FAMILIES, MAX_SIGNATURE, Vouching, platform_in
from tallystick.protocol.result import ResultFile
from tallystick.protocol.signature import recover
from tallystick.protocol.task import ATTESTED_QUORUM

PREFIX = "quorum:"
QUORUM = "quorum"  # the object in a spec's parameters
MAX_VERIFIERS = 16
LEAST = 2
_WORDS = ("algorithm", "output", "identity", "platform", "key", "evidence", "policy")
_HEAD = len(_WORDS) * WORD + 3
_ACCOUNT, _VOUCHED = 20, 8


@dataclass(frozen=True)
class QuorumTerms:
    """The object ``quorum`` in a spec's parameters: whose word counts, of how many, and by which policy they appraise (its
    digest)."""

    verifiers: tuple[str, ...]
    threshold: int
    policy: bytes

    def to_json(self) -> dict[str, Any]:
        """The object as it stands in the parameters."""
        return {"verifiers": list(self.verifiers), "threshold": self.threshold, "policy": canonical.text(self.policy)}

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """Read the object strictly. Raises :class:`MalformedDocument`."""
        fields = Fields(parameters.get(QUORUM), ("verifiers", "threshold", "policy"), f"parameters.{QUORUM}")
        verifiers = fields.accounts("verifiers", LEAST, MAX_VERIFIERS)
        return cls(verifiers, fields.integer("threshold", LEAST, len(verifiers)), canonical.untext(fields.digest("policy")))


@dataclass(frozen=True)
class QuorumRun:
    """What all parties sign of one run beside the commitments: digests of algorithm and output; what verifiers are to vouch for, as
    in a :class:`Vouching`, with ``key`` the second half of the report data; and whose word counts, of how many."""

    algorithm: bytes
    output: bytes
    identity: bytes
    platform: bytes
    key: bytes
    evidence: bytes
    policy: bytes
    family: str
    threshold: int
    verifiers: tuple[str, ...]

    @classmethod
    def of(cls, algorithm: bytes, output: bytes, found: Vouching, terms: QuorumTerms) -> Self:
        """The run that one verifier vouched for, or that this party appraised itself."""
        key, said = found.report_data[WORD:], (found.evidence, found.policy, found.family)
        return cls(algorithm, output, found.identity, found.platform, key, *said, terms.threshold, terms.verifiers)

    @classmethod
    def appraised(cls, context: bytes, algorithm: bytes, output: bytes, found: AttestationResult, terms: QuorumTerms) -> Self:
        """The run of the attempt ``context`` whose evidence this party appraised itself, by the policy that the terms name.

        Raises :class:`MalformedDocument` for what nobody vouches for: a simulation, or another policy.
        """
        if found.simulated or found.kind not in FAMILIES:
            raise MalformedDocument("a quorum vouches for genuine hardware alone")
        if found.policy_digest != terms.policy:
            raise MalformedDocument("the evidence was appraised by another policy than the verifiers are to apply")
        platform, key = platform_in(context, found.platform), found.report_data[WORD:]
        said = (found.evidence, found.policy_digest, found.kind)
        return cls(algorithm, output, found.identity, platform, key, *said, terms.threshold, terms.verifiers)

    def to_text(self) -> str:
        """What a party adds to the proof before anybody has vouched: ``quorum:`` and hex digits."""
        return PREFIX + self.to_bytes().hex()

    def to_bytes(self) -> bytes:
        """The proof bytes after the commitments and before the vouchings."""
        accounts = b"".join(bytes.fromhex(each[2:]) for each in self.verifiers)
        numbers = bytes([FAMILIES.index(self.family) + 1, self.threshold, len(self.verifiers)])
        return b"".join(getattr(self, name) for name in _WORDS) + numbers + accounts

    @classmethod
    def parse(cls, data: bytes) -> tuple[Self, bytes]:
        """The run, and what follows it. Raises :class:`MalformedDocument`."""
        if len(data) < _HEAD or len(data) < _HEAD + data[_HEAD - 1] * _ACCOUNT:
            raise MalformedDocument("the proof is too short")
        family, threshold, count = data[_HEAD - 3 : _HEAD]
        if not 1 <= family <= len(FAMILIES):
            raise MalformedDocument("the family is none of genuine hardware")
        end = _HEAD + count * _ACCOUNT
        words = {name: data[at * WORD : (at + 1) * WORD] for at, name in enumerate(_WORDS)}
        accounts = tuple(to_checksum_address(data[at : at + _ACCOUNT]) for at in range(_HEAD, end, _ACCOUNT))
        return cls(family=FAMILIES[family - 1], threshold=threshold, verifiers=accounts, **words), data[end:]


def write_vouchings(run: QuorumRun, vouchings: Iterable[Vouching]) -> bytes:
    """Vouchings as they stand at the end of the proof bytes. Raises :class:`MalformedDocument` for one about something else, by
    somebody whom the run does not name, or by the same verifier twice."""
    parts = []
    for each in sorted(vouchings, key=lambda found: order(found.verifier)):
        said = (each.family, each.identity, each.platform, each.report_data[WORD:], each.evidence, each.policy)
        if said != (run.family, run.identity, run.platform, run.key, run.evidence, run.policy):
            raise MalformedDocument(
                "vouches for another environment, evidence or policy than the parties signed", party=each.verifier
            )
        if each.verifier not in run.verifiers:
            raise MalformedDocument("is none of the verifiers that the task names", party=each.verifier)
        place = bytes([run.verifiers.index(each.verifier)])
        parts.append((place, each.not_after.to_bytes(5, "big") + len(each.signature).to_bytes(2, "big") + each.signature))
    if len({place for place, _ in parts}) != len(parts):
        raise MalformedDocument("a verifier vouches twice")
    return b"".join(place + rest for place, rest in parts)


class AttestedQuorum:
    """The kind of proof."""

    name = ATTESTED_QUORUM

    def check_commitment(self, text: str) -> None:
        """``sha256:<64 hex>``, not zero."""
        if canonical.untext(text) == bytes(WORD):
            raise MalformedDocument("a commitment of zeros stands for a party without input")

    def assemble(self, subject: Subject, said: Mapping[str, str]) -> bytes:
        """The commitments, and the run, of which all parties say the same; with the vouchings that there are by then, which may be
        fewer than the task asks for, as they are no part of what is signed. Raises MalformedDocument."""
        first = said.get(subject.parties[0], "")
        for party in subject.parties:
            if said.get(party, "") != first:
                raise MalformedDocument(f"names another run than {subject.parties[0]}", party=party)
        digits = first.removeprefix(PREFIX)
        if not first.startswith(PREFIX) or len(digits) % 2 or set(digits) - set("0123456789abcdef"):
            raise MalformedDocument("a contribution is written quorum: and lower-case hex digits", party=subject.parties[0])
        proof = commitments_of(subject) + bytes.fromhex(digits)
        self.vouchings(subject, *_run(len(subject.parties), proof))
        return proof

    def require_terms(self, parameters: Mapping[str, Any], parties: int, proof: bytes) -> None:
        """Refuse a run of another algorithm or environment, or verifiers, threshold or policy other than the spec's."""
        terms, asked, (run, _) = EnclaveTerms.of(parameters), QuorumTerms.of(parameters), _run(parties, proof)
        if run.algorithm != terms.algorithm:
            raise MalformedDocument("the enclave ran another algorithm than the spec's")
        if run.identity not in terms.identities:
            raise MalformedDocument("the enclave is none that the spec names")
        if (run.verifiers, run.threshold, run.policy) != (asked.verifiers, asked.threshold, asked.policy):
            raise MalformedDocument("verifiers, threshold or policy are not the spec's")

    def inputs(self, subject: Subject) -> bytes:
        """keccak-256 over the commitments."""
        return keccak(commitments_of(subject))

    def output(self, subject: Subject, proof: bytes) -> bytes:
        """keccak-256 over the proof bytes up to the vouchings."""
        _, rest = _run(len(subject.parties), proof)
        return keccak(proof[: len(proof) - len(rest)])

    def check(self, subject: Subject, proof: bytes) -> str:
        """Enough of the named verifiers, none of them a party, vouch for a run about this attempt, these inputs and this output.

        A verifier that is a contract (EIP-1271) only the chain can ask; here its word does not count.
        """
        commitments, (run, rest) = commitments_of(subject), _run(len(subject.parties), proof)
        if proof[: len(commitments)] != commitments:
            raise MalformedDocument("the proof is for other inputs than the statement's commitments")
        if run.threshold < LEAST:
            raise MalformedDocument("one verifier alone is no quorum")
        found = self.vouchings(subject, run, rest)
        others = len(list(_vouchings(rest))) - len(found)
        if len(found) < run.threshold:
            unknown = f"; {others} more are not these verifiers', not about this run, or contracts', which only the chain can ask"
            words = f"{len(found)} verifiers vouch for the run, and {run.threshold} have to"
            raise MalformedDocument(words + (unknown if others else ""))
        who = ", ".join(each.verifier for each in found) + (f"; {others} more that only the chain can check" if others else "")
        about = f"{run.family} enclave {run.identity.hex()[:16]}, algorithm {run.algorithm.hex()[:16]}"
        return f"{self.name}: {len(found)} of {len(run.verifiers)} verifiers vouch ({who}): {about}"

    def vouchings(self, subject: Subject, run: QuorumRun, rest: bytes) -> list[Vouching]:
        """Who vouched with its own key. Raises :class:`MalformedDocument` for what the chain would not take either, but for
        signatures: those that only a contract could have made are left out."""
        report_data = _digest(subject, run) + run.key
        found: list[Vouching] = []
        last = 0
        for place, not_after, signature in _vouchings(rest):
            if place >= len(run.verifiers):
                raise MalformedDocument("a verifier is none that the task names")
            account = run.verifiers[place]
            if order(account) <= last:
                raise MalformedDocument("the verifiers are not ascending, each once", party=account)
            if account in subject.parties:
                raise MalformedDocument("a verifier is a party of the task", party=account)
            attempt = (subject.chain_id, subject.registry, subject.task, subject.attempt)
            found_in = (run.family, run.identity, run.platform, report_data)
            vouching = Vouching(*attempt, *found_in, run.evidence, run.policy, not_after, account, signature)
            if recover(vouching.digest, signature) == account:
                found.append(vouching)
            last = order(account)
        return found

    def vouched_by(self, subject: Subject, proof: bytes) -> tuple[str, ...]:
        """The verifiers of whose keys the proof bytes hold signatures. Raises :class:`MalformedDocument`."""
        return tuple(each.verifier for each in self.vouchings(subject, *_run(len(subject.parties), proof)))

    def open(self, subject: Subject, proof: bytes, file: ResultFile, aggregate: Iterable[bytes] | None) -> str | None:
        """The file's values name the proved output."""
        require_no_aggregate(aggregate)
        run, _ = _run(len(subject.parties), proof)
        output = canonical.text(run.output)
        if file.values.get("output") != output:
            raise MalformedDocument("the result file names another output than the enclave's")
        return f"names the enclave's output {output[:23]}"


def appraise_run(appraisal: Appraisal, subject: Subject, proof: bytes, parameters: Mapping[str, Any], at: int) -> AttestationResult:
    """Appraise anew, at time ``at``, the evidence that verifiers vouched for, by the policy of whoever asks.

    Raises :class:`MalformedDocument` where the document is not about this proof, or is refused. The proof has passed
    :meth:`AttestedQuorum.check`.
    """
    run, _ = _run(len(subject.parties), proof)
    references = ReferenceValues(tuple(Identified(each) for each in EnclaveTerms.of(parameters).identities))
    try:
        evidence = read_evidence(appraisal.document)
        found = appraise(evidence, references, appraisal.policy, _digest(subject, run) + run.key, at)
    except EvidenceRefused as refusal:
        raise MalformedDocument(f"the evidence is refused: {refusal}") from None
    shown = (found.kind, found.identity, found.evidence, platform_in(subject.context, found.platform), found.simulated)
    if shown != (run.family, run.identity, run.evidence, run.platform, False):
        raise MalformedDocument("the evidence is not what the verifiers vouched for")
    return found


def with_vouchings(proof: bytes, parties: int, vouchings: Sequence[Vouching]) -> bytes:
    """Proof bytes for ``parties``, with these vouchings in place of those that were there. Raises :class:`MalformedDocument`."""
    run, rest = _run(parties, proof)
    return proof[: len(proof) - len(rest)] + write_vouchings(run, vouchings)


def _run(parties: int, proof: bytes) -> tuple[QuorumRun, bytes]:
    return QuorumRun.parse(proof[parties * WORD :])


def _digest(subject: Subject, run: QuorumRun) -> bytes:
    given = [canonical.untext(text) for text in subject.commitments if text]
    return task_digest(subject.context, run.algorithm, given, run.output)


def _vouchings(rest: bytes) -> Iterable[tuple[int, int, bytes]]:
    """Place among the verifiers, not after, signature."""
    while rest:
        size = int.from_bytes(rest[6:_VOUCHED], "big")
        if len(rest) < _VOUCHED + size or size > MAX_SIGNATURE:
            raise MalformedDocument("a vouching is cut off")
        yield rest[0], int.from_bytes(rest[1:6], "big"), rest[_VOUCHED : _VOUCHED + size]
        rest = rest[_VOUCHED + size :]


KIND = AttestedQuorum()
