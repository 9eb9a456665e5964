"""What bundles add to the graph: the documents of which the chain holds digests.

Nothing in a bundle is believed for what it says of itself. What a digest on chain leads to (statement, spec, a proof's signed part,
result files) was signed, so a rule that it breaks is a *finding* about what was proved. Where no digest leads to a file that cannot
be read, whoever made the bundle may have put it there: that is said of the bundle, as *unread*, and nothing of the parties.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tallystick.chain.contract import Event
from tallystick.ethereum import keccak
from tallystick.protocol import canonical
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import MalformedDocument, VerificationFailed
from tallystick.protocol.grant import GrantTerms
from tallystick.protocol.identity import Certificate
from tallystick.protocol.proof import quorum
from tallystick.protocol.proof.attested import commitments_of
from tallystick.protocol.proof.groth16 import ProvedCircuit
from tallystick.protocol.proof.subject import Subject, subject_of
from tallystick.protocol.result import ResultFile, file_digest
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.task import TaskSpec
from tallystick.provenance.algorithms import AlgorithmDraft
from tallystick.provenance.draft import hex_of, short
from tallystick.provenance.graph import Edge, Kind, Node, Strength

_LEAVE_OUT = "`tally verify` the bundle first, or leave it out"


class BundleDraft(AlgorithmDraft):
    """Bundles on top of what the events told, all of which are taken before."""

    def __init__(self, times: Mapping[int, int]) -> None:
        super().__init__(times)
        self._proved: dict[str, tuple[str, str]] = {}  # statement node -> its attempt's node, and the proof's output

    def prove(self, event: Event, attempt: str, statement: str) -> None:
        """Note what the chain proved by a statement."""
        self._proved.setdefault(statement, (attempt, hex_of(event["output"])))

    def add_bundle(self, bundle: Bundle) -> None:
        """Add the documents of a bundle, each tied to a digest on chain.

        Raises MalformedDocument for a bundle that holds no envelope, VerificationFailed for one that is about nothing on this chain
        or holds other documents than its statement names.
        """
        try:
            envelope = Envelope.parse(bundle.statement)
        except MalformedDocument as error:
            raise MalformedDocument(f"statement.dsse.json of a bundle: {error.message}", remedy=_LEAVE_OUT) from None
        name = f"{Kind.STATEMENT}:{hex_of(envelope.statement_digest)}"
        if name not in self._proved:
            raise _strange("the bundle's statement was not proved on this chain", 11, envelope)
        attempt, output = self._proved[name]
        task = f"{Kind.TASK}:{self.nodes[name].attributes['task']}"
        stated: Statement | None = None
        with self._found(name):
            stated = self._statement(envelope, name)
        if task not in self.nodes or self.nodes[task].attributes["spec"] != hex_of(canonical.digest("task", bundle.spec)):
            raise _strange("the bundle's spec is not the one proposed on chain", 2, envelope)
        spec: TaskSpec | None = None
        with self._found(name):
            spec = TaskSpec.parse(bundle.spec)
        if spec is not None:
            self._name_spec(spec, task, attempt, name)
        kind = self.nodes[name].attributes["proof"]
        if kind == Strength.GROTH16:
            if hex_of(keccak(bundle.proof)) != output:
                raise _strange("the bundle's proof is not the one that its statement names", 15, envelope)
            with self._found(name):
                self._name_circuit(bundle.proof, name)
        if stated is not None:
            if kind == Strength.ATTESTED_HARDWARE_QUORUM and spec is not None:
                self._name_quorum(subject_of(stated, spec.parties), bundle.proof, name, envelope)
            self._name_outputs(stated, {"evidence": spec.attestation} if spec is not None and spec.attestation else {}, name)
        self._name_grants(bundle, name)
        self._name_certificates(bundle, name)

    def add_files(self, content: bytes) -> None:
        """Add what a result file names, if a statement has the file's digest."""
        result = self.nodes.get(f"{Kind.RESULT}:{file_digest(content)}")
        if result is None:
            return
        files: Mapping[str, str] = {}
        with self._found(result.id):
            files = ResultFile.parse(content).files
        for file, digest in files.items():
            attributes = {"sha256": digest, "task": result.attributes["task"]}
            node = Node(f"{Kind.FILE}:{digest}", Kind.FILE, file, result.block, result.at, attributes)
            self.nodes.setdefault(node.id, node)
            self.edges.append(Edge(result.id, node.id, "names", Strength.DOCUMENT, result.block))

    # -- what is wrong with documents ------------------------------------------------------------------------

    @contextlib.contextmanager
    def _found(self, name: str) -> Iterator[None]:
        """Show with a node what is not well-formed of documents that a digest on chain leads to: who proves such a thing must not
        hide the work of others."""
        try:
            yield
        except MalformedDocument as error:
            self._note(name, "finding", f"{error.code}: {error.message}")

    @contextlib.contextmanager
    def _unread(self, name: str, file: str) -> Iterator[None]:
        """Show with the statement of a bundle what of the bundle cannot be read and no digest on chain leads to."""
        try:
            yield
        except MalformedDocument as error:
            self._note(name, "unread", f"{file} of the bundle ({error.code}: {error.message})")

    def _note(self, name: str, attribute: str, said: str) -> None:
        before = self.nodes[name].attributes.get(attribute, "")
        if f"; {said}; " not in f"; {before}; ":  # the same document may come in several bundles
            self.mark(name, **{attribute: f"{before}; {said}" if before else said})

    # -- what a digest on chain leads to ---------------------------------------------------------------------

    def _statement(self, envelope: Envelope, name: str) -> Statement:
        """The statement, if it says what the chain proved by its digest, which is all that the chain knows of it."""
        stated, (attempt, output) = Statement.parse(envelope.payload), self._proved[name]
        if f"{Kind.ATTEMPT}:{stated.task}#{stated.attempt}" != attempt:
            raise MalformedDocument("statement.predicate: of another attempt than the chain proved by it")
        if stated.proof_output != output:
            raise MalformedDocument("statement.predicate.proof_output: not the one that the chain has")
        return stated

    def _name_spec(self, spec: TaskSpec, task: str, attempt: str, statement: str) -> None:
        self.mark(task, workload=spec.workload, purpose=spec.purpose)
        if spec.aggregation:
            self.mark(task, aggregation=spec.aggregation)
        if spec.attestation:
            self.mark(task, evidence=spec.attestation, algorithm=spec.algorithms[-1])
        with self._found(statement):
            self.name_code(spec, task, attempt)
        # An attempt that used a model leads back to the statement of the task that made it.
        model = spec.parameters.get("model")
        made = model.get("task") if isinstance(model, Mapping) else None
        for node in [each for each in self.nodes.values() if each.kind is Kind.STATEMENT and each.attributes["task"] == made]:
            self.edges.append(Edge(node.id, attempt, "made the model of", Strength.DOCUMENT, node.block))

    def _name_outputs(self, stated: Statement, shown: Mapping[str, str], name: str) -> None:
        proved = self.nodes[name]
        for output in stated.outputs:
            digest = output.sha256
            result = Node(
                f"{Kind.RESULT}:{digest}", Kind.RESULT, short(digest), proved.block, proved.at,
                {"sha256": digest, "receiver": output.receiver, "task": stated.task, **shown},
            )  # fmt: skip
            self.nodes.setdefault(result.id, result)
            self.edges.append(Edge(name, result.id, "attests", Strength.DOCUMENT, proved.block))
            receiver = f"{Kind.PARTICIPANT}:{output.receiver}"
            if receiver in self.nodes:
                self.edges.append(Edge(receiver, result.id, "received", Strength.DOCUMENT, proved.block))

    def _name_circuit(self, proof: bytes, statement: str) -> None:
        """Which key the proof is by, and who registered it: the proof bytes hold what the key's id is over."""
        circuit = ProvedCircuit.parse(proof).circuit
        self.mark(statement, key=hex_of(circuit.id), circuit=hex_of(circuit.description), registrant=circuit.registrant)
        registrant = f"{Kind.PARTICIPANT}:{circuit.registrant}"
        if registrant in self.nodes:
            block = self.nodes[statement].block
            self.edges.append(Edge(registrant, statement, "answers for the set-up behind", Strength.DOCUMENT, block))

    # -- what none leads to, or to a part of it --------------------------------------------------------------

    def _name_quorum(self, subject: Subject, proof: bytes, statement: str, envelope: Envelope) -> None:
        """Who vouched for the enclave's evidence: their own signatures say so. The digest is over the run that they vouch for, and
        leaves out their words, which are collected later."""
        with self._found(statement):
            commitments_of(subject)
            with self._unread(statement, "proof.bin"):
                if hex_of(quorum.KIND.output(subject, proof)) != self._proved[statement][1]:
                    raise _strange("the bundle's proof is not the one that its statement names", 15, envelope)
                for account in quorum.KIND.vouched_by(subject, proof):
                    verifier = f"{Kind.PARTICIPANT}:{account}"
                    if verifier in self.nodes:
                        block = self.nodes[statement].block
                        self.edges.append(Edge(verifier, statement, "vouched for the evidence of", Strength.DOCUMENT, block))

    def _name_grants(self, bundle: Bundle, statement: str) -> None:
        """What grants are for. A grant's digest is the root over the fields of its terms: it can be compared once they are read."""
        by_root = {node.attributes["terms"]: node.id for node in self.nodes.values() if node.kind is Kind.GRANT}
        for file, data in bundle.terms.items():
            with self._unread(statement, f"terms/{file}"):
                terms = GrantTerms.parse(data)
                found = by_root.get(hex_of(terms.root()))
                if found is not None:
                    self.mark(found, purpose=terms.purpose, algorithms=", ".join(terms.algorithms))

    def _name_certificates(self, bundle: Bundle, statement: str) -> None:
        for file, data in bundle.certificates.items():
            with self._unread(statement, f"certificates/{file}"):
                certificate = Certificate.parse(data)
                name = f"{Kind.CERTIFICATE}:{hex_of(certificate.fingerprint)}"
                if name not in self.nodes:
                    continue
                self.mark(name, common_name=certificate.common_name)
                for edge in self.edges:
                    if edge.source == name and edge.target in self.nodes:
                        self.nodes[edge.target] = replace(self.nodes[edge.target], label=certificate.common_name)


def _strange(words: str, rule: int, envelope: Envelope) -> VerificationFailed:
    return VerificationFailed(words, rule=rule, party=hex_of(envelope.statement_digest), remedy=_LEAVE_OUT)
