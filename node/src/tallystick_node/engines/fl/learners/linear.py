"""Generalised linear models in NumPy: linear regression with squared loss, and logistic regression of any number of classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tallystick_node.engines.fl.learner import Measure, Rows
from tallystick_node.engines.fl.learners.clipped import Layer, Loss
from tallystick_node.engines.fl.learners.gradient import GradientLearner
from tallystick_node.engines.fl.metrics import Classification, Regression
from tallystick_node.engines.fl.parameters import Entry, Layout, Parameters, Vector


@dataclass(frozen=True)
class LinearRegression(GradientLearner):
    """y = x w + b for ``features`` columns; loss (y - t)^2 / 2 and ``penalty`` |w|^2 / 2. Targets lie within
    [-``bound``, ``bound``], a power of two."""

    loss: ClassVar[Loss] = "squared"
    features: int
    bound: float
    penalty: float = 0.0

    @property
    def layout(self) -> Layout:
        """One weight a column, and the intercept."""
        return Layout((Entry("weight", (self.features,), "float64"), Entry("bias", (), "float64")))

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Those of a regression."""
        return Regression(self.bound).measures

    def initial(self, seed: int) -> Parameters:
        """Zeros."""
        return self.layout.unflatten(np.zeros(self.layout.size))

    def check(self, rows: Rows) -> None:
        """See :meth:`Learner.check`."""
        check_columns(rows, self.features)
        Regression(self.bound).check(rows)

    def layers(self, views: Mapping[str, Vector]) -> list[Layer]:
        """One, with one output."""
        return [(views["weight"].reshape(-1, 1), views["bias"].reshape(1))]

    def gradient(self, weights: Mapping[str, Vector], slots: Mapping[str, Vector], features: Vector, targets: Vector) -> float:
        """See :meth:`GradientLearner.gradient`."""
        errors = features @ weights["weight"] + weights["bias"] - targets
        slots["weight"][...] = errors @ features / len(errors) + self.penalty * weights["weight"]
        slots["bias"][...] = errors.mean()
        return float(errors @ errors / (2 * len(errors)))

    def evaluate(self, parameters: Parameters, rows: Rows) -> Vector:
        """See :meth:`Learner.evaluate`."""
        return Regression(self.bound).sums(rows.features @ parameters["weight"] + parameters["bias"], rows.targets)

    def summary(self, sums: Vector) -> dict[str, float]:
        """See :meth:`Regression.summary`."""
        return Regression(self.bound).summary(sums)


@dataclass(frozen=True)
class LogisticRegression(GradientLearner):
    """Softmax of x W + b for ``features`` columns and ``classes`` classes; cross-entropy and ``penalty`` |W|^2 / 2.
    With ``bins``, scores are counted for the area under the ROC curve."""

    features: int
    classes: int
    penalty: float = 0.0
    bins: int = 0

    @property
    def layout(self) -> Layout:
        """A weight for each column and class, and an intercept a class."""
        return Layout((Entry("weight", (self.features, self.classes), "float64"), Entry("bias", (self.classes,), "float64")))

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Those of a classification."""
        return Classification(self.classes, self.bins).measures

    def initial(self, seed: int) -> Parameters:
        """Zeros."""
        return self.layout.unflatten(np.zeros(self.layout.size))

    def check(self, rows: Rows) -> None:
        """See :meth:`Learner.check`."""
        check_columns(rows, self.features)
        Classification(self.classes).check(rows)

    def layers(self, views: Mapping[str, Vector]) -> list[Layer]:
        """One."""
        return [(views["weight"], views["bias"])]

    def gradient(self, weights: Mapping[str, Vector], slots: Mapping[str, Vector], features: Vector, targets: Vector) -> float:
        """See :meth:`GradientLearner.gradient`."""
        logarithms = log_softmax(features @ weights["weight"] + weights["bias"])
        loss, errors = cross_entropy(logarithms, targets)
        np.matmul(features.T, errors, out=slots["weight"])
        if self.penalty:
            slots["weight"][...] += self.penalty * weights["weight"]
        errors.sum(axis=0, out=slots["bias"])
        return loss

    def evaluate(self, parameters: Parameters, rows: Rows) -> Vector:
        """See :meth:`Learner.evaluate`."""
        logarithms = log_softmax(rows.features @ parameters["weight"] + parameters["bias"])
        return Classification(self.classes, self.bins).sums(logarithms, rows.targets)

    def summary(self, sums: Vector) -> dict[str, float]:
        """See :meth:`Classification.summary`."""
        return Classification(self.classes, self.bins).summary(sums)


def check_columns(rows: Rows, features: int) -> None:
    """Raise ValueError unless the rows have so many columns."""
    if rows.features.shape[1:] != (features,):
        raise ValueError(f"the examples have features of shape {rows.features.shape[1:]} where ({features},) is due")


def log_softmax(scores: Vector) -> Vector:
    """The logarithms of the softmax of each row."""
    shifted: Vector = scores - scores.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def cross_entropy(logarithms: Vector, targets: Vector) -> tuple[float, Vector]:
    """The mean cross-entropy of log-probabilities of shape (rows, classes), and its gradient by the scores they come from."""
    rows, labels = np.arange(len(targets)), targets.astype(np.int64)
    errors = np.exp(logarithms)
    errors[rows, labels] -= 1
    errors /= len(targets)
    return float(-logarithms[rows, labels].mean()), errors
