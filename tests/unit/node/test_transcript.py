"""Transcripts follow the specification, byte by byte, and tell apart what differs."""

from __future__ import annotations

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from tallystick_node.evidence.transcript import Transcript
from tallystick_node.runs.attempt import _measured

ITEMS = st.lists(st.tuples(st.booleans(), st.text("ab", max_size=3)), max_size=5)


def of(items) -> str:
    transcript = Transcript()
    for marked, text in items:
        transcript.mark(text) if marked else transcript.message(text.encode())
    return transcript.summary()[2]


def test_the_specification() -> None:
    text = b"tallystick/v1/transcript" + b"\1" + (5).to_bytes(8, "big") + b"phase" + b"\0" + (3).to_bytes(8, "big") + b"abc"
    transcript = Transcript()
    transcript.mark("phase")
    transcript.message(b"abc")
    assert transcript.summary() == (1, 3, "blake3:" + blake3(text).hexdigest())


@given(ITEMS, ITEMS)
def test_different_histories_have_different_digests(one, other) -> None:
    assert (of(one) == of(other)) == (one == other)


@pytest.mark.parametrize("size", [0, 1, 2048, 2049, 100_000])
def test_pieces_are_the_whole(size) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    whole, pieces = Transcript(), Transcript()
    whole.message(content[:size])
    pieces.begin(size)
    for start in range(0, size, 999):
        pieces.more(memoryview(content)[start : min(size, start + 999)])
    assert whole.summary() == pieces.summary()


def test_a_run_reports_what_each_step_took() -> None:
    found = _measured({"steps": {"share": [2, 100, 1], "open": [4, 20, 3]}}, 1500)
    assert (found["bytes_sent"], found["rounds"], found["seconds"]) == (120, 4, 1.5)
    assert found["steps"]["open"] == {"messages": 4, "bytes_sent": 20, "rounds": 3}
