"""Curve25519 on u-coordinates: hashing items to the curve, and multiplying many points by one secret scalar.

Hashing is the map of RFC 9380's suite ``curve25519_XMD:SHA-512_ELL2_NU_`` (Elligator 2) without the clearing of the
cofactor: the scalars are clamped (RFC 7748), so multiples of 8, which clears it. Hash output used as u directly
would not do: half of all u belong to the twist, and which half shows through any scalar, one bit of every item. NU
reaches about half of the curve's points, non-uniformly, which the argument for masking does not mind: the map is a
random oracle composed with an invertible map.

Both run on many points at once (:mod:`field25519`). Nothing branches on a secret or on a point.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.psi import field25519 as field
from tallystick_node.engines.psi.field25519 import LANES, WORDS, Numbers, Row

P = field.P
POINT = field.BYTES  # bytes of a u-coordinate, little-endian
ORDER = 2**252 + 27742317777372353535851937790883648493  # of the large subgroup

Points = NDArray[np.uint8]  # of shape (n, 32)

_A = 486662
_SUITE = b"tallystick-V01-CS01-with-curve25519_XMD:SHA-512_ELL2_NU_"
_A24 = np.uint64((_A - 2) // 4)
_ONE = field.constant(1)
_ZERO = field.constant(0)
_CURVE = field.constant(_A)
_CURVE_CUBED = field.constant(_A**3)
_NONE_BYTES = np.frombuffer((P - 1).to_bytes(POINT, "little"), np.uint8)  # -1: what is not a square


def random_scalar() -> bytes:
    """A secret scalar, clamped: a multiple of 8 between 2^254 and 2^255."""
    return _clamped(secrets.token_bytes(32))


def invertible_scalar() -> tuple[bytes, bytes]:
    """A secret scalar r and a t that takes it away: both clamped, with t r = 1 or -1 modulo the order. On u-coordinates a point and
    its negative are the same, so of r and -r one always has such a t, but for a negligible part, which is drawn again."""
    while True:
        scalar = random_scalar()
        part = pow(int.from_bytes(scalar, "little") * 8, -1, ORDER)
        for each in (part, ORDER - part):
            if 1 << 251 <= each < 1 << 252:
                return scalar, (8 * each).to_bytes(POINT, "little")


def hash_to_curve(items: Sequence[bytes], salt: bytes, suite: bytes = _SUITE) -> Points:
    """The u-coordinates of the points that ``salt || item`` hash to; multiply them by clamped scalars only."""
    return map_to_curve(hash_to_field(items, suite, salt))


def hash_to_field(messages: Sequence[bytes], suite: bytes, salt: bytes = b"") -> NDArray[np.uint8]:
    """RFC 9380, section 5.2 with ``expand_message_xmd`` over SHA-512, L = 48: one element for each message after the salt, as 32
    bytes."""
    suffix = suite + len(suite).to_bytes(1, "big")
    start = hashlib.sha512(bytes(128) + salt)
    middle = (48).to_bytes(2, "big") + b"\0" + suffix
    end = b"\1" + suffix
    digests = []
    for message in messages:
        state = start.copy()
        state.update(message + middle)
        digests.append(hashlib.sha512(state.digest() + end).digest())
    return _reduced(np.frombuffer(b"".join(digests), ">u8").reshape(-1, 8)[:, 5::-1])


def _reduced(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Numbers of six words each, least significant first, modulo the prime: what is above 255 bits counts 19 times."""
    count = len(words)
    if count == 0:
        return np.empty((0, POINT), np.uint8)
    low = words.astype("<u8")
    high = np.zeros((count, 4), "<u8")
    high[:, :2] = low[:, 3:5] >> np.uint64(63) | low[:, 4:6] << np.uint64(1)
    high[:, 2] = low[:, 5] >> np.uint64(63)
    folded = _folded(field.from_bytes(_bytes(low[:, :4])), field.from_bytes(_bytes(high)))
    return field.to_bytes(folded, count)


