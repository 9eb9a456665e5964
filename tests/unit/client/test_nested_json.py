"""JSON of others is read to a bounded depth: libraries lift the interpreter's limit, and hostile nesting would end the process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tallystick.cli.session import read_json
from tallystick.client.plan import _object
from tallystick.flat_json import MAX_DEPTH
from tallystick.protocol.errors import MalformedDocument


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def test_what_a_node_says_is_nothing_when_it_is_nested_too_deep() -> None:
    assert _object(nested(MAX_DEPTH)) == json.loads(nested(MAX_DEPTH))
    assert _object(nested(MAX_DEPTH + 1)) == _object("[]") == _object("{") == {}


def test_a_file_that_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "signature.json"
    path.write_text(nested(MAX_DEPTH))
    assert read_json(path) == json.loads(nested(MAX_DEPTH))
    path.write_text(nested(MAX_DEPTH + 1))
    with pytest.raises(MalformedDocument, match="too deep"):
        read_json(path)
