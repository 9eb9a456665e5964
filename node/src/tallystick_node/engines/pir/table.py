"""The owner's half of a table that others look up in: rows sealed so that only F of a row's key opens it, placed by F of the key.

A row is encrypted with AES-SIV (RFC 5297) under a key that comes from F, padded to one length: what an asker sees of rows whose
keys it did not have evaluated is indistinguishable from random bytes, and a row that opens is the owner's. Empty slots hold random
bytes.

A new version of the data gets a key of F of its own, under which the rows that are new or changed in it are sealed. Otherwise an
asker, who gets the changes of all slots, could open later content of a row that it once looked up. The first key places rows, in
all versions: so an asker sees when something changes in the column of a key that it once looked up, which may be that key's row.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from numpy.typing import NDArray

from tallystick_node.engines.mpc.prss import Stream
from tallystick_node.engines.pir import lwe, oprf
from tallystick_node.engines.pir.lwe import Bytes, Matrix
from tallystick_node.engines.pir.public import (
    DIGEST,
    LABEL,
    MAX_KEYS,
    Layout,
    Patch,
    Public,
    column_digest,
    expected_stash,
    layout_for,
    slots_of,
)

NAME = 16  # bytes of the digests by which the owner knows its keys and values again
SEALED = 18  # bytes that sealing adds: the tag, and the row's length
_WIDE = 1 << 10  # columns hashed at a time


@dataclass(frozen=True)
class Table:
    """One version. For row i: ``names`` and ``prints`` are keyed digests of its key and value, ``places`` is its slot as
    column * bands + band, or -1 - its entry of the stash. ``keys`` (of F, one for each version since the table was made) and
    ``secret`` (of the digests) stay secret."""

    keys: tuple[bytes, ...]
    secret: bytes
    names: Bytes
    prints: Bytes
    places: NDArray[np.int64]
    matrix: Matrix
    public: Public


def sealed_width(row_bytes: int) -> int:
    """Bytes of a slot for rows of at most ``row_bytes``."""
    return row_bytes + SEALED


def build(items: Sequence[bytes], values: Sequence[bytes], row_bytes: int) -> Table:
    """A table of distinct ``items`` and the rows that belong to them, under keys of its own. For a million rows of 256 bytes it
    takes about a minute of one core: half of it evaluates F, the rest seals rows and makes the hint.

    Raises ValueError for rows that are too long or items that repeat, NotATable for more rows than fit.
    """
    layout = layout_for(len(items), sealed_width(row_bytes))
    keys, secret, seed = (oprf.random_key(),), secrets.token_bytes(32), lwe.random_seed()
    names, prints = _digests(secret, items, values)
    outputs = oprf.evaluate(keys[0], items)
    places = _placed(columns_of(outputs, layout), layout)
    sealed = _sealed(outputs, values, row_bytes)
    matrix = _filled(sealed, places, layout)
    stashed = np.flatnonzero(places < 0)
    stash = np.empty((len(stashed), LABEL + layout.width), np.uint8)
    stash[-1 - places[stashed]] = np.hstack([labels_of(outputs[stashed]), sealed[stashed]])
    public = Public(layout, seed, 1, oprf.check_of(keys), lwe.hint(matrix, seed), _column_digests(matrix), stash)
    return Table(keys, secret, names, prints, places, matrix, public)


def renew(table: Table, items: Sequence[bytes], values: Sequence[bytes], row_bytes: int) -> tuple[Table, Patch] | None:
    """The next version of a table, and what leads askers to it. Costs a pass over the digests of all rows, and little for each row
    that was added, changed or taken away. None when the stash would be more than twice that of a table made anew, when the rows'
    length changed, and after MAX_KEYS versions. Raises ValueError like :func:`build`.
    """
    layout = table.public.layout
    if layout.width != sealed_width(row_bytes) or len(table.keys) == MAX_KEYS:
        return None
    names, prints = _digests(table.secret, items, values)
    before = {name.tobytes(): row for row, name in enumerate(table.names)}
    held = np.array([before.get(name.tobytes(), -1) for name in names], np.int64)
    added, kept = np.flatnonzero(held < 0), np.flatnonzero(held >= 0)
    fresh = np.concatenate([kept[(prints[kept] != table.prints[held[kept]]).any(axis=1)], added])  # rows to seal
    keys = (*table.keys, oprf.random_key())
    columns = columns_of(oprf.evaluate(keys[0], [items[int(row)] for row in added]), layout)
    places = np.zeros(len(items), np.int64)
    places[kept] = table.places[held[kept]]
    gone = np.delete(table.places, held[kept])
    entries = _place_added(places, added, columns, gone, table.public)
    anew = layout_for(len(items), layout.width)
    if entries > 64 + 2 * expected_stash(len(items), anew.columns, anew.bands):
        return None
    contents = {int(place): secrets.token_bytes(LABEL + layout.width) for place in gone}
    outputs = oprf.evaluate(keys[-1], [items[int(row)] for row in fresh])
    labels, sealed = labels_of(outputs), _sealed(outputs, [values[int(row)] for row in fresh], row_bytes)
    contents |= {int(places[row]): labels[i].tobytes() + sealed[i].tobytes() for i, row in enumerate(fresh)}
    matrix, patch = _changed(table, contents, entries, oprf.check_of(keys))
    return Table(keys, table.secret, names, prints, places, matrix, patch.applied(table.public)), patch


def open_row(output: Bytes, sealed: Bytes) -> bytes | None:
    """The row that is sealed under this output of F; None when it is another's, or none."""
    try:
        padded = _cipher(output.tobytes()).decrypt(sealed.tobytes(), None)
    except InvalidTag:
        return None
    return padded[2 : 2 + int.from_bytes(padded[:2], "little")]


