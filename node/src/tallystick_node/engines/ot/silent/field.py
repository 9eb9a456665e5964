"""Arithmetic in lanes of 128-bit blocks.

A block is a vector over a field of characteristic two: two elements of GF(2^64) = GF(2)[X]/(X^64 + X^4 + X^3 + X + 1), or 32 of
GF(2^4) = GF(2)[X]/(X^4 + X + 1), or 128 bits. Delta is such a vector, and the product of an element and delta is taken lane by
lane: nothing here needs delta to be of a field itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Field:
    """A field of 2^``bits`` elements. What multiplies lanes of a word v by X: ((v & keep) << 1) ^ ((v >> high) & low) * poly."""

    bits: int
    keep: np.uint64
    high: np.uint64
    low: np.uint64
    poly: np.uint64


WIDE = Field(64, np.uint64((1 << 63) - 1), np.uint64(63), np.uint64(1), np.uint64(0x1B))
NIBBLES = Field(4, np.uint64(0x7777777777777777), np.uint64(3), np.uint64(0x1111111111111111), np.uint64(3))
BITS = Field(1, np.uint64(0), np.uint64(0), np.uint64((1 << 64) - 1), np.uint64(1))


def times_x(field: Field, words: Words) -> Words:
    """Every lane times X (in GF(2), where X is 1: unchanged)."""
    return ((words & field.keep) << np.uint64(1)) ^ ((words >> field.high) & field.low) * field.poly


def packed(field: Field, rows: Words) -> Words:
    """The sums of X^b ``rows[i, b]``, for rows of shape (count, bits, 2)."""
    out = rows[:, field.bits - 1].copy()
    for place in range(field.bits - 2, -1, -1):
        out = times_x(field, out) ^ rows[:, place]
    return out


def multiples(delta: Words) -> Words:
    """A table for :func:`add_product` over GF(2^64): entry (c, y) is delta times byte y at place c."""
    table = np.zeros((8, 256, 2), np.uint64)
    power = delta.copy()
    for place in range(8):
        for bit in range(8):
            table[place, 1 << bit : 2 << bit] = table[place, : 1 << bit] ^ power
            power = times_x(WIDE, power)
    return table


@compiled
def add_product(out: Words, factors: Words, table: Words) -> None:
    """out[i] ^= delta factors[i] over GF(2^64), out of shape (n, 2), with the table that :func:`multiples` makes of delta.

    Its memory accesses depend on the factors, which are public or masked where protocols here use it."""
    byte = np.uint64(255)
    for i in range(len(out)):
        factor, first, second = factors[i], out[i, 0], out[i, 1]
        for place in range(8):
            entry = (factor >> np.uint64(8 * place)) & byte
            first ^= table[place, entry, 0]
            second ^= table[place, entry, 1]
        out[i, 0], out[i, 1] = first, second
