"""The same trees on secret shares: nobody sees which rows come to which node, nor any sum. What is shown is the model's parts.

Each owner shares, for every cut of its columns, which rows it sends left; the owner of the label shares the label. The sums on the
left of all cuts are one matrix product; worths, the best cut and the rows of the next level are computed on shares. Every tree has
all its nodes: one without a worthwhile cut sends its rows left. Each owner learns which of its cuts the nodes were split at; the
owner of the label whose cut each is, the leaves' values, and the scores of rows that are held out. Adversary: that of the protocol.

Fixed-point numbers and the protocol's sigmoid, which is good to 1e-3, take the place of float64, so that between cuts of almost
equal worth another may be taken than :func:`~boosting.fit` takes. The work is rows x cuts x nodes modulo 2^64, in place of
ciphertexts. As in the data-oblivious training of Abspoel, Escudero and Volgushev (PETS 2021), with histograms for their sorting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.fl.vertical.binning import Floats, Integers, edges_of
from tallystick_node.engines.fl.vertical.boosting import Bits, Settings, require_trainable
from tallystick_node.engines.fl.vertical.parts import Branch, Ensemble, Leaf, Part, Split, Tree
from tallystick_node.engines.mpc.array import column_stack, concatenate, one_hot, plan_of, reveal, sigmoid, stack, where
from tallystick_node.engines.mpc.array.program import Declared
from tallystick_node.engines.mpc.array.secret import SecretArray
from tallystick_node.engines.mpc.plan.document import Plan
from tallystick_node.engines.mpc.plan.kinds import INTEGER, fixed


@dataclass(frozen=True)
class SharedBoosting:
    """Trees on the first ``rows`` rows of ``owners``, by name with their numbers of columns, the owner of the label first. After
    them are the rows that are scored only, ``held_out`` of them.

    Raises ValueError for a penalty of 0, by which an empty leaf would be divided.
    """

    owners: Mapping[str, int]
    rows: int
    held_out: int
    settings: Settings
    fraction: int = 20

    def __post_init__(self) -> None:
        if self.settings.penalty <= 0 or not any(self.owners.values()):
            raise ValueError("trees on shares need a penalty above 0, and a column")

    def plan(self) -> Plan:
        """What the parties compute: inputs are those of :meth:`prepare`, results those that :meth:`part` reads."""
        label = next(iter(self.owners))
        inputs = {
            _cuts(owner): Declared(owner, (self.rows + self.held_out, width), INTEGER, ())
            for owner, width in self._widths.items()
            if width
        }
        inputs |= {
            "label": Declared(label, (self.rows,), INTEGER, ()),
            "base": Declared(label, (1,), fixed(self.fraction), ()),
        }
        return plan_of(self._program, inputs, list(self.owners), self.fraction)

    def prepare(self, owner: str, columns: Floats, labels: Bits | None) -> dict[str, NDArray[Any]]:
        """An owner's inputs, from its columns of all rows, and where it has them the labels of the first. Raises ValueError."""
        prepared: dict[str, NDArray[Any]] = {}
        if self._widths[owner]:
            prepared[_cuts(owner)] = np.concatenate(
                [each[:, None] <= edges for each, edges in zip(columns.T, self._edges(columns), strict=True)], axis=1
            ).astype(np.int64)
        if labels is not None:
            require_trainable(labels)
            prepared["label"] = labels.astype(np.int64)
            prepared["base"] = np.log([np.count_nonzero(labels) / np.count_nonzero(~labels)])
        return prepared

    def part(self, owner: str, columns: Floats, features: Sequence[str], shown: Mapping[str, NDArray[Any]]) -> Part:
        """An owner's part of the model from its columns and what it was shown."""
        number, edges, splits = list(self.owners).index(owner), self._edges(columns), dict[str, Split]()
        if self._widths[owner]:
            chosen = shown[f"cuts chosen of {owner}"]
            for tree, node in np.argwhere(chosen.any(axis=2)):
                feature, cut = divmod(int(chosen[tree, node].argmax()), self.settings.bins - 1)
                splits[_name(tree, node)] = Split(feature, float(edges[feature][cut]))
        if number:
            return Part(number, tuple(features), splits, None)
        trees = tuple(self._tree(tree, shown["owners"][tree], shown["leaves"][tree]) for tree in range(self.settings.trees))
        return Part(0, tuple(features), splits, Ensemble(len(self.owners), float(shown["base"][0]), trees))

    def _edges(self, columns: Floats) -> list[Floats]:
        """``bins`` - 1 thresholds of each column by its first rows: those that it lacks send all rows left."""
        found = [edges_of(column, self.settings.bins) for column in columns[: self.rows].T]
        return [np.append(each, [np.inf] * (self.settings.bins - 1 - len(each))) for each in found]

    @cached_property
    def _widths(self) -> dict[str, int]:
        return {owner: columns * (self.settings.bins - 1) for owner, columns in self.owners.items()}

    def _program(self, label: SecretArray, base: SecretArray, **arrays: SecretArray) -> None:
        owners = [owner for owner, width in self._widths.items() if width]
        cuts = column_stack([arrays[_cuts(owner)] for owner in owners])
        target, scores = label.astype(float), base + np.zeros(self.rows + self.held_out)
        first = next(iter(self.owners))
        chosen, leaves = [], []
        for _ in range(self.settings.trees):
            chance = sigmoid(scores[: self.rows])
            derivatives = [chance - target, chance * (1 - chance)]
            nodes, values, scores = self._tree_of(cuts, derivatives, scores)
            chosen.append(nodes)
            leaves.append(values)
        shape = (self.settings.trees, (1 << self.settings.depth) - 1)
        whole = concatenate(chosen).reshape(*shape, cuts.shape[1])
        start, sums = 0, {}
        for owner in owners:
            own = whole[:, :, start : start + self._widths[owner]]
            reveal(own, to=[owner], name=f"cuts chosen of {owner}")
            sums[owner] = own.sum(axis=2).reshape(shape[0] * shape[1])
            start += self._widths[owner]
        bearing = column_stack([sums.get(owner, label[0:1] * np.zeros(shape[0] * shape[1], np.int64)) for owner in self.owners])
        reveal(bearing.reshape(*shape, len(self.owners)), to=[first], name="owners")
        reveal(column_stack(leaves).T, to=[first], name="leaves")
        reveal(base, to=[first], name="base")
        if self.held_out:
            reveal(scores[self.rows :], to=[first], name="scores")

    def _tree_of(
        self, cuts: SecretArray, derivatives: Sequence[SecretArray], scores: SecretArray
    ) -> tuple[SecretArray, SecretArray, SecretArray]:
        """One tree: which cut each node takes, a 1 among zeros or zeros alone; the leaves' values; the scores with them."""
        settings, trained = self.settings, cuts[: self.rows].T
        masks = (cuts[:, 0:1] * 0) + 1  # which rows are at each node of a level: shape (rows, nodes)
        taken = []
        for _ in range(settings.depth):
            sums = self._sums(masks, derivatives)
            nodes = masks.shape[1]
            left = trained @ column_stack(sums)  # exact: whole numbers times fixed-point ones
            whole = [each.sum(axis=0) for each in sums]
            parts = [left[:, place * nodes : (place + 1) * nodes] for place in range(2)]
            count = trained @ masks[: self.rows]
            many = masks[: self.rows].sum(axis=0)
            enough = (count >= settings.child_rows) & (many - count >= settings.child_rows)
            rest = [total - part for total, part in zip(whole, parts, strict=True)]
            if settings.child_weight:
                enough = enough & (parts[1] >= settings.child_weight) & (rest[1] >= settings.child_weight)
            worth = self._worth(*parts) + self._worth(*rest) - self._worth(*whole)
            worth = where(enough, worth, -1.0)
            best = worth.argmax(axis=0)
            is_split = (worth.max(axis=0) > 0.0).astype(int).reshape(nodes, 1)
            choice = one_hot(best, cuts.shape[1]) * is_split
            taken.append(choice)
            stay = 1 - (is_split.reshape(1, nodes) - cuts @ choice.T)  # a node without a cut sends all left
            to_left = masks * stay
            masks = stack([to_left, masks - to_left], axis=2).reshape(cuts.shape[0], 2 * nodes)
        first, second = (each.sum(axis=0) for each in self._sums(masks, derivatives))
        values = first / (second + settings.penalty) * -settings.rate
        return concatenate(taken), values, scores + masks @ values

    def _sums(self, masks: SecretArray, derivatives: Sequence[SecretArray]) -> list[SecretArray]:
        return [masks[: self.rows] * each.reshape(self.rows, 1) for each in derivatives]

    def _worth(self, first: SecretArray, second: SecretArray) -> SecretArray:
        """G^2/(H + penalty) over the number of rows, so that it is of the order of 1."""
        return first / (second + self.settings.penalty) * (first * (1 / self.rows))

    def _tree(self, tree: int, owners: Integers, leaves: Floats) -> Tree:
        """A tree in the form of :mod:`parts`: nodes without a cut give way to what their rows come to."""
        nodes: list[Branch | Leaf] = [Leaf(0.0)]
        waiting = [(0, 0)]  # places in the new tree and in the complete one
        for place, complete in waiting:
            while complete < len(owners) and not owners[complete].any():
                complete = 2 * complete + 1
            if complete >= len(owners):
                nodes[place] = Leaf(float(leaves[complete - len(owners)]))
                continue
            left = len(nodes)
            nodes[place] = Branch(int(owners[complete].argmax()), _name(tree, complete), left, left + 1)
            nodes += [Leaf(0.0), Leaf(0.0)]
            waiting += [(left, 2 * complete + 1), (left + 1, 2 * complete + 2)]
        return tuple(nodes)


def _cuts(owner: str) -> str:
    return f"cuts of {owner}"


def _name(tree: int, node: int) -> str:
    """Both sides know it without a word: it says which node the split is of."""
    return f"{int(tree):08x}{int(node):08x}"
