"""What is fitted or predicted in an enclave: a closed description, which owners read instead of code.

A JSON object; its bytes are the algorithm whose digest owners grant. Nothing in it is executed: an estimator of
scikit-learn is named from :data:`ESTIMATORS`, with settings within bounds. Imported inside of enclaves and by whoever checks a
task: the standard library only, and part of the measurement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tallystick_node.engines.tee.reasons import AlgorithmRefused

JOIN, STACK = "join", "stack"
MODEL, METRICS = "model", "metrics"
MAX_FEATURES, MAX_NAME = 256, 260
MAX_BYTES = 64 << 10


@dataclass(frozen=True)
class Setting:
    """Of an estimator: a whole number or any, from ``low`` to ``high``."""

    whole: bool
    low: float
    high: float

    def holds(self, value: object) -> bool:
        """Whether ``value`` is one."""
        kinds = int if self.whole else int | float
        return isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Estimator:
    """An estimator of scikit-learn: whether it tells classes apart or gives a number, and what may be set."""

    classes: bool
    linear: bool
    settings: Mapping[str, Setting]


_TREES = {"n_estimators": Setting(True, 1, 500), "max_depth": Setting(True, 1, 24), "min_samples_leaf": Setting(True, 1, 1 << 20)}
_BOOSTED = {**_TREES, "learning_rate": Setting(False, 1e-6, 1.0)}
ESTIMATORS: Mapping[str, Estimator] = {
    "LinearRegression": Estimator(False, True, {}),
    "Ridge": Estimator(False, True, {"alpha": Setting(False, 0.0, 1e9)}),
    "LogisticRegression": Estimator(True, True, {"C": Setting(False, 1e-9, 1e9), "max_iter": Setting(True, 1, 100_000)}),
    "RandomForestClassifier": Estimator(True, False, _TREES),
    "RandomForestRegressor": Estimator(False, False, _TREES),
    "GradientBoostingClassifier": Estimator(True, False, _BOOSTED),
    "GradientBoostingRegressor": Estimator(False, False, _BOOSTED),
}
"""By the names that scikit-learn gives them and their settings."""


@dataclass(frozen=True)
class Training:
    """Fit ``estimator`` with ``settings`` to ``features`` for ``label``. Rows are those of all tables that have one ``key``
    (``None``: the rows of all tables, one after the other); columns of joined tables are named ``table.column``. ``held_out``
    percent of the rows are drawn by ``seed`` and judge the model; ``give`` is ``model`` (with the metrics) or ``metrics`` alone."""

    key: str | None
    features: tuple[str, ...]
    label: str
    estimator: str
    settings: Mapping[str, float]
    standardise: bool
    held_out: int
    seed: int
    give: str


@dataclass(frozen=True)
class Prediction:
    """Predict by the model in the table ``model`` for the rows of all other tables, joined or stacked; ``key`` names the column
    that tells which prediction is of which row."""

    joined: bool
    key: str
    model: str


def read(data: bytes) -> Training | Prediction:
    """The description in ``data``. Raises :class:`AlgorithmRefused`, saying which member is at fault."""
    if len(data) > MAX_BYTES:
        raise AlgorithmRefused(f"a description has at most {MAX_BYTES} bytes")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise AlgorithmRefused("the description is not JSON, or names a member twice or by what cannot be printed") from None
    if not isinstance(value, dict):
        raise AlgorithmRefused("the description is no JSON object")
    do, combine = _choice(value, "do", ("train", "predict")), _choice(value, "combine", (JOIN, STACK))
    if do == "predict":
        _members(value, ("do", "combine", "key", "model"), "the description")
        return Prediction(combine == JOIN, _name(value["key"], "key"), _name(value["model"], "model"))
    names = ("do", "combine", "features", "label", "estimator", "standardise", "held_out", "seed", "give")
    _members(value, (*names, "key") if combine == JOIN else names, "the description")
    return _training(value)


def columns_of(asked: Training | Prediction, tables: Sequence[str]) -> Mapping[str, frozenset[str]]:
    """The columns that a description reads of each of ``tables``, as far as it names them itself. Raises
    :class:`AlgorithmRefused` where it names a table that is not there."""
    if isinstance(asked, Prediction):
        if asked.model not in tables or len(tables) < 2:
            raise AlgorithmRefused(f"model: one of the tables is {asked.model!r}, and there is another")
        return {name: frozenset(MODEL_COLUMNS if name == asked.model else (asked.key,)) for name in tables}
    named = (*asked.features, asked.label)
    if asked.key is None:
        return dict.fromkeys(tables, frozenset(named))
    parts = [split(name) for name in named]
    unknown = sorted({table for table, _ in parts} - set(tables))
    if unknown:
        raise AlgorithmRefused(f"features and label: {unknown[0]!r} is no table of the task")
    return {name: frozenset({asked.key, *(column for table, column in parts if table == name)}) for name in tables}


MODEL_COLUMNS = ("part", "place", "value")
"""Of a model's table."""


