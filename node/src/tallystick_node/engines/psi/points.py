"""Items as points of Curve25519 times a scalar: the work of a party of one set alone, 30 microseconds for each item."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.local_work import Arrays
from tallystick_node.engines.psi import curve25519
from tallystick_node.engines.psi.items import Bytes, Items, Offsets

WORK = "psi/points"
BATCH = 1 << 14  # items of a piece


def pieces(items: Items, salt: bytes, scalar: bytes) -> Iterator[Arrays]:
    """The work for all items, ``BATCH`` of them in each piece."""
    for start in range(0, len(items), BATCH):
        some = items[start : start + BATCH]
        yield np.frombuffer(salt, np.uint8), np.frombuffer(scalar, np.uint8), *some.arrays


def perform(salt: Bytes, scalar: Bytes, offsets: Offsets, content: Bytes) -> NDArray[Any]:
    """Of one piece the points times the scalar, of shape (n, 32)."""
    hashed = curve25519.hash_to_curve(Items(offsets, content), salt.tobytes())
    return curve25519.multiply(hashed, scalar.tobytes())
