"""Private join and sum, and a small set against a prepared one, each between two processes joined by TLS."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tallystick_node.engines.channel import Session
from tallystick_node.engines.psi import unbalanced
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.join_sum import JoinSum, join_and_sum
from tallystick_node.runs.assistant import Assistant
from tallystick_node.runs.place import Place
from tallystick_node.runs.workers import environment

from benchmarks.parties import measure
from benchmarks.psi_parts import BOUND, hexadecimal, peak

SUM_ITEMS = 100_000
ASKED, HELD = 1000, 10_000_000
PROCESSES = 2  # that prepare
VERSION = bytes(32)


#: What others published, not measured here, for 10^5 ids a side and one sum: seconds of both parties together, as ``cpu`` is of
#: ours. Figures and setting were read in a Chinese translation of the paper, which has not its tables: so there are no bytes.
PUBLISHED = {
    "seconds": {"DDH and Paillier (deployed)": 74.4, "DDH and RLWE": 47.4},
    "items": 100_000,
    "setting": "one thread of an Intel Xeon E5-1650 v3, 3.5 GHz, 32 GB; all ids common; transfers left out; Paillier of primes of "
    "768 bits with Damgard and Jurik's s = 3, 65 values of 32 bits in a ciphertext",
    "source": "Ion, Kreuter, Nergiz, Patel, Raykova, Saxena, Seth, Shanahan, Yung: On Deploying Secure Computing: Private "
    "Intersection-Sum-with-Cardinality, EuroS&P 2020, ePrint 2019/723, sections 1, 3.2 and 5.1",
}


def run_sum() -> dict[str, Any]:
    """Private join and sum of 10^5 ids a side, half of them common: the count and two sums, by Paillier of 3072 bits.

    No peer runs beside it. Google's Private Join and Compute is built by Bazel from its repository; the package
    ``private-join-and-compute`` 0.0.1 of PyPI has its elliptic-curve cipher only, no Paillier and no protocol, and
    ``openmined-psi`` counts matches and does not add. ``published`` is what its authors measured.
    """
    found = measure(2, partial(_items, SUM_ITEMS), _join, 1, _check_sum)
    return {"ours": found.median, "unit": "s", "items": SUM_ITEMS, "bytes": found.bytes, **found.row(), "published": PUBLISHED}


def run_prepared() -> dict[str, Any]:
    """1000 ids asked for among 10^7 that two processes prepared: the time of a question; what is made once stands beside it.

    ``prepare_memory_mb``: the largest resident set of the preparing process and of the two that multiply for it, added.
    ``memory_mb``: of a party in the questions, the first of which brings the asker the tags and is not counted.
    """
    with tempfile.TemporaryDirectory() as name:
        with _processes(PROCESSES) as (executor, multiplying):
            began = time.monotonic()
            unbalanced.kept(Path(name) / "tags", VERSION, partial(_ids, 0, HELD), executor=executor)
            prepared = time.monotonic() - began
            memory = sum(map(peak, multiplying()))
        memory += resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        sys.stderr.write(f"prepared in {prepared:.1f} s\n")
        found = measure(2, partial(_asked, Path(name)), partial(_ask, Path(name)), 3, _check_asked)
    return {
        "ours": found.median,
        "unit": "s",
        "asked": ASKED,
        "held": HELD,
        "prepare_seconds": round(prepared, 2),
        "prepare_bytes": unbalanced.TAG * HELD,
        "prepare_memory_mb": memory >> 20,
        "within_bound": max(memory, found.memory) < BOUND,
        "load": os.getloadavg(),
        **found.row(),
    }


@contextmanager
def _processes(number: int) -> Iterator[tuple[Assistant, Callable[[], list[int]]]]:
    """What a node with ``local_work = "processes:N"`` has its work done by; and the processes that do it."""
    place = f"processes:{number}"
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "tallystick_node.runs.assistant", str(theirs.fileno()), place]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment(), start_new_session=True)
    theirs.close()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        yield Assistant(ours, Place.parse(place).ahead), lambda: [int(child) for child in children.read_text().split()]
    finally:
        process.kill()
        process.wait()
        ours.close()


def _ids(first: int, count: int) -> Items:
    digits = hexadecimal(np.arange(first, first + count, dtype=np.uint64))
    return Items(np.arange(0, digits.size + 1, 16), digits.reshape(-1))


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
