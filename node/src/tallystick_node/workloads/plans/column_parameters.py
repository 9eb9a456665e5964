"""What a `column-statistics` task may ask for, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields

from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.features import Feature, Source, Split, decimal, require_distinct
from tallystick_node.workloads.protocols import protocol_of
from tallystick_node.workloads.reading import TaskParameters
from tallystick_node.workloads.tabular import Key

MAX_COLUMNS, MAX_GROUPS, MAX_QUANTILES, MAX_TESTS = 128, 16, 64, 64
COMPUTE = ("mean", "variance", "std", "correlation")
GROUP_TESTS = ("welch", "pooled", "auc", "ks")
CHI_SQUARE = "chi-square"
BY_ORDER = ("auc", "ks")


@dataclass(frozen=True)
class GroupTest:
    """A column compared between the ones and the zeros of a group; both by their places in the parameters."""

    test: str
    column: int
    group: int


@dataclass(frozen=True)
class ChiSquare:
    """Two categories, by their places, tested for independence; ``table``: the table of counts is shown instead."""

    first: int
    second: int
    table: bool


@dataclass(frozen=True)
class Parameters(TaskParameters):
    """``fraction``: the bits after the point of the columns."""

    split: Split
    columns: tuple[Feature, ...]
    groups: tuple[Key, ...]
    categories: tuple[Category, ...]
    compute: tuple[str, ...]
    ddof: int
    quantiles: tuple[float, ...]
    tests: tuple[GroupTest | ChiSquare, ...]
    protocol: str
    fraction: int
    minimum_group: int

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Parameters:
        keys = ("split", "columns", "groups", "categories", "compute", "ddof", "quantiles", "tests", "protocol", "fraction")
        fields = Fields(dict(value), (*keys, "minimum_group"), "parameters")
        compute = fields.names("compute", 0, len(COMPUTE))
        if not set(compute) <= set(COMPUTE):
            raise MalformedDocument(f"parameters.compute: only {', '.join(COMPUTE)}")
        parsed = cls(
            split=Split.read(value["split"], "parameters.split"),
            columns=fields.items("columns", 0, MAX_COLUMNS, Feature.read),
            groups=fields.items("groups", 0, MAX_GROUPS, Key.read),
            categories=fields.items("categories", 0, MAX_GROUPS, Category.read),
            compute=compute,
            ddof=fields.integer("ddof", 0, 1),
            quantiles=fields.items("quantiles", 0, MAX_QUANTILES, decimal),
            tests=fields.items("tests", 0, MAX_TESTS, _test),
            protocol=protocol_of(fields),
            fraction=fields.integer("fraction", 12, 24),
            minimum_group=fields.integer("minimum_group", 2, 1_000_000),
        )
        parsed._agree()
        return parsed

    def _agree(self) -> None:
        """Raise MalformedDocument unless the lists fit one another."""
        for name, used in (("columns", self.columns), ("groups", self.groups), ("categories", self.categories)):
            require_distinct(used, name)
        if not (self.compute or self.quantiles or self.tests):
            raise MalformedDocument("parameters.compute: nothing is asked for")
        if not self.columns and (self.compute or self.quantiles):
            raise MalformedDocument("parameters.columns: there are none to compute from")
        if any(not 0 <= q <= 1 for q in self.quantiles):
            raise MalformedDocument("parameters.quantiles: are from 0 to 1")
        for number, test in enumerate(self.tests):
            places = (
                ((test.column, self.columns), (test.group, self.groups))
                if isinstance(test, GroupTest)
                else ((test.first, self.categories), (test.second, self.categories))
            )
            if any(place >= len(listed) for place, listed in places):
                raise MalformedDocument(f"parameters.tests[{number}]: names a place that is not in the list")
            if isinstance(test, ChiSquare) and test.first == test.second:
                raise MalformedDocument(f"parameters.tests[{number}]: needs two different columns")
        if len(set(self.tests)) != len(self.tests):
            raise MalformedDocument("parameters.tests: one test twice")

    @property
    def used(self) -> tuple[Source, ...]:
        """Every column that is read, but for keys."""
        return (*self.columns, *self.groups, *self.categories)

    @property
    def group_tests(self) -> list[GroupTest]:
        """The tests between groups."""
        return [each for each in self.tests if isinstance(each, GroupTest)]

    @property
    def chi_squares(self) -> list[ChiSquare]:
        """The tests of independence."""
        return [each for each in self.tests if isinstance(each, ChiSquare)]

    @property
    def by_order(self) -> list[int]:
        """The places of the columns that are compared by their order."""
        return sorted({each.column for each in self.group_tests if each.test in BY_ORDER})


def _test(value: Any, where: str) -> GroupTest | ChiSquare:
    if isinstance(value, dict) and value.get("test") == CHI_SQUARE:
        fields = Fields(value, ("test", "first", "second", "table"), where)
        first, second = (fields.integer(name, 0, MAX_GROUPS - 1) for name in ("first", "second"))
        return ChiSquare(first, second, fields.boolean("table"))
    fields = Fields(value, ("test", "column", "group"), where)
    test = fields.choice("test", (*GROUP_TESTS, CHI_SQUARE))
    return GroupTest(test, fields.integer("column", 0, MAX_COLUMNS - 1), fields.integer("group", 0, MAX_GROUPS - 1))
