"""Columns whose values are categories that a task lists: which rows are of which category."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tallystick.protocol.errors import InvalidData, InvalidTask
from tallystick.protocol.fields import Fields

from tallystick_node.workloads.reading import fixed

MAX_CATEGORIES = 64


@dataclass(frozen=True)
class Category:
    """A column and its categories, as texts. ``party`` is empty where every owner has it."""

    party: str
    column: str
    values: tuple[str, ...]

    @classmethod
    def read(cls, value: Any, where: str) -> Self:
        """From ``{party, column, values}``; party may be null. Raises MalformedDocument."""
        fields = Fields(value, ("party", "column", "values"), where)
        party = "" if value["party"] is None else fields.address("party")
        return cls(party, fields.string("column", 128), fields.names("values", 2, MAX_CATEGORIES))

    def indicators(self, table: pa.Table) -> NDArray[np.int64]:
        """A 1 in each row at its category: shape (rows, categories). Raises InvalidData for any other value, never naming it."""
        places = self.places(table)
        if len(places) and places.min() < 0:
            raise InvalidData(f"column {self.column!r} has a value that is none of the task's", remedy="list all values")
        found: NDArray[np.int64] = np.eye(len(self.values), dtype=np.int64)[places]
        return found

    def places(self, table: pa.Table) -> NDArray[np.int64]:
        """Each row's category by its place among the values, -1 for another value. Raises InvalidData for empty cells, and where
        the task's values are not of the column's type."""
        cells = table.column(self.column)
        if cells.null_count:
            raise InvalidData(f"column {self.column!r} has empty cells", remedy="fill them, or publish a dataset without such rows")
        if pa.types.is_string(cells.type):
            cells = pc.utf8_normalize(cells, form="NFC")
        known = self._typed(table.schema.field(self.column))
        found: NDArray[np.int64] = pc.index_in(cells.combine_chunks(), value_set=known).fill_null(-1).to_numpy().astype(np.int64)
        return found

    def _typed(self, field: pa.Field) -> pa.Array:
        try:
            if field.type == pa.int64():
                scale = int((field.metadata or {}).get(b"scale", b"0"))
                typed = pa.array([fixed(text, scale, self.column) for text in self.values], pa.int64())
            else:
                typed = pa.array([unicodedata.normalize("NFC", text) for text in self.values], pa.string()).cast(field.type)
        except (pa.ArrowInvalid, InvalidTask):
            typed = pa.array([], field.type)
        if len(typed.unique()) != len(self.values):
            raise InvalidData(
                f"the task's values of column {self.column!r} are not different values of its type",
                remedy="write them as the column has them, each once",
            )
        return typed
