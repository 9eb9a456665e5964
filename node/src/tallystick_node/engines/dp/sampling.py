"""Exact samples of the discrete Laplace and Gaussian distributions, by the rejection samplers of Canonne, Kamath and Steinke ("The
discrete Gaussian for differential privacy", NeurIPS 2020, algorithms 2 and 3), whole arrays at a time.

Every choice in them is whether a uniform real U in [0, 1) is below a probability p = exp(-g) for a rational g. The first 64 bits of
U decide almost always, beside p in floating point: whenever they differ by less than ``MARGIN``, far more than the rounding of
both, as many further bits of U are drawn and digits of p computed (by ``decimal``, whose exp rounds correctly) as decide the
exact comparison. So the samples have exactly the distribution stated, given uniform bits. All bits are the operating system's.

The time a call takes depends on the draws that were rejected, and through the number of rejections on nothing that is returned.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

MARGIN = 2.0**-40
LARGEST = 1 << 40  # of a scale's numerator and denominator: what keeps the integers here below 2^53, exact in floating point
_WORD = 64

Bounds = Callable[[int], tuple[Fraction, Fraction]]


class Uniform:
    """A uniform real in [0, 1), of which more bits are drawn when they are needed."""

    def __init__(self, word: int) -> None:
        self._word = word
        self._bits = _WORD

    def below(self, bounds: Bounds) -> bool:
        """Whether it is below the number that ``bounds(bits)`` gives lower and upper bounds of, to about so many bits."""
        while True:
            low, high = bounds(self._bits)
            if Fraction(self._word + 1, 1 << self._bits) <= low:
                return True
            if Fraction(self._word, 1 << self._bits) >= high:
                return False
            self._word = self._word << _WORD | secrets.randbits(_WORD)
            self._bits += _WORD


def exponential_bounds(exponent: Fraction) -> Bounds:
    """Bounds of exp(-exponent)."""

    def bounds(bits: int) -> tuple[Fraction, Fraction]:
        ends = []
        for rounding in (ROUND_CEILING, ROUND_FLOOR):
            with localcontext(prec=bits // 3 + 10, rounding=rounding):
                power = (-(Decimal(exponent.numerator) / Decimal(exponent.denominator))).exp()
                ends.append(Fraction(power.next_minus() if rounding == ROUND_CEILING else power.next_plus()))
        return ends[0], ends[1]

    return bounds


def uniform_words(count: int) -> NDArray[np.uint64]:
    """Uniform 64-bit words."""
    return np.frombuffer(os.urandom(8 * count), np.uint64)


def uniform_below(limit: int, count: int) -> NDArray[np.int64]:
    """Uniform integers from 0 to ``limit`` - 1."""
    mask = np.uint64((1 << (limit - 1).bit_length()) - 1)
    out = np.empty(count, np.int64)
    filled = 0
    while filled < count:
        words = uniform_words(count - filled) & mask
        found = words[words < limit]
        out[filled : filled + found.size] = found
        filled += found.size
    return out


def bernoulli(probabilities: NDArray[np.float64], exact: Callable[[int], Bounds]) -> NDArray[np.bool_]:
    """Independent choices, each true with its probability: that which ``exact(index)`` bounds. ``probabilities`` are those within
    ``MARGIN`` / 2."""
    words = uniform_words(probabilities.size)
    gaps = probabilities - np.ldexp(words.astype(np.float64), -_WORD)
    chosen: NDArray[np.bool_] = gaps > 0
    for index in np.flatnonzero(np.abs(gaps) < MARGIN).tolist():
        chosen[index] = Uniform(int(words[index])).below(exact(index))
    return chosen


def discrete_laplace(scale: Fraction | int, size: int) -> NDArray[np.int64]:
    """``size`` integers, x with probability proportional to exp(-|x| / scale). Raises ``ValueError`` unless the scale is a
    positive rational whose numerator is at most 2^40."""
    scale = Fraction(scale)
    if scale <= 0 or max(scale.numerator, scale.denominator) > LARGEST:
        raise ValueError("the scale of discrete Laplace noise is a positive fraction of integers up to 2^40")
    limit, step = scale.numerator, scale.denominator
    out = np.empty(size, np.int64)
    filled = 0
    while filled < size:
        rests = uniform_below(limit, 2 * (size - filled) + 16)
        rests = rests[_kept(rests, limit)]
        found = (rests + limit * _geometric(rests.size)) // step
        negative = np.unpackbits(np.frombuffer(os.urandom(found.size // 8 + 1), np.uint8))[: found.size].astype(bool)
        found = np.where(negative, -found, found)[~(negative & (found == 0))][: size - filled]  # zero once, not as -0 again
        out[filled : filled + found.size] = found
        filled += found.size
    return out


def discrete_gaussian(variance: Fraction | int, size: int) -> NDArray[np.int64]:
    """``size`` integers, x with probability proportional to exp(-x^2 / (2 variance)): the variance is that parameter, and, but for
    parameters near zero, also the variance of the samples. Raises ``ValueError`` unless it is in (0, 2^78]."""
    variance = Fraction(variance)
    if not 0 < variance <= LARGEST**2 >> 2:
        raise ValueError("the variance of discrete Gaussian noise is above 0 and at most 2^78")
    scale = math.isqrt(math.floor(variance)) + 1
    shift = variance / scale
    near, double = float(shift), 2 * float(variance)
    out = np.empty(size, np.int64)
    filled = 0
    while filled < size:
        found = discrete_laplace(scale, (size - filled) * 3 // 2 + 16)
        far = np.abs(found)

        def exact(index: int, far: NDArray[np.int64] = far) -> Bounds:
            return exponential_bounds((int(far[index]) - shift) ** 2 / (2 * variance))

        # Rounding moves the exponent g by less than 2^-45 sqrt(g) and so exp(-g) by less than 2^-45
        found = found[bernoulli(np.exp(-((far - near) ** 2) / double), exact)][: size - filled]
        out[filled : filled + found.size] = found
        filled += found.size
    return out


def _kept(rests: NDArray[np.int64], limit: int) -> NDArray[np.bool_]:
    """Each with probability exp(-rest / limit)."""
    return bernoulli(np.exp(rests / -limit), lambda index: exponential_bounds(Fraction(int(rests[index]), limit)))


def _geometric(size: int) -> NDArray[np.int64]:
    """Integers v >= 0 with probability (1 - 1/e) e^-v: how many of e^-1, e^-2, .. a uniform real is below."""
    words = uniform_words(size)
    at = np.searchsorted(_POWERS, words, side="right")
    out = _POWERS.size - at
    for index in np.flatnonzero(_POWERS[at - 1] == words).tolist():  # the first 64 bits are those of a power
        real = Uniform(int(words[index]))
        value = 0
        while real.below(exponential_bounds(Fraction(value + 1))):
            value += 1
        out[index] = value
    return out


def _powers() -> NDArray[np.uint64]:
    """The first 64 bits of e^-45 .. e^-1, ascending; those of e^-45 are zero."""
    return np.array([int(exponential_bounds(Fraction(k))(4 * _WORD)[0] * (1 << _WORD)) for k in range(45, 0, -1)], np.uint64)


_POWERS = _powers()
