"""A fitted model as a table of numbers, and what it predicts: nothing in it is executed, so a model from anywhere is safe to open.

The table has one row for each number or name: ``part`` says of what, ``place`` is its place in that part, from 0, ``value`` is
text, of a number the shortest of its float64. Parts: ``format``, ``estimator``, ``feature`` (names), ``label``, ``class`` (of a
classifier, in order), ``center`` and ``scale`` (x is first (x - center) / scale), then, of a linear model, ``weight`` (output by
output) and ``intercept``; of trees ``base`` and ``factor`` (scores are base + factor * the sum over trees), ``root`` (each tree's
first node), and for each node ``split`` (place of a feature; -1 of a leaf), ``threshold`` (at most goes left), ``left``, ``right``
(later nodes, or -1), and ``leaf`` (its values, output by output). Rows of other parts (``metric ...``) tell of the model.

Imported inside of enclaves, and part of the measurement. Predictions are those of scikit-learn, also in how trees compare: the
standardised feature in float32 with the threshold in float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.tee.learning_terms import ESTIMATORS, MAX_FEATURES, MODEL_COLUMNS
from tallystick_node.engines.tee.reasons import MalformedInput
from tallystick_node.engines.tee.tables import Table

FORMAT = "tallystick enclave model v1"
MAX_CLASSES = 16
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Rows = list[tuple[str, int, str]]


@dataclass(frozen=True)
class Linear:
    """``weights``: outputs by features; ``intercepts``: of each output."""

    weights: Floats
    intercepts: Floats

    def scores(self, features: Floats) -> Floats:
        """Rows by outputs."""
        return np.asarray(features @ self.weights.T + self.intercepts, np.float64)

    def parts(self) -> Mapping[str, Sequence[float]]:
        """As they stand in the table."""
        return {"weight": self.weights.ravel().tolist(), "intercept": self.intercepts.tolist()}


@dataclass(frozen=True)
class Trees:
    """``roots`` of trees; of all nodes ``split``, ``threshold``, ``left``, ``right``; ``leaves``: nodes by outputs."""

    base: float
    factor: float
    roots: Integers
    split: Integers
    threshold: Floats
    left: Integers
    right: Integers
    leaves: Floats

    def scores(self, features: Floats) -> Floats:
        """Rows by outputs."""
        compared = features.astype(np.float32)
        total = np.zeros((len(features), self.leaves.shape[1]))
        for root in self.roots:
            node = np.full(len(features), root)
            while True:
                inner = np.flatnonzero(self.split[node] >= 0)
                if not len(inner):
                    break
                at = node[inner]
                goes_left = compared[inner, self.split[at]] <= self.threshold[at]
                node[inner] = np.where(goes_left, self.left[at], self.right[at])
            total += self.leaves[node]
        return self.base + self.factor * total

    def parts(self) -> Mapping[str, Sequence[float]]:
        """As they stand in the table."""
        return {
            "base": [self.base], "factor": [self.factor], "root": self.roots.tolist(), "split": self.split.tolist(),
            "threshold": self.threshold.tolist(), "left": self.left.tolist(), "right": self.right.tolist(),
            "leaf": self.leaves.ravel().tolist(),
        }  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A fitted ``estimator`` of scikit-learn for ``features`` and ``label``; ``classes`` in order, empty of one that gives
    numbers."""

    estimator: str
    features: tuple[str, ...]
    label: str
    classes: tuple[str, ...]
    center: Floats
    scale: Floats
    body: Linear | Trees

    def predict(self, rows: Floats) -> Floats:
        """For rows by features: the numbers, or the probability of each class, rows by classes."""
        scores = self.body.scores((rows - self.center) / self.scale)
        if not self.classes:
            return scores[:, 0]
        if scores.shape[1] == 1:  # log-odds of the second class
            with np.errstate(over="ignore"):
                second = 1.0 / (1.0 + np.exp(-scores[:, 0]))
            return np.column_stack([1.0 - second, second])
        if isinstance(self.body, Trees):  # shares already
            return scores
        shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float64)

    def rows(self) -> Rows:
        """The model as rows of its table."""
        names = {
            "format": [FORMAT],
            "estimator": [self.estimator],
            "feature": self.features,
            "label": [self.label],
            "class": self.classes,
        }
        numbers = {"center": self.center.tolist(), "scale": self.scale.tolist(), **self.body.parts()}
        texts = {part: [repr(each) for each in found] for part, found in numbers.items()}
        return [(part, place, text) for part, found in {**names, **texts}.items() for place, text in enumerate(found)]


