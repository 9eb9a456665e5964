"""The generated classes: every function of every contract, under its name, with its block or its receipt."""

from __future__ import annotations

from typing import Any

import pytest
from tallystick.chain import artifacts, contracts
from tallystick.chain.generate import LEFT_OUT, _snake

CLASSES = (*artifacts.LEDGERS, *artifacts.ENFORCEMENT, *artifacts.REVIEWS)


class Note:
    """A connection that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def call(self, contract: str, function: str, *arguments: Any, block: Any = None) -> None:
        self.asked.append(("call", contract, function, arguments, block))

    def send(self, contract: str, function: str, *arguments: Any, value: Any = None) -> None:
        self.asked.append(("send", contract, function, arguments, value))


class Struct:
    def as_tuple(self) -> tuple[Any, ...]:
        return ("struct",)


@pytest.mark.parametrize("name", CLASSES)
def test_every_function_goes_to_its_contract(name: str) -> None:
    note = Note()
    bound = getattr(contracts, name)(note)
    for entry in artifacts.load(name).abi:
        if entry["type"] != "function" or entry["name"] in LEFT_OUT:
            continue
        reads = entry["stateMutability"] in ("view", "pure")
        arguments = [Struct() if member["type"] == "tuple" else index for index, member in enumerate(entry["inputs"])]
        expected = tuple(("struct",) if isinstance(each, Struct) else each for each in arguments)
        named = {"block": 7} if reads else {"value": 9} if entry["stateMutability"] == "payable" else {}
        getattr(bound, _snake(entry["name"]))(*arguments, **named)
        assert note.asked.pop() == ("call" if reads else "send", name, entry["name"], expected, *(named.values() or [None]))
