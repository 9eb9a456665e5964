"""What a client brings: its rows, and a learner that trains a model on them and counts how good it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.fl.parameters import Layout, Parameters, Vector


@dataclass(frozen=True)
class Rows:
    """A client's examples: ``features`` of shape (rows, ...) and ``targets`` of shape (rows,), kept as float64; classes are
    numbered from 0. Raises ValueError when they differ in length or a number is not finite."""

    features: NDArray[np.float64]
    targets: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", np.ascontiguousarray(self.features, np.float64))
        object.__setattr__(self, "targets", np.ascontiguousarray(self.targets, np.float64))
        if self.features.ndim < 2 or self.targets.shape != (len(self.features),):
            raise ValueError(f"features of shape {self.features.shape} and targets of shape {self.targets.shape} are no examples")
        if not (np.isfinite(self.features).all() and np.isfinite(self.targets).all()):
            raise ValueError("the examples hold a number that is not finite: impute or drop those rows")

    def __len__(self) -> int:
        return len(self.targets)

    def pick(self, indices: NDArray[np.int64]) -> Rows:
        """Some of the examples, in the order given."""
        return Rows(self.features[indices], self.targets[indices])


@dataclass(frozen=True)
class Instructions:
    """How a client trains in a round.

    ``epochs`` passes over its rows in random order, ``batch`` rows a step (None: all of them), steps of ``rate`` along the mean
    gradient with ``momentum``. ``proximal``, mu of FedProx, adds mu (w - w0) to every gradient, where w0 is where the round began;
    ``correction`` is added to every gradient (SCAFFOLD).
    """

    epochs: int = 1
    batch: int | None = 32
    rate: float = 0.1
    momentum: float = 0.0
    proximal: float = 0.0
    correction: Vector | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or (self.batch is not None and self.batch < 1):
            raise ValueError("a client trains for at least one epoch, with at least one row a step")
        if not (0 < self.rate < np.inf and 0 <= self.momentum < 1 and 0 <= self.proximal < np.inf):
            raise ValueError("the rate is above 0, the momentum within [0, 1), the proximal term at least 0")

    def with_correction(self, correction: Vector) -> Instructions:
        """The same instructions with a correction of every gradient."""
        return replace(self, correction=correction)


@dataclass(frozen=True)
class Trained:
    """What training gave: the parameters, the steps taken, and the mean loss of an example in the last epoch, at least 0."""

    parameters: Parameters
    steps: int
    loss: float


@dataclass(frozen=True)
class Measure:
    """A sum over examples that clients add up: ``width`` numbers, of which one example changes each by at most ``bound`` either
    way. The bound is a power of two, so that scaling by it is exact."""

    name: str
    width: int = 1
    bound: float = 1.0

    def __post_init__(self) -> None:
        if self.width < 1 or not np.isfinite(self.bound) or np.frexp(self.bound)[0] != 0.5:
            raise ValueError(f"{self.name}: a measure has at least one number and a power of two as its bound")


class Learner(ABC):
    """A kind of model: where it starts, how it is trained on rows, and what its quality is, in sums that clients can add.

    The same object serves every client: it holds settings, no state. It may refuse instructions that it cannot follow.
    """

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """The arrays of the model."""

    @property
    @abstractmethod
    def measures(self) -> tuple[Measure, ...]:
        """What :meth:`evaluate` sums. The first is "examples", the second "loss"."""

    @abstractmethod
    def initial(self, seed: int) -> Parameters:
        """Where training starts: the same for the same seed."""

    @abstractmethod
    def accept(self, instructions: Instructions) -> None:
        """Raise ValueError, saying why, when these instructions cannot be followed."""

    @abstractmethod
    def check(self, rows: Rows) -> None:
        """Raise ValueError, saying why, when the model cannot take these rows."""

    @abstractmethod
    def train(self, parameters: Parameters, rows: Rows, instructions: Instructions, generator: np.random.Generator) -> Trained:
        """Train on one or more checked rows, from the parameters on; all randomness comes from the generator. Raises ValueError
        when training diverges."""

    @abstractmethod
    def evaluate(self, parameters: Parameters, rows: Rows) -> Vector:
        """The sums of the measures over checked rows, one after another in one vector."""

    @abstractmethod
    def summary(self, sums: Vector) -> dict[str, float]:
        """What added sums of the measures amount to, such as "loss" and "accuracy". What has no meaning for them is left out."""

    def describe(self) -> Mapping[str, Any]:
        """Everything that makes this learner what it is, as JSON: parties that train together compare it."""
        settings: dict[str, Any] = asdict(self) if is_dataclass(self) and not isinstance(self, type) else {}
        return {"learner": type(self).__name__, "layout": self.layout.document, **settings}
