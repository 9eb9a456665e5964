"""The workload `aggregation` on the German credit data, against pandas on the joint table."""

from __future__ import annotations

import numpy as np
import pytest
from tallystick.protocol.errors import InvalidData, InvalidTask
from tallystick_node.workloads.plans.aggregation import Aggregation, Parameters
from unit.workloads.conftest import ACCOUNTS, COMPUTING, Watched, frame_table, join_of, make_spec, table_of

A, B = ACCOUNTS[:2]
AMOUNT, AGE, HOUSING, JOB = "credit_amount", "age_in_years", "housing", "telephone"


def feature(party, name):
    return {
        "party": party,
        "column": name,
        "center": "3000" if name == AMOUNT else "35",
        "scale": "1000" if name == AMOUNT else "10",
    }


def public(frame, *keys):
    return {"kind": "public", "keys": [{"party": p, "column": c, "values": sorted(frame[c].unique())} for p, c in keys]}


def secret(party, name, limit=60):
    return {"kind": "secret", "key": {"party": party, "column": name}, "limit": limit}


def parameters_of(frame, **changes):
    return {
        "split": join_of((0, 1), "order"),
        "by": public(frame, (B, HOUSING)),
        "values": [feature(A, AMOUNT)],
        "protocol": "replicated",
        "fraction": 18,
        "minimum_group": 10,
        **changes,
    }


def task(frame, first, second, receivers=(2,), **changes):
    """The owners' columns, besides the key of the join."""
    columns = {0: ["id", *first], 1: ["id", *second]}
    parameters = parameters_of(frame, **changes)
    spec = make_spec("aggregation", parameters, columns, list(receivers), COMPUTING[parameters["protocol"]])
    return spec, {number: frame_table(frame, columns[number]) for number in (0, 1)}


def check(groups, expected, scale=1000) -> None:
    assert [each["count"] for each in groups] == expected["count"].tolist()
    for what in ("sum", "mean"):
        found = np.array([float(each["values"][0][what]) for each in groups])
        assert np.abs(found - expected[what]).max() < 2**-18 * scale * (1000 if what == "sum" else 1)


def test_values_of_one_owner_by_categories_of_the_other(run_workload, credit) -> None:
    spec, tables = task(credit, [AMOUNT], [HOUSING], receivers=(0, 2))
    ran = run_workload(Aggregation(), spec, tables)
    values = ran.outcomes[2].result
    expected = credit.groupby(HOUSING)[AMOUNT].agg(["count", "sum", "mean"])
    assert [each["key"] for each in values["groups"]] == [[key] for key in expected.index]
    check(values["groups"], expected)
    assert values["rows"] == 1000 and values["rows_in_other_groups"] == 0
    assert ran.outcomes[0].result == values and ran.outcomes[1].result is None
    assert Aggregation().cost(spec, {A: 1000, B: 1000}).bytes_sent == pytest.approx(ran.most_sent(), rel=0.05)


def test_categories_of_both_owners(run_workload, credit) -> None:
    by = public(credit, (A, JOB), (B, HOUSING))
    spec, tables = task(credit, [AMOUNT, JOB], [HOUSING], by=by, minimum_group=2)
    values = run_workload(Aggregation(), spec, tables).outcomes[2].result
    expected = credit.groupby([JOB, HOUSING])[AMOUNT].agg(["count", "sum", "mean"])
    assert [tuple(each["key"]) for each in values["groups"]] == expected.index.tolist()
    check(values["groups"], expected)


def test_a_small_category_is_hidden_and_the_next_with_it(run_workload, credit) -> None:
    counts = credit[HOUSING].value_counts()
    spec, tables = task(credit, [AMOUNT], [HOUSING], minimum_group=int(counts.min()) + 1)
    values = run_workload(Aggregation(), spec, tables).outcomes[2].result
    assert [each["key"] for each in values["groups"]] == [[counts.index[0]]]  # alone, the smallest would be the rest of 1000
    assert values["rows_in_other_groups"] == counts.iloc[1:].sum()


