"""JSON from outside, of bounded depth.

CPython's parser recurses on the C stack, and libraries lift the interpreter's recursion limit: without a bound, a hundred thousand
brackets end the process. Every parser of ours asks here first, so that hostile nesting is an error like any other.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 16
# Possessive, and an unterminated string (no JSON) ends with the document: every quote is looked at once, so time is linear.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")


def require_flat(data: bytes, most: int = MAX_DEPTH) -> None:
    """Raises ValueError when arrays and objects are nested more than ``most`` deep, whether the rest is JSON or not."""
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > most:
            raise ValueError(f"nested more than {most} deep")


def parse(data: bytes, most: int = MAX_DEPTH) -> Any:
    """The value of a document in UTF-8. Raises ValueError, and nothing else, for what is no JSON or is nested more than ``most``
    deep. The caller bounds the length."""
    require_flat(data, most)
    return json.loads(data.decode())
