"""The ranges that follow from a task's bounds: honest rows are in them, and each way out of the bounds is out of a range."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.protocol import bounds
from tallystick.protocol.bounds import shape_of
from tallystick.protocol.errors import MalformedDocument

BITS = 4
COLUMNS = (("age", 0, "18", "90"), ("level", 1, "-2.5", "7"))


def parameters(**changes: Any) -> dict[str, Any]:
    return {
        "columns": [{"name": name, "scale": scale} for name, scale, _, _ in COLUMNS],
        "compute": ["mean", "variance", "correlation"],
        "regression": None,
        "histograms": [{"column": "age", "edges": ["0", "40", "100"]}],
        "where": [],
        "group_by": {"column": "kind", "values": ["a", "b"]},
        "minimum_group": 3,
        "ddof": 1,
        "bounds": {
            "row_bits": BITS,
            "values": [{"column": name, "low": low, "high": high} for name, _, low, high in COLUMNS],
        },
        **changes,
    }


def vector(groups: list[list[tuple[int, int]]]) -> list[int]:
    """What an owner commits to: of each group count, sums, products, then the bins below and from 40."""
    numbers: list[int] = []
    for rows in groups:
        numbers += [len(rows), sum(x for x, _ in rows), sum(y for _, y in rows)]
        numbers += [sum(x * x for x, _ in rows), sum(x * y for x, y in rows), sum(y * y for _, y in rows)]
        numbers += [sum(x < 40 for x, _ in rows), sum(x >= 40 for x, _ in rows)]
    return numbers


def within(numbers: list[int], forms: Any) -> bool:
    return all(0 <= form.of(numbers) < 4**form.digits for form in forms)


rows = st.lists(st.tuples(st.integers(18, 90), st.integers(-25, 70)), max_size=(1 << BITS) - 1)


@settings(max_examples=150, deadline=None)
@given(st.lists(rows, min_size=2, max_size=2))
def test_rows_within_the_bounds_are_in_the_ranges(groups: list[list[tuple[int, int]]]) -> None:
    shape = shape_of(parameters())
    numbers = vector(groups)
    assert shape.entries == len(numbers)
    assert within(numbers, shape.inputs)


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, min_size=2, max_size=2), st.lists(rows, min_size=2, max_size=2))
def test_the_sum_is_in_range_exactly_when_each_group_and_bin_is_large_enough(one: Any, two: Any) -> None:
    shape = shape_of(parameters())
    totals = [a + b for a, b in zip(vector(one), vector(two), strict=True)]
    counts = [totals[place] for place in (0, 6, 7, 8, 14, 15)]
    assert within(totals, shape.total) == (min(counts) >= 3)


@settings(max_examples=150, deadline=None)
@given(rows, st.integers(1, 40), st.sampled_from(["age above", "age below", "level above", "level below"]))
def test_rows_that_are_all_beyond_a_bound_are_out_of_the_ranges(given_rows: Any, beyond: int, how: str) -> None:
    shift = {"age above": (72 + beyond, 0), "age below": (-72 - beyond, 0), "level above": (0, 95 + beyond)}
    dx, dy = shift.get(how, (0, -95 - beyond))
    moved = [(x + dx, y + dy) for x, y in given_rows]
    assert within(vector([moved, []]), shape_of(parameters()).inputs) == (not moved)


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (0, 16),
        (0, -1),
        (1, 73),
        (1, -73),
        (2, 100),
        (2, -100),
        (3, 6000),
        (3, -6000),
        (4, 7000),
        (4, -7000),
        (5, 9000),
        (5, -9000),
        (6, 16),
    ],
)
def test_one_number_moved_too_far_is_out_of_the_ranges(place: int, change: int) -> None:
    numbers = vector([[(50, 10)], []])
    shape = shape_of(parameters())
    assert within(numbers, shape.inputs)
    numbers[place] += change
    assert not within(numbers, shape.inputs)


def test_more_rows_in_bins_than_in_the_group_are_refused() -> None:
    numbers = vector([[(30, 0), (50, 0)], []])
    numbers[6] += 1
    assert not within(numbers, shape_of(parameters()).inputs)


def test_the_forms_allow_numbers_that_no_rows_have() -> None:
    """They are linear, and a variance is not: two rows with the sum 100 of values from 0 to 100 and the squares' sum 0."""
    values = [{"column": "age", "low": "0", "high": "100"}]
    bare = parameters(
        columns=[{"name": "age", "scale": 0}],
        compute=["variance"],
        histograms=[],
        group_by=None,
        bounds={"row_bits": BITS, "values": values},
    )
    assert within([2, 100, 0], shape_of(bare).inputs)
    assert not within([2, 100, -1], shape_of(bare).inputs)