def columns_of(outputs: Bytes, layout: Layout) -> NDArray[np.int64]:
    """The column of each key, by F of it under the first key."""
    words = np.ascontiguousarray(outputs[:, :8]).view("<u8").reshape(-1)
    return (words & np.uint64(layout.columns - 1)).astype(np.int64)


def labels_of(outputs: Bytes) -> Bytes:
    """The label of each row in the stash, by the output of F that it is sealed under."""
    return outputs[:, 8 : 8 + LABEL]


def _cipher(output: bytes) -> AESSIV:
    return AESSIV(output[16:48])


def _sealed(outputs: Bytes, values: Sequence[bytes], row_bytes: int) -> Bytes:
    flat, joined = outputs.tobytes(), bytearray()
    for i, value in enumerate(values):
        if len(value) > row_bytes:
            raise ValueError(f"a row takes {len(value)} bytes, more than {row_bytes}")
        padded = len(value).to_bytes(2, "little") + value.ljust(row_bytes, b"\0")
        joined += _cipher(flat[i * oprf.OUTPUT : (i + 1) * oprf.OUTPUT]).encrypt(padded, None)
    return np.frombuffer(bytes(joined), np.uint8).reshape(len(values), sealed_width(row_bytes))


def _digests(secret: bytes, items: Sequence[bytes], values: Sequence[bytes]) -> tuple[Bytes, Bytes]:
    if len(set(items)) != len(items) or len(values) != len(items):
        raise ValueError("a table has distinct items, and a row for each")
    made = []
    for person, texts in ((b"name", items), (b"print", values)):
        joined = b"".join(hashlib.blake2b(text, digest_size=NAME, key=secret, person=person).digest() for text in texts)
        made.append(np.frombuffer(joined, np.uint8).reshape(-1, NAME))
    return made[0], made[1]


def _order(count: int) -> NDArray[np.int64]:
    """A random order."""
    return np.argsort(np.frombuffer(secrets.token_bytes(8 * count), np.uint64), kind="stable")


