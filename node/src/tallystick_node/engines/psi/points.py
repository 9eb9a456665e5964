"""Items as points of Curve25519 times a scalar: the work of a party of one set alone, 30 microseconds for each item."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.local_work import Arrays, Executor, LocalWorkFailed
from tallystick_node.engines.psi import curve25519
from tallystick_node.engines.psi.items import Bytes, Items, Offsets

WORK = "psi/points"
BATCH = 1 << 14  # items of a piece


def pieces(items: Items, salt: bytes, scalar: bytes) -> Iterator[Arrays]:
    """The work for all items, ``BATCH`` of them in each piece."""
    for start in range(0, len(items), BATCH):
        some = items[start : start + BATCH]
        yield np.frombuffer(salt, np.uint8), np.frombuffer(scalar, np.uint8), *some.arrays


def products(items: Items, salt: bytes, scalar: bytes, executor: Executor) -> Iterator[Bytes]:
    """The points of all items times the scalar, piece by piece, of shape (n, 32). Raises LocalWorkFailed for an answer of another
    shape, and where one point of a piece, drawn at random, is another here: what follows hides labels by these points, and an
    executor of another release, or one that leaves points out, must not show in what leaves the party."""
    starts = range(0, len(items), BATCH)
    answers, nothing = executor.map(WORK, pieces(items, salt, scalar)), np.empty((0, curve25519.POINT), np.uint8)
    for start in starts:
        made, due = next(answers, nothing), min(BATCH, len(items) - start)
        if made.dtype != np.uint8 or made.shape != (due, curve25519.POINT):
            raise LocalWorkFailed("local work answered with other than a point for each item")
        drawn = secrets.randbelow(due)
        one = items[start + drawn : start + drawn + 1]
        if (curve25519.multiply(curve25519.hash_to_curve(one, salt), scalar)[0] != made[drawn]).any():
            raise LocalWorkFailed("local work answered with other points than these: is it of this node's release?")
        yield made


def perform(salt: Bytes, scalar: Bytes, offsets: Offsets, content: Bytes) -> NDArray[Any]:
    """Of one piece the points times the scalar, of shape (n, 32)."""
    hashed = curve25519.hash_to_curve(Items(offsets, content), salt.tobytes())
    return curve25519.multiply(hashed, scalar.tobytes())
