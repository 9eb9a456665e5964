"""Owners' tables as bytes: what is written is read again, and nothing else is read."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick_node.engines.tee.reasons import MalformedInput
from tallystick_node.engines.tee.tables import TYPES, Column, Table, decode, encode

NUMBERS = {"int64": (-(2**63), 2**63 - 1), "decimal": (-(2**63), 2**63 - 1), "date": (-(2**31), 2**31 - 1), "bool": (0, 1)}


@st.composite
def tables(draw: st.DrawFn) -> Table:
    rows, names = draw(st.integers(0, 9)), draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=4, unique=True))
    columns = []
    for name in names:
        kind = draw(st.sampled_from(TYPES))
        cell = st.text(max_size=5) if kind == "string" else st.integers(*NUMBERS[kind])
        cells = draw(st.lists(st.none() | cell, min_size=rows, max_size=rows))
        columns.append(Column(name, kind, draw(st.integers(0, 18)) if kind == "decimal" else 0, cells))
    return Table(draw(st.text("xyz", min_size=1)), rows, tuple(columns))


@given(tables())
def test_a_table_is_read_as_it_was_written(table: Table) -> None:
    data = encode(table)
    assert decode(data) == table
    assert len(data) % 8 == 0 and int.from_bytes(data[:4], "little") == len(data)


@given(tables(), st.data())
def test_other_bytes_are_a_table_or_refused(table: Table, data: st.DataObject) -> None:
    written = bytearray(encode(table))
    place = data.draw(st.integers(0, len(written) - 1))
    written[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(written)))
    for changed in (bytes(written), bytes(written[:cut]), bytes(written) + bytes(8)):
        with contextlib.suppress(MalformedInput):
            assert isinstance(decode(changed), Table)


def test_what_does_not_fit_is_refused() -> None:
    words = Column("a", "string", 0, ["one", None])
    good = encode(Table("t", 2, (words,)))
    for bad in (
        b"",
        good + bytes(8),
        good[:-8],
        good[:8] + b"\3" + good[9:],
        good[:12] + b"\2" + good[13:],
        good.replace(b"string", b"strinh"),
        good.replace(b"one", b"\xff\xff\xff"),
        encode(Table("t", 2, (words, Column("A", "string", 0, ["", ""])))),
        encode(Table("t", 2, (Column("a", "int64", 3, [1, 2]),))),
        encode(Table("", 2, (words,))),
    ):
        with pytest.raises(MalformedInput):
            decode(bad)
    for wrong in (Table("t", 1, (words,)), Table("t", 1, (Column("a", "int64", 0, [2**63]),))):
        with pytest.raises((ValueError, OverflowError)):
            encode(wrong)
