"""Arithmetic in lanes of 128-bit blocks.

A block is a vector over a field of characteristic two: one element of GF(2^128) = GF(2)[X]/(X^128 + X^7 + X^2 + X + 1), two of
GF(2^64) = GF(2)[X]/(X^64 + X^4 + X^3 + X + 1), 32 of GF(2^4) = GF(2)[X]/(X^4 + X + 1), or 128 bits. Bit i of a lane stands for X^i.
Delta is such a vector, and the product of an element and delta is taken lane by lane: delta need not be of a field itself.

Look-ups depend on factors. Those are public or masked in what the sender computes; the receiver's own products are not constant in
time against who shares its caches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled, inlined

Words = NDArray[np.uint64]


class Field(NamedTuple):
    """2^``bits`` elements, and what multiplies lanes of a word v by X: ((v & keep) << 1) ^ ((v >> high) & low) * poly. Where
    ``joined``, both words are one lane, and the upper's highest bit is reduced in the lower."""

    bits: int
    keep: np.uint64
    high: np.uint64
    low: np.uint64
    poly: np.uint64
    joined: bool = False


_ALL = (1 << 64) - 1

BLOCKS = Field(128, np.uint64(_ALL), np.uint64(63), np.uint64(1), np.uint64(0x87), joined=True)
WORDS = Field(64, np.uint64(_ALL), np.uint64(63), np.uint64(1), np.uint64(0x1B))
NIBBLES = Field(4, np.uint64(_ALL // 15 * 7), np.uint64(3), np.uint64(_ALL // 15), np.uint64(3))
BITS = Field(1, np.uint64(0), np.uint64(0), np.uint64(_ALL), np.uint64(1))


@inlined
def word_times_x(field: Field, word: np.uint64) -> np.uint64:
    """The lanes of one word times X, in kernels; in GF(2), where X is 1, the word itself."""
    return ((word & field.keep) << np.uint64(1)) ^ ((word >> field.high) & field.low) * field.poly


@inlined
def block_times_x(field: Field, first: np.uint64, second: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The lanes of a block times X, in kernels."""
    top, other = (first >> field.high) & field.low, (second >> field.high) & field.low
    if field.joined:
        return (first << np.uint64(1)) ^ other * field.poly, (second << np.uint64(1)) ^ top
    one = np.uint64(1)
    return ((first & field.keep) << one) ^ top * field.poly, ((second & field.keep) << one) ^ other * field.poly


@compiled
def packed(field: Field, rows: Words) -> Words:
    """The sums of X^b ``rows[i, b]``, for blocks of shape (count, bits, 2): of shape (count, 2)."""
    out = np.empty((len(rows), 2), np.uint64)
    for i in range(len(rows)):
        first = second = np.uint64(0)
        for place in range(field.bits - 1, -1, -1):
            first, second = block_times_x(field, first, second)
            first ^= rows[i, place, 0]
            second ^= rows[i, place, 1]
        out[i, 0], out[i, 1] = first, second
    return out


def multiples(delta: Words, field: Field = WORDS) -> Words:
    """A table for products with one ``delta``: entry (c, y) is delta times byte y of an element at place c."""
    return _multiples(field, delta)


@compiled
def _multiples(field: Field, delta: Words) -> Words:
    places = max(1, field.bits // 8)
    table = np.zeros((places, 256, 2), np.uint64)
    first, second = delta[0], delta[1]
    for bit in range(field.bits):
        place, half = bit // 8, 1 << bit % 8
        for below in range(half):
            table[place, half + below, 0] = table[place, below, 0] ^ first
            table[place, half + below, 1] = table[place, below, 1] ^ second
        first, second = block_times_x(field, first, second)
    return table


@compiled
def add_product(out: Words, factors: Words, table: Words) -> None:
    """out[i] ^= delta factors[i] over GF(2^64), out of shape (n, 2), for the table that :func:`multiples` makes of delta."""
    byte = np.uint64(255)
    for i in range(len(out)):
        factor, first, second = factors[i], out[i, 0], out[i, 1]
        for place in range(8):
            entry = (factor >> np.uint64(8 * place)) & byte
            first ^= table[place, entry, 0]
            second ^= table[place, entry, 1]
        out[i, 0], out[i, 1] = first, second


@compiled
def add_block_product(out: Words, factors: Words, table: Words) -> None:
    """The same over GF(2^128), factors of shape (n, 2)."""
    byte = np.uint64(255)
    for i in range(len(out)):
        first, second = out[i, 0], out[i, 1]
        for word in range(2):
            factor = factors[i, word]
            for place in range(8):
                entry = (factor >> np.uint64(8 * place)) & byte
                first ^= table[8 * word + place, entry, 0]
                second ^= table[8 * word + place, entry, 1]
        out[i, 0], out[i, 1] = first, second


@compiled
def polynomial(blocks: Words, table: Words) -> Words:
    """The value, at the element of GF(2^128) that ``table`` is of, of the polynomial whose coefficients are the blocks, highest
    first."""
    byte = np.uint64(255)
    out = np.zeros(2, np.uint64)
    for i in range(len(blocks)):
        first, second = blocks[i, 0], blocks[i, 1]
        for word in range(2):
            factor = out[word]
            for place in range(8):
                entry = (factor >> np.uint64(8 * place)) & byte
                first ^= table[8 * word + place, entry, 0]
                second ^= table[8 * word + place, entry, 1]
        out[0], out[1] = first, second
    return out
