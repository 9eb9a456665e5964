"""`statistics` from end to end, against pandas and NumPy on the pooled rows."""

import datetime as dt
import itertools
import operator
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from tallystick.commitments import bn254, pedersen
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick.protocol.proof.sum_verified import point_of
from tallystick_node.engines.mpc.additive import MAX_LENGTH
from tallystick_node.workloads.statistics.parameters import COMPUTE, OPERATORS, Parameters
from tallystick_node.workloads.statistics.part import own_part
from tallystick_node.workloads.statistics.workload import Statistics
from unit.workloads.conftest import ACCOUNTS, make_spec, table_of

TYPES = {"x": ("decimal", 2), "y": ("decimal", 1), "z": ("int64", 0), "kind": ("string", 0), "seen": ("date", 0), "ok": ("bool", 0)}
PYTHON = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
BASE = {
    "columns": [{"name": "x", "scale": 2}, {"name": "y", "scale": 1}, {"name": "z", "scale": 0}],
    "compute": list(COMPUTE),
    "regression": None,
    "histograms": [],
    "where": [],
    "group_by": None,
    "minimum_group": 3,
    "ddof": 1,
}


def people(rng, rows, nulls=True):
    """Random rows in fixed point; about one in ten cells of x and kind is empty."""
    z = rng.integers(-20, 20, rows)
    cells = {
        "x": [int(v) for v in rng.integers(-5000, 5000, rows) + 40 * z],
        "y": [int(v) for v in rng.integers(0, 900, rows)],
        "z": [int(v) for v in z],
        "kind": [["a", "b", "Zoë"][v] for v in rng.integers(0, 3, rows)],
        "seen": [dt.date(2020, 1, 1) + dt.timedelta(days=int(v)) for v in rng.integers(0, 40, rows)],
        "ok": [bool(v) for v in rng.integers(0, 2, rows)],
    }
    if nulls:
        for name in ("x", "kind"):
            cells[name] = [None if rng.random() < 0.1 else v for v in cells[name]]
    return cells


def table(cells):
    return table_of({name: (values, *TYPES[name]) for name, values in cells.items()})


def pooled(parts, read):
    """The rows of all owners in their own units, without those that have an empty cell in a column that is read."""
    frame = pd.concat([pd.DataFrame({name: pd.Series(part[name], dtype=object) for name in read}) for part in parts])
    frame = frame.dropna().reset_index(drop=True)
    for name in read:
        if TYPES[name][0] in ("decimal", "int64"):
            frame[name] = [Decimal(int(value)).scaleb(-TYPES[name][1]) for value in frame[name]]
    return frame


def floats(frame, names):
    return frame[names].astype(float)


def close(text, expected):
    if text is None:
        assert np.isnan(expected)
    else:
        assert float(text) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def same(values, frame, names, ddof):
    """Every statistic of one group equals pandas'."""
    data = floats(frame, names)
    assert values["count"] == len(frame)
    covariance, correlation = data.cov(ddof=ddof), data.corr()
    for i, name in enumerate(names):
        assert Decimal(values["sum"][name]) == sum(frame[name], Decimal(0))
        assert "E" not in values["sum"][name]
        close(values["mean"][name], data[name].mean())
        close(values["variance"][name], data[name].var(ddof=ddof))
        close(values["std"][name], data[name].std(ddof=ddof))
        for j, other in enumerate(names):
            close(values["covariance"][i][j], covariance.loc[name, other])
            close(values["correlation"][i][j], correlation.loc[name, other])


def spec_of(parameters, owners=2, receivers=(0,), extra=()):
    read = list(dict.fromkeys([*(c["name"] for c in parameters["columns"]), *extra]))
    return make_spec("statistics", parameters, dict.fromkeys(range(owners), read), list(receivers))


def parsed(parameters):
    return Parameters.parse(parameters)


