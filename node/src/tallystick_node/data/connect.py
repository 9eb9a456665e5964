"""Data files as Arrow tables of exactly the declared columns: CSV and Parquet.

Decimal columns become int64 at their declared scale, without a float on the way, so that what is computed is what stands in
the file. Errors name the file, the column and the row, never a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from tallystick.protocol.dataset import Column
from tallystick.protocol.errors import InvalidData

MAX_ROWS = 50_000_000
LIMIT = 1 << 62  # magnitudes stay below it, so that sums and differences of two cells fit int64
NULLS = ("", "NA", "NULL", "null")
ARROW = {"int64": pa.int64(), "decimal": pa.int64(), "string": pa.string(), "bool": pa.bool_(), "date": pa.date32()}


def open_table(path: Path, columns: Sequence[Column]) -> pa.Table:
    """The declared columns of ``path`` (``.csv`` or ``.parquet``), in their order. Raises InvalidData."""
    name = path.name
    names = [column.name for column in columns]
    try:
        raw = _read(path, names)
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError) as error:
        raise InvalidData(
            f"{name}: {_reason(error)}", party=name, remedy="give a CSV or Parquet file in UTF-8 with these columns"
        ) from None
    missing = [column for column in names if column not in raw.column_names]
    if missing:
        raise InvalidData(f"{name}: column {missing[0]!r} is missing", party=name, remedy="name the columns it has")
    if not 1 <= raw.num_rows <= MAX_ROWS:
        raise InvalidData(f"{name}: {raw.num_rows} rows; from 1 to {MAX_ROWS} are allowed", party=name)
    arrays = [_convert(name, column, raw.column(column.name)) for column in columns]
    fields = [pa.field(c.name, ARROW[c.type], metadata={"scale": str(c.scale or 0)}) for c in columns]
    return pa.table(arrays, schema=pa.schema(fields))


def _read(path: Path, names: Sequence[str]) -> pa.Table:
    if path.suffix == ".parquet":
        return pa.parquet.read_table(path, columns=[n for n in names if n in pa.parquet.read_schema(path).names])
    if path.suffix != ".csv":
        raise pa.ArrowInvalid("neither .csv nor .parquet")
    # Everything is read as text first: Arrow's own guesses would turn decimals into floats.
    options = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        include_columns=list(names),
        include_missing_columns=False,
        strings_can_be_null=True,
        null_values=list(NULLS),
        check_utf8=True,
    )
    return pa.csv.read_csv(path, convert_options=options)


def _reason(error: Exception) -> str:
    text = str(error)
    if "UTF8" in text or "UTF-8" in text or "utf8" in text:
        return "not UTF-8"
    if "include_columns" in text or "No match for FieldRef" in text:
        return "a declared column is missing"
    if "Empty CSV" in text:
        return "empty"
    return "cannot be read: " + type(error).__name__


def _convert(name: str, column: Column, values: pa.ChunkedArray) -> pa.Array:
    if values.null_count and not column.nullable:
        row = values.is_null().combine_chunks().index(pa.scalar(value=True)).as_py() + 1
        raise _bad(name, column, row, "a cell is empty in a column that is not nullable")
    try:
        if column.type == "decimal":
            return _decimals(name, column, values)
        converted = values.cast(ARROW[column.type]).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise _bad(name, column, _first_bad(column, values), f"a cell is not of type {column.type}") from None
    if column.type == "int64":
        _check_range(name, column, converted)
    return converted


def _decimals(name: str, column: Column, values: pa.ChunkedArray) -> pa.Array:
    kind = values.type
    if pa.types.is_floating(kind):
        raise _bad(name, column, 0, "a decimal column is stored as floats: store decimal or text, so that nothing is rounded")
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        values = values.cast(pa.string())
    scaled: list[int | None] = []
    for row, text in enumerate(values.to_pylist(), 1):
        scaled.append(None if text is None else _fixed(name, column, row, text))
    return pa.array(scaled, pa.int64())


def _fixed(name: str, column: Column, row: int, text: str) -> int:
    try:
        value = Decimal(text.strip()).scaleb(column.scale or 0)
        whole = int(value)
    except (InvalidOperation, ValueError, OverflowError):
        raise _bad(name, column, row, "a cell is not a decimal number") from None
    if whole != value:
        raise _bad(name, column, row, f"a cell has more than {column.scale} digits after the point")
    if abs(whole) >= LIMIT:
        raise _bad(name, column, row, "a cell lies outside the numeric range")
    return whole


def _check_range(name: str, column: Column, values: pa.Array) -> None:
    import pyarrow.compute as pc

    outside = pc.or_(pc.greater_equal(values, LIMIT), pc.less_equal(values, -LIMIT))
    row = outside.index(pa.scalar(value=True)).as_py()
    if row >= 0:
        raise _bad(name, column, row + 1, "a cell lies outside the numeric range")


def _first_bad(column: Column, values: pa.ChunkedArray) -> int:
    for row, value in enumerate(values, 1):
        try:
            value.cast(ARROW[column.type])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return row
    return 0


def _bad(name: str, column: Column, row: int, rule: str) -> InvalidData:
    where = f", row {row}" if row else ""
    return InvalidData(
        f"{name}: column {column.name!r}{where}: {rule}", party=name, remedy="mend the file, or declare the column so"
    )
