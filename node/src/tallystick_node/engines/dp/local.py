"""Local differential privacy: each person randomises what they give, and need trust nobody. Two people's inputs, however different,
are neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.dp.accountant import Pure
from tallystick_node.engines.dp.mechanisms import LaplaceMechanism
from tallystick_node.engines.dp.sampling import bernoulli, discrete_laplace, exponential_bounds, uniform_below


@dataclass(frozen=True)
class RandomisedResponse:
    """One of ``categories`` answers 0, 1, ..: the true one with e^``epsilon`` times the probability of each other (Warner 1965 for
    two; Kairouz, Bonawitz and Ramage, ICML 2016, for more)."""

    categories: int
    epsilon: float

    def __post_init__(self) -> None:
        if not (2 <= self.categories <= 1 << 32 and 0 < self.epsilon < math.inf):
            raise ValueError("there are 2 to 2^32 categories, and epsilon is a positive number")

    @property
    def kept(self) -> float:
        """The probability of the true answer."""
        return 1 / (1 + (self.categories - 1) * math.exp(-self.epsilon))

    def randomise(self, answers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Each answer kept or replaced. Raises ``ValueError`` for one that is no category."""
        _require(answers, self.categories)
        kept = bernoulli(np.full(answers.size, self.kept), lambda _: self._bounds)
        others = uniform_below(self.categories - 1, answers.size)
        return np.where(kept, answers, others + (others >= answers))

    def counts(self, randomised: NDArray[np.int64]) -> NDArray[np.float64]:
        """Unbiased estimates of how many gave each answer, of shape (categories,); some may be negative."""
        _require(randomised, self.categories)
        other = (1 - self.kept) / (self.categories - 1)
        seen = np.bincount(randomised, minlength=self.categories)
        estimates: NDArray[np.float64] = (seen.astype(np.float64) - randomised.size * other) / (self.kept - other)
        return estimates

    def event(self) -> Pure:
        """What one answer is to the accountant."""
        return Pure(self.epsilon)

    def _bounds(self, bits: int) -> tuple[Fraction, Fraction]:
        low, high = exponential_bounds(Fraction(self.epsilon))(bits + 32)
        return 1 / (1 + (self.categories - 1) * high), 1 / (1 + (self.categories - 1) * low)


@dataclass(frozen=True)
class LocalLaplace:
    """A number from ``lower`` to ``upper`` (others are clipped), with discrete Laplace noise in steps of 2^-``fraction_bits``."""

    lower: float
    upper: float
    epsilon: float
    fraction_bits: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower < self.upper):
            raise ValueError("the lower limit is below the upper one")
        self._mechanism()

    def randomise(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each number, one for each person, with noise: unbiased but for the rounding of at most one step."""
        if np.isnan(numbers).any():
            raise ValueError("a number to randomise is a number")
        steps = np.trunc(np.ldexp(np.clip(numbers, self.lower, self.upper) - self.lower, self.fraction_bits)).astype(np.int64)
        noisy = steps + discrete_laplace(self._mechanism().scale, steps.size)
        return self.lower + np.ldexp(noisy.astype(np.float64), -self.fraction_bits)

    def event(self) -> Pure:
        """What one number is to the accountant."""
        return Pure(self.epsilon)

    def _mechanism(self) -> LaplaceMechanism:
        return LaplaceMechanism(self.upper - self.lower, self.epsilon, self.fraction_bits)


def _require(answers: NDArray[np.int64], categories: int) -> None:
    if (
        answers.ndim != 1
        or answers.dtype.kind not in "iu"
        or (answers.size and not 0 <= answers.min() <= answers.max() < categories)
    ):
        raise ValueError(f"answers are a row of integers from 0 to {categories - 1}")
