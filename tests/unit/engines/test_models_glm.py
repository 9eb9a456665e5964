"""Generalised linear models on secret rows against scikit-learn on the pooled rows, on real data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import roc_auc_score
from tallystick_node.engines.mpc.array import concatenate, declare, plan_of, reveal
from tallystick_node.engines.mpc.array.simulate import run_locally
from tallystick_node.engines.mpc.models.glm import Descent, Newton, fit, predict
from tallystick_node.engines.mpc.models.linear_system import solve

FRACTION = 20
KIND = f"fixed:{FRACTION}"


def computed(function, arrays, protocol="clear"):
    """What ``function`` of the arrays reveals, computed on secrets."""
    computing = ["A"] if protocol == "clear" else ["A", "B", "C"]
    inputs = {
        name: declare("A", len(values), [f"c{i}" for i in range(values.shape[1])] if values.ndim == 2 else "c", KIND)
        for name, values in arrays.items()
    }
    plan = plan_of(lambda **secrets: reveal(function(**secrets), to=["A"], name="found"), inputs, fraction=FRACTION)
    return run_locally(plan, arrays, computing, protocol)["A"]["found"]


def cancer():
    rows, target = load_breast_cancer(return_X_y=True)
    return (rows - rows.mean(0)) / rows.std(0), target.astype(float)


def diabetes():
    rows, target = load_diabetes(return_X_y=True)
    return rows / rows.std(0), target


@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_systems_of_equations(size, seed) -> None:
    order = np.random.default_rng(seed)
    root = order.normal(size=(size, size))
    matrix = root @ root.T / size + 0.2 * np.eye(size)
    right = order.normal(size=(size, 2))
    found = computed(lambda matrix, right: solve(matrix, right), {"matrix": matrix, "right": right})
    assert np.abs(matrix @ found - right).max() < 2e-3


@pytest.mark.parametrize("protocol", ["clear", "replicated"])
def test_logistic_regression_by_newton(protocol) -> None:
    rows, target = cancer()
    found = computed(lambda x, y: fit(x, y, "logistic", Newton(6), 1e-2), {"x": rows, "y": target}, protocol)
    model = LogisticRegression(C=1 / (1e-2 * len(rows)), tol=1e-8, max_iter=1000).fit(rows, target)
    assert np.abs(found - np.r_[model.intercept_, model.coef_[0]]).max() < 5e-3
    pooled = roc_auc_score(target, model.decision_function(rows))
    assert abs(roc_auc_score(target, rows @ found[1:] + found[0]) - pooled) < 0.005


def test_logistic_regression_by_descent() -> None:
    rows, target = cancer()
    found = computed(lambda x, y: fit(x, y, "logistic", Descent(10, 64, 0.5), 1e-2), {"x": rows, "y": target})
    assert roc_auc_score(target, rows @ found[1:] + found[0]) > 0.99


def test_descent_takes_the_steps_of_descent() -> None:
    rows, target = diabetes()
    target = (target - target.mean()) / target.std()
    found = computed(lambda x, y: fit(x, y, "linear", Descent(3, 100, 0.1), 0.05), {"x": rows, "y": target})
    table, expected = np.column_stack([np.ones(len(rows)), rows]), np.zeros(rows.shape[1] + 1)
    for _ in range(3):
        for first in range(0, len(rows) - 99, 100):
            part, answer = table[first : first + 100], target[first : first + 100]
            expected += 0.1 * (part.T @ (answer - part @ expected) / 100 - 0.05 * np.r_[0, expected[1:]])
    assert np.abs(found - expected).max() < 1e-3


def test_linear_and_poisson_regression() -> None:
    rows, target = diabetes()
    scaled = (target - target.mean()) / target.std()
    found = computed(lambda x, y: fit(x, y, "linear", Newton(), 1e-3), {"x": rows, "y": scaled})
    model = Ridge(alpha=1e-3 * len(rows)).fit(rows, scaled)
    assert np.abs(found - np.r_[model.intercept_, model.coef_]).max() < 1e-3
    counts = np.rint(target / 50)
    found = computed(lambda x, y: fit(x, y, "poisson", Newton(8), 1e-3), {"x": rows, "y": counts})
    model = PoissonRegressor(alpha=1e-3, tol=1e-8, max_iter=1000).fit(rows, counts)
    assert np.abs(found - np.r_[model.intercept_, model.coef_]).max() < 2e-3


def test_rows_of_many_owners_are_one_table() -> None:
    rows, target = cancer()
    parts = {"x1": rows[:200], "x2": rows[200:], "y1": target[:200], "y2": target[200:]}

    def joint(x1, x2, y1, y2):
        return fit(concatenate([x1, x2]), concatenate([y1, y2]), "logistic", Newton(3), 1e-2)

    whole = computed(lambda x, y: fit(x, y, "logistic", Newton(3), 1e-2), {"x": rows, "y": target})
    assert np.abs(computed(joint, parts) - whole).max() < 1e-3


@pytest.mark.parametrize("family", ["linear", "logistic", "poisson"])
def test_predictions(family) -> None:
    rows, _ = diabetes()
    coefficients = np.linspace(-0.4, 0.5, rows.shape[1] + 1)
    found = computed(lambda x, w: predict(x, w, family), {"x": rows[:50], "w": coefficients})
    predictor = rows[:50] @ coefficients[1:] + coefficients[0]
    expected = {"linear": predictor, "logistic": 1 / (1 + np.exp(-predictor)), "poisson": np.exp(predictor)}[family]
    assert np.abs(found - expected).max() < 2e-3


def test_shapes_that_do_not_go_together_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(4, 2\).*\(3,\)"):
        computed(lambda x, y: fit(x, y, "linear", Newton()), {"x": np.zeros((4, 2)), "y": np.zeros(3)})
    with pytest.raises(ValueError, match="no system"):
        computed(lambda x, y: solve(x, y), {"x": np.zeros((3, 2)), "y": np.zeros((3, 1))})
