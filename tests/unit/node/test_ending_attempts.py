"""How an attempt ends at one node while its links are made or closed, and while the chain ends it already or begins the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick.chain.contract import Event
from tallystick.protocol.reasons import Reason
from tallystick_node.peers.exchange import Peers
from tallystick_node.peers.links import Link, RunLinks
from tallystick_node.runs.engine import Runs
from tallystick_node.runs.promises import NOBODY
from tallystick_node.runs.start import Start
from tallystick_node.settings import Policy
from tallystick_node.store.database import IllegalTransition, Store
from unit.node.test_agreements import OTHERS, OWN, RUN, SILENT, WORLD, Ledger, Me

THERE, GONE = OTHERS
Dial = Callable[[RunLinks, Link], Awaitable[None]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path / 'node.db'}")
    store.create_run(RUN.task, WORLD.spec.to_bytes())
    store.advance(RUN.task, "admitted", attempt=1)
    store.advance(RUN.task, "running")
    return store


def node(store: Store, dial: Dial | None = None) -> Any:
    """A node's runs; ``dial`` is what comes of dialling each of the others."""
    settings: Any = SimpleNamespace(
        policy=Policy(), results=Path("results"), link_seconds=60.0, data_listen="127.0.0.1:0", peers={}
    )
    chain: Any = Ledger(bytes(32))
    chain.now = lambda: 1000
    peers: Any = Peers(settings, chain, OWN)
    peers._dial = dial
    runs: Any = Runs(settings, store, chain, Me(), peers, None, None, "")  # type: ignore[arg-type]
    runs._me = runs._acceptances._me = SimpleNamespace(note=lambda *_, **__: None)
    return runs


def failed(attempt: int) -> Event:
    told = {"attempt": attempt, "accused": NOBODY, "reporter": NOBODY, "reason": int(Reason.INTERNAL)}
    return Event("TaskLedger", "Failed", {"task": bytes.fromhex(RUN.task[2:]), **told}, 5, "", "", 0)


def begun(runs: Any, store: Store) -> asyncio.Task[None]:
    """The run of the first attempt, under way."""
    task = asyncio.create_task(runs._run(store.run(RUN.task), 10**10, Start(1, bytes(32), 0)))
    runs._tasks[RUN.task] = task
    return task


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 60))


def test_what_an_attempt_ends_with_too_late_does_not_end_the_next(store: Store) -> None:
    runs, first = node(store), store.run(RUN.task)
    store.advance(RUN.task, "failed")  # as another party reported, and the next one was accepted
    store.advance(RUN.task, "admitted", attempt=2)
    runs._fail(first, WORLD.spec, SILENT)
    run = store.run(RUN.task)
    assert run is not None and (run.state, run.attempt) == ("admitted", 2)
    assert [row.key for row in store.due_writes()] == [f"fail:{RUN.task}:1"]  # which the chain answers
    with pytest.raises(IllegalTransition):
        store.advance(RUN.task, "running", of=1)
    assert store.advance(RUN.task, "running", of=2).state == "running"


def test_who_does_not_reach_one_party_tells_the_others_why_it_ends_the_run(store: Store) -> None:
    told: list[str] = []

    async def dial(run: RunLinks, link: Link) -> None:
        if link.account == GONE:
            link.fail("does not answer")
            return
        link.ready.set()
        told.append((await link.outbound.get()).abort.problem.message)

    async def scene() -> None:
        await begun(node(store, dial), store)

    play(scene)
    assert told == ["does not answer"]


def test_links_are_closed_also_where_the_chain_ends_the_attempt_meanwhile(store: Store) -> None:
    async def scene() -> None:
        leaving = asyncio.Event()

        async def dial(run: RunLinks, link: Link) -> None:
            link.fail("does not answer")
            await leaving.wait()  # what was said on the link leaves yet

        runs = node(store, dial)
        task = begun(runs, store)
        while not store.due_writes():
            await asyncio.sleep(0.01)
        assert len(runs._peers._runs) == 1
        await asyncio.sleep(0.1)  # it closes its links
        await runs.on_event(failed(1))
        leaving.set()
        await asyncio.wait([task])
        assert runs._peers._runs == {} and runs._tasks == {} and task.exception() is None

    play(scene)
