"""`column-statistics`: moments, correlations, quantiles and tests over columns that several owners hold of the same people.

It also takes rows of different owners, where `statistics` is cheaper for what it offers: this has tests and quantiles besides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol.errors import InvalidData, InvalidTask, OutputRefused
from tallystick.protocol.task import TaskSpec

from tallystick_node.engines.channel import Session
from tallystick_node.engines.mpc.array import SecretArray, concatenate, corrcoef, declare, plan_of, quantile, reveal
from tallystick_node.engines.mpc.models import contingency, group_tests
from tallystick_node.engines.mpc.models.suppression import shown_cells
from tallystick_node.engines.mpc.plan.document import InvalidPlan, Plan
from tallystick_node.workloads.features import scaled
from tallystick_node.workloads.planned import Numbers, column
from tallystick_node.workloads.plans.column_parameters import BY_ORDER, ChiSquare, Parameters
from tallystick_node.workloads.plans.column_words import describe
from tallystick_node.workloads.tabular import Block, Tabular

KEY_BITS = 42  # of a column that is compared by its order


class ColumnStatistics(Tabular):
    """The workload `column-statistics`."""

    name = "column-statistics"

    def parameters(self, spec: TaskSpec) -> Parameters:
        """Read them. Raises InvalidTask."""
        return Parameters.parse(spec.parameters)

    def check_rows(self, spec: TaskSpec, rows: Mapping[str, int]) -> None:
        """Each quantile has the minimum of rows on both sides, and tests have no more rows than their arithmetic takes."""
        parameters = self.parameters(spec)
        number, least = parameters.split.rows(rows), parameters.minimum_group
        for q in parameters.quantiles:
            place = q * (number - 1)
            if min(math.floor(place) + 1, number - math.ceil(place)) < least:
                raise OutputRefused(
                    f"quantile {q} of {number} rows has fewer than {least} rows on one side",
                    remedy="ask for a quantile nearer to the median, or use more rows",
                )
        if parameters.tests and number > group_tests.MAX_ROWS:
            raise OutputRefused(
                f"tests are of at most {group_tests.MAX_ROWS} rows",
                rule="too-many-rows",
                remedy="use a sample, or leave the tests out",
            )

    def plan(self, spec: TaskSpec, rows: Mapping[str, int]) -> Plan:
        """The statistics, each shown to the receivers under its name."""
        parameters = self.parameters(spec)
        inputs = {}
        for block in _blocks(parameters).values():
            inputs.update(block.declared(spec, rows))
        for number, each in enumerate(parameters.categories):
            for part in spec.inputs:
                if each.party in ("", part.party):
                    name = f"category {number} of {part.party}"
                    inputs[name] = declare(part.party, rows[part.party], each.values, "integer")

        def program(**arrays: SecretArray) -> None:
            shown = dict[str, SecretArray]()
            tables = {name: block.joint(spec, arrays) for name, block in _blocks(parameters).items()}
            if "columns" in tables:
                shown.update(_moments(parameters, tables["columns"]))
            if parameters.group_tests:
                shown.update(_compared(parameters, tables))
            for number, each in enumerate(parameters.chi_squares):
                first, second = (_category(spec, arrays, place) for place in (each.first, each.second))
                counts = contingency.contingency(first, second)
                shown.update(_independence(each, number, counts, first.shape[0], parameters.minimum_group))
            for name, value in shown.items():
                reveal(value, to=spec.receivers, name=name)

        try:
            return plan_of(program, inputs, spec.receivers, parameters.fraction)
        except InvalidPlan as error:
            raise InvalidTask(f"the task is too large: {error}", remedy="take fewer columns or tests") from None

    def prepare(self, spec: TaskSpec, party: str, table: pa.Table, session: Session) -> Numbers:
        """The owner's scaled columns, its groups, indicators of its categories, and the order of what is compared by order."""
        parameters = self.parameters(spec)
        table = parameters.split.matched(spec, party, table, session)
        prepared: dict[str, NDArray[Any]] = {}
        for name, block in _blocks(parameters).items():
            own: Sequence[Any] = block.own(party)
            if not own:
                continue
            if name == "groups":
                prepared[block.of(party)] = np.column_stack([_zeros_and_ones(table, each.column) for each in own])
            elif name == "columns":
                prepared[block.of(party)] = scaled(table, own)
            elif parameters.split.join is None:
                prepared[block.of(party)] = _keys(scaled(table, own), parameters.fraction)
            else:
                prepared[block.of(party)] = np.column_stack([_ranks(column(table, each.column)) for each in own])
        for number, category in enumerate(parameters.categories):
            if category.party in ("", party):
                prepared[f"category {number} of {party}"] = category.indicators(table)
        return prepared

    def words(self, spec: TaskSpec, shown: Numbers, rows: Mapping[str, int]) -> Mapping[str, Any]:
        """In the units of the data."""
        parameters = self.parameters(spec)
        return describe(parameters, shown, parameters.split.rows(rows))