def _bytes(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(words).view(np.uint8).reshape(-1, POINT)


def map_to_curve(elements: NDArray[np.uint8]) -> Points:
    """Elligator 2 (RFC 9380, section 6.7.1) with Z = 2: u = -A/(1 + 2 e^2), or -u - A if that is not on the curve."""
    count = len(elements)
    if count == 0:
        return np.empty((0, POINT), np.uint8)
    first, second, square = _elligator(field.from_bytes(elements), _ONE, _ZERO, _CURVE, _CURVE_CUBED)
    none = (field.to_bytes(square, count) == _NONE_BYTES).all(axis=1)
    return np.where(none[:, None], field.to_bytes(second, count), field.to_bytes(first, count))


def multiply(points: Points, scalar: bytes) -> Points:
    """X25519 (RFC 7748, section 5) of each point with one scalar; a row of zeros for a point of low order."""
    count = len(points)
    if count == 0:
        return np.empty((0, POINT), np.uint8)
    bits = np.unpackbits(np.frombuffer(_clamped(scalar), np.uint8), bitorder="little").astype(np.uint64)
    x, z = _ladder(field.from_bytes(points), bits, _ONE)
    infinite = (field.to_bytes(z, len(z) * LANES) == 0).all(axis=1)  # of the padding, too: an inverse is shared along a lane
    _put_one(z, infinite)
    out = field.to_bytes(_quotient(x, z), count)
    out[infinite[:count]] = 0
    return out


def _clamped(scalar: bytes) -> bytes:
    low, middle, high = scalar[0] & 248, scalar[1:31], scalar[31] & 127 | 64
    return bytes([low]) + middle + bytes([high])


def _put_one(numbers: Numbers, where: NDArray[np.bool_]) -> None:
    """Write 1 for the numbers of ``where``, so that all can be inverted together."""
    rows, lanes = np.divmod(np.flatnonzero(where), LANES)
    view = numbers.reshape(-1, field.LIMBS, LANES)
    view[rows, :, lanes] = 0
    view[rows, 0, lanes] = 1


@compiled
def _ladder(points: Numbers, bits: NDArray[np.uint64], one: Row) -> tuple[Numbers, Numbers]:
    """Montgomery's ladder on every row: the result's x and z. RFC 7748, section 5, with its names."""
    out_x, out_z = np.empty_like(points), np.empty_like(points)
    x2, z2, x3, z3 = np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64)
    a, aa, b, bb = np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64)
    c, d, da, cb = np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64)
    e, t = np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64)
    for row in range(len(points)):
        x1 = points[row]
        x2[:] = one
        z2[:] = np.uint64(0)
        x3[:] = x1
        z3[:] = one
        previous = np.uint64(0)
        for position in range(254, -1, -1):
            bit = bits[position]
            mask = np.uint64(0) - (bit ^ previous)
            previous = bit
            field.swap(x2, x3, mask)
            field.swap(z2, z3, mask)
            field.sum_and_difference(a, b, x2, z2)
            field.sum_and_difference(c, d, x3, z3)
            field.square(aa, a)
            field.square(bb, b)
            field.multiply(da, d, a)
            field.multiply(cb, c, b)
            field.sum_and_difference(c, d, da, cb)
            field.square(x3, c)
            field.square(t, d)
            field.multiply(z3, x1, t)
            field.subtract(e, aa, bb)
            field.multiply(x2, aa, bb)
            field.carry(t, aa, e, _A24)
            field.multiply(z2, e, t)
        mask = np.uint64(0) - previous
        field.swap(x2, x3, mask)
        field.swap(z2, z3, mask)
        out_x[row] = x2
        out_z[row] = z2
    return out_x, out_z


@compiled
def _folded(low: Numbers, high: Numbers) -> Numbers:
    """low + 19 high, row by row."""
    out = np.empty_like(low)
    for row in range(len(low)):
        field.carry(out[row], low[row], high[row], np.uint64(19))
    return out


@compiled
def _quotient(x: Numbers, z: Numbers) -> Numbers:
    """x / z, row by row; no z is 0."""
    out = np.empty_like(x)
    field.invert_all(out, z)
    t = np.empty(WORDS, np.uint64)
    for row in range(len(x)):
        field.multiply(t, out[row], x[row])
        out[row] = t
    return out


@compiled
def _elligator(elements: Numbers, one: Row, zero: Row, a: Row, a_cubed: Row) -> tuple[Numbers, Numbers, Numbers]:
    """For each element e with d = 1 + 2 e^2: -A/d, its counterpart A/d - A, and whether the first is on the curve.

    For u = -A/d, u^3 + A u^2 + u times d^4 is d (A^3 (d - 1) - A d^2), a square exactly when u is on the curve, without the
    inverse. d is never 0: -1/2 is not a square.
    """
    first, second, square = np.empty_like(elements), np.empty_like(elements), np.empty_like(elements)
    denominators = np.empty_like(elements)
    s, t, v = np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64), np.empty(WORDS, np.uint64)
    for row in range(len(elements)):
        d = denominators[row]
        field.square(s, elements[row])
        field.carry(t, zero, s, np.uint64(2))  # d - 1
        field.carry(d, one, t, np.uint64(1))
        field.multiply(s, t, a_cubed)
        field.square(v, d)
        field.multiply(t, v, a)
        field.subtract(v, s, t)
        field.multiply(s, v, d)
        field.legendre(square[row], s)
    field.invert_all(second, denominators)
    for row in range(len(elements)):
        field.multiply(t, second[row], a)  # A/d
        field.subtract(s, zero, t)
        field.carry(first[row], s, zero, np.uint64(1))
        field.subtract(s, t, a)
        field.carry(second[row], s, zero, np.uint64(1))
    return first, second, square
