"""Canonical bytes and domain-separated digests: RFC 8785 (JCS) without floats, and a decoder that accepts nothing else.

A document has exactly one byte representation, so its digest is the digest of its meaning. The decoder refuses
everything that a second implementation might read differently: duplicate keys, floats, integers outside +-(2^53 - 1),
keys that are not ASCII, unpaired surrogates, deep nesting, and any bytes that are not what the encoder would have
written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import rfc8785

from tallystick.flat_json import MAX_DEPTH, require_flat
from tallystick.protocol.errors import MalformedDocument

MAX_INTEGER = 2**53 - 1
"""The greatest integer, and its negative the least, that every JSON implementation reads exactly.

Larger ones travel as strings.
"""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEX32 = re.compile(r"0x[0-9a-f]{64}")


def encode(value: Any) -> bytes:
    """The canonical bytes of ``value`` (mappings, sequences, strings, integers, booleans, None).

    Raises :class:`MalformedDocument` for a float, an integer out of range, a key that is not ASCII, text with unpaired
    surrogates, any other type, or nesting beyond :data:`MAX_DEPTH`.
    """
    try:
        return rfc8785.dumps(_plain(value, MAX_DEPTH))
    except ValueError as error:
        raise MalformedDocument(f"cannot be written canonically: {error}", remedy="use strings for large numbers") from None


def decode(data: bytes, limit: int) -> Any:
    """The value that canonical ``data`` of at most ``limit`` bytes stands for.

    Raises :class:`MalformedDocument`, and nothing else, for any other bytes.
    """
    if len(data) > limit:
        raise MalformedDocument(f"{len(data)} bytes, more than the {limit} that this document may have")
    try:
        require_flat(data)
        value = json.loads(
            data.decode("utf-8", "strict"),
            object_pairs_hook=_object,
            parse_float=_no_float,
            parse_int=_integer,
            parse_constant=_no_float,
        )
    except UnicodeDecodeError as error:
        raise MalformedDocument(f"not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise MalformedDocument(f"not JSON: {error}") from None
    if encode(value) != data:
        raise MalformedDocument("not in canonical form (RFC 8785)", remedy="send the bytes that the encoder writes")
    return value


def digest(domain: str, data: bytes) -> bytes:
    """SHA-256(``"tallystick/v1/" + domain + "\\0"`` + data).

    The domain keeps a digest of one thing from standing for another.
    """
    return hashlib.sha256(b"tallystick/v1/" + domain.encode("ascii") + b"\0" + data).digest()


def text(value: bytes) -> str:
    """The text form of a SHA-256 digest: ``sha256:<64 lower hex>``."""
    if len(value) != 32:
        raise MalformedDocument(f"a digest has 32 bytes, not {len(value)}")
    return "sha256:" + value.hex()


def untext(value: str) -> bytes:
    """The 32 bytes of ``sha256:<64 lower hex>``. Raises :class:`MalformedDocument` for any other text."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise MalformedDocument("a digest is written sha256: and 64 lower-case hex digits")
    return bytes.fromhex(value[7:])


def hex32(value: bytes) -> str:
    """The text form of an id or salt: ``0x`` and 64 lower hex digits."""
    if len(value) != 32:
        raise MalformedDocument(f"an id has 32 bytes, not {len(value)}")
    return "0x" + value.hex()


def unhex32(value: str) -> bytes:
    """The 32 bytes of ``0x`` and 64 lower hex digits. Raises :class:`MalformedDocument` for any other text."""
    if not isinstance(value, str) or not _HEX32.fullmatch(value):
        raise MalformedDocument("an id is written 0x and 64 lower-case hex digits")
    return bytes.fromhex(value[2:])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise MalformedDocument("an object has the same key twice")
    return value


def _integer(digits: str) -> int:
    # The length check comes first: converting a million digits is quadratic.
    if len(digits) > 17 or abs(int(digits)) > MAX_INTEGER:
        raise MalformedDocument("an integer is outside +-(2^53 - 1)", remedy="write it as a string")
    return int(digits)


def _no_float(_: str) -> NoReturn:
    raise MalformedDocument("a number with a fraction or an exponent", remedy="write decimal numbers as strings")


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if depth == 0:
        raise MalformedDocument(f"nested more than {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or not key.isascii():
                raise MalformedDocument("an object has a key that is not ASCII text")
        return {key: _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth - 1) for item in value]
    raise MalformedDocument(f"a {type(value).__name__} has no place in a document")
