"""What a `statistics` task may ask for, checked strictly (docs/reference/workloads.md)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tallystick.commitments.ranges import Shape
from tallystick.protocol.bounds import BOUNDS, needed, shape_of
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields

from tallystick_node.workloads.reading import DECIMAL, TaskParameters, fixed

COMPUTE = ("count", "sum", "mean", "variance", "std", "covariance", "correlation")
OPERATORS = ("==", "!=", "<", "<=", ">", ">=")
MAX_COLUMNS, MAX_GROUPS, MAX_BINS, MAX_MINIMUM = 128, 256, 1024, 1000
MAX_TEST = 1 << 18  # ciphertexts of the size test: one for each group or bin and each count below the minimum


@dataclass(frozen=True)
class Condition:
    """A row filter: a column, an operator and a value as text."""

    column: str
    operator: str
    value: str


@dataclass(frozen=True)
class Histogram:
    """Counts between edges; ``edges`` are decimal texts that increase."""

    column: str
    edges: tuple[str, ...]


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """The parameters of a `statistics` task. ``columns`` maps each analysed column to its scale (digits after the point);
    ``ranges`` is what follows from ``bounds``, None without them."""

    columns: Mapping[str, int]
    compute: tuple[str, ...]
    regression: tuple[str, tuple[str, ...]] | None
    histograms: tuple[Histogram, ...]
    where: tuple[Condition, ...]
    group_by: tuple[str, tuple[str, ...]] | None
    minimum_group: int
    ddof: int
    ranges: Shape | None

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        keys = ("columns", "compute", "regression", "histograms", "where", "group_by", "minimum_group", "ddof")
        fields = Fields(dict(value), keys, "parameters", (BOUNDS,))
        listed = fields.items("columns", 0, MAX_COLUMNS, _column)
        columns = dict(listed)
        if len(columns) != len(listed):
            raise MalformedDocument("parameters.columns: names the same column twice")
        parsed = cls(
            columns=columns,
            compute=fields.names("compute", 0, len(COMPUTE)),
            regression=_optional(value["regression"], _regression),
            histograms=fields.items("histograms", 0, 64, _histogram),
            where=fields.items("where", 0, 64, _condition),
            group_by=_optional(value["group_by"], _grouping),
            minimum_group=fields.integer("minimum_group", 2, MAX_MINIMUM),
            ddof=fields.integer("ddof", 0, 1),
            ranges=shape_of(value) if fields.has(BOUNDS) else None,
        )
        parsed._check()
        return parsed

    def _check(self) -> None:
        unknown = set(self.compute) - set(COMPUTE)
        if unknown:
            raise MalformedDocument(f"parameters.compute: unknown {min(unknown)!r}; known: {', '.join(COMPUTE)}")
        if not self.compute and not self.histograms and self.regression is None:
            raise MalformedDocument("parameters: nothing is asked for")
        named = [h.column for h in self.histograms]
        if self.regression:
            named += [self.regression[0], *self.regression[1]]
        for column in named:
            if column not in self.columns:
                raise MalformedDocument(f"parameters.columns: {column!r} is used but not listed with its scale")
        if self.compute and self.compute != ("count",) and not self.columns:
            raise MalformedDocument("parameters.columns: at least one, or compute only count")
        # Two histograms of one column differ in a few rows where their edges do: a group that no size test would see.
        if len({h.column for h in self.histograms}) != len(self.histograms):
            raise MalformedDocument("parameters.histograms: two of one column", remedy="merge their edges")
        if self.tests * self.minimum_group > MAX_TEST:
            raise MalformedDocument(
                f"parameters.minimum_group: {self.tests} groups and bins times {self.minimum_group} pass {MAX_TEST}",
                remedy="ask for fewer groups or bins, or a smaller minimum",
            )
        self._check_numbers()

    def _check_numbers(self) -> None:
        """Numbers of listed columns, whose scale is known; the others' types are seen when the table is read."""
        for place, histogram in enumerate(self.histograms):
            for edge in histogram.edges:
                fixed(edge, self.columns[histogram.column], f"parameters.histograms[{place}].edges")
        for place, condition in enumerate(self.where):
            if condition.column in self.columns:
                fixed(condition.value, self.columns[condition.column], f"parameters.where[{place}].value")
        if self.group_by and self.group_by[0] in self.columns:
            for value in self.group_by[1]:
                fixed(value, self.columns[self.group_by[0]], "parameters.group_by.values")

    @property
    def names(self) -> tuple[str, ...]:
        """The analysed columns, in the order of every vector."""
        return tuple(self.columns)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups, declared in the spec so that neither their number nor their names tell anything; one when not grouped."""
        return self.group_by[1] if self.group_by else ("",)

    @property
    def tests(self) -> int:
        """How many sizes are tested: each group's, and each group's in each bin."""
        return len(self.groups) * (1 + self.bins)

    @property
    def bins(self) -> int:
        """Bins of all histograms, in one group."""
        return sum(len(histogram.edges) - 1 for histogram in self.histograms)

    @property
    def length(self) -> int:
        """How many integers are added: each group's moments, then its bins."""
        return len(self.groups) * (len(self.needed) + self.bins)

    @property
    def read(self) -> tuple[str, ...]:
        """Every column that a run reads, each once."""
        extra = [condition.column for condition in self.where] + ([self.group_by[0]] if self.group_by else [])
        return tuple(dict.fromkeys([*self.names, *extra]))

    @property
    def needed(self) -> tuple[int, ...]:
        """Positions of ``Moments.vector`` that the statistics need; nothing else is shared."""
        regressed = {self.regression[0], *self.regression[1]} if self.regression else set()
        return needed(self.names, self.compute, regressed)

    def edges(self, histogram: Histogram) -> list[int]:
        """A histogram's edges in fixed point."""
        return [fixed(edge, self.columns[histogram.column], "parameters.histograms") for edge in histogram.edges]


def _optional(value: Any, read: Any) -> Any:
    return None if value is None else read(value)


def _column(value: Any, where: str) -> tuple[str, int]:
    fields = Fields(value, ("name", "scale"), where)
    return fields.string("name", 128), fields.integer("scale", 0, 9)


def _regression(value: Any) -> tuple[str, tuple[str, ...]]:
    fields = Fields(value, ("target", "regressors"), "parameters.regression")
    target, regressors = fields.string("target", 128), fields.names("regressors", 1, 64)
    if target in regressors:
        raise MalformedDocument("parameters.regression: the target is among the regressors")
    return target, regressors


def _histogram(value: Any, where: str) -> Histogram:
    fields = Fields(value, ("column", "edges"), where)
    edges = fields.names("edges", 2, MAX_BINS)
    if not all(map(DECIMAL.fullmatch, edges)):
        raise MalformedDocument(f"{where}.edges: not decimal numbers")
    if any(Decimal(a) >= Decimal(b) for a, b in itertools.pairwise(edges)):
        raise MalformedDocument(f"{where}.edges: must increase")
    return Histogram(fields.string("column", 128), edges)


def _condition(value: Any, where: str) -> Condition:
    fields = Fields(value, ("column", "op", "value"), where)
    return Condition(fields.string("column", 128), fields.choice("op", OPERATORS), fields.string("value", 256, empty=True))


def _grouping(value: Any) -> tuple[str, tuple[str, ...]]:
    fields = Fields(value, ("column", "values"), "parameters.group_by")
    return fields.string("column", 128), fields.names("values", 1, MAX_GROUPS)
