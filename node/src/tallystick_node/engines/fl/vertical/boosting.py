"""The algorithm: trees that are grown level by level on sums of gradients, whoever brings the columns.

Loss and split finding are those of XGBoost (Chen and Guestrin, KDD 2016, section 2.2) for the logistic loss: with the sums G and H
of first and second derivatives over a node's rows, a cut is worth G_l^2/(H_l + penalty) + G_r^2/(H_r + penalty) less
G^2/(H + penalty), and a leaf adds -rate G/(H + penalty).

Derivatives are rounded to multiples of 2^-20 before anything is summed, so that sums are whole numbers and come out the same,
however the columns are split among owners: the federated model is that of :func:`fit`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.fl.vertical.binning import MAX_BINS, Binned, Floats, Integers
from tallystick_node.engines.fl.vertical.parts import MAX_DEPTH, MAX_TREES, Branch, Ensemble, Leaf, Part, Split, Tree

FRACTION = 20  # bits after the point of a derivative
MAX_ROWS = 1 << 24  # sums stay below 2^53, where float64 is exact, and those over all features below 2^63
Bits = NDArray[np.bool_]
Done = Callable[[int, Floats], None]
Chosen = Callable[[int, str, float], None]


@dataclass(frozen=True)
class Settings:
    """What all owners agree on. ``penalty`` is lambda; a child has ``child_rows`` or more rows and second derivatives that sum to
    ``child_weight`` or more. Raises ValueError for what is out of range."""

    trees: int
    depth: int
    bins: int
    rate: float
    penalty: float
    child_weight: float
    child_rows: int

    def __post_init__(self) -> None:
        whole = (1 <= self.trees <= MAX_TREES, 1 <= self.depth <= MAX_DEPTH, 2 <= self.bins <= MAX_BINS, self.child_rows >= 1)
        real = (0 < self.rate <= 10, 0 <= self.penalty <= 1e6, 0 <= self.child_weight <= 1e6)
        if not all((*whole, *real)):
            raise ValueError(
                f"settings are out of range: 1 to {MAX_TREES} trees of depth 1 to {MAX_DEPTH}, 2 to {MAX_BINS} bins, rate above 0"
                " and at most 10, penalty and child weight from 0 to 10^6, a child of 1 row or more"
            )


@dataclass(frozen=True)
class Sums:
    """For each candidate cut of a node, the sums of both derivatives over the rows that it sends left, in steps of 2^-20."""

    first: Integers
    second: Integers


@dataclass
class Node:
    """A node while its tree grows: its rows, ascending, and its place in the tree. ``sibling`` is the other child of its parent."""

    rows: Integers
    place: int
    sibling: Node | None = None


class Owner(Protocol):
    """Whoever brings columns, as the owner of the label sees it."""

    def begin(self, first: Integers, second: Integers) -> None:
        """A new tree, for these derivatives of all rows."""

    def candidates(self, nodes: Sequence[Node]) -> list[Sums]:
        """For each node the sums of its candidates."""

    def split(self, wanted: Sequence[tuple[Node, Integers]]) -> list[tuple[str, Bits]]:
        """For each node the split's name, and which of its rows go left: by the first, in the owner's own order, of the candidates
        whose numbers are given. All are of equal worth."""

    def learn(self, nodes: Sequence[Node], lefts: Sequence[Bits | None]) -> None:
        """How each node was split, None for a leaf. Not told for the last level."""


class Local:
    """Columns that are here in the clear, and the splits that are made of them."""

    def __init__(self, columns: Binned, least: int) -> None:
        self.columns, self.least = columns, least
        self.splits: dict[str, Split] = {}
        self._cuts: dict[int, Integers] = {}
        self._derivatives = (np.empty(0, np.int64), np.empty(0, np.int64))

    def begin(self, first: Integers, second: Integers) -> None:
        """See :class:`Owner`."""
        self._derivatives = (first, second)

    def candidates(self, nodes: Sequence[Node]) -> list[Sums]:
        """See :class:`Owner`."""
        found = []
        for node in nodes:
            cuts = self._cuts[node.place] = self.columns.cuts(node.rows, self.least)
            sums = [self.columns.to_left(self.columns.sums(node.rows, each))[cuts] for each in self._derivatives]
            found.append(Sums(*sums))
        return found

    def split(self, wanted: Sequence[tuple[Node, Integers]]) -> list[tuple[str, Bits]]:
        """See :class:`Owner`."""
        return [self.record(int(self._cuts[node.place][numbers[0]]), node.rows) for node, numbers in wanted]

    def record(self, cell: int, rows: Integers) -> tuple[str, Bits]:
        """Keep a split under a random name."""
        name = secrets.token_hex(8)
        self.splits[name] = Split(*self.columns.cut(cell))
        return name, self.columns.left(cell, rows)

    def learn(self, nodes: Sequence[Node], lefts: Sequence[Bits | None]) -> None:
        """See :class:`Owner`: nothing that is not known here."""


def derivatives(scores: Floats, labels: Bits) -> tuple[Integers, Integers]:
    """First and second derivatives of the logistic loss in steps of 2^-20; the second is at least one step."""
    chance = _chance(scores)
    first = np.rint(np.ldexp(chance - labels, FRACTION)).astype(np.int64)
    second = np.rint(np.ldexp(chance * (1 - chance), FRACTION)).astype(np.int64)
    return first, np.maximum(second, 1)


def grow(
    settings: Settings,
    owners: Sequence[Owner],
    labels: Bits,
    done: Done = lambda _tree, _scores: None,
    chosen: Chosen = lambda _owner, _name, _worth: None,
) -> Ensemble:
    """Train: ``owners`` bring the columns, the owner of the label first. ``done`` hears of each tree, and the scores after it;
    ``chosen`` of each split, by its owner's number and its name, what it is worth.

    Raises ValueError for labels that :func:`require_trainable` refuses.
    """
    require_trainable(labels)
    base = float(np.log(np.count_nonzero(labels) / np.count_nonzero(~labels)))
    scores, trees = np.full(len(labels), base), []
    for number in range(settings.trees):
        first, second = derivatives(scores, labels)
        for owner in owners:
            owner.begin(first, second)
        trees.append(_grow_tree(settings, owners, first, second, scores, chosen))
        done(number + 1, scores)
    return Ensemble(len(owners), base, tuple(trees))


def require_trainable(labels: Bits) -> None:
    """Raise ValueError unless there are rows of both classes, at most ``MAX_ROWS``."""
    if not 0 < np.count_nonzero(labels) < len(labels) <= MAX_ROWS:
        raise ValueError(f"training needs rows of both classes, and at most {MAX_ROWS} rows")


def _grow_tree(
    settings: Settings, owners: Sequence[Owner], first: Integers, second: Integers, scores: Floats, chosen: Chosen
) -> Tree:
    """One tree; its leaves are added to ``scores``."""
    nodes: list[Branch | Leaf] = [Leaf(0.0)]
    level, leaves = [Node(np.arange(len(first)), 0)], list[Node]()
    for depth in range(settings.depth):
        open_, closed = split_open(level, settings.child_rows)
        leaves += closed
        level = []
        if not open_:
            break
        names, lefts = _split(settings, owners, open_, first, second, chosen)
        if depth + 1 < settings.depth:
            for owner in owners:
                owner.learn(open_, lefts)
        for node, left, (number, name) in zip(open_, lefts, names, strict=True):
            if left is None:
                leaves.append(node)
                continue
            children = divided(node, left, len(nodes))
            nodes[node.place] = Branch(number, name, children[0].place, children[1].place)
            nodes += [Leaf(0.0), Leaf(0.0)]
            level += children
    for node in (*leaves, *level):
        sums = np.ldexp([float(first[node.rows].sum()), float(second[node.rows].sum())], -FRACTION)
        value = float(-settings.rate * sums[0] / (sums[1] + settings.penalty))
        nodes[node.place] = Leaf(value)
        scores[node.rows] += value
    return tuple(nodes)


def _split(
    settings: Settings, owners: Sequence[Owner], nodes: Sequence[Node], first: Integers, second: Integers, heard: Chosen
) -> tuple[list[tuple[int, str]], list[Bits | None]]:
    """For each node whose split of which name it takes, and which rows go left; None there where no cut is worth anything."""
    candidates = [owner.candidates(nodes) for owner in owners]
    names, lefts = [(0, "")] * len(nodes), list[Bits | None]([None] * len(nodes))
    chosen: list[list[tuple[int, Integers, float]]] = [[] for _ in owners]
    for place, node in enumerate(nodes):
        whole = int(first[node.rows].sum()), int(second[node.rows].sum())
        best = _best(settings, [sums[place] for sums in candidates], *whole)
        if best is not None:
            chosen[best[0]].append((place, *best[1:]))
    for number, (owner, wanted) in enumerate(zip(owners, chosen, strict=True)):
        answers = owner.split([(nodes[place], cuts) for place, cuts, _ in wanted])
        for (place, _, worth), (name, left) in zip(wanted, answers, strict=True):
            names[place], lefts[place] = (number, name), left
            heard(number, name, worth)
    return names, lefts


def split_open(level: Sequence[Node], least: int) -> tuple[list[Node], list[Node]]:
    """The nodes of a level that have rows enough for two children, and the others."""
    return [node for node in level if len(node.rows) >= 2 * least], [node for node in level if len(node.rows) < 2 * least]


def divided(node: Node, left: Bits, place: int) -> tuple[Node, Node]:
    """A node's children, the left one at ``place`` in the tree."""
    one, other = Node(node.rows[left], place), Node(node.rows[~left], place + 1)
    one.sibling, other.sibling = other, one
    return one, other