@pytest.mark.parametrize("seed", range(8))
def test_random_tables_against_pandas(run_workload, seed):
    rng = np.random.default_rng(seed)
    owners, ddof = 2 + seed % 2, seed // 2 % 2
    parts = [people(rng, int(rng.integers(30, 120))) for _ in range(owners)]
    grouped = seed % 4 < 2
    names = ["x", "y", "z"][: 1 + seed % 3]
    parameters = BASE | {
        "columns": [{"name": name, "scale": TYPES[name][1]} for name in names],
        "ddof": ddof,
        "where": [{"column": "seen", "op": ">", "value": "2020-01-05"}],
        "group_by": {"column": "kind", "values": ["b", "Zoë"]} if grouped else None,
    }
    extra = ["seen", "kind"] if grouped else ["seen"]
    receiver = owners if seed % 2 else 0  # a stranger to the data, or an owner
    spec = spec_of(parameters, owners, [receiver], extra)
    ran = run_workload(Statistics(), spec, {i: table(part) for i, part in enumerate(parts)})
    result = ran.outcomes[receiver].result
    frame = pooled(parts, [*names, *extra])
    frame = frame[frame["seen"] > dt.date(2020, 1, 5)]
    groups = [("b", frame[frame["kind"] == "b"]), ("Zoë", frame[frame["kind"] == "Zoë"])] if grouped else [(None, frame)]
    assert result["ddof"] == ddof
    assert [each.get("group") for each in result["groups"]] == [name for name, _ in groups]
    for values, (_, rows) in zip(result["groups"], groups, strict=True):
        same(values, rows, names, ddof)


FILTERS = {
    "z": ("3", 3),
    "x": ("-12.50", Decimal("-12.5")),
    "kind": ("a", "a"),
    "seen": ("2020-01-20", dt.date(2020, 1, 20)),
    "ok": ("true", True),
}


@pytest.mark.parametrize("column", sorted(FILTERS))
def test_every_filter_operator_on_every_type(column):
    rng = np.random.default_rng(7)
    part = people(rng, 200)
    text, value = FILTERS[column]
    part[column][:3] = [1, 2, 3] if column == "z" else [-1250, -1251, -1249] if column == "x" else part[column][:3]
    for op in OPERATORS:
        parameters = BASE | {"columns": [], "compute": ["count"], "where": [{"column": column, "op": op, "value": text}]}
        workload = Statistics()
        spec = spec_of(parameters, extra=[column])
        workload.check(spec)
        frame = pooled([part], [column])
        expected = sum(PYTHON[op](cell, value) for cell in frame[column])
        read = table(part).select(workload.columns(spec, ACCOUNTS[0]))
        assert own_part(parsed(parameters), read)[1] == [expected], (column, op)
        assert 0 < expected < len(frame) or column == "ok"


def test_text_is_compared_in_nfc():
    read = table({"kind": ["Zoë", "Zoe", "Zoë"]})
    for change in (
        {"where": [{"column": "kind", "op": "==", "value": "Zoe\u0308"}]},
        {"group_by": {"column": "kind", "values": ["Zoe\u0308"]}},
    ):
        parameters = BASE | {"columns": [], "compute": ["count"]} | change
        assert own_part(parsed(parameters), read) == ([2], [2])


def test_filters_are_joined_by_and(run_workload):
    rng = np.random.default_rng(8)
    parts = [people(rng, 150), people(rng, 150)]
    where = [
        {"column": "z", "op": ">=", "value": "-10"}, {"column": "z", "op": "<", "value": "12"},
        {"column": "kind", "op": "!=", "value": "a"}, {"column": "ok", "op": "==", "value": "false"},
    ]  # fmt: skip
    parameters = BASE | {"columns": [{"name": "x", "scale": 2}], "where": where}
    ran = run_workload(Statistics(), spec_of(parameters, extra=["z", "kind", "ok"]), dict(enumerate(map(table, parts))))
    frame = pooled(parts, ["x", "z", "kind", "ok"])
    frame = frame[(frame.z >= -10) & (frame.z < 12) & (frame.kind != "a") & ~frame.ok.astype(bool)]
    same(ran.outcomes[0].result["groups"][0], frame, ["x"], 1)


@pytest.mark.parametrize(
    ("column", "texts", "values"),
    [
        ("ok", ["true", "false"], [True, False]),
        ("seen", ["2020-01-03", "2020-01-09"], [dt.date(2020, 1, 3), dt.date(2020, 1, 9)]),
        ("z", ["-3", "7"], [-3, 7]),
        ("y", ["1.5", "2.0"], [Decimal("1.5"), Decimal("2.0")]),
    ],
)
def test_groups_of_every_type(column, texts, values):
    part = people(np.random.default_rng(9), 300)
    if column == "y":
        part["y"] = [15 if i % 3 else 20 if i % 2 else 25 for i in range(300)]
    parameters = BASE | {"columns": [], "compute": ["count"], "group_by": {"column": column, "values": texts}}
    _, sizes = own_part(parsed(parameters), table(part).select([column]))
    frame = pooled([part], [column])
    assert sizes == [int((frame[column] == value).sum()) for value in values]
    assert min(sizes) > 0


