# ruff: noqa: N802 - handlers are named after the events that they take
"""Builds the graph from the chain's events, in order; bundles add what the chain only holds digests of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from tallystick.chain.contract import Event
from tallystick.protocol import canonical, typed
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import VerificationFailed
from tallystick.protocol.grant import GrantTerms
from tallystick.protocol.identity import Certificate, role_names
from tallystick.protocol.reasons import reason_words
from tallystick.protocol.result import ResultFile, file_digest
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.task import PROOFS, TaskSpec
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
    MalformedDocument for a bundle that is not about a result in ``events``. Trusted: the source of ``events``; a bundle is
    believed only where its digests are on chain.
    """
    builder = _Builder(times)
    for event in events:
        builder.take(event)
    for bundle in bundles:
        builder.add_bundle(bundle)
    for content in (*results, *(each for bundle in bundles for each in bundle.results.values())):
        builder.add_files(content)
    return Graph(chain_id, block, block_hash, builder.nodes, tuple(dict.fromkeys(builder.edges)))


class _Builder:
    def __init__(self, times: Mapping[int, int]) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self._times = times
        self._version: dict[str, str] = {}  # dataset -> node of its version in force
        self._parts: dict[str, list[tuple[str, str]]] = {}  # task -> (dataset, grant) of each party with input

    def take(self, event: Event) -> None:
        """Add one event; names that say nothing about provenance are passed over."""
        handler = getattr(self, f"_{event.name}", None)
        if handler is not None:
            handler(event)

    def _node(self, event: Event, kind: Kind, identifier: str, label: str, **attributes: str) -> str:
        name = f"{kind}:{identifier}"
        at = self._times.get(event.block)
        self.nodes.setdefault(name, Node(name, kind, label, event.block, at, attributes))
        return name

    def _mark(self, name: str, **attributes: str) -> None:
        if name in self.nodes:
            node = self.nodes[name]
            self.nodes[name] = replace(node, attributes={**node.attributes, **attributes})

    def _edge(self, event: Event, source: str, target: str, relation: str, strength: Strength = Strength.CHAIN) -> None:
        self.edges.append(Edge(source, target, relation, strength, event.block, event.transaction))

    def _account(self, event: Event, account: str) -> str:
        return self._node(event, Kind.PARTICIPANT, account, _short(account), account=account, status="active")

    # -- ParticipantRegistry ---------------------------------------------------------------------------------

    def _Enrolled(self, event: Event) -> None:
        account, fingerprint = event["account"], _hex(event["fingerprint"])
        roles = ", ".join(role_names(event["roles"]))
        participant = self._account(event, account)
        self._mark(participant, roles=roles, status="active")
        certificate = self._node(
            event, Kind.CERTIFICATE, fingerprint, _short(fingerprint), fingerprint=fingerprint,
            authority=str(event["authority"]), not_before=str(event["notBefore"]), not_after=str(event["notAfter"]),
        )  # fmt: skip
        self._edge(event, certificate, participant, "certifies")

    def _Suspended(self, event: Event) -> None:
        self._mark(f"{Kind.PARTICIPANT}:{event['account']}", status="suspended")

    def _Reinstated(self, event: Event) -> None:
        self._mark(f"{Kind.PARTICIPANT}:{event['account']}", status="active")

    def _Revoked(self, event: Event) -> None:
        self._mark(f"{Kind.PARTICIPANT}:{event['account']}", status="revoked")

    # -- DatasetRegistry and GrantLedger ---------------------------------------------------------------------

    def _Published(self, event: Event) -> None:
        dataset, version = _hex(event["dataset"]), str(event["version"])
        name = self._node(
            event, Kind.DATASET, f"{dataset}#{version}", _short(dataset), dataset=dataset, version=version,
            rows_root=_hex(event["rows"]), owner=event["owner"],
        )  # fmt: skip
        self._edge(event, self._account(event, event["owner"]), name, "published")
        if dataset in self._version:
            self._edge(event, self._version[dataset], name, "was revised to")
        self._version[dataset] = name

    def _Withdrawn(self, event: Event) -> None:
        self._mark(self._version.get(_hex(event["dataset"]), ""), withdrawn_at_block=str(event.block))

    def _Granted(self, event: Event) -> None:
        grant, dataset = _hex(event["grant"]), _hex(event["dataset"])
        name = self._node(
            event, Kind.GRANT, grant, _short(grant), grant=grant, dataset=dataset, grantee=event["grantee"],
            terms=_hex(event["terms"]), uses=str(event["uses"]), used="0",
            epsilon_micros=str(event["epsilonMicros"]),
            not_before=str(event["notBefore"]), not_after=str(event["notAfter"]),
        )  # fmt: skip
        if dataset in self._version:
            self._edge(event, self._version[dataset], name, "was granted under")
        self._edge(event, self._account(event, event["grantee"]), name, "is the grantee of")

    def _GrantRevoked(self, event: Event) -> None:
        self._mark(f"{Kind.GRANT}:{_hex(event['grant'])}", revoked_at_block=str(event.block))

    def _Debited(self, event: Event) -> None:
        grant = f"{Kind.GRANT}:{_hex(event['grant'])}"
        self._mark(grant, used=str(event["used"]), spent_micros=str(event["spentMicros"]))
        attempt = self._attempt(event)
        if grant in self.nodes:
            self._edge(event, grant, attempt, "was debited for")

    # -- TaskLedger and ProofRegistry ------------------------------------------------------------------------

    def _attempt(self, event: Event) -> str:
        task, number = _hex(event["task"]), str(event["attempt"])
        known = f"{Kind.ATTEMPT}:{task}#{number}" in self.nodes
        name = self._node(event, Kind.ATTEMPT, f"{task}#{number}", f"attempt {number}", task=task, attempt=number)
        if not known and f"{Kind.TASK}:{task}" in self.nodes:
            self._edge(event, f"{Kind.TASK}:{task}", name, "was attempted as")
        return name

    def _Proposed(self, event: Event) -> None:
        task, proposal = _hex(event["task"]), event["proposal"]
        name = self._node(
            event, Kind.TASK, task, _short(task), task=task, spec=_hex(event["spec"]), requester=event["requester"],
            state="proposed",
        )  # fmt: skip
        self._edge(event, self._account(event, event["requester"]), name, "proposed")
        parts = [(_hex(each["dataset"]), _hex(each["grant"])) for each in proposal["parties"] if any(each["grant"])]
        self._parts[task] = parts
        for _, grant in parts:
            if f"{Kind.GRANT}:{grant}" in self.nodes:
                self._edge(event, f"{Kind.GRANT}:{grant}", name, "is named by")

    def _Accepted(self, event: Event) -> None:
        self._edge(event, self._account(event, event["party"]), self._attempt(event), "accepted")

    def _Started(self, event: Event) -> None:
        attempt, task = self._attempt(event), _hex(event["task"])
        self._mark(f"{Kind.TASK}:{task}", state="running")
        self._mark(attempt, state="running", started_at=str(self._times.get(event.block, "")))
        for dataset, _ in self._parts.get(task, ()):
            if dataset in self._version:
                self._edge(event, self._version[dataset], attempt, "was used in")

    def _Failed(self, event: Event) -> None:
        self._mark(f"{Kind.TASK}:{_hex(event['task'])}", state="failed")
        self._mark(self._attempt(event), state="failed", reason=reason_words(event["reason"]), accused=event["accused"])

    def _Cancelled(self, event: Event) -> None:
        self._mark(f"{Kind.TASK}:{_hex(event['task'])}", state="cancelled")

    def _Expired(self, event: Event) -> None:
        self._mark(f"{Kind.TASK}:{_hex(event['task'])}", state="expired")
        self._mark(f"{Kind.ATTEMPT}:{_hex(event['task'])}#{event['attempt']}", state="expired")

    def _ResultProved(self, event: Event) -> None:
        strength = _KINDS.get(event["kind"], Strength.CHAIN)
        attempt, statement = self._attempt(event), _hex(event["statement"])
        self._mark(f"{Kind.TASK}:{_hex(event['task'])}", state="proved")
        self._mark(attempt, state="proved")
        name = self._node(
            event, Kind.STATEMENT, statement, _short(statement), statement=statement, proof=str(strength),
            task=_hex(event["task"]),
        )  # fmt: skip
        self._edge(event, attempt, name, "is proved by", strength)

    # -- bundles ---------------------------------------------------------------------------------------------

    def add_bundle(self, bundle: Bundle) -> None:
        """Add the documents of a bundle, each tied to a digest on chain."""
        envelope = Envelope.parse(bundle.statement)
        stated = Statement.parse(envelope.payload)
        name = f"{Kind.STATEMENT}:{_hex(envelope.statement_digest)}"
        if name not in self.nodes or self.nodes[name].attributes["task"] != stated.task:
            raise VerificationFailed(
                "the bundle's statement was not proved on this chain", rule=11, remedy="`tally verify` the bundle first"
            )
        spec = TaskSpec.parse(bundle.spec)
        task = f"{Kind.TASK}:{stated.task}"
        if task in self.nodes and self.nodes[task].attributes["spec"] != canonical.hex32(spec.digest()):
            raise VerificationFailed("the bundle's spec is not the one proposed on chain", rule=2)
        self._mark(task, workload=spec.workload, purpose=spec.purpose)
        proved = self.nodes[name]
        for output in stated.outputs:
            digest = output.sha256
            result = Node(
                f"{Kind.RESULT}:{digest}", Kind.RESULT, _short(digest), proved.block, proved.at,
                {"sha256": digest, "receiver": output.receiver, "task": stated.task},
            )  # fmt: skip
            self.nodes.setdefault(result.id, result)
            self.edges.append(Edge(name, result.id, "attests", Strength.DOCUMENT, proved.block))
            receiver = f"{Kind.PARTICIPANT}:{output.receiver}"
            if receiver in self.nodes:
                self.edges.append(Edge(receiver, result.id, "received", Strength.DOCUMENT, proved.block))
        self._name_grants(bundle)
        self._name_certificates(bundle)

    def add_files(self, content: bytes) -> None:
        """Add what a result file names, if a statement has the file's digest."""
        result = self.nodes.get(f"{Kind.RESULT}:{file_digest(content)}")
        if result is None:
            return
        for file, digest in ResultFile.parse(content).files.items():
            attributes = {"sha256": digest, "task": result.attributes["task"]}
            node = Node(f"{Kind.FILE}:{digest}", Kind.FILE, file, result.block, result.at, attributes)
            self.nodes.setdefault(node.id, node)
            self.edges.append(Edge(result.id, node.id, "names", Strength.DOCUMENT, result.block))

    def _name_grants(self, bundle: Bundle) -> None:
        by_root = {node.attributes["terms"]: node.id for node in self.nodes.values() if node.kind is Kind.GRANT}
        for data in bundle.terms.values():
            terms = GrantTerms.parse(data)
            found = by_root.get(canonical.hex32(terms.root()))
            if found is not None:
                self._mark(found, purpose=terms.purpose, algorithms=", ".join(terms.algorithms))

    def _name_certificates(self, bundle: Bundle) -> None:
        for data in bundle.certificates.values():
            certificate = Certificate.parse(data)
            name = f"{Kind.CERTIFICATE}:{_hex(certificate.fingerprint)}"
            if name not in self.nodes:
                continue
            self._mark(name, common_name=certificate.common_name)
            for edge in self.edges:
                if edge.source == name and edge.target in self.nodes:
                    self.nodes[edge.target] = replace(self.nodes[edge.target], label=certificate.common_name)


def _hex(value: Any) -> str:
    return "0x" + bytes(value).hex()


def _short(text: str) -> str:
    head, _, body = text.rpartition(":")
    return f"{body[:8]}…{body[-4:]}" if not head else f"{head}:{body[:6]}…{body[-4:]}"
