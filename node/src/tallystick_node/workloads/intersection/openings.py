"""Rows of a registered dataset that an owner opens after an intersection, drawn by a coin, to show that it compared their keys."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tallystick.protocol import canonical
from tallystick.protocol.dataset import DatasetDescriptor
from tallystick.protocol.errors import MalformedDocument, OutputRefused, VerificationFailed
from tallystick.protocol.fields import Fields
from tallystick.protocol.merkle import InclusionProofs, verify_inclusion

from tallystick_node.data.commit import decode_row, encode_rows, leaf_hashes, row_salt
from tallystick_node.engines.channel import Registered
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.openings import LARGEST
from tallystick_node.workloads.keys import ARROW, KeyRules, encode

MOST = 100  # rows

_DOMAIN = b"tallystick/v1/intersection/openings\0"


def drawn(coin: bytes, count: int, rows: int) -> list[int]:
    """The rows that a coin draws, with replacement."""
    numbers = (hashlib.sha256(_DOMAIN + coin + number.to_bytes(4, "big")).digest() for number in range(count))
    return [int.from_bytes(number, "big") % rows for number in numbers]


class Shower:
    """Opens rows of this owner's table, of which ``items`` are the distinct keys. Raises OutputRefused where the dataset has other
    columns than the keys': rows are opened whole."""

    def __init__(
        self, count: int, registered: Registered, table: pa.Table, rules: KeyRules, columns: Sequence[str], items: Items
    ) -> None:
        self._count, self._registered, self._table = count, registered, table
        self._rules, self._columns, self._items = rules, columns, items
        self._descriptor = DatasetDescriptor.parse(registered.descriptor)
        if {column.name for column in self._descriptor.columns} != set(columns):
            raise OutputRefused(
                "openings show whole rows, and the dataset has columns beside the keys",
                remedy="publish the key columns as a dataset of their own",
            )

    def __call__(self, coin: bytes) -> tuple[bytes, NDArray[np.int64]]:
        """The message that opens the rows, and the places of their keys among the items; a row without a key has none."""
        columns = self._descriptor.columns
        table = self._table.select([column.name for column in columns])
        secret, chosen = self._registered.secret, drawn(coin, self._count, table.num_rows)
        proofs = InclusionProofs(leaf_hashes(table, columns, secret), hashed=True)
        rows = encode_rows(table.take(pa.array(chosen)), columns)
        opened = [
            {"salt": row_salt(secret, place).hex(), "row": row.hex(), "path": [each.hex() for each in proofs.path(place)]}
            for place, row in zip(chosen, rows, strict=True)
        ]
        message = canonical.encode({"descriptor": self._registered.descriptor.hex(), "rows": opened})
        keys = encode(self._rules, [table.column(name).take(chosen).combine_chunks() for name in self._columns]).to_pylist()
        wanted = set(keys)
        places = {item: place for place, item in enumerate(self._items) if item in wanted}
        return message, np.array([places[key] for key in keys if key is not None], np.int64)


class Checker:
    """Reads what a :class:`Shower` of the other owner sends. ``version``: the digest of its registered descriptor."""

    def __init__(self, count: int, version: bytes, rules: KeyRules, columns: Sequence[str]) -> None:
        self._count, self._version, self._rules, self._columns = count, version, rules, columns

    def __call__(self, coin: bytes, message: bytes, announced: int) -> Items:
        """The keys of the opened rows. Raises ValueError, saying which rule they break, also where more keys are ``announced`` than
        the dataset has rows."""
        try:
            return self._read(coin, message, announced)
        except MalformedDocument:
            raise ValueError("what opens its rows is malformed") from None

    def _read(self, coin: bytes, message: bytes, announced: int) -> Items:
        fields = Fields(canonical.decode(message, LARGEST), ("descriptor", "rows"), "openings")
        content = _hex(fields.string("descriptor", LARGEST))
        if canonical.digest("dataset", content) != self._version:
            raise ValueError("it shows another descriptor than the registered one")
        descriptor = DatasetDescriptor.parse(content)
        types = {column.name: column.type for column in descriptor.columns}
        if types != dict(zip(self._columns, self._rules.types, strict=True)) or not descriptor.rows:
            raise ValueError("its dataset has other columns than its keys, or no rows")
        if announced > descriptor.rows:
            raise ValueError(f"it compares {announced} keys, and registered {descriptor.rows} rows")
        opened = fields.items("rows", self._count, self._count, _opened)
        names, root = [column.name for column in descriptor.columns], canonical.untext(descriptor.root)
        keys = []
        for index, (leaf, path) in zip(drawn(coin, self._count, descriptor.rows), opened, strict=True):
            try:
                verify_inclusion(leaf, index, descriptor.rows, path, root)
            except VerificationFailed:
                raise ValueError("a row that it opens is not the one that it registered at that place") from None
            cells = dict(zip(names, decode_row(leaf[32:], descriptor.columns), strict=True))
            arrays = [pa.array([cells[name]], ARROW[kind]) for name, kind in zip(self._columns, self._rules.types, strict=True)]
            keys.append(encode(self._rules, arrays)[0].as_py())
        return Items.of(key for key in keys if key is not None)


def _opened(value: object, where: str) -> tuple[bytes, Sequence[bytes]]:
    """A leaf, salt and row, and its path."""
    fields = Fields(value, ("salt", "row", "path"), where)
    salt = _hex(fields.string("salt", 64))
    if len(salt) != 32:
        raise MalformedDocument(f"{where}.salt: not 32 bytes")
    return salt + _hex(fields.string("row", LARGEST)), fields.items("path", 0, 64, lambda each, _where: _hex(each))


def _hex(value: object) -> bytes:
    try:
        return bytes.fromhex(value if isinstance(value, str) else "-")
    except ValueError:
        raise MalformedDocument("openings: not hexadecimal") from None
