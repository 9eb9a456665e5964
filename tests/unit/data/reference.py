"""docs/spec/dataset.md once more, in straight lines: one cell, one row, one leaf after the other, with nothing of the node's."""

from __future__ import annotations

import datetime as dt
import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Any

from tallystick.protocol.dataset import Column


def cell(value: Any, kind: str) -> bytes:
    """One cell. A decimal comes as the integer value * 10^scale."""
    if value is None:
        return bytes.fromhex("00")
    if kind in ("int64", "decimal"):
        return b"\x01" + (value % 2**64).to_bytes(8, "big")
    if kind == "bool":
        return b"\x01\x01" if value else b"\x01\x00"
    if kind == "date":
        return b"\x01" + ((value - dt.date(1970, 1, 1)).days % 2**32).to_bytes(4, "big")
    text = unicodedata.normalize("NFC", value).encode("utf-8")
    return b"\x01" + len(text).to_bytes(4, "big") + text


def row(values: Sequence[Any], columns: Sequence[Column]) -> bytes:
    """One row."""
    return b"".join(cell(value, column.type) for value, column in zip(values, columns, strict=True))


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """RFC 2104."""
    key = key + bytes(64 - len(key))
    inner = hashlib.sha256(bytes(each ^ 0x36 for each in key) + message).digest()
    return hashlib.sha256(bytes(each ^ 0x5C for each in key) + inner).digest()


def tree(leaves: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, over leaf hashes, by its recursion."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + tree(leaves[:half]) + tree(leaves[half:])).digest()


def root(rows: Sequence[bytes], secret: bytes) -> bytes:
    """The commitment to encoded rows."""
    leaves = []
    for index, encoded in enumerate(rows):
        salt = hmac_sha256(secret, index.to_bytes(8, "big"))
        leaves.append(hashlib.sha256(b"\x00" + salt + encoded).digest())
    return tree(leaves)
