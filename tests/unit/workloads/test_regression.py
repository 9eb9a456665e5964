"""The workload `regression` on real data, split by rows and by columns, against scikit-learn on the pooled rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick_node.workloads.plans.regression import Parameters, Regression
from unit.workloads.conftest import ACCOUNTS, make_spec, table_of

NAMES = [f"x{i}" for i in range(5)]
CANCER, LABEL = load_breast_cancer(return_X_y=True)
CANCER = np.round(CANCER[:, [20, 21, 24, 27, 28]], 4)
RIDGE = 0.01


def feature(party, column, values=None):
    center, scale = ("0", "1") if values is None else (f"{values.mean():.4f}", f"{values.std():.4f}")
    return {"party": party, "column": column, "center": center, "scale": scale}


def parameters_of(**changes):
    return {
        "family": "logistic",
        "split": {"by": "rows", "join": None},
        "features": [feature(None, name, CANCER[:, i]) for i, name in enumerate(NAMES)],
        "target": feature(None, "y"),
        "method": {"name": "newton", "iterations": 6},
        "ridge": str(RIDGE),
        "evaluate": True,
        "protocol": "replicated",
        "fraction": 20,
        "minimum_group": 10,
        **changes,
    }


def cells(values, scale=4):
    return [round(float(each) * 10**scale) for each in values], "decimal", scale


def rows_table(part):
    columns = {name: cells(CANCER[part, i]) for i, name in enumerate(NAMES)}
    return table_of({**columns, "y": ([int(each) for each in LABEL[part]], "int64", 0)})


def by_rows(parameters, parts, receivers=(2,)):
    spec = make_spec("regression", parameters, {number: [*NAMES, "y"] for number in range(len(parts))}, list(receivers), (0, 1, 2))
    return spec, {number: rows_table(part) for number, part in enumerate(parts)}


def expected_model():
    scaled = (CANCER - CANCER.mean(0)) / CANCER.std(0)
    model = LogisticRegression(C=1 / (RIDGE * len(LABEL)), tol=1e-8, max_iter=1000).fit(scaled, LABEL)
    slopes = model.coef_[0] / CANCER.std(0)
    return slopes, model.intercept_[0] - slopes @ CANCER.mean(0), roc_auc_score(LABEL, model.decision_function(scaled))


def test_a_model_over_rows_is_that_of_the_pooled_rows(run_workload) -> None:
    spec, tables = by_rows(parameters_of(), [slice(0, 150), slice(150, 400), slice(400, None)])
    ran = run_workload(Regression(), spec, tables)
    slopes, intercept, auc = expected_model()
    for number, outcome in ran.outcomes.items():
        assert outcome.commitment.startswith("sha256:")
        assert (outcome.result is None) == (number != 2)
    values = ran.outcomes[2].result
    found = np.array([float(each["value"]) for each in values["coefficients"]])
    assert np.abs((found - slopes) * CANCER.std(0)).max() < 0.01
    assert abs(float(values["intercept"]) - intercept) < 0.1
    assert values["rows"] == len(LABEL)
    assert abs(float(values["quality"]["auc"]) - auc) < 0.005
    foretold = Regression().cost(spec, {spec.inputs[i].party: tables[i].num_rows for i in range(3)})
    assert foretold.bytes_sent > 0 and foretold.rounds > 100


def test_two_owners_and_a_third_that_only_computes(run_workload) -> None:
    spec, tables = by_rows(parameters_of(), [slice(0, 300), slice(300, None)], receivers=(0,))
    ran = run_workload(Regression(), spec, tables)
    assert ran.outcomes[2].result is None and ran.outcomes[2].commitment == ""
    assert abs(float(ran.outcomes[0].result["quality"]["auc"]) - expected_model()[2]) < 0.005


def by_columns(mode="intersection", **changes):
    """The first owner has two features of most people, the second three and the label, in another order."""
    left, right = np.arange(0, 540), np.random.default_rng(1).permutation(np.arange(20, 569))
    if mode == "order":
        left, right = np.arange(569), np.arange(569)
    features = [feature(ACCOUNTS[int(i >= 2)], name, CANCER[:, i]) for i, name in enumerate(NAMES)]
    keys = [{"party": ACCOUNTS[number], "columns": ["id"]} for number in (0, 1)]
    join = {"mode": mode, "keys": keys, "types": ["int64"], "fold": False, "duplicates": "reject"}
    parameters = parameters_of(
        split={"by": "columns", "join": join}, features=features, target=feature(ACCOUNTS[1], "y"), **changes
    )
    tables = {
        0: table_of({"id": (left.tolist(), "int64", 0), **{n: cells(CANCER[left, i]) for i, n in enumerate(NAMES[:2])}}),
        1: table_of(
            {
                "id": (right.tolist(), "int64", 0),
                **{n: cells(CANCER[right, i + 2]) for i, n in enumerate(NAMES[2:])},
                "y": (LABEL[right].tolist(), "int64", 0),
            }
        ),
    }
    columns = {0: ["id", *NAMES[:2]], 1: ["id", *NAMES[2:], "y"]}
    return make_spec("regression", parameters, columns, [2], (0, 1, 2)), tables


def test_a_model_over_columns_is_that_of_the_joint_rows(run_workload) -> None:
    spec, tables = by_columns()
    values = run_workload(Regression(), spec, tables).outcomes[2].result
    joint = np.arange(20, 540)
    scaled = ((CANCER - CANCER.mean(0)) / CANCER.std(0))[joint]
    model = LogisticRegression(C=1 / (RIDGE * len(joint)), tol=1e-8, max_iter=1000).fit(scaled, LABEL[joint])
    found = np.array([float(each["scaled"]) for each in values["coefficients"]])
    assert np.abs(found - model.coef_[0]).max() < 0.01
    assert values["rows"] == len(joint)
    assert [each["party"] for each in values["coefficients"]] == [ACCOUNTS[0]] * 2 + [ACCOUNTS[1]] * 3


def test_tables_in_one_order(run_workload) -> None:
    spec, tables = by_columns("order")
    values = run_workload(Regression(), spec, tables).outcomes[2].result
    assert abs(float(values["quality"]["auc"]) - expected_model()[2]) < 0.005


def test_a_linear_model_in_the_units_of_the_data(run_workload) -> None:
    rows, target = load_diabetes(return_X_y=True)
    rows = np.round(rows[:, :3], 4)
    columns = {f"x{i}": cells(rows[:, i]) for i in range(3)} | {"y": cells(target, 0)}
    features = [feature(None, f"x{i}", rows[:, i]) for i in range(3)]
    parameters = parameters_of(family="linear", features=features, target=feature(None, "y", target))
    whole = table_of(columns)
    spec = make_spec("regression", parameters, {0: list(columns), 1: list(columns)}, [1], (0, 1, 2))
    values = run_workload(Regression(), spec, {0: whole.slice(0, 200), 1: whole.slice(200)}).outcomes[1].result
    scaled, answer = (rows - rows.mean(0)) / rows.std(0), (target - target.mean()) / target.std()
    model = Ridge(alpha=RIDGE * len(rows)).fit(scaled, answer)
    slopes = model.coef_ * target.std() / rows.std(0)
    found = np.array([float(each["value"]) for each in values["coefficients"]])
    assert np.abs((found - slopes) / slopes).max() < 0.01
    error = ((answer - model.predict(scaled)) ** 2).mean() * target.var()
    assert abs(float(values["quality"]["mean_squared_error"]) / error - 1) < 0.01


def test_too_few_rows_are_refused_at_every_party(run_workload) -> None:
    spec, tables = by_rows(parameters_of(minimum_group=200), [slice(0, 150), slice(150, None)], receivers=(0,))
    for outcome in run_workload(Regression(), spec, tables).outcomes.values():
        assert isinstance(outcome, OutputRefused) and outcome.party == ACCOUNTS[0]
    spec, tables = by_rows(parameters_of(), [slice(0, 14), slice(14, 28)], receivers=(0,))
    for outcome in run_workload(Regression(), spec, tables).outcomes.values():
        assert isinstance(outcome, OutputRefused) and "6 coefficients" in str(outcome)


def test_bad_cells_name_the_column(run_workload) -> None:
    spec, tables = by_rows(parameters_of(), [slice(0, 300), slice(300, None)], receivers=(0,))
    empty = tables[0].set_column(0, tables[0].schema.field(0), [[None, *tables[0].column(0).to_pylist()[1:]]])
    outcome = run_workload(Regression(), spec, {0: empty, 1: tables[1]}).outcomes[0]
    assert isinstance(outcome, InvalidData) and "'x0' has empty cells" in str(outcome)


BROKEN = [
    ("family", "cox"), ("split", {"by": "rows", "join": {}}), ("split", {"by": "columns", "join": None}),
    ("split", {"by": "cells", "join": None}),
    ("features", []), ("features", [feature(None, "a")] * 2), ("features", [feature(None, "y")]), ("features", [{"column": "a"}]),
    ("features", [feature(None, "a") | {"scale": "0"}]), ("features", [feature(None, "a") | {"center": "1e3"}]),
    ("target", feature(None, "t") | {"center": "1"}), ("method", {"name": "newton"}),
    ("method", {"name": "newton", "iterations": 0}),
    ("method", {"name": "guess"}), ("method", None), ("method", {"name": "descent", "epochs": 1, "batch": 8, "rate": "1"}),
    ("method", {"name": "descent", "epochs": 1, "batch": 64, "rate": "0"}), ("ridge", "-1"), ("ridge", 0.1), ("evaluate", 1),
    ("protocol", "clear"), ("protocol", "none"), ("fraction", 11), ("fraction", 25), ("minimum_group", 1),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BROKEN)
def test_each_rule_of_the_parameters_broken_once(key, value) -> None:
    with pytest.raises(InvalidTask) as caught:
        Parameters.parse(parameters_of(**{key: value}))
    assert f"parameters.{key}" in caught.value.message
    assert caught.value.remedy


def test_the_spec_and_the_parameters_agree() -> None:
    workload = Regression()
    good, _ = by_rows(parameters_of(), [slice(0, 300), slice(300, None)])
    workload.check(good)
    columns = [*NAMES, "y"]
    for spec, words in [
        (make_spec("regression", parameters_of(), {0: columns}, [1], (0, 1, 2)), "two or more owners"),
        (make_spec("regression", parameters_of(), {0: columns, 1: columns}, [1], (0, 1)), "computing parties"),
        (make_spec("regression", parameters_of(), {0: columns, 1: NAMES}, [1], (0, 1, 2)), "columns"),
        (
            make_spec("regression", parameters_of(target=feature(ACCOUNTS[0], "y")), {0: columns, 1: columns}, [1], (0, 1, 2)),
            "names no party",
        ),
    ]:
        with pytest.raises(InvalidTask, match=words):
            workload.check(spec)


def test_the_statement_says_what_is_shown() -> None:
    spec, _ = by_columns()
    promised = Regression().security(spec)
    assert promised.parties == 3 and promised.corruptions == 1
    assert "coefficients" in promised.learns["receiver"]
    assert "which of its rows" in promised.learns["owner"]
