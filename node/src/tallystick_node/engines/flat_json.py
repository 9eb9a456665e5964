"""JSON from outside, of bounded depth: CPython's parser recurses on the C stack, and hostile nesting can kill the process."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 16
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")


def parse(data: bytes) -> Any:
    """The value of a document in UTF-8. Raises ValueError, and nothing else, for what is no JSON or is nested deeper than
    ``MAX_DEPTH``. The caller bounds the length."""
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
    return json.loads(data.decode())
