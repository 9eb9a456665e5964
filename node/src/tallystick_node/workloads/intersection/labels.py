"""The columns that one owner of an `intersection` gives with the keys that match: what a task says of them, and their cells as
bytes.

A row of cells has one width, whatever stands in it: an int64 and a decimal take nine bytes, 1 and the number, little-endian, or
zeros for none; a date five, likewise, in days since 1970; a bool one, 0 or 1, or 2 for none; a string two for its length, 65,535
for none, and as many for its UTF-8 as the task allows. Every string of bytes is some row: a cell that is none of these reads as
none, and is counted. An error instead would tell an owner that deviates that the key matched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tallystick.protocol.dataset import COLUMN_TYPES, MAX_SCALE
from tallystick.protocol.errors import InvalidData, MalformedDocument
from tallystick.protocol.fields import Fields

from tallystick_node.engines.psi.labels import MAX_WIDTH, Bytes

MAX_COLUMNS = 64
MAX_TEXT = 1024  # bytes

_STORED = {"int64": pa.int64(), "decimal": pa.int64(), "string": pa.string(), "bool": pa.bool_(), "date": pa.date32()}
_SIZES = {"int64": 9, "decimal": 9, "bool": 1, "date": 5}
_NONE, _NO_TEXT = 2, 0xFFFF
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # of the years 1 to 9999

Valid = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelColumn:
    """A column that is given: ``scale`` of a decimal, ``bytes`` the most that a string takes; 0 for others."""

    name: str
    type: str
    scale: int
    bytes: int

    @classmethod
    def read(cls, value: Any, where: str) -> LabelColumn:
        """From ``{name, type}``, with ``scale`` for a decimal and ``bytes`` for a string. Raises MalformedDocument."""
        fields = Fields(value, ("name", "type"), where, optional=("scale", "bytes"))
        kind = fields.choice("type", COLUMN_TYPES)
        for key, needed in (("scale", "decimal"), ("bytes", "string")):
            if fields.has(key) != (kind == needed):
                raise MalformedDocument(f"{where}.{key}: exactly a column of type {needed} has it")
        scale = fields.integer("scale", 0, MAX_SCALE) if kind == "decimal" else 0
        return cls(fields.string("name", 128), kind, scale, fields.integer("bytes", 1, MAX_TEXT) if kind == "string" else 0)

    @property
    def width(self) -> int:
        """Bytes of a cell."""
        return 2 + self.bytes if self.type == "string" else _SIZES[self.type]

    @property
    def arrow(self) -> pa.DataType:
        """As it stands in the result."""
        return pa.decimal128(19, self.scale) if self.type == "decimal" else _STORED[self.type]


@dataclass(frozen=True)
class LabelTerms:
    """``party`` gives these columns of its rows that match to the other owner."""

    party: str
    columns: tuple[LabelColumn, ...]

    @classmethod
    def read(cls, value: Any, where: str) -> LabelTerms:
        """From ``{party, columns}``. Raises MalformedDocument."""
        fields = Fields(value, ("party", "columns"), where)
        made = cls(fields.address("party"), fields.items("columns", 1, MAX_COLUMNS, LabelColumn.read))
        if len(set(made.names)) != len(made.names):
            raise MalformedDocument(f"{where}.columns: each stands there once")
        if made.width > MAX_WIDTH:
            raise MalformedDocument(f"{where}.columns: a row takes {made.width} bytes, more than {MAX_WIDTH}")
        return made

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def width(self) -> int:
        """Bytes of a row."""
        return sum(column.width for column in self.columns)

    @property
    def fields(self) -> list[pa.Field]:
        """Of the result's file."""
        return [pa.field(column.name, column.arrow) for column in self.columns]

    def encode(self, table: pa.Table) -> Bytes:
        """A table's rows, of shape (rows, width). Raises InvalidData for a column of another type or scale, and for text that is
        too long."""
        rows = np.zeros((table.num_rows, self.width), np.uint8)
        start = 0
        for column in self.columns:
            field = table.schema.field(column.name)
            if field.type != _STORED[column.type] or int((field.metadata or {}).get(b"scale", b"0")) != column.scale:
                raise InvalidData(
                    f"column {column.name!r} is not what the task says of its type and scale",
                    remedy="say the column's own type and scale in `labels`",
                )
            _encode(column, table.column(column.name).combine_chunks(), rows[:, start : start + column.width])
            start += column.width
        return rows

    def decode(self, rows: Bytes) -> tuple[list[pa.Array], int]:
        """The columns of such rows, and how many cells were none that :meth:`encode` makes."""
        columns, unreadable, start = [], 0, 0
        for column in self.columns:
            cells, wrong = _decode(column, np.ascontiguousarray(rows[:, start : start + column.width]))
            columns.append(cells)
            unreadable += wrong
            start += column.width
        return columns, unreadable