@pytest.mark.parametrize("grouped", [False, True])
def test_histograms_equal_numpy_at_their_edges(run_workload, grouped):
    rng = np.random.default_rng(10)
    parts = [people(rng, 200), people(rng, 200)]
    parts[0]["y"][:8] = [0, 0, 100, 100, 900, 900, 901, 950]  # on the edges 0.0, 10.0 and 90.0, and outside
    parts[0]["kind"][:8] = ["a", "b"] * 4
    edges = {"y": ["0", "10.0", "45.5", "90"], "z": ["-20", "-3", "20"]}
    parameters = BASE | {
        "columns": [{"name": "y", "scale": 1}, {"name": "z", "scale": 0}],
        "compute": ["count"],
        "histograms": [{"column": name, "edges": texts} for name, texts in edges.items()],
        "group_by": {"column": "kind", "values": ["b", "a"]} if grouped else None,
    }
    extra = ["kind"] if grouped else []
    ran = run_workload(Statistics(), spec_of(parameters, extra=extra), dict(enumerate(map(table, parts))))
    frame = pooled(parts, ["y", "z", *extra])
    for values in ran.outcomes[0].result["groups"]:
        rows = frame[frame.kind == values["group"]] if grouped else frame
        for found, (name, texts) in zip(values["histograms"], edges.items(), strict=True):
            expected, _ = np.histogram([float(v) for v in rows[name]], [float(text) for text in texts])
            assert found == {"column": name, "edges": texts, "counts": expected.tolist()}


@pytest.mark.parametrize("regressors", [["y"], ["z", "x"]])
def test_regression_equals_numpys_least_squares(run_workload, regressors):
    rng = np.random.default_rng(11)
    parts = [people(rng, 80, nulls=False), people(rng, 60, nulls=False)]
    target = "y" if "y" not in regressors else "x"
    names = ["x", "y", "z"]
    parameters = BASE | {"compute": [], "regression": {"target": target, "regressors": regressors}}
    ran = run_workload(Statistics(), spec_of(parameters), dict(enumerate(map(table, parts))))
    data = floats(pooled(parts, names), names)
    design = np.column_stack([np.ones(len(data)), *(data[name] for name in regressors)])
    solution, residual, rank, _ = np.linalg.lstsq(design, data[target], rcond=None)
    assert rank == len(regressors) + 1
    fit = ran.outcomes[0].result["groups"][0]["regression"]
    assert fit["target"] == target
    close(fit["intercept"], solution[0])
    for name, slope in zip(regressors, solution[1:], strict=True):
        close(fit["coefficients"][name], slope)
    close(fit["r_squared"], 1 - residual[0] / ((data[target] - data[target].mean()) ** 2).sum())
    close(fit["residual_std"], np.sqrt(residual[0] / (len(data) - rank)))


def test_singular_data_gives_no_number(run_workload):
    cells = {"x": [500, 500], "y": [1, 2], "z": [2, 4]}
    other = {"x": [500], "y": [3], "z": [6]}
    parameters = BASE | {"regression": {"target": "x", "regressors": ["y", "z"]}}
    ran = run_workload(Statistics(), spec_of(parameters), {0: table(cells), 1: table(other)})
    values = ran.outcomes[0].result["groups"][0]
    assert values["variance"]["x"] == "0.0"
    assert values["correlation"][0] == [None, None, None]
    assert values["correlation"][1][2] == "1.0"
    assert set(values["regression"]) == {"undefined"}
    parameters = BASE | {"regression": {"target": "x", "regressors": ["y"]}}
    ran = run_workload(Statistics(), spec_of(parameters), {0: table(cells), 1: table(other)})
    fit = ran.outcomes[0].result["groups"][0]["regression"]
    assert (fit["intercept"], fit["coefficients"], fit["r_squared"], fit["residual_std"]) == ("5.0", {"y": "0.0"}, None, "0.0")


