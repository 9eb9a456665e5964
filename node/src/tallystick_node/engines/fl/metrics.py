"""Quality of predictions as sums that can be added over clients, and what the added sums amount to.

Nothing but sums leaves a client, so the area under the ROC curve comes from histograms of scores in fixed bins: scores in one bin
count as tied, so it lies within half the share of the pairs that share a bin of the exact value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.fl.learner import Measure, Rows
from tallystick_node.engines.fl.parameters import Vector

LOSS_CAP = 64.0  # of one example, in nats: a bound that every party knows
MAX_CLASSES = 4096
MAX_BINS = 4096


@dataclass(frozen=True)
class Classification:
    """Sums for ``classes`` classes: examples, loss (cross-entropy, at most ``LOSS_CAP`` an example), correct, and with
    ``bins`` above 0 for each class (two classes: for class 1) histograms of its score over the examples of the class and over the
    others."""

    classes: int
    bins: int = 0

    def __post_init__(self) -> None:
        if not (2 <= self.classes <= MAX_CLASSES and 0 <= self.bins <= MAX_BINS):
            raise ValueError(f"a classifier has 2 to {MAX_CLASSES} classes, and histograms of at most {MAX_BINS} bins")

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What :meth:`sums` sums."""
        measures = (Measure("examples"), Measure("loss", bound=LOSS_CAP), Measure("correct"))
        return (*measures, Measure("scores", 2 * self._scored * self.bins)) if self.bins else measures

    @property
    def _scored(self) -> int:
        return 1 if self.classes == 2 else self.classes

    def check(self, rows: Rows) -> None:
        """Raise ValueError unless the targets are classes."""
        if not ((rows.targets >= 0) & (rows.targets < self.classes) & (rows.targets == np.floor(rows.targets))).all():
            raise ValueError(f"a target is not one of the classes 0 to {self.classes - 1}")

    def sums(self, logarithms: NDArray[np.float64], targets: NDArray[np.float64]) -> Vector:
        """The sums for the logarithms of the classes' probabilities, of shape (rows, classes)."""
        labels = targets.astype(np.int64)
        rows = np.arange(len(labels))
        losses = np.clip(-logarithms[rows, labels], 0, LOSS_CAP)
        head = [len(labels), losses.sum(), np.count_nonzero(logarithms.argmax(axis=1) == labels)]
        if not self.bins:
            return np.array(head, np.float64)
        first = self.classes - self._scored
        bins = np.clip((np.exp(logarithms[:, first:]) * self.bins).astype(np.int64), 0, self.bins - 1)
        own = labels[:, None] == np.arange(first, self.classes)
        places = (2 * np.arange(self._scored) + ~own) * self.bins + bins
        counts = np.bincount(places.reshape(-1), minlength=2 * self._scored * self.bins)
        return np.concatenate([head, counts])

    def summary(self, sums: Vector) -> dict[str, float]:
        """Mean loss, accuracy, and the area under the ROC curve: of class 1, or the mean over classes of each against the rest."""
        if sums[0] <= 0:
            return {}
        found = {"loss": float(sums[1] / sums[0]), "accuracy": float(sums[2] / sums[0])}
        if self.bins and (
            areas := [area for own, rest in sums[3:].reshape(-1, 2, self.bins) if (area := _area(own, rest)) is not None]
        ):
            found["auc"] = float(np.mean(areas))
        return found


def _area(own: Vector, rest: Vector) -> float | None:
    pairs = own.sum() * rest.sum()
    if not pairs > 0:
        return None
    # Not by a matrix product, whose order of additions is another on another processor: parties compare what they computed.
    return float((own * (np.cumsum(rest) - rest / 2)).sum() / pairs)


@dataclass(frozen=True)
class Regression:
    """Sums for targets within [-``bound``, ``bound``], a power of two: examples, loss (half the squared error), target and its
    square. Predictions count as cut to the same range, so that every sum has a bound that every party knows."""

    bound: float

    def __post_init__(self) -> None:
        Measure("target", bound=self.bound)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What :meth:`sums` sums."""
        return (
            Measure("examples"),
            Measure("loss", bound=2 * self.bound**2),
            Measure("target", bound=self.bound),
            Measure("square", bound=self.bound**2),
        )

    def check(self, rows: Rows) -> None:
        """Raise ValueError unless the targets are within the bound."""
        if (np.abs(rows.targets) > self.bound).any():
            raise ValueError(
                f"a target is not within [-{self.bound:g}, {self.bound:g}]: state a larger bound, or scale the targets"
            )

    def sums(self, predictions: NDArray[np.float64], targets: NDArray[np.float64]) -> Vector:
        """The sums for predictions of shape (rows,)."""
        errors = np.clip(predictions, -self.bound, self.bound) - targets
        return np.array([len(targets), errors @ errors / 2, targets.sum(), targets @ targets])

    def summary(self, sums: Vector) -> dict[str, float]:
        """Mean loss, mean squared error, and the share of variance explained where targets vary."""
        examples, loss, target, square = sums
        if examples <= 0:
            return {}
        found = {"loss": float(loss / examples), "mse": float(2 * loss / examples)}
        spread = square - target**2 / examples
        if spread > 0:
            found["r2"] = float(1 - 2 * loss / spread)
        return found
