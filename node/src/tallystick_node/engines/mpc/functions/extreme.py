"""The largest and the smallest along an axis, and where they stand."""

from __future__ import annotations

import numpy as np

from tallystick_node.engines.mpc.functions.batch import stack
from tallystick_node.engines.mpc.protocol import Protocol, Shares, concatenate
from tallystick_node.engines.mpc.ring import Ring


def amax(protocol: Protocol, secret: Shares, *, axis: int | None = None) -> Shares:
    """The largest along an axis, or of all. Exact below 2^62; ValueError for none.

    A tree of ceil(log2 n) steps, each of one comparison, conversion and multiplication.
    """
    return _tournament(protocol, _first(secret, axis), places=False)[0]


def amin(protocol: Protocol, secret: Shares, *, axis: int | None = None) -> Shares:
    """The smallest along an axis, or of all: see :func:`amax`."""
    return -amax(protocol, -secret, axis=axis)


def argmax(protocol: Protocol, secret: Shares, *, axis: int | None = None) -> Shares:
    """The place of the largest along an axis, or in the flattened array, as an integer; of equals the first. Cost: that of
    :func:`amax`, with two multiplications in the rounds of one."""
    return _tournament(protocol, _first(secret, axis), places=True)[1]


def argmin(protocol: Protocol, secret: Shares, *, axis: int | None = None) -> Shares:
    """The place of the smallest: see :func:`argmax`."""
    return argmax(protocol, -secret, axis=axis)


def _first(secret: Shares, axis: int | None) -> Shares:
    """The axis, or all, in front; the rest as one."""
    if axis is None:
        return secret.reshape(-1)
    return secret.map(lambda part: np.ascontiguousarray(np.moveaxis(part, axis, 0)))


def _tournament(protocol: Protocol, rows: Shares, *, places: bool) -> tuple[Shares, Shares]:
    count, *others = rows.shape
    if not count:
        raise ValueError("there is no largest of no numbers")
    numbers: Ring = np.arange(count, dtype=np.uint64).reshape(-1, *[1] * len(others))
    held = [rows]
    if places:
        held.append(protocol.public(np.ascontiguousarray(np.broadcast_to(numbers, rows.shape))))
    while count > 1:
        pairs = count // 2
        left = [each[: 2 * pairs : 2] for each in held]
        gaps = [each[1 : 2 * pairs : 2] - one for each, one in zip(held, left, strict=True)]
        later = protocol.to_arithmetic(protocol.negative(-gaps[0]))  # the right one is larger: of equals the left one stays
        moves = protocol.multiply(stack([later] * len(held)), stack(gaps))
        rest = [each[2 * pairs :] for each in held]
        held = [concatenate([one + moves[number], rest[number]]) for number, one in enumerate(left)]
        count -= pairs
    return held[0][0], held[-1][0]
