# ruff: noqa: N802 - handlers are named after the events that they take
"""Builds the graph from the chain's events, in order; bundles add what the chain only holds digests of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from tallystick.chain.contract import Event
from tallystick.ethereum import keccak
from tallystick.protocol import canonical, typed
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import MalformedDocument, VerificationFailed
from tallystick.protocol.grant import GrantTerms
from tallystick.protocol.identity import Certificate, role_names
from tallystick.protocol.proof import quorum
from tallystick.protocol.proof.groth16 import ProvedCircuit
from tallystick.protocol.proof.subject import Subject, subject_of
from tallystick.protocol.reasons import reason_words
from tallystick.protocol.result import ResultFile, file_digest
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.task import ATTESTED_QUORUM, GROTH16, PROOFS, TaskSpec
from tallystick.provenance.algorithms import AlgorithmDraft
from tallystick.provenance.draft import hex_of, short
from tallystick.provenance.graph import Edge, Graph, Kind, Node, Strength

_KINDS = {typed.proof_kind(name): Strength(name) for name in PROOFS}


def build(
    events: Iterable[Event],
    *,
    chain_id: int,
    block: int,
    block_hash: str,
    times: Mapping[int, int] = MappingProxyType({}),
    bundles: Sequence[Bundle] = (),
    results: Sequence[bytes] = (),
) -> Graph:
    """The graph of everything that ``events`` (all of ours, in the order of the chain, up to ``block``) record.

    ``times`` gives the time of blocks in seconds. ``results`` are result files besides those in the bundles: they say which files
    came with them, and are passed over unless a bundle's statement has their digest. Raises VerificationFailed or
    MalformedDocument for a bundle that is not about a result in ``events``. What is about one and is not well-formed all the same,
    as the chain reads no documents, hides nothing else: its statement, or its result, has a ``finding`` that says which rule it
    breaks. Trusted: the source of ``events``; a bundle is believed only where its digests are on chain.
    """
    builder = _Builder(times)
    for event in events:
        builder.take(event)
    for bundle in bundles:
        builder.add_bundle(bundle)
    for content in (*results, *(each for bundle in bundles for each in bundle.results.values())):
        builder.add_files(content)
    return Graph(chain_id, block, block_hash, builder.nodes, tuple(dict.fromkeys(builder.edges)))


class _Builder(AlgorithmDraft):
    def __init__(self, times: Mapping[int, int]) -> None:
        super().__init__(times)
        self._version: dict[str, str] = {}  # dataset -> node of its version in force
        self._parts: dict[str, list[tuple[str, str]]] = {}  # task -> (dataset, grant) of each party with input

    # -- ParticipantRegistry ---------------------------------------------------------------------------------

    def _Enrolled(self, event: Event) -> None:
        account, fingerprint = event["account"], hex_of(event["fingerprint"])
        roles = ", ".join(role_names(event["roles"]))
        participant = self.account(event, account)
        self.mark(participant, roles=roles, status="active")
        certificate = self.node(
            event, Kind.CERTIFICATE, fingerprint, short(fingerprint), fingerprint=fingerprint,
            authority=str(event["authority"]), not_before=str(event["notBefore"]), not_after=str(event["notAfter"]),
        )  # fmt: skip
        self.edge(event, certificate, participant, "certifies")

    def _Suspended(self, event: Event) -> None:
        self.mark(f"{Kind.PARTICIPANT}:{event['account']}", status="suspended")

    def _Reinstated(self, event: Event) -> None:
        self.mark(f"{Kind.PARTICIPANT}:{event['account']}", status="active")

    def _Revoked(self, event: Event) -> None:
        self.mark(f"{Kind.PARTICIPANT}:{event['account']}", status="revoked")

    def _CertificateRevoked(self, event: Event) -> None:
        self.mark(f"{Kind.CERTIFICATE}:{hex_of(event['fingerprint'])}", revoked_at_block=str(event.block))

    # -- DatasetRegistry and GrantLedger ---------------------------------------------------------------------

    def _Published(self, event: Event) -> None:
        dataset, version = hex_of(event["dataset"]), str(event["version"])
        name = self.node(
            event, Kind.DATASET, f"{dataset}#{version}", short(dataset), dataset=dataset, version=version,
            rows_root=hex_of(event["rows"]), owner=event["owner"],
        )  # fmt: skip
        self.edge(event, self.account(event, event["owner"]), name, "published")
        if dataset in self._version:
            self.edge(event, self._version[dataset], name, "was revised to")
        self._version[dataset] = name

    def _Withdrawn(self, event: Event) -> None:
        self.mark(self._version.get(hex_of(event["dataset"]), ""), withdrawn_at_block=str(event.block))

    def _Granted(self, event: Event) -> None:
        grant, dataset = hex_of(event["grant"]), hex_of(event["dataset"])
        name = self.node(
            event, Kind.GRANT, grant, short(grant), grant=grant, dataset=dataset, grantee=event["grantee"],
            terms=hex_of(event["terms"]), uses=str(event["uses"]), used="0",
            epsilon_micros=str(event["epsilonMicros"]),
            not_before=str(event["notBefore"]), not_after=str(event["notAfter"]),
        )  # fmt: skip
        if dataset in self._version:
            self.edge(event, self._version[dataset], name, "was granted under")
        self.edge(event, self.account(event, event["grantee"]), name, "is the grantee of")

    def _GrantRevoked(self, event: Event) -> None:
        self.mark(f"{Kind.GRANT}:{hex_of(event['grant'])}", revoked_at_block=str(event.block))

    def _Debited(self, event: Event) -> None:
        grant = f"{Kind.GRANT}:{hex_of(event['grant'])}"
        self.mark(grant, used=str(event["used"]), spent_micros=str(event["spentMicros"]))
        attempt = self._attempt(event)
        if grant in self.nodes:
            self.edge(event, grant, attempt, "was debited for")

    # -- TaskLedger and ProofRegistry ------------------------------------------------------------------------

    def _attempt(self, event: Event) -> str:
        task, number = hex_of(event["task"]), str(event["attempt"])
        known = f"{Kind.ATTEMPT}:{task}#{number}" in self.nodes
        name = self.node(event, Kind.ATTEMPT, f"{task}#{number}", f"attempt {number}", task=task, attempt=number)
        if not known and f"{Kind.TASK}:{task}" in self.nodes:
            self.edge(event, f"{Kind.TASK}:{task}", name, "was attempted as")
        return name

    def _Proposed(self, event: Event) -> None:
        task, proposal = hex_of(event["task"]), event["proposal"]
        name = self.node(
            event, Kind.TASK, task, short(task), task=task, spec=hex_of(event["spec"]), requester=event["requester"],
            state="proposed",
        )  # fmt: skip
        self.edge(event, self.account(event, event["requester"]), name, "proposed")
        self.set_terms(event, task)
        parts = [(hex_of(each["dataset"]), hex_of(each["grant"])) for each in proposal["parties"] if any(each["grant"])]
        self._parts[task] = parts
        for _, grant in parts:
            if f"{Kind.GRANT}:{grant}" in self.nodes:
                self.edge(event, f"{Kind.GRANT}:{grant}", name, "is named by")

    def _Accepted(self, event: Event) -> None:
        self.edge(event, self.account(event, event["party"]), self._attempt(event), "accepted")

    def _Started(self, event: Event) -> None:
        attempt, task = self._attempt(event), hex_of(event["task"])
        self.mark(f"{Kind.TASK}:{task}", state="running")
        self.mark(attempt, state="running", started_at=str(self._times.get(event.block, "")))
        self.begin(event, attempt)
        for dataset, _ in self._parts.get(task, ()):
            if dataset in self._version:
                self.edge(event, self._version[dataset], attempt, "was used in")

    def _Failed(self, event: Event) -> None:
        self.mark(f"{Kind.TASK}:{hex_of(event['task'])}", state="failed")
        self.mark(self._attempt(event), state="failed", reason=reason_words(event["reason"]), accused=event["accused"])

    def _Cancelled(self, event: Event) -> None:
        self.mark(f"{Kind.TASK}:{hex_of(event['task'])}", state="cancelled")

    def _Expired(self, event: Event) -> None:
        self.mark(f"{Kind.TASK}:{hex_of(event['task'])}", state="expired")
        self.mark(f"{Kind.ATTEMPT}:{hex_of(event['task'])}#{event['attempt']}", state="expired")

    def _ResultProved(self, event: Event) -> None:
        strength = _KINDS.get(event["kind"], Strength.CHAIN)
        attempt, statement = self._attempt(event), hex_of(event["statement"])
        self.mark(f"{Kind.TASK}:{hex_of(event['task'])}", state="proved")
        self.mark(attempt, state="proved")
        name = self.node(
            event, Kind.STATEMENT, statement, short(statement), statement=statement, proof=str(strength),
            task=hex_of(event["task"]),
        )  # fmt: skip
        self.edge(event, attempt, name, "is proved by", strength)

    def _PartiesAbsent(self, event: Event) -> None:
        attempt = self._attempt(event)
        for account in event["parties"]:
            self.edge(event, self.account(event, account), attempt, "was absent from the end of")

    # -- bundles ---------------------------------------------------------------------------------------------

    def add_bundle(self, bundle: Bundle) -> None:
        """Add the documents of a bundle, each tied to a digest on chain."""
        envelope = Envelope.parse(bundle.statement)
        stated = Statement.parse(envelope.payload)
        name = f"{Kind.STATEMENT}:{hex_of(envelope.statement_digest)}"
        if name not in self.nodes or self.nodes[name].attributes["task"] != stated.task:
            raise VerificationFailed(
                "the bundle's statement was not proved on this chain",
                rule=11,
                party=canonical.hex32(envelope.statement_digest),
                remedy="`tally verify` the bundle first, or leave it out",
            )
        spec = TaskSpec.parse(bundle.spec)
        task = f"{Kind.TASK}:{stated.task}"
        if task in self.nodes and self.nodes[task].attributes["spec"] != canonical.hex32(spec.digest()):
            raise VerificationFailed(
                "the bundle's spec is not the one proposed on chain",
                rule=2,
                party=canonical.hex32(envelope.statement_digest),
                remedy="`tally verify` the bundle first, or leave it out",
            )
        self.mark(task, workload=spec.workload, purpose=spec.purpose)
        if spec.aggregation:
            self.mark(task, aggregation=spec.aggregation)
        if spec.attestation:
            self.mark(task, evidence=spec.attestation, algorithm=spec.algorithms[-1])
        with self._found(name):
            self.name_code(spec, task, f"{Kind.ATTEMPT}:{stated.task}#{stated.attempt}")
        self._name_model(spec, f"{Kind.ATTEMPT}:{stated.task}#{stated.attempt}")
        if spec.proof == ATTESTED_QUORUM:
            with self._found(name):
                self._name_verifiers(subject_of(stated, spec.parties), bundle.proof, name)
        if spec.proof == GROTH16:
            if canonical.hex32(keccak(bundle.proof)) != stated.proof_output:
                raise VerificationFailed("the bundle's proof is not the one that its statement names", rule=15)
            self._name_circuit(bundle.proof, name)
        proved = self.nodes[name]
        shown = {"evidence": spec.attestation} if spec.attestation else {}
        for output in stated.outputs:
            digest = output.sha256
            result = Node(
                f"{Kind.RESULT}:{digest}", Kind.RESULT, short(digest), proved.block, proved.at,
                {"sha256": digest, "receiver": output.receiver, "task": stated.task} | shown,
            )  # fmt: skip
            self.nodes.setdefault(result.id, result)
            self.edges.append(Edge(name, result.id, "attests", Strength.DOCUMENT, proved.block))
            receiver = f"{Kind.PARTICIPANT}:{output.receiver}"
            if receiver in self.nodes:
                self.edges.append(Edge(receiver, result.id, "received", Strength.DOCUMENT, proved.block))
        with self._found(name):
            self._name_grants(bundle)
        with self._found(name):
            self._name_certificates(bundle)

    @contextlib.contextmanager
    def _found(self, name: str) -> Iterator[None]:
        """Show with a node what of its documents is not well-formed: who proves such a thing must not hide the work of others."""
        try:
            yield
        except MalformedDocument as error:
            before = self.nodes[name].attributes.get("finding")
            said = f"{error.code}: {error.message}"
            self.mark(name, finding=f"{before}; {said}" if before else said)

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

    def _name_model(self, spec: TaskSpec, attempt: str) -> None:
        """An attempt that used a model leads back to the statement of the task that made it."""
        model = spec.parameters.get("model")
        made = model.get("task") if isinstance(model, Mapping) else None
        for node in [each for each in self.nodes.values() if each.kind is Kind.STATEMENT and each.attributes["task"] == made]:
            self.edges.append(Edge(node.id, attempt, "made the model of", Strength.DOCUMENT, node.block))

    def _name_verifiers(self, subject: Subject, proof: bytes, statement: str) -> None:
        """Who vouched for the enclave's evidence: their own signatures say so."""
        for account in quorum.KIND.vouched_by(subject, proof):
            verifier = f"{Kind.PARTICIPANT}:{account}"
            if verifier in self.nodes:
                self.edges.append(
                    Edge(verifier, statement, "vouched for the evidence of", Strength.DOCUMENT, self.nodes[statement].block)
                )

    def _name_circuit(self, proof: bytes, statement: str) -> None:
        """Which key the proof is by, and who registered it: the proof bytes hold what the key's id is over."""
        circuit = ProvedCircuit.parse(proof).circuit
        self.mark(statement, key=hex_of(circuit.id), circuit=hex_of(circuit.description), registrant=circuit.registrant)
        registrant = f"{Kind.PARTICIPANT}:{circuit.registrant}"
        if registrant in self.nodes:
            block = self.nodes[statement].block
            self.edges.append(Edge(registrant, statement, "answers for the set-up behind", Strength.DOCUMENT, block))

    def _name_grants(self, bundle: Bundle) -> None:
        by_root = {node.attributes["terms"]: node.id for node in self.nodes.values() if node.kind is Kind.GRANT}
        for data in bundle.terms.values():
            terms = GrantTerms.parse(data)
            found = by_root.get(canonical.hex32(terms.root()))
            if found is not None:
                self.mark(found, purpose=terms.purpose, algorithms=", ".join(terms.algorithms))

    def _name_certificates(self, bundle: Bundle) -> None:
        for data in bundle.certificates.values():
            certificate = Certificate.parse(data)
            name = f"{Kind.CERTIFICATE}:{hex_of(certificate.fingerprint)}"
            if name not in self.nodes:
                continue
            self.mark(name, common_name=certificate.common_name)
            for edge in self.edges:
                if edge.source == name and edge.target in self.nodes:
                    self.nodes[edge.target] = replace(self.nodes[edge.target], label=certificate.common_name)
