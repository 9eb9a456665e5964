"""The cells of a table's row as bytes, and back as the text of a result file.

For each cell its type's letter and its content: ``n`` for none, ``i`` and 8 bytes, ``d`` with the scale in one byte and 8 bytes of
the unscaled number, ``t`` and the days since 1970 in 4 bytes, ``b`` and one byte, ``s`` with the length in 2 bytes and UTF-8.
Numbers are little-endian.
"""

from __future__ import annotations

import datetime as dt
import struct
from decimal import Decimal
from typing import Any

import pyarrow as pa
from tallystick.protocol.dataset import MAX_SCALE
from tallystick.protocol.errors import InvalidData

_SIZES = {"n": 0, "i": 8, "d": 9, "t": 4, "b": 1}
_FIRST = dt.date(1970, 1, 1)


class NotARow(Exception):  # noqa: N818 - a verdict on what a peer sealed
    """The bytes are not those of a row with so many cells."""


def encode_rows(table: pa.Table, row_bytes: int) -> list[bytes]:
    """Each row's cells, in the table's order. Raises InvalidData for a row that takes more bytes than allowed."""
    columns = [_encode_column(table.schema.field(name), table.column(name)) for name in table.column_names]
    rows = [b"".join(cells) for cells in zip(*columns, strict=True)]
    longest = max(map(len, rows), default=0)
    if longest > row_bytes:
        raise InvalidData(
            f"a row of the table takes {longest} bytes, more than row_bytes allows",
            remedy="read fewer columns, or allow more bytes",
        )
    return rows


def decode_row(data: bytes, cells: int) -> list[str]:
    """The cells as text, empty for none. Raises NotARow."""
    found = []
    for _ in range(cells):
        letter, data = data[:1].decode("latin-1"), data[1:]
        if letter == "s":
            size, data = int.from_bytes(data[:2], "little"), data[2:]
        elif letter in _SIZES:
            size = _SIZES[letter]
        else:
            raise NotARow(f"a cell of unknown type {letter!r}")
        if len(data) < size:
            raise NotARow("a cell that is cut off")
        found.append(_decode_cell(letter, data[:size]))
        data = data[size:]
    if data:
        raise NotARow("more bytes than cells")
    return found


def _encode_column(field: pa.Field, column: pa.ChunkedArray) -> list[bytes]:
    scale = int((field.metadata or {}).get(b"scale", b"0"))
    return [_encode_cell(field.type, scale, cell) for cell in column.to_pylist()]


def _encode_cell(kind: pa.DataType, scale: int, cell: Any) -> bytes:
    if cell is None:
        return b"n"
    if pa.types.is_int64(kind):
        return struct.pack("<cBq", b"d", scale, cell) if scale else struct.pack("<cq", b"i", cell)
    if pa.types.is_date32(kind):
        return struct.pack("<ci", b"t", (cell - _FIRST).days)
    if pa.types.is_boolean(kind):
        return b"b\1" if cell else b"b\0"
    text: bytes = cell.encode()
    if len(text) > 0xFFFF:
        raise InvalidData("a text of the table takes more than 65,535 bytes", remedy="read other columns")
    return struct.pack("<cH", b"s", len(text)) + text


def _decode_cell(letter: str, content: bytes) -> str:
    if letter == "n":
        return ""
    if letter == "i":
        return str(int.from_bytes(content, "little", signed=True))
    if letter == "d":
        if content[0] > MAX_SCALE:
            raise NotARow(f"a number of scale {content[0]}")
        return f"{Decimal(int.from_bytes(content[1:], 'little', signed=True)).scaleb(-content[0]):f}"
    if letter == "b":
        return "true" if content == b"\1" else "false"
    try:
        if letter == "t":
            return (_FIRST + dt.timedelta(days=int.from_bytes(content, "little", signed=True))).isoformat()
        return content.decode()
    except (OverflowError, UnicodeDecodeError):
        raise NotARow("a cell that is no date, or no text") from None
