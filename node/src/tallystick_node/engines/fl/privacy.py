"""Training that tells little of any one row: differentially private gradient descent whose noise the owners add together.

In a round every owner takes one step (DP-SGD, Abadi et al., CCS 2016): each row is in its batch with a public probability, secretly
and independently; the gradients of those rows are cut to an L2 norm and added; the sum goes onto the secure sum's grid of integers;
and a share of discrete Gaussian noise is added there (Kairouz, Liu and Steinke, "The distributed discrete Gaussian mechanism for
federated learning with secure aggregation", ICML 2021). Nothing else leaves an owner: no loss, no count of rows, no measure.

What is promised. Two data sets are neighbours when they differ by one row of one owner being there or contributing nothing. All
sums of a training together are (epsilon, delta)-differentially private for neighbours, towards ``colluding`` owners, all parties
without rows and the public together, whatever they send, as long as the sum tells nothing but itself and takes all owners or none;
and so is everything that is derived from the sums, the models first of all. Towards whoever replaces a row by another instead,
the promise is that of twice the epsilon, at a delta times 1 + e^epsilon. The public numbers are the settings, the owners' number
and the most rows of an owner; an owner learns its own rows. Every training of the same rows spends anew, and so does an attempt
that goes on from a checkpoint, since it draws noise anew for rounds that may have been seen.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.dp import accountant
from tallystick_node.engines.dp.mechanisms import GaussianMechanism
from tallystick_node.engines.dp.sampling import discrete_gaussian, uniform_below
from tallystick_node.engines.dp.spend import Spend
from tallystick_node.engines.fl.aggregation.quantisation import levels
from tallystick_node.engines.fl.learner import Instructions, Learner, Rows
from tallystick_node.engines.fl.learners.gradient import GradientLearner
from tallystick_node.engines.fl.parameters import Vector
from tallystick_node.engines.fl.schedule import Schedule
from tallystick_node.engines.fl.strategies.base import Strategy
from tallystick_node.engines.fl.update import Total

MOST_EPSILON = 64.0
DELTAS = (1e-12, 1e-3)
_TAIL = 16  # standard deviations: noise is beyond them with a chance below 2^-183, far below any delta here
_LEAST = 4  # steps of the grid that an owner's noise has as its standard deviation: sums of such shares are as good as one noise
_UNIT = 2.0**-53  # the relative rounding of float64


@dataclass(frozen=True)
class Privacy:
    """Every row's gradient is cut to L2 ``norm``; the whole training is (``epsilon``, ``delta``)-differentially private towards
    ``colluding`` owners, one at least, since every owner knows its own noise. Count those among them who may drop out of a sum.
    """

    epsilon: float
    delta: float
    norm: float
    colluding: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.epsilon <= MOST_EPSILON and DELTAS[0] <= self.delta <= DELTAS[1]):
            raise ValueError(f"epsilon is above 0 and at most {MOST_EPSILON:g}, delta from {DELTAS[0]:g} to {DELTAS[1]:g}")
        if not (2.0**-20 <= self.norm <= 2.0**20 and self.colluding >= 1):
            raise ValueError("the norm of a row's gradient is cut to 2^-20 to 2^20, and one owner or more colludes")

    def accept(self, learner: Learner, strategy: Strategy, schedule: Schedule, told: Instructions) -> None:
        """Raise ValueError unless these can train privately; ``told``: what the strategy tells a client of the schedule."""
        if not isinstance(learner, GradientLearner):
            raise ValueError("private training cuts every row's gradient, which this learner does not give")
        if told.correction is not None or told.proximal or strategy.weighting != "examples":
            raise ValueError("private training has rows of equal weight and no proximal terms or control variates")
        if told.epochs != 1 or told.momentum:
            raise ValueError("in private training an owner takes one step a round: set epochs to 1 and momentum to 0")
        if schedule.cohort is not None or schedule.stopping is not None:
            raise ValueError("private training has all owners in every round, and no rule to stop by quality")

    def describe(self) -> dict[str, Any]:
        """The settings as JSON: parties that train together compare them."""
        return asdict(self)


@lru_cache(maxsize=64)
def _least_multiplier(epsilon: float, delta: float, rounds: int, sampling: float) -> float:
    return accountant.least_multiplier(epsilon, delta, rounds, sampling)


@dataclass(frozen=True)
class PrivateRounds:
    """The rounds of a private training among ``clients``: what each says in one, and what their sum says. Raises ValueError when
    the noise cannot be had: too many collude, or numbers of the grid do not suffice.

    A contribution is the change of the model alone, ``size`` numbers, each divided by the bound of the schedule's clip.
    """

    privacy: Privacy
    schedule: Schedule
    learner: GradientLearner
    clients: int

    def __post_init__(self) -> None:
        if self.privacy.colluding >= self.clients:
            raise ValueError(
                f"of {self.clients} owners at most {self.clients - 1} may collude for noise to protect from them: demand fewer"
            )
        share, grid = self._multiplier * self.sensitivity / math.sqrt(self.clients - self.privacy.colluding), levels(self.clients)
        if self.sensitivity > grid or 2 * _TAIL * share > grid:
            raise ValueError(
                "the noise is too large for the numbers of a sum: raise entry, batch or epsilon, or lower rate or norm"
            )
        if share < _LEAST:
            raise ValueError("the noise is too small for the numbers of a sum: lower entry, or raise rate or norm")

    @property
    def batch(self) -> int:
        """How many of ``rows`` rows are expected in a batch; every row is with probability ``batch`` / ``rows``."""
        rows = self.schedule.rows
        return min(self.schedule.instructions.batch or rows, rows)

    @property
    def length(self) -> int:
        """How many entries a vector has."""
        return self.learner.layout.size

    @cached_property
    def sensitivity(self) -> float:
        """By how much, in L2 and in steps of the grid, what an owner says before noise differs between neighbours.

        A row moves the sum by ``norm``, the change by rate / batch of it, and neither bound of the clip adds to that: both are
        projections on convex sets. Every number is rounded to the grid at both neighbours, which adds at most one step each,
        sqrt(size) in all. The rest bounds floating point: the sum of up to ``rows`` gradients in any order is off by rows^2 norm
        2^-53, at both neighbours, the gradients and the steps to the change by a few units each, the projection by size units.
        """
        rows, size, clip = self.schedule.rows, self.length, self.schedule.clip
        row = self._rate / self.batch * self.privacy.norm * (1 + 2.0**-20 + 8 * (rows + 8) ** 2 * _UNIT)
        cut = 4 * clip.norm * (size + 64) * _UNIT
        return (row + cut) / clip.entry * levels(self.clients) + math.sqrt(size) * (1 + 2.0**-10)

    @cached_property
    def mechanism(self) -> GaussianMechanism:
        """The noise, with steps of the grid as its unit."""
        return GaussianMechanism(self.sensitivity, self._multiplier, 0, self.clients, self.privacy.colluding)

    @property
    def event(self) -> accountant.Gaussian:
        """What a round is to the accountant."""
        return self.mechanism.event(self.length, self._sampling)

    @property
    def spend(self) -> Spend:
        """What all rounds spend of a budget of every row's: no more than :attr:`privacy` states, but for the unit of rounding."""
        return accountant.spend([(self.event, self.schedule.rounds)], self.privacy.delta)

    def contribution(self, model: Vector, rows: Rows) -> Vector:
        """What the owner of these checked rows, ``rows`` of the schedule at most, says: a vector within [-1, 1] on the grid, noise
        in it."""
        return (self.steps(model, self._drawn(rows)) + self._noise()) / float(levels(self.clients))

    def steps(self, model: Vector, rows: Rows) -> NDArray[np.int64]:
        """The same for the rows of a batch before noise, in steps of the grid: what :attr:`sensitivity` is about."""
        clip, grid = self.schedule.clip, float(levels(self.clients))
        gradient = self.learner.clipped_gradient(model, rows, self.privacy.norm) / self.batch
        change = -self._rate * (gradient + self.learner.penalty_gradient(model))
        length = float(np.linalg.norm(change))
        if length > clip.norm:
            change *= clip.norm / length
        most = math.floor(grid - _TAIL * self._deviation)
        return np.clip(np.rint(change / clip.entry * grid), -most, most).astype(np.int64)

    def unpack(self, packed: Vector, members: int) -> Total:
        """What the sum of all owners' vectors says: every owner has weight 1. Raises ValueError unless it can be one."""
        if packed.shape != (self.length,) or not (np.abs(packed) <= members).all():
            raise ValueError(f"a sum is {self.length} numbers that {members} owners can add up to")
        measures = np.zeros(sum(measure.width for measure in self.learner.measures))
        return Total(packed * self.schedule.clip.entry, None, members, measures, 0.0, 0.0, 0.0, members)

    def _drawn(self, rows: Rows) -> Rows:
        if self.batch == self.schedule.rows:
            return rows
        return rows.pick(np.flatnonzero(uniform_below(self.schedule.rows, len(rows)) < self.batch))

    def _noise(self) -> NDArray[np.int64]:
        most = math.floor(_TAIL * self._deviation)
        return np.clip(discrete_gaussian(self.mechanism.variance, self.length), -most, most)

    @property
    def _multiplier(self) -> float:
        return _least_multiplier(self.privacy.epsilon, self.privacy.delta, self.schedule.rounds, self._sampling)

    @property
    def _rate(self) -> float:
        return self.schedule.instructions.rate

    @property
    def _sampling(self) -> float:
        return 1.0 if self.batch == self.schedule.rows else math.nextafter(self.batch / self.schedule.rows, 1.0)

    @property
    def _deviation(self) -> float:
        return math.sqrt(self.mechanism.variance)
