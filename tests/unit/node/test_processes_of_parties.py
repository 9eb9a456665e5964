"""Parties as processes: one that dies is named, and nobody waits for it."""

from __future__ import annotations

import os
import signal

import pytest
from benchmarks.parties import measure
from tallystick_node.engines.channel import Session


def nothing(session: Session) -> None:
    """Nothing to set up."""


def die(session: Session, _state: object) -> None:
    """One party is killed while the other waits for it where the next repetition begins."""
    if session.index == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_party_that_is_killed_leaves_nobody_waiting() -> None:
    with pytest.raises(RuntimeError, match="party 1 died"):
        measure(2, nothing, die, 1)
