"""Small federations for the tests: made-up and real rows, clients that hold them, and parties in threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.fl.aggregation.plain import PlainSum
from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.learner import Rows
from tallystick_node.engines.fl.network import Network
from unit.engines.conftest import leave


@cache
def digits() -> Rows:
    """1797 pictures of 8 x 8 pixels within [0, 1], ten classes, in a fixed random order."""
    features, targets = load_digits(return_X_y=True)
    return Rows(features / 16, targets).pick(np.random.default_rng(0).permutation(len(targets)))


@cache
def breast_cancer() -> Rows:
    """569 rows of 30 columns brought to mean 0 and variance 1, two classes, in a fixed random order."""
    features, targets = load_breast_cancer(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    return Rows(features, targets).pick(np.random.default_rng(0).permutation(len(targets)))


def small(rows=60, features=4, classes=3, seed=0) -> Rows:
    """Rows of a noisy linear rule."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, features))
    rule = np.random.default_rng(99).normal(size=(features, classes))
    return Rows(x, (x @ rule + 0.3 * generator.normal(size=(rows, classes))).argmax(axis=1))


def clients(rows: Rows, parts, held_out=0.25) -> list[Client]:
    """A client for each part of the rows, with a share of them held out."""
    found = []
    for number, part in enumerate(parts):
        cut = int(len(part) * held_out)
        found.append(Client(number, rows.pick(part[cut:]), rows.pick(part[:cut])))
    return found


def across(federation, people, aggregation=PlainSum, sessions=None, **options) -> list:
    """What each party of a network in threads gets; an error is returned in its place."""
    sessions = sessions or local_sessions(len(people))

    def party(pair):
        session, client = pair
        try:
            return federation.run(Network(session, range(session.parties), client, aggregation()), **options)
        except Exception as error:
            leave(session)
            return error

    with ThreadPoolExecutor(len(people)) as pool:
        return list(pool.map(party, zip(sessions, people, strict=True)))
