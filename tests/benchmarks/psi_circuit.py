"""Circuit PSI between two processes joined by TLS: the shared join, and a sum over it."""

from __future__ import annotations

from typing import Any

import numpy as np
from tallystick_node.engines.channel import Session
from tallystick_node.engines.mpc.beaver.oblivious import ObliviousAdditive
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.psi.circuit import join
from tallystick_node.engines.psi.items import Items

from benchmarks.parties import measure

ITEMS = 1 << 16

#: On a laptop (i7-9750H) over 1 Gbit/s, without numbers beside the ids: Raghuraman and Rindal, CCS 2022, table 2. Silver, the code
#: of the first one's silent transfers, is broken since.
PUBLISHED = {
    "Raghuraman and Rindal 2022": {"seconds": 1.112, "bytes": 931 * ITEMS // 8},
    "Rindal and Schoppmann 2021, IKNP": {"seconds": 1.81, "bytes": 21_888 * ITEMS // 8},
    "Chandran, Gupta and Shah 2022": {"seconds": 2.851, "bytes": 8371 * ITEMS // 8},
}


def run() -> dict[str, Any]:
    """Circuit PSI of 2^16 ids a side, half of them common, a number beside each: a shared join, then count and sums."""
    found = measure(2, _prepared, _join, 3, _check)
    return {"ours": found.median, "unit": "s", "items": ITEMS, "published": PUBLISHED, **found.row()}


def _prepared(session: Session) -> Items:
    first = session.index * ITEMS // 2
    return Items.of(f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}".encode() for number in range(first, first + ITEMS))


def _join(session: Session, items: Items) -> tuple[Ring | None, ...]:
    """From nothing: base transfers and keys are made in the time that counts."""
    protocol = ObliviousAdditive(session)
    numbers = np.arange(len(items), dtype=np.uint64)[:, None]
    joined = join(protocol, items, numbers, widths=(1, 1), context=b"benchmark")
    return protocol.reveal(joined.matched.sum().reshape(1)), *(protocol.reveal(rows.sum(axis=0)) for rows in joined.rows)


def _check(_session: Session, items: Items, found: Any) -> None:
    half = len(items) // 2
    sums = sum(range(half, 2 * half)), sum(range(half))
    if [int(each[0]) for each in found] != [half, *sums]:
        raise AssertionError("the sums are wrong")
