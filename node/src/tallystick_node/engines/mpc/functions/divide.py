"""Products with public numbers to the last place, and quotients of secrets."""

from __future__ import annotations

from math import ceil, log2

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tallystick_node.engines.mpc.functions.batch import constant, elementwise, plus, require_fraction, shift, stack, times
from tallystick_node.engines.mpc.functions.series import highest_bit, reversed_bits
from tallystick_node.engines.mpc.protocol import Protocol, Shares
from tallystick_node.engines.mpc.ring import Ring

_PRECISION = 25  # fraction bits of the normalised divisor
_QUOTIENT = 20  # fraction bits of its reciprocal


def scale(protocol: Protocol, secret: Shares, *, factor: ArrayLike, bits: int = 44) -> Shares:
    """Integers or fixed-point numbers times public ones, which broadcast to their shape.

    The error is at most 1.6 ulps where 2^bits times the largest factor is at most 2^54, else 2.6, and 2^-53 of the product; none
    for whole factors. Domain: |x| below 2^bits ulps, ``bits`` at most 56, and the product below 2^60. A factor is applied in
    pieces of 60 - bits bits, so that no product passes 2^62: one truncation for each piece, which is three for the default and a
    factor near 1. Raises ValueError for a factor that is too large or none.
    """
    if not 1 <= bits <= 56:
        raise ValueError("a factor is applied to numbers of 1 to 56 bits")
    rest = np.broadcast_to(np.asarray(factor, np.float64), secret.shape)
    largest = float(np.abs(rest).max(initial=0.0))
    if not largest < 2.0 ** (60 - bits):  # a NaN compares false
        raise ValueError("the product would not fit")
    if np.all(rest == np.rint(rest)):
        return secret.scaled(_whole(rest))
    pieces: list[tuple[Ring, int]] = []
    place = 0
    while largest * 2.0**bits > 1 / 32:
        place = min(60 - bits - ceil(log2(largest)), place + 31)  # from one piece to the next by one truncation
        piece = np.rint(np.ldexp(rest, place))
        pieces.append((_whole(piece), place))
        rest = rest - np.ldexp(piece, -place)  # exact: what is left has fewer digits
        largest = float(np.abs(rest).max(initial=0.0))
    if not pieces:
        return times(secret, 0)
    last, place = pieces.pop()
    total = secret.scaled(last)
    while pieces:
        coarse, above = pieces.pop()
        total = shift(protocol, total, place - above) + secret.scaled(coarse)
        place = above
    return shift(protocol, total, place)


def _whole(numbers: NDArray[np.float64]) -> Ring:
    return numbers.astype(np.int64).view(np.uint64)


def divide_public(protocol: Protocol, secret: Shares, *, divisor: ArrayLike, bits: int = 44) -> Shares:
    """Integers or fixed-point numbers by public ones: :func:`scale` by the inverse, with its domain and error.

    Raises ZeroDivisionError.
    """
    divisors = np.asarray(divisor, np.float64)
    if np.any(divisors == 0):
        raise ZeroDivisionError("a public divisor is zero")
    return scale(protocol, secret, factor=1 / divisors, bits=bits)


def quotient_limit(fraction: int) -> float:
    """Where quotients saturate: 2^(40 - fraction)."""
    return float(1 << (40 - fraction))


@elementwise
def divide(protocol: Protocol, numerator: Shares, divisor: Shares, *, fraction: int, bound: float | None = None) -> Shares:
    """Fixed-point quotients.

    Domain: |divisor| below ``bound``, at most (and by default) 2^22; any numerator below 2^61 ulps. The error is at most 2^-18 of
    the quotient plus 4 ulps. A quotient of :func:`quotient_limit` or more, and so every division by zero, saturates there with the
    sign of the quotient, zero counting as positive.

    Divisor and numerator are multiplied by the power of two that brings the divisor to [1/2, 1); its reciprocal is that of
    Goldschmidt (1964): w_0 = 3 - 2 c is off by |e| <= 1/8, and (1 + e)(1 + e^2)(1 + e^4) leaves e^8 = 2^-24. Three comparisons in
    the rounds of one, four conversions in those of one, one decomposition and composition, eleven products in eight levels.
    """
    require_fraction(fraction)
    bound = float(1 << 22) if bound is None else bound
    if not 0 < bound <= 1 << 22:
        raise ValueError("a divisor is below 2^22")
    width = fraction + max(1, ceil(log2(bound)))  # bits of the divisor; at most 46
    limit = 40 - fraction
    far = times(divisor, 1 << limit)
    signs = protocol.negative(stack([divisor, numerator - far, numerator + far]))
    beyond = protocol.not_(signs[1] ^ signs[2])  # both lie on one side of zero: |numerator| >= |divisor| 2^limit
    both = protocol.and_(stack([beyond, beyond]), stack([signs[0], signs[0] ^ signs[1]]))
    lifted = protocol.to_arithmetic(stack([signs[0], beyond, both[0], both[1]]))
    direction = plus(protocol, times(lifted[0], -2), 1)
    kept = plus(protocol, times(lifted[2], 2) - times(lifted[0], 2) - lifted[1], 1)  # direction where not beyond, else 0
    sized = protocol.multiply(stack([divisor, numerator]), stack([direction, kept]))
    top, _ = highest_bit(protocol, sized[0])
    factor = protocol.compose(top.map(lambda part: reversed_bits(part) >> np.uint64(64 - width), width))
    normal = protocol.multiply(sized, stack([factor, factor]))
    divided = _goldschmidt(protocol, normal[0], normal[1], width, fraction)
    return divided + times(lifted[1] - times(lifted[3], 2), 1 << 40)


def _goldschmidt(protocol: Protocol, divisor: Shares, numerator: Shares, width: int, fraction: int) -> Shares:
    """The quotient in ulps, of a divisor in [2^(width-1), 2^width), or 0, and a numerator in units of 2^(width - fraction) ulps."""
    drop = width - fraction - 1  # leaves one guard bit below the ulp
    if drop:
        # Both by one shift, the divisor raised so that it ends with its own precision.
        raised = times(divisor, 1 << (_PRECISION - width + drop))
        shifted = protocol.truncate(stack([raised, numerator]), drop)
        c, numerator = shifted[0], shifted[1]
    else:
        c = times(divisor, 1 << (_PRECISION - width))
    one = 1 << _PRECISION
    weight = plus(protocol, times(c, -2), 3 * one)
    error = plus(protocol, -protocol.multiply_fixed(c, weight, _PRECISION), one)
    for _ in range(2):
        level = protocol.multiply_fixed(stack([error, weight]), stack([error, plus(protocol, error, one)]), _PRECISION)
        error, weight = level[0], level[1]
    weight = protocol.multiply_fixed(weight, plus(protocol, error, one), 2 * _PRECISION - _QUOTIENT)
    return shift(protocol, protocol.multiply(numerator, weight), _QUOTIENT + 1)


@elementwise
def reciprocal(protocol: Protocol, secret: Shares, *, fraction: int, bound: float | None = None) -> Shares:
    """1 / x, with the domain, error, saturation and cost of :func:`divide`."""
    return divide(protocol, constant(protocol, secret.shape, 1 << fraction), secret, fraction=fraction, bound=bound)
