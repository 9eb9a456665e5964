"""The workload `computation`: only the plan runs, on the columns that it names, for the receivers that it names."""

from __future__ import annotations

import copy
import hashlib
import json

import numpy as np
import pyarrow as pa
import pytest
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData, InvalidTask, Refused
from tallystick.protocol.grant import GrantTerms, Salts
from tallystick_node.engines.mpc import array as sa
from tallystick_node.engines.mpc.plan import pieces
from tallystick_node.engines.mpc.plan.document import Plan
from tallystick_node.workloads.base import Outcome
from tallystick_node.workloads.plans.computation import Computation, Parameters
from unit.workloads.conftest import ACCOUNTS, ID, make_spec, table_of

WORKLOAD = Computation()
A, B, C, D = ACCOUNTS[:4]
ROWS = 20
DRAW = np.random.default_rng(8)
MASS = [int(each) for each in DRAW.integers(4000, 12000, ROWS)]  # hundredths
AGE = [int(each) for each in DRAW.integers(18, 90, ROWS)]
SICK = [bool(each) for each in DRAW.integers(0, 2, ROWS)]
TABLES = {0: table_of({"mass": (MASS, "decimal", 2), "age": (AGE, "int64", 0)}), 1: table_of({"sick": (SICK, "bool", 0)})}


def program(body, age, sick):
    heavy = body[:, 0] / 10 > 7
    sa.reveal(sa.where(sick, body[:, 0], 0).sum() / sick.sum(), to=[D], name="mean mass of the sick")
    sa.reveal((heavy & sick).sum(), to=[D], name="heavy and sick")
    sa.reveal(sa.stack([age.max(), age.min()]), to=[B, D], name="ages")


PLAN = sa.plan_of(
    program,
    {
        "body": sa.declare(A, ROWS, ["mass", "age"]),
        "age": sa.declare(A, ROWS, "age", "integer"),
        "sick": sa.declare(B, ROWS, "sick", "bit"),
    },
    [D],
)


def parameters(plan: Plan = PLAN, **changes) -> dict:
    return {"plan": plan.to_json(), "protocol": "replicated", "minimum_group": 10, **changes}


def spec_of(given: dict | None = None, columns=None, receivers=(1, 3), compute=(0, 1, 2)):
    return make_spec(
        "computation", given or parameters(), columns or {0: ["mass", "age"], 1: ["sick"]}, list(receivers), tuple(compute)
    )


def numbers(outcome: Outcome, name: str) -> list[str]:
    (found,) = [each for each in outcome.result["outputs"] if each["name"] == name]
    return found["numbers"]


@pytest.mark.parametrize("protocol", ["replicated", "replicated-malicious"])
@pytest.mark.parametrize("compute", [(0, 1, 2), (1, 2, 3)])
def test_receivers_get_the_plans_results_and_others_nothing(run_workload, protocol, compute) -> None:
    ran = run_workload(WORKLOAD, spec_of(parameters(protocol=protocol), compute=compute), TABLES)
    for outcome in ran.outcomes.values():
        assert isinstance(outcome, Outcome), outcome
    assert ran.outcomes[0].result is None and ran.outcomes[2].result is None
    result = ran.outcomes[3].result
    assert result["plan"] == canonical.text(PLAN.digest())
    sick = np.array(SICK)
    (mean,) = numbers(ran.outcomes[3], "mean mass of the sick")
    assert float(mean) == pytest.approx(np.array(MASS)[sick].mean() / 100, rel=1e-3)
    assert numbers(ran.outcomes[3], "heavy and sick") == [str(int((sick & (np.array(MASS) > 7000)).sum()))]
    assert numbers(ran.outcomes[3], "ages") == numbers(ran.outcomes[1], "ages") == [str(max(AGE)), str(min(AGE))]
    assert [each["name"] for each in ran.outcomes[1].result["outputs"]] == ["ages"]
    canonical.encode(result)  # it can be written


def test_columns_are_read_and_results_are_shown_in_pieces(monkeypatch, run_workload) -> None:
    monkeypatch.setattr(pieces, "PIECE", 6)
    plan = sa.plan_of(lambda body: sa.reveal(body * 2, to=[D], name="all"), {"body": sa.declare(A, ROWS, ["mass", "age"])}, [D])
    for compute in ((0, 1, 2), (1, 2, 3)):
        ran = run_workload(WORKLOAD, spec_of(parameters(plan), {0: ["mass", "age"]}, [3], compute), TABLES)
        found = np.array(numbers(ran.outcomes[3], "all"), float).reshape(ROWS, 2)
        assert np.abs(found - 2 * np.column_stack([np.array(MASS) / 100, AGE])).max() < 1e-4