def split(name: str) -> tuple[str, str]:
    """Table and column of a joined column's name. Raises :class:`AlgorithmRefused`."""
    table, _, column = name.partition(".")
    if not table or not column:
        raise AlgorithmRefused(f"{name!r} is not TABLE.COLUMN, as the columns of joined tables are named")
    return table, column


def _training(value: Mapping[str, Any]) -> Training:
    features = value["features"]
    if not isinstance(features, list) or not 1 <= len(features) <= MAX_FEATURES:
        raise AlgorithmRefused(f"features: 1 to {MAX_FEATURES} names")
    named = tuple(_name(each, "features") for each in features)
    label = _name(value["label"], "label")
    if len({*named, label}) != len(named) + 1:
        raise AlgorithmRefused("features and label: each once, and the label is no feature")
    estimator = value["estimator"]
    if not isinstance(estimator, dict):
        raise AlgorithmRefused("estimator: an object with its name and settings")
    name = _choice(estimator, "name", tuple(ESTIMATORS))
    settings = {each: setting for each, setting in estimator.items() if each != "name"}
    for each, setting in settings.items():
        allowed = ESTIMATORS[name].settings.get(each)
        if allowed is None or not allowed.holds(setting):
            bounds = (
                "no setting of it" if allowed is None else f"from {allowed.low} to {allowed.high}{' and whole' * allowed.whole}"
            )
            raise AlgorithmRefused(f"estimator.{each[:MAX_NAME]}: {bounds}")
    if not isinstance(value["standardise"], bool):
        raise AlgorithmRefused("standardise: true or false")
    held_out, give = _integer(value, "held_out", 0, 50), _choice(value, "give", (MODEL, METRICS))
    if give == METRICS and not held_out:
        raise AlgorithmRefused("held_out: there are no metrics without rows that are held out")
    key = _name(value["key"], "key") if "key" in value else None
    seed = _integer(value, "seed", 0, (1 << 32) - 1)
    found = Training(key, named, label, name, settings, value["standardise"], held_out, seed, give)
    if key is not None:
        for each in (*named, label):
            split(each)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or not all(name.isprintable() for name in found):  # names stand in refusals, which have to be text
        raise ValueError("a member stands twice, or has no name that can be printed")
    return found


def _refused(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _members(value: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    if set(value) != set(names):
        missing, more = sorted(set(names) - set(value)), sorted(set(value) - set(names))
        raise AlgorithmRefused(f"{where} has exactly {', '.join(names)}: {', '.join(missing or more)[:MAX_NAME]} is wrong")


def _choice(value: Mapping[str, Any], name: str, allowed: Sequence[str]) -> str:
    found = value.get(name)
    if found not in allowed or not isinstance(found, str):
        raise AlgorithmRefused(f"{name}: one of {', '.join(allowed)}")
    return found


def _integer(value: Mapping[str, Any], name: str, low: int, high: int) -> int:
    found = value[name]
    if type(found) is not int or not low <= found <= high:
        raise AlgorithmRefused(f"{name}: a whole number from {low} to {high}")
    return found


def _name(value: object, where: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or not value.isprintable():
        raise AlgorithmRefused(f"{where}: a name of 1 to {MAX_NAME} printable characters")
    return value
