"""Products with public numbers to the last place, and quotients of secrets."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, log2

import numpy as np

from tallystick_node.engines.mpc.functions.batch import constant, elementwise, plus, require_fraction, shift, stack, times
from tallystick_node.engines.mpc.functions.series import highest_bit, reversed_bits
from tallystick_node.engines.mpc.protocol import Protocol, Shares

_PRECISION = 25  # fraction bits of the normalised divisor
_QUOTIENT = 20  # fraction bits of its reciprocal


@elementwise
def scale(protocol: Protocol, secret: Shares, *, factor: float | Fraction, bits: int = 44) -> Shares:
    """Integers or fixed-point numbers times a public one, at most 1.6 ulps from the exact product.

    Domain: |x| below 2^bits ulps, ``bits`` at most 56, and the product below 2^60. The factor is applied in pieces of about
    61 - bits bits, so that no product passes 2^62: one truncation for each piece (none for a whole factor), which is two or three
    for the default.
    """
    if not 1 <= bits <= 56:
        raise ValueError("a factor is applied to numbers of 1 to 56 bits")
    exact = Fraction(factor)
    if exact == 0:
        return times(secret, 0)
    if exact.denominator == 1:
        return times(secret, exact.numerator)
    size = bits + ceil(log2(abs(exact)))  # of the product
    if size > 60:
        raise ValueError("the product would not fit")
    # Pieces c_1 2^-s_1 + c_2 2^-s_2 + ... = factor, each product just below 2^61, until what is left is below 1/16 ulp.
    pieces: list[tuple[int, int]] = []
    rest = exact
    while rest and abs(rest) * (1 << bits) * 16 > 1:
        place = 60 - bits - ceil(log2(abs(rest)))
        whole = round(rest * Fraction(2) ** place)
        pieces.append((whole, place))
        rest -= Fraction(whole) / Fraction(2) ** place
    whole, place = pieces.pop()
    total = times(secret, whole)
    while pieces:
        coarse, above = pieces.pop()
        total = shift(protocol, total, place - above) + times(secret, coarse)
        place = above
    return shift(protocol, total, place)


@elementwise
def divide_public(protocol: Protocol, secret: Shares, *, divisor: float | Fraction, bits: int = 44) -> Shares:
    """Integers or fixed-point numbers by a public one: :func:`scale` by its inverse, with the same domain and error.

    Raises ZeroDivisionError.
    """
    return scale(protocol, secret, factor=1 / Fraction(divisor), bits=bits)


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