def test_commitments_hide_the_rows_and_bind_them(run_workload, tmp_path) -> None:
    first, second = (run_workload(WORKLOAD, spec_of(), TABLES).outcomes[1] for _ in range(2))
    assert first.commitment != second.commitment and first.commitment.startswith("sha256:")
    salt = bytes.fromhex(json.loads((tmp_path / "1" / "opening.json").read_text())["salt"])
    cells = np.array(SICK, "<i8").tobytes()
    expected = hashlib.sha256(salt + hashlib.sha256(b"sick").digest() + hashlib.sha256(cells).digest())
    assert second.commitment == canonical.text(expected.digest())
    assert list(first.all_commitments) == [""] * 4


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"compute": (0, 1)}, "3 to 3"),
        ({"compute": ()}, "3 to 3"),
        ({"receivers": [3]}, "receivers"),
        ({"receivers": [0, 1, 3]}, "receivers"),
        ({"columns": {0: ["mass", "age"]}}, "owners"),
        ({"columns": {0: ["mass"], 1: ["sick"]}}, "columns"),
        ({"columns": {0: ["mass", "age", "more"], 1: ["sick"]}}, "columns"),
        ({"given": parameters(minimum_group=21)}, "fewer than"),
        ({"given": parameters(minimum_group=1)}, "minimum_group"),
        ({"given": parameters(protocol="clear")}, "protocol"),
        ({"given": parameters(protocol="none")}, "protocol"),
        ({"given": parameters(code="import os")}, "code"),
        ({"given": {"protocol": "replicated", "minimum_group": 10}}, "plan"),
        ({"given": parameters() | {"plan": {**PLAN.to_json(), "steps": [{"op": "eval", "in": [0]}]}}}, "no operation"),
        ({"given": parameters() | {"plan": "plan"}}, "object"),
    ],
)
def test_a_spec_that_is_not_the_plans_is_refused(changes, rule) -> None:
    with pytest.raises(InvalidTask, match=rule):
        WORKLOAD.check(spec_of(**changes))


def test_a_plan_that_no_node_could_bear_is_refused_before_it_is_rehearsed(monkeypatch) -> None:
    def huge(x):
        for number in range(300):
            x = x * (x + number)
        sa.reveal(sa.softmax(sa.broadcast_to(x, (1 << 20, 120))).sum(), to=[D])

    def many(x):
        wide = [sa.broadcast_to(x[0], (1 << 20,)) * number for number in (1, 2)]
        sa.reveal(sa.stack([sa.exp(wide[0] + wide[1]) for _ in range(120)]).sum(), to=[D])
        for number in range(150):
            sa.reveal(sa.power(wide[0], number + 1).sum(), to=[D], name=str(number))

    monkeypatch.setattr("tallystick_node.workloads.plans.computation.explain", lambda *_: pytest.fail("rehearsed"))
    for program in (huge, many):
        plan = sa.plan_of(program, {"x": sa.declare(A, 120, "age")}, [D])
        with pytest.raises(InvalidTask, match="too large"):
            WORKLOAD.check(spec_of(parameters(plan), {0: ["age"]}, [3]))


def test_a_step_that_needs_more_memory_than_there_is_is_refused() -> None:
    rows = 50_000_000
    sort = sa.plan_of(lambda x: sa.reveal(sa.sort(x)[0], to=[D]), {"x": sa.declare(A, rows, "age")}, [D])
    with pytest.raises(InvalidTask, match="sort needs 5.6 GB in memory at once, of 4.295 GB"):
        WORKLOAD.check(spec_of(parameters(sort), {0: ["age"]}, [3]))
    total = sa.plan_of(lambda x: sa.reveal((x * x).sum(), to=[D]), {"x": sa.declare(A, rows, "age")}, [D])
    WORKLOAD.check(spec_of(parameters(total), {0: ["age"]}, [3]))


def test_inputs_without_columns_or_of_different_rows_are_refused() -> None:
    def identity(x, y):
        sa.reveal(x.sum() + y.sum(), to=[D])

    bare = sa.plan_of(identity, {"x": sa.declare(A, ROWS), "y": sa.declare(B, ROWS, "sick")}, [D])
    with pytest.raises(InvalidTask, match="no columns"):
        WORKLOAD.check(spec_of(parameters(bare), {0: ["mass"], 1: ["sick"]}, [3]))
    uneven = sa.plan_of(identity, {"x": sa.declare(A, ROWS, "mass"), "y": sa.declare(A, 15, "age")}, [D])
    with pytest.raises(InvalidTask, match="different numbers of rows"):
        WORKLOAD.check(spec_of(parameters(uneven), {0: ["mass", "age"]}, [3]))


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ({"sick": (SICK[1:], "bool", 0)}, "19 rows"),
        ({"sick": ([None, *SICK[1:]], "bool", 0)}, "empty cells"),
        ({"sick": (["yes"] * ROWS, "string", 0)}, "no numbers"),
        ({"sick": ([2] * ROWS, "int64", 0)}, "does not fit bit"),
        ({"sick": ([0] * ROWS, "decimal", 2)}, "digits after the point"),
    ],
)
def test_data_that_is_not_what_the_plan_says_is_named_without_values(run_workload, table, rule) -> None:
    ran = run_workload(WORKLOAD, spec_of(), {**TABLES, 1: table_of(table)})
    assert isinstance(ran.outcomes[1], InvalidData)
    assert rule in ran.outcomes[1].message


