"""What an asker holds of a table: nothing of its rows, and all it needs to ask for one and to check the answer.

A table is a matrix of slots: ``bands`` one above the other in each of ``columns``, a slot of ``width`` bytes for one sealed row. A
key's column is chosen by F of the key (:mod:`oprf`); of the rows of a column that is full the rest stand in the stash, sealed and
labelled, which every asker has whole. So one query reads all the slots where a key can be, and changing a row changes one slot. (A
filter in which a row is a sum of several slots, as in Celi and Davidson, "Call Me By My Name", CCS 2024, fills slots equally well,
and rewrites many of them with every change.)

The asker also has a digest of every column, so an answer that differs in any byte from the table that the digest of this object
stands for is noticed, whether the key is found or not.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.pir import lwe
from tallystick_node.engines.pir.lwe import MAX_COLUMNS, SEED, Bytes, Words

DIGEST = 32
LABEL = 8  # bytes before a sealed row of the stash
MIN_COLUMNS = 1 << 8
MAX_BANDS = 1 << 12
MAX_WIDTH = 1 << 13
MAX_STASH = 1 << 18  # entries: four times what a table of 2^24 rows has, so a gigabyte at most of rows of 4 KB
MAX_ROWS = 1 << 21  # of the matrix: a hint of 8 GB
MAX_KEYS = 32  # of F

_DOMAIN = b"tallystick/v1/pir/public\0"
_HEADER = struct.Struct("<5I")
_COUNTS = struct.Struct("<4I")
_SLOT = np.dtype([("column", "<u4"), ("band", "<u4")])


class NotATable(Exception):  # noqa: N818 - a verdict on what a peer sent
    """Bytes from a peer are no table, or no change of the table that is held: the message says why."""


@dataclass(frozen=True)
class Layout:
    """The slots of a table. ``width``: bytes of a sealed row."""

    columns: int
    bands: int
    width: int

    def __post_init__(self) -> None:
        bounds = (
            MIN_COLUMNS <= self.columns <= MAX_COLUMNS and self.columns & (self.columns - 1) == 0,
            1 <= self.bands <= MAX_BANDS,
            1 <= self.width <= MAX_WIDTH,
            self.rows <= MAX_ROWS,
        )
        if not all(bounds):
            raise NotATable(f"a table of {self.columns} columns, {self.bands} bands and {self.width} bytes is out of bounds")

    @property
    def rows(self) -> int:
        """Rows of the matrix: one for each byte of each band."""
        return self.bands * self.width

    @property
    def matrix_bytes(self) -> int:
        """What the owner reads for a query."""
        return self.rows * self.columns

    @property
    def hint_bytes(self) -> int:
        """Of the hint."""
        return 4 * lwe.N * self.rows

    @property
    def query_bytes(self) -> int:
        """Of a query."""
        return 4 * self.columns

    @property
    def answer_bytes(self) -> int:
        """Of an answer."""
        return 2 * self.rows


def layout_for(records: int, width: int) -> Layout:
    """The layout for so many rows: the power of two of columns next to 4 sqrt(bytes), by which hint and queries are balanced for
    some tens of lookups, and the number of bands with which hint and stash together are smallest.

    Raises NotATable for more rows than a table may have.
    """
    ideal = 4 * math.sqrt(max(1, records) * width)
    columns = min(MAX_COLUMNS, max(MIN_COLUMNS, 1 << round(math.log2(ideal))))
    mean = records / columns
    least = max(1, math.floor(mean))
    sizes = {
        bands: 4 * lwe.N * width * bands + expected_stash(records, columns, bands) * (width + LABEL)
        for bands in range(least, least + 8 + 4 * math.isqrt(least))
    }
    return Layout(columns, min(sizes, key=sizes.__getitem__), width)


def expected_stash(records: int, columns: int, bands: int) -> float:
    """How many rows do not fit into their columns, whose loads are about Poisson."""
    mean = records / columns
    return columns * sum(
        (load - bands) * math.exp(load * math.log(mean) - mean - math.lgamma(load + 1)) if mean else 0.0
        for load in range(bands + 1, bands + 40 + 10 * math.isqrt(math.ceil(mean)))
    )


@dataclass(frozen=True)
class Public:
    """``hint``: of the matrix, shape (rows, N). ``digests``: of every column, shape (columns, DIGEST). ``stash``: label and sealed
    row of each entry. ``keys``: how many keys F has, one for each version since the table was made, to which ``check`` commits.
    ``seed``: of the public matrix A."""

    layout: Layout
    seed: bytes
    keys: int
    check: bytes
    hint: Words
    digests: Bytes
    stash: Bytes

    def header(self) -> bytes:
        """What tells the sizes of the rest. Of :data:`HEADER` bytes."""
        shape = self.layout
        return _HEADER.pack(shape.columns, shape.bands, shape.width, len(self.stash), self.keys) + self.seed + self.check

    @cached_property
    def digest(self) -> bytes:
        """Stands for all of it, and by its columns' digests for the table."""
        state = hashlib.sha256(_DOMAIN + self.header())
        for part in (self.hint, self.digests, self.stash):
            state.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        return state.digest()

    @property
    def size(self) -> int:
        """Bytes of the arrays."""
        return self.hint.nbytes + self.digests.nbytes + self.stash.nbytes


