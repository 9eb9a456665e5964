"""Dialling peers: one that is silent takes no thread from the others, nor from the rest of the node."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick.protocol.errors import PeerFailed, Refused
from tallystick.protocol.reasons import Reason
from tallystick_node.peers import knocking
from tallystick_node.peers.exchange import Peers
from tallystick_node.peers.links import Link

OWN = "0x" + "00" * 20  # below all others: it dials them
SILENT = [f"0x{number:040x}" for number in range(1, 41)]
AWAKE = "0x" + "ff" * 20
FOREVER = 120.0


class Street:
    """Peers of which all but one take a connection and say nothing until :attr:`go_on`."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def require_server(self, chain: Any, account: str, *_: Any) -> None:
        with self._lock:
            self.asked[account] += 1
        if account != AWAKE:
            self.go_on.wait(FOREVER)
        raise Refused("not enrolled", rule="participant-active", party=account)  # which ends the dialling


@pytest.fixture
def street(monkeypatch: pytest.MonkeyPatch) -> Iterator[Street]:
    made = Street()
    monkeypatch.setattr(knocking, "require_server", made.require_server)
    yield made
    knocking.close()


async def met(node: Peers, task: str, attempt: int, spec: bytes, parties: list[str]) -> None:
    """Open a run's links, and wait for the others."""
    run = await node.open(task, attempt, spec, parties)
    try:
        await node.established(run)
    finally:
        await node.release(run)


def peers() -> Peers:
    settings: Any = SimpleNamespace(
        peers=dict.fromkeys([*SILENT, AWAKE], "127.0.0.1:1"), key="", certificate="", authority="", data_listen="127.0.0.1:0",
        link_seconds=FOREVER,
    )  # fmt: skip
    chain: Any = None
    return Peers(settings, chain, OWN)


def test_silent_peers_keep_no_thread_from_another_peer_nor_from_the_rest_of_the_node(street: Street) -> None:
    async def play() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        node = peers()
        waiting = asyncio.create_task(met(node, "0x" + "aa" * 32, 1, b"", [OWN, *SILENT]))
        try:
            async with asyncio.timeout(FOREVER):
                with pytest.raises(PeerFailed, match="not enrolled") as caught:
                    await met(node, "0x" + "bb" * 32, 1, b"", [OWN, AWAKE])
                assert (caught.value.party, caught.value.reason) == (AWAKE, Reason.PEER_SILENT)
                assert await asyncio.to_thread(lambda: "served") == "served"
            assert not waiting.done()
        finally:
            street.go_on.set()
        with pytest.raises(PeerFailed):
            await waiting

    asyncio.run(play())
    assert street.asked.keys() == {*SILENT, AWAKE}


async def dialled(node: Peers, street: Street, runs: int) -> list[asyncio.Task[Any]]:
    """Runs with one silent peer, of which as many as may look at its certificate at a time."""
    begun = [asyncio.create_task(met(node, "0x" + "aa" * 32, attempt, b"", [OWN, SILENT[0]])) for attempt in range(runs)]
    async with asyncio.timeout(FOREVER):
        while street.asked[SILENT[0]] < knocking.EACH:
            await asyncio.sleep(0.01)
    return begun


def test_a_silent_peer_of_many_runs_holds_a_few_threads(street: Street) -> None:
    async def play() -> None:
        node = peers()
        try:
            runs = await dialled(node, street, 20)
            async with asyncio.timeout(FOREVER):
                with pytest.raises(PeerFailed):
                    await met(node, "0x" + "bb" * 32, 1, b"", [OWN, AWAKE])
            assert street.asked[SILENT[0]] == knocking.EACH
        finally:
            street.go_on.set()
        assert {type(each) for each in await asyncio.gather(*runs, return_exceptions=True)} == {PeerFailed}

    asyncio.run(play())
    assert street.asked[SILENT[0]] == 20


def test_a_node_that_stops_waits_for_no_silent_peer_and_looks_at_no_more(street: Street) -> None:
    async def play() -> None:
        node = peers()
        await node.listen()
        try:
            runs = await dialled(node, street, 20)
            await node.close()
            assert not street.go_on.is_set()
        finally:
            street.go_on.set()
        for each in runs:
            each.cancel()
        await asyncio.gather(*runs, return_exceptions=True)

    asyncio.run(play())
    assert street.asked[SILENT[0]] == knocking.EACH


def test_a_party_that_came_while_this_process_stood_still_is_there() -> None:
    async def play() -> None:
        node, link = peers(), Link(AWAKE)
        node._settings.link_seconds = 0.25
        waiting = asyncio.create_task(node._await(link))
        asyncio.get_running_loop().call_later(0.3, link.ready.set)
        await asyncio.sleep(0)
        time.sleep(0.8)  # as a machine that sleeps
        await waiting

    asyncio.run(play())
