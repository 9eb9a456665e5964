"""Typed, composite keys by which rows of two owners are matched: the rules that a task states, and each row's key as bytes."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData, MalformedDocument
from tallystick.protocol.fields import Fields

from tallystick_node.engines.psi.items import Items

TYPES = ("int64", "string", "date")
DUPLICATES = ("reject", "group")
ARROW = {"int64": pa.int64(), "string": pa.string(), "date": pa.date32()}
ASCII_SPACE = "\t\n\v\f\r\x1c\x1d\x1e\x1f "  # what str.strip takes away, so that all text is treated alike
BATCH = 1 << 16  # rows whose keys are encoded at a time


@dataclass(frozen=True)
class KeyRules:
    """``types`` of the key's parts; ``fold``: compare text without case; ``duplicates``: ``reject`` them, or let the first row of
    a key stand for its ``group``."""

    types: tuple[str, ...]
    fold: bool
    duplicates: str

    @classmethod
    def read(cls, fields: Fields, types: Any, where: str) -> KeyRules:
        """From the members ``types``, ``fold`` and ``duplicates`` of a task's parameters. Raises MalformedDocument."""
        if not isinstance(types, list) or not 1 <= len(types) <= 16 or not all(each in TYPES for each in types):
            raise MalformedDocument(f"{where}.types: 1 to 16 of {', '.join(TYPES)}")
        return cls(tuple(types), fields.boolean("fold"), fields.choice("duplicates", DUPLICATES))


def key_columns(value: Any, where: str) -> tuple[str, tuple[str, ...]]:
    """An owner and its key columns, from ``{party, columns}``. Raises MalformedDocument."""
    fields = Fields(value, ("party", "columns"), where)
    return fields.address("party"), fields.names("columns", 1, 16)


def encode(rules: KeyRules, columns: Sequence[pa.Array]) -> pa.Array:
    """The bytes of each row's composite key: for each cell its type, its length and its content, so that no two keys collide.

    Null where a cell is empty: such a row has no key. Text is compared in Unicode NFC, without white space around it.
    """
    pieces: list[pa.Array] = []
    for kind, column in zip(rules.types, columns, strict=True):
        content = _content(kind, column, fold=rules.fold)
        lengths = pc.binary_length(content).fill_null(0).to_numpy().astype(">u4")
        letter = np.full((len(content), 1), ord(kind[0]), np.uint8)
        pieces += [_fixed_width(np.hstack([letter, _bytes_of(lengths)])), content]
    return pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.large_binary()))


def _content(kind: str, column: pa.Array, *, fold: bool) -> pa.Array:
    if kind == "int64":
        packed = _fixed_width(_bytes_of(column.fill_null(0).to_numpy().astype(">i8")))
        return pc.if_else(column.is_valid(), packed, pa.scalar(None, pa.large_binary()))
    if kind == "date":
        return column.cast(pa.large_string()).cast(pa.large_binary())
    text = column.cast(pa.large_string())
    cleaned = pc.ascii_trim(text, ASCII_SPACE)
    if fold:
        cleaned = pc.ascii_lower(cleaned)
    foreign = pc.invert(pc.string_is_ascii(text)).fill_null(False)
    if pc.any(foreign).as_py():
        words = [_clean(word, fold=fold) for word in text.filter(foreign).to_pylist()]
        cleaned = pc.replace_with_mask(cleaned, foreign, pa.array(words, pa.large_string()))
    filled = pc.greater(pc.binary_length(cleaned), 0)
    return pc.if_else(filled, cleaned, pa.scalar(None, pa.large_string())).cast(pa.large_binary())


def _clean(text: str, *, fold: bool) -> str:
    text = unicodedata.normalize("NFC", text).strip()
    return unicodedata.normalize("NFC", text.casefold()) if fold else text


def _bytes_of(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    return numbers.view(np.uint8).reshape(len(numbers), numbers.dtype.itemsize)


def _fixed_width(cells: NDArray[np.uint8]) -> pa.Array:
    """A row of bytes for each row, as Arrow's binary."""
    offsets = np.arange(len(cells) + 1, dtype=np.int64) * cells.shape[1]
    return pa.Array.from_buffers(pa.large_binary(), len(cells), [None, pa.py_buffer(offsets), pa.py_buffer(cells.tobytes())])


def distinct(rules: KeyRules, keys: pa.Table) -> tuple[Items, NDArray[np.int64]]:
    """The distinct keys, and for each the first row that has it. Rows with an empty key cell have no key. Raises InvalidData."""
    for kind, field in zip(rules.types, keys.schema, strict=True):
        # A decimal is an int64 at its scale: 1.50 would match 150.
        if field.type != ARROW[kind] or int((field.metadata or {}).get(b"scale", b"0")):
            raise InvalidData(f"a key column is not of type {kind}", remedy="name the column's own type in `types`")
    encoded = pa.chunked_array(
        [
            encode(rules, [column.combine_chunks() for column in keys.slice(start, BATCH).columns])
            for start in range(0, keys.num_rows, BATCH)
        ],
        pa.large_binary(),
    ).combine_chunks()
    items = _items(encoded)
    filled = encoded.is_valid().to_numpy(zero_copy_only=False)
    first = items.distinct(filled)
    repeated = int(filled.sum()) - len(first)
    if rules.duplicates == "reject" and repeated:
        raise InvalidData(f"{repeated} rows repeat a key", remedy="clean the data, or let the task group duplicates")
    return items if len(first) == len(items) else items.take(first), first


def _items(encoded: pa.Array) -> Items:
    """Arrow's own memory, without a copy."""
    _, offsets, content = encoded.buffers()
    if not len(encoded):
        return Items.of([])
    ends = np.frombuffer(offsets, np.int64)[encoded.offset : encoded.offset + len(encoded) + 1]
    return Items(ends, np.frombuffer(content, np.uint8) if content is not None else np.empty(0, np.uint8))


def commit(items: Items, beside: bytes = b"") -> tuple[str, dict[str, str]]:
    """A hiding commitment to the keys that went in, in the order of their rows, and to what stands ``beside`` them; and its
    opening, which stays with the owner."""
    salt = secrets.token_bytes(32)
    return canonical.text(items.commitment(salt + beside)), {"salt": salt.hex()}