def read_model(table: Table) -> Model:
    """The model in a table. Raises :class:`MalformedInput` for what :meth:`Model.rows` could not have written."""
    parts = _parts(table)
    if _texts(parts, "format", 1) != (FORMAT,):
        raise MalformedInput(f"the model is not of the format {FORMAT!r}")
    (estimator,), features, (label,) = _texts(parts, "estimator", 1), _texts(parts, "feature"), _texts(parts, "label", 1)
    kind = ESTIMATORS.get(estimator)
    if kind is None or not 1 <= len(features) <= MAX_FEATURES or len(set(features)) != len(features):
        raise MalformedInput("the model is of no known estimator, or has no features of different names")
    classes = _texts(parts, "class") if "class" in parts else ()
    if len(set(classes)) != len(classes) or not (2 <= len(classes) <= MAX_CLASSES if kind.classes else not classes):
        raise MalformedInput("the model's classes do not fit its estimator")
    center, scale = (_numbers(parts, part, len(features)) for part in ("center", "scale"))
    if (scale <= 0).any():
        raise MalformedInput("a scale is not above 0")
    body = _linear(parts, len(features), len(classes)) if kind.linear else _trees(parts, len(features), len(classes), estimator)
    return Model(estimator, features, label, classes, center, scale, body)


def _linear(parts: Mapping[str, Sequence[str]], features: int, classes: int) -> Linear:
    outputs = classes if classes > 2 else 1
    return Linear(_numbers(parts, "weight", outputs * features).reshape(outputs, features), _numbers(parts, "intercept", outputs))


def _trees(parts: Mapping[str, Sequence[str]], features: int, classes: int, estimator: str) -> Trees:
    outputs = classes if estimator == "RandomForestClassifier" else 1
    split = _places(parts, "split", None, -1, features - 1)
    nodes = len(split)
    left, right = (_places(parts, part, nodes, -1, nodes - 1) for part in ("left", "right"))
    inner, own = split >= 0, np.arange(nodes)
    if (outputs == 1 and classes > 2) or ((left <= own) | (right <= own))[inner].any():
        raise MalformedInput("a tree does not go on to later nodes, or has too few outputs")
    (base,), (factor,) = _numbers(parts, "base", 1), _numbers(parts, "factor", 1)
    return Trees(
        float(base),
        float(factor),
        _places(parts, "root", None, 0, nodes - 1),
        split,
        _numbers(parts, "threshold", nodes),
        left,
        right,
        _numbers(parts, "leaf", nodes * outputs).reshape(nodes, outputs),
    )


def _parts(table: Table) -> dict[str, list[str]]:
    """Texts by part, each in the order of its places."""
    cells = {column.name: column for column in table.columns}
    if not set(MODEL_COLUMNS) <= set(cells) or [cells[name].type for name in MODEL_COLUMNS] != ["string", "int64", "string"]:
        raise MalformedInput(f"a model has the columns {', '.join(MODEL_COLUMNS)}: text, whole number, text")
    found: dict[str, dict[int, str]] = {}
    for part, place, value in zip(*(cells[name].cells for name in MODEL_COLUMNS), strict=True):
        if not isinstance(part, str) or not isinstance(place, int) or not isinstance(value, str):
            raise MalformedInput("a cell of the model is empty")
        if place in found.setdefault(part, {}):
            raise MalformedInput("a number of the model stands twice")
        found[part][place] = value
    if any(set(each) != set(range(len(each))) for each in found.values()):
        raise MalformedInput("a number of the model is missing")
    return {part: [each[place] for place in range(len(each))] for part, each in found.items()}


def _texts(parts: Mapping[str, Sequence[str]], part: str, count: int | None = None) -> tuple[str, ...]:
    found = tuple(parts.get(part, ()))
    if not found or count not in (None, len(found)):
        raise MalformedInput(f"the model has another number of parts {part!r} than it needs")
    return found


def _numbers(parts: Mapping[str, Sequence[str]], part: str, count: int) -> Floats:
    try:
        found = [float(text) for text in _texts(parts, part, count)]
    except ValueError:
        raise MalformedInput(f"{part}: is no number") from None
    if not all(map(math.isfinite, found)):
        raise MalformedInput(f"{part}: is no finite number")
    return np.array(found, np.float64)


def _places(parts: Mapping[str, Sequence[str]], part: str, count: int | None, low: int, high: int) -> Integers:
    try:
        found = [int(text) for text in _texts(parts, part, count)]
    except ValueError:
        raise MalformedInput(f"{part}: is no whole number") from None
    if not all(low <= each <= high for each in found):
        raise MalformedInput(f"{part}: is not from {low} to {high}")
    return np.array(found, np.int64)
