"""What an owner shows where one of its rows is demanded: a true path to the commitment, and nothing that is not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tallystick.protocol import canonical, merkle
from tallystick.protocol.agreement import Demand, Opening
from tallystick.protocol.dataset import Column, DatasetDescriptor
from tallystick.protocol.errors import InvalidData
from tallystick_node.data import opening as module
from tallystick_node.data.attach import attach
from tallystick_node.store.database import Store
from tallystick_node.store.models import DatasetRow


def opening(row: DatasetRow, task: bytes, demand: Demand) -> Opening:
    return module.opening(row, task, demand, lambda: None)


OWNER = "0x" + "11" * 20
TASK, DATASET = bytes([1]) * 32, bytes([2]) * 32
ROWS = 13


@pytest.fixture
def attached(tmp_path: Path) -> tuple[DatasetRow, Demand]:
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"{i},name{i}\n" for i in range(ROWS)))
    store = Store(f"sqlite:///{tmp_path / 'node.db'}")
    columns = canonical.encode([Column("a", "int64").to_json(), Column("b", "string").to_json()])
    content = attach(store, tmp_path, OWNER, "rows", "rows.csv", columns)
    (row,) = store.datasets()
    descriptor = DatasetDescriptor.parse(content)
    return row, Demand(DATASET, canonical.untext(descriptor.root), 5, descriptor.rows)


@pytest.mark.parametrize("index", range(ROWS))
def test_every_row_is_shown_under_the_commitment(attached: tuple[DatasetRow, Demand], index: int) -> None:
    row, demand = attached
    shown = opening(row, TASK, replace(demand, index=index))
    assert (shown.task, shown.dataset, shown.rows, shown.index, shown.size) == (TASK, DATASET, demand.rows, index, ROWS)
    at, size, node = index, ROWS, shown.leaf
    for sibling in shown.path:  # RFC 9162, 2.1.3.2
        while at % 2 == 0 and at == size - 1 and size > 1:
            at, size = at // 2, (size + 1) // 2
        node = merkle.node_hash(sibling, node) if at % 2 else merkle.node_hash(node, sibling)
        at, size = at // 2, (size + 1) // 2
    assert node == demand.rows


def test_what_is_shown_holds_neither_row_nor_salt(attached: tuple[DatasetRow, Demand]) -> None:
    row, demand = attached
    shown = b"".join([opening(row, TASK, demand).leaf, *opening(row, TASK, demand).path])
    assert b"name5" not in shown and row.secret not in shown


def test_what_was_not_committed_to_is_not_shown(attached: tuple[DatasetRow, Demand]) -> None:
    row, demand = attached
    for asked in (
        replace(demand, rows=bytes(32)),
        replace(demand, size=ROWS + 1),
        replace(demand, index=ROWS),
        replace(demand, index=-1),
    ):
        with pytest.raises(InvalidData, match="another commitment"):
            opening(row, TASK, asked)


def test_a_file_that_changed_opens_nothing(attached: tuple[DatasetRow, Demand]) -> None:
    row, demand = attached
    path = Path(row.path)
    path.write_text(path.read_text().replace("name7", "name8"))
    with pytest.raises(InvalidData, match="not the one that was published"):
        opening(row, TASK, demand)


@pytest.mark.parametrize("times", range(3))
def test_whoever_has_waited_long_enough_ends_it(attached: tuple[DatasetRow, Demand], times: int) -> None:
    """Before the rows are hashed, before the tree that is compared, and before the one that the path is in."""
    left = [True] * times

    class Enough(Exception):
        pass

    def enough() -> None:
        if not left:
            raise Enough
        left.pop()

    with pytest.raises(Enough):
        module.opening(attached[0], TASK, attached[1], enough)
