"""Data files as Arrow tables of exactly the declared columns: CSV and Parquet.

Decimal columns become int64 at their declared scale, without a float on the way, so that what is computed is what stands in
the file. Text is brought to Unicode NFC, the form that is committed to. Errors name the file, the column and the row (data
rows, counted from 1), never a value.

Files are read a batch of rows after another. A worker keeps a long table in a file of Arrow's that has no name and is mapped into
memory, so that its memory does not grow with its rows.
"""

from __future__ import annotations

import csv
import errno
import mmap
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from tallystick.protocol.dataset import Column
from tallystick.protocol.errors import InvalidData

MAX_ROWS = 50_000_000
BATCH = 1 << 18  # rows of a Parquet file at a time
FULL = (errno.ENOSPC, errno.EDQUOT)
LARGE = 64 << 20  # bytes of a file whose table is not kept in memory
LIMIT = 1 << 62  # magnitudes stay below it, so that sums and differences of two cells fit int64
NULLS = ("", "NA", "NULL", "null")
ARROW = {"int64": pa.int64(), "decimal": pa.int64(), "string": pa.string(), "bool": pa.bool_(), "date": pa.date32()}
REMEDY = "give a CSV or Parquet file in UTF-8 with these columns"

# Arrow's own cast to a decimal wraps around unnoticed beyond 38 digits; within these bounds 10^19 * 10^18 still fits.
_PLAIN = r"^[+-]?[0-9]{1,19}(\.[0-9]{1,18})?$"
_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,9}))?")


@dataclass(frozen=True)
class Place:
    """A batch of rows of a file: how many stand before it."""

    file: str
    before: int


