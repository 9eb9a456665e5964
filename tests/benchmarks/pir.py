"""Private lookup in a table of 2^20 rows of 256 bytes: one query end to end between two processes, and the owner's scan beside what
this machine's memory gives."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from tallystick_node.engines.channel import Session
from tallystick_node.engines.pir import lwe
from tallystick_node.engines.pir.lookup import Offer, ask, serve
from tallystick_node.engines.pir.public import layout_for
from tallystick_node.engines.pir.table import build, sealed_width

from benchmarks.parties import measure

LOG_ROWS = 20
ROW = 256  # bytes
REPEATS = 7
BATCHES = (1, 16)  # queries of one pass
VERSION = bytes(32)


def run() -> dict[str, Any]:
    """A private lookup among 2^20 rows of 256 bytes: TLS between two processes, and GB/s of the scan. No peer but the memory.

    ``ours`` is one lookup end to end, when the asker holds what it keeps of the table. ``gb_per_s`` is how much of the table one
    core reads for a query in a second, and ``fraction_of_memory_bandwidth`` that beside what one core reads (a sum) or moves (a
    copy, both directions counted) of the same buffer, whichever is more. ``payload_gb_per_s`` counts the rows' own bytes alone.
    """
    layout = layout_for(1 << LOG_ROWS, sealed_width(ROW))
    scan = _scan(layout.rows, layout.columns)
    single = measure(2, _setup, _look_up, REPEATS, _check)
    sys.stderr.write(f"one lookup {single.median:.3f} s, {scan['gb_per_s']:.1f} GB/s of {scan['memory_gb_per_s']:.1f}\n")
    return {
        "ours": single.median,
        "unit": "s a lookup",
        **scan,
        "payload_gb_per_s": round(scan["gb_per_s"] * (ROW << LOG_ROWS) / layout.matrix_bytes, 3),
        "online_bytes": single.bytes,
        "held_bytes": layout.hint_bytes,
        "rows": [{"what": "one lookup among 2^20 rows of 256 bytes", **single.row()}],
    }


def _scan(rows: int, columns: int) -> dict[str, float]:
    """The owner's work on random bytes, in one thread, each beside passes of NumPy over the same buffer: the best of several."""
    matrix = np.frombuffer(os.urandom(rows * columns), np.int8).reshape(rows, columns)
    words, copy = matrix.reshape(-1).view(np.uint64), np.empty(rows * columns // 8, np.uint64)
    queries = {count: np.frombuffer(os.urandom(4 * count * columns), np.uint32).reshape(count, columns) for count in BATCHES}
    lwe.answer(matrix[:8], queries[1])
    found = {
        "sum": _best(lambda: words.sum()),
        "copy": _best(lambda: np.copyto(copy, words)) / 2,
        **{str(count): _best(partial(lwe.answer, matrix, each)) / count for count, each in queries.items()},
    }
    rates = {name: matrix.nbytes / seconds / 1e9 for name, seconds in found.items()}
    memory = max(rates["sum"], rates["copy"])
    return {
        "gb_per_s": round(rates["1"], 3),
        "gb_per_s_in_batches": round(rates[str(BATCHES[-1])], 3),
        "sum_gb_per_s": round(rates["sum"], 3),
        "copy_gb_per_s": round(rates["copy"], 3),
        "memory_gb_per_s": round(memory, 3),
        "fraction_of_memory_bandwidth": round(rates["1"] / memory, 3),
    }


def _best(work: Callable[[], Any]) -> float:
    took = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


def _item(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _value(number: int) -> bytes:
    return _item(number) * (ROW // 8)


def _setup(session: Session) -> dict[str, Any]:
    """The owner's table; the asker gets what it keeps of it."""
    state: dict[str, Any] = {"asked": 0}
    if session.index == 0:
        numbers = range(1 << LOG_ROWS)
        state["offer"] = Offer(VERSION, build([_item(each) for each in numbers], [_value(each) for each in numbers], ROW))
    _look_up(session, state)
    return state


def _look_up(session: Session, state: dict[str, Any]) -> Any:
    if session.index == 0:
        return serve(session, 1, state["offer"], 1)
    state["asked"] += 97
    return ask(session, 0, [_item(state["asked"])], 1, VERSION, ROW, state.get("held"), lambda public: state.update(held=public))


def _check(session: Session, state: dict[str, Any], found: Any) -> None:
    if session.index == 1 and found != [_value(state["asked"])]:
        raise RuntimeError("another row than that of the key")
