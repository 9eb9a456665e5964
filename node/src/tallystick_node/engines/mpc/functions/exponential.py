"""Exponentials, logarithms and what is made of them."""

from __future__ import annotations

from math import log as natural

import numpy as np

from tallystick_node.engines.mpc.functions.batch import elementwise, plus, require_fraction, shift, stack, times
from tallystick_node.engines.mpc.functions.divide import divide
from tallystick_node.engines.mpc.functions.extreme import amax
from tallystick_node.engines.mpc.functions.root import at_least_one
from tallystick_node.engines.mpc.functions.select import clip
from tallystick_node.engines.mpc.functions.series import expand, fit, place_bits, reversed_bits
from tallystick_node.engines.mpc.protocol import Protocol, Shares

HIGHEST = 16.0  # exp saturates at e^16

_BITS = 26  # fraction bits of powers of two
_OFFSET = 31  # makes their whole parts non-negative, below 64
_MANTISSA = fit(lambda u: np.exp2((u + 1) / 2), 5)  # off by 1.1e-7 of the result
_LOG_BITS = 29
_LOGARITHM = fit(lambda u: np.log((u + 3) / 4), 8)  # off by 4e-8


@elementwise
def exp(protocol: Protocol, secret: Shares, *, fraction: int) -> Shares:
    """e^x of fixed-point numbers below 2^61 ulps: any number, saturating at e^16, and at less than an ulp for very negative ones.

    The error is at most 2^-fraction + 2^-20 of the result plus 2 ulps. e^x = 2^n 2^r with whole n and r in [0, 1): n from the bits
    of x log2(e), 2^n by products of the powers that its bits choose, 2^r by a polynomial. Two comparisons in the rounds of one,
    eight conversions in the rounds of two, one decomposition, eleven products and three truncations.
    """
    require_fraction(fraction, least=1)
    lowest = -(fraction + 2) * natural(2)
    secret = clip(protocol, secret, low=lowest, high=HIGHEST, fraction=fraction)
    scaled = shift(protocol, times(secret, round((1 << _BITS) / natural(2))), fraction)
    scaled = plus(protocol, scaled, _OFFSET << _BITS)
    bits = protocol.decompose(scaled)
    chosen = protocol.to_arithmetic(stack([bits.bit(_BITS + place) for place in range(6)]))
    places = np.array([1 << (_BITS + place) for place in range(6)], np.uint64)[:, None]
    rest = scaled - chosen.scaled(places).sum(axis=0)
    mantissa = expand(protocol, plus(protocol, times(rest, 2), -(1 << _BITS)), _MANTISSA, _BITS, _BITS)
    mantissa = shift(protocol, mantissa, _BITS)
    factors = [plus(protocol, times(chosen[place], (1 << (1 << place)) - 1), 1) for place in range(5)]
    first = protocol.multiply(stack([factors[0], factors[2]]), stack([factors[1], factors[3]]))
    second = protocol.multiply(stack([first[0], factors[4]]), stack([first[1], mantissa]))
    product = shift(protocol, protocol.multiply(second[0], second[1]), _BITS - fraction)
    # 2^(n mod 32) is applied; n has the offset 31, so its highest bit says between a factor of 2 and of 2^-31.
    small = shift(protocol, product, _OFFSET)
    return small + protocol.multiply(chosen[5], times(product, 2) - small)


@elementwise
def log(protocol: Protocol, secret: Shares, *, fraction: int) -> Shares:
    """Natural logarithms of fixed-point numbers below 2^61 ulps; a number of 0 or less counts as one ulp.

    The error is at most 3 ulps. log x = log c + n log 2 for c in [1/2, 1). One decomposition and composition, seven
    conversions, about six levels.
    """
    require_fraction(fraction)
    secret, top = at_least_one(protocol, secret)
    factor = protocol.compose(top.map(lambda part: reversed_bits(part) >> np.uint64(2), 62))
    place_word = top.map(place_bits, 6)
    digits = protocol.to_arithmetic(stack([place_word.bit(digit) for digit in range(6)]))
    place = digits.scaled(np.array([1 << digit for digit in range(6)], np.uint64)[:, None]).sum(axis=0)
    c = protocol.multiply_fixed(secret, factor, 31)  # with 31 fraction bits; those of u = 4 c - 3 are 29
    scale = min(_LOG_BITS, 31 + fraction - _LOG_BITS)
    series = expand(protocol, plus(protocol, c, -(3 << _LOG_BITS)), _LOGARITHM, _LOG_BITS, scale)
    unit = natural(2) * (1 << (_LOG_BITS + scale))
    series = plus(protocol, series + times(place, round(unit)), round((1 - fraction) * unit))
    return shift(protocol, series, _LOG_BITS + scale - fraction)


@elementwise
def log1p(protocol: Protocol, secret: Shares, *, fraction: int) -> Shares:
    """log(1 + x), with the error and cost of :func:`log`; an x of -1 or less counts as -1 and one ulp."""
    return log(protocol, plus(protocol, secret, 1 << fraction), fraction=fraction)


def softmax(protocol: Protocol, secret: Shares, *, axis: int = -1, fraction: int) -> Shares:
    """e^x over its sum along an axis, after the largest x of each row is taken away.

    Domain: |x| below 2^60 ulps, and at most 2^20 numbers along the axis. The error is at most (number along the axis + 6) ulps
    + 2^-17. One :func:`amax`, one :func:`exp` and one :func:`divide`.
    """
    require_fraction(fraction, least=1)
    moved = secret.map(lambda part: np.moveaxis(part, axis, 0))
    count = moved.shape[0]
    if count > 1 << 20:
        raise ValueError("a softmax is taken of at most 2^20 numbers")
    if not moved.size:
        return secret
    largest = amax(protocol, moved, axis=0)
    powers = exp(protocol, moved - _repeated(largest, count), fraction=fraction)
    total = _repeated(powers.sum(axis=0), count)
    shares = divide(protocol, powers, total, fraction=fraction, bound=float(2 * count))
    return shares.map(lambda part: np.ascontiguousarray(np.moveaxis(part, 0, axis)))


def _repeated(secret: Shares, count: int) -> Shares:
    return secret.map(lambda part: np.broadcast_to(part, (count, *part.shape)))
