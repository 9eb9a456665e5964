"""The questions that the graph answers. Each answer is a graph of its own, true at the same block."""

from __future__ import annotations

from collections.abc import Iterable

from tallystick.protocol.errors import NotFound
from tallystick.provenance.graph import Graph, Kind

_OF_TASKS = (Kind.TASK, Kind.ATTEMPT, Kind.STATEMENT, Kind.AGREEMENT, Kind.DISPUTE, Kind.BREACH)


def by_dataset(graph: Graph, dataset: str) -> Graph:
    """Every use of a dataset (``0x…``), forward to the results, with who took part in each. Raises NotFound."""
    starts = [node.id for node in graph.of(Kind.DATASET) if node.attributes["dataset"] == dataset.lower()]
    _require(starts, "dataset", dataset)
    forward = graph.descendants(starts)
    return graph.within(forward | graph.parents(forward))


def by_participant(graph: Graph, account: str) -> Graph:
    """Everything an account certified, published, granted, asked for, took part in or received. Raises NotFound."""
    starts = [node.id for node in graph.of(Kind.PARTICIPANT) if node.attributes["account"].lower() == account.lower()]
    _require(starts, "participant", account)
    return graph.within(graph.descendants(starts) | graph.parents(starts))


def by_task(graph: Graph, task: str) -> Graph:
    """A task with all that led to it and all that came of it. Raises NotFound."""
    start = f"{Kind.TASK}:{task.lower()}"
    _require([start] if start in graph.nodes else [], "task", task)
    return _around(graph, [start])


def by_file(graph: Graph, sha256: str) -> Graph:
    """Back from a result file or a file beside it, by its plain hash, to the certificates. Needs its task's bundle, and for a
    file beside it the result file. Raises NotFound."""
    digest = sha256.lower().removeprefix("sha256:").removeprefix("0x")
    starts = {f"{kind}:sha256:{digest}" for kind in (Kind.RESULT, Kind.FILE)} & graph.nodes.keys()
    if not starts:
        raise NotFound(
            "no known task has this result file",
            party=sha256,
            remedy="give the bundle of its task: the chain itself holds only a hiding digest",
        )
    return graph.within(graph.ancestors(starts))


def by_purpose(graph: Graph, purpose: str) -> Graph:
    """The tasks for a purpose, as far as their spec documents are known from bundles. Raises NotFound."""
    starts = [node.id for node in graph.of(Kind.TASK) if node.attributes.get("purpose") == purpose]
    if not starts:
        raise NotFound(
            "no task with a known spec has this purpose",
            party=purpose,
            remedy="give the bundles: purposes are not on the chain",
        )
    return _around(graph, starts)


def by_period(graph: Graph, first: int, last: int) -> Graph:
    """The tasks that something happened to from ``first`` to ``last``, seconds since 1970, inclusive. May be empty."""
    starts = {
        f"{Kind.TASK}:{node.attributes['task']}"
        for node in graph.nodes.values()
        if node.kind in _OF_TASKS and node.at is not None and first <= node.at <= last
    }
    return _around(graph, starts & graph.nodes.keys())


def _around(graph: Graph, tasks: Iterable[str]) -> Graph:
    return graph.within(graph.ancestors(graph.descendants(tasks)))


def _require(found: list[str], what: str, name: str) -> None:
    if not found:
        raise NotFound(f"the chain knows no such {what}", party=name, remedy=f"list what it knows: `tally {what} list`")
