"""The commitment to rows, against the specification's vectors and against a second implementation of it."""

import datetime as dt
import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tallystick.protocol import merkle
from tallystick.protocol.dataset import Column
from tallystick_node.data import commit
from tallystick_node.data.commit import encode_rows, row_salt, rows_root
from unit.data import reference

SPEC = Path(__file__).parents[3] / "docs/spec/dataset.md"
SECRET = bytes(range(32))
KINDS = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "decimal": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "date": st.dates(),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(["Zoë", "Zoe\u0308", "Å", "A\u030a"]),
}
ARROW = {"int64": pa.int64(), "decimal": pa.int64(), "string": pa.string(), "bool": pa.bool_(), "date": pa.date32()}


def arrow(rows, columns):
    return pa.table(
        {column.name: pa.chunked_array([[row[place] for row in rows]], ARROW[column.type]) for place, column in enumerate(columns)}
    )


@st.composite
def tables(draw, least=0):
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=6))
    columns = [Column(f"c{i}", kind, 2 if kind == "decimal" else None, draw(st.booleans())) for i, kind in enumerate(kinds)]
    cells = [st.none() | KINDS[each.type] if each.nullable else KINDS[each.type] for each in columns]
    return columns, draw(st.lists(st.tuples(*cells), min_size=least, max_size=12))


@settings(max_examples=150)
@given(tables(), st.binary(min_size=32, max_size=32))
def test_rows_and_root_equal_the_reference(drawn, secret):
    columns, rows = drawn
    expected = [reference.row(row, columns) for row in rows]
    table = arrow(rows, columns)
    assert encode_rows(table, columns) == expected
    assert rows_root(table, columns, secret) == reference.root(expected, secret)


def test_the_vectors_of_the_specification():
    text = SPEC.read_text()
    columns = [
        Column("age", "int64"), Column("mass", "decimal", 2, nullable=True), Column("name", "string"), Column("alive", "bool"),
        Column("seen", "date"),
    ]  # fmt: skip
    rows = [
        (-1, 7150, "Zoë", True, dt.date(2022, 1, 8)),
        (42, None, "", False, dt.date(1969, 12, 31)),
        (1099511627776, -5, "A", True, dt.date(1970, 1, 1)),
    ]
    encoded = [bytes.fromhex(each) for each in re.findall(r"\| `([0-9a-f]{40,})` \|", text)]
    root = bytes.fromhex(re.search(r"sha256:([0-9a-f]{64})", text)[1])
    table = arrow(rows, columns)
    assert encode_rows(table, columns) == encoded
    assert rows_root(table, columns, b"\x2a" * 32) == root
    assert reference.root(encoded, b"\x2a" * 32) == root


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 1000])
def test_batches_and_chunks_do_not_show(monkeypatch, batch):
    columns = [Column("n", "int64", nullable=True), Column("t", "string", nullable=True), Column("b", "bool")]
    rows = [(None if i % 5 == 0 else i, None if i % 7 == 0 else f"e\u0301{i}" if i % 3 else "x" * i, i % 2 == 0) for i in range(50)]
    expected = [reference.row(row, columns) for row in rows]
    monkeypatch.setattr(commit, "_BATCH", batch)
    table = pa.concat_tables([arrow(rows[:11], columns), arrow(rows[11:12], columns), arrow(rows[12:], columns)])
    assert encode_rows(table, columns) == expected
    assert rows_root(table, columns, SECRET) == reference.root(expected, SECRET)


def test_the_columns_order_is_the_descriptors_not_the_tables():
    columns = [Column("a", "int64"), Column("b", "int64")]
    table = pa.table({"b": [2], "a": [1]})
    assert encode_rows(table, columns) == [reference.row((1, 2), columns)]


def test_a_rows_salt_is_hmac_and_opens_one_row():
    columns = [Column("a", "string")]
    rows = [(f"row {i}",) for i in range(9)]
    root = rows_root(arrow(rows, columns), columns, SECRET)
    leaves = [reference.hmac_sha256(SECRET, i.to_bytes(8, "big")) + reference.row(row, columns) for i, row in enumerate(rows)]
    assert [leaf[:32] for leaf in leaves] == [row_salt(SECRET, i) for i in range(9)]
    for index, leaf in enumerate(leaves):
        merkle.verify_inclusion(leaf, index, 9, merkle.inclusion_proof(leaves, index), root)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_has_32_bytes(size):
    with pytest.raises(ValueError, match="32 bytes"):
        rows_root(pa.table({"a": [1]}), [Column("a", "int64")], bytes(size))


@settings(max_examples=100)
@given(tables(least=1), st.data())
def test_one_changed_cell_changes_the_root(drawn, data):
    columns, rows = drawn
    place, which = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, len(columns) - 1))
    column = columns[which]
    other = data.draw(KINDS[column.type])
    assume(reference.cell(other, column.type) != reference.cell(rows[place][which], column.type))
    changed = list(rows)
    changed[place] = (*rows[place][:which], other, *rows[place][which + 1 :])
    assert rows_root(arrow(changed, columns), columns, SECRET) != rows_root(arrow(rows, columns), columns, SECRET)


@settings(max_examples=60)
@given(tables(least=2), st.data())
def test_order_number_and_secret_change_the_root(drawn, data):
    columns, rows = drawn
    root = rows_root(arrow(rows, columns), columns, SECRET)
    order = data.draw(st.permutations(range(len(rows))))
    swapped = [rows[i] for i in order]
    same = [reference.row(row, columns) for row in swapped] == [reference.row(row, columns) for row in rows]
    assert (rows_root(arrow(swapped, columns), columns, SECRET) == root) == same
    assert rows_root(arrow(rows[:-1], columns), columns, SECRET) != root
    assert rows_root(arrow([*rows, rows[-1]], columns), columns, SECRET) != root
    assert rows_root(arrow(rows, columns), columns, bytes(32)) != root


@settings(max_examples=150)
@given(tables(least=2))
def test_the_encoding_is_injective(drawn):
    columns, rows = drawn

    def meaning(row):
        return tuple(reference.cell(value, column.type) for value, column in zip(row, columns, strict=True))

    encoded = encode_rows(arrow(rows, columns), columns)
    for i, left in enumerate(rows):
        for j, right in enumerate(rows):
            assert (encoded[i] == encoded[j]) == (meaning(left) == meaning(right))
