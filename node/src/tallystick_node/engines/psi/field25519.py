"""Arithmetic modulo 2^255 - 19 on many numbers at once, compiled by Numba.

A number is ten limbs of 26 and 25 bits in turn, least significant first (radix 2^25.5, Bernstein, "Curve25519: new Diffie-Hellman
speed records", PKC 2006, section 4), unsigned as in Langley's curve25519-donna. ``LANES`` numbers lie side by side, limb by
limb, in one array of ``10 * LANES`` words, so that the compiler turns each operation into vector instructions: a product of
two 32-bit words in every 64-bit lane.

Bounds: after :func:`multiply`, :func:`square` and :func:`carry` limbs are below 2^26 + 2^17 and 2^25 + 2^17 in turn; one
sum or difference of two such numbers may stand before the next product, which keeps every factor below 2^32
and every sum of products below 2^63. Nothing branches on, or indexes by, a number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled, inlined

P = 2**255 - 19
BYTES = 32
LANES = 16
LIMBS = 10
WORDS = LIMBS * LANES

Numbers = NDArray[np.uint64]  # of shape (groups, WORDS): LANES numbers in each row
Row = NDArray[np.uint64]  # of shape (WORDS,)
Word = np.uint64

_SHIFTS = (0, 26, 51, 77, 102, 128, 153, 179, 204, 230)
_M25, _M26, _M32 = np.uint64((1 << 25) - 1), np.uint64((1 << 26) - 1), np.uint64((1 << 32) - 1)
_S25, _S26, _C19 = np.uint64(25), np.uint64(26), np.uint64(19)
_TWICE_P = np.repeat(np.array([2**27 - 38] + [2**26 - 2, 2**27 - 2] * 4 + [2**26 - 2], np.uint64), LANES)  # limb by limb


def from_bytes(packed: NDArray[np.uint8]) -> Numbers:
    """Numbers from little-endian strings of 32 bytes (shape (n, 32)); the top bit is ignored. Padded with 0 to full rows."""
    count = len(packed)
    groups = -(-count // LANES)
    words = np.zeros((groups * LANES, 4), np.uint64)
    words[:count] = np.ascontiguousarray(packed).view("<u8")
    limbs = np.empty((LIMBS, groups * LANES), np.uint64)
    for i, shift in enumerate(_SHIFTS):
        word, bit = divmod(shift, 64)
        value = words[:, word] >> np.uint64(bit)
        if bit > 64 - 26 and word < 3:
            value = value | words[:, word + 1] << np.uint64(64 - bit)
        limbs[i] = value & (_M25 if i % 2 else _M26)
    return np.ascontiguousarray(limbs.reshape(LIMBS, groups, LANES).transpose(1, 0, 2)).reshape(groups, WORDS)


def to_bytes(numbers: Numbers, count: int) -> NDArray[np.uint8]:
    """The first ``count`` numbers as little-endian strings of 32 bytes, each below the modulus."""
    limbs = numbers.reshape(-1, LIMBS, LANES).transpose(1, 0, 2).reshape(LIMBS, -1)[:, :count].copy()
    for _ in range(3):
        _carry_rows(limbs)
    # A number of carried limbs is below 2^255: it is at or above the modulus exactly when adding 19 reaches 2^255.
    over = limbs.copy()
    over[0] += _C19
    for i in range(LIMBS - 1):
        over[i + 1] += over[i] >> (_S25 if i % 2 else _S26)
    limbs[0] += _C19 * (over[9] >> _S25)
    for i in range(LIMBS - 1):
        limbs[i + 1] += limbs[i] >> (_S25 if i % 2 else _S26)
        limbs[i] &= _M25 if i % 2 else _M26
    limbs[9] &= _M25
    words = np.zeros((count, 4), np.uint64)
    for i, shift in enumerate(_SHIFTS):
        word, bit = divmod(shift, 64)
        words[:, word] |= limbs[i] << np.uint64(bit)
        if bit > 64 - 26 and word < 3:
            words[:, word + 1] |= limbs[i] >> np.uint64(64 - bit)
    return words.view(np.uint8).reshape(count, BYTES)


def constant(value: int) -> NDArray[np.uint64]:
    """One number in every lane of a row."""
    row: Row = from_bytes(np.frombuffer((value % P).to_bytes(BYTES, "little") * LANES, np.uint8).reshape(LANES, BYTES))[0]
    return row


def _carry_rows(limbs: NDArray[np.uint64]) -> None:
    for i in range(LIMBS):
        high = limbs[i] >> (_S25 if i % 2 else _S26)
        limbs[i] &= _M25 if i % 2 else _M26
        limbs[(i + 1) % LIMBS] += high * _C19 if i == LIMBS - 1 else high


@compiled
def subtract(h: Row, f: Row, g: Row) -> None:
    """h = f - g, not carried; ``g`` is carried."""
    for i in range(WORDS):
        h[i] = f[i] + _TWICE_P[i] - g[i]


@compiled
def sum_and_difference(h: Row, k: Row, f: Row, g: Row) -> None:
    """h = f + g and k = f - g, not carried; ``g`` is carried."""
    for i in range(WORDS):
        x, y = f[i], g[i]
        h[i] = x + y
        k[i] = x + _TWICE_P[i] - y


@compiled
def swap(f: Row, g: Row, mask: np.uint64) -> None:
    """Exchange f and g when ``mask`` is all ones, leave them when it is 0."""
    for i in range(WORDS):
        t = mask & (f[i] ^ g[i])
        f[i] ^= t
        g[i] ^= t


@inlined
def _carry_and_store(
    h: Row, lane: int, h0: Word, h1: Word, h2: Word, h3: Word, h4: Word, h5: Word, h6: Word, h7: Word, h8: Word, h9: Word
) -> None:
    """Two chains of carries side by side, from limb 0 and from limb 4."""
    h1 += h0 >> _S26
    h0 &= _M26
    h5 += h4 >> _S26
    h4 &= _M26
    h2 += h1 >> _S25
    h1 &= _M25
    h6 += h5 >> _S25
    h5 &= _M25
    h3 += h2 >> _S26
    h2 &= _M26
    h7 += h6 >> _S26
    h6 &= _M26
    h4 += h3 >> _S25
    h3 &= _M25
    h8 += h7 >> _S25
    h7 &= _M25
    h5 += h4 >> _S26
    h4 &= _M26
    h9 += h8 >> _S26
    h8 &= _M26
    h0 += _C19 * (h9 >> _S25)
    h9 &= _M25
    h1 += h0 >> _S26
    h0 &= _M26
    h[0 * LANES + lane] = h0
    h[1 * LANES + lane] = h1
    h[2 * LANES + lane] = h2
    h[3 * LANES + lane] = h3
    h[4 * LANES + lane] = h4
    h[5 * LANES + lane] = h5
    h[6 * LANES + lane] = h6
    h[7 * LANES + lane] = h7
    h[8 * LANES + lane] = h8
    h[9 * LANES + lane] = h9


@compiled
def carry(h: Row, f: Row, g: Row, factor: np.uint64) -> None:
    """h = f + factor * g, carried; ``factor`` is below 2^32."""
    for lane in range(LANES):
        h0 = f[0 * LANES + lane] + factor * (g[0 * LANES + lane] & _M32)
        h1 = f[1 * LANES + lane] + factor * (g[1 * LANES + lane] & _M32)
        h2 = f[2 * LANES + lane] + factor * (g[2 * LANES + lane] & _M32)
        h3 = f[3 * LANES + lane] + factor * (g[3 * LANES + lane] & _M32)
        h4 = f[4 * LANES + lane] + factor * (g[4 * LANES + lane] & _M32)
        h5 = f[5 * LANES + lane] + factor * (g[5 * LANES + lane] & _M32)
        h6 = f[6 * LANES + lane] + factor * (g[6 * LANES + lane] & _M32)
        h7 = f[7 * LANES + lane] + factor * (g[7 * LANES + lane] & _M32)
        h8 = f[8 * LANES + lane] + factor * (g[8 * LANES + lane] & _M32)
        h9 = f[9 * LANES + lane] + factor * (g[9 * LANES + lane] & _M32)
        _carry_and_store(h, lane, h0, h1, h2, h3, h4, h5, h6, h7, h8, h9)


@compiled
def multiply(h: Row, f: Row, g: Row) -> None:
    """h = f * g, carried; ``h`` is neither of the factors."""
    for lane in range(LANES):
        f0 = f[0 * LANES + lane] & _M32
        f1 = f[1 * LANES + lane] & _M32
        f2 = f[2 * LANES + lane] & _M32
        f3 = f[3 * LANES + lane] & _M32
        f4 = f[4 * LANES + lane] & _M32
        f5 = f[5 * LANES + lane] & _M32
        f6 = f[6 * LANES + lane] & _M32
        f7 = f[7 * LANES + lane] & _M32
        f8 = f[8 * LANES + lane] & _M32
        f9 = f[9 * LANES + lane] & _M32
        g0 = g[0 * LANES + lane] & _M32
        g1 = g[1 * LANES + lane] & _M32
        g2 = g[2 * LANES + lane] & _M32
        g3 = g[3 * LANES + lane] & _M32
        g4 = g[4 * LANES + lane] & _M32
        g5 = g[5 * LANES + lane] & _M32
        g6 = g[6 * LANES + lane] & _M32
        g7 = g[7 * LANES + lane] & _M32
        g8 = g[8 * LANES + lane] & _M32
        g9 = g[9 * LANES + lane] & _M32
        d1 = (f1 + f1) & _M32
        d3 = (f3 + f3) & _M32
        d5 = (f5 + f5) & _M32
        d7 = (f7 + f7) & _M32
        d9 = (f9 + f9) & _M32
        w1 = (_C19 * g1) & _M32
        w2 = (_C19 * g2) & _M32
        w3 = (_C19 * g3) & _M32
        w4 = (_C19 * g4) & _M32
        w5 = (_C19 * g5) & _M32
        w6 = (_C19 * g6) & _M32
        w7 = (_C19 * g7) & _M32
        w8 = (_C19 * g8) & _M32
        w9 = (_C19 * g9) & _M32
        h0 = f0 * g0 + d1 * w9 + f2 * w8 + d3 * w7 + f4 * w6 + d5 * w5 + f6 * w4 + d7 * w3 + f8 * w2 + d9 * w1
        h1 = f0 * g1 + f1 * g0 + f2 * w9 + f3 * w8 + f4 * w7 + f5 * w6 + f6 * w5 + f7 * w4 + f8 * w3 + f9 * w2
        h2 = f0 * g2 + d1 * g1 + f2 * g0 + d3 * w9 + f4 * w8 + d5 * w7 + f6 * w6 + d7 * w5 + f8 * w4 + d9 * w3
        h3 = f0 * g3 + f1 * g2 + f2 * g1 + f3 * g0 + f4 * w9 + f5 * w8 + f6 * w7 + f7 * w6 + f8 * w5 + f9 * w4
        h4 = f0 * g4 + d1 * g3 + f2 * g2 + d3 * g1 + f4 * g0 + d5 * w9 + f6 * w8 + d7 * w7 + f8 * w6 + d9 * w5
        h5 = f0 * g5 + f1 * g4 + f2 * g3 + f3 * g2 + f4 * g1 + f5 * g0 + f6 * w9 + f7 * w8 + f8 * w7 + f9 * w6
        h6 = f0 * g6 + d1 * g5 + f2 * g4 + d3 * g3 + f4 * g2 + d5 * g1 + f6 * g0 + d7 * w9 + f8 * w8 + d9 * w7
        h7 = f0 * g7 + f1 * g6 + f2 * g5 + f3 * g4 + f4 * g3 + f5 * g2 + f6 * g1 + f7 * g0 + f8 * w9 + f9 * w8
        h8 = f0 * g8 + d1 * g7 + f2 * g6 + d3 * g5 + f4 * g4 + d5 * g3 + f6 * g2 + d7 * g1 + f8 * g0 + d9 * w9
        h9 = f0 * g9 + f1 * g8 + f2 * g7 + f3 * g6 + f4 * g5 + f5 * g4 + f6 * g3 + f7 * g2 + f8 * g1 + f9 * g0
        _carry_and_store(h, lane, h0, h1, h2, h3, h4, h5, h6, h7, h8, h9)


@compiled
def square(h: Row, f: Row) -> None:
    """h = f * f, carried; ``h`` is not ``f``."""
    for lane in range(LANES):
        f0 = f[0 * LANES + lane] & _M32
        f1 = f[1 * LANES + lane] & _M32
        f2 = f[2 * LANES + lane] & _M32
        f3 = f[3 * LANES + lane] & _M32
        f4 = f[4 * LANES + lane] & _M32
        f5 = f[5 * LANES + lane] & _M32
        f6 = f[6 * LANES + lane] & _M32
        f7 = f[7 * LANES + lane] & _M32
        f8 = f[8 * LANES + lane] & _M32
        f9 = f[9 * LANES + lane] & _M32
        d0 = (f0 + f0) & _M32
        d1 = (f1 + f1) & _M32
        d2 = (f2 + f2) & _M32
        d3 = (f3 + f3) & _M32
        d4 = (f4 + f4) & _M32
        d5 = (f5 + f5) & _M32
        d6 = (f6 + f6) & _M32
        d7 = (f7 + f7) & _M32
        d8 = (f8 + f8) & _M32
        d9 = (f9 + f9) & _M32
        q1 = (d1 + d1) & _M32
        q3 = (d3 + d3) & _M32
        q5 = (d5 + d5) & _M32
        q7 = (d7 + d7) & _M32
        w5 = (_C19 * f5) & _M32
        w6 = (_C19 * f6) & _M32
        w7 = (_C19 * f7) & _M32
        w8 = (_C19 * f8) & _M32
        w9 = (_C19 * f9) & _M32
        h0 = f0 * f0 + q1 * w9 + d2 * w8 + q3 * w7 + d4 * w6 + d5 * w5
        h1 = d0 * f1 + d2 * w9 + d3 * w8 + d4 * w7 + d5 * w6
        h2 = d0 * f2 + d1 * f1 + q3 * w9 + d4 * w8 + q5 * w7 + f6 * w6
        h3 = d0 * f3 + d1 * f2 + d4 * w9 + d5 * w8 + d6 * w7
        h4 = d0 * f4 + q1 * f3 + f2 * f2 + q5 * w9 + d6 * w8 + d7 * w7
        h5 = d0 * f5 + d1 * f4 + d2 * f3 + d6 * w9 + d7 * w8
        h6 = d0 * f6 + q1 * f5 + d2 * f4 + d3 * f3 + q7 * w9 + f8 * w8
        h7 = d0 * f7 + d1 * f6 + d2 * f5 + d3 * f4 + d8 * w9
        h8 = d0 * f8 + q1 * f7 + d2 * f6 + q3 * f5 + f4 * f4 + d9 * w9
        h9 = d0 * f9 + d1 * f8 + d2 * f7 + d3 * f6 + d4 * f5
        _carry_and_store(h, lane, h0, h1, h2, h3, h4, h5, h6, h7, h8, h9)


@compiled
def squares(h: Row, f: Row, times: int) -> None:
    """h = f^(2^times) for an even number of times."""
    other = np.empty(WORDS, np.uint64)
    square(other, f)
    square(h, other)
    for _ in range(times // 2 - 1):
        square(other, h)
        square(h, other)


@compiled
def power_252_3(h: Row, f: Row) -> None:
    """h = f^(2^252 - 3), by the usual chain of 252 squarings and 11 products."""
    a, b, c, t = np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64)
    square(a, f)  # 2
    squares(t, a, 2)  # 8
    multiply(b, t, f)  # 9
    multiply(c, b, a)  # 11
    square(t, c)  # 22
    multiply(a, t, b)  # 2^5 - 1
    square(b, a)
    squares(t, b, 4)
    multiply(b, t, a)  # 2^10 - 1
    squares(t, b, 10)
    multiply(c, t, b)  # 2^20 - 1
    squares(t, c, 20)
    multiply(a, t, c)  # 2^40 - 1
    squares(t, a, 10)
    multiply(a, t, b)  # 2^50 - 1
    squares(t, a, 50)
    multiply(b, t, a)  # 2^100 - 1
    squares(t, b, 100)
    multiply(c, t, b)  # 2^200 - 1
    squares(t, c, 50)
    multiply(b, t, a)  # 2^250 - 1
    squares(t, b, 2)
    multiply(h, t, f)  # 2^252 - 3


@compiled
def invert(h: Row, f: Row) -> None:
    """h = 1 / f, and 0 for 0: f^(p - 2) = (f^(2^252 - 3))^8 * f^3."""
    a, b = np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64)
    power_252_3(a, f)
    squares(b, a, 2)
    square(a, b)
    square(b, f)
    multiply(h, b, f)
    multiply(b, a, h)
    for i in range(WORDS):
        h[i] = b[i]


@compiled
def legendre(h: Row, f: Row) -> None:
    """h = f^((p - 1) / 2) = (f^(2^252 - 3))^4 * f^2: 1 for a square, -1 for none, 0 for 0."""
    a, b = np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64)
    power_252_3(a, f)
    squares(b, a, 2)
    square(a, f)
    multiply(h, b, a)


@compiled
def invert_all(h: Numbers, f: Numbers) -> None:
    """Every row of h = 1 / the row of f, none of them 0, with one inversion for all rows (Montgomery's trick)."""
    running, t = np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64)
    h[0] = f[0]
    for row in range(1, len(f)):
        multiply(h[row], h[row - 1], f[row])
    invert(running, h[len(f) - 1])
    for row in range(len(f) - 1, 0, -1):
        multiply(t, running, h[row - 1])
        h[row] = t
        multiply(t, running, f[row])
        running[:] = t
    h[0] = running
