"""JSON from outside, of bounded depth.

CPython's parser recurses on the C stack, and libraries lift the interpreter's recursion limit: without a bound, a hundred thousand
brackets end the process. Every parser of ours asks here first, so that hostile nesting is an error like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 16
# Possessive, and an unterminated string (no JSON) ends with the document: every quote is looked at once, so time is linear.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
_WINDOW = 1 << 16  # bytes that are cut into strings at a time


def require_flat(data: bytes, most: int = MAX_DEPTH) -> None:
    """Raises ValueError when arrays and objects are nested more than ``most`` deep, whether the rest is JSON or not."""
    depth = 0
    for plain in _outside_strings(data):
        for bracket in _BRACKETS.findall(plain):
            depth += 1 if bracket in b"[{" else -1
            if depth > most:
                raise ValueError(f"nested more than {most} deep")


def _outside_strings(data: bytes) -> Iterator[bytes]:
    """What stands outside of strings. Without escapes (as a chain answers) that is every second piece between quotes, which are
    found several times faster; window by window, as a document may be all quotes."""
    if b"\\" in data:
        yield _STRINGS.sub(b"", data)
        return
    inside = 0  # whether a window begins in a string
    for start in range(0, len(data), _WINDOW):
        pieces = data[start : start + _WINDOW].split(b'"')
        yield b"".join(pieces[inside::2])
        inside ^= (len(pieces) - 1) & 1


def parse(data: bytes, most: int = MAX_DEPTH) -> Any:
    """The value of a document in UTF-8. Raises ValueError, and nothing else, for what is no JSON or is nested more than ``most``
    deep. The caller bounds the length."""
    require_flat(data, most)
    return json.loads(data.decode())