def test_a_count_alone_needs_no_columns() -> None:
    bare = parameters(columns=[], compute=["count"], histograms=[], group_by=None, bounds={"row_bits": 32, "values": []})
    shape = shape_of(bare)
    assert (shape.entries, [form.digits for form in shape.inputs], shape.total[0].of([3])) == (1, [16], 0)


BAD = (
    {"bounds": None},
    {"bounds": {"row_bits": 4}},
    {"bounds": {"row_bits": 5, "values": parameters()["bounds"]["values"]}},
    {"bounds": {"row_bits": 42, "values": parameters()["bounds"]["values"]}},
    {"bounds": {"row_bits": 4, "values": parameters()["bounds"]["values"][:1]}},
    {"bounds": {"row_bits": 4, "values": parameters()["bounds"]["values"][::-1]}},
    {"bounds": {"row_bits": 40, "values": parameters()["bounds"]["values"]}, "group_by": None},  # more digits than a proof has
    {"group_by": {"column": "kind", "values": [str(k) for k in range(40)]}},  # more values than a proof has
    {"columns": "age"},
    {"compute": 3},
    {"histograms": [{"column": "age"}]},
    {"minimum_group": "3"},
)


@pytest.mark.parametrize("changes", BAD, ids=range(len(BAD)))
def test_other_parameters_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedDocument):
        shape_of(parameters(**changes))


@pytest.mark.parametrize("text", ["1e3", "", "-", "1.55", "0x1", "--1", "1" * 20, "nan"])
def test_bounds_are_decimal_numbers_of_the_columns_scale(text: str) -> None:
    for key in ("low", "high"):
        values = [dict(each) for each in parameters()["bounds"]["values"]]
        values[1][key] = text
        with pytest.raises(MalformedDocument):
            shape_of(parameters(bounds={"row_bits": BITS, "values": values}))


def test_a_low_bound_lies_below_the_high_one() -> None:
    values = [{"column": name, "low": high, "high": low} for name, _, low, high in COLUMNS]
    with pytest.raises(MalformedDocument, match="above"):
        shape_of(parameters(bounds={"row_bits": BITS, "values": values}))


def test_the_forms_do_not_depend_on_where_a_group_stands() -> None:
    shape = shape_of(parameters())
    half, width = len(shape.inputs) // 2, shape.entries // 2
    for first, second in zip(shape.inputs[:half], shape.inputs[half:], strict=True):
        assert second.digits == first.digits
        assert second.terms == tuple((place + width, coefficient) for place, coefficient in first.terms)
    assert len(set(itertools.chain(shape.inputs, shape.total))) == len(shape.inputs) + len(shape.total)


def test_a_small_spec_that_asks_for_millions_of_forms_is_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_moments", lambda *_: pytest.fail("forms were written out"))
    names = [f"c{k}" for k in range(128)]
    wide = parameters(
        columns=[{"name": name, "scale": 0} for name in names],
        group_by={"column": "kind", "values": [str(k) for k in range(256)]},
        histograms=[],
        bounds={"row_bits": 2, "values": [{"column": name, "low": "0", "high": "1"} for name in names]},
    )
    with pytest.raises(MalformedDocument, match="at most 126 values"):
        shape_of(wide)
