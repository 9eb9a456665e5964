"""One small task of each kind that derives its plan: spec, grants, run, evidence, verification; numbers against the plaintext."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from integration.mpc.conftest import ROWS, Five, patients
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tallystick.client import GrantFile
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.dataset import Column
from tallystick.protocol.task import TaskSpec
from tallystick.protocol.verify import verify_bundle
from tallystick_node.engines.mpc.models.network import Dense, Network
from tallystick_node.workloads.plans.architecture import Architecture

pytestmark = pytest.mark.slow

RADIUS, TEXTURE, SYMMETRY, MALIGNANT = "mean radius", "mean texture", "mean symmetry", "malignant"
TERMS: dict[str, Any] = {"protocol": "replicated", "minimum_group": 10}


def joint() -> pd.DataFrame:
    """The people whom both owners know."""
    return patients().iloc[np.intersect1d(*ROWS.values())]


def split(five: Five) -> dict[str, Any]:
    keys = [{"party": owner.account, "columns": ["id"]} for owner in (five.alder, five.birch)]
    return {
        "by": "columns",
        "join": {"mode": "intersection", "keys": keys, "types": ["int64"], "fold": False, "duplicates": "reject"},
    }


def feature(party: str | None, column: str, center: str, scale: str) -> dict[str, Any]:
    return {"party": party, "column": column, "center": center, "scale": scale}


def asked(five: Five, workload: str, parameters: Mapping[str, Any], first: Sequence[str], second: Sequence[str]) -> Any:
    """A task on the owners' patients, besides the key of the join."""
    columns = {five.alder.account: ["id", *first], five.birch.account: ["id", *second]}
    return five.draft(workload, {**TERMS, **parameters}, (five.alder, five.birch, five.elm), [five.elm], columns)


def proved(five: Five, asked: tuple[TaskSpec, dict[str, GrantFile]], folder: Path) -> dict[str, Any]:
    """The values of Elm's result, whose bundle verifies completely."""
    spec, grants = asked
    task = five.elm.submit(spec, grants.values())
    assert five.elm.wait(task, 300) == "Proved"
    paths = five.patiently(lambda: five.elm.result(task, folder / "result"))
    content = next(path for path in paths if path.name == "result.json").read_bytes()
    bundle = Bundle.read(five.patiently(lambda: five.elm.bundle(task, five.alder.account, folder / "bundle")))
    contracts = five.network.deployment.contracts
    verify_bundle(bundle, trusted_blocks=[five.anchor(task)], contracts=contracts, result_file=content).require(complete=True)
    values: dict[str, Any] = json.loads(content)["values"]
    return values


def test_column_statistics(five: Five, tmp_path: Path) -> None:
    alder, birch = five.alder.account, five.birch.account
    parameters = {
        "split": split(five),
        "columns": [feature(alder, RADIUS, "14", "4"), feature(birch, SYMMETRY, "0.18", "0.03")],
        "groups": [{"party": birch, "column": MALIGNANT}],
        "categories": [],
        "compute": ["mean", "std", "correlation"],
        "ddof": 1,
        "quantiles": ["0.5"],
        "tests": [{"test": test, "column": 0, "group": 0} for test in ("welch", "auc")],
        "fraction": 20,
    }
    values = proved(five, asked(five, "column-statistics", parameters, [RADIUS], [SYMMETRY, MALIGNANT]), tmp_path)
    frame = joint()
    assert values["rows"] == len(frame)
    for found, name, unit in zip(values["columns"], (RADIUS, SYMMETRY), (4, 0.03), strict=True):
        assert float(found["mean"]) == pytest.approx(frame[name].mean(), abs=1e-5 * unit)
        assert float(found["std"]) == pytest.approx(frame[name].std(), rel=1e-4)
        assert float(found["quantiles"][0]["value"]) == pytest.approx(frame[name].median(), abs=1e-5 * unit)
    assert np.abs(np.array(values["correlation"], float) - frame[[RADIUS, SYMMETRY]].corr()).to_numpy().max() < 1e-4
    welch, auc = (float(each["statistic"]) for each in values["tests"])
    sick = frame[MALIGNANT] == 1
    expected = stats.ttest_ind(frame[RADIUS][sick], frame[RADIUS][~sick], equal_var=False)
    assert welch == pytest.approx(expected.statistic, rel=1e-3)
    assert auc == pytest.approx(roc_auc_score(sick, frame[RADIUS]), abs=1e-12)


