"""A small history as the chain's events tell it, made from the protocol's synthetic network."""

from __future__ import annotations

from typing import Any

import pytest
from tallystick.chain.contract import Event
from tallystick.provenance import Graph, build
from unit.protocol.world import CHAIN, START, World, make


def history(world: World) -> list[Event]:
    found = []
    for block, (kind, values) in enumerate(world.events, start=1):
        arguments: dict[str, Any] = dict(values)
        if kind.name == "Proposed":
            requester, spec, parties, *rest = arguments["proposal"]
            names = ("account", "dataset", "grant", "epsilonMicros", "uses")
            arguments["proposal"] = {
                "requester": requester,
                "spec": spec,
                "parties": [dict(zip(names, party, strict=True)) for party in parties],
                "rest": rest,
            }
        transaction = f"0x{block:064x}"
        found.append(Event(kind.contract, kind.name, arguments, block, f"0x{block + 1000:064x}", transaction, 0))
    return found


def graph_of(world: World, *, bundles: int = 1, events: list[Event] | None = None) -> Graph:
    told = history(world) if events is None else events
    times = {event.block: START + event.block for event in told}
    return build(
        told, chain_id=CHAIN, block=len(told), block_hash="0x" + "ab" * 32, times=times,
        bundles=[world.bundle()] * bundles,
    )  # fmt: skip


@pytest.fixture
def world() -> World:
    return make()


@pytest.fixture
def graph(world: World) -> Graph:
    return graph_of(world)