def _best(settings: Settings, candidates: Sequence[Sums], first: int, second: int) -> tuple[int, Integers, float] | None:
    """The first owner with a cut of the greatest worth, all its cuts of that worth, and the worth. None where no cut is worth
    anything."""
    worths = [_worth(settings, sums, first, second) for sums in candidates]
    tops = [float(each.max()) if len(each) else -np.inf for each in worths]
    owner = int(np.argmax(tops))
    if not tops[owner] > 0:
        return None
    return owner, np.flatnonzero(worths[owner] == tops[owner]), tops[owner]


def _worth(settings: Settings, sums: Sums, first: int, second: int) -> Floats:
    left = np.ldexp(sums.first.astype(np.float64), -FRACTION), np.ldexp(sums.second.astype(np.float64), -FRACTION)
    right = (
        np.ldexp((first - sums.first).astype(np.float64), -FRACTION),
        np.ldexp((second - sums.second).astype(np.float64), -FRACTION),
    )
    whole = np.ldexp(float(first), -FRACTION), np.ldexp(float(second), -FRACTION)
    parts = [g * g / (h + settings.penalty) for g, h in (left, right, whole)]
    allowed = (left[1] >= settings.child_weight) & (right[1] >= settings.child_weight)
    worth: Floats = np.where(allowed, parts[0] + parts[1] - parts[2], -np.inf)
    return worth