def test_groups_of_a_secret_key(run_workload, credit) -> None:
    spec, tables = task(credit, [AMOUNT], [AGE], by=secret(B, AGE), minimum_group=20)
    values = run_workload(Aggregation(), spec, tables).outcomes[2].result
    grouped = credit.groupby(AGE)[AMOUNT].agg(["count", "sum", "mean"])
    expected = grouped[grouped["count"] >= 20]
    assert 5 < len(expected) < len(grouped) <= 60
    assert [each["key"] for each in values["groups"]] == [[str(age)] for age in expected.index]
    check(values["groups"], expected)
    assert values["rows_in_other_groups"] == 1000 - expected["count"].sum()


def test_what_is_revealed_of_suppressed_groups_is_zero(run_workload, credit) -> None:
    watched = Watched(Aggregation())
    spec, tables = task(credit, [AMOUNT], [AGE], by=secret(B, AGE), minimum_group=20)
    number = len(run_workload(watched, spec, tables).outcomes[2].result["groups"])
    seen = watched.seen
    assert seen["keys"].shape == seen["counts"].shape == (60,) and seen["sums"].shape == (1, 60)
    for shown in (seen["keys"], seen["counts"], seen["sums"][0]):
        assert (shown[:number] != 0).all() and not shown[number:].any()
    spec, tables = task(credit, [AMOUNT], [HOUSING], minimum_group=int(credit[HOUSING].value_counts().min()) + 1)
    watched = Watched(Aggregation())
    assert len(run_workload(watched, spec, tables).outcomes[2].result["groups"]) == 1
    assert np.count_nonzero(watched.seen["counts"]) == np.count_nonzero(watched.seen["sums"]) == 1


def test_more_groups_than_the_limit(run_workload, credit) -> None:
    spec, tables = task(credit, [AMOUNT], [AGE], by=secret(B, AGE, limit=8), minimum_group=20)
    values = run_workload(Aggregation(), spec, tables).outcomes[2].result
    counts = credit[AGE].value_counts().sort_index().iloc[:8]
    assert [each["key"] for each in values["groups"]] == [[str(age)] for age in counts.index[counts >= 20]]
    assert values["rows_in_other_groups"] == 1000 - counts[counts >= 20].sum()


def test_rows_of_several_owners(run_workload, credit) -> None:
    parts = [slice(0, 300), slice(300, 320), slice(320, None)]
    for by, key in ((public(credit, (None, HOUSING)), HOUSING), (secret(None, AGE), AGE)):
        parameters = parameters_of(
            credit, split={"by": "rows", "join": None}, by=by, values=[feature(None, AMOUNT)], minimum_group=15
        )
        spec = make_spec("aggregation", parameters, {n: [key, AMOUNT] for n in range(3)}, [1], (0, 1, 2))
        tables = {number: frame_table(credit.iloc[part], [key, AMOUNT]) for number, part in enumerate(parts)}
        values = run_workload(Aggregation(), spec, tables).outcomes[1].result
        expected = credit.groupby(key)[AMOUNT].agg(["count", "sum", "mean"])
        check(values["groups"], expected[expected["count"] >= 15])


def test_counts_alone(run_workload, credit) -> None:
    spec, tables = task(credit, [JOB], [AGE], by=public(credit, (A, JOB)), values=[feature(B, AGE)])
    assert run_workload(Aggregation(), spec, tables).outcomes[2].result["rows_in_other_groups"] == 0
    by = public(credit, (A, JOB), (B, HOUSING))
    spec, tables = task(credit, [JOB], [HOUSING], by=by, values=[])
    values = run_workload(Aggregation(), spec, tables).outcomes[2].result
    assert [each["count"] for each in values["groups"]] == credit.groupby([JOB, HOUSING]).size().tolist()
    assert all("values" not in each for each in values["groups"])


