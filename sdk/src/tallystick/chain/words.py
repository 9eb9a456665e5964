"""ABI values in the one layout that compilers write, read by a table made once for each event.

The ABI library finds its way through every possible layout anew for each log: for a long chain that is most of the work of reading
it. Here is read what is laid out as Solidity does it: every head in its place, tails one behind the other without gaps, padding of
zeros. Whatever is not so is :class:`Irregular`, and left to the library, whose word it is whether that is an encoding.

Source: Solidity's Contract ABI Specification, "Formal Specification of the Encoding".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from tallystick.ethereum import to_checksum_address

WORD = 32
Words = Sequence[bytes]
Read = Callable[[Words, int], tuple[Any, int]]  # words, where the value begins; the value, and where the next one begins
_BITS = re.compile(r"uint([0-9]+)")
_BYTES = re.compile(r"bytes([0-9]+)")


class Irregular(Exception):  # noqa: N818 - an answer to the caller, who asks the library instead
    """Not laid out as compilers do it, or of a type that is not read here."""


def reader(members: Sequence[Mapping[str, Any]]) -> Callable[[bytes], dict[str, Any]]:
    """What reads an encoding of ``members``, which are entries of an ABI's ``inputs``, to values by name: structs as dicts, arrays
    as lists, addresses with their checksum. Raises Irregular, here for types and there for encodings that are not read."""
    read = _struct(members)

    def values(data: bytes) -> dict[str, Any]:
        if len(data) % WORD:
            raise Irregular
        words = [data[at : at + WORD] for at in range(0, len(data), WORD)]
        try:
            found, end = read(words, 0)
        except IndexError:
            raise Irregular from None
        if end != len(words):
            raise Irregular
        return dict(found)

    return values


def _struct(members: Sequence[Mapping[str, Any]]) -> Read:
    parts = [(member["name"], None if _dynamic(member) else _size(member), _reading(member)) for member in members]
    heads = sum(size or 1 for _, size, _ in parts)

    def read(words: Words, start: int) -> tuple[dict[str, Any], int]:
        found, at, tail = {}, start, start + heads
        for name, size, value in parts:
            if size is None:
                if int.from_bytes(words[at], "big") != WORD * (tail - start):
                    raise Irregular
                found[name], tail = value(words, tail)
                at += 1
            else:
                found[name], at = value(words, at)
        return found, tail

    return read


def _array(element: Read, words: Words, start: int) -> tuple[list[Any], int]:
    count, at, found = int.from_bytes(words[start], "big"), start + 1, []
    if count > len(words):
        raise Irregular
    for _ in range(count):
        value, at = element(words, at)
        found.append(value)
    return found, at


def _reading(member: Mapping[str, Any]) -> Read:
    kind: str = member["type"]
    if kind.endswith("[]"):
        element = {**member, "type": kind[:-2]}
        if _dynamic(element):
            raise Irregular
        return partial(_array, _reading(element))
    if kind == "tuple":
        return _struct(member["components"])
    leaf = _leaf(kind)
    return lambda words, at: (leaf(words[at]), at + 1)


def _leaf(kind: str) -> Callable[[bytes], Any]:
    if kind == "bytes32":
        return bytes
    if kind == "address":
        return _address
    if kind == "bool":
        return partial(_number, 1, bool)
    if bits := _BITS.fullmatch(kind):
        return partial(_number, int(bits[1]), int)
    if size := _BYTES.fullmatch(kind):
        return partial(_prefix, int(size[1]))
    raise Irregular


def _number(bits: int, kind: Callable[[int], Any], word: bytes) -> Any:
    value = int.from_bytes(word, "big")
    if value >> bits:
        raise Irregular
    return kind(value)


def _prefix(size: int, word: bytes) -> bytes:
    if any(word[size:]):
        raise Irregular
    return word[:size]


@lru_cache(maxsize=1 << 12)  # the same accounts come again and again, and a checksum is a hash
def _address(word: bytes) -> str:
    if any(word[:12]):
        raise Irregular
    return to_checksum_address(word[12:])


def _dynamic(member: Mapping[str, Any]) -> bool:
    kind: str = member["type"]
    if kind == "tuple":
        return any(map(_dynamic, member["components"]))
    return kind.endswith("]") or kind in ("string", "bytes")


def _size(member: Mapping[str, Any]) -> int:
    """The words of a static value."""
    return sum(map(_size, member["components"])) if member["type"] == "tuple" else 1
