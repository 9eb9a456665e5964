"""Words of bits in two orders: as numbers, and as planes, of which plane i holds bit i of 64 numbers in each word."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.mpc.protocol import Words, word_type
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.ot import bits

Bits = NDArray[np.uint8]


def of_numbers(numbers: Ring) -> Ring:
    """The planes, of shape (64, ceil(n / 64)), of n numbers."""
    count = -(-numbers.size // 64)
    padded = np.zeros(64 * count, np.uint64)
    padded[: numbers.size] = numbers.reshape(-1)
    out = padded.reshape(64, count)
    bits.flip(out)
    return out


def to_numbers(planes: Ring, count: int) -> Ring:
    """The first ``count`` numbers of 64 planes."""
    out = planes.copy()
    bits.flip(out)
    return out.reshape(-1)[:count]


def to_bits(plane: Ring, count: int) -> Bits:
    """The first ``count`` bits of one plane, a byte each."""
    out = np.empty(64 * plane.size, np.uint8)
    bits.unpack(plane, out)
    return out[:count]


def of_bits(given: Bits) -> Ring:
    """The plane of bits."""
    words = -(-given.size // 64)
    padded = np.zeros(64 * words, np.uint8)
    padded[: given.size] = given.reshape(-1)
    out = np.empty(words, np.uint64)
    bits.pack(padded, out)
    return out


def packed(words: Words, width: int) -> Ring:
    """Words of any type, or bits (width 1, 64 of them in each), as 64-bit words."""
    flat = np.ascontiguousarray(words).reshape(-1)
    if width == 1:
        return of_bits(flat)
    padded = np.zeros(-(-flat.nbytes // 8) * 8, np.uint8)
    padded[: flat.nbytes] = flat.view(np.uint8)
    return padded.view(np.uint64)


def unpacked(given: Ring, shape: tuple[int, ...], width: int) -> Words:
    """What :func:`packed` packed, less what lies above ``width`` bits."""
    size = int(np.prod(shape, dtype=np.int64))
    if width == 1:
        return to_bits(given, size).reshape(shape)
    kind = word_type(width)
    return np.asarray(given.view(kind)[:size].reshape(shape) & kind((1 << width) - 1))
