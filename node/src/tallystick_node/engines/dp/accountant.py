"""What a sequence of mechanisms spends: Renyi differential privacy (Mironov, CSF 2017), composed order by order and converted to
(epsilon, delta) at the end.

Conversion: proposition 12 of Canonne, Kamath and Steinke (NeurIPS 2020), with the improvement of Balle et al. (AISTATS 2020). Every
step is an upper bound, and floating-point results are raised by 1e-9 of themselves: what is told is never below what was spent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tallystick_node.engines.dp import renyi
from tallystick_node.engines.dp.spend import Spend

ORDERS = (*(1 + k / 10 for k in range(1, 100)), *range(11, 64), 80, 96, 128, 192, 256, 512, 1024)
_RAISE = 1 + 1e-9


class Event(Protocol):
    """One use of a mechanism."""

    @property
    def pure_epsilon(self) -> float:
        """Its epsilon with delta 0; infinity where it has none."""

    def divergence(self, order: float) -> float:
        """Its Renyi divergence of an order above 1, or an upper bound."""


@dataclass(frozen=True)
class Gaussian:
    """Gaussian noise of standard deviation ``multiplier`` x the L2 sensitivity, on a sum to which each summand belongs with
    probability ``sampling`` (Poisson; secretly). Discrete unless ``continuous``.

    ``slack`` bounds |log(P/Q)| of the true noise P beside the discrete Gaussian Q, over the whole vector: it adds
    (2a - 1)/(a - 1) slack at order a, since the ratio enters a times in one place and a - 1 times in the other.
    """

    multiplier: float
    sampling: float = 1.0
    slack: float = 0.0
    continuous: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.multiplier < math.inf and 0 <= self.sampling <= 1 and 0 <= self.slack < math.inf):
            raise ValueError("a multiplier is positive, a sampling probability from 0 to 1, a slack at least 0")

    @property
    def pure_epsilon(self) -> float:
        """None: 0 only when nothing is ever sampled."""
        return math.inf if self.sampling else 0.0

    def divergence(self, order: float) -> float:
        """See :class:`Event`."""
        if self.sampling == 0:
            return 0.0
        slack = self.slack * (2 * order - 1) / (order - 1)
        if self.sampling == 1:
            return renyi.gaussian(self.multiplier, order) + slack
        of = renyi.subsampled_gaussian if self.continuous else renyi.subsampled_discrete_gaussian
        return of(self.sampling, self.multiplier, order) + slack


@dataclass(frozen=True)
class Laplace:
    """Discrete Laplace noise of ``scale`` steps on one integer that neighbours move by up to ``shift`` steps."""

    scale: float
    shift: int

    def __post_init__(self) -> None:
        if not (0 < self.scale < math.inf and self.shift >= 1):
            raise ValueError("a scale is positive, and a shift at least 1")

    @property
    def pure_epsilon(self) -> float:
        """See :class:`Event`."""
        return self.shift / self.scale

    def divergence(self, order: float) -> float:
        """See :class:`Event`."""
        return renyi.discrete_laplace(self.scale, self.shift, order)


@dataclass(frozen=True)
class Pure:
    """Any ``epsilon``-differentially private mechanism."""

    epsilon: float

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < math.inf:
            raise ValueError("epsilon is at least 0")

    @property
    def pure_epsilon(self) -> float:
        """See :class:`Event`."""
        return self.epsilon

    def divergence(self, order: float) -> float:
        """See :class:`Event`."""
        return renyi.pure(self.epsilon, order)


def epsilon(events: Sequence[tuple[Event, int]], delta: float) -> float:
    """The epsilon, at ``delta``, of mechanisms each used so many times, each chosen with the results of those before in view.

    The least over the orders of ``ORDERS``, and the sum of the pure epsilons where all have one. Raises ``ValueError`` unless delta
    is from 0 to below 1 and the counts at least 0. Infinite when delta is 0 and a mechanism has no pure epsilon.
    """
    if not 0 <= delta < 1 or any(count < 0 for _, count in events):
        raise ValueError("delta is from 0 to below 1, and a mechanism is used at least 0 times")
    used = [(event, count) for event, count in events if count]
    best = math.fsum(event.pure_epsilon * count for event, count in used)
    if delta and best:
        for order in ORDERS:
            divergence = math.fsum(event.divergence(order) * count for event, count in used)
            best = min(best, divergence + math.log1p(-1 / order) - math.log(delta * order) / (order - 1))
    return max(best, 0.0) * _RAISE


def spend(events: Sequence[tuple[Event, int]], delta: float) -> Spend:
    """The same as a record in fixed point, rounded up."""
    return Spend.of(epsilon(events, delta), delta)


def least_multiplier(target: float, delta: float, rounds: int, sampling: float = 1.0, slack: float = 0.0) -> float:
    """The least noise multiplier, to a part in 10^4 and rounded up, with which ``rounds`` uses of :class:`Gaussian` noise stay
    within (``target``, ``delta``). Raises ``ValueError`` when none up to 2^20 does."""
    if not (0 < target < math.inf and 0 < delta < 1 and rounds >= 1):
        raise ValueError("a budget has a positive epsilon, a delta from 0 to 1, both excluded, and at least one round")

    def fits(multiplier: float) -> bool:
        return epsilon([(Gaussian(multiplier, sampling, slack), rounds)], delta) <= target

    low, high = 2.0**-7, 2.0**20
    if not fits(high):
        raise ValueError("no noise reaches this epsilon: allow a larger epsilon or delta, or fewer rounds")
    while high > low * (1 + 1e-4):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
