"""Queries inside of an enclave: one SELECT over the owners' tables, in DuckDB, with nothing of the world around it.

Imported before confinement, which the connection and its thread have to be made before; part of the measurement. One thread, no
files, no extensions, no configuration that could be changed. What could give another result at another time (``random``, ``now``
and their like, samples) is refused, as are all tables but the task's own.

The output rule: the result has a column ``group_size`` of whole numbers, how many people or rows stand behind the row; rows in
which it is below the minimum group are left out. Whether the query counts honestly is for those to read who authorise its digest.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import duckdb

from tallystick_node.engines.tee.reasons import (
    AlgorithmFailed,
    AlgorithmRefused,
    MalformedInput,
    NoGroupSize,
    OutOfHeap,
    OutputTooLarge,
    TooFewRows,
)
from tallystick_node.engines.tee.tables import Column, Table, decode

GROUP_SIZE = "group_size"
_BATCH = 1 << 16  # rows
CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "async_threads": 0,
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,
    "temp_directory": "",
}
_TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest"})
_QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})  # others change or copy tables
_OF_THE_MOMENT = {"age", "ago", "pg_sleep", "reservoir_quantile"}
# what SQL calls without parentheses, where no column has the name
_CALLED_AS_COLUMNS = {
    "current_catalog", "current_date", "current_role", "current_schema", "current_time", "current_timestamp", "current_user",
    "localtime", "localtimestamp", "session_user", "user",
}  # fmt: skip
_OF_THE_HOST = {"pg_conf_load_time", "pg_postmaster_start_time"}
_INCONSISTENT = """SELECT lower(function_name) FROM duckdb_functions() WHERE function_type IN ('scalar', 'aggregate')
    GROUP BY 1 HAVING bool_and(stability <> 'CONSISTENT')"""
_SQL_TYPES = {"int64": "BIGINT", "date": "DATE", "bool": "BOOLEAN", "string": "VARCHAR"}
_FROM_NUMBERS = {
    "int64": "unnest(?::BIGINT[])",
    "date": "DATE '1970-01-01' + unnest(?::INTEGER[])",
    "bool": "unnest(?::TINYINT[])::BOOLEAN",
    "string": "unnest(?::VARCHAR[])",
    "decimal": "unnest(?::VARCHAR[])",
}

connection = duckdb.connect(":memory:", config=CLOSED)
# what the library loads late, it has to load now
_REFUSED = (
    frozenset(name for (name,) in connection.execute(_INCONSISTENT).fetchall()) | _OF_THE_MOMENT | _OF_THE_HOST | _CALLED_AS_COLUMNS
)
_VIEWS = frozenset(name for (name,) in connection.execute("SELECT lower(view_name) FROM duckdb_views()").fetchall())
connection.execute("SELECT DATE '2000-01-01', 1.50::DECIMAL(18, 2), 1.5::DOUBLE, json_serialize_sql('SELECT 1')").fetchall()


def run(algorithm: bytes, inputs: Sequence[bytes], limits: Mapping[str, int]) -> bytes:
    """The query's result as CSV: a line with the names, then one for each row that may be shown. An empty field is no value.

    Raises a :class:`~tallystick_node.engines.tee.reasons.NoResult`.
    """
    tables = [decode(data) for data in inputs]
    if len({table.name.lower() for table in tables}) != len(tables):
        raise MalformedInput("two tables have one name")
    if any(table.rows < limits["minimum_group"] for table in tables):
        raise TooFewRows
    try:
        source = algorithm.decode()
    except UnicodeDecodeError:
        raise AlgorithmRefused("the query is not UTF-8") from None
    require_closed(source, {table.name.lower() for table in tables})
    try:
        connection.execute(f"SET memory_limit = '{limits['heap'] >> 10}KiB'")
        connection.execute("SET TimeZone = 'UTC'")  # at first it is the host's
        for table in tables:
            _load(table)
        connection.execute("SET lock_configuration = true")
        connection.execute(source)
        return _written(limits)
    except (duckdb.OutOfMemoryException, MemoryError):
        raise OutOfHeap from None
    except duckdb.Error as error:
        raise AlgorithmFailed(str(error)) from None


def require_closed(source: str, tables: set[str]) -> None:
    """Raise :class:`AlgorithmRefused` unless ``source`` is one SELECT over ``tables`` (in lower case) whose result depends on them
    alone."""
    try:
        found = connection.execute("SELECT json_serialize_sql(?)", [source]).fetchone()
    except duckdb.Error as error:
        raise AlgorithmRefused(str(error)) from None
    assert found is not None
    tree = json.loads(found[0])
    if tree["error"]:
        raise AlgorithmRefused(f"not a SELECT statement: {tree.get('error_message', '')}")
    if len(tree["statements"]) != 1:
        raise AlgorithmRefused("more or less than one statement")
    nodes = list(_nodes(tree))
    named = {each["key"].lower() for node in nodes for each in (node.get("cte_map") or {}).get("map", [])}
    for node in nodes:
        _require_closed(node, tables | (named - _VIEWS))  # such a name could mean the view outside of its WITH


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    left = [tree]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            yield each
            left += each.values()
        elif isinstance(each, list):
            left += each


def _require_closed(node: dict[str, Any], known: set[str]) -> None:
    kind, name = node.get("type"), str(node.get("function_name", "")).lower()
    if kind == "TABLE_FUNCTION":
        called = str(node["function"].get("function_name", "")).lower()
        if called not in _TABLE_FUNCTIONS:
            raise AlgorithmRefused(f"the table function {called!r} reads what is no input of the task")
    elif kind == "BASE_TABLE":
        if node["schema_name"] or node["catalog_name"] or node["table_name"].lower() not in known:
            raise AlgorithmRefused(f"the table {node['table_name']!r} is no input of the task")
    elif kind == "SHOW_REF" or (str(kind).endswith("_NODE") and kind not in _QUERIES):
        raise AlgorithmRefused("not a SELECT statement")
    elif kind == "COLUMN_REF":
        column = node["column_names"][-1].lower() if len(node["column_names"]) == 1 else ""
        name = column if column in _CALLED_AS_COLUMNS else ""
    if name in _REFUSED:
        raise AlgorithmRefused(f"{name!r} gives something else each time or in each place")
    if node.get("sample") is not None:
        raise AlgorithmRefused("a sample is another one each time")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _type_of(column: Column) -> str:
    return f"DECIMAL(20, {column.scale})" if column.type == "decimal" else _SQL_TYPES[column.type]


def _load(table: Table) -> None:
    columns = ", ".join(f"{_quoted(each.name)} {_type_of(each)}" for each in table.columns)
    connection.execute(f"CREATE TABLE {_quoted(table.name)} ({columns})")
    read = ", ".join(_FROM_NUMBERS[each.type] for each in table.columns)
    for start in range(0, table.rows, _BATCH):
        batch = [_cells(each, start) for each in table.columns]
        connection.execute(f"INSERT INTO {_quoted(table.name)} SELECT {read}", batch)


def _cells(column: Column, start: int) -> list[int | str | None]:
    cells = list(column.cells[start : start + _BATCH])
    if column.type != "decimal":
        return cells
    return [None if cell is None else f"{Decimal(cell).scaleb(-column.scale):f}" for cell in cells]


def _written(limits: Mapping[str, int]) -> bytes:
    names = [each[0] for each in connection.description or ()]
    if names.count(GROUP_SIZE) != 1:
        raise NoGroupSize
    place = names.index(GROUP_SIZE)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    while rows := connection.fetchmany(1024):
        for row in rows:
            size = row[place]
            if type(size) is not int:
                raise NoGroupSize
            if size >= limits["minimum_group"]:
                writer.writerow([_text(cell) for cell in row])
        if text.tell() > limits["output"]:
            raise OutputTooLarge
    written = text.getvalue().encode()
    if len(written) > limits["output"]:
        raise OutputTooLarge
    return written


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return repr(cell)
    if isinstance(cell, Decimal):
        return f"{cell:f}"
    if isinstance(cell, int | str):
        return str(cell)
    if type(cell) is dt.date:
        return cell.isoformat()
    raise AlgorithmRefused("a column of the result is neither number, text, date nor boolean: cast it")
