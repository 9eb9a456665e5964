"""Private join and sum, and a small set against a prepared one, each between two processes joined by TLS."""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tallystick_node.engines.channel import Session
from tallystick_node.engines.psi import unbalanced
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.join_sum import JoinSum, join_and_sum

from benchmarks.parties import measure

SUM_ITEMS = 100_000
ASKED, HELD = 1000, 1_000_000
VERSION = bytes(32)


def run_sum() -> dict[str, Any]:
    """Private join and sum of 10^5 ids a side, half of them common: the count and two sums, by Paillier of 3072 bits."""
    found = measure(2, partial(_items, SUM_ITEMS), _join, 1, _check_sum)
    return {"ours": found.median, "unit": "s", "items": SUM_ITEMS, "bytes": found.bytes, **found.row()}


def run_prepared() -> dict[str, Any]:
    """1000 ids asked for among 10^6 that are prepared: the time of a question; what is made once stands beside it."""
    with tempfile.TemporaryDirectory() as name:
        began = time.monotonic()
        unbalanced.kept(Path(name) / "tags", VERSION, partial(_ids, 0, HELD))
        prepared = time.monotonic() - began
        sys.stderr.write(f"prepared in {prepared:.1f} s\n")
        found = measure(2, partial(_asked, Path(name)), partial(_ask, Path(name)), 3, _check_asked)
    return {
        "ours": found.median,
        "unit": "s",
        "asked": ASKED,
        "held": HELD,
        "prepare_seconds": round(prepared, 2),
        "prepare_bytes": unbalanced.TAG * HELD,
        **found.row(),
    }


def _ids(first: int, count: int) -> Items:
    return Items.of(f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}".encode() for number in range(first, first + count))


def _items(count: int, session: Session) -> Items:
    return _ids(session.index * count // 2, count)


def _join(session: Session, items: Items) -> JoinSum:
    numbers = np.tile(np.arange(len(items))[:, None], (1, 2)) if session.index else None
    terms: dict[str, Any] = {"columns": 2, "receivers": (0, 1), "minimum": 10, "context": b"benchmark"}
    return join_and_sum(session, items, numbers, peer=1 - session.index, **terms)


def _check_sum(_session: Session, items: Items, found: JoinSum) -> None:
    half = len(items) // 2
    if found.matches != half or found.sums != (half * (half - 1) // 2,) * 2:
        raise AssertionError("the sums are wrong")


def _asked(folder: Path, session: Session) -> Items | unbalanced.Prepared:
    if session.index:
        return _ids(HELD - ASKED // 2, ASKED)
    return unbalanced.kept(folder / "tags", VERSION, partial(_ids, 0, HELD))


def _ask(folder: Path, session: Session, state: Any) -> int:
    if session.index:
        return len(unbalanced.ask(session, 0, state, VERSION, folder / "held").places)
    return unbalanced.serve(session, 1, state)


def _check_asked(session: Session, _state: Any, found: int) -> None:
    if found != (ASKED // 2 if session.index else ASKED):
        raise AssertionError("the matches are wrong")
