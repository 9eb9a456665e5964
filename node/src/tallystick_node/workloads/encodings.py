"""Columns as vertical models take them: numbers as they stand or scaled, categories by their place or as indicators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol.fields import Fields

from tallystick_node.workloads.categories import Category
from tallystick_node.workloads.features import Feature, Source, scaled
from tallystick_node.workloads.planned import column


class Encoded(Source, Protocol):
    """A column of one owner and how a model takes it."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the model's columns that are made of it."""

    def numbers(self, table: pa.Table) -> NDArray[np.float64]:
        """Those columns: shape (rows, names). Raises InvalidData."""


@dataclass(frozen=True)
class Numeric:
    """A numeric column as it stands."""

    party: str
    column: str

    @property
    def names(self) -> tuple[str, ...]:
        """The column's."""
        return (self.column,)

    def numbers(self, table: pa.Table) -> NDArray[np.float64]:
        """See :class:`Encoded`."""
        return column(table, self.column)[:, None]


@dataclass(frozen=True)
class Ordered(Category):
    """A column of categories: a value counts as its place in the task's list, from 0."""

    @property
    def names(self) -> tuple[str, ...]:
        """The column's."""
        return (self.column,)

    def numbers(self, table: pa.Table) -> NDArray[np.float64]:
        """See :class:`Encoded`."""
        places: NDArray[np.int64] = self.indicators(table).argmax(axis=1)
        return places.astype(np.float64)[:, None]


@dataclass(frozen=True)
class Scaled(Feature):
    """A numeric column, centred and scaled."""

    @property
    def names(self) -> tuple[str, ...]:
        """The column's."""
        return (self.column,)

    def numbers(self, table: pa.Table) -> NDArray[np.float64]:
        """See :class:`Encoded`."""
        return scaled(table, [self])


@dataclass(frozen=True)
class Indicators(Category):
    """A column of categories: a 1 for each row in the column of its value; the first value has none."""

    @property
    def names(self) -> tuple[str, ...]:
        """``column=value`` for every value but the first."""
        return tuple(f"{self.column}={value}" for value in self.values[1:])

    def numbers(self, table: pa.Table) -> NDArray[np.float64]:
        """See :class:`Encoded`."""
        return self.indicators(table)[:, 1:].astype(np.float64)


def ordinal(value: Any, where: str) -> Encoded:
    """What trees ask for, from ``{party, column}`` or ``{party, column, values}``. Raises MalformedDocument."""
    if isinstance(value, dict) and "values" in value:
        return _owned(Ordered, value, where)
    fields = Fields(value, ("party", "column"), where)
    return Numeric(fields.address("party"), fields.string("column", 128))


def measured(value: Any, where: str) -> Encoded:
    """What weights are for, from ``{party, column, center, scale}`` or ``{party, column, values}``. Raises MalformedDocument."""
    if isinstance(value, dict) and "values" in value:
        return _owned(Indicators, value, where)
    return _owned(Scaled, value, where)


def _owned(kind: type[Ordered] | type[Indicators] | type[Scaled], value: Any, where: str) -> Encoded:
    found = kind.read(value, where)
    Fields(value, tuple(value), where).address("party")
    return found
