"""Owners of different columns of the same people, in threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from tallystick_node.engines.channel import local_sessions
from tallystick_node.engines.fl.vertical.boosting import Settings
from tallystick_node.engines.fl.vertical.parts import Branch, Leaf
from tallystick_node.engines.fl.vertical.secureboost import assist, lead
from tallystick_node.engines.he.paillier.keys import PrivateKey, generate

SETTINGS = Settings(trees=3, depth=3, bins=8, rate=0.3, penalty=1.0, child_weight=0.0, child_rows=5)
BITS = 2048


@cache
def key() -> PrivateKey:
    return generate(BITS)


def people(rows=120, features=6, seed=0):
    """Columns, some with few values, and a label that depends on most of them."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(rows, features))
    columns[:, 1::2] = np.round(columns[:, 1::2])
    labels = columns @ rng.normal(size=features) + columns[:, 0] * columns[:, 1] + rng.normal(size=rows) > 0
    return columns, labels


def names(count, first=0):
    return [f"c{number}" for number in range(first, first + count)]


def across(columns, labels, cuts, settings=SETTINGS, sessions=None, lead=lead, assist=assist):
    """Each owner's part, or its error: the columns are split at ``cuts``, the first owner has the label."""
    shares = np.split(columns, cuts, axis=1)
    sessions = sessions or local_sessions(len(shares))
    owners = range(len(shares))

    def one(session):
        own = shares[session.index]
        first = sum(each.shape[1] for each in shares[: session.index])
        try:
            if session.index == 0:
                return lead(session, owners, own, names(own.shape[1]), labels, settings, key())
            return assist(session, owners, own, names(own.shape[1], first), settings, BITS)
        except Exception as error:
            release(session)
            return error

    with ThreadPoolExecutor(len(shares)) as pool:
        return list(pool.map(one, sessions))


def release(session):
    """Let nobody wait for a party that has failed: what it gets is too short for anything."""
    for channel in session.channels.values():
        channel.send(b"")


def joined(parts):
    """All trees with the columns' names and thresholds in place of the owners' random ones."""
    found = []
    for tree in parts[0].ensemble.trees:
        nodes = []
        for node in tree:
            if isinstance(node, Leaf):
                nodes.append(node.value)
                continue
            assert isinstance(node, Branch)
            split = parts[node.owner].splits[node.split]
            nodes.append((parts[node.owner].features[split.feature], split.threshold, node.left, node.right))
        found.append(nodes)
    return found
