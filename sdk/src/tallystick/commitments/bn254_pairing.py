"""The second group of BN254 and whether a product of pairings is one, as the precompile of EIP-197 answers it.

G2 is the subgroup of order ``ORDER`` of y^2 = x^3 + 3 / (9 + i) over F_P^2 with i^2 = -1. The curve itself has more points, and a
point outside the subgroup is refused here as by the precompile. The pairing is the optimal ate pairing (Vercauteren, IEEE
Transactions on Information Theory 56(1), 2010) of Barreto-Naehrig curves (SAC 2005). Its target is F_P^12, as polynomials in w over
F_P with w^12 = 18 w^6 - 82, so that w^6 = 9 + i. Everything here is public, so nothing runs in constant time; for the group's
strength see :mod:`.bn254`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.commitments import bn254
from tallystick.commitments.bn254 import ORDER, P

Pair = tuple[int, int]  # a + b i
TwistPoint = tuple[Pair, Pair] | None  # x and y; None is infinity
_Twelve = list[int]  # coefficients of w^0 to w^11

GENERATOR: TwistPoint = (
    (
        10857046999023057135944570762232829481370756359578518086990519993285655852781,
        11559732032986387107991004021392285783925812861821192530917403151452391805634,
    ),
    (
        8495653923123431417604973247489272438418190587263600148770280649306958101930,
        4082367875863433681332203403145435568316851327593401208105741076214120093531,
    ),
)
"""The generator of G2 that EIP-197 names."""

SIZE = 128  # bytes of an encoded point
_LOOP = 29793968203157093288  # 6 u + 2, for u = 4965661367192848881
_WIDTH = 64  # bytes of a slot: a sum of twelve products of two numbers below P fits
_FINAL = (P**6 + 1) // ORDER


def decode(encoded: bytes) -> TwistPoint:
    """The point of the precompile's 128 bytes: imaginary part of x, real part, then those of y, big-endian; zeros for infinity.

    Raises ``ValueError`` for another length, coordinates that are not reduced, and points off the curve or outside the subgroup.
    """
    if len(encoded) != SIZE:
        raise ValueError("a point of BN254's second group takes 128 bytes")
    b, a, d, c = (int.from_bytes(encoded[at : at + 32], "big") for at in range(0, SIZE, 32))
    point = None if not (a or b or c or d) else ((a, b), (c, d))
    if not is_in_group(point):
        raise ValueError("the bytes are not a point of BN254's second group: on the curve and of its prime order")
    return point


def encode(point: TwistPoint) -> bytes:
    """What :func:`decode` reads."""
    if point is None:
        return bytes(SIZE)
    (a, b), (c, d) = point
    return b"".join(each.to_bytes(32, "big") for each in (b, a, d, c))


def is_in_group(point: TwistPoint) -> bool:
    """Whether ``point`` is infinity, or has reduced coordinates, lies on the curve and has order ``ORDER``."""
    if point is None:
        return True
    x, y = point
    if not all(0 <= each < P for each in (*x, *y)):
        return False
    difference = _minus(_times(y, y), _times(_times(x, x), x))
    return _minus(difference, _CONSTANT) == (0, 0) and multiply(point, ORDER) is None


def add(left: TwistPoint, right: TwistPoint) -> TwistPoint:
    """The group sum of two points of the curve."""
    if left is None:
        return right
    if right is None:
        return left
    if left[0] == right[0] and _plus(left[1], right[1]) == (0, 0):
        return None
    return _step(left, right)[0]


def multiply(point: TwistPoint, scalar: int) -> TwistPoint:
    """``scalar`` times ``point``, not reduced modulo the order: so it tells whether the order is the group's. ``scalar`` >= 0."""
    result: TwistPoint = None
    for bit in f"{scalar:b}":
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def product_is_one(pairs: Sequence[tuple[bn254.Point, TwistPoint]]) -> bool:
    """Whether the product of the pairings of all ``pairs`` is one. Points must be of their groups; infinity pairs to one."""
    value = _ONE
    given = [(first, second) for first, second in pairs if first is not None and second is not None]
    at: list[TwistPoint] = [second for _, second in given]
    for bit in bin(_LOOP)[3:]:
        value = _multiply(value, value)
        for k, (first, second) in enumerate(given):
            value, at[k] = _advance(value, at[k], at[k], first)
            if bit == "1":
                value, at[k] = _advance(value, at[k], second, first)
    for k, (first, second) in enumerate(given):
        once = _frobenius(second)
        twice = _frobenius(once)
        value, at[k] = _advance(value, at[k], once, first)
        value, _ = _advance(value, at[k], (twice[0], _minus((0, 0), twice[1])), first)
    # value^((P^12 - 1) / ORDER) is one where value^_FINAL is in F_P^6, which the even powers of w span. It is not zero: lines
    # through points of the second group vanish nowhere on the first, where no y is zero.
    return not any(_power(value, _FINAL)[1::2])


