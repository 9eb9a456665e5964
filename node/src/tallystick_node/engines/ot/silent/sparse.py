"""Shares of delta times a sparse vector, what every silent correlation grows from.

The *sender* holds delta and a vector v of blocks, the *receiver* a vector u of field elements, of which one in every tree is not
zero, and w = v + delta u. The trees (:mod:`forest`) give the receiver every place of v but the one where u is not zero. Rows of an
extension (:mod:`tallystick_node.engines.ot.rows`) give both shares of delta times the element there, a row for each of its bits
(Gilboa, CRYPTO 1999); the sender adds its share to the sum of all leaves and sends that, so that the receiver's missing leaf
becomes what it shall be. Over GF(2) the element is 1, and takes no rows.

Security: semi-honest. A sender that deviates gets wrong leaves into w, which :mod:`checked` detects; a receiver that deviates can
only choose u, its places and elements, as it likes. Bytes for t trees of depth d over a field of 2^k elements: 4 t (d + k) from the
receiver (4 t d over GF(2)), 16 t (d + 2) from the sender.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np

from tallystick_node.engines.channel import Session, receive_array, send_array
from tallystick_node.engines.mpc.prss import SEED, Stream
from tallystick_node.engines.ot.rows import RowReceiver, RowSender
from tallystick_node.engines.ot.silent.field import Field, Words, packed
from tallystick_node.engines.ot.silent.forest import ALL, STEP, Forests, Holes, Room, sides, total
from tallystick_node.engines.ot.silent.shape import Shape


@dataclass(frozen=True)
class Sparse:
    """The receiver's part: ``leaves`` are w; u has ``elements``, of shape (trees, words), at ``places``."""

    leaves: Words
    places: Holes
    elements: Words


class SparseSender:
    """Holds the delta of ``rows``, of which no two of these have one label. Of the first word of every block of v only the bits of
    ``keep`` may be set."""

    def __init__(self, session: Session, peer: int, label: bytes, rows: RowSender, room: Room, keep: np.uint64 = ALL) -> None:
        self._session, self._peer, self._rows, self._keep = session, peer, rows, keep
        self._forests = Forests(session, peer, label, session.index, room)

    def vector(self, field: Field, form: Shape) -> Words:
        """The next vector v, of shape (size, 2), in the room."""
        more = _rows_for_element(field)
        rows = self._rows.rows(form.trees * (form.depth + more)).reshape(form.trees, form.depth + more, 2)
        self._session.channels[self._peer].mark(STEP)
        leaves = self._forests.grow(form, rows[:, : form.depth], self._rows.delta, self._keep)
        share = packed(field, rows[:, form.depth :]) if more else self._rows.delta
        send_array(self._session, self._peer, share ^ total(leaves.reshape(form.trees, -1, 2), 0, 1))
        return leaves


class SparseReceiver:
    """The other side, with the rows of the other side."""

    def __init__(self, session: Session, peer: int, label: bytes, rows: RowReceiver, room: Room, keep: np.uint64 = ALL) -> None:
        self._session, self._peer, self._rows, self._keep = session, peer, rows, keep
        self._forests = Forests(session, peer, label, peer, room)
        self._draw = Stream(secrets.token_bytes(SEED))

    def vector(self, field: Field, form: Shape) -> Sparse:
        """The next vectors w, in the room, and u. Raises ProtocolViolation for messages of another length."""
        trees, more = form.trees, _rows_for_element(field)
        holes = (self._draw.elements((trees,)) & np.uint64((1 << form.depth) - 1)).astype(np.int64)
        elements = self._elements(field, trees)
        bits = np.unpackbits(elements.view(np.uint8), axis=1, bitorder="little")[:, :more]
        choices = np.concatenate([1 - sides(holes, form.depth), bits], axis=1)
        rows = self._rows.rows(choices.reshape(-1)).reshape(trees, form.depth + more, 2)
        self._session.channels[self._peer].mark(STEP)
        leaves = self._forests.puncture(form, rows[:, : form.depth], holes, self._keep)
        given = receive_array(self._session, self._peer, (trees, 2), STEP)
        places = np.arange(trees) * (1 << form.depth) + holes
        share = packed(field, rows[:, form.depth :]) if more else np.uint64(0)
        leaves[places] = given ^ share ^ total(leaves.reshape(trees, -1, 2), 0, 1)
        return Sparse(leaves, places, elements)

    def _elements(self, field: Field, count: int) -> Words:
        """Uniform elements but zero; of large fields any, since zero has no chance."""
        if field.bits >= 64:
            return self._draw.elements((count, field.bits // 64))
        return self._draw.elements((count, 1)) % np.uint64((1 << field.bits) - 1) + np.uint64(1)


def _rows_for_element(field: Field) -> int:
    return field.bits if field.bits > 1 else 0
