"""The commitment to a dataset's rows (docs/spec/dataset.md): a salted leaf for each row under an RFC 9162 Merkle root."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tallystick.protocol import merkle
from tallystick.protocol.dataset import Column
from tallystick.protocol.errors import MalformedDocument

from tallystick_node.data.connect import normalized
from tallystick_node.engines.psi.items import Items

SECRET_BYTES = 32

_BATCH = 1 << 16  # rows encoded at a time, so that memory does not grow with the dataset
_WIDTH = {"int64": ">i8", "decimal": ">i8", "date": ">i4", "bool": ">u1"}
_BLOCK = 64  # bytes, of SHA-256


def encode_rows(table: pa.Table, columns: Sequence[Column]) -> list[bytes]:
    """The canonical encoding of every row: for each cell a tag (0 null, 1 value) and, when there is one, the value."""
    return list(_rows(table, columns))


def decode_row(row: bytes, columns: Sequence[Column]) -> list[Any]:
    """The cells of a row as :func:`encode_rows` wrote it: integers (decimals at their scale, dates in days since 1970), booleans,
    texts, None. Raises MalformedDocument for anything else."""
    cells: list[Any] = []
    view = memoryview(row)
    for column in columns:
        tag, view = bytes(view[:1]), view[1:]
        if tag == b"\0" and column.nullable:
            cells.append(None)
            continue
        size = int.from_bytes(view[:4], "big") if column.type == "string" else np.dtype(_WIDTH[column.type]).itemsize
        view = view[4:] if column.type == "string" else view
        content, view = bytes(view[:size]), view[size:]
        if tag != b"\1" or len(content) != size:
            raise MalformedDocument("a row's cells are not of its columns")
        cells.append(_cell(column, content))
    if len(view):
        raise MalformedDocument("a row has more than its cells")
    return cells


def _cell(column: Column, content: bytes) -> Any:
    if column.type == "string":
        try:
            return content.decode("utf-8", "strict")
        except UnicodeDecodeError:
            raise MalformedDocument("a row's text is not UTF-8") from None
    if column.type == "bool" and content not in (b"\0", b"\1"):
        raise MalformedDocument("a row's bool is neither 0 nor 1")
    number = int.from_bytes(content, "big", signed=column.type != "bool")
    return bool(number) if column.type == "bool" else number


def rows_root(table: pa.Table, columns: Sequence[Column], secret: bytes) -> bytes:
    """The root to publish. ``secret`` (32 bytes, kept by the owner) salts each leaf, so that no row can be guessed."""
    return merkle.root_of_hashes(leaf_hashes(table, columns, secret))


def leaf_hashes(
    table: pa.Table, columns: Sequence[Column], secret: bytes, going_on: Callable[[], None] = lambda: None
) -> list[bytes]:
    """The hash of every row's salted leaf, in order. ``going_on`` is called before each batch of rows, and may raise."""
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a dataset's secret has {SECRET_BYTES} bytes")
    # HMAC with its two keyed states made once: half of the work of `row_salt` for every row.
    key = secret.ljust(_BLOCK, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))
    hashes = []
    for index, row in enumerate(_rows(table, columns)):
        if index % _BATCH == 0:
            going_on()
        message, salt = inner.copy(), outer.copy()
        message.update(index.to_bytes(8, "big"))
        salt.update(message.digest())
        hashes.append(hashlib.sha256(b"\0" + salt.digest() + row).digest())
    return hashes


def row_salt(secret: bytes, index: int) -> bytes:
    """The salt of one row: HMAC-SHA-256 of its index under the dataset's secret."""
    return hmac.digest(secret, index.to_bytes(8, "big"), "sha256")


def row_hashes(
    table: pa.Table, columns: Sequence[Column], key: bytes, going_on: Callable[[], None] = lambda: None
) -> NDArray[np.uint64]:
    """64 bits of BLAKE2s of every row's canonical encoding, under a key of 32 bytes. ``going_on`` is called before each batch of
    rows, and may raise."""
    hashes = np.empty(table.num_rows, np.uint64)
    place = 0
    for batch in _batches(table, columns):
        going_on()
        _, offsets, content = batch.buffers()
        ends = np.frombuffer(offsets, np.int64, len(batch) + 1, 8 * batch.offset)
        hashes[place : place + len(batch)] = Items(ends, np.frombuffer(content, np.uint8)).hashes(key)[0][:, 0]
        place += len(batch)
    return hashes


def _rows(table: pa.Table, columns: Sequence[Column]) -> Iterator[bytes]:
    for batch in _batches(table, columns):
        yield from batch.to_pylist()


def _batches(table: pa.Table, columns: Sequence[Column]) -> Iterator[pa.LargeBinaryArray]:
    for start in range(0, table.num_rows, _BATCH):
        batch = table.slice(start, _BATCH)
        pieces: list[pa.Array] = []
        for column in columns:
            pieces += _cells(batch.column(column.name), column)
        yield pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.large_binary()))


def _cells(values: pa.ChunkedArray, column: Column) -> list[pa.Array]:
    """One column's cells, as binary arrays to be joined row by row."""
    if column.type == "string":
        text = normalized(values.cast(pa.large_string()).combine_chunks())
        lengths = pc.binary_length(text).fill_null(0).to_numpy().astype(">u4")
        return [_tagged(lengths, text), text.fill_null("").cast(pa.large_binary())]
    array = values.combine_chunks()
    if column.type == "date":
        array = array.cast(pa.int32())
    elif column.type == "bool":
        array = array.cast(pa.uint8())
    return [_tagged(array.fill_null(0).to_numpy().astype(_WIDTH[column.type]), array)]


def _tagged(numbers: NDArray[Any], values: pa.Array) -> pa.Array:
    """For each row 1 and its number's bytes, or only 0 where ``values`` has none."""
    rows, size = len(numbers), numbers.dtype.itemsize
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    cells = np.empty((rows, 1 + size), np.uint8)
    cells[:, 0] = valid
    cells[:, 1:] = numbers.view(np.uint8).reshape(rows, size)
    kept = np.ones(cells.shape, np.bool_)
    kept[:, 1:] = valid[:, None]
    offsets = np.concatenate([[0], np.cumsum(1 + size * valid)]).astype(np.int64)
    return pa.Array.from_buffers(pa.large_binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(cells[kept])])
