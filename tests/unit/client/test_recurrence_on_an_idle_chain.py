"""A chain that makes blocks only for transactions has a clock that stands between them: occurrences are due all the same."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tallystick.client import follow
from tallystick.client.recurring import Recurrence, repeat
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
