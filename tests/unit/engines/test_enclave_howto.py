"""The query and the module of the how-to give what the page says, outside of an enclave and in the same configuration."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tallystick_node.engines.tee import learning, sql, wasm
from tallystick_node.engines.tee.manifest import Limits
from tallystick_node.engines.tee.tables import Column, Table, encode
from wasmtime import wat2wasm

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "compute-in-an-enclave.md").read_text()
LIMITS = vars(Limits(heap=64 << 20, fuel=1_000_000, minimum_group=2))


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def table(name: str) -> bytes:
    columns = (
        Column("person", "int64", 0, [1, 2, 3, None]),
        Column("region", "string", 0, ["east", "east", "west", None]),
        Column("balance", "decimal", 2, [100, 200, 300, 400]),
    )
    return encode(Table(name, 4, columns))


def test_the_query_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    with duckdb.connect(":memory:", config=sql.CLOSED) as connection:
        monkeypatch.setattr(sql, "connection", connection)
        found = sql.run(block("sql").encode(), [table("north"), table("south")], LIMITS)
    assert found == b"region,group_size,exposure,correlation\neast,2,6.00,1.0\n"


def test_the_training_and_the_prediction_of_the_page() -> None:
    people = range(100)
    north = (Column("person", "int64", 0, list(people)), Column("age", "int64", 0, [20 + each % 40 for each in people]))
    income = Column("income", "decimal", 2, [1_000_00 + 7_00 * (each % 31) for each in people])
    south = (
        Column("person", "int64", 0, list(people)),
        income,
        Column("late", "bool", 0, [int(each % 40 > 20) for each in people]),
    )
    tables = [encode(Table(name, 100, columns)) for name, columns in (("north", north), ("south", south))]
    model = csv.DictReader(io.StringIO(learning.run(block("json train").encode(), tables, LIMITS).decode()))
    parts, places, values = zip(*((each["part"], int(each["place"]), each["value"]) for each in model), strict=True)
    assert "metric auc" in parts
    columns = (Column("part", "string", 0, parts), Column("place", "int64", 0, places), Column("value", "string", 0, values))
    given = [*tables, encode(Table("model", len(parts), columns))]
    found = learning.run(block("json predict").encode(), given, LIMITS).decode().splitlines()
    assert found[0] == "person,south.late,probability false,probability true" and len(found) == 101


def test_the_python_function_of_the_page() -> None:
    space: dict[str, Any] = {}
    exec(block("python"), space)
    assert space["run"]([table("north"), table("south")]) == b"2.0"


def test_the_module_of_the_page_adds_up_the_first_columns() -> None:
    assert wasm.run(bytes(wat2wasm(block("wat"))), [table("north"), table("south")], LIMITS) == (12).to_bytes(8, "little")
