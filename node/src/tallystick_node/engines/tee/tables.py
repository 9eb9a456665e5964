"""Owners' tables as bytes: how they are sealed for an enclave, and how a module finds them in its memory.

Imported inside of enclaves: the standard library only, and part of the measurement. All numbers are little-endian, every part
starts at a multiple of 8 from the table's start, with zeros before it:

- the table's length in bytes, the head's, the number of rows and that of columns, 4 bytes each; the head: JSON with ``name`` and
  ``columns``, of each its ``name``, ``type`` and ``scale``;
- for each column one byte for each row, 1 where there is a cell; then, for all types but strings, 8 bytes for each row, signed:
  the number (for a decimal, times ten to the ``scale``), the days since 1970, 0 or 1; for strings the offsets, 8 bytes for each
  row and 8 for the end, and the UTF-8 bytes. Where there is no cell, the number is 0 or the string empty.
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from tallystick_node.engines.tee.reasons import MalformedInput

TYPES = ("int64", "decimal", "date", "bool", "string")
MAX_COLUMNS, MAX_ROWS, MAX_NAME = 4096, 1 << 26, 128
_HEAD = struct.Struct("<IIII")


@dataclass(frozen=True)
class Column:
    """One column: ``cells`` are whole numbers (as the module's text says) or strings, ``None`` where there is no cell."""

    name: str
    type: str
    scale: int
    cells: Sequence[int | str | None]


@dataclass(frozen=True)
class Table:
    """One owner's rows, under the ``name`` that the task gives them."""

    name: str
    rows: int
    columns: tuple[Column, ...]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def encode(table: Table) -> bytes:
    """The bytes of a table. ``ValueError`` (``OverflowError``, ``TypeError``) for cells that are not of their column's type."""
    head = {
        "name": table.name,
        "columns": [{"name": each.name, "type": each.type, "scale": each.scale} for each in table.columns],
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    parts: list[bytes] = []
    for column in table.columns:
        if len(column.cells) != table.rows:
            raise ValueError("a column has another number of rows than its table")
        parts.append(bytes(cell is not None for cell in column.cells))
        if column.type == "string":
            words = [b"" if cell is None else str(cell).encode() for cell in column.cells]
            parts += [_numbers(list(accumulate(map(len, words), initial=0))), b"".join(words)]
        else:
            parts.append(_numbers([int(cell or 0) for cell in column.cells]))
    body = b"".join([_padded(bytes(_HEAD.size) + text), *map(_padded, parts)])
    return _HEAD.pack(len(body), len(text), table.rows, len(table.columns)) + body[_HEAD.size :]


def _numbers(values: list[int]) -> bytes:
    return array("q", values).tobytes()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def take(self, size: int) -> bytes:
        found = self._data[self._place : self._place + size]
        padding = self._data[self._place + size : self._place + size + -size % 8]
        if len(found) != size or padding != bytes(-size % 8):
            raise MalformedInput("a part is cut off, or not padded with zeros")
        self._place += size + len(padding)
        return found

    def numbers(self, count: int) -> list[int]:
        values = array("q")
        values.frombytes(self.take(8 * count))
        return values.tolist()

    @property
    def left(self) -> int:
        return len(self._data) - self._place


def decode(data: bytes) -> Table:
    """The table, strictly. Raises :class:`MalformedInput`."""
    if len(data) < _HEAD.size:
        raise MalformedInput("too short for a table")
    size, head_size, rows, columns = _HEAD.unpack(data[: _HEAD.size])
    reader = _Reader(data)
    head = reader.take(_HEAD.size + head_size)[_HEAD.size :] if head_size < len(data) else b""
    try:
        value = json.loads(head)
        name, stated = value["name"], [(each["name"], each["type"], each["scale"]) for each in value["columns"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise MalformedInput("the head is no table's") from None
    if size != len(data) or not _is_name(name) or rows > MAX_ROWS or columns != len(stated):
        raise MalformedInput("the head does not fit")
    if not 1 <= len(stated) <= MAX_COLUMNS or any(not _is_column(*each) for each in stated):
        raise MalformedInput("a column is not of a known type")
    if len({each.lower() for each, _, _ in stated}) != len(stated):
        raise MalformedInput("two columns have one name")
    table = Table(name, rows, tuple(Column(*each, _cells(reader, each[1], rows)) for each in stated))
    if reader.left:
        raise MalformedInput("there are more bytes than the table has")
    return table


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 1 <= len(name) <= MAX_NAME and "\0" not in name


def _is_column(name: object, kind: object, scale: object) -> bool:
    return _is_name(name) and kind in TYPES and type(scale) is int and (0 <= scale <= 18 if kind == "decimal" else scale == 0)


def _cells(reader: _Reader, kind: str, rows: int) -> list[int | str | None]:
    present = reader.take(rows)
    if present.strip(b"\0\1"):
        raise MalformedInput("a cell is neither there nor not")
    if kind != "string":
        return [number if there else None for there, number in zip(present, reader.numbers(rows), strict=True)]
    offsets = reader.numbers(rows + 1)
    if offsets[0] != 0 or any(start > end for start, end in pairwise(offsets)) or offsets[-1] > reader.left:
        raise MalformedInput("the offsets of strings do not fit")
    content = reader.take(offsets[-1])
    try:
        words = [content[start:end].decode() for start, end in pairwise(offsets)]
    except UnicodeDecodeError:
        raise MalformedInput("a string is not UTF-8") from None
    return [word if there else None for there, word in zip(present, words, strict=True)]
