"""Canonical bytes: what is written, and everything that is refused."""

from __future__ import annotations

import pytest
from tallystick.protocol import canonical
from tallystick.protocol.errors import MalformedDocument


def test_the_form_of_the_specification() -> None:
    assert canonical.encode({"b": [1, True, None], "a": "é\n"}) == '{"a":"é\\n","b":[1,true,null]}'.encode()


def test_digests_are_separated_by_domain() -> None:
    assert canonical.digest("task", b"{}") != canonical.digest("dataset", b"{}")
    text = canonical.text(canonical.digest("task", b"{}"))
    assert canonical.text(canonical.untext(text)) == text


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}', b"1.0", b"1e3", b"9007199254740992", b"-9007199254740992", b'{"b":1,"a":1}', b'{ "a":1}', b"-0",
        b"NaN", b"Infinity", b"1 ", b"", b"\xff", b'"\\ud800"', b'{"\xc3\xa9":1}', b"[1,]", b"1" * 5000, b"\xef\xbb\xbf1",
        b"[" * 17 + b"]" * 17, b"[" * 100_000, b'{"a":' * 50_000, b'"\\u0061"', b"01",
    ],
    ids=lambda data: repr(data[:20]),
)  # fmt: skip
def test_refused_bytes(data: bytes) -> None:
    with pytest.raises(MalformedDocument):
        canonical.decode(data, 1 << 20)


def test_the_greatest_depth_and_integer_are_read() -> None:
    assert canonical.decode(b"[" * 16 + b"]" * 16, 100)
    assert canonical.decode(b"9007199254740991", 100) == 2**53 - 1


def test_the_size_limit_is_inclusive() -> None:
    assert canonical.decode(b"[12]", 4) == [12]
    with pytest.raises(MalformedDocument):
        canonical.decode(b"[12]", 3)


@pytest.mark.parametrize("value", [1.5, float("nan"), 2**53, {1: 2}, {"é": 1}, "\ud800", b"x", {1, 2}, [object()]])
def test_values_without_a_form(value: object) -> None:
    with pytest.raises(MalformedDocument):
        canonical.encode(value)


@pytest.mark.parametrize("text", ["", "sha256:", "sha256:" + "A" * 64, "0x" + "0" * 64, "sha256:" + "0" * 64 + "\n", 3])
def test_texts_that_are_no_digest(text: str) -> None:
    with pytest.raises(MalformedDocument):
        canonical.untext(text)


@pytest.mark.parametrize("text", ["", "0x", "0X" + "0" * 64, "0x" + "F" * 64, "0x" + "0" * 64 + "\n", None])
def test_texts_that_are_no_id(text: str) -> None:
    with pytest.raises(MalformedDocument):
        canonical.unhex32(text)


def test_wrong_lengths_have_no_text() -> None:
    for form in (canonical.text, canonical.hex32):
        with pytest.raises(MalformedDocument):
            form(b"short")