def open_table(path: Path, columns: Sequence[Column], folder: Path | None = None) -> pa.Table:
    """The declared columns of ``path`` (``.csv`` or ``.parquet``), in their order. Raises InvalidData.

    With a ``folder`` on disk the table of a large file lies there, in a file without a name, mapped into memory.
    """
    name = path.name
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise InvalidData(f"{name}: neither .csv nor .parquet", remedy=REMEDY)
    try:
        batches = readers[path.suffix.lower()](path, [column.name for column in columns])
        if folder is not None and path.stat().st_size > LARGE:
            return _mapped(_converted(name, columns, batches), _schema(columns), folder)
        return pa.Table.from_batches(_converted(name, columns, batches), _schema(columns))
    except (OSError, csv.Error, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise InvalidData(f"{name}: no room for its table in the run's folder", remedy="make room on that disk") from None
        raise InvalidData(f"{name}: cannot be read: {type(error).__name__}", remedy=REMEDY) from None


def _schema(columns: Sequence[Column]) -> pa.Schema:
    return pa.schema([pa.field(each.name, ARROW[each.type], metadata={"scale": str(each.scale or 0)}) for each in columns])


def _converted(name: str, columns: Sequence[Column], batches: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
    rows = 0
    for raw in batches:
        if rows + raw.num_rows > MAX_ROWS:
            raise InvalidData(f"{name}: {rows + raw.num_rows} rows or more; from 1 to {MAX_ROWS} are allowed")
        place = Place(name, rows)
        arrays = [_convert(place, column, raw.column(column.name)) for column in columns]
        yield from pa.table(arrays, schema=_schema(columns)).to_batches()
        rows += raw.num_rows
    if not rows:
        raise InvalidData(f"{name}: 0 rows; from 1 to {MAX_ROWS} are allowed")


def _mapped(batches: Iterator[pa.RecordBatch], schema: pa.Schema, folder: Path) -> pa.Table:
    with tempfile.TemporaryFile(dir=folder) as file:
        with pa.ipc.new_file(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        file.flush()
        area = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return pa.ipc.open_file(pa.BufferReader(pa.py_buffer(area))).read_all()


def _read_parquet(path: Path, names: list[str]) -> Iterator[pa.Table]:
    with pa.parquet.ParquetFile(path) as file:
        _check_names(path.name, file.schema_arrow.names, names)
        for batch in file.iter_batches(BATCH, columns=names):
            yield pa.Table.from_batches([batch])


def _read_csv(path: Path, names: list[str]) -> Iterator[pa.Table]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = next((row for row in csv.reader(file) if row), [])
    _check_names(path.name, header, names)
    try:
        for batch in _parse_csv(path, names):
            yield pa.Table.from_batches([batch])
    except pa.ArrowInvalid as error:
        raise _csv_error(path.name, header, str(error)) from None


def _check_names(name: str, found: Sequence[str], declared: Sequence[str]) -> None:
    for column in declared:
        if column not in found:
            raise InvalidData(f"{name}: column {column!r} is missing", remedy="name the columns it has")
        if found.count(column) > 1:
            raise InvalidData(f"{name}: column {column!r} stands there twice", remedy="give each column its own name")


def _parse_csv(path: Path, names: list[str]) -> pa.csv.CSVStreamingReader:
    # Everything is read as text first: Arrow's own guesses would turn decimals into floats. In one thread Arrow counts the rows.
    return pa.csv.open_csv(
        path,
        read_options=pa.csv.ReadOptions(use_threads=False),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=names,
            strings_can_be_null=True,
            null_values=list(NULLS),
            check_utf8=True,
        ),
    )


def _csv_error(name: str, header: Sequence[str], text: str) -> InvalidData:
    """What Arrow says, less the row's content, which it quotes."""
    found = re.search(r"Row #([0-9]+): ", text)
    row = f", row {int(found[1]) - 1}" if found else ""  # Arrow counts the header
    if "UTF8" in text:
        place = re.match(r"In CSV column #([0-9]+)", text)
        column = f": column {header[int(place[1])]!r}" if place else ""
        return InvalidData(f"{name}{column}{row}: a cell is not UTF-8", remedy=REMEDY)
    wrong = re.search(r"Expected ([0-9]+) columns, got ([0-9]+)", text)
    if wrong:
        return InvalidData(f"{name}{row}: {wrong[2]} cells, where the header has {wrong[1]}", remedy=REMEDY)
    if "straddling" in text:
        return InvalidData(f"{name}: a row is too long; about 1 MiB is the limit", remedy=REMEDY)
    return InvalidData(f"{name}: cannot be read as CSV", remedy=REMEDY)


def _convert(place: Place, column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    if values.null_count and not column.nullable:
        raise _bad(place, column, _first(values.is_null()), "a cell is empty in a column that is not nullable")
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if column.type == "decimal" or (column.type == "int64" and _is_text(values.type)):
        return _numbers(place, column, values)
    converted = _cast(place, column, values)
    if column.type == "string":
        return _text(place, column, converted)
    if column.type == "int64":
        outside = pc.or_(pc.greater_equal(converted, LIMIT), pc.less_equal(converted, -LIMIT))
        row = _first(outside)
        if row:
            raise _bad(place, column, row, "a cell lies outside the numeric range")
    return converted


def _cast(place: Place, column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    kind, rule = ARROW[column.type], f"a cell is not of type {column.type}"
    try:
        converted = values.cast(kind)
        if not _is_text(values.type) and values.type != kind:
            # 5 is not true, and a date has no hour: nothing may be lost, so that the way back gives the same cells.
            row = _first(pc.not_equal(converted.cast(values.type), values))
            if row:
                raise _bad(place, column, row, rule)
    except pa.ArrowException:
        raise _bad(place, column, _first_bad(kind, values), rule) from None
    return converted


def _first(flags: pa.ChunkedArray) -> int:
    """The row, counted from 1, of the first true flag; 0 when there is none."""
    return int(flags.index(pa.scalar(value=True)).as_py()) + 1


def _first_bad(kind: pa.DataType, values: pa.ChunkedArray) -> int:
    """The row of the first cell that does not cast, by halving."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            values.slice(low, middle - low).cast(kind)
            low = middle
        except pa.ArrowException:
            high = middle
    return low + 1


def _text(place: Place, column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Valid UTF-8 (which Parquet does not promise) in NFC: two files with one root then give one result."""
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        raise _bad(place, column, _first_undecodable(values), "a cell is not UTF-8") from None
    return pa.chunked_array([normalized(chunk) for chunk in values.chunks], pa.string())


def normalized(values: pa.Array) -> pa.Array:
    """Texts in NFC. ASCII is in NFC already, so that only other cells leave Arrow."""
    foreign = pc.invert(pc.string_is_ascii(values)).fill_null(False)
    if not pc.any(foreign).as_py():
        return values
    composed = [unicodedata.normalize("NFC", text) for text in values.filter(foreign).to_pylist()]
    return pc.replace_with_mask(values, foreign, pa.array(composed, values.type))


def _first_undecodable(values: pa.ChunkedArray) -> int:
    for row, value in enumerate(values, 1):
        try:
            value.as_py()
        except UnicodeDecodeError:
            return row
    return 0


def _numbers(place: Place, column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = values.type
    if pa.types.is_floating(kind):
        raise _bad(place, column, 0, "a decimal column is stored as floats: store decimal or text, so that nothing is rounded")
    if not (pa.types.is_integer(kind) or pa.types.is_decimal(kind) or _is_text(kind) or pa.types.is_null(kind)):
        raise _bad(place, column, 0, f"the column is not of type {column.type}")
    parts, row = [], 0
    for chunk in values.cast(pa.string()).chunks:
        parts.append(_fixed_chunk(place, column, row, chunk))
        row += len(chunk)
    return pa.chunked_array(parts, pa.int64())


def _fixed_chunk(place: Place, column: Column, before: int, chunk: pa.Array) -> pa.Array:
    """The chunk's numbers in fixed point; ``before`` rows stand before it. Odd cells and errors go the slow, exact way."""
    trimmed = pc.ascii_trim_whitespace(chunk)
    if pc.all(pc.match_substring_regex(trimmed, _PLAIN), min_count=0).as_py():
        try:
            decimals = trimmed.cast(pa.decimal128(38, column.scale or 0))
        except pa.ArrowInvalid:
            decimals = None  # a cell has too many digits after the point: below it is found
        if decimals is not None:
            return _unscaled(place, column, before, decimals)
    scaled = [None if text is None else _fixed(place, column, row, text) for row, text in enumerate(chunk.to_pylist(), before + 1)]
    return pa.array(scaled, pa.int64())


def _unscaled(place: Place, column: Column, before: int, decimals: pa.Array) -> pa.Array:
    words = np.frombuffer(decimals.buffers()[1], np.int64).reshape(-1, 2)[decimals.offset : decimals.offset + len(decimals)]
    low, high = words[:, 0], words[:, 1]
    empty = decimals.is_null().to_numpy(zero_copy_only=False)
    inside = (high == low >> 63) & (low > -LIMIT) & (low < LIMIT) | empty
    if not inside.all():
        raise _bad(place, column, before + int(np.argmin(inside)) + 1, "a cell lies outside the numeric range")
    return pa.array(low, pa.int64(), mask=empty)


def _fixed(place: Place, column: Column, row: int, text: str) -> int:
    found = _NUMBER.fullmatch(text.strip())
    sign, whole, fraction, exponent = found.groups(default="") if found else ("", "", "", "")
    if not whole + fraction:
        raise _bad(place, column, row, f"a cell is not of type {column.type}")
    digits = (whole + fraction).lstrip("0")
    shorter = digits.rstrip("0")
    shift = int(exponent or "0") - len(fraction) + (column.scale or 0) + len(digits) - len(shorter)
    if not shorter:
        return 0
    if shift < 0 and column.type == "decimal":
        raise _bad(place, column, row, f"a cell has more than {column.scale} digits after the point")
    if shift < 0:
        raise _bad(place, column, row, "a cell is not of type int64")
    # The length comes first: a power of ten with a large exponent would take the memory there is.
    if len(shorter) + shift > 19 or int(shorter) * 10**shift >= LIMIT:
        raise _bad(place, column, row, "a cell lies outside the numeric range")
    return int(sign + shorter) * int(10**shift)


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _bad(place: Place, column: Column, row: int, rule: str) -> InvalidData:
    where = f", row {place.before + row}" if row else ""
    return InvalidData(f"{place.file}: column {column.name!r}{where}: {rule}", remedy="mend the file, or declare the column so")
