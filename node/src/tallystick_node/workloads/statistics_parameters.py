"""What a `statistics` task may ask for, checked strictly (docs/reference/workloads.md)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from tallystick.protocol.errors import InvalidTask, MalformedDocument
from tallystick.protocol.fields import Fields

COMPUTE = ("count", "sum", "mean", "variance", "std", "covariance", "correlation")
OPERATORS = ("==", "!=", "<", "<=", ">", ">=")
SQUARES = {"variance", "std"}
PRODUCTS = {"covariance", "correlation"}
MAX_COLUMNS, MAX_GROUPS, MAX_BINS, MAX_MINIMUM = 128, 256, 1024, 1000


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
class Parameters:
    """The parameters of a `statistics` task. ``columns`` maps each analysed column to its scale (digits after the point)."""

    columns: Mapping[str, int]
    compute: tuple[str, ...]
    regression: tuple[str, tuple[str, ...]] | None
    histograms: tuple[Histogram, ...]
    where: tuple[Condition, ...]
    group_by: tuple[str, tuple[str, ...]] | None
    minimum_group: int
    ddof: int

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Parameters:
        """Check and read. Raises InvalidTask naming the field, the rule and the remedy."""
        try:
            return cls._read(value)
        except MalformedDocument as error:
            raise InvalidTask(error.message, remedy=error.remedy or "see docs/reference/workloads.md") from None

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        keys = ("columns", "compute", "regression", "histograms", "where", "group_by", "minimum_group", "ddof")
        fields = Fields(dict(value), keys, "parameters")
        columns = dict(fields.items("columns", 0, MAX_COLUMNS, _column))
        parsed = cls(
            columns=columns,
            compute=fields.names("compute", 0, len(COMPUTE)),
            regression=_optional(value["regression"], _regression),
            histograms=fields.items("histograms", 0, 64, _histogram),
            where=fields.items("where", 0, 64, _condition),
            group_by=_optional(value["group_by"], _grouping),
            minimum_group=fields.integer("minimum_group", 2, MAX_MINIMUM),
            ddof=fields.integer("ddof", 0, 1),
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

    @property
    def names(self) -> tuple[str, ...]:
        """The analysed columns, in the order of every vector."""
        return tuple(self.columns)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups, declared in the spec so that neither their number nor their names tell anything; one when not grouped."""
        return self.group_by[1] if self.group_by else ("",)

    @property
    def read(self) -> tuple[str, ...]:
        """Every column that a run reads, each once."""
        extra = [condition.column for condition in self.where] + ([self.group_by[0]] if self.group_by else [])
        return tuple(dict.fromkeys([*self.names, *extra]))

    @property
    def needed(self) -> tuple[int, ...]:
        """Positions of ``Moments.vector`` that the statistics need; nothing else is shared."""
        number = len(self.columns)
        wanted = {0}
        if set(self.compute) - {"count"} or self.regression:
            wanted |= set(range(1, 1 + number))
        position = 1 + number
        regressed = {self.regression[0], *self.regression[1]} if self.regression else set()
        for i, left in enumerate(self.names):
            for j in range(i, number):
                both = {left, self.names[j]} <= regressed
                square = i == j and bool(SQUARES & set(self.compute))
                if both or square or PRODUCTS & set(self.compute):
                    wanted.add(position)
                position += 1
        return tuple(sorted(wanted))

    def edges(self, histogram: Histogram) -> list[int]:
        """A histogram's edges in fixed point."""
        return [fixed(edge, self.columns[histogram.column]) for edge in histogram.edges]


def fixed(text: str, scale: int) -> int:
    """A decimal text in fixed point. Raises InvalidTask when it is no number or has more digits than the scale."""
    try:
        value = Decimal(text).scaleb(scale)
        whole = int(value)
    except (InvalidOperation, ValueError, OverflowError):
        raise InvalidTask(f"{text!r} is not a decimal number") from None
    if whole != value or abs(whole) >= 1 << 62:
        raise InvalidTask(f"{text!r} has more than {scale} digits after the point, or is out of range")
    return whole


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
    numbers = _numbers(edges, where)
    if any(a >= b for a, b in itertools.pairwise(numbers)):
        raise MalformedDocument(f"{where}.edges: must increase")
    return Histogram(fields.string("column", 128), edges)


def _numbers(texts: Sequence[str], where: str) -> list[Decimal]:
    try:
        return [Decimal(text) for text in texts]
    except InvalidOperation:
        raise MalformedDocument(f"{where}: not decimal numbers") from None


def _condition(value: Any, where: str) -> Condition:
    fields = Fields(value, ("column", "op", "value"), where)
    return Condition(fields.string("column", 128), fields.choice("op", OPERATORS), fields.string("value", 256, empty=True))


def _grouping(value: Any) -> tuple[str, tuple[str, ...]]:
    fields = Fields(value, ("column", "values"), "parameters.group_by")
    return fields.string("column", 128), fields.names("values", 1, MAX_GROUPS)
