"""Training and prediction inside of an enclave: estimators of scikit-learn over the tables of several owners.

Imported before confinement, with all of scikit-learn that it uses; part of the measurement. The algorithm is a closed
description (:mod:`~tallystick_node.engines.tee.learning_terms`), so nothing of whoever asks is executed here. Rows are those of all
tables with one key, ordered by it, or of all tables one after the other; rows with an empty cell are left out. The held-out rows
and every estimator are drawn by the description's seed, on one thread.

What may leave: a model, or its metrics, only where the held-out rows and each class of the training rows are at least the minimum
group, and the training rows as many beyond one for each number that is fitted to labels: a weight, or the value of a leaf. Each
leaf of a tree holds at least as many rows. Each feature of a linear model is in at least as many other than it is in most, and no
row's label weighs more in its own fitted value than all others do: the weights would tell that of an outlier, or of one of a kind.
Predictions leave for rows that owners gave for them, and are what the model's giver makes of these rows' features.

None of this is differential privacy. It keeps a receiver from solving linear equations for labels, as it could of more numbers,
and from a mean of few rows; not whoever has features made for that (one weight can be a sum in which each label has a digit of its
own), or knows the features of held-out rows, from finding labels. A threshold of a tree lies between two rows' values.
"""

from __future__ import annotations

import csv
import io
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tallystick_node.engines.tee.learning_model import MAX_CLASSES, Floats, Linear, Model, Rows, Trees, read_model
from tallystick_node.engines.tee.learning_terms import (
    ESTIMATORS,
    METRICS,
    MODEL_COLUMNS,
    Prediction,
    Training,
    columns_of,
    read,
    split,
)
from tallystick_node.engines.tee.reasons import (
    AlgorithmFailed,
    AlgorithmRefused,
    KeyTwice,
    MalformedInput,
    NotConverged,
    OutputTooLarge,
    TooFewRows,
)
from tallystick_node.engines.tee.tables import Column, Table, decode

MAX_LEVERAGE = 0.5  # of a row that is alone in what it is, 1; of two that are alike, 1/2
_KEYS = ("int64", "string")  # types
_UNUSED = ("pandas", "polars", "pyarrow", "rich")  # scikit-learn imports them where they are installed


@contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """Leave these modules out of the enclave, and of what its measurement depends on."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


with _without(_UNUSED):
    from sklearn import ensemble, linear_model, metrics
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler


def run(algorithm: bytes, inputs: Sequence[bytes], limits: Mapping[str, int]) -> bytes:
    """What the description asks for, as CSV: a model or its metrics (part, place, value), or predictions by key.

    Raises a :class:`~tallystick_node.engines.tee.reasons.NoResult`.
    """
    asked, tables = read(algorithm), [decode(data) for data in inputs]
    named = {table.name: table for table in tables}
    if len(named) != len(tables):
        raise MalformedInput("two tables have one name")
    for name, columns in columns_of(asked, list(named)).items():
        if not columns <= {column.name for column in named[name].columns}:
            raise AlgorithmRefused(f"the table {name!r} lacks a column that the description names")
    rows = [table for table in tables if not isinstance(asked, Prediction) or table.name != asked.model]
    if any(table.rows < limits["minimum_group"] for table in rows):
        raise TooFewRows
    try:
        return _trained(asked, rows, limits) if isinstance(asked, Training) else _predicted(asked, rows, named[asked.model], limits)
    except ConvergenceWarning:
        raise NotConverged from None
    except (ValueError, FloatingPointError) as error:  # numbers that an estimator does not take
        raise AlgorithmFailed(str(error)) from None


def _trained(asked: Training, tables: Sequence[Table], limits: Mapping[str, int]) -> bytes:
    minimum, kind = limits["minimum_group"], ESTIMATORS[asked.estimator]
    columns, _ = gathered(tables, asked.key, (*asked.features, asked.label), None)
    there = [place for place in range(len(columns[0].cells)) if all(column.cells[place] is not None for column in columns)]
    features = _matrix(columns[:-1], there)
    if len(there) < minimum:
        raise TooFewRows
    classes, labels = _classes(columns[-1], there) if kind.classes else ((), _numbers(columns[-1], there))
    training = held = np.arange(len(there))
    _require_groups(labels, minimum, classes)
    if asked.held_out:
        stratified = labels if kind.classes else None
        training, held = train_test_split(training, test_size=asked.held_out / 100, random_state=asked.seed, stratify=stratified)
    numbers = (len(asked.features) + 1) * max(1, len(classes) - 1) if kind.linear else 0
    _require_groups(labels[training], minimum, classes)
    if len(held) < minimum or len(training) < numbers + minimum:
        raise TooFewRows
    if kind.linear and (_least_apart(features[training]) < minimum or _leverage(features[training]) > MAX_LEVERAGE):
        raise TooFewRows
    model = fitted(asked, classes, features[training], labels[training], minimum)
    told: Rows = [("rows", 0, str(len(training))), ("held-out rows", 0, str(len(held) if asked.held_out else 0))]
    if asked.held_out:
        told += [(f"metric {name}", 0, repr(value)) for name, value in judged(model, features[held], labels[held]).items()]
    return _written(MODEL_COLUMNS, told if asked.give == METRICS else [*model.rows(), *told], limits)


def _require_groups(labels: Floats, minimum: int, classes: Sequence[str]) -> None:
    """Raise :class:`TooFewRows` for fewer rows, or fewer of one class."""
    if len(labels) < minimum or (classes and np.bincount(labels.astype(np.int64)).min() < minimum):
        raise TooFewRows


def _least_apart(features: Floats) -> int:
    """The fewest rows in which a feature that varies is not what it is in most: a weight tells what these have of their own."""
    apart = [len(column) - int(np.unique(column, return_counts=True)[1].max()) for column in features.T]
    return min((each for each in apart if each), default=len(features))


def _leverage(features: Floats) -> float:
    """The largest share that a row's label has in its own value fitted by least squares: at 1 the weights give it away."""
    varied = features[:, np.ptp(features, axis=0) > 0]
    own = np.full(len(varied), 1 / len(varied))
    if varied.shape[1]:
        left, sizes, _ = np.linalg.svd((varied - varied.mean(axis=0)) / varied.std(axis=0), full_matrices=False)
        own += (left[:, sizes > sizes[0] * max(varied.shape) * np.finfo(np.float64).eps] ** 2).sum(axis=1)
    return float(own.max())


def _require_leaves(estimator: Any, classes: int, rows: int, minimum: int) -> None:
    """Raise :class:`TooFewRows` for a leaf of fewer rows (a tree is drawn fewer than there are), or for fewer rows beyond one for
    each number of a leaf: which rows are in a leaf, and how often, follows from seed and features, so that each number is a linear
    equation for their labels."""
    grown = [each.tree_ for each in np.ravel(estimator.estimators_)]
    smallest = min(int(tree.n_node_samples[tree.children_left < 0].min()) for tree in grown)
    numbers = sum(int(tree.n_leaves) for tree in grown) * max(1, classes - 1)
    if smallest < minimum or rows < numbers + minimum:
        raise TooFewRows


def _predicted(asked: Prediction, tables: Sequence[Table], given: Table, limits: Mapping[str, int]) -> bytes:
    model = read_model(given)
    columns, keys = gathered(tables, asked.key if asked.joined else None, model.features, asked.key)
    there = [
        place for place, each in enumerate(keys) if each is not None and all(column.cells[place] is not None for column in columns)
    ]
    if len(there) < limits["minimum_group"]:
        raise TooFewRows
    found = model.predict(_matrix(columns, there))
    if not np.isfinite(found).all():
        raise AlgorithmFailed("a prediction is no finite number")
    if model.classes:
        texts = [[model.classes[each.argmax()], *map(repr, each.tolist())] for each in found]
    else:
        texts = [[repr(each)] for each in found.tolist()]
    names = (asked.key, model.label, *(f"probability {each}" for each in model.classes))
    return _written(names, [(str(keys[place]), *text) for place, text in zip(there, texts, strict=True)], limits)


