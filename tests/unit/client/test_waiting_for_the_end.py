"""A failed task is watched for another attempt as long as the chain takes to tell the nodes of the failure and to hear of them."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from tallystick.chain.contract import Event
from tallystick.chain.profile import PROFILES
from tallystick.client import follow
from tallystick.protocol.errors import ChainUnreachable

TASK = "0x" + "5a" * 32
ACCEPT_BY = 10_000


class Slow:
    """A chain on which a task failed. After so many seconds its parties accept another attempt, which is proved."""

    def __init__(self, profile: str, again: float, attempts: int, now: int) -> None:
        self.profile, self.now = PROFILES[profile], lambda: now
        self.tasks = SimpleNamespace(task_at=self.task_at)
        self.again, self.time = again, 0.0
        self.proposal = {"parties": [], "attempts": attempts, "acceptBy": ACCEPT_BY}

    def task_at(self, _: bytes) -> dict[str, Any]:
        proved = self.time >= self.again
        state = follow.STATES.index("Proved" if proved else "Failed")
        return {"state": state, "attempt": 1 + proved, "accepted": 7, "startedAt": 1, "runBy": 2}

    def head(self) -> int:
        return 9

    def events(self, first: int, last: int) -> list[Event]:
        said = {"task": bytes.fromhex(TASK[2:]), "requester": "", "proposal": self.proposal}
        return [Event("TaskLedger", "Proposed", said, 1, "0x", "0x", 0)]

    def pause(self, seconds: float) -> None:
        self.time += seconds


@pytest.mark.parametrize("silent", [range(1, 9), range(1, 10**6), range(1)])
def test_an_endpoint_may_be_silent_while_it_is_waited_for_and_neither_before_nor_after(
    monkeypatch: pytest.MonkeyPatch, silent: range
) -> None:
    chain: Any = Slow("development", 3, 1, 0)
    answer, asked = chain.tasks.task_at, itertools.count()

    def task_at(task: bytes) -> dict[str, Any]:
        if next(asked) in silent:
            raise ChainUnreachable("no answer")
        return answer(task)

    chain.tasks.task_at = task_at
    monkeypatch.setattr(follow, "pause", chain.pause)
    monkeypatch.setattr(follow, "time", SimpleNamespace(monotonic=lambda: chain.time))
    if len(silent) == 8:
        assert follow.wait(chain, TASK, 60).state == "Proved"
        return
    with pytest.raises(ChainUnreachable):
        follow.wait(chain, TASK, 60)
    assert chain.time == pytest.approx(60 if silent.start else 0, abs=1)


@pytest.mark.parametrize(
    ("profile", "again", "attempts", "now", "state"),
    [
        ("development", 8, 2, 0, "Proved"),
        ("besu-qbft", 15, 2, 0, "Proved"),
        ("public", 170, 2, 0, "Proved"),  # nodes hear of a failure when its block is final
        ("public", 1000, 2, 0, "Failed"),
        ("public", 170, 1, 0, "Failed"),
        ("public", 170, 2, ACCEPT_BY + 1, "Failed"),
    ],
)
def test_a_failed_task_is_watched_as_long_as_another_attempt_may_begin(
    monkeypatch: pytest.MonkeyPatch, profile: str, again: float, attempts: int, now: int, state: str
) -> None:
    chain: Any = Slow(profile, again, attempts, now)
    monkeypatch.setattr(follow, "pause", chain.pause)
    monkeypatch.setattr(follow, "time", SimpleNamespace(monotonic=lambda: chain.time))
    assert follow.wait(chain, TASK, 3600).state == state
    assert chain.time < 250 and ((attempts == 2 and now == 0) or chain.time < 12)
