"""Mechanisms for the one who releases a vector, or for the members of a secure sum of vectors who add noise together.

Neighbours differ by one summand being there or not (one vector of the clipped norm): where one is replaced by another instead,
double the noise. Vectors are clipped and quantised so that their norm, computed exactly on the integers, is within the bound; the
noise is an integer too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.dp.accountant import Gaussian, Pure
from tallystick_node.engines.dp.sampling import LARGEST, discrete_gaussian, discrete_laplace

STEPS = 1 << 31  # the largest number of steps within a bound: squares then fit in 64 bits
_GRID = 1 << 16  # scales and variances are rounded up to multiples of 1/_GRID


def clip(vector: NDArray[np.float64], bound: float, fraction_bits: int, norm: int) -> NDArray[np.int64]:
    """The vector in steps of 2^-``fraction_bits``, scaled down where its L1 or L2 ``norm`` (1 or 2) is above ``bound``.

    Rounding is toward zero, which no norm grows by. The norm of what is returned is at most the bound, exactly. Raises
    ``ValueError`` for numbers that are not finite and bounds of more than 2^31 steps.
    """
    limit = _steps(bound, fraction_bits)
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise ValueError("a vector to clip is flat and of finite numbers")
    peak = float(np.abs(vector).max(initial=0.0))
    length = peak * float(np.linalg.norm(vector / peak, norm)) if peak else 0.0  # without overflow of the squares
    factor = bound / length if length > bound else 1.0
    while True:
        steps = np.trunc(np.ldexp(vector * factor, fraction_bits)).astype(np.int64)
        if _exact_norm(steps, norm) <= limit**norm:
            return steps
        factor *= 1 - 2.0**-40  # the norm above was rounded


def _steps(bound: float, fraction_bits: int) -> Fraction:
    if not (math.isfinite(bound) and bound > 0):
        raise ValueError("a bound is a positive number")
    steps = Fraction(bound) * Fraction(2) ** fraction_bits
    if not 1 <= steps <= STEPS:
        raise ValueError(f"a bound has 1 to 2^31 steps of 2^-{fraction_bits}: use other fraction bits")
    return steps


def _exact_norm(steps: NDArray[np.int64], norm: int) -> int:
    """The L1 norm, or the square of the L2 norm."""
    sizes = np.minimum(np.abs(steps), 2 * STEPS)  # a number this far out breaks the bound by itself
    if norm == 1:
        return int(sizes.sum())
    squares = (sizes * sizes).astype(np.uint64)
    return (int((squares >> 32).sum()) << 32) + int((squares & 0xFFFFFFFF).sum())


def _rounded_up(number: Fraction) -> Fraction:
    return Fraction(math.ceil(number * _GRID), _GRID)


@dataclass(frozen=True)
class GaussianMechanism:
    """Discrete Gaussian noise on vectors of L2 norm up to ``bound``, of standard deviation ``multiplier`` x ``bound``.

    With ``members`` > 1 each of them adds a share of the noise to its own vector before a secure sum, of a variance such that
    the members without ``dropouts`` of them reach the whole (Kairouz, Liu and Steinke, "The distributed discrete Gaussian
    mechanism for federated learning with secure aggregation", ICML 2021). The sum of shares is not quite a discrete Gaussian;
    :meth:`event` accounts for the difference. The others' noise protects a member only when they add it: whoever colludes with
    k members must count those among the dropouts.
    """

    bound: float
    multiplier: float
    fraction_bits: int
    members: int = 1
    dropouts: int = 0

    def __post_init__(self) -> None:
        _steps(self.bound, self.fraction_bits)
        if not (math.isfinite(self.multiplier) and self.multiplier > 0):
            raise ValueError("a noise multiplier is a positive number")
        if not 0 <= self.dropouts < self.members:
            raise ValueError("there are fewer dropouts than members")
        if self.members > 1 and self.variance < 1:
            raise ValueError("a member's noise is below one step: use more fraction bits")

    @property
    def variance(self) -> Fraction:
        """Of one member's noise, in squared steps."""
        whole = (Fraction(self.multiplier) * _steps(self.bound, self.fraction_bits)) ** 2
        return _rounded_up(whole / (self.members - self.dropouts))

    def prepare(self, vector: NDArray[np.float64]) -> NDArray[np.int64]:
        """The vector clipped, in steps, with this member's noise."""
        steps = clip(vector, self.bound, self.fraction_bits, 2)
        return steps + discrete_gaussian(self.variance, steps.size)

    def read(self, total: NDArray[np.int64]) -> NDArray[np.float64]:
        """The numbers that a sum in steps stands for."""
        return np.ldexp(total.astype(np.float64), -self.fraction_bits)

    def event(self, size: int, sampling: float = 1.0) -> Gaussian:
        """What the release of one sum of vectors of ``size`` numbers is to the accountant, when a member (or a record of it) takes
        part with probability ``sampling``, independently of all others, and nobody learns who did."""
        return Gaussian(self.multiplier, sampling, slack=size * self._divergence())

    def _divergence(self) -> float:
        """A bound of |log(P/Q)| at every integer, for P the sum of the members' noises and Q the discrete Gaussian with the sum of
        their variances.

        Proof. Let X and Y have the parameters k v and v. P[X + Y = z] is proportional to exp(-z^2 / (2 (k + 1) v)) times the sum
        over x of exp(-(x - t)^2 / (2 c)) with c = v k / (k + 1) and t depending on z. By Poisson summation that sum is
        a constant times 1 + d(t), |d| <= d_k = 2 (e^-a + e^-4a + e^-9a + ..), a = 2 pi^2 c, so that log(P/Q), with both
        normalised, is within log((1 + d_k) / (1 - d_k)). Adding the members one at a time, the bounds add, since to add
        independent noise to both of two distributions does not part them.
        """
        slack = 0.0
        for k in range(1, self.members):
            a = 2 * math.pi**2 * float(self.variance) * k / (k + 1)
            d = 2 * math.exp(-a) / (1 - math.exp(-3 * a))
            slack += math.log1p(d) - math.log1p(-d)
        return slack * (1 + 1e-9)


@dataclass(frozen=True)
class LaplaceMechanism:
    """Discrete Laplace noise on vectors of L1 norm up to ``bound``: epsilon-differentially private."""

    bound: float
    epsilon: float
    fraction_bits: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ValueError("epsilon is a positive number")
        if max(self.scale.numerator, self.scale.denominator) > LARGEST:
            raise ValueError("the noise is of more than 2^40 / 2^16 steps: use fewer fraction bits")

    @property
    def scale(self) -> Fraction:
        """Of the noise, in steps."""
        return _rounded_up(_steps(self.bound, self.fraction_bits) / Fraction(self.epsilon))

    def release(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """The vector clipped, with noise."""
        steps = clip(vector, self.bound, self.fraction_bits, 1)
        noisy = steps + discrete_laplace(self.scale, steps.size)
        return np.ldexp(noisy.astype(np.float64), -self.fraction_bits)

    def event(self) -> Pure:
        """What one release is to the accountant, however the difference of neighbours is spread over the vector."""
        return Pure(self.epsilon)
