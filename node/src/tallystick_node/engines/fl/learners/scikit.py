"""Estimators of scikit-learn that learn in steps (``partial_fit``) as learners.

A client sets the estimator to the global coefficients, takes ``partial_fit`` over its rows once an epoch, and reads the
coefficients back. The estimator's loop is its own, so neither a proximal term nor a correction of its gradients can be added:
FedProx and SCAFFOLD are refused. Its learning rate is the round's, constant.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier

from tallystick_node.engines.fl.learner import Instructions, Learner, Measure, Rows, Trained
from tallystick_node.engines.fl.learners.linear import check_columns
from tallystick_node.engines.fl.metrics import Classification, Regression
from tallystick_node.engines.fl.parameters import Layout, Parameters, Vector


class ScikitLearner(Learner):
    """An estimator, of which only settings count; it is copied, never changed."""

    quality: Classification | Regression

    def __init__(self, estimator: BaseEstimator, features: int) -> None:
        self.estimator, self.features = clone(estimator), features

    @cached_property
    def layout(self) -> Layout:
        """The coefficients as the estimator names them."""
        return self.initial(0).layout

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Those of a classification or a regression."""
        return self.quality.measures

    def check(self, rows: Rows) -> None:
        """See :meth:`Learner.check`."""
        check_columns(rows, self.features)
        self.quality.check(rows)

    def accept(self, instructions: Instructions) -> None:
        """See :meth:`Learner.accept`."""
        if instructions.proximal or instructions.correction is not None:
            raise ValueError("a scikit-learn estimator takes no proximal term and no correction: use FedAvg, FedAdam or FedYogi")

    def initial(self, seed: int) -> Parameters:
        """See :meth:`Learner.initial`."""
        return Parameters(self._coefficients(self._fresh(seed, 1.0, 1, 0.0)))

    def train(self, parameters: Parameters, rows: Rows, instructions: Instructions, generator: np.random.Generator) -> Trained:
        """See :meth:`Learner.train`."""
        seed = int(generator.integers(1 << 31))
        batch = min(instructions.batch or len(rows), len(rows))
        estimator = self._set(self._fresh(seed, instructions.rate, batch, instructions.momentum), parameters)
        try:
            for _ in range(instructions.epochs):
                estimator.partial_fit(rows.features, self._targets(rows))
        except ValueError as error:  # the estimators check their own coefficients
            raise ValueError(f"training diverged: lower the rate, or scale the features ({error})") from None
        trained = Parameters(self._coefficients(estimator))
        sums = self.evaluate(trained, rows)
        return Trained(trained, instructions.epochs * -(-len(rows) // batch), float(sums[1] / sums[0]))

    def evaluate(self, parameters: Parameters, rows: Rows) -> Vector:
        """See :meth:`Learner.evaluate`."""
        return self._sums(self._set(self._fresh(0, 1.0, 1, 0.0), parameters), rows)

    def summary(self, sums: Vector) -> dict[str, float]:
        """See :meth:`Learner.summary`."""
        return self.quality.summary(sums)

    def describe(self) -> Mapping[str, Any]:
        """The estimator's settings."""
        settings = {name: repr(value) for name, value in sorted(self.estimator.get_params().items())}
        return {
            "learner": type(self).__name__,
            "estimator": type(self.estimator).__name__,
            "layout": self.layout.document,
            "quality": repr(self.quality),
            **settings,
        }

    def _set(self, estimator: Any, parameters: Parameters) -> Any:
        for name, array in self._arrays(estimator).items():
            array[...] = parameters[name]
        return estimator

    def _coefficients(self, estimator: Any) -> dict[str, Vector]:
        return {name: array.astype(np.float64) for name, array in self._arrays(estimator).items()}

    def _targets(self, rows: Rows) -> Any:
        return rows.targets

    @abstractmethod
    def _fresh(self, seed: int, rate: float, batch: int, momentum: float) -> Any:
        """An estimator that has its coefficients, of no meaning yet, and starts to learn anew."""

    @abstractmethod
    def _arrays(self, estimator: Any) -> dict[str, Vector]:
        """Its coefficients, to be written to in place."""

    @abstractmethod
    def _sums(self, estimator: Any, rows: Rows) -> Vector:
        """The sums of the measures."""


class _OneRowAStep(ScikitLearner):
    """Linear models by stochastic gradient descent, which take one row a step."""

    def __init__(self, estimator: BaseEstimator, features: int) -> None:
        if estimator.get_params()["average"]:
            raise ValueError("averaged coefficients cannot be set: set average to False")
        super().__init__(estimator, features)

    def accept(self, instructions: Instructions) -> None:
        """See :meth:`Learner.accept`."""
        super().accept(instructions)
        if instructions.batch != 1 or instructions.momentum:
            raise ValueError("stochastic gradient descent of scikit-learn takes one row a step and no momentum: set batch to 1")

    def initial(self, seed: int) -> Parameters:
        """Zeros."""
        return Parameters({name: np.zeros_like(array) for name, array in super().initial(seed).items()})

    def _settled(self, seed: int, rate: float) -> Any:
        return clone(self.estimator).set_params(random_state=seed, eta0=rate, learning_rate="constant")

    def _arrays(self, estimator: Any) -> dict[str, Vector]:
        return {"coef": estimator.coef_, "intercept": estimator.intercept_}


class ScikitLinearClassifier(_OneRowAStep):
    """An SGDClassifier for ``features`` columns and ``classes`` classes, of a loss that gives probabilities."""

    def __init__(self, estimator: SGDClassifier, features: int, classes: int, bins: int = 0) -> None:
        if not hasattr(estimator, "predict_proba"):
            raise ValueError('this loss gives no probabilities: use "log_loss" or "modified_huber"')
        self.quality = Classification(classes, bins)
        super().__init__(estimator, features)

    def _fresh(self, seed: int, rate: float, batch: int, momentum: float) -> Any:
        classes = np.arange(self.quality.classes)  # type: ignore[union-attr]
        estimator = self._settled(seed, rate)
        estimator.partial_fit(np.zeros((len(classes), self.features)), classes, classes=classes)
        estimator.t_ = 1.0
        return estimator

    def _targets(self, rows: Rows) -> Any:
        return rows.targets.astype(np.int64)

    def _sums(self, estimator: Any, rows: Rows) -> Vector:
        return _classified(self.quality, estimator, rows)


class ScikitLinearRegressor(_OneRowAStep):
    """An SGDRegressor for ``features`` columns and targets within [-``bound``, ``bound``], a power of two."""

    def __init__(self, estimator: SGDRegressor, features: int, bound: float) -> None:
        self.quality = Regression(bound)
        super().__init__(estimator, features)

    def _fresh(self, seed: int, rate: float, batch: int, momentum: float) -> Any:
        estimator = self._settled(seed, rate)
        estimator.partial_fit(np.zeros((1, self.features)), np.zeros(1))
        estimator.t_ = 1.0
        return estimator

    def _sums(self, estimator: Any, rows: Rows) -> Vector:
        return self.quality.sums(estimator.predict(rows.features), rows.targets)


class ScikitPerceptron(ScikitLearner):
    """An MLPClassifier for ``features`` columns and ``classes`` classes. Its solver starts anew in every round: moments and
    velocities stay with no client."""

    def __init__(self, estimator: MLPClassifier, features: int, classes: int, bins: int = 0) -> None:
        if estimator.get_params()["solver"] not in ("sgd", "adam"):
            raise ValueError('only the solvers "sgd" and "adam" learn in steps')
        self.quality = Classification(classes, bins)
        super().__init__(estimator, features)

    def accept(self, instructions: Instructions) -> None:
        """See :meth:`Learner.accept`."""
        super().accept(instructions)
        if instructions.momentum and self.estimator.get_params()["solver"] != "sgd":
            raise ValueError('momentum is for the solver "sgd"')

    def _fresh(self, seed: int, rate: float, batch: int, momentum: float) -> Any:
        classes = np.arange(self.quality.classes)  # type: ignore[union-attr]
        estimator = clone(self.estimator).set_params(
            random_state=seed, learning_rate_init=rate, learning_rate="constant", momentum=momentum, batch_size=len(classes)
        )
        estimator.partial_fit(np.zeros((len(classes), self.features)), classes, classes=classes)
        estimator.set_params(batch_size=batch)
        vars(estimator).pop("_optimizer", None)  # made anew at the next step
        return estimator

    def _arrays(self, estimator: Any) -> dict[str, Vector]:
        pairs = zip(estimator.coefs_, estimator.intercepts_, strict=True)
        return {
            f"{name}{number}": array
            for number, pair in enumerate(pairs)
            for name, array in zip(("coef", "intercept"), pair, strict=True)
        }

    def _targets(self, rows: Rows) -> Any:
        return rows.targets.astype(np.int64)

    def _sums(self, estimator: Any, rows: Rows) -> Vector:
        return _classified(self.quality, estimator, rows)


def _classified(quality: Classification | Regression, estimator: Any, rows: Rows) -> Vector:
    assert isinstance(quality, Classification)
    with np.errstate(divide="ignore"):  # the logarithm of 0 counts as the largest loss
        return quality.sums(np.log(estimator.predict_proba(rows.features)), rows.targets)
