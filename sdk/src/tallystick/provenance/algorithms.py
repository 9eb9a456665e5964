# ruff: noqa: N802 - handlers are named after the events that they take
"""Algorithms and their reviews in the graph; of a task in an enclave, what reviewers said of its code when its attempt started."""

from __future__ import annotations

from collections.abc import Mapping

from tallystick.chain.contract import Event
from tallystick.protocol import canonical
from tallystick.protocol.algorithm import kind_named, verdict_word
from tallystick.protocol.proof.attested import EnclaveTerms
from tallystick.protocol.task import ENCLAVE, TaskSpec
from tallystick.provenance.draft import short
from tallystick.provenance.enforcement import EnforcementDraft
from tallystick.provenance.graph import Edge, Kind, Strength

Position = tuple[int, int]  # block, and log in it


class AlgorithmDraft(EnforcementDraft):
    """What the registry of algorithms tells. Which code a task ran is not on chain: its bundle's spec says it."""

    def __init__(self, times: Mapping[int, int]) -> None:
        super().__init__(times)
        self._known: dict[str, Position] = {}  # algorithm node -> since when
        self._ended: dict[str, Position] = {}
        self._said: dict[str, list[tuple[Position, str, str]]] = {}  # algorithm node -> when, reviewer, review node
        self._begun: dict[str, Position] = {}  # attempt node -> when it started

    def begin(self, event: Event, attempt: str) -> None:
        """Note when an attempt started."""
        self._begun[attempt] = _position(event)

    def _AlgorithmRegistered(self, event: Event) -> None:
        code = canonical.text(event["code"])
        name = self.node(
            event, Kind.ALGORITHM, code, short(code), algorithm=code, author=event["author"], code_kind=kind_named(event["kind"]),
            card=canonical.text(event["card"]),
        )  # fmt: skip
        self.edge(event, self.account(event, event["author"]), name, "registered")
        self._known[name] = _position(event)

    def _AlgorithmWithdrawn(self, event: Event) -> None:
        name = _algorithm(event)
        self.mark(name, withdrawn_at_block=str(event.block))
        self._ended[name] = _position(event)

    def _AlgorithmReviewed(self, event: Event) -> None:
        code, algorithm, reviewer = canonical.text(event["code"]), _algorithm(event), event["reviewer"]
        said = self._said.setdefault(algorithm, [])
        verdict = verdict_word(event["approved"])
        name = self.node(
            event, Kind.REVIEW, f"{code}#{len(said) + 1}", f"{verdict} {short(code)}",
            algorithm=code, reviewer=reviewer, verdict=verdict, reason=canonical.text(event["reason"]),
        )  # fmt: skip
        self.edge(event, self.account(event, reviewer), name, "gave")
        if algorithm in self.nodes:
            self.edge(event, algorithm, name, "was judged in")
        said.append((_position(event), reviewer, name))

    def name_code(self, spec: TaskSpec, task: str, attempt: str) -> None:
        """Tie a task in an enclave to its code's registration and to the reviews that stood when the attempt started. Raises
        MalformedDocument where the spec names its code in no way that there is."""
        if spec.parameters.get(ENCLAVE) is None:
            return
        algorithm = f"{Kind.ALGORITHM}:{canonical.text(EnclaveTerms.of(spec.parameters).algorithm)}"
        start = self._begun.get(attempt)
        if start is None:
            return
        if algorithm not in self._known or self._known[algorithm] > start:
            self.mark(attempt, reviews="the code was not registered")
            return
        standing = {reviewer: name for at, reviewer, name in self._said.get(algorithm, ()) if at < start}
        verdicts = [self.nodes[name].attributes["verdict"] for name in standing.values()]
        words = f"{verdicts.count('approved')} approved, {verdicts.count('rejected')} rejected"
        if algorithm in self._ended and self._ended[algorithm] < start:
            words += ", withdrawn by its author"
        self.mark(attempt, reviews=words)
        block = self.nodes[attempt].block
        self.edges.append(Edge(algorithm, task, "is the code of", Strength.DOCUMENT, block))
        self.edges += [Edge(name, attempt, "stood at the start of", Strength.DOCUMENT, block) for name in standing.values()]


def _algorithm(event: Event) -> str:
    return f"{Kind.ALGORITHM}:{canonical.text(event['code'])}"


def _position(event: Event) -> Position:
    return event.block, event.log_index
