"""What the approximations are made of: power series on a fixed interval, and the highest bit of a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from tallystick_node.engines.mpc.functions.batch import plus, stack, times
from tallystick_node.engines.mpc.protocol import Binary, Protocol, Shares, Words


def fit(function: Callable[[NDArray[np.float64]], NDArray[np.float64]], degree: int) -> tuple[float, ...]:
    """The polynomial that equals ``function`` at the Chebyshev points of [-1, 1], lowest coefficient first.

    Its largest error there is within a small factor of the smallest that the degree allows.
    """
    points = chebyshev.chebpts1(degree + 1)
    return tuple(float(each) for each in chebyshev.cheb2poly(chebyshev.chebfit(points, function(points), degree)))


def expand(protocol: Protocol, secret: Shares, coefficients: Sequence[float], precision: int, scale: int) -> Shares:
    """sum_i coefficients[i] x^i with ``precision + scale`` fraction bits, of x with ``precision`` fraction bits.

    Coefficients are rounded to ``scale`` bits. Domain: powers of x below 2^(61 - 2 precision), and sums of |coefficients| |x|^i
    below 2^(61 - precision - scale). Blocks of coefficients share the low powers of x, and are multiplied by powers of its highest.
    """
    width = _width(len(coefficients))
    blocks = [coefficients[start : start + width] for start in range(0, len(coefficients), width)]
    low = _powers(protocol, secret, width if len(blocks) > 1 else width - 1, precision)
    sums = [_linear(protocol, secret, low, block, precision, scale) for block in blocks]
    if len(blocks) == 1:
        return sums[0]
    high = _powers(protocol, low[-1], len(blocks) - 1, precision)
    factors = protocol.truncate(stack(sums[1:]), precision)
    return sums[0] + protocol.multiply(stack(high), factors).sum(axis=0)


def _width(count: int) -> int:
    """The length of a block that needs the fewest products; of equals the longest, which needs the fewest rounds."""

    def products(width: int) -> int:
        blocks = -(-count // width)
        return width - 2 if blocks == 1 else width - 1 + blocks - 2 + 2 * (blocks - 1)

    return min(range(count, 0, -1), key=products)


def _powers(protocol: Protocol, secret: Shares, highest: int, precision: int) -> list[Shares]:
    """x, x^2, ..., x^highest, in ceil(log2(highest)) levels."""
    powers = [secret]
    while len(powers) < highest:
        count = min(len(powers), highest - len(powers))
        level = protocol.multiply_fixed(stack([powers[-1]] * count), stack(powers[:count]), precision)
        powers += [level[number] for number in range(count)]
    return powers


def _linear(
    protocol: Protocol, secret: Shares, powers: Sequence[Shares], coefficients: Sequence[float], precision: int, scale: int
) -> Shares:
    constant, *others = (round(each * (1 << scale)) for each in coefficients)
    total = times(secret, 0)
    for power, factor in zip(powers, others, strict=False):
        total = total + times(power, factor)
    return plus(protocol, total, constant << precision)


def highest_bit(protocol: Protocol, secret: Shares) -> tuple[Binary, Binary]:
    """Of each number: the word that has only its highest bit (63 for a negative number, none for 0), and whether it has one.

    One decomposition and six ANDs of words.
    """
    smeared = protocol.decompose(secret)
    for distance in (1, 2, 4, 8, 16, 32):
        moved = smeared.map(_right(distance))
        smeared = smeared ^ moved ^ protocol.and_(smeared, moved)
    return smeared ^ smeared.map(_right(1)), smeared.bit(0)


def _right(distance: int) -> Callable[[Words], Words]:
    return lambda part: part >> np.uint64(distance)


_SWAPS = tuple(
    (np.uint64(distance), np.uint64(mask))
    for distance, mask in (
        (1, 0x5555555555555555),
        (2, 0x3333333333333333),
        (4, 0x0F0F0F0F0F0F0F0F),
        (8, 0x00FF00FF00FF00FF),
        (16, 0x0000FFFF0000FFFF),
        (32, 0x00000000FFFFFFFF),
    )
)


def reversed_bits(words: Words) -> Words:
    """Bit i of each 64-bit word at place 63 - i."""
    for distance, mask in _SWAPS:
        words = ((words >> distance) & mask) | ((words & mask) << distance)
    return words


def paired_bits(words: Words) -> Words:
    """Bit j of each result is the XOR of bits 2j and 2j + 1 of the 64-bit word."""
    words = (words ^ (words >> np.uint64(1))) & _SWAPS[0][1]
    for distance, mask in zip((1, 2, 4, 8, 16), (each for _, each in _SWAPS[1:]), strict=True):
        words = (words | (words >> np.uint64(distance))) & mask
    return words


def place_bits(words: Words) -> Words:
    """The place of the only bit of each 64-bit word, as a number of six bits; linear over XOR, so that it can be taken of parts."""
    places = np.zeros(words.shape, np.uint8)
    for bit in range(6):
        chosen = sum(1 << place for place in range(64) if place >> bit & 1)
        places |= (np.bitwise_count(words & np.uint64(chosen)) & np.uint8(1)) << np.uint8(bit)
    return places
