"""The commitment to a dataset's rows (docs/spec/dataset.md): a salted leaf for each row under an RFC 9162 Merkle root."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from tallystick.protocol import merkle
from tallystick.protocol.dataset import Column

SECRET_BYTES = 32


def encode_rows(table: pa.Table, columns: Sequence[Column]) -> list[bytes]:
    """The canonical encoding of every row: for each cell a tag (0 null, 1 value) and, when there is one, the value."""
    cells = [_encode_column(table.column(column.name).combine_chunks(), column) for column in columns]
    return [b"".join(row) for row in zip(*cells, strict=True)]


def rows_root(table: pa.Table, columns: Sequence[Column], secret: bytes) -> bytes:
    """The root to publish. ``secret`` (32 bytes, kept by the owner) salts each leaf, so that no row can be guessed."""
    hashes = []
    for index, row in enumerate(encode_rows(table, columns)):
        hashes.append(hashlib.sha256(b"\0" + row_salt(secret, index) + row).digest())
    return merkle.root_of_hashes(hashes)


def row_salt(secret: bytes, index: int) -> bytes:
    """The salt of one row: HMAC-SHA-256 of its index under the dataset's secret."""
    return hmac.digest(secret, index.to_bytes(8, "big"), "sha256")


def _encode_column(values: pa.Array, column: Column) -> list[bytes]:
    if column.type == "string":
        return [b"\0" if text is None else _string(text) for text in values.to_pylist()]
    width = {"int64": ">i8", "decimal": ">i8", "date": ">i4", "bool": ">u1"}[column.type]
    if column.type == "date":
        values = values.cast(pa.int32())
    elif column.type == "bool":
        values = values.cast(pa.uint8())
    numbers = values.fill_null(0).to_numpy(zero_copy_only=False).astype(width)
    size = numbers.dtype.itemsize
    body = numbers.tobytes()
    valid = np.asarray(values.is_valid())
    return [b"\1" + body[i * size : (i + 1) * size] if present else b"\0" for i, present in enumerate(valid.tolist())]


def _string(text: str) -> bytes:
    raw = unicodedata.normalize("NFC", text).encode()
    return b"\1" + len(raw).to_bytes(4, "big") + raw
