"""The query and the module of the how-to give what the page says, outside of an enclave and in the same configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tallystick_node.engines.tee import sql, wasm
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


def test_the_python_function_of_the_page() -> None:
    space: dict[str, Any] = {}
    exec(block("python"), space)
    assert space["run"]([table("north"), table("south")]) == b"2.0"


def test_the_module_of_the_page_adds_up_the_first_columns() -> None:
    assert wasm.run(bytes(wat2wasm(block("wat"))), [table("north"), table("south")], LIMITS) == (12).to_bytes(8, "little")
