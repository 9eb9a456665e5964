"""Exact Owen values of the scores of boosted trees.

The game of a row: a coalition of columns is worth the mean score of the row with the other columns taken from a background row,
over all rows of a background, here the rows themselves: the marginal game (Lundberg and Lee, "A Unified Approach to Interpreting
Model Predictions", NIPS 2017; Janzing, Minorics and Bloebaum, "Feature relevance quantification in explainable AI", AISTATS 2020).
Players are columns in a-priori unions, their owners (Owen, "Values of games with a priori unions", 1977): an owner gets the Shapley
value of the game of owners, and its columns share that by the orders of columns within it.

A leaf is reached where every column on its path agrees, so its game is a product over columns, and so are its values: a factor of
the other owners times one of the column's own. For a row and a background row that agree with the path in other places, a factor is
p! q! / (p + q + 1)!, where p players have only the row agreeing and q only the background row; it is 0 where a player has neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.fl.vertical.binning import Floats, Integers
from tallystick_node.engines.fl.vertical.boosting import Bits
from tallystick_node.engines.fl.vertical.parts import Branch, Ensemble, Tree

MAX_PATH = 10  # different columns on the way to a leaf: rows differ in so many bits there


@dataclass(frozen=True)
class Column:
    """A column that a split asks for: its owner's number, and its number among that owner's."""

    owner: int
    number: int


@dataclass(frozen=True)
class Explained:
    """``base`` is the mean score. ``owners``, of shape (rows, owners), adds up with it to each row's score; ``columns``, an array
    of shape (rows, columns) for each owner, adds up to its owner's."""

    base: float
    owners: Floats
    columns: tuple[Floats, ...]


def explain(
    ensemble: Ensemble, asked: Mapping[tuple[int, str], tuple[Column, Bits]], widths: Sequence[int], rows: int
) -> Explained:
    """Explain so many rows, each against all. ``asked`` has for every split, by its owner's number and its name, the column that it
    asks for and which rows go left; ``widths`` are the owners' numbers of columns.

    Raises ValueError for a path of more than ``MAX_PATH`` columns.
    """
    found = Explained(0.0, np.zeros((rows, len(widths))), tuple(np.zeros((rows, width)) for width in widths))
    base = ensemble.base
    for tree in ensemble.trees:
        for value, path in _paths(tree):
            base += _add_leaf(found, value, [(*asked[branch.owner, branch.split], went) for branch, went in path])
    return Explained(base, found.owners, found.columns)


def _paths(tree: Tree) -> list[tuple[float, list[tuple[Branch, bool]]]]:
    """Every leaf's value and its way from the root: nodes, and whether it goes left there."""
    found, waiting = [], [(0, list[tuple[Branch, bool]]())]
    for place, path in waiting:
        node = tree[place]
        if isinstance(node, Branch):
            waiting += [(node.left, [*path, (node, True)]), (node.right, [*path, (node, False)])]
        else:
            found.append((node.value, path))
    return found


def _add_leaf(found: Explained, value: float, path: Sequence[tuple[Column, Bits, bool]]) -> float:
    """Add a leaf's values; returns what it adds to the mean score."""
    agreeing: dict[Column, Bits] = {}
    for column, left, went in path:
        here = left == went
        agreeing[column] = agreeing[column] & here if column in agreeing else here
    if not agreeing:
        return value
    if len(agreeing) > MAX_PATH:
        raise ValueError(f"a tree asks for more than {MAX_PATH} columns on one way: its scores are not explained")
    columns = list(agreeing)
    codes = np.sum([bits.astype(np.int64) << place for place, bits in enumerate(agreeing.values())], axis=0)
    kinds, which, counts = np.unique(codes, return_inverse=True, return_counts=True)
    patterns = (kinds[:, None] >> np.arange(len(columns)) & 1).astype(np.float64)  # of rows that are alike here
    weights = counts / len(codes)
    owners = sorted({column.owner for column in columns})
    members = [[place for place, column in enumerate(columns) if column.owner == owner] for owner in owners]
    whole = np.column_stack([patterns[:, places].min(axis=1) for places in members])
    for number, (owner, places) in enumerate(zip(owners, members, strict=True)):
        outer = value * _factor(np.delete(whole, number, axis=1))
        found.owners[:, owner] += ((outer * _difference(whole[:, number])) @ weights)[which]
        for place in places:
            inner = _factor(patterns[:, [each for each in places if each != place]])
            values = (outer * inner * _difference(patterns[:, place])) @ weights
            found.columns[owner][:, columns[place].number] += values[which]
    return value * float(weights @ patterns.min(axis=1))


def _difference(agrees: Floats) -> Floats:
    """1 where only the row agrees, -1 where only the background row does: shape (rows, background)."""
    return agrees[:, None] - agrees[None, :]


def _factor(players: Floats) -> Floats:
    """What the other players, of shape (patterns, players), make of a player's difference: shape (patterns, patterns)."""
    row, background = players, 1 - players
    only_row, only_background, neither = row @ background.T, background @ row.T, background @ background.T
    table = _table(players.shape[1])
    found: Floats = np.where(neither == 0, table[_whole(only_row), _whole(only_background)], 0.0)
    return found


def _whole(counts: Floats) -> Integers:
    return np.rint(counts).astype(np.int64)


def _table(players: int) -> NDArray[np.float64]:
    """p! q! / (p + q + 1)! for all p and q that may come."""
    size = range(players + 1)
    return np.array([[factorial(p) * factorial(q) / factorial(p + q + 1) for q in size] for p in size])