def _encode(column: LabelColumn, cells: pa.Array, out: Bytes) -> None:
    valid = cells.is_valid().to_numpy(zero_copy_only=False)
    if column.type == "string":
        _encode_text(column, cells, valid, out)
    elif column.type == "bool":
        out[:, 0] = np.where(valid, cells.fill_null(False).to_numpy(zero_copy_only=False), _NONE)
    else:
        numbers = (cells.cast(pa.int32()) if column.type == "date" else cells).fill_null(0).to_numpy()
        out[:, 0] = valid
        out[:, 1:] = np.ascontiguousarray(numbers).view(np.uint8).reshape(len(numbers), column.width - 1)


def _encode_text(column: LabelColumn, cells: pa.Array, valid: Valid, out: Bytes) -> None:
    content = cells.fill_null("").cast(pa.binary())
    lengths = pc.binary_length(content).to_numpy()
    longest = int(lengths.max(initial=0))
    if longest > column.bytes:
        raise InvalidData(
            f"a cell of column {column.name!r} takes {longest} bytes, where the task allows {column.bytes}",
            remedy="allow more bytes in `labels`, or leave the column out",
        )
    out[:, :2] = np.where(valid, lengths, _NO_TEXT).astype("<u2").view(np.uint8).reshape(-1, 2)
    joined = b"".join(content.to_pylist())
    out[:, 2:][np.arange(column.bytes) < lengths[:, None]] = np.frombuffer(joined, np.uint8)


def _decode(column: LabelColumn, cells: Bytes) -> tuple[pa.Array, int]:
    if column.type == "string":
        return _decode_text(column, cells)
    if column.type == "bool":
        known = cells[:, 0] <= _NONE
        return pa.array(cells[:, 0] == 1, mask=cells[:, 0] >= _NONE), int((~known).sum())
    numbers = np.ascontiguousarray(cells[:, 1:]).view("<i4" if column.type == "date" else "<i8").reshape(-1)
    valid, known = cells[:, 0] == 1, cells[:, 0] <= 1
    if column.type == "date":
        known &= (numbers >= _FIRST_DAY) & (numbers <= _LAST_DAY)
        valid &= known
    wrong = int((~known).sum())
    if column.type == "decimal":
        return _decimals(numbers, valid, column.arrow), wrong
    return pa.array(numbers, mask=~valid).cast(column.arrow), wrong


def _decimals(numbers: NDArray[np.int64], valid: Valid, kind: pa.DataType) -> pa.Array:
    wide = np.stack([numbers, numbers >> 63], axis=1)  # two's complement in 128 bits
    bitmap = np.packbits(valid, bitorder="little")
    return pa.Array.from_buffers(kind, len(numbers), [pa.py_buffer(bitmap.tobytes()), pa.py_buffer(wide.tobytes())])


def _decode_text(column: LabelColumn, cells: Bytes) -> tuple[pa.Array, int]:
    lengths = np.ascontiguousarray(cells[:, :2]).view("<u2").reshape(-1).astype(np.int64)
    valid, wrong = lengths <= column.bytes, int(((lengths > column.bytes) & (lengths != _NO_TEXT)).sum())
    lengths[~valid] = 0
    texts: Sequence[bytes] = [cell[2 : 2 + length].tobytes() for cell, length in zip(cells, lengths.tolist(), strict=True)]
    found: list[str | None] = []
    for text, filled in zip(texts, valid.tolist(), strict=True):
        try:
            found.append(text.decode() if filled else None)
        except UnicodeDecodeError:
            found.append(None)
            wrong += 1
    return pa.array(found, pa.string()), wrong
