"""Tree ensembles of ONNX as complete trees of one depth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.data.onnx_graph import Operation, bad
from tallystick_node.engines.mpc.models.answers import Link
from tallystick_node.engines.mpc.models.trees import Rule, Trees
from tallystick_node.workloads.plans.architecture import MAX_CLASSES, MAX_DEPTH, MAX_TREES, MAX_WEIGHTS

Numbers = NDArray[np.float64]
RULES: dict[str, tuple[Rule, bool]] = {  # how a row goes to the true branch; whether branches change places
    "BRANCH_LEQ": ("less_equal", False),
    "BRANCH_GT": ("less_equal", True),
    "BRANCH_LT": ("less", False),
    "BRANCH_GTE": ("less", True),
}
LINKS: dict[str, Link] = {"NONE": "identity", "LOGISTIC": "sigmoid", "SOFTMAX": "softmax"}


@dataclass(frozen=True)
class TreeModel:
    """Trees and their weights in the order that :class:`Trees` states."""

    model: Trees
    weights: Numbers
    classes: tuple[str, ...]


@dataclass(frozen=True)
class _Node:
    feature: int
    threshold: float
    mode: str
    true: int
    false: int

    @property
    def inner(self) -> bool:
        return self.mode != "LEAF"

    @property
    def sides(self) -> tuple[int, int]:
        """Left and right."""
        return (self.false, self.true) if RULES[self.mode][1] else (self.true, self.false)


Forest = Mapping[int, Mapping[int, _Node]]  # by the numbers of trees, and of nodes in a tree
Values = Mapping[tuple[int, int], Numbers]  # of a leaf, by its tree and node


def class_names(operation: Operation) -> tuple[str, ...]:
    """The classes of a classifier. Raises InvalidData."""
    for name in ("classlabels_strings", "classlabels_int64s", "classlabels_ints"):
        labels = operation.attribute(name, [])
        if labels:
            return distinct(operation, labels)
    return ()


def distinct(operation: Operation, labels: Iterable[Any]) -> tuple[str, ...]:
    """Labels as the names of classes. Raises InvalidData."""
    found = tuple(str(each) for each in labels)
    if len(found) > MAX_CLASSES or len(set(found)) != len(found) or any(not 1 <= len(each) <= 128 for each in found):
        raise bad(f"{operation.name}: its classes are not different texts of 1 to 128 characters")
    return found


def read_trees(operation: Operation, features: int) -> TreeModel:
    """The trees of a TreeEnsembleClassifier or TreeEnsembleRegressor. Raises InvalidData."""
    link = LINKS.get(operation.attribute("post_transform", "NONE"))
    if link is None:
        raise bad(f"{operation.name}: its post_transform is not taken")
    forest = _forest(operation, features)
    if not 1 <= len(forest) <= MAX_TREES:
        raise bad(f"{operation.name}: {len(forest)} trees, not 1 to {MAX_TREES}")
    shapes = {tree: _shape(nodes) for tree, nodes in forest.items()}
    classifier = operation.name.endswith("Classifier")
    classes = class_names(operation) if classifier else ()
    values, base = _values(operation, forest, classes if classifier else None)
    if len(classes) == 2 and len(base) == 1 and link != "sigmoid":
        values, base = _both_classes(values, base)
    depth = max(1, *(deepest for _, deepest in shapes.values()))
    model = Trees(features, len(forest), depth, len(base), _rule(operation, forest), link)
    if model.weights > MAX_WEIGHTS:
        raise bad(f"{operation.name}: filled up to depth {depth} its trees have more than {MAX_WEIGHTS} numbers")
    nothing = np.zeros(len(base))
    asked: list[float] = []
    thresholds: list[float] = []
    leaves: list[Numbers] = []
    for tree, (root, _) in shapes.items():
        inner, last = _complete(forest[tree], root, depth)
        asked += [each.feature if each.inner else 0 for each in inner]
        thresholds += [each.threshold if each.inner else 0 for each in inner]
        leaves += [values.get((tree, number), nothing) for number in last]
    return TreeModel(model, np.concatenate([asked, thresholds, *leaves, base]), classes)


def _forest(operation: Operation, features: int) -> Forest:
    ids = [operation.ids(f"nodes_{name}") for name in ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids")]
    thresholds, modes = operation.numbers("nodes_values", []).tolist(), operation.attribute("nodes_modes", [])
    if len({len(each) for each in (*ids, thresholds, modes)}) != 1:
        raise bad(f"{operation.name}: its lists of nodes differ in length")
    found: dict[int, dict[int, _Node]] = {}
    for tree, number, feature, true, false, threshold, mode in zip(*ids, thresholds, modes, strict=True):
        nodes = found.setdefault(tree, {})
        if number in nodes:
            raise bad(f"{operation.name}: a node stands there twice")
        if mode != "LEAF" and (mode not in RULES or not 0 <= feature < features):
            raise bad(f"{operation.name}: a node's mode is not taken, or it asks for a feature that is not there")
        nodes[number] = _Node(feature, threshold, mode, true, false)
    return found


def _rule(operation: Operation, forest: Forest) -> Rule:
    rules = {RULES[each.mode][0] for nodes in forest.values() for each in nodes.values() if each.inner}
    if len(rules) > 1:
        raise bad(f"{operation.name}: some nodes compare strictly and some do not")
    return rules.pop() if rules else "less_equal"


def _values(operation: Operation, forest: Forest, classes: Sequence[str] | None) -> tuple[Values, Numbers]:
    """What each leaf adds to each output, and what every row has; ``classes`` of a classifier."""
    kind = "target" if classes is None else "class"
    ids = [operation.ids(f"{kind}_{name}") for name in ("treeids", "nodeids", "ids")]
    weights = operation.numbers(f"{kind}_weights", []).tolist()
    if len({len(each) for each in (*ids, weights)}) != 1 or not weights:
        raise bad(f"{operation.name}: its lists of leaves differ in length, or are empty")
    named = operation.attribute("n_targets", 1) if classes is None else len(classes)
    outputs = 1 if classes is not None and named == 2 and len(set(ids[2])) == 1 else named  # one score then tells both classes
    if not 1 <= outputs <= MAX_CLASSES:
        raise bad(f"{operation.name}: {outputs} outputs")
    if sum(map(len, forest.values())) * outputs > 2 * MAX_WEIGHTS:
        raise bad(f"{operation.name}: its leaves have more than {MAX_WEIGHTS} values")
    averaged = operation.attribute("aggregate_function", "SUM")
    if averaged not in ("SUM", "AVERAGE"):
        raise bad(f"{operation.name}: aggregate_function {averaged!r}")
    share = len(forest) if averaged == "AVERAGE" else 1
    found: dict[tuple[int, int], Numbers] = {}
    for tree, number, output, weight in zip(*ids, weights, strict=True):
        leaf = forest.get(tree, {}).get(number)
        if leaf is None or leaf.inner or not 0 <= output < named:
            raise bad(f"{operation.name}: a value belongs to no leaf or no output")
        found.setdefault((tree, number), np.zeros(outputs))[0 if outputs == 1 else output] += weight / share
    base = operation.numbers("base_values", [0.0] * outputs).astype(np.float64)
    if len(base) != outputs:
        raise bad(f"{operation.name}: {len(base)} base values for {outputs} outputs")
    return found, base


def _both_classes(values: Values, base: Numbers) -> tuple[Values, Numbers]:
    """Scores of both classes from one alone: a probability where all values are positive, as forests have, else a signed score."""
    positive = all((each >= 0).all() for each in values.values())
    first = 1.0 if positive else 0.0
    return {leaf: np.array([-each[0], each[0]]) for leaf, each in values.items()}, np.array([first - base[0], base[0]])


def _shape(nodes: Mapping[int, _Node]) -> tuple[int, int]:
    """The root and the depth of a tree. Raises InvalidData for what is no tree of bounded depth."""
    children = {side for each in nodes.values() if each.inner for side in each.sides}
    roots = [number for number in nodes if number not in children]
    if len(roots) != 1:
        raise bad("a tree has no root, or more than one")
    level, seen, depth = roots, set[int](), 0
    while True:
        if not all(number in nodes for number in level) or len(set(level)) != len(level) or seen & set(level):
            raise bad("a tree's nodes form no tree")
        seen.update(level)
        inner = [nodes[number] for number in level if nodes[number].inner]
        if not inner and len(seen) != len(nodes):
            raise bad("a tree has nodes that no row comes to")
        if not inner:
            return roots[0], depth
        level, depth = [side for each in inner for side in each.sides], depth + 1
        if depth > MAX_DEPTH:
            raise bad(f"a tree is deeper than {MAX_DEPTH}")


def _complete(nodes: Mapping[int, _Node], root: int, depth: int) -> tuple[list[_Node], list[int]]:
    """The nodes level by level, and the numbers of the leaves; an early leaf stands in all places below it."""
    level, passed = [root], list[_Node]()
    for _ in range(depth):
        passed += [nodes[number] for number in level]
        level = [side for number in level for side in (nodes[number].sides if nodes[number].inner else (number, number))]
    return passed, level
