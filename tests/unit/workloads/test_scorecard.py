"""The workload `scorecard` on the German credit data: the bank knows account and outcome, another party the person."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick_node.workloads.plans.scorecard import Binned, Parameters, Scorecard
from unit.workloads.conftest import ACCOUNTS, make_spec, table_of

RIDGE = 0.01
BANK = {
    "status_of_existing_checking_account": None,
    "duration_in_month": ["12", "24", "36"],
    "credit_amount": ["1500", "3000", "6000"],
}
REGISTRY = {"age_in_years": ["25", "35", "50"], "housing": None}


def feature(party, name, edges, frame):
    values = [] if edges else sorted(frame[name].unique())
    return {"party": party, "column": name, "edges": edges or [], "values": values, "missing": False}


def parameters_of(credit, **changes):
    features = [feature(ACCOUNTS[0], name, edges, credit) for name, edges in BANK.items()]
    features += [feature(ACCOUNTS[1], name, edges, credit) for name, edges in REGISTRY.items()]
    keys = [{"party": ACCOUNTS[number], "columns": ["id"]} for number in (0, 1)]
    return {
        "split": {
            "by": "columns",
            "join": {"mode": "intersection", "keys": keys, "types": ["int64"], "fold": False, "duplicates": "reject"},
        },
        "features": features,
        "target": {"party": ACCOUNTS[0], "column": "bad"},
        "iterations": 6,
        "ridge": str(RIDGE),
        "points": {"base": 600, "odds": 50, "double": 20},
        "protocol": "replicated",
        "minimum_group": 10,
        **changes,
    }


def table(frame, names):
    kinds = {name: "string" if frame[name].dtype.kind in "OTU" else "int64" for name in names}
    return table_of({name: (frame[name].tolist(), kind, 0) for name, kind in kinds.items()})


def split(credit, parameters, receivers=(2,)):
    """Both know 950 people, 900 of them in common; the registry's rows stand in another order."""
    columns = {0: ["id", *BANK, "bad"], 1: ["id", *REGISTRY]}
    first, second = credit.iloc[:950], credit.iloc[50:].sample(frac=1, random_state=1)
    spec = make_spec("scorecard", parameters, columns, list(receivers), (0, 1, 2))
    return spec, {0: table(first, columns[0]), 1: table(second, columns[1])}


def straight(frame, parameters):
    """Indicators, weights of evidence, information values and AUC in the clear."""
    bad = frame["bad"].to_numpy()
    encoded, weights, values = [], [], []
    for each in parameters["features"]:
        cells = frame[each["column"]]
        edges = [float(edge) for edge in each["edges"]]
        places = np.searchsorted(edges, cells, side="left") if edges else cells.map(each["values"].index).to_numpy()
        bins = np.eye(len(edges) + 1 if edges else len(each["values"]))[places]
        bads, goods = bins.T @ bad, bins.T @ (1 - bad)
        weight = np.log((bads + 0.5) / (bad.sum() + 0.5)) - np.log((goods + 0.5) / ((1 - bad).sum() + 0.5))
        weights.append(weight)
        values.append(((bads / bad.sum() - goods / (1 - bad).sum()) * weight).sum())
        encoded.append(bins @ weight)
    rows = np.column_stack(encoded)
    model = LogisticRegression(C=1 / (RIDGE * len(bad)), tol=1e-8, max_iter=1000).fit(rows, bad)
    return weights, values, model, roc_auc_score(bad, model.decision_function(rows))