def test_aggregation(five: Five, tmp_path: Path) -> None:
    alder, birch = five.alder.account, five.birch.account
    parameters = {
        "split": split(five),
        "by": {"kind": "secret", "key": {"party": birch, "column": MALIGNANT}, "limit": 5},
        "values": [feature(alder, RADIUS, "14", "4")],
        "fraction": 18,
    }
    values = proved(five, asked(five, "aggregation", parameters, [RADIUS], [MALIGNANT]), tmp_path)
    expected = joint().groupby(MALIGNANT)[RADIUS].agg(["count", "sum", "mean"])
    assert [each["key"] for each in values["groups"]] == [["0"], ["1"]]
    assert [each["count"] for each in values["groups"]] == expected["count"].tolist()
    for what, error in (("sum", 0.1), ("mean", 1e-4)):
        found = np.array([float(each["values"][0][what]) for each in values["groups"]])
        assert np.abs(found - expected[what]).max() < error


def test_ranking(five: Five, tmp_path: Path) -> None:
    alder, birch = five.alder.account, five.birch.account
    parameters = {
        "split": split(five),
        "id": {"party": birch, "column": "id"},
        "score": [
            {"party": alder, "column": RADIUS, "weight": "1"},
            {"party": birch, "column": SYMMETRY, "weight": "-25"},
        ],
        "order": "highest",
        "k": 10,
        "scores": True,
        "fraction": 20,
    }
    values = proved(five, asked(five, "ranking", parameters, [RADIUS], [SYMMETRY]), tmp_path)
    frame = joint()
    best = (frame[RADIUS] - 25 * frame[SYMMETRY]).sort_values(ascending=False)
    assert np.diff(best.iloc[:11]).max() < -1e-4  # no two so near one another that rounding could turn them
    assert [int(each["id"]) for each in values["best"]] == frame["id"][best.index[:10]].tolist()
    assert np.abs(np.array([float(each["score"]) for each in values["best"]]) - best.iloc[:10]).max() < 1e-4


def test_scorecard(five: Five, tmp_path: Path) -> None:
    edges = {RADIUS: ["12", "14", "16"], SYMMETRY: ["0.16", "0.18", "0.2"]}
    owners = {RADIUS: five.alder.account, SYMMETRY: five.birch.account}
    parameters = {
        "split": split(five),
        "features": [
            {"party": owners[name], "column": name, "edges": edges[name], "values": [], "missing": False} for name in edges
        ],
        "target": {"party": five.birch.account, "column": MALIGNANT},
        "iterations": 6,
        "ridge": "0.01",
        "points": {"base": 600, "odds": 50, "double": 20},
    }
    card = proved(five, asked(five, "scorecard", parameters, [RADIUS], [SYMMETRY, MALIGNANT]), tmp_path)
    frame = joint()
    bad, encoded = frame[MALIGNANT].to_numpy(), []
    assert (card["rows"], card["bad"]) == (len(frame), bad.sum())
    for found, name in zip(card["features"], edges, strict=True):
        bins = np.eye(4)[np.searchsorted(np.array(edges[name], float), frame[name])]
        weights = np.log((bins.T @ bad + 0.5) / (bad.sum() + 0.5)) - np.log((bins.T @ (1 - bad) + 0.5) / ((1 - bad).sum() + 0.5))
        assert np.abs(np.array([float(each["weight"]) for each in found["bins"]]) - weights).max() < 1e-4
        encoded.append(bins @ weights)
    model = LogisticRegression(C=1 / (0.01 * len(frame)), tol=1e-8, max_iter=1000).fit(np.column_stack(encoded), bad)
    assert np.abs(np.array([float(each["coefficient"]) for each in card["features"]]) - model.coef_[0]).max() < 0.01


def test_prediction(five: Five, tmp_path: Path) -> None:
    """Birch's model judges Alder's patients."""
    frame = patients()
    rows = (frame[[RADIUS, TEXTURE]].to_numpy() - [14, 19]) / [4, 4]
    model = LogisticRegression().fit(rows, frame[MALIGNANT])
    weights = [*model.coef_[0], model.intercept_[0]]
    (five.homes[1].data / "weights.csv").write_text("weight\n" + "".join(f"{each:.9f}\n" for each in weights))
    published = five.birch.publish("model", "weights.csv", [Column("weight", "decimal", 9)])[0]
    parameters = {
        **TERMS,
        "model": {"party": five.birch.account, "architecture": Architecture(Network((2,), (Dense(1),), "sigmoid")).to_json()},
        "split": {"by": "rows", "join": None},
        "features": [feature(None, RADIUS, "14", "4"), feature(None, TEXTURE, "19", "4")],
        "output": "probability",
        "fraction": 18,
    }
    columns = {five.alder.account: [RADIUS, TEXTURE], five.birch.account: ["weight"]}
    datasets = {**five.datasets, five.birch.account: published}
    compute = (five.alder, five.birch, five.elm)
    values = proved(five, five.draft("prediction", parameters, compute, [five.elm], columns, datasets=datasets), tmp_path)
    expected = model.predict_proba(rows[ROWS["alder"]])[:, 1]
    assert values["rows"] == len(expected)
    assert np.abs(np.array(values["predictions"], float) - expected).max() < 2e-3
