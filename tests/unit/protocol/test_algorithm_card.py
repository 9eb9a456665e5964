"""The card of an algorithm: one form, strictly read, with one digest."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick.protocol import canonical
from tallystick.protocol.algorithm import (
    KINDS,
    LIMIT,
    MAX_REASON,
    AlgorithmCard,
    ReadTable,
    code_digest,
    kind_named,
    kind_number,
    reason_digest,
)
from tallystick.protocol.errors import MalformedDocument

CODE = b"SELECT count(*) AS group_size FROM north"
CARD = AlgorithmCard(
    name="exposure",
    version="1.2",
    kind="sql",
    code=canonical.text(code_digest(CODE)),
    tables=(ReadTable("north", ("person", "balance")), ReadTable("south", ("person",))),
    gives="one row: how many people both banks know",
)


def test_a_card_comes_back_as_it_was() -> None:
    assert AlgorithmCard.parse(CARD.to_bytes()) == CARD
    assert CARD.digest() == canonical.digest("algorithm-card", CARD.to_bytes())


def test_the_digests_of_a_card_and_a_reason_are_fixed() -> None:
    """What another implementation has to get."""
    assert CARD.digest().hex() == "2ac3fe798cdc06bd1ce66c2b9c9689b6af51a2943e0956908931692f35e5ab2b"
    assert reason_digest(b"read all of it").hex() == "089b4393789c3c83f09e481f271edc245a4298b2b7f10b91b36c8d9ee6766a57"
    assert code_digest(b"").hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "exposurf"},
        {"version": "1.3"},
        {"kind": "python"},
        {"code": canonical.text(code_digest(CODE + b" "))},
        {"tables": (ReadTable("north", ("person",)), CARD.tables[1])},
        {"gives": "names"},
    ],
)
def test_a_changed_member_is_another_card(change: dict[str, Any]) -> None:
    assert replace(CARD, **change).digest() != CARD.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 129},
        {"version": ""},
        {"kind": "fortran"},
        {"code": "0x" + "11" * 32},
        {"tables": ()},
        {"tables": (ReadTable("north", ("a",)), ReadTable("north", ("b",)))},
        {"tables": (ReadTable("north", ("a", "a")),)},
        {"tables": (ReadTable("north", ()),)},
        {"tables": tuple(ReadTable(str(number), ("a",)) for number in range(17))},
        {"gives": ""},
        {"gives": "x" * 4097},
    ],
)
def test_a_card_that_breaks_a_rule_is_neither_written_nor_read(change: dict[str, Any]) -> None:
    broken = replace(CARD, **change)
    with pytest.raises(MalformedDocument):
        broken.to_bytes()


def test_only_canonical_cards_with_exactly_these_members_are_read() -> None:
    value = json.loads(CARD.to_bytes())
    for other in (
        {**value, "more": 1},
        {key: value[key] for key in value if key != "gives"},
        {**value, "type": "tallystick.terms/1"},
    ):
        with pytest.raises(MalformedDocument):
            AlgorithmCard.parse(canonical.encode(other))
    for data in (json.dumps(value).encode(), b"", b"[]", b" " * (LIMIT + 1)):
        with pytest.raises(MalformedDocument):
            AlgorithmCard.parse(data)


@given(st.binary(max_size=64), st.integers(0, len(CARD.to_bytes()) - 1))
def test_hostile_bytes_raise_our_error_alone(noise: bytes, place: int) -> None:
    whole = CARD.to_bytes()
    for data in (noise, whole[:place] + noise + whole[place:], whole[:place]):
        try:
            read = AlgorithmCard.parse(data)
        except MalformedDocument:
            continue
        assert read.to_bytes() == data


def test_a_reason_says_something_and_ends() -> None:
    for reason in (b"", b" \n", b"x" * (MAX_REASON + 1)):
        with pytest.raises(MalformedDocument):
            reason_digest(reason)
    assert reason_digest(b"x" * MAX_REASON) != reason_digest(b"x")


def test_kinds_have_numbers_that_stay() -> None:
    assert [kind_number(kind) for kind in KINDS[:4]] == [1, 2, 3, 4]
    assert KINDS[:4] == ("sql", "wasm", "python", "learn")
    assert [kind_named(number) for number in range(1, 5)] == list(KINDS[:4])
    assert kind_named(0) == "kind 0" and kind_named(200) == "kind 200"
    with pytest.raises(MalformedDocument):
        kind_number("fortran")
