"""That a `statistics` task does not tell of few rows together with an earlier one: through the whole run of every party."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tallystick.protocol.dataset import Column
from tallystick.protocol.errors import OutputRefused
from tallystick.protocol.task import TaskSpec
from tallystick_node.data.commit import row_hashes
from tallystick_node.engines import alive
from tallystick_node.engines.answers import Answers
from tallystick_node.workloads.statistics.parameters import Parameters
from tallystick_node.workloads.statistics.rows import passing
from tallystick_node.workloads.statistics.workload import Statistics
from unit.workloads.conftest import make_spec, table_of

MINIMUM = 5
COLUMNS = [Column("age", "int64", nullable=True), Column("kind", "string"), Column("name", "string")]
BASE: dict[str, Any] = {
    "columns": [{"name": "age", "scale": 0}],
    "compute": ["count", "sum"],
    "regression": None,
    "histograms": [],
    "where": [],
    "group_by": None,
    "minimum_group": MINIMUM,
    "ddof": 1,
}


def people(first: int, rows: int) -> pa.Table:
    ages: list[Any] = [number % 40 for number in range(first, first + rows)]
    kinds = ["ab"[number % 2] for number in range(rows)]
    names = [f"person {number}" for number in range(first, first + rows)]
    return table_of({"age": (ages, "int64", 0), "kind": (kinds, "string", 0), "name": (names, "string", 0)})


TABLES = {0: people(0, 40), 1: people(100, 40)}


STEPS = {"own_part", "partitions", "row_hashes", "_numbers", "compare", "_packed"}


def calling() -> Iterator[str]:
    """The names of the functions that are at work, the last called first."""
    frame = inspect.currentframe()
    while frame is not None:
        yield frame.f_code.co_name
        frame = frame.f_back


class Asked:
    """A consortium of two owners whose memories stay."""

    def __init__(self, folder: Path, run: Any) -> None:
        self._folder, self._run = folder, run
        self.versions = {0: b"0" * 32, 1: b"1" * 32}
        self.tables = dict(TABLES)

    def __call__(self, receivers: tuple[int, ...] = (2,), **changes: Any) -> list[str]:
        """The rules by which each owner refused."""
        extra = {condition["column"] for condition in changes.get("where", [])}
        if changes.get("group_by"):
            extra.add(changes["group_by"]["column"])
        spec = make_spec(
            "statistics", BASE | changes, {number: ["age", *sorted(extra - {"age"})] for number in (0, 1)}, list(receivers)
        )
        answers = {
            number: Answers(self._folder / f"answers-{number}", self.versions[number], partial(row_hashes, table, COLUMNS), 100)
            for number, table in self.tables.items()
        }
        outcomes = self._run(Statistics(), apart(spec), self.tables, answers).outcomes
        return [outcomes[number].rule if isinstance(outcomes[number], OutputRefused) else "" for number in (0, 1)]


def apart(spec: TaskSpec) -> TaskSpec:
    """With a dataset of its own for each owner."""
    return replace(spec, inputs=tuple(replace(part, dataset=f"0x{i + 1:064x}") for i, part in enumerate(spec.inputs)))


@pytest.fixture
def asked(tmp_path: Path, run_workload: Any) -> Asked:
    return Asked(tmp_path, run_workload)


def below(age: int) -> dict[str, Any]:
    return {"where": [{"column": "age", "op": "<", "value": str(age)}]}


def test_filters_that_differ_in_few_rows_of_an_owner_are_refused(asked: Asked) -> None:
    assert asked() == ["", ""]
    assert asked(**below(39)) == ["differencing", "differencing"]
    assert asked(**below(39), receivers=(0,)) == ["", "differencing"]  # the first owner's rows are its own to see
    assert asked(**below(36)) == ["differencing", "differencing"]
    assert asked(**below(35)) == ["", ""]
    assert asked() == ["", ""]
    assert asked(compute=["count"]) == ["", ""]


def test_a_run_that_ends_before_the_sum_was_no_answer(asked: Asked) -> None:
    assert asked(histograms=[{"column": "age", "edges": ["0", "20", "100", "120"]}]) == ["group-too-small"] * 2
    assert asked(**below(39)) == ["", ""]
    assert asked() == ["differencing"] * 2


def test_each_group_and_each_bin_is_compared(asked: Asked) -> None:
    groups = {"group_by": {"column": "kind", "values": ["a", "b"]}}
    assert asked(histograms=[{"column": "age", "edges": ["0", "20", "40"]}]) == ["", ""]
    assert asked(histograms=[{"column": "age", "edges": ["0", "21", "40"]}]) == ["differencing"] * 2
    assert asked(**groups) == ["", ""]
    assert asked(**groups, **below(38)) == ["differencing"] * 2
    assert asked(where=[{"column": "kind", "op": "==", "value": "a"}]) == ["", ""]


def test_a_revised_dataset_remembers(asked: Asked) -> None:
    assert asked() == ["", ""]
    asked.versions[1] = b"2" * 32
    asked.tables[1] = people(100, 41)
    assert asked() == ["", "differencing"]
    asked.tables[1], asked.versions[1] = people(100, 45), b"3" * 32
    assert asked() == ["", ""]


@pytest.mark.parametrize("cells", [[1, 2, None, 4], [None, None, None, None], [1, 2, 3, 4]])
def test_rows_with_empty_cells_do_not_pass(cells: list[int | None]) -> None:
    parameters = Parameters.parse(BASE | {"where": [{"column": "age", "op": "!=", "value": "2"}]})
    mask = passing(parameters, table_of({"age": (cells, "int64", 0)}))
    assert mask.tolist() == [cell is not None and cell != 2 for cell in cells]


def test_rows_hash_by_all_their_cells_and_the_key() -> None:
    key = bytes(32)
    whole = row_hashes(TABLES[0], COLUMNS, key)
    assert len(np.unique(whole)) == 40
    assert (row_hashes(TABLES[0].slice(7), COLUMNS, key) == whole[7:]).all()
    assert not (row_hashes(TABLES[0], COLUMNS, b"1" * 32) == whole).any()


def test_an_owner_that_compares_for_long_says_that_it_works(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its own moments on until it remembers the answer: in every step, and before every partition of an earlier answer that
    its own are compared with."""
    steps: list[list[str]] = []
    monkeypatch.setattr(alive.Alive, "__call__", lambda self: steps[-1].append(next(filter(STEPS.__contains__, calling()))))
    bins = {"histograms": [{"column": "age", "edges": ["0", "20", "40"]}]}
    for _ in range(2):
        steps.append([])
        assert asked(**bins) == ["", ""]
    first, again = map(Counter, steps)
    assert first.keys() == STEPS - {"compare"}
    assert first["row_hashes"] == 2 and first["partitions"] == 2 * 2  # two owners; groups and one histogram
    assert again["compare"] == 2 * 4 and again["partitions"] == 2 * 2
    assert not again["row_hashes"]  # of the same version again
