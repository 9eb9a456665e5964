"""Openings that are demanded of a node: shown beside everything else, in time, across restarts, or not at all and on record."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs
from tallystick.chain.contract import Event
from tallystick.protocol import canonical
from tallystick.protocol.dataset import Column, DatasetDescriptor
from tallystick.protocol.errors import ChainUnreachable
from tallystick_node.data.attach import attach
from tallystick_node.runs import openings as module
from tallystick_node.runs.openings import Openings
from tallystick_node.runs.promises import Promises
from tallystick_node.settings import Policy
from tallystick_node.store.database import Store
from unit.node.test_agreements import RUN, SIGNER, WORLD, Ledger

ROWS = 13
DISPUTE = b"\7" * 32


class Disputed(Ledger):
    """A chain on which a dispute is open until ``rule_by``."""

    def __init__(self) -> None:
        super().__init__(bytes(32))
        self.disputes = self
        self.rule_by, self.outcome, self.silent, self.behind = time.time() + 10_000, 1, 0, 0

    def now(self) -> int:
        return int(time.time())

    def dispute_at(self, dispute: bytes) -> dict[str, Any]:
        assert dispute in (DISPUTE, b"\x08" * 32)
        if self.silent:
            self.silent -= 1
            raise ChainUnreachable("no answer", party="http://chain")
        if self.behind:
            self.behind -= 1
            return {"ruleBy": 0, "outcome": 0}
        return {"ruleBy": self.rule_by, "outcome": self.outcome}


class Scene:
    def __init__(self, folder: Path) -> None:
        self.store, self.chain, self.notes = Store(f"sqlite:///{folder / 'node.db'}"), Disputed(), []
        self.store.create_run(RUN.task, WORLD.spec.to_bytes())
        (folder / "rows.csv").write_text("a\n" + "".join(f"{i}\n" for i in range(ROWS)))
        columns = canonical.encode([Column("a", "int64").to_json()])
        descriptor = DatasetDescriptor.parse(attach(self.store, folder, SIGNER.address, "rows", "rows.csv", columns))
        agreements: Any = SimpleNamespace(of=lambda spec: None)
        self.promises = Promises(self.chain, self.store, SIGNER, Policy(), agreements)  # type: ignore[arg-type]
        root = canonical.untext(descriptor.root)
        asked = {"dataset": b"\2" * 32, "rows": root, "index": 5, "size": descriptor.rows}
        self.event = Event("Disputes", "OpeningDemanded", {"dispute": DISPUTE, "demand": asked}, 3, "", "", 0)

    def node(self) -> Openings:
        me: Any = SimpleNamespace(note=lambda kind, message, *_: self.notes.append(message))
        return Openings(me, self.store, self.chain, self.promises)  # type: ignore[arg-type]

    def within(self, act: Callable[[Openings], Coroutine[Any, Any, None]]) -> None:
        """A node that does something and goes on until nothing is under way."""

        async def live() -> None:
            node = self.node()
            await act(node)
            await asyncio.gather(*node._tasks.values())

        asyncio.run(live())

    def queued(self) -> list[str]:
        return [row.key for row in self.store.due_writes()]

    def kept(self) -> int:
        return len(self.store.recalled(module.KEPT))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


SHOWN = [f"open:{RUN.task}:{canonical.hex32(DISPUTE)}"]


def test_a_row_that_is_demanded_is_shown_once_however_often_the_event_comes(scene: Scene) -> None:
    async def twice(node: Openings) -> None:
        await node.demanded(RUN, scene.event)
        await node.demanded(RUN, scene.event)

    scene.within(twice)
    scene.within(lambda node: node.demanded(RUN, scene.event))  # once more after a restart
    assert scene.queued() == SHOWN and scene.kept() == 0
    assert scene.notes[0] == "shows where a row stands, as it is demanded"


def test_reading_the_file_holds_up_nobody_and_a_restart_takes_it_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, show = threading.Event(), scene.promises.open_row

    def slow(*arguments: Any) -> None:
        reading.set()
        while True:
            time.sleep(0.001)
            arguments[-1]()  # what ends it is what the node says between two batches

    monkeypatch.setattr(scene.promises, "open_row", slow)

    async def interrupted() -> None:
        node = scene.node()
        await node.demanded(RUN, scene.event)  # comes back though the file is not read
        await asyncio.to_thread(reading.wait)
        await node.stop()

    asyncio.run(interrupted())
    assert scene.queued() == [] and scene.kept() == 1 and scene.notes == []
    monkeypatch.setattr(scene.promises, "open_row", show)
    scene.within(lambda node: node.resume())
    assert scene.queued() == SHOWN and scene.kept() == 0


def test_what_would_come_after_the_ruling_is_not_shown(scene: Scene) -> None:
    scene.chain.rule_by = time.time() + scene.promises.margin - 1
    scene.within(lambda node: node.demanded(RUN, scene.event))
    assert scene.queued() == [] and scene.kept() == 0
    assert "before the arbiters may rule" in scene.notes[0]
    run = scene.store.run(RUN.task)
    assert run is not None and run.problem["remedy"] == "show the row to the arbiters"


@pytest.mark.parametrize("outcome", [0, 2, 3])
def test_what_is_decided_is_not_shown(scene: Scene, monkeypatch: pytest.MonkeyPatch, outcome: int) -> None:
    """What is not there, as a re-organisation took it away, is not waited for for ever."""
    monkeypatch.setattr(module, "PAUSE", 0.0)
    scene.chain.outcome = outcome
    scene.within(lambda node: node.demanded(RUN, scene.event))
    assert scene.queued() == scene.notes == [] and scene.kept() == 0


def test_a_chain_that_does_not_answer_is_asked_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    scene.chain.silent = 3
    scene.within(lambda node: node.demanded(RUN, scene.event))
    assert scene.queued() == SHOWN


def test_a_chain_that_does_not_show_the_dispute_yet_is_asked_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind one address there may be endpoints of which one has the block of the demand and another has not."""
    monkeypatch.setattr(module, "PAUSE", 0.0)
    scene.chain.behind = 3
    scene.within(lambda node: node.demanded(RUN, scene.event))
    assert scene.queued() == SHOWN