HEADER = _HEADER.size + SEED + DIGEST


def read_header(data: bytes) -> tuple[Layout, int, int, bytes, bytes]:
    """Layout, number of stash entries and of keys, seed and check. Raises NotATable."""
    if len(data) != HEADER:
        raise NotATable(f"a header of {len(data)} bytes")
    columns, bands, width, stash, keys = _HEADER.unpack_from(data)
    if stash > MAX_STASH or not 1 <= keys <= MAX_KEYS:
        raise NotATable(f"a stash of {stash} entries, or {keys} keys")
    return Layout(columns, bands, width), stash, keys, data[_HEADER.size : -DIGEST], data[-DIGEST:]


def column_digest(column: bytes) -> bytes:
    """The digest of a column's bytes."""
    return hashlib.sha256(_DOMAIN + column).digest()


@dataclass(frozen=True)
class Patch:
    """What leads from one version of a table to the next, without a new hint: the slots that changed and by how much, shape (slots,
    width), the columns with their new digests, and the stash entries with theirs; and F has one key more, to all of which ``check``
    commits."""

    before: bytes  # digest of the version that it changes
    check: bytes
    slots: NDArray[np.void]
    changes: NDArray[np.int16]
    columns: NDArray[np.uint32]
    digests: Bytes
    stash: int  # entries of the new version
    places: NDArray[np.uint32]
    entries: Bytes

    def to_bytes(self) -> bytes:
        """As it is sent and kept."""
        counts = _COUNTS.pack(len(self.slots), len(self.columns), self.stash, len(self.places))
        parts = (self.slots, self.changes, self.columns, self.digests, self.places, self.entries)
        return self.before + self.check + counts + b"".join(np.ascontiguousarray(part).tobytes() for part in parts)

    @classmethod
    def parse(cls, data: bytes, layout: Layout) -> Patch:
        """Read strictly. Raises NotATable."""
        start = 2 * DIGEST + _COUNTS.size
        if len(data) < start:
            raise NotATable("a change of a table that is cut off")
        slots, columns, stash, places = _COUNTS.unpack_from(data, 2 * DIGEST)
        kinds: tuple[tuple[np.dtype[np.generic], int, int], ...] = (
            (_SLOT, slots, 1),
            (np.dtype("<i2"), slots, layout.width),
            (np.dtype("<u4"), columns, 1),
            (np.dtype(np.uint8), columns, DIGEST),
            (np.dtype("<u4"), places, 1),
            (np.dtype(np.uint8), places, LABEL + layout.width),
        )
        if len(data) != start + sum(kind.itemsize * count * each for kind, count, each in kinds) or stash > MAX_STASH:
            raise NotATable("a change of a table whose length is not that of its parts")
        parts = []
        for kind, count, each in kinds:
            array = np.frombuffer(data, kind, count * each, start)
            parts.append(array if each == 1 else array.reshape(count, each))
            start += array.nbytes
        slot, change, column, digest, place, entry = parts
        made = cls(data[:DIGEST], data[DIGEST : 2 * DIGEST], slot, change, column, digest, stash, place, entry)
        inside = (
            (made.slots["column"] < layout.columns).all() and (made.slots["band"] < layout.bands).all(),
            (made.columns < layout.columns).all(),
            (made.places < stash).all(),
        )
        if not all(inside):
            raise NotATable("a change of slots that the table has not")
        return made

    def applied(self, held: Public) -> Public:
        """The next version. Raises NotATable unless ``held`` is the version that this changes."""
        layout = held.layout
        if held.digest != self.before:
            raise NotATable("a change of another version of the table")
        if self.stash < len(held.stash):
            raise NotATable("a change that shortens the stash")
        if held.keys == MAX_KEYS:
            raise NotATable("more changes than a table may have")
        hint, digests = held.hint.copy(), held.digests.copy()
        for (column, band), change in zip(self.slots.tolist(), self.changes, strict=True):
            part = lwe.public_rows(held.seed, column, 1)
            rows = slice(band * layout.width, (band + 1) * layout.width)
            hint[rows] += change.astype(np.int32).view(np.uint32)[:, None] * part
        digests[self.columns] = self.digests
        stash = np.zeros((self.stash, LABEL + layout.width), np.uint8)
        stash[: len(held.stash)] = held.stash
        stash[self.places] = self.entries
        return Public(layout, held.seed, held.keys + 1, self.check, hint, digests, stash)


def slots_of(columns: NDArray[np.int64], bands: NDArray[np.int64]) -> NDArray[np.void]:
    """Slots by column and band."""
    slots = np.empty(len(columns), _SLOT)
    slots["column"], slots["band"] = columns, bands
    return slots
