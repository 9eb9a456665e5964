"""Elements of Z_2^112 in two 64-bit limbs, and the loops over replicated shares of them.

Shares of a secret modulo 2^64 are taken as integers and so as shares modulo 2^112: what they add up to there is the secret plus a
multiple of 2^64. Loops compute modulo 2^128; 48 bits of the high limb are kept and sent, as a half word and a quarter word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled, inlined
from tallystick_node.engines.mpc.ring import Ring

EXCESS = 48  # bits beyond the ring's 64
BYTES = 14  # of an element, as kept and sent

Half = NDArray[np.uint32]
Quarter = NDArray[np.uint16]
Limbs = tuple[Ring, Half, Quarter]

_ONE = np.uint64(1)
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_KEPT = np.uint64((1 << EXCESS) - 1)


class Wide:
    """``size`` elements in one block of memory, as they travel: all low limbs, then the half words, then the quarter words."""

    def __init__(self, size: int, raw: NDArray[np.uint8] | None = None) -> None:
        self.size = size
        self.raw = np.empty(BYTES * size, np.uint8) if raw is None else raw
        self.low: Ring = self.raw[: 8 * size].view(np.uint64)
        self.half: Half = self.raw[8 * size : 12 * size].view(np.uint32)
        self.quarter: Quarter = self.raw[12 * size :].view(np.uint16)

    def __getitem__(self, part: slice) -> Limbs:
        return self.low[part], self.half[part], self.quarter[part]


@inlined
def high(a: np.uint64, b: np.uint64) -> np.uint64:
    """The high half of the 128-bit product."""
    a_low, a_high, b_low, b_high = a & _LOW, a >> _32, b & _LOW, b >> _32
    middle = a_high * b_low + ((a_low * b_low) >> _32)
    other = a_low * b_high + (middle & _LOW)
    return a_high * b_high + (middle >> _32) + (other >> _32)


@inlined
def carry(total: np.uint64, part: np.uint64) -> np.uint64:
    """1 where a sum wrapped: it is below what was added."""
    return np.uint64(total < part)


@compiled
def products(
    x: Ring, x_next: Ring, y: Ring, y_next: Ring, mask: Ring, mask_high: Ring, less: Ring, less_high: Ring, out: Limbs
) -> None:
    """This party's masked parts of x y modulo 2^112."""
    low, half, quarter = out
    for i in range(x.size):
        a, b, c, d = x[i], x_next[i], y[i], y_next[i]
        total = c + d
        first, second = a * total, b * c
        top = high(a, total) + a * carry(total, c) + high(b, c)
        value = first + second
        top += carry(value, first)
        masked = value + mask[i]
        top += mask_high[i] + carry(masked, value)
        rest = masked - less[i]
        top -= less_high[i] + carry(masked, less[i])
        low[i], half[i], quarter[i] = rest, np.uint32(top & _LOW), np.uint16((top >> _32) & np.uint64(0xFFFF))


@compiled
def sum_of_products(
    a: Ring, a_high: Ring, a_next: Ring, a_next_high: Ring, y: Ring, y_next: Ring
) -> tuple[np.uint64, np.uint64, np.uint64]:
    """This party's part of the sum of a y, for a of two limbs and y of one: see :func:`total`."""
    bottom, middle, top = np.uint64(0), np.uint64(0), np.uint64(0)
    for i in range(a.size):
        p, q, c, d = a[i], a_next[i], y[i], y_next[i]
        both = c + d
        first, second = p * both, q * c
        bottom += (first & _LOW) + (second & _LOW)
        middle += (first >> _32) + (second >> _32)
        top += high(p, both) + a_high[i] * both + p * carry(both, c) + high(q, c) + a_next_high[i] * c
    return bottom, middle, top


@compiled
def masked_multiples(factors: Ring, x: Ring, a: Ring, a_high: Ring, out: Limbs) -> None:
    """factor x - a, part by part."""
    low, half, quarter = out
    for i in range(x.size):
        value = factors[i] * x[i]
        top = high(factors[i], x[i]) - a_high[i] - carry(value, a[i])
        low[i], half[i], quarter[i] = value - a[i], np.uint32(top & _LOW), np.uint16((top >> _32) & np.uint64(0xFFFF))


@compiled
def add_up(out: Limbs, other: Limbs, third: Limbs) -> None:
    """out += other + third: what the three parts open to."""
    low, half, quarter = out
    for i in range(low.size):
        first = low[i] + other[0][i]
        value = first + third[0][i]
        top = carry(first, low[i]) + carry(value, first)
        top += np.uint64(half[i]) + (np.uint64(quarter[i]) << _32)
        top += np.uint64(other[1][i]) + (np.uint64(other[2][i]) << _32)
        top += np.uint64(third[1][i]) + (np.uint64(third[2][i]) << _32)
        low[i], half[i], quarter[i] = value, np.uint32(top & _LOW), np.uint16((top >> _32) & np.uint64(0xFFFF))


@compiled
def weighted_defect(weights: Ring, opened: Limbs, y: Ring, product: Limbs) -> tuple[np.uint64, np.uint64, np.uint64]:
    """The sum of weight product - opened y over one part: see :func:`total`."""
    bottom, middle, top = np.uint64(0), np.uint64(0), np.uint64(0)
    for i in range(y.size):
        w, z, r = weights[i], product[0][i], opened[0][i]
        z_high = np.uint64(product[1][i]) + (np.uint64(product[2][i]) << _32)
        r_high = np.uint64(opened[1][i]) + (np.uint64(opened[2][i]) << _32)
        scaled, crossed = w * z, r * y[i]
        value = scaled - crossed
        bottom += value & _LOW
        middle += value >> _32
        top += high(w, z) + w * z_high - high(r, y[i]) - r_high * y[i] - carry(scaled, crossed)
    return bottom, middle, top


@compiled
def inner_product(a: Ring, a_high: Ring, b: Ring, b_high: Ring) -> tuple[np.uint64, np.uint64, np.uint64]:
    """The sum of a b, both of two limbs: see :func:`total`."""
    bottom, middle, top = np.uint64(0), np.uint64(0), np.uint64(0)
    for i in range(a.size):
        value = a[i] * b[i]
        bottom += value & _LOW
        middle += value >> _32
        top += high(a[i], b[i]) + a[i] * b_high[i] + a_high[i] * b[i]
    return bottom, middle, top


def total(sums: tuple[np.uint64, np.uint64, np.uint64]) -> int:
    """The integer, modulo 2^128, whose words were added up as halves of the low ones and as high ones: with no carry from one
    addition to the next, many are made at once. For up to 2^31 words."""
    bottom, middle, top = (int(part) for part in sums)
    return (bottom + (middle << 32) + (top << 64)) % (1 << 128)


@compiled
def add_matrix(low: Ring, top: Ring, left: Ring, left_high: Ring, right: Ring) -> None:
    """(low, top) += left @ right for a left matrix of two limbs and a right one of one."""
    for row in range(left.shape[0]):
        for k in range(left.shape[1]):
            a, a_high = left[row, k], left_high[row, k]
            for column in range(right.shape[1]):
                term = a * right[k, column]
                total = low[row, column] + term
                top[row, column] += high(a, right[k, column]) + a_high * right[k, column] + carry(total, term)
                low[row, column] = total
