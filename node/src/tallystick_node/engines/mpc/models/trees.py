"""Decision trees and boosted ensembles on secret rows: the feature that a node asks for, its threshold and all leaves are secret.

Every tree is complete and of one public depth, so that its shape tells nothing: a shallower branch is filled up with nodes that do
not matter. A node's feature is a row of zeros with a 1, whose product with the features is exact. All comparisons of all trees
are made in one batch; whether a row comes to a leaf is the conjunction of the answers on its way, taken in pairs of levels, in
ceil(log2 depth) rounds; the sum of the leaves' values is a matrix product, exact and of one round for any number of trees.

Security is that of the protocol below. Selecting by a product and comparing at every node are as in Wu et al. (PETS 2016) and
Damgård et al. (IEEE S&P 2019); paths by conjunctions of levels as in Abspoel, Escudero and Volgushev (PETS 2021). An owner of the
model that does not keep to zeros with a 1 has trees that ask for sums of features: another model, as it could have brought anyway.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tallystick_node.engines.mpc.array import broadcast_to, concatenate, stack
from tallystick_node.engines.mpc.array.secret import SecretArray
from tallystick_node.engines.mpc.models.answers import Link

Rule = Literal["less", "less_equal"]
RULES: tuple[Rule, ...] = ("less", "less_equal")


@dataclass(frozen=True)
class Trees:
    """``trees`` complete trees of ``depth`` over ``features``; a row goes left where its feature is ``rule`` the threshold.

    Nodes of a tree stand level by level from the root, leaves from left to right.
    """

    features: int
    trees: int
    depth: int
    outputs: int
    rule: Rule
    link: Link

    @property
    def nodes(self) -> int:
        """How many nodes all trees have."""
        return self.trees * ((1 << self.depth) - 1)

    @property
    def leaves(self) -> int:
        """How many leaves all trees have."""
        return self.trees << self.depth

    @property
    def weights(self) -> int:
        """The numbers that make the model: of each node its feature (from 0), then of each its threshold, then of each leaf its
        values, and the values that every row has."""
        return 2 * self.nodes + (self.leaves + 1) * self.outputs

    @property
    def widest(self) -> int:
        """Numbers of one row that are held at a time, at most about."""
        return max(self.nodes, self.leaves, self.features)

    def scores(
        self, rows: SecretArray, selectors: SecretArray, thresholds: SecretArray, leaves: SecretArray, base: SecretArray
    ) -> SecretArray:
        """Scores of shape (n, outputs), before the link.

        ``rows``: (n, features). ``selectors``: integers of shape (nodes, features). ``thresholds``: (nodes,). ``leaves``: (leaves,
        outputs). ``base``: (outputs,). Exact but for the rounding of the inputs. Raises ValueError for other shapes.
        """
        shapes = [each.shape for each in (selectors, thresholds, leaves, base)]
        expected = [(self.nodes, self.features), (self.nodes,), (self.leaves, self.outputs), (self.outputs,)]
        if shapes != expected or rows.shape[1:] != (self.features,):
            raise ValueError(f"rows of shape {rows.shape} and a model of shapes {shapes} are not those of the trees")
        asked = rows @ selectors.T
        left = asked <= thresholds if self.rule == "less_equal" else asked < thresholds
        reached = self._reached(left.reshape(rows.shape[0], self.trees, -1))
        return reached.astype(int).reshape(rows.shape[0], self.leaves) @ leaves + base

    def _reached(self, left: SecretArray) -> SecretArray:
        """Bits (n, trees, leaves of a tree) of the answers (n, trees, nodes of a tree): one leaf of each tree is set."""
        levels = [left[:, :, (1 << level) - 1 : (2 << level) - 1] for level in range(self.depth)]
        # for each run of levels: of each node at its top, which node below its bottom is reached from there
        runs = [stack([each, ~each], axis=3) for each in levels]
        while len(runs) > 1:
            pairs = [(runs[place], runs[place + 1]) for place in range(0, len(runs) - 1, 2)]
            joined = _joined(pairs)
            runs = [*joined, *runs[2 * len(pairs) :]]
        return runs[0].reshape(*left.shape[:2], -1)


def _joined(pairs: Sequence[tuple[SecretArray, SecretArray]]) -> list[SecretArray]:
    """Each two runs of levels as one, all in one conjunction."""
    above, below, shapes = [], [], []
    for upper, lower in pairs:
        rows, trees, tops, width = upper.shape
        above.append(broadcast_to(upper.reshape(rows, trees, tops * width, 1), lower.shape).reshape(rows, -1))
        below.append(lower.reshape(rows, -1))
        shapes.append((rows, trees, tops, width * lower.shape[3]))
    both = concatenate(above, 1) & concatenate(below, 1)
    sizes = [math.prod(each[1:]) for each in shapes]
    places = [sum(sizes[:number]) for number in range(len(sizes))]
    return [both[:, first : first + size].reshape(shape) for first, size, shape in zip(places, sizes, shapes, strict=True)]
