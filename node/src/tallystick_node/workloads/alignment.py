"""Bringing the tables of owners who hold different columns of the same people into one order of rows.

``intersection``: two to eight owners match their rows by typed, composite keys with PSI, by the protocol that fits their number
and sizes, of which all are receivers; the matched rows, ordered by their keys, are the joint table. Every owner learns which of
its own rows all the others have too: an intersection that stays secret is another kind of task.

``order``: the owners say that their tables hold the same people in the same order, row by row. Whether the keys are indeed equal
is tested without showing them: each owner's keys in their order become one item of a PSI with the first owner. An owner whose
keys differ learns that, and nothing else of the other's keys.

Security: semi-honest owners, as :mod:`tallystick_node.engines.psi` states. What the other parties learn is the number of
joint rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from tallystick.protocol.errors import InvalidData, MalformedDocument
from tallystick.protocol.fields import Fields

from tallystick_node.engines.channel import Session
from tallystick_node.engines.psi.handshake import Intersection
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.multi_party import MOST, intersect_all
from tallystick_node.engines.psi.two_party import intersect
from tallystick_node.workloads.keys import KeyRules, distinct, key_columns

MODES = ("intersection", "order")
MAX_OWNERS = 16


@dataclass(frozen=True)
class Join:
    """How rows are matched: ``keys`` gives each owner's key columns, in the order of the rules' types."""

    mode: Literal["intersection", "order"]
    keys: Mapping[str, tuple[str, ...]]
    rules: KeyRules

    @classmethod
    def read(cls, value: Any, where: str) -> Join:
        """From ``{mode, keys, types, fold, duplicates}``. Raises MalformedDocument."""
        fields = Fields(value, ("mode", "keys", "types", "fold", "duplicates"), where)
        mode: Any = fields.choice("mode", MODES)
        owners = fields.items("keys", 2, MOST if mode == "intersection" else MAX_OWNERS, key_columns)
        rules = KeyRules.read(fields, value["types"], where)
        if len(dict(owners)) != len(owners) or any(len(columns) != len(rules.types) for _, columns in owners):
            raise MalformedDocument(f"{where}.keys: each owner is named once, with one column for each type")
        if mode == "order" and rules.duplicates != "reject":
            raise MalformedDocument(f"{where}.duplicates: tables in one order have no duplicates to group: say reject")
        return cls(mode, dict(owners), rules)


def align(join: Join, session: Session, party: str, owners: Sequence[int], table: pa.Table) -> pa.Table:
    """The rows of an owner's ``table`` that all ``owners`` (their numbers, ascending) have, in an order common to all.

    Raises InvalidData when a key is missing or repeated against the rules, or when the owners' keys differ in mode ``order``;
    ProtocolViolation and ChannelError naming a peer.
    """
    for owner in owners:  # nobody else takes part, nor marks the phase
        if owner != session.index:
            session.channels[owner].mark("align")
    items, rows = distinct(join.rules, table.select(list(join.keys[party])))
    if join.mode == "intersection":
        found = _common(session, owners, items, session.context + b"align")
        assert found.positions is not None  # this owner is a receiver
        matched = sorted(found.positions.tolist(), key=lambda position: hashlib.sha256(items[position]).digest())
        return table.take(pa.array(rows[np.array(matched, np.int64)]))
    if len(items) != table.num_rows:
        raise InvalidData("a row has no key", remedy="clean the key columns, or match rows by intersection")
    _require_one_order(session, owners, items)
    return table


def _common(session: Session, owners: Sequence[int], items: Items, context: bytes) -> Intersection:
    if len(owners) > 2:
        return intersect_all(session, items, parties=owners, receivers=list(owners), context=context)
    (peer,) = (owner for owner in owners if owner != session.index)
    return intersect(session, items, peer=peer, receivers=list(owners), mode="ids", protocol="automatic", context=context)


def _require_one_order(session: Session, owners: Sequence[int], items: Items) -> None:
    whole = Items.of([items.commitment(session.context)])
    first, *others = owners
    peers = others if session.index == first else [first]
    for peer in peers:
        pair = sorted((peer, session.index))
        context = session.context + b"order" + bytes(pair)
        found = intersect(session, whole, peer=peer, receivers=pair, mode="cardinality", protocol="automatic", context=context)
        if not found.cardinality:
            raise InvalidData(
                "the owners' tables do not hold the same keys in the same order",
                remedy="sort and complete the tables alike, or match rows by intersection",
            )