def _chance(scores: Floats) -> Floats:
    chance: Floats = 0.5 * (1 + np.tanh(0.5 * scores))
    return chance


def fit(columns: Floats, labels: Bits, settings: Settings, features: Sequence[str]) -> Part:
    """Train on pooled columns of shape (rows, features): what one owner alone does, and what owners together must come to.

    Of cuts of equal worth the first is taken, in the order of columns and thresholds. Raises ValueError.
    """
    binned = Binned(columns, settings.bins)
    if len(labels) != binned.rows or len(features) != columns.shape[1]:
        raise ValueError("labels, names and columns are not of one table")
    local = Local(binned, settings.child_rows)
    ensemble = grow(settings, [local], labels)
    return Part(0, tuple(features), local.splits, ensemble)


def quality(scores: Floats, labels: Bits) -> dict[str, float]:
    """The mean logistic loss of scores, and the area under the ROC curve where there are rows of both classes."""
    loss = float(np.mean(np.logaddexp(0, np.where(labels, -scores, scores))))
    positives = int(labels.sum())
    pairs = positives * (len(labels) - positives)
    if not pairs:
        return {"loss": loss}
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2  # tied scores share the mean of their ranks, from 1
    above = float(middle[places][labels].sum()) - positives * (positives + 1) / 2  # Mann and Whitney's U
    return {"loss": loss, "auc": above / pairs}
