"""JSON from strangers: nesting is bounded, brackets in strings do not count, and hostile quotes cost no more than others."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallystick import flat_json
from tallystick.flat_json import MAX_DEPTH, parse, require_flat

VALUES = st.recursive(
    st.text('[{\\"a]}'), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('[\\"'), inner, max_size=3)
)


@given(VALUES)
def test_documents_are_read_as_they_are(value: object) -> None:
    def depth(item: object) -> int:
        if isinstance(item, dict):
            item = list(item.values())
        return 1 + max(map(depth, item), default=0) if isinstance(item, list) else 0

    data = json.dumps(value).encode()
    assert parse(data, 100) == value
    require_flat(data, depth(value))
    if depth(value):
        with pytest.raises(ValueError, match="nested"):
            require_flat(data, depth(value) - 1)


@given(st.text('\\"[]{}a1,:', max_size=60))
def test_nothing_but_a_value_error_comes_of_other_texts(text: str) -> None:
    with contextlib.suppress(ValueError):
        json.loads(text)
        parse(text.encode(), 60)  # what the standard library reads is read
        return
    with pytest.raises(ValueError):
        parse(text.encode())


@given(st.text('"[]{}a', max_size=60), st.integers(1, 7))
def test_strings_that_lie_in_several_windows_are_found_as_wholes(text: str, window: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flat_json, "_WINDOW", window)
        assert b"".join(flat_json._outside_strings(text.encode())) == flat_json._STRINGS.sub(b"", text.encode())


def test_strings_hide_no_nesting_and_only_strings_hide_brackets() -> None:
    deep = b"[" * (MAX_DEPTH + 1)
    for prefix in (b"", b'"",', b'"\\"",', b'"\\\\",', b'"]",'):
        with pytest.raises(ValueError, match="nested"):
            require_flat(prefix + deep)
    require_flat(b'"' + deep + b'"')
    require_flat(b'"\\"' + deep + b'"')


@pytest.mark.parametrize("end", [b"", b"\\", b'"', b"["])
def test_a_megabyte_of_quotes_without_an_end_is_read_once(end: bytes) -> None:
    """With a second look at each quote this takes hours, not milliseconds."""
    with pytest.raises(ValueError):
        parse(b'"' + b'\\"' * 500_000 + end + b"x")
