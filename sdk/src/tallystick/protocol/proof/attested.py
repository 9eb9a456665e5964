"""``attested-hardware`` and ``attested-simulated``: an enclave computed the result, and its quote names the attempt, the algorithm,
the inputs and the output.

The chain checks the quote against the platforms and enclaves that it knows (``AttestationVerifier.sol``); this module checks all of
it offline but whether platform and enclave count. That, and whether the platform was patched, shows the evidence with its
endorsements (:class:`Appraisal`). What each check shows stands in ``docs/spec/attested-task.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tallystick.attestation import task_quote
from tallystick.attestation.documents import read_evidence
from tallystick.attestation.policy import AppraisalPolicy
from tallystick.attestation.quote import SgxReport, TdReport
from tallystick.attestation.references import Identified, ReferenceValues
from tallystick.attestation.result import AttestationResult
from tallystick.attestation.rules import EvidenceRefused
from tallystick.attestation.runs import task_digest
from tallystick.attestation.task_quote import ENDORSEMENT, KEY, MAX_AUTHENTICATION, TaskQuote, signed_size
from tallystick.attestation.verifier import appraise
from tallystick.ethereum import keccak
from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.proof.kind import require_no_aggregate
from tallystick.protocol.proof.subject import Subject
from tallystick.protocol.result import ResultFile
from tallystick.protocol.task import ATTESTED_HARDWARE, ATTESTED_SIMULATED, ENCLAVE

PREFIX = "attested:"
MAX_IDENTITIES = 16
WORD = 32
_FIXED = 2 * WORD + KEY
_ZERO = bytes(WORD)


@dataclass(frozen=True)
class EnclaveTerms:
    """The object ``enclave`` in a spec's parameters: the algorithm's digest, and the enclaves that the parties accept."""

    algorithm: bytes
    identities: tuple[bytes, ...]

    def to_json(self) -> dict[str, Any]:
        """The object as it stands in the parameters."""
        return {"algorithm": canonical.text(self.algorithm), "identities": [canonical.text(each) for each in self.identities]}

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """Read the object strictly. Raises :class:`MalformedDocument`."""
        where = f"parameters.{ENCLAVE}"
        fields = Fields(parameters.get(ENCLAVE), ("algorithm", "identities"), where)
        identities = fields.items("identities", 1, MAX_IDENTITIES, lambda item, _: canonical.untext(item))
        if list(identities) != sorted(set(identities)):
            raise MalformedDocument(f"{where}.identities: not ascending, each once")
        return cls(canonical.untext(fields.digest("algorithm")), identities)


@dataclass(frozen=True)
class AttestedRun:
    """What the parties know of one run: digests of algorithm and output, and the quote over them."""

    algorithm: bytes
    output: bytes
    quote: TaskQuote

    @classmethod
    def of_quote(cls, algorithm: bytes, output: bytes, quote: bytes) -> Self:
        """From a whole quote. Raises :class:`EvidenceRefused` where the chain cannot read it; verifies nothing."""
        return cls(algorithm, output, TaskQuote.cut(quote))

    def to_bytes(self) -> bytes:
        """The proof bytes after the commitments."""
        return self.algorithm + self.output + self.quote.platform + self.quote.signed + self.quote.endorsement

    def to_text(self) -> str:
        """What a party adds to the proof: ``attested:`` and hex digits."""
        return PREFIX + self.to_bytes().hex()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote. Raises :class:`MalformedDocument`."""
        try:
            head = _FIXED + signed_size(data[_FIXED:])
        except EvidenceRefused as refusal:
            raise MalformedDocument(f"the proof holds no quote that the chain reads: {refusal}") from None
        if head + ENDORSEMENT <= len(data) <= head + ENDORSEMENT + MAX_AUTHENTICATION:
            quote = TaskQuote(data[2 * WORD : _FIXED], data[_FIXED:head], data[head:])
            return cls(data[:WORD], data[WORD : 2 * WORD], quote)
        raise MalformedDocument("the proof is not of the size of a quote with its digests")

    @classmethod
    def parse_text(cls, text: str) -> Self:
        """Read what :meth:`to_text` wrote. Raises :class:`MalformedDocument`."""
        digits = text.removeprefix(PREFIX)
        if not text.startswith(PREFIX) or len(digits) % 2 or set(digits) - set("0123456789abcdef"):
            raise MalformedDocument("a contribution is written attested: and lower-case hex digits")
        return cls.parse(bytes.fromhex(digits))

    @property
    def platform(self) -> bytes:
        """The platform's id on chain."""
        return keccak(self.quote.platform)


