"""Strict reading of bytes, DER and JSON from strangers: bounded, exact, and with one kind of error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from tallystick.attestation.rules import EvidenceRefused, Rule, refusing, require
from tallystick.flat_json import require_flat

MAX_EVIDENCE = 64 * 1024
MAX_ENDORSEMENT = 1024 * 1024

_TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z")


class Reader:
    """A cursor over ``data``. Reading past the end, or leaving bytes where none may be, breaks rule 102."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        require(0 <= size <= len(self._data) - self._at, Rule.LENGTH, "a field reaches past the end")
        self._at += size
        return self._data[self._at - size : self._at]

    def integer(self, size: int) -> int:
        """The next ``size`` bytes as an unsigned little-endian integer."""
        return int.from_bytes(self.take(size), "little")

    def zeros(self, size: int) -> None:
        """The next ``size`` bytes, which must be zero."""
        require(not any(self.take(size)), Rule.RESERVED, "reserved bytes are not zero")

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        """Nothing may be left."""
        require(self._at == len(self._data), Rule.LENGTH, "bytes are left after the last field")


def bounded(data: bytes, limit: int, what: str) -> bytes:
    """``data`` as ``bytes`` if it is bytes of at most ``limit``."""
    require(isinstance(data, bytes) and 0 < len(data) <= limit, Rule.SIZE, f"{what} takes 1 to {limit} bytes")
    return data


def der_items(data: bytes, rule: Rule) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each DER element of ``data``: single-byte tags, definite minimal lengths below 2^16."""
    at = 0
    while at < len(data):
        require(len(data) - at >= 2, rule, "a DER element is cut off")
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            width = size & 0x7F
            require(1 <= width <= 2 and len(data) - at >= width, rule, "a DER length is not acceptable")
            size = int.from_bytes(data[at : at + width], "big")
            require(size >= (0x80, 0x100)[width - 1], rule, "a DER length is not minimal")
            at += width
        require(tag & 0x1F != 0x1F and size <= len(data) - at, rule, "a DER element is cut off")
        yield tag, data[at : at + size]
        at += size


def der_integer(content: bytes, rule: Rule) -> int:
    """A small non-negative DER integer, minimally encoded."""
    require(1 <= len(content) <= 5 and not content[0] & 0x80, rule, "a DER integer is out of range")
    require(len(content) == 1 or content[0] or content[1] & 0x80, rule, "a DER integer is not minimal")
    return int.from_bytes(content, "big")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def _no_number(_text: str) -> Any:
    raise ValueError("not an integer")


def read_json(data: bytes, what: str, limit: int = MAX_ENDORSEMENT) -> dict[str, Any]:
    """A JSON object of at most ``limit`` bytes without duplicate keys, floats or constants."""
    with refusing(Rule.ENDORSEMENT, f"{what} is not strict JSON"):
        require_flat(bounded(data, limit, what))
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
        require(isinstance(value, dict), Rule.ENDORSEMENT, f"{what} is not a JSON object")
        return dict(value)


def plain(value: Any) -> Any:
    """``value`` as JSON has it: bytes in hexadecimal, sets and tuples as lists (sets sorted), words for enumerations."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted((plain(item) for item in value), key=json.dumps)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return {item.name: plain(getattr(value, item.name)) for item in fields(value)} if is_dataclass(value) else value


class Fields:
    """Typed access to a JSON object that came from outside: what is missing or of another type breaks rule 106."""

    def __init__(self, value: object, what: str) -> None:
        require(isinstance(value, dict), Rule.ENDORSEMENT, f"{what} is not an object")
        assert isinstance(value, dict)
        self._value: dict[str, Any] = value
        self.what = what

    def _refuse(self, key: str, expected: str) -> EvidenceRefused:
        return EvidenceRefused(Rule.ENDORSEMENT, f"{self.what}: {key} is not {expected}")

    def has(self, key: str) -> bool:
        """Whether the object has ``key``."""
        return key in self._value

    def text(self, key: str, limit: int = 128) -> str:
        """A string of at most ``limit`` characters."""
        value = self._value.get(key)
        if not isinstance(value, str) or len(value) > limit:
            raise self._refuse(key, "a short text")
        return value

    def integer(self, key: str, limit: int) -> int:
        """An integer from 0 to ``limit``."""
        value = self._value.get(key)
        if type(value) is not int or not 0 <= value <= limit:
            raise self._refuse(key, f"an integer from 0 to {limit}")
        return value

    def hexadecimal(self, key: str, size: int) -> bytes:
        """``size`` bytes in hexadecimal."""
        value = self._value.get(key)
        digits = "0123456789abcdefABCDEF"
        if not isinstance(value, str) or len(value) != 2 * size or any(letter not in digits for letter in value):
            raise self._refuse(key, f"{size} bytes in hexadecimal")
        return bytes.fromhex(value)

    def time(self, key: str) -> int:
        """A UTC time, ``2025-06-19T10:16:03Z``, in seconds since 1970."""
        value = self._value.get(key)
        found = _TIME.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise self._refuse(key, "a UTC time")
        year, month, day, hour, minute, second = map(int, found.groups())
        with refusing(Rule.ENDORSEMENT, f"{self.what}: {key} is not a UTC time"):
            return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())

    def items(self, key: str, limit: int) -> list[Any]:
        """A list of at most ``limit`` items."""
        value = self._value.get(key)
        if not isinstance(value, list) or len(value) > limit:
            raise self._refuse(key, f"a list of at most {limit}")
        return value

    def inner(self, key: str) -> Fields:
        """The object at ``key``."""
        return Fields(self._value.get(key), f"{self.what}.{key}")


def signed_member(response: bytes, member: str, what: str) -> tuple[bytes, bytes]:
    """From a response ``{"<member>": {...}, "signature": "<hex>"}``: the exact bytes of the member, and the signature.

    The vendor signs the bytes as they stand, so they are sliced out and never serialised anew.
    """
    fields = Fields(read_json(response, what), what)
    signature = fields.hexadecimal("signature", 64)
    with refusing(Rule.ENDORSEMENT, f"{what} has no member {member}"):
        text = response.decode("utf-8")
        start = text.index("{", text.index(f'"{member}"') + len(member) + 2)
        _, end = json.JSONDecoder().raw_decode(text, start)
        return text[start:end].encode(), signature
