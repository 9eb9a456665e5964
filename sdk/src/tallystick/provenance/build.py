# ruff: noqa: N802 - handlers are named after the events that they take
"""Builds the graph from the chain's events, in order; bundles add what the chain only holds digests of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from tallystick.chain.contract import Event
from tallystick.protocol import typed
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.identity import role_names
from tallystick.protocol.reasons import reason_words
from tallystick.protocol.task import PROOFS
from tallystick.provenance.bundles import BundleDraft
from tallystick.provenance.draft import hex_of, short
from tallystick.provenance.graph import Graph, Kind, Strength

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
    MalformedDocument for a bundle that is not about a result in ``events``, or whose spec or proof is another than the chain's.

    The chain holds digests and reads no documents. One that it has the digest of and that is not well-formed hides nothing else:
    its statement, or its result, has a ``finding`` that says which rule it breaks. Files of a bundle that cannot be read and that
    no digest on chain leads to are named as ``unread`` with the statement, and say nothing of its parties.

    Trusted: the source of ``events``; a bundle is believed only where its digests are on chain.
    """
    builder = _Builder(times)
    for event in events:
        builder.take(event)
    for bundle in bundles:
        builder.add_bundle(bundle)
    for content in (*results, *(each for bundle in bundles for each in bundle.results.values())):
        builder.add_files(content)
    return Graph(chain_id, block, block_hash, builder.nodes, tuple(dict.fromkeys(builder.edges)))


class _Builder(BundleDraft):
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
        self.prove(event, attempt, name)

    def _PartiesAbsent(self, event: Event) -> None:
        attempt = self._attempt(event)
        for account in event["parties"]:
            self.edge(event, self.account(event, account), attempt, "was absent from the end of")