def test_as_many_rows_as_coefficients_leave_no_residual(run_workload):
    parameters = BASE | {"minimum_group": 2, "compute": [], "regression": {"target": "x", "regressors": ["y"]}}
    tables = {0: table({"x": [100], "y": [10], "z": [0]}), 1: table({"x": [300], "y": [20], "z": [1]})}
    fit = run_workload(Statistics(), spec_of(parameters), tables).outcomes[0].result["groups"][0]["regression"]
    assert (fit["intercept"], fit["coefficients"]["y"], fit["r_squared"], fit["residual_std"]) == ("-1.0", "2.0", "1.0", None)


def test_an_owner_without_any_row_that_passes(run_workload):
    rng = np.random.default_rng(12)
    parts = [people(rng, 40, nulls=False), people(rng, 40, nulls=False)]
    parts[1]["z"] = [-99] * 40
    parameters = BASE | {
        "where": [{"column": "z", "op": ">", "value": "-50"}],
        "histograms": [{"column": "y", "edges": ["0", "90"]}],
    }
    ran = run_workload(Statistics(), spec_of(parameters), dict(enumerate(map(table, parts))))
    values = ran.outcomes[0].result["groups"][0]
    same(values, pooled(parts[:1], ["x", "y", "z"]), ["x", "y", "z"], 1)
    assert values["histograms"][0]["counts"] == [sum(0 <= y <= 900 for y in parts[0]["y"])]


def test_small_sums_are_written_out(run_workload):
    """Decimal's own text of 5 * 10^-9 would be 5E-9."""
    parameters = BASE | {"columns": [{"name": "w", "scale": 9}], "compute": ["sum"]}
    tables = {i: table_of({"w": ([0, 5 * i, -1], "decimal", 9)}) for i in range(2)}
    ran = run_workload(Statistics(), spec_of(parameters), tables)
    assert ran.outcomes[0].result["groups"] == [{"sum": {"w": "0.000000003"}}]


def test_the_largest_numbers_stay_exact(run_workload):
    most = 2**62 - 1
    parameters = BASE | {"columns": [{"name": "w", "scale": 2}], "compute": ["sum", "mean"]}
    tables = {i: table_of({"w": ([most] * 500, "decimal", 2)}) for i in range(2)}
    ran = run_workload(Statistics(), spec_of(parameters), tables)
    values = ran.outcomes[0].result["groups"][0]
    assert values["sum"]["w"] == f"{1000 * most // 100}.{1000 * most % 100:02d}"
    assert values["mean"]["w"] == repr(most / 100)


@pytest.mark.parametrize(
    ("change", "extra"),
    [
        ({}, []),
        ({"group_by": {"column": "kind", "values": ["a", "nobody"]}}, ["kind"]),
        ({"histograms": [{"column": "z", "edges": ["-20", "20", "99"]}]}, []),
        ({"where": [{"column": "z", "op": ">", "value": "99"}]}, []),
    ],
)
def test_a_group_that_is_too_small_is_refused_at_every_party(run_workload, change, extra):
    rng = np.random.default_rng(13)
    small = 1 if not change else 30
    parts = [people(rng, small, nulls=False), people(rng, small, nulls=False)]
    ran = run_workload(Statistics(), spec_of(BASE | change, 2, [2], extra), dict(enumerate(map(table, parts))))
    assert [type(each) for each in ran.outcomes.values()] == [OutputRefused] * 3
    assert all("fewer than 3 rows" in str(each) for each in ran.outcomes.values())
    assert not any(phase.startswith("sum") for counter in ran.sent.values() for phase in counter)


@pytest.mark.parametrize("rows", [2, 3, 4])
def test_the_pooled_size_decides_not_the_owners_own(run_workload, rows):
    tables = {0: table({"x": [1], "y": [1], "z": [1]}), 1: table({n: [1] * (rows - 1) for n in "xyz"})}
    outcomes = run_workload(Statistics(), spec_of(BASE | {"compute": ["count"]}), tables).outcomes
    assert isinstance(outcomes[0], OutputRefused) == (rows < 3)
    assert isinstance(outcomes[1], OutputRefused) == (rows < 3)


