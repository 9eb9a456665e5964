"""Real data: five clients come within 0.005 of the accuracy of the same model trained on the pooled rows.

What convex models are measured against is scikit-learn's solver at the same penalty, run to its optimum; the perceptron, against
itself with as many steps of twice the batch on all rows.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression as PooledRegression
from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.federation import Federation
from tallystick_node.engines.fl.learner import Instructions, Rows
from tallystick_node.engines.fl.learners.linear import LogisticRegression
from tallystick_node.engines.fl.learners.perceptron import Perceptron
from tallystick_node.engines.fl.partition import dirichlet, iid
from tallystick_node.engines.fl.schedule import Schedule
from tallystick_node.engines.fl.simulation import Simulation
from tallystick_node.engines.fl.strategies import FedAdam, FedAvg
from unit.fl.fl_world import breast_cancer, digits


def fold(rows, number) -> tuple[Rows, Rows]:
    """Rows to train on, and the fifth of them that is held out."""
    test = np.arange(number, len(rows), 5)
    return rows.pick(np.setdiff1d(np.arange(len(rows)), test)), rows.pick(test)


def five(rows, number, deal) -> list[Client]:
    """Five clients among whom rows are dealt evenly, or with unlike shares of the labels."""
    parts = iid(len(rows), 5, number) if deal == "even" else dirichlet(rows.targets, 5, 1.0, number, 20)
    return [Client(client, rows.pick(part)) for client, part in enumerate(parts)]


@cache
def pooled_optimum(source, learner, number) -> float:
    train, test = fold(source(), number)
    strength = 1 / (learner.penalty * len(train))
    if learner.classes == 2:  # two columns w and -w of the softmax: the penalty counts twice, on half the difference
        strength *= 2
    model = PooledRegression(C=strength, max_iter=500, tol=1e-5).fit(train.features, train.targets)
    return model.score(test.features, test.targets)


@pytest.mark.parametrize("deal", ["even", "skewed"])
@pytest.mark.parametrize(
    ("source", "learner", "strategy", "how", "count"),
    [
        (digits, LogisticRegression(64, 10, 1e-3), FedAdam(rate=0.1), Instructions(epochs=2, batch=32, rate=0.3), 2),
        (breast_cancer, LogisticRegression(30, 2, 1e-2), FedAvg(), Instructions(epochs=10, batch=None, rate=0.2), 3),
    ],
    ids=["digits", "breast cancer"],
)
def test_logistic_regression_is_as_accurate_as_at_the_pooled_optimum(source, learner, strategy, how, count, deal) -> None:
    found = []
    for number in range(count):
        train, test = fold(source(), number)
        federation = Federation(learner, strategy, Schedule(40, 2048, how), public=test)
        apart = federation.run(Simulation(five(train, number, deal))).public["accuracy"]
        found.append((apart, pooled_optimum(source, learner, number)))
    apart, pooled = np.mean(found, axis=0)
    assert pooled > 0.95 and apart >= pooled - 0.005, (apart, pooled)


@pytest.mark.parametrize("deal", ["even", "skewed"])
def test_a_perceptron_is_as_accurate_as_with_pooled_rows(deal) -> None:
    learner, found = Perceptron(64, 10, (32,), 1e-3), []
    for number in range(2):
        train, test = fold(digits(), number)

        def accuracy(people, public=test, **how) -> float:
            schedule = Schedule(30, 2048, Instructions(rate=0.2, **how))
            return Federation(learner, FedAvg(), schedule, public=public).run(Simulation(people)).public["accuracy"]

        found.append((accuracy(five(train, number, deal), epochs=2, batch=16), accuracy([Client(0, train)], epochs=1, batch=32)))
    apart, pooled = np.mean(found, axis=0)
    assert pooled > 0.96 and apart >= pooled - 0.005, (apart, pooled)
