"""A chain that makes blocks only for transactions has a clock that stands between them, and one may not answer for a while:
occurrences are due all the same."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick.client import Client, follow, recurring
from tallystick.client.recurring import Recurrence, repeat
from tallystick.protocol.errors import ChainUnreachable
from tallystick.protocol.task import TaskSpec
from unit.protocol.world import make

PROVED = {"state": follow.STATES.index("Proved"), "attempt": 1, "accepted": 7, "startedAt": 1, "runBy": 2}


class Idle:
    """A chain whose last block is an hour old. It knows every task, and each is proved."""

    profile = SimpleNamespace(poll_seconds=0.05)
    tasks = SimpleNamespace(task_at=lambda _: PROVED)

    def __init__(self) -> None:
        self.asked, self.last = 0, int(time.time()) - 3600

    def now(self) -> int:
        self.asked += 1
        assert self.asked < 60, "it waits for a block that never comes"
        return self.last


def test_the_next_occurrence_is_due_and_has_its_time_to_accept(tmp_path: Path) -> None:
    client: Any = SimpleNamespace(chain=Idle())
    told: list[tuple[int, str]] = []
    began = time.time()
    repeat(client, Recurrence(make().spec, 1, 2, 600), [], tmp_path, lambda number, _, state: told.append((number, state)))
    assert told == [(1, "Proved"), (2, "Proved")]
    specs = [TaskSpec.parse((tmp_path / f"{number:05d}.json").read_bytes()) for number in (1, 2)]
    assert all(spec.accept_by >= int(began) + 600 for spec in specs)


def test_a_task_that_is_drafted_has_its_time_to_accept() -> None:
    spec = make().spec
    chain: Any = Idle()
    chain.signer = SimpleNamespace(address=spec.requester)
    chain.deployment = SimpleNamespace(chain_id=spec.chain_id, contracts={"TaskLedger": spec.task_ledger})
    drafted = Client(chain).draft(
        spec.workload, spec.parameters, {}, {}, receivers=[spec.requester], purpose="health", proof=spec.proof, accept_seconds=60
    )
    assert 0 <= drafted.accept_by - 60 - time.time() + 1 < 60


class Flaky(Idle):
    """A chain that does not answer some questions."""

    def now(self) -> int:
        if self.asked in (0, 1, 4, 6):
            self.asked += 1
            raise ChainUnreachable("no answer")
        return super().now()


def test_a_chain_that_does_not_answer_is_asked_again_and_nothing_is_told_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(recurring, "pause", waited.append)
    client: Any = SimpleNamespace(chain=Flaky())
    told: list[tuple[int, str]] = []
    repeat(client, Recurrence(make().spec, 1, 1, 600), [], tmp_path, lambda number, _, state: told.append((number, state)))
    assert told == [(1, "Proved")]
    assert waited and max(waited) <= recurring.LONGEST_PAUSE


def test_a_chain_that_never_answers_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead(Idle):
        def now(self) -> int:
            raise ChainUnreachable("no answer")

    monkeypatch.setattr(recurring, "pause", lambda _: None)
    monkeypatch.setattr(recurring, "PATIENCE", 0.05)
    client: Any = SimpleNamespace(chain=Dead())
    with pytest.raises(ChainUnreachable):
        repeat(client, Recurrence(make().spec, 1, 1, 600), [], tmp_path, lambda *_: None)