@pytest.mark.parametrize("receivers", [[0], [2], [3], [0, 3], [0, 1, 2]])
def test_only_receivers_learn_the_totals(run_workload, receivers):
    rng = np.random.default_rng(14)
    parts = [people(rng, 30, nulls=False) for _ in range(3)]
    ran = run_workload(Statistics(), spec_of(BASE, 3, receivers), dict(enumerate(map(table, parts))))
    commitments = ran.outcomes[0].all_commitments
    first = ran.outcomes[receivers[0]]
    for number, outcome in ran.outcomes.items():
        assert outcome.all_commitments == commitments
        assert outcome.commitment == commitments[number]
        assert (outcome.commitment == "") == (number == 3)
        assert outcome.files == {}
        if number in receivers:
            assert outcome.result == first.result
            assert outcome.opening == first.opening
        else:
            assert outcome.result is None
            assert outcome.opening is None
            # What makes the totals never reached it.
            assert ran.received[number]["sum/partial"] == 0
    points = [point_of(text) for text in commitments if text]
    totals = [int(text) for text in first.opening["totals"]]
    pedersen.verify_opening(bn254.total(points), totals, int(first.opening["blinding"]))
    assert totals[0] == 90


def test_shared_is_only_what_is_asked_for(run_workload):
    tables = {i: table({n: [1, 2, 3] for n in "xyz"}) for i in range(2)}
    lengths = {
        ("count",): 1, ("sum",): 4, ("mean",): 4, ("variance",): 7, ("std",): 7, ("covariance",): 10, ("correlation",): 10,
    }  # fmt: skip
    for compute, length in lengths.items():
        outcome = run_workload(Statistics(), spec_of(BASE | {"compute": list(compute)}), tables).outcomes[0]
        assert len(outcome.opening["totals"]) == length
        assert set(outcome.result["groups"][0]) == set(compute)


@pytest.mark.parametrize(
    ("parameters", "cells", "error", "words"),
    [
        ({}, {"x": ([1], "decimal", 3)}, InvalidData, "'x' has 3 digits"),
        ({}, {"x": (["a"], "string", 0)}, InvalidData, "'x' is not numeric"),
        ({"where": [{"column": "seen", "op": "<", "value": "soon"}]}, {}, InvalidTask, "parameters.where"),
        ({"where": [{"column": "ok", "op": "<", "value": "soon"}]}, {}, InvalidTask, "parameters.where"),
        ({"group_by": {"column": "seen", "values": ["soon"]}}, {}, InvalidTask, "parameters.group_by.values"),
        ({"group_by": {"column": "ok", "values": ["true", "1"]}}, {}, InvalidTask, "twice"),
        ({"group_by": {"column": "kind", "values": ["Zoë", "Zoe\u0308"]}}, {}, InvalidTask, "twice"),
    ],
)
def test_what_only_the_table_shows(parameters, cells, error, words):
    parameters = BASE | {"columns": [{"name": "x", "scale": 2}]} | parameters
    whole = {
        "x": ([1], "decimal", 2),
        "seen": ([dt.date(2020, 1, 1)], "date", 0),
        "ok": ([True], "bool", 0),
        "kind": (["a"], "string", 0),
    }
    with pytest.raises(error, match=words):
        own_part(parsed(parameters), table_of(whole | cells))


# -- the spec


def test_check_of_the_inputs():
    workload = Statistics()
    workload.check(spec_of(BASE))
    with pytest.raises(InvalidTask, match="two or more owners"):
        workload.check(make_spec("statistics", BASE, {0: ["x", "y", "z"]}, [1]))
    for columns in (["x", "y"], ["x", "y", "z", "kind"], ["kind"]):
        with pytest.raises(InvalidTask, match="columns") as caught:
            workload.check(make_spec("statistics", BASE, {0: ["x", "y", "z"], 1: columns}, [0]))
        assert caught.value.party == ACCOUNTS[1]
        assert "x, y, z" in caught.value.remedy


def test_check_bounds_the_vector():
    groups = [str(i) for i in range(256)]
    columns = [{"name": f"c{i}", "scale": 0} for i in range(22)]
    fitting = BASE | {"columns": columns[:21], "compute": ["covariance"], "group_by": {"column": "g", "values": groups}}
    names = [each["name"] for each in columns]
    assert parsed(fitting).length <= MAX_LENGTH
    Statistics().check(make_spec("statistics", fitting, {i: [*names[:21], "g"] for i in range(2)}, [0]))
    passing = fitting | {"columns": columns}
    assert parsed(passing).length > MAX_LENGTH
    with pytest.raises(InvalidTask, match="sums, more than"):
        Statistics().check(make_spec("statistics", passing, {i: [*names, "g"] for i in range(2)}, [0]))