@pytest.mark.parametrize("protocol", COMPUTING)
def test_every_protocol(run_workload, credit, protocol) -> None:
    few = credit.iloc[:60]
    for by, key in ((public(few, (B, HOUSING)), HOUSING), (secret(B, AGE, limit=40), AGE)):
        spec, tables = task(few, [AMOUNT], [key], by=by, protocol=protocol, minimum_group=3)
        values = run_workload(Aggregation(), spec, tables).outcomes[2].result
        expected = few.groupby(key)[AMOUNT].agg(["count", "sum", "mean"])
        check(values["groups"], expected[expected["count"] >= 3])


def test_keys_that_are_not_whole_are_refused(run_workload, credit) -> None:
    few = credit.iloc[:60]
    spec, tables = task(few, [AMOUNT], [AGE], by=secret(B, AGE))
    ids = tables[1].column("id").to_pylist()
    for cells, words in (
        (([1] * 60, "decimal", 1), "not of whole numbers"),
        (([None] * 60, "int64", 0), "not of whole numbers"),
        (([-(1 << 43)] * 60, "int64", 0), "2^43 or more"),
    ):
        bad = table_of({"id": (ids, "int64", 0), AGE: cells})
        outcome = run_workload(Aggregation(), spec, {0: tables[0], 1: bad}).outcomes[1]
        assert isinstance(outcome, InvalidData) and words in str(outcome) and AGE in str(outcome)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("split", None),
        ("by", None),
        ("by", {"kind": "sorted"}),
        ("by", {"kind": "public", "keys": []}),
        ("by", {"kind": "public", "keys": [{"party": B, "column": HOUSING, "values": ["own", "rent"]}] * 2}),
        ("by", {"kind": "public", "keys": [{"party": B, "column": c, "values": list(map(str, range(20)))} for c in "abc"]}),
        ("by", secret(B, AGE, limit=0)),
        ("by", secret(B, AGE) | {"values": []}),
        ("values", [{"party": A, "column": AMOUNT}]),
        ("values", [feature(A, AMOUNT)] * 2),
        ("protocol", "clear"),
        ("fraction", 11),
        ("minimum_group", 1),
    ],
)
def test_each_rule_of_the_parameters_broken_once(credit, key, value) -> None:
    Parameters.parse(parameters_of(credit))
    with pytest.raises(InvalidTask) as caught:
        Parameters.parse(parameters_of(credit, **{key: value}))
    assert f"parameters.{key}" in caught.value.message
    assert caught.value.remedy


def test_the_spec_and_the_parameters_agree(credit) -> None:
    columns = {0: ["id", AMOUNT], 1: ["id", HOUSING]}
    for inputs, compute, words in (
        ({0: ["id", AMOUNT]}, (0, 1, 2), "two or more owners"),
        (columns, (0, 1), "computing parties"),
        (columns | {1: ["id"]}, (0, 1, 2), "columns"),
        (columns | {2: ["id"]}, (0, 1, 2), "owners are not those"),
    ):
        with pytest.raises(InvalidTask, match=words):
            Aggregation().check(make_spec("aggregation", parameters_of(credit), inputs, [2], compute))


def test_the_statement_says_what_is_shown(credit) -> None:
    for by, names in (
        (public(credit, (B, HOUSING)), ("counts", "sums")),
        (secret(B, HOUSING), ("keys, 60 numbers", "counts", "sums")),
    ):
        spec, _ = task(credit, [AMOUNT], [HOUSING], by=by)
        promised = Aggregation().security(spec)
        assert all(name in promised.learns["receiver"] for name in names)
        assert "which of its rows" in promised.learns["owner"]


def test_a_plan_does_not_grow_with_the_rows(credit) -> None:
    for by in (public(credit, (B, HOUSING)), secret(B, HOUSING, limit=10_000)):
        spec, _ = task(credit, [AMOUNT], [HOUSING], by=by)
        sizes = [len(Aggregation().plan(spec, {A: rows, B: rows}).to_bytes()) for rows in (20_000, 2_000_000)]
        assert sizes[1] < sizes[0] + 1000