def fitted(asked: Training, classes: tuple[str, ...], features: Floats, labels: Floats, minimum: int) -> Model:
    """The estimator that is asked for, fitted to these rows; ``labels``: places of classes, or numbers. Raises
    :class:`TooFewRows` for leaves of trees that are too small or too many."""
    scaler = StandardScaler().fit(features) if asked.standardise else None
    width = features.shape[1]
    center, scale = (np.zeros(width), np.ones(width)) if scaler is None else (scaler.mean_, scaler.scale_)
    settings: dict[str, Any] = dict(asked.settings)
    source, kind = (linear_model if ESTIMATORS[asked.estimator].linear else ensemble), ESTIMATORS[asked.estimator]
    if not kind.linear:
        settings |= {"random_state": asked.seed, "min_samples_leaf": max(minimum, settings.get("min_samples_leaf", 1))}
    estimator = getattr(source, asked.estimator)(**settings)
    if asked.estimator == "GradientBoostingClassifier" and len(classes) != 2:
        raise AlgorithmRefused("GradientBoostingClassifier is for two classes here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", ConvergenceWarning)
        estimator.fit((features - center) / scale, labels.astype(np.int64) if kind.classes else labels)
    if not kind.linear:
        _require_leaves(estimator, len(classes), len(labels), minimum)
    body = _coefficients(estimator) if kind.linear else _trees(estimator, asked.estimator)
    return Model(asked.estimator, asked.features, asked.label, classes, center, scale, body)


def _coefficients(estimator: Any) -> Linear:
    return Linear(np.atleast_2d(estimator.coef_).astype(np.float64), np.atleast_1d(estimator.intercept_).astype(np.float64))


def _trees(estimator: Any, name: str) -> Trees:
    grown = [each.tree_ for each in np.ravel(estimator.estimators_)]
    base, factor = 0.0, 1.0 / len(grown)
    if name == "GradientBoostingRegressor":
        base, factor = float(np.ravel(estimator.init_.constant_)[0]), estimator.learning_rate
    elif name == "GradientBoostingClassifier":
        share = np.clip(estimator.init_.class_prior_[1], np.finfo(np.float32).eps, 1 - np.finfo(np.float32).eps)
        base, factor = float(np.log(share / (1 - share))), estimator.learning_rate
    roots = np.cumsum([0, *(tree.node_count for tree in grown)])[:-1]
    leaf = np.concatenate([tree.children_left < 0 for tree in grown])

    def of_nodes(found: list[Any], at_leaves: float) -> Any:
        return np.where(leaf, at_leaves, np.concatenate(found))

    return Trees(
        base,
        float(factor),
        roots.astype(np.int64),
        of_nodes([tree.feature for tree in grown], -1).astype(np.int64),
        of_nodes([tree.threshold for tree in grown], 0.0),
        of_nodes([tree.children_left + root for tree, root in zip(grown, roots, strict=True)], -1).astype(np.int64),
        of_nodes([tree.children_right + root for tree, root in zip(grown, roots, strict=True)], -1).astype(np.int64),
        np.where(leaf[:, None], np.concatenate([tree.value[:, 0, :] for tree in grown]), 0.0),
    )


def judged(model: Model, features: Floats, labels: Floats) -> dict[str, float]:
    """Metrics of a model on rows that it was not fitted to, as scikit-learn computes them."""
    found = model.predict(features)
    if not model.classes:
        squared = float(metrics.mean_squared_error(labels, found))
        return {
            "rmse": squared**0.5,
            "mae": float(metrics.mean_absolute_error(labels, found)),
            "r2": float(metrics.r2_score(labels, found)),
        }
    whole, places = labels.astype(np.int64), list(range(len(model.classes)))
    told = {
        "accuracy": float(metrics.accuracy_score(whole, found.argmax(axis=1))),
        "log-loss": float(metrics.log_loss(whole, found, labels=places)),
    }
    if len(places) == 2 and len(set(whole.tolist())) == 2:
        told["auc"] = float(metrics.roc_auc_score(whole, found[:, 1]))
    return told


