"""A strict decoder for the CBOR that attestation tokens use (RFC 8949), and the few heads that signing needs.

Accepted are definite lengths, shortest heads, unsigned and negative integers, byte and text strings, arrays, maps with distinct
keys, tags, booleans and null. Everything else (floats, indefinite lengths, other simple values) is refused, as is nesting
deeper than :data:`MAX_DEPTH` or anything left over. A strict reader gives each accepted value one encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tallystick.attestation.rules import EvidenceRefused, Rule, require

MAX_DEPTH = 12

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG = range(7)  # major types; the eighth is for simple values


@dataclass(frozen=True)
class Tagged:
    """A value under a tag."""

    tag: int
    value: Any


def decode(data: bytes) -> Any:
    """The one value that ``data`` encodes; its size is bounded by the caller. Raises by rule 107."""
    decoder = _Decoder(data)
    value = decoder.value(0)
    require(decoder.at == len(data), Rule.CBOR, "bytes are left after the value")
    return value


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        require(size <= len(self.data) - self.at, Rule.CBOR, "a value is cut off")
        self.at += size
        return self.data[self.at - size : self.at]

    def head(self) -> tuple[int, int]:
        first = self.take(1)[0]
        major, short = first >> 5, first & 0x1F
        if short < 24:
            return major, short
        require(short <= 27, Rule.CBOR, "a length is indefinite or reserved")
        width = 1 << (short - 24)
        argument = int.from_bytes(self.take(width), "big")
        require(argument >= (24, 1 << 8, 1 << 16, 1 << 32)[short - 24], Rule.CBOR, "a head is longer than it need be")
        return major, argument

    def value(self, depth: int) -> Any:
        require(depth <= MAX_DEPTH, Rule.CBOR, "values are nested too deep")
        major, argument = self.head()
        if major == _UNSIGNED:
            return argument
        if major == _NEGATIVE:
            return -1 - argument
        if major == _BYTES:
            return self.take(argument)
        if major == _TEXT:
            try:
                return self.take(argument).decode("utf-8")
            except UnicodeDecodeError as cause:
                raise EvidenceRefused(Rule.CBOR, "a text is not UTF-8") from cause
        if major == _ARRAY:
            return [self.value(depth + 1) for _ in range(argument)]
        if major == _MAP:
            return self.mapping(argument, depth)
        if major == _TAG:
            return Tagged(argument, self.value(depth + 1))
        require(20 <= argument <= 22, Rule.CBOR, "a simple value or float is not accepted")
        return (False, True, None)[argument - 20]

    def mapping(self, size: int, depth: int) -> dict[int | str, Any]:
        result: dict[int | str, Any] = {}
        for _ in range(size):
            key = self.value(depth + 1)
            if type(key) not in (int, str):
                raise EvidenceRefused(Rule.CBOR, "a key is neither an integer nor a text")
            require(key not in result, Rule.CBOR, "a key stands twice")
            result[key] = self.value(depth + 1)
        return result


def encode(value: object) -> bytes:
    """The shortest encoding of integers, bytes, texts, booleans, null, lists, maps (in their order) and :class:`Tagged`."""
    if value is None or isinstance(value, bool):
        return bytes([0xF6 if value is None else 0xF5 if value else 0xF4])
    if isinstance(value, int):
        return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
    if isinstance(value, bytes):
        return _head(_BYTES, len(value)) + value
    if isinstance(value, str):
        return _head(_TEXT, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return _head(_ARRAY, len(value)) + b"".join(map(encode, value))
    if isinstance(value, dict):
        return _head(_MAP, len(value)) + b"".join(encode(key) + encode(item) for key, item in value.items())
    if isinstance(value, Tagged):
        return _head(_TAG, value.tag) + encode(value.value)
    raise TypeError(f"{type(value).__name__} has no encoding here")


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    for short, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * width):
            return bytes([major << 5 | short]) + argument.to_bytes(width, "big")
    raise ValueError("an integer takes more than 64 bits")
