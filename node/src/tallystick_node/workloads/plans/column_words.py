"""The result of a `column-statistics` task in the units of the data, from what its plan shows to a receiver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tallystick_node.workloads.planned import Numbers
from tallystick_node.workloads.plans.column_parameters import CHI_SQUARE, ChiSquare, GroupTest, Parameters
from tallystick_node.workloads.plans.tails import chi_square, t_two_sided
from tallystick_node.workloads.tabular import text


def describe(parameters: Parameters, shown: Numbers, rows: int) -> Mapping[str, Any]:
    """The values of the result document; what was not asked for has no key."""
    values: dict[str, Any] = {"rows": rows}
    if parameters.compute or parameters.quantiles:
        values["columns"] = [_column(parameters, shown, place) for place in range(len(parameters.columns))]
    if "correlation" in parameters.compute:
        values["correlation"] = [[text(each) for each in row] for row in shown["correlations"]]
    if parameters.group_tests:
        values["groups"] = [
            {
                "party": each.party or None,
                "column": each.column,
                "ones": int(ones) or None,
                "zeros": rows - int(ones) if ones else None,
            }
            for each, ones in zip(parameters.groups, shown["sizes"], strict=True)
        ]
    if parameters.tests:
        group_tests, chi_squares = parameters.group_tests, parameters.chi_squares
        values["tests"] = [
            _independence(shown, chi_squares.index(each), each, rows)
            if isinstance(each, ChiSquare)
            else _compared(shown, [other for other in group_tests if other.test == each.test].index(each), each, rows)
            for each in parameters.tests
        ]
    return values


def _column(parameters: Parameters, shown: Numbers, place: int) -> dict[str, Any]:
    feature = parameters.columns[place]
    found: dict[str, Any] = {"party": feature.party or None, "column": feature.column}
    if "mean" in parameters.compute:
        found["mean"] = text(shown["means"][place] * feature.scale + feature.center)
    if "variance" in parameters.compute:
        found["variance"] = text(shown["variances"][place] * feature.scale**2)
    if "std" in parameters.compute:
        found["std"] = text(np.sqrt(max(shown["variances"][place], 0.0)) * feature.scale)
    if parameters.quantiles:
        numbers = shown["quantiles"][:, place] * feature.scale + feature.center
        found["quantiles"] = [
            {"q": text(q), "value": text(number)} for q, number in zip(parameters.quantiles, numbers, strict=True)
        ]
    return found


def _compared(shown: Numbers, place: int, test: GroupTest, rows: int) -> dict[str, Any]:
    """A test between groups; its numbers are null where a side is too small, or where the column does not vary."""
    found: dict[str, Any] = {"test": test.test, "column": test.column, "group": test.group}
    ones = int(shown["sizes"][test.group])
    if test.test in ("auc", "ks"):
        pairs = ones * (rows - ones) * (2 if test.test == "auc" else 1)
        return {**found, "statistic": text(int(shown[test.test][place]) / pairs) if ones else None}
    t, freedom = (float(shown[f"{test.test} {what}"][place]) for what in ("t", "degrees of freedom"))
    if freedom <= 0:
        return {**found, "statistic": None, "degrees_of_freedom": None, "p_value": None}
    return {**found, "statistic": text(t), "degrees_of_freedom": text(freedom), "p_value": text(t_two_sided(t, freedom))}


def _independence(shown: Numbers, number: int, test: ChiSquare, rows: int) -> dict[str, Any]:
    """A test of independence; from the table where that is shown, and only where it is shown completely."""
    found: dict[str, Any] = {"test": CHI_SQUARE, "first": test.first, "second": test.second}
    statistic, freedom = 0.0, 0
    if test.table:
        cells = shown[f"table {number}"].astype(np.int64)
        found["table"] = [[int(cell) or None for cell in row] for row in cells]
        found["rows_in_hidden_cells"] = rows - int(cells.sum())
        if not found["rows_in_hidden_cells"]:
            occurring = cells[cells.any(axis=1)][:, cells.any(axis=0)]
            expected = np.outer(occurring.sum(axis=1), occurring.sum(axis=0)) / rows
            statistic = float(((occurring - expected) ** 2 / expected).sum())
            freedom = (occurring.shape[0] - 1) * (occurring.shape[1] - 1)
    else:
        statistic = max(float(shown[f"chi-square {number}"]), 0.0)
        freedom = int(shown[f"chi-square {number} degrees of freedom"])
    if freedom <= 0:
        return {**found, "statistic": None, "degrees_of_freedom": None, "p_value": None}
    p_value = text(chi_square(statistic, freedom))
    return {**found, "statistic": text(statistic), "degrees_of_freedom": freedom, "p_value": p_value}