def gathered(tables: Sequence[Table], key: str | None, names: Sequence[str], shown: str | None) -> tuple[list[Column], list[Any]]:
    """The columns ``names`` over the rows of all tables that have one ``key``, ordered by it (``None``: of all tables, one after
    the other), and those rows' cells in the column ``shown`` (of stacked tables; of joined ones, the keys). Raises
    :class:`KeyTwice`, :class:`AlgorithmRefused`."""
    if key is None:
        columns = [_stacked([_column(table, name) for table in tables]) for name in names]
        keys = None if shown is None else _stacked([_column(table, shown) for table in tables])
        if keys is not None and keys.type not in _KEYS:
            raise AlgorithmRefused(f"the key {shown!r} is neither of whole numbers nor of text")
        return columns, [] if keys is None else list(keys.cells)
    found = [_column(table, key) for table in tables]
    if len({each.type for each in found}) != 1 or found[0].type not in _KEYS:
        raise AlgorithmRefused(f"the key {key!r} is in all tables of whole numbers, or in all of text")
    places = [{cell: place for place, cell in enumerate(each.cells) if cell is not None} for each in found]
    if any(len(at) != sum(cell is not None for cell in each.cells) for at, each in zip(places, found, strict=True)):
        raise KeyTwice
    common: list[Any] = sorted(set.intersection(*map(set, places)))
    by_name = {table.name: (table, at) for table, at in zip(tables, places, strict=True)}
    columns = []
    for name in names:
        owner, column_name = split(name)
        if owner not in by_name:
            raise AlgorithmRefused(f"{owner!r} is no table with rows")
        table, at = by_name[owner]
        column = _column(table, column_name)
        columns.append(Column(name, column.type, column.scale, [column.cells[at[each]] for each in common]))
    return columns, common


def _column(table: Table, name: str) -> Column:
    found = next((column for column in table.columns if column.name == name), None)
    if found is None:
        raise AlgorithmRefused(f"the table {table.name!r} has no column {name!r}")
    return found


def _stacked(parts: Sequence[Column]) -> Column:
    first = parts[0]
    if any((each.type, each.scale) != (first.type, first.scale) for each in parts):
        raise AlgorithmRefused(f"the column {first.name!r} is of another type in another table")
    return Column(first.name, first.type, first.scale, [cell for each in parts for cell in each.cells])


def _numbers(column: Column, there: Sequence[int]) -> Floats:
    if column.type == "string":
        raise AlgorithmRefused(f"{column.name!r} is text, and has to be of numbers, dates or booleans")
    return np.array([int(column.cells[place] or 0) / 10**column.scale for place in there], np.float64)


def _matrix(columns: Sequence[Column], there: Sequence[int]) -> Floats:
    return np.column_stack([_numbers(column, there) for column in columns])


def _classes(column: Column, there: Sequence[int]) -> tuple[tuple[str, ...], Floats]:
    """The classes as text, in order, and of each row the place of its own."""
    if column.type not in ("int64", "bool", "string"):
        raise AlgorithmRefused(f"{column.name!r} names no classes: it is neither of whole numbers nor of booleans nor of text")
    cells: list[Any] = [column.cells[place] for place in there]
    found = sorted(set(cells))
    if not 2 <= len(found) <= MAX_CLASSES:
        raise AlgorithmFailed(f"the label has {len(found)} classes, and 2 to {MAX_CLASSES} can be told apart")
    texts = tuple(("false", "true")[each] if column.type == "bool" else str(each) for each in found)
    if not all(text and text.isprintable() for text in texts):
        raise AlgorithmFailed("a class has no name that can be printed")
    at = {cell: place for place, cell in enumerate(found)}
    return texts, np.array([at[cell] for cell in cells], np.float64)


def _written(names: Sequence[str], rows: Sequence[Sequence[object]], limits: Mapping[str, int]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    written = text.getvalue().encode()
    if len(written) > limits["output"]:
        raise OutputTooLarge
    return written
