"""Strategies against their papers' formulas, and the laws that tie a federation to pooled training."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.federation import Federation
from tallystick_node.engines.fl.learner import Instructions
from tallystick_node.engines.fl.learners.linear import LogisticRegression
from tallystick_node.engines.fl.learners.perceptron import Perceptron
from tallystick_node.engines.fl.partition import dirichlet
from tallystick_node.engines.fl.schedule import Schedule
from tallystick_node.engines.fl.simulation import Simulation
from tallystick_node.engines.fl.strategies import FedAdam, FedAvg, FedProx, FedYogi, Scaffold, State
from tallystick_node.engines.fl.strategies.scaffold import CONTROL
from tallystick_node.engines.fl.update import Total
from unit.fl.fl_world import clients, digits, small

GRID = 1e-6  # sums are of integers: what their rounding makes of a model of these sizes, and more
FULL = Instructions(epochs=1, batch=None, rate=0.5)


def total(change, weight, control=None) -> Total:
    return Total(np.asarray(change, np.float64), control, weight, np.zeros(3), 0.0, 0.0, 0.0, 2.0)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 4), st.sampled_from([LogisticRegression, Perceptron]))
def test_averaged_full_batch_steps_are_the_step_over_pooled_rows(sizes, rounds, kind) -> None:
    rows = small(sum(sizes))
    learner = kind(4, 3, penalty=0.01)
    parts = np.split(np.arange(len(rows)), np.cumsum(sizes)[:-1])
    schedule = Schedule(rounds, len(rows), FULL)
    apart = Federation(learner, FedAvg(), schedule).run(Simulation(clients(rows, parts, held_out=0)))
    pooled = Federation(learner, FedAvg(), schedule).run(Simulation([Client(0, rows)]))
    for name in learner.layout.views(np.zeros(learner.layout.size)):
        np.testing.assert_allclose(apart.parameters[name], pooled.parameters[name], atol=GRID)


def test_uniform_weights_count_clients_and_not_rows() -> None:
    rows = small(40)
    parts = [np.arange(30), np.arange(30, 40)]
    learner = LogisticRegression(4, 3)

    def end(weighting, held):
        return Federation(learner, FedAvg(weighting=weighting), Schedule(1, 40, FULL)).run(Simulation(held)).parameters["weight"]

    alone = [end("uniform", [Client(0, rows.pick(part))]) for part in parts]
    apart = clients(rows, parts, held_out=0)
    np.testing.assert_allclose(end("uniform", apart), (alone[0] + alone[1]) / 2, atol=GRID)
    np.testing.assert_allclose(end("examples", apart), 0.75 * alone[0] + 0.25 * alone[1], atol=GRID)
    nobody = Client(2, rows.pick(np.arange(0)))
    np.testing.assert_allclose(end("uniform", [*apart, nobody]), end("uniform", apart), atol=GRID)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 3))
def test_the_global_control_variate_is_the_mean_of_the_clients(seed, cohort, epochs) -> None:
    rows = small(80, seed=seed)
    people = clients(rows, dirichlet(rows.targets, 4, 0.3, seed, 1), held_out=0)
    seen: list[State] = []

    class Watched(Scaffold):
        def step(self, state, total, clients):
            seen.append(super().step(state, total, clients))
            return seen[-1]

    schedule = Schedule(5, 80, Instructions(epochs=epochs, batch=7, rate=0.1), cohort=cohort, seed=seed)
    Federation(LogisticRegression(4, 3), Watched(), schedule).run(Simulation(people))
    own = [np.zeros(15) if client.control is None else client.control for client in people]
    np.testing.assert_allclose(seen[-1].arrays[CONTROL], np.mean(own, axis=0), atol=GRID)
    assert np.abs(seen[-1].arrays[CONTROL]).max() > 1e-3


def test_scaffold_with_one_full_step_a_round_keeps_the_gradient_as_control() -> None:
    """With one full-batch step a round c_i becomes the client's own gradient where the round began (Karimireddy et al. 2020,
    option II: c_i - c + (x - y) / (K rate), where the step was along the gradient plus c - c_i)."""
    rows = small(60)
    learner = LogisticRegression(4, 3, penalty=0.1)
    people = clients(rows, dirichlet(rows.targets, 2, 0.5, 0, 5), held_out=0)
    models = []

    class Watched(Scaffold):
        def step(self, state, total, clients):
            models.append(state.model)
            return super().step(state, total, clients)

    Federation(learner, Watched(), Schedule(4, 60, FULL)).run(Simulation(people))
    for client in people:
        gradient = np.zeros(15)
        views = learner.layout.views
        learner.gradient(views(models[-1]), views(gradient), client.training.features, client.training.targets)
        np.testing.assert_allclose(client.control, gradient, atol=1e-12)


def test_scaffold_cancels_the_drift_that_averaging_keeps() -> None:
    rows = small(200, seed=5)
    parts = [np.flatnonzero(rows.targets == label) for label in range(3)]  # one label each
    learner = LogisticRegression(4, 3, penalty=0.05)
    drifting = Schedule(60, 200, Instructions(epochs=10, batch=None, rate=0.2))
    size = min(map(len, parts))  # the clients' mean is the mean over rows
    rows = rows.pick(np.concatenate([part[:size] for part in parts]))
    parts = np.split(np.arange(3 * size), 3)
    best = Federation(learner, FedAvg(), Schedule(1000, 200, FULL)).run(Simulation([Client(0, rows)])).parameters["weight"]

    def distance(strategy):
        end = Federation(learner, strategy, drifting).run(Simulation(clients(rows, parts, held_out=0)))
        return np.abs(end.parameters["weight"] - best).max()

    assert distance(Scaffold()) < 0.1 * distance(FedAvg())


def test_the_proximal_term_keeps_clients_near() -> None:
    rows = small(60)
    moved = []
    for proximal in (0.0, 1.0, 10.0):
        schedule = Schedule(1, 60, Instructions(epochs=50, batch=None, rate=0.05))
        end = Federation(LogisticRegression(4, 3), FedProx(proximal=proximal), schedule).run(Simulation([Client(0, rows)]))
        moved.append(float(np.abs(end.parameters["weight"]).max()))
    assert moved[0] > 1.5 * moved[1] > 3 * moved[2] > 0
    plain = Federation(LogisticRegression(4, 3), FedAvg(), schedule).run(Simulation([Client(0, rows)]))
    assert float(np.abs(plain.parameters["weight"]).max()) == moved[0]


def test_adaptive_steps_follow_the_paper() -> None:
    """Reddi et al. 2021, algorithm 2, two steps by hand."""
    deltas = [np.array([0.5, -0.25, 0.0]), np.array([-0.125, -0.25, 0.001])]
    for strategy in (FedAdam(rate=0.3, first=0.8, second=0.9, floor=0.01), FedYogi(rate=0.3, first=0.8, second=0.9, floor=0.01)):
        state = strategy.start(np.zeros(3))
        x, m, v = np.zeros(3), np.zeros(3), np.full(3, 1e-4)
        for delta in deltas:
            state = strategy.step(state, total(4 * delta, 4.0), 2)
            m = 0.8 * m + 0.2 * delta
            v = 0.9 * v + 0.1 * delta**2 if isinstance(strategy, FedAdam) else v - 0.1 * delta**2 * np.sign(v - delta**2)
            x = x + 0.3 * m / (np.sqrt(v) + 0.01)
        np.testing.assert_allclose(state.model, x, rtol=1e-12)
        assert state.round == 2


def test_a_step_is_pure_and_one_without_weight_changes_nothing() -> None:
    for strategy in (FedAvg(), FedAdam(), FedYogi(), Scaffold()):
        state = strategy.start(np.ones(2))
        before = {name: array.copy() for name, array in state.arrays.items()}
        after = strategy.step(state, total([1, 2], 2.0, np.ones(2)), 4)
        assert (after.model != 1).all() and set(after.arrays) == set(strategy.names)
        assert all((state.arrays[name] == before[name]).all() for name in before)
        idle = strategy.step(state, total([0, 0], 0.0, np.zeros(2)), 4)
        assert idle.round == 1 and all((idle.arrays[name] == before[name]).all() for name in before)


def test_what_overflows_is_refused() -> None:
    with pytest.raises(ValueError, match="training diverged"), np.errstate(over="ignore"):
        FedAvg(rate=1e300).step(FedAvg().start(np.zeros(1)), total([1e300], 1.0), 1)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: FedAvg(weighting="loudest"), "weighted by"),
        (lambda: FedAvg(rate=0), "rate is above 0"),
        (lambda: FedAdam(second=1.0), "within"),
        (lambda: FedYogi(floor=0), "above 0"),
        (lambda: Federation(LogisticRegression(4, 3), Scaffold(), Schedule(1, 9, Instructions(momentum=0.9))), "without momentum"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, rule) -> None:
    with pytest.raises(ValueError, match=rule):
        make()


@pytest.mark.parametrize(
    ("strategy", "rate"),
    [(FedAvg(), 0.5), (FedProx(), 0.5), (FedAdam(rate=0.05), 0.2), (FedYogi(rate=0.05), 0.2), (Scaffold(), 0.2)],
)
def test_every_strategy_learns_from_unlike_clients(strategy, rate) -> None:
    rows = digits()
    people = clients(rows, dirichlet(rows.targets, 10, 0.3, 1, 8))
    schedule = Schedule(15, 1024, Instructions(epochs=2, batch=32, rate=rate))
    end = Federation(LogisticRegression(64, 10), strategy, schedule).run(Simulation(people))
    assert end.validation["accuracy"] > 0.88