def _placed(columns: NDArray[np.int64], layout: Layout) -> NDArray[np.int64]:
    """A random slot of its column for each key, and of columns that are full a random entry of the stash for the rest."""
    shuffled = _order(len(columns))
    order = shuffled[np.argsort(columns[shuffled], kind="stable")]
    ordered = columns[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    fits = rank < layout.bands
    draws = np.frombuffer(secrets.token_bytes(4 * layout.columns * layout.bands), np.uint32).reshape(layout.columns, layout.bands)
    bands = np.argsort(draws, axis=1)
    places = np.empty(len(columns), np.int64)
    places[order[fits]] = ordered[fits] * layout.bands + bands[ordered[fits], rank[fits]]
    rest = order[~fits]
    places[rest] = -1 - _order(len(rest))
    return places


def _place_added(
    places: NDArray[np.int64], added: NDArray[np.int64], columns: NDArray[np.int64], gone: NDArray[np.int64], public: Public
) -> int:
    """Write a place for each added row, of these columns: a free slot, else a free or a new entry of the stash. Returns how many
    entries there are then."""
    bands = public.layout.bands
    taken = np.zeros(public.layout.columns * bands, np.bool_)
    standing = np.delete(places, added)
    taken[standing[standing >= 0]] = True
    free, entries = [int(place) for place in gone if place < 0], len(public.stash)
    for row, column in zip(added, columns, strict=True):
        start = int(column) * bands
        slots = np.flatnonzero(~taken[start : start + bands])
        if len(slots):
            places[row] = start + int(secrets.choice(slots))
            taken[places[row]] = True
        elif free:
            places[row] = free.pop()
        else:
            entries += 1
            places[row] = -entries
    return entries


def _filled(sealed: Bytes, places: NDArray[np.int64], layout: Layout) -> Matrix:
    """The matrix: slots as columns of bytes, band by band."""
    stream = Stream(secrets.token_bytes(16))
    matrix = np.empty((layout.rows, layout.columns), np.int8)
    slots = np.full((layout.bands, layout.columns), -1, np.int64)
    standing = np.flatnonzero(places >= 0)
    slots[places[standing] % layout.bands, places[standing] // layout.bands] = standing
    for band, rows in enumerate(slots):
        part = stream.elements((layout.columns, layout.width), np.uint8)
        used = rows >= 0
        part[used] = sealed[rows[used]]
        matrix[band * layout.width : (band + 1) * layout.width] = part.T.view(np.int8)
    return matrix


def _column_digests(matrix: Matrix) -> Bytes:
    joined = bytearray()
    for start in range(0, matrix.shape[1], _WIDE):
        for column in np.ascontiguousarray(matrix[:, start : start + _WIDE].T):
            joined += column_digest(column.data)
    return np.frombuffer(bytes(joined), np.uint8).reshape(-1, DIGEST)


def _changed(table: Table, contents: dict[int, bytes], entries: int, check: bytes) -> tuple[Matrix, Patch]:
    """The matrix with the slots of ``contents`` (label and sealed row by place) written, and the patch for it and the stash."""
    layout = table.public.layout
    written = np.array(sorted(place for place in contents if place >= 0), np.int64)
    stashed = np.array(sorted(-1 - place for place in contents if place < 0), np.int64)
    matrix = np.array(table.matrix)
    columns, bands = written // layout.bands, written % layout.bands
    changes = np.empty((len(written), layout.width), np.int16)
    for i, place in enumerate(written):
        slot = matrix[bands[i] * layout.width : (bands[i] + 1) * layout.width, columns[i]]
        content = np.frombuffer(contents[int(place)], np.int8)[LABEL:]
        changes[i] = content.astype(np.int16) - slot
        slot[:] = content
    touched = np.unique(columns)
    digests = b"".join(column_digest(matrix[:, column].tobytes()) for column in touched)
    joined = b"".join(contents[-1 - int(entry)] for entry in stashed)
    return matrix, Patch(
        before=table.public.digest,
        check=check,
        slots=slots_of(columns, bands),
        changes=changes,
        columns=touched.astype(np.uint32),
        digests=np.frombuffer(digests, np.uint8).reshape(-1, DIGEST),
        stash=entries,
        places=stashed.astype(np.uint32),
        entries=np.frombuffer(joined, np.uint8).reshape(-1, LABEL + layout.width),
    )
