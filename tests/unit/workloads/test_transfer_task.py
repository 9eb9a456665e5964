"""`transfer` on the breast cancer data: a clinic has labels and some measurements, another other ones of few of its patients."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick_node.engines.fl.transfer.objective import Destination, Settings, Source, solve
from tallystick_node.engines.fl.transfer.representation import represent
from tallystick_node.workloads.keys import KeyRules, distinct
from tallystick_node.workloads.vertical.transfer import Transfer
from unit.workloads.conftest import ACCOUNTS, frame_table, join_of, make_spec

CLINIC, OTHER = [f"c{number}" for number in range(20, 26)], [f"c{number}" for number in range(8)]
COMMON = 14


@pytest.fixture(scope="module")
def patients():
    """Measurements in thousandths of a standard deviation: whole numbers."""
    columns, targets = load_breast_cancer(return_X_y=True)
    columns = np.rint(1000 * (columns - columns.mean(axis=0)) / columns.std(axis=0)).astype(int)
    frame = pd.DataFrame(columns, columns=[f"c{number}" for number in range(30)])
    return frame.assign(id=np.arange(len(frame)), ill=np.where(targets == 0, "yes", "no"))


def asked(**changes):
    features = [
        {"party": ACCOUNTS[number], "column": name, "center": "0", "scale": "1000"}
        for number, names in ((0, CLINIC), (1, OTHER))
        for name in names
    ]
    return {
        "split": join_of((0, 1)), "features": features, "target": {"party": ACCOUNTS[0], "column": "ill", "values": ["no", "yes"]},
        "width": 3, "alignment": "0.5", "penalty": "3", "protocol": "replicated", "fraction": 20, "minimum_group": 10, **changes,
    }  # fmt: skip


def spec_of(parameters, receivers=(1,), compute=(0, 1, 2), names=OTHER):
    columns = {0: ["id", *CLINIC, "ill"], 1: ["id", *names]}
    return make_spec("transfer", parameters, columns, list(receivers), compute)


def tables(frame, common=COMMON):
    return {
        0: frame_table(frame.iloc[:300], ["id", *CLINIC, "ill"]),
        1: frame_table(frame.iloc[300 - common :].sample(frac=1, random_state=1), ["id", *OTHER]),
    }


def test_the_model_is_that_of_both_tables_in_one_place(run_workload, patients) -> None:
    spec = spec_of(asked())
    ran = run_workload(Transfer(), spec, tables(patients))
    assert not any(isinstance(each, Exception) for each in ran.outcomes.values()), ran.outcomes
    clinic, other = ran.outcomes[0], ran.outcomes[1]
    assert clinic.result is None and other.result["rows"] == COMMON and ran.outcomes[2].result is None
    weights = np.array([each["value"] for each in other.result["weights"]], float)
    assert [each["column"] for each in other.result["weights"]] == OTHER

    own, joint = patients.iloc[:300], patients.iloc[300 - COMMON : 300]
    items, rows = distinct(KeyRules(("int64",), False, "reject"), frame_table(joint, ["id"]))
    keys = [bytes(each) for each in items]
    order = rows[sorted(range(len(keys)), key=lambda item: hashlib.sha256(keys[item]).digest())]
    wanted, labels = Settings(3, 0.5, 3.0), np.where(own["ill"] == "yes", 1.0, -1.0)
    source = Source.of(represent(own[CLINIC].to_numpy() / 1000, labels, 3), labels, 300 - COMMON + order, wanted)
    destination = Destination.of(joint.iloc[order][OTHER].to_numpy() / 1000)
    np.testing.assert_allclose(weights, destination.weights(solve(source, destination, 3.0)), atol=1e-4)

    rest = patients.iloc[300:]
    told = np.where(rest[OTHER].to_numpy() @ weights > 0, "yes", "no")
    assert np.mean(told == rest["ill"]) > 0.8


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"split": {"by": "rows", "join": None}}, "must be columns"),
        ({"width": 0}, "width"),
        ({"width": 7}, "fewer columns"),
        ({"alignment": "0"}, "alignment"),
        ({"penalty": "0"}, "penalty"),
        ({"fraction": 30}, "fraction"),
        ({"protocol": "magic"}, "protocol"),
        ({"minimum_group": 1}, "minimum_group"),
        ({"target": {"party": ACCOUNTS[0], "column": "ill", "values": ["no", "yes", "?"]}}, "two values"),
        ({"target": {"party": ACCOUNTS[0], "column": "c20", "values": ["1", "2"]}}, "twice, or the target"),
        ({"more": 1}, "may not have"),
    ],
)
def test_what_a_task_may_not_say(changes, rule) -> None:
    with pytest.raises(InvalidTask, match=rule):
        Transfer().check(spec_of(asked(**changes)))


def test_who_takes_part_and_receives() -> None:
    for receivers in ((0,), (0, 1), (2,)):
        with pytest.raises(InvalidTask, match="destination's alone"):
            Transfer().check(spec_of(asked(), receivers))
    with pytest.raises(InvalidTask, match="computing parties"):
        Transfer().check(spec_of(asked(), compute=(0, 1)))
    three = asked(split=join_of((0, 1, 2), "order"))
    with pytest.raises(InvalidTask, match="two owners"):
        Transfer().check(make_spec("transfer", three, {0: ["id", *CLINIC, "ill"], 1: ["id", *OTHER], 2: ["id"]}, [1], (0, 1, 2)))
    lone = asked()
    lone["features"] = [each for each in lone["features"] if each["party"] == ACCOUNTS[1]]
    spec = make_spec("transfer", lone, {0: ["id", "ill"], 1: ["id", *OTHER]}, [1], (0, 1, 2))
    with pytest.raises(InvalidTask, match="no features"):
        Transfer().check(spec)
    with pytest.raises(InvalidTask, match="columns are not those"):
        Transfer().check(replace(spec_of(asked()), inputs=(spec.inputs[0], spec_of(asked()).inputs[1])))


def test_rows_that_a_task_does_not_allow_end_it(run_workload, patients) -> None:
    few = run_workload(Transfer(), spec_of(asked(minimum_group=20)), tables(patients))
    assert isinstance(few.outcomes[0], OutputRefused) and isinstance(few.outcomes[1], OutputRefused)
    same = run_workload(Transfer(), spec_of(asked()), tables(patients.assign(ill="no")))
    assert isinstance(same.outcomes[0], InvalidData) and "both classes" in str(same.outcomes[0])


def test_the_statement_warns_of_few_rows() -> None:
    promised = Transfer().security(spec_of(asked()))
    assert "as good as shown" in promised.learns["receiver"] and "other owners have too" in promised.learns["owner"]
