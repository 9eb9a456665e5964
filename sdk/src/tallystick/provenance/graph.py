"""The provenance graph: typed nodes, and edges from cause to effect with what stands behind each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a node is."""

    CERTIFICATE = "certificate"
    PARTICIPANT = "participant"
    DATASET = "dataset"  # one version of a dataset
    GRANT = "grant"
    TASK = "task"
    ATTEMPT = "attempt"
    STATEMENT = "statement"
    RESULT = "result"  # one receiver's result file
    FILE = "file"  # a file beside it, such as a model
    AGREEMENT = "agreement"  # what a task is paid for, and what its participants stake
    DISPUTE = "dispute"
    BREACH = "breach"  # that the contract saw by itself
    ALGORITHM = "algorithm"  # code, as it was registered
    REVIEW = "review"  # what a participant said of an algorithm


class Strength(StrEnum):
    """What stands behind an edge, from the strongest kind of proof to the weakest."""

    # as sum-verified, and the chain checked proofs that inputs and sum are in the ranges that the proof names
    SUM_IN_RANGE = "sum-in-range"
    SUM_VERIFIED = "sum-verified"  # the chain checked that the result is the sum of the committed inputs
    # the chain checked at one point, which commitments fixed, that the committed vectors add up to the result's
    VECTOR_SUM_VERIFIED = "vector-sum-verified"
    PROJECTION_VERIFIED = "projection-verified"  # the chain checked that the announced projections of inputs and result add up
    GROTH16 = "groth16"  # signed by all, and the chain checked a proof of a registered circuit, whose set-up somebody answers for
    ATTESTED_HARDWARE = "attested-hardware"  # signed by all, and the chain checked the quote of an enclave on genuine hardware
    # signed by all, and the chain counted the verifiers that vouch for evidence of genuine hardware
    ATTESTED_HARDWARE_QUORUM = "attested-hardware-quorum"
    ATTESTED_SIMULATED = "attested-simulated"  # signed by all, and the chain checked the quote of a simulated enclave
    # the same, where all but one, two or three parties, whom the statement names, were present to sign
    PROJECTION_VERIFIED_ABSENT_1 = "projection-verified-absent-1"
    PROJECTION_VERIFIED_ABSENT_2 = "projection-verified-absent-2"
    PROJECTION_VERIFIED_ABSENT_3 = "projection-verified-absent-3"
    SIGNED_BY_ALL = "signed-by-all"  # the chain checked the signature of every party
    CHAIN = "chain"  # a contract recorded it under its rules
    DOCUMENT = "document"  # stated in a document whose digest is on chain


@dataclass(frozen=True)
class Node:
    """One thing. ``id`` is ``<kind>:<identifier>``; ``at`` is the time of its block in seconds, if known."""

    id: str
    kind: Kind
    label: str
    block: int | None = None
    at: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The node as it stands in the graph's JSON form."""
        return {
            "id": self.id,
            "kind": str(self.kind),
            "label": self.label,
            "block": self.block,
            "at": self.at,
            "attributes": dict(sorted(self.attributes.items())),
        }


@dataclass(frozen=True)
class Edge:
    """``source`` led to ``target``; ``transaction`` is where the chain recorded it, empty for document edges."""

    source: str
    target: str
    relation: str
    strength: Strength
    block: int | None = None
    transaction: str = ""

    def to_json(self) -> dict[str, Any]:
        """The edge as it stands in the graph's JSON form."""
        return {
            "source": self.source,
            "target": self.target,
            "relation": self.relation,
            "strength": str(self.strength),
            "block": self.block,
            "transaction": self.transaction,
        }


@dataclass(frozen=True)
class Graph:
    """Nodes by id and edges, true at block ``block`` with hash ``block_hash`` of chain ``chain_id``."""

    chain_id: int
    block: int
    block_hash: str
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]

    def of(self, kind: Kind) -> list[Node]:
        """The nodes of one kind, in the order of their appearance on chain."""
        return [node for node in self.nodes.values() if node.kind is kind]

    def ancestors(self, ids: Iterable[str]) -> set[str]:
        """``ids`` and everything that led to them."""
        backward: dict[str, list[str]] = {}
        for edge in self.edges:
            backward.setdefault(edge.target, []).append(edge.source)
        return _reach(ids, backward)

    def descendants(self, ids: Iterable[str]) -> set[str]:
        """``ids`` and everything that they led to."""
        forward: dict[str, list[str]] = {}
        for edge in self.edges:
            forward.setdefault(edge.source, []).append(edge.target)
        return _reach(ids, forward)

    def parents(self, ids: Iterable[str]) -> set[str]:
        """The direct causes of ``ids``."""
        wanted = set(ids)
        return {edge.source for edge in self.edges if edge.target in wanted}

    def within(self, ids: Iterable[str]) -> Graph:
        """The part of the graph on these nodes, with every edge between two of them."""
        kept = set(ids)
        return Graph(
            self.chain_id,
            self.block,
            self.block_hash,
            {name: node for name, node in self.nodes.items() if name in kept},
            tuple(edge for edge in self.edges if edge.source in kept and edge.target in kept),
        )

    def to_json(self) -> dict[str, Any]:
        """The whole graph, ready for ``json``: ``true_at`` says for which state of which chain it holds."""
        return {
            "true_at": {"chain_id": self.chain_id, "block": self.block, "block_hash": self.block_hash},
            "nodes": [node.to_json() for node in self.nodes.values()],
            "edges": [edge.to_json() for edge in self.edges],
        }


def _reach(ids: Iterable[str], neighbours: Mapping[str, list[str]]) -> set[str]:
    seen = set(ids)
    waiting = list(seen)
    while waiting:
        for found in neighbours.get(waiting.pop(), ()):
            if found not in seen:
                seen.add(found)
                waiting.append(found)
    return seen
