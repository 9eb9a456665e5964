"""Tables of different owners brought into one order: by intersection, or by a tested promise of equal order."""

from __future__ import annotations

import pyarrow as pa
import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st
from tallystick.protocol.errors import InvalidData, MalformedDocument
from tallystick_node.engines.channel import ChannelError, local_sessions
from tallystick_node.workloads.alignment import Join, align
from unit.engines.conftest import run_parties
from unit.workloads.conftest import ACCOUNTS

ALL = (*ACCOUNTS, *(to_checksum_address(f"0x{number:040x}") for number in range(1, 6)))


def join_of(mode: str, owners: int = 2, **changes) -> Join:
    keys = [{"party": ALL[number], "columns": ["id"]} for number in range(owners)]
    return Join.read({"mode": mode, "keys": keys, "types": ["string"], "fold": False, "duplicates": "reject", **changes}, "join")


def table_of(ids) -> pa.Table:
    schema = pa.schema([pa.field("id", pa.string(), metadata={"scale": "0"}), ("value", pa.string())])
    return pa.table([pa.array(ids, pa.string()), pa.array([f"of {each}" for each in ids])], schema=schema)


def aligned(join: Join, *tables) -> list:
    owners = list(range(len(tables)))

    def engine(session):
        return align(join, session, ACCOUNTS[session.index], owners, table_of(tables[session.index])).to_pydict()

    return run_parties(local_sessions(len(tables)), engine)


IDS = st.lists(st.text("abcdef", min_size=1, max_size=3), unique=True, min_size=1, max_size=30)


@given(IDS, IDS)
@settings(max_examples=25)
def test_matched_rows_stand_in_one_order_at_both(left, right) -> None:
    first, second = aligned(join_of("intersection"), left, right)
    assert first == second
    assert sorted(first["id"]) == sorted(set(left) & set(right))
    assert first["value"] == [f"of {each}" for each in first["id"]]


def test_rows_of_three_owners() -> None:
    tables = [["x", "a", "b", "c"], ["c", "b", "y", "x"], ["x", "z", "c"]]
    first, second, third = aligned(join_of("intersection", 3), *tables)
    assert first == second == third
    assert sorted(first["id"]) == ["c", "x"]


@pytest.mark.parametrize("owners", [2, 3, 4])
def test_equal_order_is_confirmed_and_kept(owners) -> None:
    for found in aligned(join_of("order", owners), *[["c", "a", "b"]] * owners):
        assert found["id"] == ["c", "a", "b"]


@pytest.mark.parametrize("other", [["c", "b", "a"], ["c", "a"], ["c", "a", "x"], ["ca", "b", "x"]])
def test_another_order_or_other_keys_end_it(other) -> None:
    first, second, third = aligned(join_of("order", 3), ["c", "a", "b"], ["c", "a", "b"], other)
    assert isinstance(first, InvalidData) and isinstance(third, InvalidData)
    assert "same order" in str(third)
    assert isinstance(second, dict | InvalidData | ChannelError)


def test_a_row_without_a_key_has_no_place_in_an_order() -> None:
    found, _ = aligned(join_of("order"), ["a", None], ["a", "b"])
    assert isinstance(found, InvalidData) and "no key" in str(found)


def test_duplicates_are_refused_or_grouped() -> None:
    found, _ = aligned(join_of("intersection"), ["a", "a"], ["a"])
    assert isinstance(found, InvalidData) and "repeat" in str(found)
    for found in aligned(join_of("intersection", duplicates="group"), ["a", "a", "b"], ["a", "c"]):
        assert found["id"] == ["a"]


@pytest.mark.parametrize(
    ("mode", "owners", "changes"),
    [
        ("intersection", 9, {}),
        ("intersection", 1, {}),
        ("shuffle", 2, {}),
        ("order", 2, {"duplicates": "group"}),
        ("order", 2, {"types": ["string", "int64"]}),
        ("order", 2, {"keys": [{"party": ACCOUNTS[0], "columns": ["id"]}] * 2}),
    ],
)
def test_each_rule_of_a_join_broken_once(mode, owners, changes) -> None:
    with pytest.raises(MalformedDocument, match="join"):
        join_of(mode, owners, **changes)
