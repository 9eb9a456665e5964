"""Protocol Buffers' wire format (proto3), as much of it as the alliance's messages need, read from peers that nobody knows.

An encoder leaves out what has its default, and writes fields in the order of their numbers: what the reference library writes, byte
for byte. A reader takes fields in any order, numbers in packed and plain lists, skips fields that it does not know, and lets the
last value of a field count, as the format demands. It refuses what is cut off and what is larger than a message may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 4096  # of one message, and numbers of one list

Value = int | bytes


class Malformed(ValueError):  # noqa: N818 - a verdict on what a peer sent
    """These bytes are no message."""


def number(field: int, value: int) -> bytes:
    """An int32, int64, uint64, bool or enum field; negative ones take ten bytes."""
    return _varint(field << 3 | VARINT) + _varint(value & (1 << 64) - 1) if value else b""


def text(field: int, value: str | bytes) -> bytes:
    """A string or bytes field."""
    content = value.encode() if isinstance(value, str) else value
    return message(field, content) if content else b""


def message(field: int, content: bytes) -> bytes:
    """A message field that is there, if only as an empty one."""
    return _varint(field << 3 | LENGTH) + _varint(len(content)) + content


def numbers(field: int, values: Iterable[int]) -> bytes:
    """A packed list of numbers."""
    return text(field, b"".join(_varint(value & (1 << 64) - 1) for value in values))


class Reader:
    """The fields of one message. Everything raises Malformed."""

    def __init__(self, content: bytes) -> None:
        self._fields: dict[int, list[tuple[int, Value]]] = {}
        for count, (field, kind, value) in enumerate(_fields(content)):
            if count == MAX_FIELDS:
                raise Malformed(f"more than {MAX_FIELDS} fields")
            self._fields.setdefault(field, []).append((kind, value))

    def number(self, field: int) -> int:
        """A signed number, 0 where there is none."""
        found = self._of(field, VARINT)
        return _signed(int(found[-1])) if found else 0

    def numbers(self, field: int) -> list[int]:
        """A list of signed numbers, packed or not."""
        found: list[int] = []
        for kind, value in self._fields.get(field, []):
            if kind == VARINT and isinstance(value, int):
                found.append(_signed(value))
            elif kind == LENGTH and isinstance(value, bytes):
                found += islice(_packed(value), MAX_FIELDS + 1)
            else:
                raise Malformed(f"field {field} is of another type")
            if len(found) > MAX_FIELDS:
                raise Malformed(f"field {field} has more than {MAX_FIELDS} numbers")
        return found

    def content(self, field: int) -> bytes:
        """Bytes, or the content of a message; empty where there are none."""
        found = self.contents(field)
        return found[-1] if found else b""

    def contents(self, field: int) -> list[bytes]:
        """Each of a list of bytes or messages."""
        return [bytes(value) for value in self._of(field, LENGTH)]

    def text(self, field: int) -> str:
        """Text; what is none reads with marks in the places of what cannot be read."""
        return self.content(field).decode(errors="replace")

    def _of(self, field: int, kind: int) -> list[Value]:
        found = self._fields.get(field, [])
        if any(given != kind for given, _ in found):
            raise Malformed(f"field {field} is of another type")
        return [value for _, value in found]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    value = 0
    for step, byte in enumerate(content[place : place + 10]):
        value |= (byte & 0x7F) << 7 * step
        if byte < 0x80:
            return value & (1 << 64) - 1, place + step + 1
    raise Malformed("a number is cut off, or too long")


def _packed(content: bytes) -> Iterator[int]:
    place = 0
    while place < len(content):
        value, place = _read_varint(content, place)
        yield _signed(value)


def _fields(content: bytes) -> Iterator[tuple[int, int, Value]]:
    place = 0
    while place < len(content):
        key, place = _read_varint(content, place)
        field, kind = key >> 3, key & 7
        if not 1 <= field < 1 << 29:
            raise Malformed(f"there is no field {field}")
        if kind == VARINT:
            value, place = _read_varint(content, place)
            yield field, kind, value
            continue
        if kind == LENGTH:
            size, place = _read_varint(content, place)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise Malformed(f"field {field} is of an unknown type")
        if size > len(content) - place:
            raise Malformed(f"field {field} is cut off")
        yield field, kind, content[place : place + size]
        place += size