def test_a_silent_chain_and_a_late_turn_use_up_no_patience_for_one_that_lags(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks there may be silence, or another demand that takes long."""
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(module, "LOOKS", 2)
    ask, clock = scene.chain.dispute_at, [time.monotonic()]
    monkeypatch.setattr(module, "time", SimpleNamespace(time=time.time, monotonic=lambda: clock[0]))
    unseen = [True, False, True, False, False]  # whether a question is answered, by a chain that shows nothing yet

    def later(dispute: bytes) -> dict[str, Any]:
        clock[0] += 600
        if unseen:
            if unseen.pop():
                return {**ask(dispute), "outcome": 0}
            raise ChainUnreachable("silent")
        return ask(dispute)

    scene.chain.rule_by = time.time() + 86400
    monkeypatch.setattr(scene.chain, "dispute_at", later)
    scene.within(lambda node: node.demanded(RUN, scene.event))
    assert unseen == [] and scene.kept() == 0 and scene.queued() == SHOWN


def test_a_row_that_is_not_there_is_on_record(scene: Scene) -> None:
    scene.event.arguments["demand"]["rows"] = bytes(32)
    scene.within(lambda node: node.demanded(RUN, scene.event))
    assert "no attached dataset has the demanded commitment" in scene.notes[0] and scene.kept() == 0


class Failing:
    """A way to show a row that fails by a defect, the first ``times``."""

    def __init__(self, promises: Promises, times: int) -> None:
        self.show, self.times, self.tries = promises.open_row, times, 0

    def __call__(self, *arguments: Any) -> None:
        self.tries += 1
        if self.tries <= self.times:
            raise ZeroDivisionError
        self.show(*arguments)


def test_what_fails_by_a_defect_is_on_record_and_tried_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(scene.promises, "open_row", Failing(scene.promises, 3))
    with capture_logs() as logs:
        scene.within(lambda node: node.demanded(RUN, scene.event))
    assert scene.queued() == SHOWN and scene.kept() == 0
    told, shown = scene.notes  # once, however often it failed
    assert "failed by a defect of this node (ZeroDivisionError)" in told and shown.startswith("shows")
    assert [line["event"] for line in logs].count("a demanded opening failed by a defect") == 3
    run = scene.store.run(RUN.task)
    assert run is not None and "until the arbiters may rule" in run.problem["remedy"]


def test_a_defect_of_the_store_too_is_on_record_as_soon_as_it_can_be(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(scene.promises, "open_row", Failing(scene.promises, 3))
    note, full = scene.store.note_problem, [True, True]

    def noted(*arguments: Any) -> None:
        if full:
            raise OSError(full.pop())
        note(*arguments)

    monkeypatch.setattr(scene.store, "note_problem", noted)
    scene.within(lambda node: node.demanded(RUN, scene.event))
    assert scene.queued() == SHOWN and full == []
    told, shown = scene.notes
    assert "failed by a defect of this node (ZeroDivisionError)" in told and shown.startswith("shows")


def test_a_defect_that_stays_is_given_up_and_the_next_start_takes_it_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(module, "TRIES", 3)
    failing = Failing(scene.promises, module.TRIES)
    monkeypatch.setattr(scene.promises, "open_row", failing)
    scene.within(lambda node: node.demanded(RUN, scene.event))
    assert failing.tries == module.TRIES and scene.queued() == [] and scene.kept() == 1
    scene.within(lambda node: node.resume())
    assert scene.queued() == SHOWN and scene.kept() == 0


def test_a_defect_is_not_tried_again_after_the_ruling_may_come(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)

    def broken(*_: Any) -> None:
        scene.chain.rule_by = time.time()
        raise ZeroDivisionError

    monkeypatch.setattr(scene.promises, "open_row", broken)
    scene.within(lambda node: node.demanded(RUN, scene.event))
    assert len(scene.notes) == 2 and "before the arbiters may rule" in scene.notes[1]
    assert scene.queued() == [] and scene.kept() == 0


@pytest.mark.parametrize("trouble", ["silence", "defect"])
def test_who_waits_for_its_next_try_keeps_nobody_waiting(scene: Scene, monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    """The first demand fails, and pauses for an hour; the second one is shown all the same."""
    monkeypatch.setattr(module, "PAUSE", 3600.0)
    monkeypatch.setattr(module, "LONGEST", dict.fromkeys(module.LONGEST, 3600.0))
    if trouble == "silence":
        scene.chain.silent = 1
    else:
        monkeypatch.setattr(scene.promises, "open_row", Failing(scene.promises, 1))
    second = Event("Disputes", "OpeningDemanded", {**scene.event.arguments, "dispute": b"\x08" * 32}, 4, "", "", 0)

    async def both() -> None:
        node = scene.node()
        await node.demanded(RUN, scene.event)
        await node.demanded(RUN, second)
        (other,) = (task for key, task in node._tasks.items() if key.endswith("08"))
        await asyncio.wait_for(other, 60)
        assert len(node._tasks) == 1
        await node.stop()

    asyncio.run(both())
    assert scene.queued() == [f"open:{RUN.task}:0x{'08' * 32}"] and scene.kept() == 1
