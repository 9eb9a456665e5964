"""What a coordinator reads out of an update: the example it was made from without protection, nothing with it.

The attack is gradient matching (Zhu, Liu and Han, "Deep Leakage from Gradients", NeurIPS 2019): find an input and a label whose
gradient is the one that was seen. For a layer with a bias the input can be read off directly, as the quotient of its gradients.
"""

from __future__ import annotations

import numpy as np
import pytest
from tallystick_node.engines.fl.aggregation import graph, masks, quantisation, simulation

PIXELS, CLASSES, MEMBERS = 64, 4, 8
BOUND = 16.0  # of an entry of an update


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


class Model:
    """A softmax layer, and its gradient of the cross-entropy at one example."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.weights, self.bias = rng.normal(0, 0.1, (CLASSES, PIXELS)), rng.normal(0, 0.1, CLASSES)

    def update(self, image: np.ndarray, label: int) -> np.ndarray:
        error = softmax(self.weights @ image + self.bias) - np.eye(CLASSES)[label]
        return np.concatenate([np.outer(error, image).reshape(-1), error]) / BOUND


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, PIXELS)


def read_off(update: np.ndarray) -> np.ndarray:
    weights, bias = update[: CLASSES * PIXELS].reshape(CLASSES, PIXELS), update[CLASSES * PIXELS :]
    best = int(np.argmax(np.abs(bias)))
    return weights[best] / bias[best]


def match(model: Model, update: np.ndarray, steps: int = 3000) -> np.ndarray:
    """Gradient matching by Adam, from a random input and label."""
    due = update * BOUND
    matrix, vector = due[: CLASSES * PIXELS].reshape(CLASSES, PIXELS), due[CLASSES * PIXELS :]
    rng = np.random.default_rng(0)
    guess = np.concatenate([rng.uniform(0, 1, PIXELS), rng.normal(0, 0.1, CLASSES)])
    first, second = np.zeros_like(guess), np.zeros_like(guess)
    for step in range(1, steps + 1):
        x, label = guess[:PIXELS], softmax(guess[PIXELS:])
        p = softmax(model.weights @ x + model.bias)
        error = p - label
        off = np.outer(error, x) - matrix
        slope = 2 * (off @ x) + 2 * (error - vector)
        down_x = 2 * off.T @ error + model.weights.T @ (p * slope - p * (p @ slope))
        down_label = -(label * slope - label * (label @ slope))
        down = np.concatenate([down_x, down_label])
        first, second = 0.9 * first + 0.1 * down, 0.999 * second + 0.001 * down**2
        guess = guess - 0.02 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-9)
    return guess[:PIXELS]


def alike(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.corrcoef(one, two)[0, 1])


@pytest.fixture(scope="module")
def seen():
    """The updates of all members and what the coordinator of a secure round sees."""
    model = Model()
    updates = {member: model.update(image(member), member % CLASSES) for member in range(MEMBERS)}
    return model, updates, simulation.simulate(updates, graph.plan(MEMBERS, 3, 2), verified=True)


def unmasked_as_far_as_can_be(found: simulation.Outcome, member: int) -> np.ndarray:
    """A member's masked vector without the mask of its own, whose secret the coordinator was told."""
    words = found.coordinator.vectors[member].copy()
    digest = found.coordinator.round.digest
    masks.add(words, [(masks.self_seed(found.secrets[member], digest, member), True)])
    return words


def test_without_protection_the_example_is_read_off_and_found_by_matching(seen) -> None:
    model, updates, _ = seen
    assert read_off(updates[3]) == pytest.approx(image(3), abs=1e-9)
    assert alike(match(model, updates[3]), image(3)) > 0.99


def test_from_a_masked_update_nothing_is_read_off_nor_found(seen) -> None:
    model, _, found = seen
    for member in (0, 3, 7):  # by chance one draw in 10^12 is as much alike in 64 pixels
        masked = unmasked_as_far_as_can_be(found, member).view(np.int32) / float(quantisation.levels(MEMBERS))
        assert abs(alike(read_off(masked), image(member))) < 0.75
        assert abs(alike(match(model, masked / BOUND, 300), image(member))) < 0.75


def test_the_sum_is_not_one_of_the_examples(seen) -> None:
    """The coordinator learns the sum, as it should; what is read off it is a mixture."""
    _, updates, _ = seen
    mixture = read_off(sum(updates.values()))
    assert max(np.abs(mixture - image(member)).mean() for member in updates) > 0.1
    assert min(np.abs(mixture - image(member)).mean() for member in updates) > 0.05


def test_masked_vectors_are_uniform_and_say_nothing_of_what_is_masked() -> None:
    """Chi squared over the bytes of one member's words without its own mask, for all zeros and for all ones."""
    for value in (0.0, 1.0):
        found = simulation.simulate({member: np.full(50_000, value) for member in range(3)}, graph.plan(3, 1, 0), verified=True)
        counts = np.bincount(unmasked_as_far_as_can_be(found, 1).view(np.uint8), minlength=256)
        chi = float(((counts - counts.mean()) ** 2 / counts.mean()).sum())
        assert 255 - 8 * 22.6 < chi < 255 + 8 * 22.6  # eight standard deviations


def test_the_same_update_never_looks_the_same() -> None:
    vectors = {member: np.full(1000, 0.5) for member in range(3)}
    one, two = (simulation.simulate(vectors, graph.plan(3, 1, 0), verified=True).coordinator.vectors[0] for _ in range(2))
    assert (one == two).mean() < 0.01
