"""The workload `column-statistics` on the German credit data, against NumPy, SciPy and scikit-learn on the joint table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick_node.workloads.plans.column_parameters import Parameters
from tallystick_node.workloads.plans.column_statistics import ColumnStatistics
from unit.workloads.conftest import ACCOUNTS, COMPUTING, Watched, frame_table, join_of, make_spec, table_of

A, B = ACCOUNTS[:2]
AMOUNT, DURATION, AGE, BAD = "credit_amount", "duration_in_month", "age_in_years", "bad"
HOUSING, PURPOSE = "housing", "telephone"
SCALES = {AMOUNT: ("3000", "3000"), DURATION: ("20", "12"), AGE: ("35", "11")}
NUMERIC = list(SCALES)


def column(party, name):
    return {"party": party, "column": name, "center": SCALES[name][0], "scale": SCALES[name][1]}


def category(party, name, frame):
    return {"party": party, "column": name, "values": sorted(frame[name].unique())}


def group_test(test, place, group=0):
    return {"test": test, "column": place, "group": group}


def chi(*, table):
    return {"test": "chi-square", "first": 0, "second": 1, "table": table}


def parameters_of(frame, owners=(A, B), **changes):
    """The first owner knows the loan and what became of it, the second the person."""
    bank, registry = owners
    return {
        "split": join_of((0, 1)),
        "columns": [column(bank, AMOUNT), column(bank, DURATION), column(registry, AGE)],
        "groups": [{"party": bank, "column": BAD}],
        "categories": [category(bank, PURPOSE, frame), category(registry, HOUSING, frame)],
        "compute": ["mean", "variance", "std", "correlation"],
        "ddof": 1,
        "quantiles": ["0.25", "0.5", "0.9"],
        "tests": [
            *(group_test(test, place) for test in ("welch", "pooled", "auc", "ks") for place in (0, 2)),
            chi(table=False),
            chi(table=True),
        ],
        "protocol": "replicated",
        "fraction": 20,
        "minimum_group": 10,
        **changes,
    }


BANK, REGISTRY = [AMOUNT, DURATION, BAD, PURPOSE], [AGE, HOUSING]


def by_columns(frame, mode="order", receivers=(2,), **changes):
    parameters = parameters_of(frame, **{"split": join_of((0, 1), mode), **changes})
    used = {(each["party"], each["column"]) for name in ("columns", "groups", "categories") for each in parameters[name]}
    columns = {number: ["id", *sorted(name for party, name in used if party == ACCOUNTS[number])] for number in (0, 1)}
    spec = make_spec("column-statistics", parameters, columns, list(receivers), COMPUTING[parameters["protocol"]])
    return spec, {number: frame_table(frame, columns[number]) for number in (0, 1)}


def by_rows(frame, parts, receivers=(2,), **changes):
    parameters = parameters_of(frame, owners=(None, None), split={"by": "rows", "join": None}, **changes)
    used = [each["column"] for name in ("columns", "groups", "categories") for each in parameters[name]]
    spec = make_spec(
        "column-statistics", parameters, dict.fromkeys(range(len(parts)), used), list(receivers), COMPUTING[parameters["protocol"]]
    )
    return spec, {number: frame_table(frame.iloc[part], used) for number, part in enumerate(parts)}


def check(values, frame) -> None:
    """Every number against the joint table in the clear."""
    assert values["rows"] == len(frame)
    for found, name in zip(values["columns"], [AMOUNT, DURATION, AGE], strict=True):
        unit = float(SCALES[name][1])
        assert found["column"] == name
        assert float(found["mean"]) == pytest.approx(frame[name].mean(), abs=1e-5 * unit)
        assert float(found["variance"]) == pytest.approx(frame[name].var(), rel=1e-4)
        assert float(found["std"]) == pytest.approx(frame[name].std(), rel=1e-4)
        for each in found["quantiles"]:
            assert float(each["value"]) == pytest.approx(np.quantile(frame[name], float(each["q"])), abs=1e-5 * unit)
    found = np.array(values["correlation"], float)
    assert np.abs(found - np.corrcoef(frame[NUMERIC].to_numpy().T)).max() < 1e-4
    (sizes,) = values["groups"]
    assert (sizes["ones"], sizes["zeros"]) == (frame[BAD].sum(), (1 - frame[BAD]).sum())
    names = [AMOUNT, DURATION, AGE]
    for found in values["tests"]:
        if found["test"] == "chi-square":
            counts = pd.crosstab(frame[PURPOSE], frame[HOUSING])
            expected = stats.chi2_contingency(counts, correction=False)
            assert float(found["statistic"]) == pytest.approx(expected.statistic, rel=1e-3)
            assert found["degrees_of_freedom"] == expected.dof
            assert float(found["p_value"]) == pytest.approx(expected.pvalue, rel=1e-2)
            if "table" in found:
                assert found["table"] == counts.to_numpy().tolist()
                assert found["rows_in_hidden_cells"] == 0
            continue
        name = names[found["column"]]
        ones, zeros = frame[name][frame[BAD] == 1], frame[name][frame[BAD] == 0]
        if found["test"] == "auc":
            assert float(found["statistic"]) == pytest.approx(roc_auc_score(frame[BAD], frame[name]), abs=1e-12)
        elif found["test"] == "ks":
            assert float(found["statistic"]) == pytest.approx(stats.ks_2samp(ones, zeros).statistic, abs=1e-12)
        else:
            expected = stats.ttest_ind(ones, zeros, equal_var=found["test"] == "pooled")
            assert float(found["statistic"]) == pytest.approx(expected.statistic, rel=1e-3)
            assert float(found["degrees_of_freedom"]) == pytest.approx(expected.df, rel=1e-3)
            assert float(found["p_value"]) == pytest.approx(expected.pvalue, rel=1e-2)


def test_columns_of_two_owners(run_workload, credit) -> None:
    spec, tables = by_columns(credit)
    ran = run_workload(ColumnStatistics(), spec, tables)
    assert {number: outcome.result is None for number, outcome in ran.outcomes.items()} == {0: True, 1: True, 2: False}
    check(ran.outcomes[2].result, credit)


def test_the_cost_is_foretold(run_workload, credit) -> None:
    tests = [group_test("welch", 0), group_test("auc", 2), chi(table=True), chi(table=False)]
    spec, tables = by_columns(credit, quantiles=[], tests=tests)  # without sorting, which costs what chance makes it
    foretold = ColumnStatistics().cost(spec, {A: 1000, B: 1000})
    assert foretold.bytes_sent == pytest.approx(run_workload(ColumnStatistics(), spec, tables).most_sent(), rel=0.05)


def test_rows_of_two_owners(run_workload, credit) -> None:
    spec, tables = by_rows(credit, [slice(0, 430), slice(430, None)], receivers=(0, 2))
    ran = run_workload(ColumnStatistics(), spec, tables)
    check(ran.outcomes[2].result, credit)
    assert ran.outcomes[0].result == ran.outcomes[2].result


def test_people_whom_both_have(run_workload, credit) -> None:
    spec, tables = by_columns(credit, "intersection", compute=["mean"], quantiles=[], tests=[group_test("auc", 2)])
    tables[0], tables[1] = tables[0].slice(0, 300), tables[1].slice(100).take(np.arange(800)[::-1])
    values = run_workload(ColumnStatistics(), spec, tables).outcomes[2].result
    joint = credit.iloc[100:300]
    assert values["rows"] == 200
    assert float(values["columns"][2]["mean"]) == pytest.approx(joint[AGE].mean(), abs=1e-4)
    assert float(values["tests"][0]["statistic"]) == pytest.approx(roc_auc_score(joint[BAD], joint[AGE]), abs=1e-12)


@pytest.mark.parametrize("protocol", COMPUTING)
def test_every_protocol(run_workload, credit, protocol) -> None:
    few = credit.iloc[:60]
    tests = [group_test("welch", 0), group_test("auc", 2), group_test("ks", 2), chi(table=False)]
    changes = {"protocol": protocol, "minimum_group": 2, "compute": ["mean"], "quantiles": ["0.5"], "tests": tests}
    spec, tables = by_columns(few, **changes)
    values = run_workload(ColumnStatistics(), spec, tables).outcomes[2].result
    assert float(values["columns"][2]["quantiles"][0]["value"]) == pytest.approx(few[AGE].median(), abs=1e-3)
    assert float(values["tests"][1]["statistic"]) == pytest.approx(roc_auc_score(few[BAD], few[AGE]), abs=1e-12)
    assert float(values["tests"][0]["statistic"]) == pytest.approx(
        stats.ttest_ind(few[AMOUNT][few[BAD] == 1], few[AMOUNT][few[BAD] == 0], equal_var=False).statistic, rel=1e-3
    )


def test_a_group_that_is_too_small_shows_nothing(run_workload, credit) -> None:
    few = pd.concat([credit[credit[BAD] == 0].iloc[:200], credit[credit[BAD] == 1].iloc[:9]]).assign(still=1)
    tests = [group_test(test, 0) for test in ("welch", "pooled", "auc", "ks")]
    spec, tables = by_columns(few, compute=["mean"], quantiles=[], tests=tests)
    watched = Watched(ColumnStatistics())
    values = run_workload(watched, spec, tables).outcomes[2].result
    assert not any(np.any(shown) for name, shown in watched.seen.items() if name != "means")
    assert values["groups"][0]["ones"] is None and values["groups"][0]["zeros"] is None
    assert all(each["statistic"] is None for each in values["tests"])


def test_a_column_that_does_not_vary_has_no_t(run_workload, credit) -> None:
    still = credit.iloc[:200].assign(**{AGE: 35})
    spec, tables = by_columns(still, compute=[], quantiles=[], tests=[group_test("welch", 2), group_test("pooled", 2)])
    watched = Watched(ColumnStatistics())
    for found in run_workload(watched, spec, tables).outcomes[2].result["tests"]:
        assert found["statistic"] is None and found["p_value"] is None
    assert not watched.seen["welch t"].any() and not watched.seen["pooled t"].any()


def test_cells_below_the_minimum_are_hidden(run_workload, credit) -> None:
    counts = pd.crosstab(credit[PURPOSE], credit[HOUSING]).to_numpy()
    least = int(np.sort(counts.ravel())[0]) + 1  # hides the smallest cell, and so one more in its row and column
    spec, tables = by_columns(credit, compute=[], quantiles=[], tests=[chi(table=True), chi(table=False)], minimum_group=least)
    shown, hidden = run_workload(ColumnStatistics(), spec, tables).outcomes[2].result["tests"]
    cells = np.array(shown["table"], object)
    assert shown["statistic"] is None and hidden["statistic"] is not None
    assert (cells == None).sum() >= 3  # noqa: E711 - element by element
    assert all(cell is None or cell == count for cell, count in zip(cells.ravel(), counts.ravel(), strict=True))
    for axis in (0, 1):
        rest = np.where(cells == None, counts, 0).sum(axis)  # noqa: E711
        assert all(each == 0 or each >= least for each in rest)
    assert shown["rows_in_hidden_cells"] == np.where(cells == None, counts, 0).sum()  # noqa: E711


def test_a_category_that_is_too_small_ends_the_test(run_workload, credit) -> None:
    least = int(credit[HOUSING].value_counts().min()) + 1
    spec, tables = by_columns(credit, compute=[], quantiles=[], tests=[chi(table=False)], minimum_group=least)
    (found,) = run_workload(ColumnStatistics(), spec, tables).outcomes[2].result["tests"]
    assert found["statistic"] is None and found["degrees_of_freedom"] is None


def test_a_category_that_does_not_occur_counts_for_nothing(run_workload, credit) -> None:
    categories = [category(A, PURPOSE, credit), category(B, HOUSING, credit)]
    categories[1]["values"].append("none of these")
    spec, tables = by_columns(credit, compute=[], quantiles=[], tests=[chi(table=False)], categories=categories)
    (found,) = run_workload(ColumnStatistics(), spec, tables).outcomes[2].result["tests"]
    expected = stats.chi2_contingency(pd.crosstab(credit[PURPOSE], credit[HOUSING]), correction=False)
    assert float(found["statistic"]) == pytest.approx(expected.statistic, rel=1e-3)
    assert found["degrees_of_freedom"] == expected.dof


def test_what_is_refused(run_workload, credit) -> None:
    few = credit.iloc[:60]
    spec, tables = by_columns(few, quantiles=["0.9"], tests=[])
    for outcome in run_workload(ColumnStatistics(), spec, tables).outcomes.values():
        assert isinstance(outcome, OutputRefused) and "quantile 0.9" in str(outcome)
    spec, tables = by_columns(few, quantiles=["0.8"], tests=[])  # at place 47.2: 48 below, 12 above
    assert run_workload(ColumnStatistics(), spec, tables).outcomes[2].result["rows"] == 60
    spec, tables = by_columns(few, minimum_group=61, quantiles=[])
    assert all(isinstance(each, OutputRefused) for each in run_workload(ColumnStatistics(), spec, tables).outcomes.values())


@pytest.mark.parametrize(
    ("name", "cells", "words"),
    [
        (BAD, ([0, 1, 2] * 20, "int64", 0), "not of 0 and 1"),
        (AMOUNT, ([None, *range(59)], "int64", 0), "empty cells"),
        (PURPOSE, (["of no category"] * 60, "string", 0), "none of the task's"),
        (PURPOSE, ([None] * 60, "string", 0), "empty cells"),
        (PURPOSE, ([5] * 60, "int64", 0), "values of its type"),
    ],
)
def test_bad_cells_name_the_column(run_workload, credit, name, cells, words) -> None:
    spec, tables = by_rows(credit, [slice(0, 60), slice(60, 120)])
    place = tables[0].schema.get_field_index(name)
    bad = table_of({name: cells})
    tables[0] = tables[0].set_column(place, bad.schema.field(0), bad.column(0))
    outcome = run_workload(ColumnStatistics(), spec, tables).outcomes[0]
    assert isinstance(outcome, InvalidData)
    assert words in str(outcome) and name in str(outcome)


BROKEN = [
    ("split", {"by": "cells", "join": None}), ("columns", [column(A, AMOUNT)] * 2), ("columns", []), ("columns", [{"party": A}]),
    ("groups", [{"party": A, "column": BAD}] * 2), ("groups", [{"party": "x", "column": BAD}]),
    ("categories", [{"party": A, "column": PURPOSE, "values": ["one"]}] * 2),
    ("compute", ["median"]), ("compute", ["mean", "mean"]),
    ("ddof", 2), ("quantiles", ["1.5"]), ("quantiles", ["-0.1"]), ("quantiles", [0.5]), ("tests", [{"test": "anova"}]),
    ("tests", [group_test("welch", 3)]), ("tests", [group_test("auc", 0, 1)]), ("tests", [group_test("auc", 0)] * 2),
    ("tests", [chi(table=1)]), ("tests", [chi(table=True) | {"second": 0}]), ("tests", [chi(table=True) | {"second": 2}]),
    ("protocol", "clear"), ("fraction", 11), ("fraction", 25), ("minimum_group", 1),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BROKEN)
def test_each_rule_of_the_parameters_broken_once(credit, key, value) -> None:
    Parameters.parse(parameters_of(credit))
    with pytest.raises(InvalidTask) as caught:
        Parameters.parse(parameters_of(credit, **{key: value}))
    assert f"parameters.{key}" in caught.value.message
    assert caught.value.remedy


def test_something_is_asked_for(credit) -> None:
    with pytest.raises(InvalidTask, match="nothing is asked for"):
        Parameters.parse(parameters_of(credit, compute=[], quantiles=[], tests=[]))


def test_the_statement_says_what_is_shown(credit) -> None:
    spec, _ = by_columns(credit, minimum_group=2)
    promised = ColumnStatistics().security(spec)
    for shown in ("means", "correlations", "welch t", "chi-square 0", "table 1", "sizes"):
        assert shown in promised.learns["receiver"]
    assert "which of its rows" in promised.learns["owner"]


def test_a_plan_does_not_grow_with_the_rows(credit) -> None:
    for spec, _ in (by_columns(credit), by_rows(credit, [slice(0, 500), slice(500, None)])):
        sizes = [len(ColumnStatistics().plan(spec, {A: rows, B: rows}).to_bytes()) for rows in (1000, 500_000)]
        assert sizes[1] < sizes[0] + 2000