def _blocks(parameters: Parameters) -> dict[str, Block]:
    """The inputs that are matrices of one number for each row and column; "order" holds whole numbers in the order of a column."""
    blocks = {
        "columns": Block("columns", parameters.columns, f"fixed:{parameters.fraction}"),
        "groups": Block("groups", parameters.groups, "integer"),
        "order": Block("order", [parameters.columns[place] for place in parameters.by_order], "integer"),
    }
    return {name: block for name, block in blocks.items() if block.features}


def _category(spec: TaskSpec, arrays: Mapping[str, SecretArray], number: int) -> SecretArray:
    names = [f"category {number} of {part.party}" for part in spec.inputs]
    return concatenate([arrays[name] for name in names if name in arrays])


def _moments(parameters: Parameters, columns: SecretArray) -> dict[str, SecretArray]:
    found = {}
    if "mean" in parameters.compute:
        found["means"] = columns.mean(axis=0)
    if {"variance", "std"} & set(parameters.compute):
        found["variances"] = columns.var(0, parameters.ddof)
    if "correlation" in parameters.compute:
        found["correlations"] = corrcoef(columns)
    if parameters.quantiles:
        found["quantiles"] = quantile(columns, parameters.quantiles)
    return found


def _compared(parameters: Parameters, tables: Mapping[str, SecretArray]) -> dict[str, SecretArray]:
    """The sizes of the groups, and all tests between them; 0 where one of a group's two sides is too small."""
    groups = tables["groups"]
    enough = group_tests.large_enough(groups, parameters.minimum_group)
    found = {"sizes": groups.sum(axis=0) * enough}
    for kind in dict.fromkeys(each.test for each in parameters.group_tests):
        chosen = [each for each in parameters.group_tests if each.test == kind]
        allowed = concatenate([enough[each.group : each.group + 1] for each in chosen])
        if kind not in BY_ORDER:
            places = [(each.column, each.group) for each in chosen]
            t, freedom, exists = group_tests.t_tests(tables["columns"], groups, places, pooled=kind == "pooled")
            found[f"{kind} t"] = t * (exists * allowed)
            found[f"{kind} degrees of freedom"] = freedom * (exists * allowed)
            continue
        places = [(parameters.by_order.index(each.column), each.group) for each in chosen]
        if kind == "ks":
            value = group_tests.gaps(tables["order"], groups, places, KEY_BITS + 2)
        elif parameters.split.join is None:
            value = group_tests.wins_by_sorting(tables["order"], groups, places, KEY_BITS + 2)
        else:
            value = group_tests.wins_by_rank(tables["order"], groups, places)
        found[kind] = value * allowed
    return found


def _independence(test: ChiSquare, number: int, counts: SecretArray, rows: int, minimum: int) -> dict[str, SecretArray]:
    """The statistic and its degrees of freedom; or the cells, 0 where they may not be shown."""
    if test.table:
        return {f"table {number}": counts * shown_cells(counts, minimum).astype(int)}
    statistic, freedom = contingency.chi_square(counts, rows, minimum)
    return {f"chi-square {number}": statistic, f"chi-square {number} degrees of freedom": freedom}


def _zeros_and_ones(table: pa.Table, name: str) -> NDArray[np.int64]:
    numbers = column(table, name)
    if not np.isin(numbers, (0, 1)).all():
        raise InvalidData(f"column {name!r} is not of 0 and 1 alone", remedy="name a column of truth values, or of 0 and 1")
    return numbers.astype(np.int64)


def _keys(numbers: NDArray[np.float64], fraction: int) -> NDArray[np.int64]:
    keys = np.rint(np.ldexp(numbers, fraction))
    if np.any(np.abs(keys) >= 1 << KEY_BITS):
        raise InvalidData(f"a number is 2^{KEY_BITS - fraction} or more after scaling", remedy="take a larger scale")
    return keys.astype(np.int64)


def _ranks(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Twice the ranks from 1, the mean rank for ties."""
    _, places, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    after = np.cumsum(counts)
    found: NDArray[np.int64] = (2 * after - counts + 1)[places]
    return found