@pytest.mark.parametrize("protocol", ["replicated", "replicated-malicious"])
def test_the_card_is_that_of_the_joint_rows(run_workload, credit, protocol) -> None:
    parameters = parameters_of(credit, protocol=protocol)
    spec, tables = split(credit, parameters)
    outcome = run_workload(Scorecard(), spec, tables).outcomes[2]
    assert not isinstance(outcome, Exception), outcome
    joint = credit.iloc[50:950]
    weights, values, model, auc = straight(joint, parameters)
    card = outcome.result
    assert (card["rows"], card["bad"]) == (900, int(joint["bad"].sum()))
    assert abs(float(card["auc"]) - auc) < 0.005  # scores of few bins tie; ties are broken by place here
    factor = 20 / np.log(2)
    for number, each in enumerate(card["features"]):
        assert abs(float(each["information_value"]) - values[number]) < 1e-3
        assert abs(float(each["coefficient"]) - model.coef_[0][number]) < 0.01
        found = np.array([float(one["weight"]) for one in each["bins"]])
        assert np.abs(found - weights[number]).max() < 1e-4
        slope = np.diff([float(one["points"]) for one in each["bins"]]) / np.diff(weights[number])
        assert np.abs(slope + factor * model.coef_[0][number]).max() < 0.5
    worst = sum(min(float(one["points"]) for one in each["bins"]) for each in card["features"])
    best = sum(max(float(one["points"]) for one in each["bins"]) for each in card["features"])
    assert worst < 600 - 20 * np.log2(50) < best  # even odds lie among the scores


def test_a_bin_of_few_is_refused_by_its_owner(run_workload, credit) -> None:
    parameters = parameters_of(credit)
    parameters["features"][1]["edges"] = ["1", "24"]
    spec, tables = split(credit, parameters)
    outcome = run_workload(Scorecard(), spec, tables).outcomes[0]
    assert isinstance(outcome, OutputRefused) and "duration_in_month" in str(outcome)


def test_cells_and_bins() -> None:
    numeric = Binned("", "n", ("1", "2.5"), (), missing=True)
    cells = table_of({"n": ([10, 11, 25, 26, None], "decimal", 1)})
    assert numeric.labels == ["up to 1", "1 to 2.5", "above 2.5", "missing"]
    assert numeric.indicators(cells).argmax(axis=1).tolist() == [0, 1, 1, 2, 3]
    text = Binned("", "t", (), ("x", "y"), missing=False)
    assert text.indicators(table_of({"t": (["y", "x", "y"], "string", 0)})).tolist() == [[0, 1], [1, 0], [0, 1]]
    for bad, words in [(["y", None], "empty cells"), (["y", "z"], "none of the task's")]:
        with pytest.raises(InvalidData, match=words):
            text.indicators(table_of({"t": (bad, "string", 0)}))
    with pytest.raises(InvalidData, match="holds no text"):
        text.indicators(table_of({"t": ([1, 2], "int64", 0)}))


def test_the_target_is_zero_or_one(run_workload, credit) -> None:
    spec, tables = split(credit.assign(bad=credit["bad"] * 2), parameters_of(credit))
    outcome = run_workload(Scorecard(), spec, tables).outcomes[0]
    assert isinstance(outcome, InvalidData) and "'bad'" in str(outcome)


GOOD = {"party": None, "column": "a", "edges": ["1"], "values": [], "missing": False}
BROKEN = [
    ("features", []), ("features", [GOOD, GOOD]), ("features", [GOOD | {"column": "t"}]),
    ("features", [GOOD | {"edges": ["2", "1"]}]),
    ("features", [GOOD | {"edges": []}]), ("features", [GOOD | {"values": ["x"]}]), ("features", [GOOD | {"missing": 1}]),
    ("features", [GOOD | {"edges": [], "values": ["missing"]}]), ("target", {"column": "t"}), ("iterations", 0), ("ridge", "-1"),
    ("points", {"base": 600, "odds": 0, "double": 20}), ("points", {}), ("protocol", "clear"), ("minimum_group", 1),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BROKEN)
def test_each_rule_of_the_parameters_broken_once(key, value) -> None:
    good = {
        "split": {"by": "rows", "join": None},
        "features": [GOOD],
        "target": {"party": None, "column": "t"},
        "iterations": 6,
        "ridge": "0.1",
        "points": {"base": 600, "odds": 50, "double": 20},
        "protocol": "replicated",
        "minimum_group": 10,
    }
    Parameters.parse(good)
    with pytest.raises(InvalidTask) as caught:
        Parameters.parse(good | {key: value})
    assert f"parameters.{key}" in caught.value.message
