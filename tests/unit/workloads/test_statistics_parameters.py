"""Every rule of the parameters of `statistics`, each broken once: the error names the field."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick.protocol.errors import InvalidTask
from tallystick_node.workloads.reading import RANGE, fixed
from tallystick_node.workloads.statistics.parameters import MAX_TEST, Parameters

GOOD = {
    "columns": [{"name": "x", "scale": 2}, {"name": "y", "scale": 1}],
    "compute": ["count", "mean"],
    "regression": {"target": "x", "regressors": ["y"]},
    "histograms": [{"column": "y", "edges": ["0", "10.5", "20"]}],
    "where": [{"column": "seen", "op": ">", "value": "2020-01-01"}, {"column": "x", "op": "<", "value": "1.25"}],
    "group_by": {"column": "kind", "values": ["a", "b"]},
    "minimum_group": 5,
    "ddof": 1,
}
MANY = [{"name": f"c{i}", "scale": 0} for i in range(129)]


def test_good_parameters():
    found = Parameters.parse(GOOD)
    assert found.columns == {"x": 2, "y": 1}
    assert found.read == ("x", "y", "seen", "kind")
    assert found.groups == ("a", "b")
    assert found.tests == 2 * 3
    assert found.edges(found.histograms[0]) == [0, 105, 200]
    assert Parameters.parse(GOOD | {"group_by": None}).groups == ("",)


@pytest.mark.parametrize("key", sorted(GOOD))
def test_every_key_is_needed_and_no_other_allowed(key):
    with pytest.raises(InvalidTask, match=f"parameters: misses '{key}'"):
        Parameters.parse({name: value for name, value in GOOD.items() if name != key})
    with pytest.raises(InvalidTask, match="parameters: has a key"):
        Parameters.parse(GOOD | {key + "s": 1})


BROKEN = [
    ("columns", None, "columns"), ("columns", {}, "columns"), ("columns", MANY, "columns"), ("columns", ["x"], "columns[0]"),
    ("columns", [{"name": "x"}], "columns[0]"), ("columns", [{"name": "", "scale": 0}], "columns[0].name"),
    ("columns", [{"name": "x" * 129, "scale": 0}], "columns[0].name"), ("columns", [{"name": 1, "scale": 0}], "columns[0].name"),
    ("columns", [{"name": "x", "scale": -1}], "columns[0].scale"), ("columns", [{"name": "x", "scale": 10}], "columns[0].scale"),
    ("columns", [{"name": "x", "scale": True}], "columns[0].scale"), ("columns", [{"name": "x", "scale": "2"}], "columns[0].scale"),
    ("columns", [*GOOD["columns"], {"name": "x", "scale": 3}], "columns: names the same column twice"),
    ("columns", [{"name": "y", "scale": 1}], "columns: 'x' is used"),
    ("columns", [{"name": "x", "scale": 1}], "columns: 'y' is used"),
    ("compute", "count", "compute"), ("compute", ["median"], "compute: unknown 'median'"), ("compute", ["mean", "mean"], "compute"),
    ("compute", [["mean"]], "compute[0]"), ("compute", ["mean"] * 8, "compute"),
    ("regression", [], "regression"), ("regression", {"target": "x"}, "regression"),
    ("regression", {"target": "x", "regressors": []}, "regression.regressors"),
    ("regression", {"target": "x", "regressors": ["y", "y"]}, "regression.regressors"),
    ("regression", {"target": "x", "regressors": [f"c{i}" for i in range(65)]}, "regression.regressors"),
    ("regression", {"target": "x", "regressors": ["x"]}, "regression: the target"),
    ("regression", {"target": "z", "regressors": ["x"]}, "columns: 'z' is used"),
    ("regression", {"target": "x", "regressors": ["z"]}, "columns: 'z' is used"),
    ("regression", {"target": 1, "regressors": ["y"]}, "regression.target"),
    ("histograms", None, "histograms"), ("histograms", [GOOD["histograms"][0]] * 2, "histograms: two of one column"),
    ("histograms", [{"column": "z", "edges": ["0", "1"]}], "columns: 'z' is used"),
    ("histograms", [{"column": "y"}], "histograms[0]"), ("histograms", [{"column": "y", "edges": ["0"]}], "histograms[0].edges"),
    ("histograms", [{"column": "y", "edges": [0, 1]}], "histograms[0].edges[0]"),
    ("histograms", [{"column": "y", "edges": ["1", "0"]}], "histograms[0].edges: must increase"),
    ("histograms", [{"column": "y", "edges": ["1", "1.0"]}], "histograms[0].edges: must increase"),
    ("histograms", [{"column": "y", "edges": ["0", "0.25"]}], "histograms[0].edges: '0.25' has more than 1 digits"),
    ("histograms", [{"column": "y", "edges": [str(i) for i in range(1025)]}], "histograms[0].edges"),
    ("histograms", [{"column": "y", "edges": ["0", "9" * 19]}], "histograms[0].edges"),
    *[("histograms", [{"column": "y", "edges": ["0", text]}], "histograms[0].edges: not decimal")
      for text in ("one", "NaN", "sNaN", "Infinity", "1e3", "1e999999999", " 1", "1_0", "١", "1.", ".5", "--1", "1" * 20)],
    ("where", {}, "where"), ("where", [{"column": "x", "op": "<"}], "where[0]"),
    ("where", [{"column": "x", "op": "=<", "value": "1"}], "where[0].op"),
    ("where", [{"column": "x", "op": ["<"], "value": "1"}], "where[0].op"),
    ("where", [{"column": "", "op": "<", "value": "1"}], "where[0].column"),
    ("where", [{"column": "q", "op": "<", "value": 1}], "where[0].value"),
    ("where", [{"column": "q", "op": "<", "value": "x" * 257}], "where[0].value"),
    ("where", [{"column": "x", "op": "<", "value": "one"}], "where[0].value: 'one' is not a decimal number"),
    ("where", [{"column": "x", "op": "<", "value": "1.255"}], "where[0].value: '1.255' has more than 2 digits"),
    ("where", [{"column": "x", "op": "<", "value": "9" * 18}], "where[0].value"),
    ("where", [{"column": "q", "op": "<", "value": "1"}] * 65, "where"),
    ("group_by", [], "group_by"), ("group_by", {"column": "kind"}, "group_by"),
    ("group_by", {"column": "kind", "values": []}, "group_by.values"),
    ("group_by", {"column": "kind", "values": ["a", "a"]}, "group_by.values"),
    ("group_by", {"column": "", "values": ["a"]}, "group_by.column"),
    ("group_by", {"column": "kind", "values": [1]}, "group_by.values[0]"),
    ("group_by", {"column": "kind", "values": [str(i) for i in range(257)]}, "group_by.values"),
    ("group_by", {"column": "y", "values": ["a"]}, "group_by.values: 'a' is not a decimal number"),
    ("minimum_group", 1, "minimum_group"), ("minimum_group", 1001, "minimum_group"), ("minimum_group", "5", "minimum_group"),
    ("minimum_group", True, "minimum_group"), ("minimum_group", None, "minimum_group"),
    ("ddof", -1, "ddof"), ("ddof", 2, "ddof"), ("ddof", False, "ddof"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "words"), BROKEN, ids=[f"{key}-{i}" for i, (key, _, _) in enumerate(BROKEN)])
def test_each_rule_broken_once(key, value, words):
    with pytest.raises(InvalidTask) as caught:
        Parameters.parse(GOOD | {key: value})
    assert f"parameters.{words}" in caught.value.message
    assert caught.value.remedy
    assert len(str(caught.value)) < 500


def test_something_is_asked_for_and_has_a_column():
    nothing = GOOD | {"compute": [], "regression": None, "histograms": []}
    with pytest.raises(InvalidTask, match="parameters: nothing is asked for"):
        Parameters.parse(nothing)
    for compute in (["mean"], ["count", "sum"]):
        with pytest.raises(InvalidTask, match="parameters.columns: at least one"):
            Parameters.parse(nothing | {"columns": [], "compute": compute, "where": GOOD["where"][:1]})
    assert Parameters.parse(nothing | {"columns": [], "compute": ["count"], "where": GOOD["where"][:1]}).needed == (0,)


def test_the_size_test_is_bounded():
    values = [str(i) for i in range(256)]
    grouped = GOOD | {"group_by": {"column": "kind", "values": values}, "histograms": []}
    assert Parameters.parse(grouped | {"minimum_group": 1000}).tests * 1000 <= MAX_TEST
    histogram = [{"column": "y", "edges": [str(i) for i in range(1024)]}]
    with pytest.raises(InvalidTask, match="parameters.minimum_group: 262144 groups and bins"):
        Parameters.parse(grouped | {"histograms": histogram})


@given(st.integers(1 - RANGE, RANGE - 1), st.integers(0, 9), st.integers(0, 3))
def test_fixed_is_the_inverse_of_writing(number, scale, zeros):
    text = f"{Decimal(f'{number}E-{scale}'):f}"
    assert fixed(text, scale, "here") == number
    if scale:
        assert fixed(text + "0" * zeros, scale, "here") == number


@given(st.text(max_size=30) | st.from_regex(r"[+-]?[0-9]{1,22}(\.[0-9]{1,20})?", fullmatch=True), st.integers(0, 9))
def test_fixed_gives_the_exact_number_or_an_invalid_task(text, scale):
    try:
        number = fixed(text, scale, "parameters.where[3].value")
    except InvalidTask as error:
        assert error.message.startswith("parameters.where[3].value: ")
        return
    assert Decimal(f"{number}E-{scale}") == Decimal(text)
    assert abs(number) < RANGE
