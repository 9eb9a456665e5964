"""The protocol `additive-dealer:<account>`: the workloads take it, and nobody deals who has another part in the task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from eth_utils.address import to_checksum_address
from tallystick.protocol.errors import InvalidTask
from tallystick_node.engines.mpc import array as sa
from tallystick_node.workloads.base import Outcome
from tallystick_node.workloads.plans.aggregation import Aggregation
from tallystick_node.workloads.plans.column_statistics import ColumnStatistics
from tallystick_node.workloads.plans.computation import Computation
from tallystick_node.workloads.plans.ranking import Ranking
from tallystick_node.workloads.plans.regression import Regression
from unit.workloads.conftest import ACCOUNTS, make_spec, table_of

A, B, C, D = ACCOUNTS[:4]
ROWS = 40
DRAW = np.random.default_rng(12)
X, Y = DRAW.integers(-300, 300, (2, ROWS)), DRAW.integers(0, 2, (2, ROWS))
TABLES = {number: table_of({"x": (X[number].tolist(), "decimal", 2), "y": (Y[number].tolist(), "int64", 0)}) for number in (0, 1)}
PLAN = sa.plan_of(
    lambda a, b: sa.reveal((a * b).sum(), to=[D], name="product"),
    {"a": sa.declare(A, ROWS, "x"), "b": sa.declare(B, ROWS, "x")},
    [D],
)
ROWS_SPLIT = {"by": "rows", "join": None}
FEATURE = {"party": None, "column": "x", "center": "0", "scale": "1"}
DEALT = f"additive-dealer:{C}"
COMPUTATION = {"plan": PLAN.to_json(), "protocol": DEALT, "minimum_group": 10}


def spec_of(parameters=None, compute=(0, 1, 2), receivers=(3,), columns=None):
    columns = columns or {0: ["x"], 1: ["x"]}
    return make_spec("computation", parameters or COMPUTATION, columns, list(receivers), tuple(compute))


@pytest.mark.parametrize("compute", [(0, 1, 2), (0, 2, 3), (0, 1, 2, 3)])
def test_a_computation_with_a_dealer(run_workload, compute) -> None:
    spec = spec_of(compute=compute)
    ran = run_workload(Computation(), spec, TABLES)
    for outcome in ran.outcomes.values():
        assert isinstance(outcome, Outcome), outcome
    (output,) = ran.outcomes[3].result["outputs"]
    assert float(output["numbers"][0]) == pytest.approx((X[0] * X[1]).sum() / 10_000, abs=1e-2)
    assert ran.outcomes[2].result is None and ran.outcomes[2].commitment == ""
    cost = Computation().cost(spec, {A: ROWS, B: ROWS})
    assert cost.bytes_sent == ran.most_sent()
    assert set(ran.received[2]) == {"deal"} and set(ran.sent[2]) == {"deal"}


def test_a_regression_with_a_dealer(run_workload) -> None:
    parameters = {
        "family": "linear", "split": ROWS_SPLIT, "features": [FEATURE], "target": {**FEATURE, "column": "y"},
        "method": {"name": "newton", "iterations": 1}, "ridge": "0.01", "evaluate": False,
        "protocol": DEALT, "fraction": 18, "minimum_group": 10,
    }  # fmt: skip
    spec = make_spec("regression", parameters, {0: ["x", "y"], 1: ["x", "y"]}, [3], (0, 1, 2))
    ran = run_workload(Regression(), spec, TABLES)
    for outcome in ran.outcomes.values():
        assert isinstance(outcome, Outcome), outcome
    (slope,) = (float(each["value"]) for each in ran.outcomes[3].result["coefficients"])
    expected = np.polyfit(X.ravel() / 100, Y.ravel(), 1)[0]
    assert slope == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"compute": (0, 1, 3)}, "not among the task's computing parties"),
        ({"compute": (0, 2)}, "2 to 8 computing parties, not 1"),
        ({"receivers": (2, 3)}, "owns or receives"),
        ({"receivers": (2,)}, "owns or receives"),
        ({"parameters": {**COMPUTATION, "protocol": f"additive-dealer:{B}"}}, "owns or receives"),
        ({"parameters": {**COMPUTATION, "protocol": "additive-dealer"}}, "<account of the dealer>"),
        ({"parameters": {**COMPUTATION, "protocol": "additive-dealer:"}}, "not an address"),
        ({"parameters": {**COMPUTATION, "protocol": f"additive-dealer:{C.lower()}"}}, "not an address"),
        ({"parameters": {**COMPUTATION, "protocol": f"two-party:{C}"}}, "must be one of"),
        ({"parameters": {**COMPUTATION, "protocol": "additive-dealt"}}, "must be one of"),
        ({"parameters": {**COMPUTATION, "protocol": 1}}, "protocol"),
    ],
)
def test_who_may_deal(changes, rule) -> None:
    Computation().check(spec_of())
    with pytest.raises(InvalidTask, match=rule):
        Computation().check(spec_of(**changes))


def test_up_to_eight_compute() -> None:
    more = [to_checksum_address(f"0x{number:040x}") for number in range(100, 107)]
    for count, allowed in ((6, True), (7, False)):
        spec = replace(spec_of(), compute=(A, B, C, *more[:count]))
        if allowed:
            Computation().check(spec)
        else:
            with pytest.raises(InvalidTask, match="2 to 8 computing parties, not 9"):
                Computation().check(spec)


def test_the_statement_names_the_dealer() -> None:
    stated = Computation().security(spec_of(compute=(0, 1, 2, 3)))
    assert stated.trusted == (f"dealer {C}",)
    assert (stated.adversary, stated.corruptions, stated.parties) == ("semi-honest", 2, 3)
    assert "if it colludes with a computing party" in stated.learns["dealer"]


@pytest.mark.parametrize("workload", [Aggregation(), ColumnStatistics(), Ranking(), Regression()])
def test_every_planned_workload_chooses_by_the_same_rules(workload, monkeypatch) -> None:
    monkeypatch.setattr(type(workload), "protocol", lambda _self, _spec: DEALT)
    workload.check_protocol(spec_of())
    with pytest.raises(InvalidTask, match="not among"):
        workload.check_protocol(spec_of(compute=(0, 1)))