def _advance(value: _Twelve, at: TwistPoint, other: TwistPoint, first: tuple[int, int]) -> tuple[_Twelve, TwistPoint]:
    """``value`` times the line through ``at`` and ``other`` at ``first``, and the sum of the two."""
    assert at is not None  # of prime order: no multiple in the loop is infinity
    assert other is not None
    total, slope = _step(at, other)
    x, y = first
    # The twist maps (x, y) to (x w^2, y w^3): the line is y - slope x w + (slope x_at - y_at) w^3.
    linear = (-slope[0] * x % P, -slope[1] * x % P)
    constant = _minus(_times(slope, at[0]), at[1])
    line = [y, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    for power, (real, imaginary) in ((1, linear), (3, constant)):  # i = w^6 - 9
        line[power] = (real - 9 * imaginary) % P
        line[power + 6] = imaginary
    return _multiply(value, line), total


def _step(left: tuple[Pair, Pair], right: tuple[Pair, Pair]) -> tuple[tuple[Pair, Pair], Pair]:
    """The sum of two points that are not each other's inverses, and the slope of the line through them."""
    (x1, y1), (x2, y2) = left, right
    if left == right:
        square = _times(x1, x1)
        above, below = (3 * square[0], 3 * square[1]), (2 * y1[0], 2 * y1[1])
    else:
        above, below = _minus(y2, y1), _minus(x2, x1)
    norm = pow(below[0] * below[0] + below[1] * below[1], -1, P)
    slope = _times(above, (below[0] * norm, -below[1] * norm))
    x3 = _minus(_minus(_times(slope, slope), x1), x2)
    return (x3, _minus(_times(slope, _minus(x1, x3)), y1)), slope


def _frobenius(point: TwistPoint) -> tuple[Pair, Pair]:
    """The power map of P on the twist: conjugates, times powers of 9 + i."""
    assert point is not None
    (a, b), (c, d) = point
    return _times((a, -b), _TURN[0]), _times((c, -d), _TURN[1])


def _plus(left: Pair, right: Pair) -> Pair:
    return (left[0] + right[0]) % P, (left[1] + right[1]) % P


def _minus(left: Pair, right: Pair) -> Pair:
    return (left[0] - right[0]) % P, (left[1] - right[1]) % P


def _times(left: Pair, right: Pair) -> Pair:
    (a, b), (c, d) = left, right
    return (a * c - b * d) % P, (a * d + b * c) % P


def _pair_power(base: Pair, exponent: int) -> Pair:
    result: Pair = (1, 0)
    for bit in f"{exponent:b}":
        result = _times(result, result)
        if bit == "1":
            result = _times(result, base)
    return result


def _multiply(left: _Twelve, right: _Twelve) -> _Twelve:
    """A product in F_P^12, by one product of long integers with a slot for each coefficient."""
    product = _packed(left) * _packed(right)
    raw = product.to_bytes(23 * _WIDTH, "little")
    found = [int.from_bytes(raw[at : at + _WIDTH], "little") for at in range(0, 23 * _WIDTH, _WIDTH)]
    for k in range(10, -1, -1):  # w^12 = 18 w^6 - 82
        found[k + 6] += 18 * found[k + 12]
        found[k] -= 82 * found[k + 12]
    return [each % P for each in found[:12]]


def _packed(value: _Twelve) -> int:
    return int.from_bytes(b"".join(each.to_bytes(_WIDTH, "little") for each in value), "little")


def _power(base: _Twelve, exponent: int) -> _Twelve:
    result = _ONE
    for bit in f"{exponent:b}":
        result = _multiply(result, result)
        if bit == "1":
            result = _multiply(result, base)
    return result


_ONE: _Twelve = [1, *[0] * 11]
_CONSTANT: Pair = _times((3, 0), _pair_power((9, 1), P * P - 2))  # 3 / (9 + i)
_TURN = (_pair_power((9, 1), (P - 1) // 3), _pair_power((9, 1), (P - 1) // 2))
