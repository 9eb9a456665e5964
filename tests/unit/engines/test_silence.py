"""Silence of peers is counted while this process runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick_node.engines import silence as module
from tallystick_node.engines.silence import PARTS, Silence


@given(st.lists(st.floats(0, 10_000), max_size=60), st.floats(0.1, 1_000))
def test_waits_count_for_what_they_lasted_and_never_for_more_than_their_part(waits: list[float], seconds: float) -> None:
    clock = [0.0]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
        silence, counted = Silence(seconds), 0.0
        for number, wait in enumerate(waits):
            assert silence.over == (silence.part == 0)
            assert silence.part <= seconds / PARTS
            counted += min(wait, silence.part)
            began = clock[0]
            clock[0] += wait
            silence.waited(began)
            if counted < seconds * (1 - 1e-9) - 1e-9 * sum(waits) or number + 1 < PARTS:
                assert not silence.over
        for _ in range(PARTS):
            began = clock[0]
            clock[0] += 2 * silence.part
            silence.waited(began)
        assert silence.over or silence.part < 1e-9 * (1 + clock[0])


def test_a_pause_of_this_process_is_one_part_of_a_peers_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    silence = Silence(8.0)
    clock[0] += 3600.0
    silence.waited(0.0)
    for left in (6.0, 4.0, 2.0):
        assert not silence.over
        assert silence.part == min(2.0, left)
        clock[0] += silence.part
        silence.waited(clock[0] - 2.0)
    assert silence.over
    assert silence.part == 0.0