def test_columns_are_those_that_the_parameters_read():
    parameters = BASE | {
        "where": [{"column": "ok", "op": "==", "value": "true"}, {"column": "x", "op": ">", "value": "0"}],
        "group_by": {"column": "kind", "values": ["a"]},
    }
    spec = spec_of(parameters, extra=["ok", "kind"])
    assert list(Statistics().columns(spec, ACCOUNTS[1])) == ["x", "y", "z", "ok", "kind"]


@pytest.mark.parametrize("owners", [2, 3, 4])
def test_security_statement(owners):
    statement = Statistics().security(spec_of(BASE, owners, [0]))
    assert (statement.adversary, statement.corruptions, statement.parties) == ("semi-honest", owners - 1, owners)
    assert statement.computational_bits == 100
    assert statement.trusted == ()
    assert set(statement.learns) == {"owner", "receiver", "public"}


@pytest.mark.parametrize(
    ("owners", "receivers", "change", "extra"),
    [
        (2, [0], {}, []),
        (3, [0, 1, 2], {"minimum_group": 10}, []),
        (3, [3], {"minimum_group": 5, "group_by": {"column": "kind", "values": ["a", "b", "Zoë"]}}, ["kind"]),
        (2, [2, 3], {"compute": ["count"], "minimum_group": 2}, []),
        (2, [0], {"compute": ["count"], "histograms": [{"column": "z", "edges": ["-20", "-10", "0", "10", "20"]}]}, []),
    ],
)
def test_cost_predicts_the_bytes(run_workload, owners, receivers, change, extra):
    rng = np.random.default_rng(15)
    parts = [people(rng, 60, nulls=False) for _ in range(owners)]
    spec = spec_of(BASE | change, owners, receivers, extra)
    ran = run_workload(Statistics(), spec, dict(enumerate(map(table, parts))))
    predicted = Statistics().cost(spec, {ACCOUNTS[i]: 60 for i in range(owners)})
    assert ran.most_sent() <= predicted.bytes_sent <= 1.2 * ran.most_sent()
    assert predicted.rounds >= 6
    assert predicted.seconds > 1
    assert predicted.memory_bytes > 10**8


def test_cost_grows_with_what_is_asked_for():
    def cost(change=None, rows=1000, owners=2, extra=()):
        spec = spec_of(BASE | (change or {}), owners, [0], extra)
        return Statistics().cost(spec, dict.fromkeys(ACCOUNTS[:owners], rows))

    cheap = cost()
    for dearer in (
        cost({"minimum_group": 50}),
        cost(owners=3),
        cost({"group_by": {"column": "kind", "values": list("abcdef")}}, extra=["kind"]),
        cost({"histograms": [{"column": "x", "edges": ["0", "1", "2", "3"]}]}),
    ):
        assert dearer.bytes_sent > cheap.bytes_sent
        assert dearer.seconds > cheap.seconds
    regression = {"compute": [], "regression": {"target": "x", "regressors": ["y"]}}
    many = {f"c{i}": 0 for i in range(64)}
    wide = regression | {
        "columns": [*BASE["columns"], *({"name": name, "scale": 0} for name in many)],
        "regression": {"target": "x", "regressors": list(many)},
    }
    assert cost(wide).seconds > cost(regression).seconds + 10
    large = cost(rows=10**7)
    assert (large.bytes_sent, large.seconds > cheap.seconds, large.memory_bytes > cheap.memory_bytes) == (
        cheap.bytes_sent,
        True,
        True,
    )


def test_groups_of_all_owners_and_totals_are_the_sum_of_the_parts():
    """Moments add: the vectors of parts add up to the vector of the pooled rows."""
    rng = np.random.default_rng(16)
    parts = [people(rng, 50) for _ in range(3)]
    parameters = parsed(BASE | {"histograms": [{"column": "y", "edges": ["0", "50", "90"]}],
                                "group_by": {"column": "kind", "values": ["a", "b"]}})  # fmt: skip
    together = {name: list(itertools.chain(*(part[name] for part in parts))) for name in TYPES}
    vectors, sizes = zip(*(own_part(parameters, table(part)) for part in parts), strict=True)
    whole = own_part(parameters, table(together))
    assert [sum(each) for each in zip(*vectors, strict=True)] == whole[0]
    assert [sum(each) for each in zip(*sizes, strict=True)] == whole[1]
    assert len(whole[0]) == parameters.length
    assert len(whole[1]) == parameters.tests
