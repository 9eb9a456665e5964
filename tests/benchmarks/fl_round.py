"""Rounds of federated learning without the learning: ours among processes over mutual TLS, beside Flower's in its own simulation.

Every party ends a round with the sum of all updates. Flower's clients are Ray workers that share the machine's cores, without TLS;
ours are processes with transcripts of every byte. Both do all parties' work on the same cores.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tallystick.commitments.projection import points
from tallystick_node.engines.channel import Session
from tallystick_node.engines.fl.aggregation import commitment, masks, projection, quantisation
from tallystick_node.engines.fl.aggregation.base import Aggregation
from tallystick_node.engines.fl.aggregation.plain import PlainSum
from tallystick_node.engines.fl.aggregation.secure import SecureSum

from benchmarks.parties import measure
from benchmarks.peers import python_with

FLOWER = "flwr[simulation]==1.41.0"
CLIENTS = 10
PARAMETERS = 1_000_000
REPEATS = 5
SECONDS = 900

MODES: dict[str, Callable[[], Aggregation]] = {
    "plain": PlainSum,
    "secure": partial(SecureSum, verified=False),
    "secure and verified": SecureSum,
}


class Rounds:
    """One party's rounds."""

    def __init__(self, mode: str, session: Session) -> None:
        self.aggregation = MODES[mode]()
        self.number = 0
        rng = np.random.default_rng(session.index)
        self.vector = rng.uniform(-1, 1, PARAMETERS).astype(np.float32).astype(np.float64)

    def run(self, session: Session) -> NDArray[np.float64]:
        """One round."""
        self.number += 1
        return self.aggregation.total(session, self.vector, range(session.parties), self.number - 1)


def run() -> dict[str, Any]:
    """A round of 10 clients with 10^6 parameters: plain, secure, secure and verified; beside Flower plain and SecAgg+.

    ``ratio`` is plain to plain, ``ratio_secure`` secure and verified to SecAgg+, which verifies nothing.
    """
    rows = []
    for mode in MODES:
        measured = measure(CLIENTS, partial(Rounds, mode), _work, REPEATS, _check)
        rows.append({"what": mode, **measured.row()})
        sys.stderr.write(f"{mode}: {measured.median:.3f} s, {measured.bytes / 1e6:.0f} MB\n")
    peers = {name: _flower(name) for name in ("plain", "secagg")}
    plain, checked = rows[0]["seconds"], rows[2]["seconds"]
    return {
        "ours": plain,
        "unit": "s a round",
        "peer": FLOWER,
        "peer_value": peers["plain"],
        "ratio": plain / peers["plain"],
        "ours_secure": checked,
        "peer_secure": peers["secagg"],
        "ratio_secure": checked / peers["secagg"],
        "rows": rows,
        "ms_per_million": _pieces(),
    }


def _work(session: Session, state: Rounds) -> NDArray[np.float64]:
    return state.run(session)


def _check(session: Session, state: Rounds, total: NDArray[np.float64]) -> None:
    due = sum(Rounds("plain", Session(party, {})).vector for party in range(session.parties))
    if np.abs(total - due).max() > quantisation.error(CLIENTS) + 1e-12:
        raise AssertionError("the sum is wrong")


def _flower(mode: str) -> float:
    script = Path(__file__).parent / "peers" / "flwr_round.py"
    command = [str(python_with("flwr", FLOWER)), str(script), mode, str(CLIENTS), str(PARAMETERS), str(REPEATS)]
    finished = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    found = [line.removeprefix("RESULT ") for line in finished.stdout.splitlines() if line.startswith("RESULT ")]
    if not found:
        raise RuntimeError(f"Flower ({mode}) did not finish: {finished.stderr[-2000:]}")
    seconds = statistics.median(json.loads(found[0])["seconds"])
    sys.stderr.write(f"Flower {mode}: {seconds:.3f} s\n")
    return seconds


def _pieces() -> dict[str, float]:
    """What each step takes on one core, in milliseconds for 10^6 parameters; Pedersen's from 4096 of them, generators made."""
    vector = np.random.default_rng(0).uniform(-1, 1, PARAMETERS)
    words = quantisation.encode(vector, CLIENTS)
    projector = projection.Projector(points(bytes(range(32))))
    short = words[:4096]
    steps: dict[str, Callable[[], Any]] = {
        "quantise": lambda: quantisation.encode(vector, CLIENTS),
        "one mask": lambda: masks.add(words, [(bytes(16), False)]),
        "root": lambda: projection.root(b"", words),
        "projection": lambda: projector.project([words]),
        "projection of the sum": lambda: projector.project([words.astype(np.uint64)]),
    }
    found = {name: _milliseconds(step, 9) for name, step in steps.items()}
    return {**found, "pedersen": _milliseconds(lambda: commitment.commit(short), 3) * PARAMETERS / len(short)}


def _milliseconds(step: Callable[[], Any], repeats: int) -> float:
    step()
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        step()
        took.append(time.perf_counter() - began)
    return round(1e3 * statistics.median(took), 3)