def test_dates_and_whole_numbers_can_be_fixed_point(run_workload) -> None:
    def program(x):
        sa.reveal(x.max(0), to=[D], name="greatest")

    plan = sa.plan_of(program, {"x": sa.declare(A, ROWS, ["day", "age"])}, [D])
    table = table_of({"day": ([1000 + each for each in range(ROWS)], "date", 0), "age": (AGE, "int64", 0)})
    ran = run_workload(WORKLOAD, spec_of(parameters(plan), {0: ["day", "age"]}, [3], (0, 1, 2)), {0: table, 1: None})
    assert numbers(ran.outcomes[3], "greatest") == ["1019", str(max(AGE))]


def test_a_result_out_of_range_is_refused_and_not_shown(run_workload) -> None:
    def program(x):
        sa.reveal(x * (1 << 40), to=[D], name="big")

    plan = sa.plan_of(program, {"x": sa.declare(A, ROWS, "mass")}, [D])
    table = table_of({"mass": ([18] * ROWS, "int64", 0)})
    ran = run_workload(WORKLOAD, spec_of(parameters(plan), {0: ["mass"]}, [3], (0, 1, 2)), {0: table})
    assert isinstance(ran.outcomes[3], InvalidData) and "left the range" in ran.outcomes[3].message


def test_the_security_statement_is_the_protocols_with_the_plans_words() -> None:
    statement = WORKLOAD.security(spec_of())
    assert (statement.adversary, statement.corruptions, statement.parties) == ("semi-honest", 1, 3)
    assert f"{D} learns heavy and sick, 1 number" in statement.learns["receiver"]
    assert f"{A} learns no result." in statement.learns["receiver"]
    assert WORKLOAD.security(spec_of(parameters(protocol="replicated-malicious"))).adversary == "malicious-with-abort"


@pytest.mark.parametrize("compute", [(0, 1, 2), (1, 2, 3)])
def test_the_cost_is_what_the_busiest_party_sends(run_workload, compute) -> None:
    spec = spec_of(compute=compute)
    foretold = WORKLOAD.cost(spec, {})
    assert run_workload(WORKLOAD, spec, TABLES).most_sent() == foretold.bytes_sent
    assert foretold.seconds > 1 and foretold.memory_bytes > 0


def terms(*algorithms: str) -> GrantTerms:
    salts = Salts(*("0x" + "22" * 32 for _ in range(4)))
    return GrantTerms.parse(GrantTerms(ID, A, "test", algorithms, ("age", "mass"), ACCOUNTS, salts).to_bytes())


def test_a_grant_for_the_workload_allows_any_plan_and_one_for_a_plan_that_plan_alone() -> None:
    spec = spec_of()
    name = f"computation:{canonical.text(PLAN.digest())}"
    other = sa.plan_of(lambda body: sa.reveal(body.sum(), to=[D]), {"body": sa.declare(A, ROWS, ["mass", "age"])}, [D])
    others = spec_of(parameters(other), {0: ["mass", "age"]}, [3])
    assert spec.algorithms == ("computation", name)

    def permits(granted, spec) -> bool:
        part = copy.copy(spec.inputs[0])
        object.__setattr__(part, "terms", canonical.hex32(granted.root()))
        try:
            granted.permits(spec, part)
        except Refused as error:
            assert error.rule == "grant.algorithm"
            return False
        return True

    assert permits(terms("computation"), spec) and permits(terms("computation"), others)
    assert permits(terms(name), spec) and not permits(terms(name), others)
    assert permits(terms("statistics", name), spec)
    assert not permits(terms("statistics"), spec)


def test_parameters_are_the_plans_bytes_and_no_others() -> None:
    assert Parameters.parse(parameters()).plan == PLAN
    assert canonical.encode(parameters()["plan"]) == PLAN.to_bytes()
    with pytest.raises(InvalidTask):
        Parameters.parse(parameters() | {"minimum_group": True})


def test_a_table_of_the_wrong_party_changes_nothing(run_workload) -> None:
    ran = run_workload(WORKLOAD, spec_of(), {**TABLES, 1: pa.table({"sick": pa.array(SICK)})})
    assert isinstance(ran.outcomes[3], Outcome)
