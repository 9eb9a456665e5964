"""Events are read by tables as the ABI library reads them: the same values, and a refusal of the same bytes."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi import decode, encode
from eth_abi.exceptions import DecodingError
from hypothesis import given
from hypothesis import strategies as st
from tallystick.chain import artifacts
from tallystick.chain.contract import _named, _reader, _type_of
from tallystick.chain.words import Irregular, reader

LEAVES = ("bytes32", "bytes4", "bytes1", "address", "bool", "uint8", "uint16", "uint40", "uint128", "uint256")
EVENTS = [entry for name in artifacts.CONTRACTS for entry in artifacts.load(name).abi if entry["type"] == "event"]


def leaves() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(LEAVES).map(lambda kind: {"type": kind})


def structs(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.lists(inner, min_size=1, max_size=4).map(lambda each: {"type": "tuple", "components": named(each)})


def arrays(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return inner.map(lambda each: {**each, "type": each["type"] + "[]"})


def named(members: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**member, "name": f"m{number}"} for number, member in enumerate(members)]


MEMBERS = (
    leaves() | arrays(leaves()) | arrays(structs(leaves())) | structs(leaves() | arrays(structs(leaves())) | structs(leaves()))
)


@st.composite
def encodings(draw: st.DrawFn) -> tuple[list[dict[str, Any]], bytes]:
    """Members and an encoding of some values of them."""
    members = named(draw(st.lists(MEMBERS, max_size=4)))
    values = [_drawn(draw, member) for member in members]
    return members, encode([_type_of(member) for member in members], values)


def _drawn(draw: st.DrawFn, member: dict[str, Any]) -> Any:
    kind = member["type"]
    if kind.endswith("[]"):
        return [_drawn(draw, {**member, "type": kind[:-2]}) for _ in range(draw(st.integers(0, 3)))]
    if kind == "tuple":
        return tuple(_drawn(draw, each) for each in member["components"])
    if kind == "address":
        return "0x" + draw(st.binary(min_size=20, max_size=20)).hex()
    if kind == "bool":
        return draw(st.booleans())
    if kind.startswith("uint"):
        return draw(st.integers(0, 2 ** int(kind[4:]) - 1))
    size = int(kind[5:])
    return draw(st.binary(min_size=size, max_size=size))


def outcome(members: list[dict[str, Any]], data: bytes, *, quickly: bool) -> Any:
    if quickly:
        try:
            return _reader(members)(data)
        except (DecodingError, OverflowError):
            return "refused"
    try:
        values = decode([_type_of(member) for member in members], data)
    except (DecodingError, OverflowError):
        return "refused"
    return {member["name"]: _named(member, value) for member, value in zip(members, values, strict=True)}


@given(encodings())
def test_what_a_compiler_writes_is_read_without_the_library_and_as_it_reads_it(case: tuple[list[dict[str, Any]], bytes]) -> None:
    members, data = case
    assert reader(members)(data) == outcome(members, data, quickly=False)


@given(encodings(), st.data())
def test_changed_bytes_are_what_the_library_says(case: tuple[list[dict[str, Any]], bytes], data: st.DataObject) -> None:
    members, encoded = case
    at = data.draw(st.integers(0, len(encoded)))
    word = data.draw(st.sampled_from((b"", b"\0", bytes(32), b"\1".rjust(32, b"\0"), b"\x20".rjust(32, b"\0"), b"\xff" * 32)))
    changed = encoded[:at] + word + encoded[at + data.draw(st.sampled_from((0, len(word), 32))) :]
    assert outcome(members, changed, quickly=True) == outcome(members, changed, quickly=False)


@given(st.binary(max_size=200), st.sampled_from(EVENTS))
def test_any_bytes_are_what_the_library_says(data: bytes, event: dict[str, Any]) -> None:
    members = [member for member in event["inputs"] if not member["indexed"]]
    assert outcome(members, data, quickly=True) == outcome(members, data, quickly=False)


def test_every_event_about_a_task_is_read_without_the_library() -> None:
    """Of them a chain has the more, the longer it is used."""
    about = [event for event in EVENTS if any(member["name"] == "task" for member in event["inputs"])]
    assert {"Proposed", "Accepted", "Debited", "Started", "ResultProved", "PartiesAbsent", "TaskSettled"} <= {
        e["name"] for e in about
    }
    for event in about:
        reader(event["inputs"])
    with pytest.raises(Irregular):
        reader([{"name": "a", "type": "string"}])


@pytest.mark.parametrize(("kind", "word"), [("uint8", 256), ("bool", 2), ("address", 2**160), ("bytes4", 1)])
def test_padding_that_is_not_zero_is_left_to_the_library(kind: str, word: int) -> None:
    with pytest.raises(Irregular):
        reader([{"name": "a", "type": kind}])(word.to_bytes(32, "big"))


def test_more_elements_than_there_are_bytes_cost_nothing() -> None:
    data = (32).to_bytes(32, "big") + (2**255).to_bytes(32, "big")
    with pytest.raises(Irregular):
        reader([{"name": "a", "type": "uint8[]"}])(data)