class Attested:
    """One of the two kinds: ``signers`` are those of the quoting enclaves that count for it."""

    def __init__(self, name: str, signers: Mapping[int, bytes]) -> None:
        self.name = name
        self._signers = signers

    def check_commitment(self, text: str) -> None:
        """``sha256:<64 hex>``, not zero."""
        if canonical.untext(text) == _ZERO:
            raise MalformedDocument("a commitment of zeros stands for a party without input")

    def assemble(self, subject: Subject, said: Mapping[str, str]) -> bytes:
        """The commitments and the run, of which all parties say the same. Raises :class:`MalformedDocument`."""
        first = said.get(subject.parties[0], "")
        for party in subject.parties:
            try:
                run = AttestedRun.parse_text(said.get(party, ""))
            except MalformedDocument as error:
                raise MalformedDocument(error.message, party=party) from None
            if said[party] != first:
                raise MalformedDocument(f"names another run than {subject.parties[0]}", party=party)
        proof = commitments_of(subject) + run.to_bytes()
        self.check(subject, proof)
        return proof

    def require_terms(self, parameters: Mapping[str, Any], parties: int, proof: bytes) -> None:
        """Refuse a run of another algorithm, or of an enclave that the spec does not name."""
        terms, run = EnclaveTerms.of(parameters), _run(parties, proof)
        if run.algorithm != terms.algorithm:
            raise MalformedDocument("the enclave ran another algorithm than the spec's")
        if _report(run.quote).identity not in terms.identities:
            raise MalformedDocument("the enclave is none that the spec names")

    def inputs(self, subject: Subject) -> bytes:
        """keccak-256 over the commitments."""
        return keccak(commitments_of(subject))

    def output(self, subject: Subject, proof: bytes) -> bytes:
        """keccak-256 over the proof bytes."""
        _run(len(subject.parties), proof)
        return keccak(proof)

    def check(self, subject: Subject, proof: bytes) -> str:
        """The quote is of a quoting enclave that counts for this kind, and about this attempt, these inputs and this output."""
        commitments, run = commitments_of(subject), _run(len(subject.parties), proof)
        if proof[: len(commitments)] != commitments:
            raise MalformedDocument("the proof is for other inputs than the statement's commitments")
        try:
            report = run.quote.verify(self._signers)
        except EvidenceRefused as refusal:
            raise MalformedDocument(f"the quote does not hold: {refusal}") from None
        if report.report_data[:WORD] != _digest(subject, run):
            raise MalformedDocument("the quote is not about this attempt, algorithm, inputs and output")
        identity, platform = report.identity.hex()[:16], run.platform.hex()[:16]
        return f"{self.name}: enclave {identity} on platform 0x{platform}, algorithm {run.algorithm.hex()[:16]}"

    def open(self, subject: Subject, proof: bytes, file: ResultFile, aggregate: Iterable[bytes] | None) -> str | None:
        """The file's values name the proved output."""
        require_no_aggregate(aggregate)
        output = canonical.text(_run(len(subject.parties), proof).output)
        if file.values.get("output") != output:
            raise MalformedDocument("the result file names another output than the enclave's")
        return f"names the enclave's output {output[:23]}"


@dataclass(frozen=True)
class Appraisal:
    """Evidence of a run as a document with its endorsements, and the policy by which somebody appraises it in full."""

    document: bytes
    policy: AppraisalPolicy

    def of_run(self, subject: Subject, proof: bytes, parameters: Mapping[str, Any], at: int) -> AttestationResult:
        """Appraise the evidence of a proved run: certificates, TCB, revocation, policy, at time ``at``.

        Raises :class:`MalformedDocument` where the document is not about this proof, or is refused. The proof has passed
        :meth:`Attested.check`.
        """
        run, terms = _run(len(subject.parties), proof), EnclaveTerms.of(parameters)
        references = ReferenceValues(tuple(Identified(each) for each in terms.identities))
        try:
            evidence = read_evidence(self.document)
            if TaskQuote.cut(evidence.raw) != run.quote:
                raise MalformedDocument("the evidence is not the proof's quote")
            expected = _digest(subject, run) + _report(run.quote).report_data[WORD:]
            return appraise(evidence, references, self.policy, expected, at)
        except EvidenceRefused as refusal:
            raise MalformedDocument(f"the evidence is refused: {refusal}") from None


def commitments_of(subject: Subject) -> bytes:
    """The commitments in the proposal's order, zeros for a party without input."""
    return b"".join(canonical.untext(text) if text else _ZERO for text in subject.commitments)


def _run(parties: int, proof: bytes) -> AttestedRun:
    return AttestedRun.parse(proof[parties * WORD :])


def _report(quote: TaskQuote) -> SgxReport | TdReport:
    try:
        return quote.report
    except EvidenceRefused as refusal:
        raise MalformedDocument(f"the quote does not hold: {refusal}") from None


def _digest(subject: Subject, run: AttestedRun) -> bytes:
    given = [canonical.untext(text) for text in subject.commitments if text]
    return task_digest(subject.context, run.algorithm, given, run.output)


HARDWARE = Attested(ATTESTED_HARDWARE, task_quote.HARDWARE)
SIMULATED = Attested(ATTESTED_SIMULATED, task_quote.SIMULATED)
