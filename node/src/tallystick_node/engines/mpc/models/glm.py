"""Generalised linear models on secret rows: linear, logistic and Poisson regression.

The rows may come from one owner or many, with the columns of one or many: once shared, a matrix is a matrix. Numbers should be of
the order of 1: centre and scale the columns before they are shared. The ridge is on the slopes, not on the intercept, of the mean
loss: mean(loss) + ridge/2 |slopes|^2.

Security is that of the protocol below: nothing of the rows, the gradients or the iterations is shown; what the caller reveals of
the result is all that anybody learns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tallystick_node.engines.mpc.array import clip, column_stack, exp, sigmoid
from tallystick_node.engines.mpc.array.secret import SecretArray
from tallystick_node.engines.mpc.array.value import real
from tallystick_node.engines.mpc.models.linear_system import solve

Family = Literal["linear", "logistic", "poisson"]
FAMILIES: tuple[Family, ...] = ("linear", "logistic", "poisson")
FASTEST, SLOWEST = 4.0, -8.0  # Poisson's linear predictor is held between them: early iterations overshoot


@dataclass(frozen=True)
class Newton:
    """Iteratively reweighted least squares (McCullagh and Nelder, *Generalized Linear Models*, section 2.5)."""

    iterations: int = 6


@dataclass(frozen=True)
class Descent:
    """Mini-batch gradient descent over the rows in their order."""

    epochs: int
    batch: int
    rate: float


def fit(features: SecretArray, target: SecretArray, family: Family, method: Newton | Descent, ridge: float = 1e-3) -> SecretArray:
    """Coefficients, the intercept first: shape (1 + d,), for features of shape (n, d) and a target of shape (n,).

    Raises ValueError for shapes that do not go together. A ridge of 0 is allowed, and then a matrix that is not definite gives
    meaningless coefficients: the model's quality shows it.
    """
    if features.ndim != 2 or target.shape != features.shape[:1] or not features.size:
        raise ValueError(f"features of shape {features.shape} and a target of shape {target.shape} do not go together")
    rows, width = features.shape
    table = column_stack([_ones(features), real(features)])
    answer = real(target, table.kind.fraction).reshape(rows, 1)
    start = table[0:1, :].T * 0
    if isinstance(method, Newton):
        return _newton(table, answer, start, family, method, ridge).reshape(1 + width)
    return _descend(table, answer, start, family, method, ridge).reshape(1 + width)


def predict(features: SecretArray, coefficients: SecretArray, family: Family) -> SecretArray:
    """The expected target of each row: shape (n,)."""
    found = real(features) @ coefficients[1:].reshape(features.shape[1], 1) + coefficients[0]
    return _mean(found, family).reshape(features.shape[0])


def _newton(
    table: SecretArray, answer: SecretArray, start: SecretArray, family: Family, method: Newton, ridge: float
) -> SecretArray:
    rows, width = table.shape
    penalty = ridge * np.diag([0.0] + [1.0] * (width - 1))
    across = table.T
    if family == "linear":
        return solve(across @ table / rows + penalty, across @ answer / rows)
    coefficients = start
    for _ in range(method.iterations):
        expected = _mean(table @ coefficients, family)
        weight = expected if family == "poisson" else expected * (1 - expected)
        curvature = across @ (table * weight) / rows + penalty
        gradient = across @ (answer - expected) / rows - _ridge_gradient(coefficients, ridge)
        coefficients = coefficients + solve(curvature, gradient)
    return coefficients


def _descend(
    table: SecretArray, answer: SecretArray, start: SecretArray, family: Family, method: Descent, ridge: float
) -> SecretArray:
    coefficients = start
    for _ in range(method.epochs):
        for first in range(0, table.shape[0] - method.batch + 1, method.batch):
            part = table[first : first + method.batch, :]
            error = answer[first : first + method.batch, :] - _mean(part @ coefficients, family)
            step = (part.T @ error) * (method.rate / method.batch)
            coefficients = coefficients + step - _ridge_gradient(coefficients, method.rate * ridge)
    return coefficients


def _mean(predictor: SecretArray, family: Family) -> SecretArray:
    if family == "linear":
        return predictor
    return sigmoid(predictor) if family == "logistic" else exp(clip(predictor, SLOWEST, FASTEST))


def _ridge_gradient(coefficients: SecretArray, ridge: float) -> SecretArray:
    factors = np.full(coefficients.shape, ridge)
    factors[0] = 0.0
    return coefficients * factors


def _ones(features: SecretArray) -> SecretArray:
    """A column of ones, as secrets that everybody knows."""
    return real(features)[:, 0:1] * 0 + 1.0
