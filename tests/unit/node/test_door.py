"""What the door puts on record: each refusal once in a while, and never more than it can remember."""

from __future__ import annotations

import pytest
from tallystick.protocol.errors import Refused
from tallystick_node.server import door
from tallystick_node.server.door import Door


def knock(at: Door, party: str, rule: str = "participant-active") -> None:
    with pytest.raises(Refused):
        at.refuse(Refused("no", rule=rule, party=party))


def test_the_same_refusal_is_recorded_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    records: list[tuple[str, str, str]] = []
    at = Door(None, lambda *record: records.append(record))  # type: ignore[arg-type]
    now = 1000.0
    monkeypatch.setattr(door.time, "monotonic", lambda: now)
    for _ in range(100):
        knock(at, "a")
    knock(at, "a", "own-account")
    knock(at, "b")
    assert records == [("participant-active", "no", "a"), ("own-account", "no", "a"), ("participant-active", "no", "b")]
    now += door.SECONDS
    knock(at, "a")
    assert len(records) == 4


def test_what_is_remembered_is_bounded() -> None:
    at = Door(None, lambda *_: None)  # type: ignore[arg-type]
    for number in range(door.REMEMBERED + 50):
        knock(at, str(number))
    assert len(at._last) == door.REMEMBERED
