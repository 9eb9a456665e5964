"""Square roots and inverse square roots."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import Polynomial

from tallystick_node.engines.mpc.functions.batch import constant, elementwise, plus, require_fraction, shift, stack, times
from tallystick_node.engines.mpc.functions.series import expand, fit, highest_bit, paired_bits, reversed_bits
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares, Words

_PRECISION = 27  # fraction bits of the normalised number
_PAIRS = 31  # pairs of bits below 2^62

# 1 / sqrt(c) on [1/4, 1], where u = (8 c - 5) / 3 is in [-1, 1]: off by at most 1.8 percent, squared by each step of Goldschmidt.
_INNER = Polynomial([-5 / 3, 8 / 3])
_START = tuple(float(each) for each in Polynomial(fit(lambda u: 1 / np.sqrt((3 * u + 5) / 8), 3))(_INNER).coef)


@elementwise
def square_root(protocol: Protocol, secret: Shares, *, fraction: int) -> Shares:
    """The root of fixed-point numbers below 2^61 ulps; 0 for 0 and for negative numbers.

    The error is at most 2^-20 of the root plus 3 ulps. With the highest pair of bits at j, the number is c 4^(j+1) for a c in
    [1/4, 1), and its root sqrt(c) 2^(j+1). One decomposition, two compositions in the rounds of one, ten levels.
    """
    require_fraction(fraction)
    if fraction % 2:
        return shift(protocol, square_root(protocol, times(secret, 2), fraction=fraction + 1), 1)
    top, _ = highest_bit(protocol, secret)
    pairs = top.map(_pairs, _PAIRS)
    powers = protocol.compose(stack([pairs.map(_mirrored), pairs]))
    root, _ = _roots(protocol, secret, powers[0])
    return shift(protocol, protocol.multiply(root, powers[1]), _PRECISION - 1 - fraction // 2)


@elementwise
def inverse_square_root(protocol: Protocol, secret: Shares, *, fraction: int, digits: int | None = None) -> Shares:
    """1 / sqrt(x) for fixed-point numbers below 2^61 ulps; a number of 0 or less counts as one ulp.

    The error is at most 2^-20 of the result plus 2 ulps, those of ``digits`` fraction bits (None: as many
    as the number has). One decomposition, one composition and one conversion, ten levels.
    """
    require_fraction(fraction)
    secret, top = at_least_one(protocol, secret)
    odd = fraction % 2
    if odd:  # twice the number, with a bit more after the point
        secret, top = times(secret, 2), top.map(lambda part: part << np.uint64(1))
    power = protocol.compose(top.map(_pairs, _PAIRS).map(_mirrored))
    _, half = _roots(protocol, secret, power)
    # 1/sqrt(c) is twice ``half``; 1/sqrt(x) is that times power 2^(f/2 - 31), f the even number of bits.
    bits = fraction if digits is None else digits
    return shift(protocol, protocol.multiply(half, power), _PRECISION - 1 + _PAIRS - (fraction + odd) // 2 - bits)


def at_least_one(protocol: Protocol, secret: Shares) -> tuple[Shares, Binary]:
    """The number, or one ulp for what is not positive, and the word that has only its highest bit."""
    top, some = highest_bit(protocol, secret)
    wrong = protocol.not_(some) ^ top.bit(63)
    lifted = protocol.to_arithmetic(wrong)
    raised = secret + protocol.multiply(lifted, constant(protocol, secret.shape, 1) - secret)
    positive = top.map(lambda part: part & np.uint64((1 << 63) - 1))
    return raised, positive ^ wrong.map(lambda part: part.astype(np.uint64), 64)


def _pairs(part: Words) -> Words:
    return (paired_bits(part) & np.uint64((1 << _PAIRS) - 1)).astype(np.uint32)


def _mirrored(part: Words) -> Words:
    """Bit j at place 30 - j."""
    return (reversed_bits(part.astype(np.uint64)) >> np.uint64(64 - _PAIRS)).astype(np.uint32)


def _roots(protocol: Protocol, secret: Shares, power: Shares) -> tuple[Shares, Shares]:
    """sqrt(c) and 1 / (2 sqrt(c)), of c = secret power^2 2^-62 in [1/4, 1), with ``_PRECISION`` fraction bits (Goldschmidt)."""
    c = protocol.multiply_fixed(secret, power, 4)  # in two steps, so that neither passes 2^62
    c = protocol.multiply_fixed(c, power, 58 - _PRECISION)
    inverse = expand(protocol, c, _START, _PRECISION, _PRECISION)
    half = shift(protocol, inverse, _PRECISION + 1)
    root = times(protocol.multiply_fixed(c, half, _PRECISION), 2)
    for _ in range(2):
        rest = plus(protocol, -protocol.multiply_fixed(root, half, _PRECISION), 1 << (_PRECISION - 1))
        step = protocol.multiply_fixed(stack([root, half]), stack([rest, rest]), _PRECISION)
        root, half = root + step[0], half + step[1]
    return root, half
