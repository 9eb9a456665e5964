"""Transfer learning: the minimum of the paper's objective, the same on shares, and whether it helps on real rows."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tallystick_node.engines.fl.transfer.objective import Destination, Settings, Source, solve
from tallystick_node.engines.fl.transfer.representation import represent
from tallystick_node.engines.fl.transfer.shared import SharedTransfer
from tallystick_node.engines.mpc.array.simulate import run_locally

WANTED = Settings(width=4, alignment=0.5, penalty=3.0)


@cache
def cancer():
    """The source has the last ten columns and the labels, the destination the other twenty."""
    columns, targets = load_breast_cancer(return_X_y=True)
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return columns[:, 20:], columns[:, :20], 2.0 * targets - 1


def drawn(seed, common):
    """The source's rows, half of all; the first of them are common; the destination is judged on the other half."""
    own, other, labels = cancer()
    order = np.random.default_rng(seed).permutation(len(labels))
    half = len(labels) // 2
    return own[order[:half]], labels[order[:half]], other[order[:common]], other[order[half:]], labels[order[half:]]


def transferred(own, labels, columns, wanted=WANTED):
    common = np.arange(len(columns))
    source = Source.of(represent(own, labels, wanted.width), labels, common, wanted)
    destination = Destination.of(columns)
    return destination.weights(solve(source, destination, wanted.penalty))


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 4), st.floats(0.01, 5), st.floats(0.01, 5))
@settings(max_examples=25, deadline=None)
def test_it_is_the_minimum_of_the_objective(seed, rows, width, alignment, penalty) -> None:
    """The gradient of the objective, written out, is 0 at the W from which the weights are made."""
    rng = np.random.default_rng(seed)
    representations, labels = np.tanh(rng.normal(size=(30, width))), np.sign(rng.normal(size=30))
    columns, wanted = rng.normal(size=(rows, 5)), Settings(width, alignment, penalty)
    source, destination = Source.of(representations, labels, np.arange(rows), wanted), Destination.of(columns)
    mean = (labels[:, None] * representations).mean(axis=0)
    hessian = np.kron(columns.T @ columns / rows, np.outer(mean, mean) / 4 + 2 * alignment * np.eye(width))
    pull = columns.T @ (np.outer(labels[:rows], mean) / 2 + 2 * alignment * representations[:rows]) / rows
    least = np.linalg.solve(hessian + penalty * np.eye(5 * width), pull.reshape(-1)).reshape(5, width)

    def objective(weights):
        given_, scores = columns @ weights, columns @ weights @ mean
        taylor = np.log(2) - labels[:rows] * scores / 2 + scores**2 / 8
        return taylor.mean() + alignment / rows * ((given_ - representations[:rows]) ** 2).sum() + penalty / 2 * (weights**2).sum()

    for _ in range(5):
        assert objective(least) <= objective(least + 0.1 * rng.normal(size=least.shape)) + 1e-12
    np.testing.assert_allclose(destination.weights(solve(source, destination, penalty)), least @ mean, atol=1e-9)


@pytest.mark.parametrize(("protocol", "computing"), [("two-party", "ab"), ("replicated", "abc")])
def test_on_shares_it_is_the_same(protocol, computing) -> None:
    own, labels, columns, others, _ = drawn(3, 10)
    source = Source.of(represent(own, labels, 4), labels, np.arange(10), WANTED)
    destination = Destination.of(columns)
    transfer = SharedTransfer("a", "b", 10, 20, WANTED)
    shown = run_locally(transfer.plan(), {**transfer.give(source), **transfer.take(destination)}, list(computing), protocol)
    assert set(shown["b"]) == {"weights"} and not shown["a"]
    found, due = transfer.weights(destination, shown["b"]), transferred(own, labels, columns)
    assert np.abs(found - due).max() < 1e-4 < np.abs(due).max()
    assert np.abs(others @ (found - due)).max() < 1e-3


def compared(seeds, common):
    """Accuracy and area under the ROC curve of the transfer, and of a logistic regression on the common rows."""
    found = []
    for seed in seeds:
        own, labels, columns, others, truth = drawn(seed, common)
        if len(set(labels[:common])) < 2:
            continue
        base = LogisticRegression(max_iter=1000).fit(columns, labels[:common]).decision_function(others)
        scores = others @ transferred(own, labels, columns)
        found.append(
            [value for each in (scores, base) for value in (np.mean((each > 0) == (truth > 0)), roc_auc_score(truth, each))]
        )
    return np.array(found)


def test_it_helps_where_ten_rows_are_common() -> None:
    """On draws other than those that the settings were chosen by (0 to 9). With forty common rows nothing is left to gain."""
    few = compared(range(100, 130), 10)
    gain = few[:, 0] - few[:, 2]
    assert gain.mean() > 0.03 and gain.mean() > 4 * gain.std() / len(gain) ** 0.5
    assert few[:, 1].mean() > few[:, 3].mean() + 0.005
    ten = compared(range(100, 110), 10)
    assert (ten[:, 0] - ten[:, 2]).mean() > 0.02 and ten[:, 0].std() < ten[:, 2].std()
    many = compared(range(100, 110), 40)
    assert abs((many[:, 0] - many[:, 2]).mean()) < 0.01


def test_what_does_not_fit_is_refused() -> None:
    own, labels, columns, *_ = drawn(0, 10)
    for wrong, words in (
        ((own, np.ones(len(own)), 4), "both classes"),
        ((own, labels * 2, 4), "both classes"),
        ((own, labels, 11), "no more than"),
        ((own, labels, 0), "1 to 64"),
        ((own * np.nan, labels, 4), "finite"),
        ((own[1:], labels, 4), "one table"),
    ):
        with pytest.raises(ValueError, match=words):
            represent(*wrong)
    for change in ((0.0, 1.0), (0.5, 0.0), (0.5, float("nan")), (2000.0, 1.0)):
        with pytest.raises(ValueError, match="alignment must be"):
            Settings(4, *change)
    with pytest.raises(ValueError, match="finite"):
        Destination.of(columns * np.inf)
