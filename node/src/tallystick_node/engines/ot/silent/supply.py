"""Correlations over small fields in any number, made in batches: q at the sender, q + u delta at the receiver for random u.

Over GF(2) these are correlated transfers, u being the choices; over GF(2^4) an element of u chooses one of 16 strings q - x delta.
The lowest lane of delta is 1 and that of every q is 0, so that the lowest lane of what the receiver holds is u: it takes no vector
of its own. That leaves 127 or 124 bits of delta to guess.

Where the receiver has choices of its own, it tells how they differ from u, and the sender adds delta to those q: rows like those of
:mod:`tallystick_node.engines.ot.rows`, of which the transfers of :mod:`tallystick_node.engines.ot.extension` can be made.

A batch is a sparse vector (:mod:`sparse`) compressed by :mod:`code`. It has 600 trees and gives 300 * 2^depth correlations; the
first is the smallest that is enough, and each further one as large as all before or what is wanted, up to ``LARGEST``; what is
expected is not exceeded so. Both ends expect and take the same numbers in the same order. Security: as :mod:`sparse`, semi-honest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session, receive_array, send_array
from tallystick_node.engines.ot.rows import RowReceiver, RowSender
from tallystick_node.engines.ot.silent.code import Code
from tallystick_node.engines.ot.silent.field import Field, Words, multiples
from tallystick_node.engines.ot.silent.forest import ALL, Room
from tallystick_node.engines.ot.silent.shape import LEAST_DEPTH, TREES, Shape
from tallystick_node.engines.ot.silent.sparse import SparseReceiver, SparseSender

CHOICES = "silent choices"
LARGEST = 12  # depth: 1.2 million correlations of a batch, in vectors of 40 MB

_HALF = TREES // 2


class _Store:
    """What is left of the batches, in memory that is kept."""

    def __init__(self) -> None:
        self._array = np.empty((0, 2), np.uint64)
        self._start = self._stop = 0
        self._made = 0
        self._expected = 0

    def expect(self, count: int) -> None:
        """The next takes are of so many together."""
        self._expected = count

    def missing(self, count: int) -> int:
        """How many are lacking of ``count``."""
        return count - (self._stop - self._start)

    def next(self, missing: int) -> Shape:
        """The shape of the batch to make next."""
        wanted = max(missing, self.missing(self._expected) if self._expected else self._made)
        depth = LEAST_DEPTH
        while _HALF << depth < wanted and depth < LARGEST:
            depth += 1
        self._made += _HALF << depth
        return Shape(TREES, depth)

    def put(self, batch: Words) -> None:
        """A batch that was made."""
        left = self._array[self._start : self._stop]
        size = len(left) + len(batch)
        if size > len(self._array):
            self._array = np.empty((size, 2), np.uint64)
        self._array[: len(left)] = left
        self._array[len(left) : size] = batch
        self._start, self._stop = 0, size

    def take(self, count: int) -> Words:
        """The first ``count``."""
        self._start += count
        self._expected = max(0, self._expected - count)
        return self._array[self._start - count : self._start]


class SupplySender:
    """Holds the delta of ``rows``, whose lowest lane must be 1: rows with ``one`` of that many bits. The supplies of one party may
    share ``room``."""

    def __init__(self, session: Session, peer: int, rows: RowSender, field: Field, room: Room) -> None:
        self._field, self._code, self._store = field, Code(session.context), _Store()
        self._sparse = SparseSender(session, peer, _label(field), rows, room, _but_lane(field))
        self.multiples = multiples(rows.delta, field)[0, : 1 << field.bits]  # of delta, by all elements

    def expect(self, count: int) -> None:
        """What is taken next are so many together: no more are made for them than it takes."""
        self._store.expect(count)

    def take(self, count: int) -> Words:
        """The blocks q, of shape (count, 2): to be read, before the next are taken."""
        while (missing := self._store.missing(count)) > 0:
            form = self._store.next(missing)
            leaves = self._sparse.vector(self._field, form)
            self._store.put(*self._code.compress(self._field, form.size // 2, leaves))
        return self._store.take(count)


class SupplyReceiver:
    """The other side, with the rows of the other side."""

    def __init__(self, session: Session, peer: int, rows: RowReceiver, field: Field, room: Room) -> None:
        self._field, self._code, self._store = field, Code(session.context), _Store()
        self._sparse = SparseReceiver(session, peer, _label(field), rows, room, _but_lane(field))

    def expect(self, count: int) -> None:
        """Like :meth:`SupplySender.expect`."""
        self._store.expect(count)

    def take(self, count: int) -> Words:
        """The blocks q + u delta, of shape (count, 2), with u in their lowest lane: to be read, before the next are taken."""
        while (missing := self._store.missing(count)) > 0:
            form = self._store.next(missing)
            noise = self._sparse.vector(self._field, form)
            noise.leaves[noise.places, 0] &= _but_lane(self._field)
            noise.leaves[noise.places, 0] |= noise.elements[:, 0]
            self._store.put(*self._code.compress(self._field, form.size // 2, noise.leaves))
        return self._store.take(count)


class SilentRowSender:
    """Rows of a supply over GF(2), for choices of the receiver."""

    def __init__(self, session: Session, peer: int, supply: SupplySender) -> None:
        self._session, self._peer, self._supply = session, peer, supply
        self.delta: Words = supply.multiples[1]

    def rows(self, count: int) -> Words:
        """The rows q of the next choices, of shape (count, 2). Raises ProtocolViolation for a message of another length."""
        blocks = self._supply.take(count)
        self._session.channels[self._peer].mark(CHOICES)
        told = receive_array(self._session, self._peer, (-(-count // 8),), CHOICES, np.uint8)
        return blocks ^ np.unpackbits(told, count=count, bitorder="little")[:, None] * self.delta


class SilentRowReceiver:
    """The other side."""

    def __init__(self, session: Session, peer: int, supply: SupplyReceiver) -> None:
        self._session, self._peer, self._supply = session, peer, supply

    def rows(self, choices: NDArray[np.uint8]) -> Words:
        """q + c delta for each choice c (0 or 1), of shape (count, 2)."""
        blocks = self._supply.take(len(choices))
        self._session.channels[self._peer].mark(CHOICES)
        differing = choices ^ (blocks[:, 0] & np.uint64(1)).astype(np.uint8)
        send_array(self._session, self._peer, np.packbits(differing, bitorder="little"))
        return blocks.copy()


def _label(field: Field) -> bytes:
    return b"supply over 2^%d" % field.bits


def _but_lane(field: Field) -> np.uint64:
    """All bits of a word but those of its lowest lane."""
    return ALL ^ np.uint64((1 << field.bits) - 1)
