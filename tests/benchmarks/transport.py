"""The channels between workers: a round of small messages, and large messages, among three processes on one machine."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from functools import partial
from typing import Any

import numpy as np
from tallystick_node.engines.channel import Session, receive_array, send_array

from benchmarks.parties import measure

ROUNDS = 1000
SMALL = 100  # bytes
LARGE = 1 << 20  # elements of 8 bytes
REPEATS = 7


def run() -> dict[str, Any]:
    """A ring round of 100 bytes and an exchange of 8 MiB among three parties: TLS 1.3, transcripts on. No peer.

    In a round each party sends to the party before it and receives from the one after it. ``sha256_ms`` is what one direction's
    digest takes of each such message: the floor under a message of which a transcript is kept.
    """
    rounds = measure(3, _nothing, partial(_ring, ROUNDS, SMALL // 4, np.uint32), REPEATS)
    large = measure(3, _nothing, partial(_ring, 1, LARGE, np.uint64), REPEATS)
    block, took = os.urandom(8 * LARGE), []
    for _ in range(REPEATS):
        began = time.perf_counter()
        hashlib.sha256(block)
        took.append(time.perf_counter() - began)
    sys.stderr.write(f"a round {1e6 * rounds.median / ROUNDS:.0f} us, 8 MiB each {1e3 * large.median:.1f} ms\n")
    return {
        "ours": rounds.median / ROUNDS * 1e6,
        "unit": "us a round",
        "exchange_ms": 1e3 * large.median,
        "exchange_mb_per_second": large.bytes / large.median / 1e6,
        "sha256_ms": 1e3 * min(took),
        "rows": [{"what": f"{ROUNDS} rounds of {SMALL} bytes", **rounds.row()}, {"what": "8 MiB each", **large.row()}],
    }


def _nothing(session: Session) -> None:
    session.mark("ring")


def _ring(rounds: int, elements: int, kind: type[np.generic], session: Session, _: None) -> None:
    before, after = (session.index - 1) % 3, (session.index + 1) % 3
    array: Any = np.ones(elements, kind)
    for _ in range(rounds):
        send_array(session, before, array)
        array = receive_array(session, after, array.shape, "ring", kind)
