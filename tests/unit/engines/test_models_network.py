"""Networks on secret rows with secret weights against NumPy, layer by layer, and scikit-learn's on real data."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from tallystick_node.engines.mpc.array import declare, plan_of, reveal
from tallystick_node.engines.mpc.array.program import Declared
from tallystick_node.engines.mpc.array.simulate import run_locally
from tallystick_node.engines.mpc.models.answers import answer
from tallystick_node.engines.mpc.models.network import (
    AveragePool,
    Convolution,
    Dense,
    Flatten,
    MaxPool,
    Network,
    Relu,
    Sigmoid,
    Tanh,
    WrongShape,
)
from tallystick_node.engines.mpc.plan.kinds import fixed

FRACTION = 20


def evaluated(network, rows, weights, output="raw", protocol="clear"):
    inputs = {
        "x": declare("A", len(rows), [f"c{i}" for i in range(rows.shape[1])], f"fixed:{FRACTION}"),
        "w": Declared("B", weights.shape, fixed(FRACTION), ()),
    }

    def program(x, w):
        reveal(answer(network.scores(x, w), network.link, output), to=["A"], name="found")

    plan = plan_of(program, inputs, fraction=FRACTION)
    return run_locally(plan, {"x": rows, "w": weights}, ["A"] if protocol == "clear" else ["A", "B", "C"], protocol)["A"]["found"]


def windows(image, window, stride, padding=(0, 0, 0, 0)):
    """(channels, result's height, its width, *window) of an image (channels, height, width)."""
    top, left, bottom, right = padding
    padded = np.pad(image, ((0, 0), (top, bottom), (left, right)))
    return np.lib.stride_tricks.sliding_window_view(padded, window, axis=(1, 2))[:, :: stride[0], :: stride[1]]


@pytest.mark.parametrize(
    ("stride", "padding"), [((1, 1), (0, 0, 0, 0)), ((2, 1), (1, 1, 1, 1)), ((1, 3), (0, 2, 1, 0)), ((3, 2), (2, 0, 0, 1))]
)
def test_convolutions_of_every_stride_and_padding(stride, padding) -> None:
    order = np.random.default_rng(3)
    images, filters, biases = order.normal(size=(4, 2, 7, 6)), order.normal(size=(3, 2, 3, 2)), order.normal(size=3)
    network = Network((2, 7, 6), (Convolution((3, 2), stride, padding, 3), Flatten()), "identity")
    found = evaluated(network, images.reshape(4, -1), np.r_[filters.ravel(), biases])
    expected = [
        np.einsum("chwij,fcij->fhw", windows(image, (3, 2), stride, padding), filters) + biases[:, None, None] for image in images
    ]
    assert np.abs(found - np.reshape(expected, (4, -1))).max() < 1e-4


@pytest.mark.parametrize(("pool", "reduction"), [(MaxPool, np.max), (AveragePool, np.mean)])
@pytest.mark.parametrize(("window", "stride"), [((2, 2), (2, 2)), ((3, 2), (1, 2)), ((1, 1), (2, 3))])
@pytest.mark.parametrize("before", [(), (Relu(),)])
def test_pools(pool, reduction, window, stride, before) -> None:
    images = np.random.default_rng(4).normal(size=(3, 2, 7, 6))
    network = Network((2, 7, 6), (*before, pool(window, stride), Flatten(), Dense(1)), "identity")
    weights = np.random.default_rng(5).normal(size=network.weights)
    given = np.maximum(images, 0) if before else images
    pooled = np.reshape([reduction(windows(image, window, stride), axis=(3, 4)) for image in given], (3, -1))
    assert network.weights == pooled.shape[1] + 1
    found = evaluated(network, images.reshape(3, -1), weights)
    assert np.abs(found[:, 0] - (pooled @ weights[:-1] + weights[-1])).max() < 1e-4


@pytest.mark.parametrize(
    ("layer", "function", "error"),
    [(Relu(), lambda x: np.maximum(x, 0), 1e-5), (Sigmoid(), lambda x: 1 / (1 + np.exp(-x)), 2e-3), (Tanh(), np.tanh, 4e-3)],
)
def test_activations(layer, function, error) -> None:
    rows = np.linspace(-6, 6, 40).reshape(20, 2)
    weights = np.array([1.0, 0.5, -1.0, 0.25, 0.1, -0.2])
    network = Network((2,), (Dense(2), layer), "identity")
    expected = function(rows @ weights[:4].reshape(2, 2) + weights[4:])
    assert np.abs(evaluated(network, rows, weights) - expected).max() < error


def digits_network():
    rows, labels = load_digits(return_X_y=True)
    model = MLPClassifier((24,), max_iter=40, random_state=0).fit(rows[:1200] / 16, labels[:1200])
    weights = np.concatenate([np.r_[w.ravel(), b] for w, b in zip(model.coefs_, model.intercepts_, strict=True)])
    return model, Network((64,), (Dense(24), Relu(), Dense(10)), "softmax"), weights, rows[1200:] / 16


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_perceptron_of_digits_by_three_parties() -> None:
    model, network, weights, rows = digits_network()
    found = evaluated(network, rows, weights, "class", "replicated")
    assert found.dtype.kind == "i"
    assert (found == model.predict(rows)).mean() >= 0.995
    shown = evaluated(network, rows[:50], weights, "probability")
    assert np.abs(shown - model.predict_proba(rows[:50])).max() < 1e-3


def test_a_single_score_is_a_class_by_its_sign() -> None:
    rows = np.array([[0.5], [-0.5], [0.0], [2.0]])
    network = Network((1,), (Dense(1),), "sigmoid")
    assert evaluated(network, rows, np.array([1.0, 0.0]), "class").tolist() == [1, 0, 0, 1]


def test_what_does_not_fit_is_named() -> None:
    for shape, layers, words in [
        ((1, 4, 4), (Dense(2),), "layer 0: dense takes a vector"),
        ((1, 4, 4), (Relu(), MaxPool((5, 1), (1, 1))), "layer 1: max_pool: a window"),
        ((4,), (Convolution((1, 1), (1, 1), (0, 0, 0, 0), 1),), "layer 0: convolution takes an image"),
        ((1, 4, 4), (Relu(),), "the last layer"),
    ]:
        with pytest.raises(WrongShape, match=words):
            Network(shape, layers, "identity")
    network = Network((3,), (Dense(1),), "identity")
    with pytest.raises(WrongShape, match=r"\(2, 3\).*\(5,\)"):
        evaluated(network, np.zeros((2, 3)), np.zeros(5))
    with pytest.raises(ValueError, match="no probabilities"):
        evaluated(network, np.zeros((2, 3)), np.zeros(4), "probability")
    with pytest.raises(ValueError, match="no classes"):
        evaluated(network, np.zeros((2, 3)), np.zeros(4), "class")
