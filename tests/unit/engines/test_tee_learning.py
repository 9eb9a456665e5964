"""Training and prediction in an enclave: the numbers are scikit-learn's, the model is a table, and small groups give nothing."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import ensemble, linear_model, metrics
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tallystick.attestation import runs
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick_node.engines.tee import learning
from tallystick_node.engines.tee.enclave import Enclave, EnclaveRefused
from tallystick_node.engines.tee.learning_model import Floats, read_model
from tallystick_node.engines.tee.learning_terms import ESTIMATORS, read
from tallystick_node.engines.tee.manifest import EnclaveManifest, Limits
from tallystick_node.engines.tee.quoting import QuotingProcess
from tallystick_node.engines.tee.reasons import (
    AlgorithmFailed,
    AlgorithmRefused,
    KeyTwice,
    MalformedInput,
    NotConverged,
    OutputTooLarge,
    TooFewRows,
)
from tallystick_node.engines.tee.tables import Column, Table, encode

ROWS, MINIMUM, SEED = 240, 10, 3
LIMITS = {"minimum_group": MINIMUM, "output": 1 << 20}
GENERATOR = np.random.default_rng(5)
AGE, INCOME = GENERATOR.integers(20, 80, ROWS), GENERATOR.integers(100_000, 900_000, ROWS)  # income in cents
SCORE = AGE * 100 + INCOME / 100 + GENERATOR.normal(0, 1500, ROWS)
GRADES = ["high" if each > 11_000 else "low" if each < 8_000 else "middle" for each in SCORE]
FEATURES = np.column_stack([AGE, INCOME / 100]).astype(np.float64)
SETTINGS: dict[str, dict[str, Any]] = {
    "LinearRegression": {},
    "Ridge": {"alpha": 2},
    "LogisticRegression": {"C": 0.5},
    "RandomForestClassifier": {"n_estimators": 5, "max_depth": 4},
    "RandomForestRegressor": {"n_estimators": 5},
    "GradientBoostingClassifier": {"n_estimators": 6, "learning_rate": 0.3},
    "GradientBoostingRegressor": {"n_estimators": 6, "min_samples_leaf": 20},
}


def whole(name: str, cells: Any) -> Column:
    return Column(name, "int64", 0, [int(each) for each in cells])


def tables(order: Any = None) -> list[bytes]:
    """Two owners' tables of the same people, North's rows in any order; South has some more people."""
    at = np.arange(ROWS) if order is None else order
    north = (
        whole("person", at),
        whole("age", AGE[at]),
        whole("bad", SCORE[at] > 10_000),
        Column("grade", "string", 0, [GRADES[each] for each in at]),
        Column("score", "decimal", 2, [round(100 * SCORE[each]) for each in at]),
    )
    south = (whole("person", range(ROWS + 30)), Column("income", "decimal", 2, [*map(int, INCOME), *[1] * 30]))
    return [encode(Table("north", ROWS, north)), encode(Table("south", ROWS + 30, south))]


NORTH, SOUTH = tables()


def training(**change: Any) -> dict[str, Any]:
    return {
        "do": "train",
        "combine": "join",
        "key": "person",
        "features": ["north.age", "south.income"],
        "label": "north.bad",
        "estimator": {"name": "LogisticRegression"},
        "standardise": True,
        "held_out": 25,
        "seed": SEED,
        "give": "model",
    } | change


PREDICTION = {"do": "predict", "combine": "join", "key": "person", "model": "model"}


def ran(description: dict[str, Any], *inputs: bytes, **limits: int) -> bytes:
    return learning.run(json.dumps(description).encode(), inputs or [NORTH, SOUTH], LIMITS | limits)


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def model_table(rows: list[tuple[str, int, str]]) -> Table:
    """As a receiver publishes the model that it got."""
    parts, places, values = zip(*rows, strict=True)
    columns = (Column("part", "string", 0, parts), Column("place", "int64", 0, places), Column("value", "string", 0, values))
    return Table("model", len(rows), columns)


def published(output: bytes) -> Table:
    return model_table([(each["part"], int(each["place"]), each["value"]) for each in rows_of(output)])


def plain(name: str, labels: Any, *, standardise: bool) -> tuple[Any, Any, Any]:
    """The same by scikit-learn alone: the fitted pipeline, and the rows that were held out."""
    stratified = labels if ESTIMATORS[name].classes else None
    train, held = train_test_split(np.arange(ROWS), test_size=0.25, random_state=SEED, stratify=stratified)
    settings = dict(SETTINGS[name])
    if not ESTIMATORS[name].linear:
        settings |= {"random_state": SEED, "min_samples_leaf": max(MINIMUM, settings.get("min_samples_leaf", 1))}
    source: Any = linear_model if ESTIMATORS[name].linear else ensemble
    estimator = getattr(source, name)(**settings)
    pipeline = make_pipeline(StandardScaler(), estimator) if standardise else estimator
    return pipeline.fit(FEATURES[train], labels[train]), FEATURES[held], labels[held]


@pytest.mark.parametrize("name", SETTINGS)
def test_model_metrics_and_predictions_are_those_of_scikit_learn(name: str) -> None:
    kind, standardise = ESTIMATORS[name], not name.startswith("Random")
    label = "bad" if name == "GradientBoostingClassifier" else "grade" if kind.classes else "score"
    labels: Any = {"bad": (SCORE > 10_000).astype(int), "grade": np.array(GRADES), "score": np.round(100 * SCORE) / 100}[label]
    asked = training(label=f"north.{label}", estimator={"name": name, **SETTINGS[name]}, standardise=standardise)
    output = ran(asked)
    expected, held, held_labels = plain(name, labels, standardise=standardise)
    told = {
        each["part"].removeprefix("metric "): float(each["value"]) for each in rows_of(output) if each["part"].startswith("metric")
    }
    predicted = rows_of(ran(PREDICTION, NORTH, SOUTH, encode(published(output))))
    assert [int(each["person"]) for each in predicted] == list(range(ROWS))
    if kind.classes:
        shares = expected.predict_proba(FEATURES)
        found = np.array([[float(each[f"probability {one}"]) for one in expected.classes_] for each in predicted])
        assert np.abs(found - shares).max() < 1e-9
        assert [each[f"north.{label}"] for each in predicted] == [str(each) for each in expected.predict(FEATURES)]
        assert told["accuracy"] == metrics.accuracy_score(held_labels, expected.predict(held))
        assert told["log-loss"] == pytest.approx(metrics.log_loss(held_labels, expected.predict_proba(held)), abs=1e-9)
        if label == "bad":
            assert told["auc"] == pytest.approx(metrics.roc_auc_score(held_labels, expected.predict_proba(held)[:, 1]), abs=1e-9)
    else:
        numbers = expected.predict(FEATURES)
        assert np.abs(np.array([float(each[f"north.{label}"]) for each in predicted]) / numbers - 1).max() < 1e-9
        assert told["rmse"] == pytest.approx(metrics.mean_squared_error(held_labels, expected.predict(held)) ** 0.5, rel=1e-9)
        assert told["r2"] == pytest.approx(metrics.r2_score(held_labels, expected.predict(held)), abs=1e-9)


def test_a_result_follows_from_rows_and_seed_and_not_from_the_rows_order() -> None:
    asked = training(estimator={"name": "RandomForestClassifier", "n_estimators": 3})
    first = ran(asked)
    assert ran(asked) == first
    assert ran(asked, *tables(np.arange(ROWS)[::-1])) == first
    assert ran(asked | {"seed": SEED + 1}) != first


def test_rows_of_joined_tables_come_in_the_order_of_their_keys() -> None:
    people = [f"P-{each * 7919 % 1009}" for each in range(40)]
    for order in (people, people[::-1]):
        owners = [Table(name, 40, (Column("k", "string", 0, order), whole("x", range(40)))) for name in ("a", "b")]
        (found,), keys = learning.gathered(owners, "k", ("b.x",), None)
        assert keys == sorted(people)
        assert found.cells == [order.index(each) for each in keys]


def test_rows_of_stacked_tables_are_taken_one_table_after_the_other() -> None:
    def part(name: str, at: range, people: range) -> bytes:
        cells = (whole("person", people), whole("age", AGE[at]), whole("bad", SCORE[at] > 10_000))
        return encode(Table(name, len(at), cells))

    parts = [part("east", range(100), range(100)), part("west", range(100, ROWS), range(50, ROWS - 50))]
    asked = training(combine="stack", features=["age"], label="bad", held_out=0)
    del asked["key"]
    model = read_model(published(ran(asked, *parts)))
    bad = (SCORE > 10_000).astype(int)
    expected = make_pipeline(StandardScaler(), linear_model.LogisticRegression()).fit(FEATURES[:, :1], bad)
    assert np.abs(model.predict(FEATURES[:, :1]) - expected.predict_proba(FEATURES[:, :1])).max() < 1e-9
    found = rows_of(ran(PREDICTION | {"combine": "stack"}, encode(published(ran(asked, *parts))), *parts))
    assert [int(each["person"]) for each in found] == [*range(100), *range(50, ROWS - 50)]


def test_metrics_alone_hold_no_number_of_the_model() -> None:
    output = ran(training(give="metrics"))
    assert {each["part"] for each in rows_of(output)} == {
        "rows", "held-out rows", "metric accuracy", "metric log-loss", "metric auc",
    }  # fmt: skip
    assert [each["value"] for each in rows_of(output)[:2]] == ["180", "60"]


def test_rows_with_an_empty_cell_are_left_out() -> None:
    ages: list[int | None] = [None if each % 4 == 0 else int(AGE[each]) for each in range(ROWS)]
    north = Table("north", ROWS, (whole("person", range(ROWS)), Column("age", "int64", 0, ages), whole("bad", SCORE > 10_000)))
    output = ran(training(held_out=0), encode(north), SOUTH)
    there = np.arange(ROWS) % 4 != 0
    expected = make_pipeline(StandardScaler(), linear_model.LogisticRegression())
    expected.fit(FEATURES[there], (SCORE > 10_000)[there].astype(int))
    found = read_model(published(output)).predict(FEATURES)
    assert np.abs(found - expected.predict_proba(FEATURES)).max() < 1e-9
    predicted = rows_of(ran(PREDICTION, encode(north), SOUTH, encode(published(output))))
    assert [int(each["person"]) for each in predicted] == np.flatnonzero(there).tolist()


def small(label: Any, **columns: Any) -> bytes:
    people = {"person": range(len(label)), "age": AGE[: len(label)], **columns, "bad": label}
    return encode(Table("north", len(label), tuple(whole(name, cells) for name, cells in people.items())))


def stumps(count: int) -> bytes:
    """Trees that are a leaf each: means of labels that the seed weighs, so that as many as rows are solved for every label."""
    forest = {"name": "RandomForestRegressor", "n_estimators": count, "min_samples_leaf": ROWS}
    return ran(training(label="north.score", estimator=forest, held_out=0))


FEW: dict[str, Callable[[], bytes]] = {
    "a table": lambda: ran(training(), small([0, 1, 0, 1, 0]), SOUTH),
    "a class": lambda: ran(training(held_out=0), small([0] * 100 + [1] * 9), SOUTH),
    "a class of the training rows": lambda: ran(training(held_out=50), small([0] * 100 + [1] * 12), SOUTH),
    "rows held out": lambda: ran(training(held_out=5), small([0, 1] * 60), SOUTH),
    "rows for as many weights": lambda: ran(training(estimator={"name": "LinearRegression"}, held_out=0), small([0, 1] * 6), SOUTH),
    "rows for as many leaves": lambda: stumps(ROWS - MINIMUM + 1),
    "rows of a leaf": lambda: ran(
        training(estimator={"name": "RandomForestRegressor", "n_estimators": 1}, held_out=0), small([0, 1] * 6), SOUTH
    ),
    "rows apart in a feature": lambda: ran(training(held_out=0), small([0, 1] * 60, age=[1] * 9 + [0] * 111), SOUTH),
    "rows beside an outlier": lambda: ran(training(held_out=0), small([0, 1] * 60, age=[10**6, *AGE[:119]]), SOUTH),
    "rows between two features": lambda: ran(
        training(held_out=0, features=["north.age", "north.old"]),
        small([0, 1] * 60, age=[1] * 20 + [0] * 100, old=[1] * 21 + [0] * 99),
        SOUTH,
    ),
    "rows to predict": lambda: ran(PREDICTION, small([0, 1] * 4), SOUTH, encode(published(ran(training())))),
    "common people": lambda: ran(
        training(),
        encode(Table("north", 99, (whole("person", range(900, 999)), whole("age", range(99)), whole("bad", [1] * 99)))),
        SOUTH,
    ),
}


@pytest.mark.parametrize("name", FEW)
def test_groups_below_the_minimum_give_nothing(name: str) -> None:
    with pytest.raises(TooFewRows):
        FEW[name]()


def test_groups_at_the_minimum_give_a_model() -> None:
    assert len(read_model(published(stumps(ROWS - MINIMUM))).body.roots) == ROWS - MINIMUM  # type: ignore[union-attr]
    for age in ([1] * MINIMUM + [0] * (120 - MINIMUM), [7] * 120):  # what all have tells of nobody
        ran(training(held_out=0), small([0, 1] * 60, age=age), SOUTH)


def test_a_rows_leverage_is_that_of_the_plain_formula() -> None:
    copied = np.column_stack([FEATURES, FEATURES[:, 0] * 3, np.full(ROWS, 0.1)])  # of no more rank
    design = np.column_stack([np.ones(ROWS), FEATURES])
    expected = np.diag(design @ np.linalg.solve(design.T @ design, design.T)).max()
    assert learning._leverage(FEATURES) == pytest.approx(expected, rel=1e-9)
    assert learning._leverage(copied) == pytest.approx(expected, rel=1e-9)
    assert learning._leverage(np.full((20, 2), 7.0)) == pytest.approx(1 / 20)


def test_leaves_of_trees_hold_the_minimum_group() -> None:
    model = read_model(published(ran(training(estimator={"name": "GradientBoostingClassifier", "n_estimators": 1}, held_out=0))))
    places = model.body.scores((FEATURES - model.center) / model.scale)[:, 0]  # one number for each leaf
    assert min(np.unique(places, return_counts=True)[1]) >= MINIMUM


REFUSED: dict[str, tuple[Any, str]] = {
    "not JSON": (b"{", "not JSON"),
    "not UTF-8": (b"\xff", "not JSON"),
    "a member twice": (b'{"do": "train", "do": "train"}', "twice"),
    "half a character as a member": (training(estimator={"name": "Ridge", "\ud800": 1}), "cannot be printed"),
    "no number": (json.dumps(training(seed=float("nan"))).encode(), "not JSON"),
    "too long": (b" " * 70_000, "at most"),
    "a list": (b"[]", "no JSON object"),
    "another verb": (training(do="pickle"), "do: one of"),
    "a member more": (training(code="import os"), "code is wrong"),
    "a key of stacked rows": (training(combine="stack"), "key is wrong"),
    "no features": (training(features=[]), "features"),
    "a feature twice": (training(features=["north.age", "north.age"]), "each once"),
    "the label as a feature": (training(features=["north.bad"]), "no feature"),
    "a name that is none": (training(label=7), "label"),
    "a column of no table": (training(features=["age"]), "TABLE.COLUMN"),
    "another table": (training(features=["west.age"]), "'west' is no table"),
    "another estimator": (training(estimator={"name": "SVC"}), "name: one of"),
    "a setting of another": (training(estimator={"name": "Ridge", "C": 1}), "estimator.C: no setting"),
    "a setting out of bounds": (training(estimator={"name": "RandomForestRegressor", "n_estimators": 501}), "from 1 to 500"),
    "a setting that is not whole": (training(estimator={"name": "RandomForestRegressor", "max_depth": 2.5}), "whole"),
    "a setting that is no number": (training(estimator={"name": "Ridge", "alpha": True}), "from 0.0"),
    "a verdict that is none": (training(standardise=1), "standardise"),
    "too many held out": (training(held_out=51), "held_out"),
    "metrics of nothing": (training(held_out=0, give="metrics"), "no metrics"),
    "a seed beyond 32 bits": (training(seed=1 << 32), "seed"),
    "a column that is not there": (training(features=["north.height"]), "lacks a column"),
    "text as a number": (training(features=["north.grade"]), "is text"),
    "numbers as classes": (training(label="north.score"), "names no classes"),
    "no model": (PREDICTION, "one of the tables is 'model'"),
    "three classes to boost": (
        training(label="north.grade", estimator={"name": "GradientBoostingClassifier"}), "two classes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_description_of_these_tables_is_refused_in_words(name: str) -> None:
    asked, words = REFUSED[name]
    with pytest.raises(AlgorithmRefused, match=words):
        learning.run(asked if isinstance(asked, bytes) else json.dumps(asked).encode(), [NORTH, SOUTH], LIMITS)


def test_other_ends_have_names() -> None:
    with pytest.raises(NotConverged):
        ran(training(estimator={"name": "LogisticRegression", "max_iter": 1}))
    with pytest.raises(OutputTooLarge):
        ran(training(), output=100)
    with pytest.raises(KeyTwice):
        ran(training(), small([0, 1] * 60, person=[1] * 120), SOUTH)
    with pytest.raises(AlgorithmFailed):
        ran(training(features=["south.income"], label="north.age"))  # sixty classes
    with pytest.raises(MalformedInput):
        ran(training(), NORTH, NORTH)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(member=st.sampled_from([*training(), "model"]), value=JSON)
def test_a_description_from_anywhere_is_read_or_refused(member: str, value: Any) -> None:
    for asked in (training(), PREDICTION):
        try:
            read(json.dumps(asked | {member: value}).encode())
        except AlgorithmRefused as refused:
            assert str(refused).isprintable()


MODELS = {name: published(ran(training(
    label="north.bad" if ESTIMATORS[name].classes else "north.score", estimator={"name": name, "n_estimators": 2} if not
    ESTIMATORS[name].linear else {"name": name}, held_out=0,
))) for name in ("LogisticRegression", "RandomForestRegressor")}  # fmt: skip


@settings(deadline=None)
@given(
    name=st.sampled_from(sorted(MODELS)),
    at=st.integers(0, 10_000),
    cell=st.sampled_from([0, 1, 2]),
    value=st.sampled_from(["", "nan", "inf", "1e999", "-1", "0", "1", "7", "x", "left", "weight"]) | st.text(max_size=3),
    drop=st.booleans(),
)
def test_a_model_from_anywhere_predicts_or_is_refused(name: str, at: int, cell: int, value: str, drop: bool) -> None:
    rows: list[list[Any]] = [list(row) for row in zip(*(column.cells for column in MODELS[name].columns), strict=True)]
    if drop:
        del rows[at % len(rows)]
    else:
        rows[at % len(rows)][cell] = at % 40 if cell == 1 else value
    try:
        model = read_model(model_table([tuple(row) for row in rows]))  # type: ignore[misc]
        found: Floats = model.predict(FEATURES[:, : len(model.features)])
    except MalformedInput:
        return
    assert len(found) == ROWS


def test_a_tree_that_leads_back_is_refused() -> None:
    rows = list(zip(*(column.cells for column in MODELS["RandomForestRegressor"].columns), strict=True))
    assert rows[0][2] == "tallystick enclave model v1"
    for part, value in (
        ("left", "0"),
        ("right", "-1"),
        ("leaf", "inf"),
        ("threshold", "nan"),
        ("split", "2"),
        ("root", "99999"),
        ("scale", "0.0"),
        ("format", "v2"),
    ):
        changed = [(each[0], each[1], value) if each[:2] == (part, 0) else each for each in rows]
        with pytest.raises(MalformedInput):
            read_model(model_table(changed))
    for columns in (MODELS["LogisticRegression"].columns[:2], (*MODELS["LogisticRegression"].columns[:2], whole("value", []))):
        with pytest.raises(MalformedInput, match="columns"):
            read_model(Table("model", 0, columns))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_confined_enclave_fits_the_same_model_for_the_receiver_alone() -> None:
    """Fits, as scikit-learn is loaded from its sources and measured, in some ten seconds of processor time."""
    now = int(time.time())
    algorithm = json.dumps(training(estimator={"name": "RandomForestClassifier", "n_estimators": 3})).encode()
    limits = Limits(memory=(1 << 30) + (64 << 20), seconds=120, heap=64 << 20, output=1 << 20, minimum_group=MINIMUM)
    asked = EnclaveManifest(algorithm, bytes(32), kind="learn", limits=limits)
    receiver, context = X25519PrivateKey.generate(), b"\x07" * 32
    receivers, code = [receiver.public_key().public_bytes_raw()], context + hashlib.sha256(algorithm).digest()
    commitments = [runs.commitment(bytes(32), each) for each in (NORTH, SOUTH)]
    together = runs.inputs_digest(commitments)
    with QuotingProcess(ProvisioningAuthority((now - 1_000, now + 100_000))) as quoting:
        try:
            enclave = Enclave(asked, quoting)
        except EnclaveRefused as refused:
            if "not in force on this host" not in str(refused):
                raise
            pytest.skip(f"this host cannot confine an enclave: {refused}")
        with enclave:
            sealed = [
                runs.seal(enclave.public_key, bytes(32) + together + each, runs.input_context(code, receivers, place))
                for place, each in enumerate((NORTH, SOUTH))
            ]
            run = enclave.compute(sealed, receivers, context, 300)
    output = runs.unseal(receiver, run.outputs[0], runs.output_context(code, receivers, commitments))[32:]
    assert output == learning.run(algorithm, [NORTH, SOUTH], LIMITS)
