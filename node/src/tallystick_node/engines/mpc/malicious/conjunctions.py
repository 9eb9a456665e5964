"""Conjunctions of XOR-shared words, checked afterwards in buckets of random ones (:mod:`buckets`).

A word is an object of 64 lanes. To check n claims z = x & y, with depth B and C = B opened: the parties make n B + C random
triples c = a & b in the same way, toss the permutation, open C triples whole, and for each claim and each of its B triples open r
= x ^ a and s = y ^ b, which the triple masks. Then z ^ c ^ (s & x) ^ (r & y) ^ (r & s) is the XOR of the two errors in each lane,
and must be zero. It depends on the errors only, which the deviating party knows: an abort says nothing about secrets.

From 741 455 claims on B is 2: seven words a claim from each party. A batch is checked as soon as one more waits, so that the last
one is as long. Triples are made, and claims compared with them, in pieces that stay in cache; only the triples are kept whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation
from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.malicious.agreement import Agreement, derived
from tallystick_node.engines.mpc.malicious.buckets import claims_depth, permutation
from tallystick_node.engines.mpc.malicious.tags import Tags
from tallystick_node.engines.mpc.prss import blocks
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

Pair = tuple[Ring, Ring]

BATCH = 3 << 18  # claims checked together while more wait: two triples beside each are enough
PIECE = 1 << 14  # triples worked on at a time: their rows stay in cache
_ROW = 8  # words of a triple's row: a_i, b_i, a_{i+1}, b_{i+1}, c_i, c_{i+1}, and two that fill a line of the cache


@dataclass(frozen=True)
class Claim:
    """That z = x & y, of vectors of 64-bit words."""

    x: Pair
    y: Pair
    z: Pair


class Conjunctions:
    """Conjunctions that wait for their check."""

    def __init__(self, seat: Seat, agreement: Agreement) -> None:
        self._seat = seat
        self._agreement = agreement
        self._claims: list[Claim] = []
        self._memory = np.empty(0, np.uint64)
        self.waiting = 0

    def multiply(self, left: Pair, right: Pair) -> Pair:
        """Bit by bit, of words in one shape: one round, 8 bytes a word from each party."""
        x, y = _flat(left), _flat(right)
        out = np.empty(x[0].size, np.uint64)
        own, after = self._seat.prss.own, self._seat.prss.after
        for block in blocks(out.size):
            count = block.stop - block.start
            masks = own.passing(count), after.passing(count)
            _conjunction(x[0][block], x[1][block], y[0][block], y[1][block], *masks, out[block])
        z = out, self._seat.reshare(out)
        if out.size:
            self._claims.append(Claim(x, y, z))
            self.waiting += out.size
        return z[0].reshape(left[0].shape), z[1].reshape(left[0].shape)

    @property
    def full(self) -> bool:
        """Whether a batch can be checked, and one is left."""
        return self.waiting >= 2 * BATCH

    def check(self, *, all_of_them: bool = True) -> None:
        """Check batches while one is left, and the rest if ``all_of_them``. 8 + 48 bytes a word from each party in batches, six
        rounds a batch and more where it is passed piece by piece. Raises ProtocolViolation."""
        while self.full:
            self._check(self._take(BATCH), BATCH)
        if all_of_them and self.waiting:
            count = self.waiting
            self._check(self._take(count), count)

    def _take(self, count: int) -> list[Claim]:
        """The first claims."""
        taken: list[Claim] = []
        left = count
        while left:
            claim = self._claims.pop(0)
            size = claim.z[0].size
            if size > left:
                self._claims.insert(0, _cut(claim, slice(left, size)))
                claim = _cut(claim, slice(0, left))
            taken.append(claim)
            left -= claim.z[0].size
        self.waiting -= count
        return taken

    def _check(self, claims: list[Claim], count: int) -> None:
        seat, agreement = self._seat, self._agreement
        depth = claims_depth(count)
        rows = self._triples(count * depth + depth)
        order = permutation(derived(agreement.coin(), b"buckets"), len(rows))
        buckets = order[depth:].reshape(depth, count)
        openings, defects = Tags(seat), Tags(seat)
        constant, start = self.constant(), 0
        for claim in _pieces(claims, max(1, PIECE // depth)):
            size = claim.z[0].size
            first, second, products = np.empty((3, depth, 2, size), np.uint64)
            _differ(*claim.x, *claim.y, rows, buckets[:, start : start + size], first, second, products)
            third = seat.exchange(seat.after, first, seat.before)
            openings.add(second, third)
            held, due = np.empty((2, depth, size), np.uint64)
            _compare(*claim.x, *claim.y, *claim.z, products, first, second, third, constant, held, due)
            defects.add(held, due)
            start += size
        whole = rows[order[:depth]]
        parts = np.ascontiguousarray(whole[:, [0, 1, 4]]), np.ascontiguousarray(whole[:, [2, 3, 5]])
        opened = parts[0] ^ parts[1] ^ agreement.open(*parts)
        openings.put_down(agreement)
        key = agreement.confirm()
        self._require_right(opened)
        defects.put_down(agreement)  # what openings that are not confirmed lead to is never shown
        agreement.confirm(key)

    def constant(self) -> Ring:
        """Which of this party's two parts holds public words: all ones there."""
        return np.array([2**64 - 1 if self._seat.index == holder else 0 for holder in (0, 2)], np.uint64)

    def _triples(self, count: int) -> Ring:
        """Random triples in rows of eight words, in whole lines of the cache; the memory is used again for the next batch."""
        own, after = self._seat.prss.own, self._seat.prss.after
        if self._memory.size < _ROW * (count + 1):
            self._memory = np.empty(_ROW * (count + 1), np.uint64)
        start = -(self._memory.ctypes.data // 8) % 8
        rows = self._memory[start : start + _ROW * count].reshape(count, _ROW)
        for block in blocks(count, PIECE):
            products = np.empty(block.stop - block.start, np.uint64)
            for part in blocks(products.size, 1 << 12):
                size = part.stop - part.start
                _make(own.passing(3 * size), after.passing(3 * size), rows[block][part], products[part])
            _put(rows[block], self._seat.reshare(products))
        return rows

    def _require_right(self, triples: Ring) -> None:
        if not np.array_equal(triples[:, 0] & triples[:, 1], triples[:, 2]):
            raise ProtocolViolation(self._seat.after, self._seat.step, "it or the party before made a wrong triple")


def _flat(pair: Pair) -> Pair:
    return np.ascontiguousarray(pair[0]).reshape(-1), np.ascontiguousarray(pair[1]).reshape(-1)


def _pieces(claims: list[Claim], size: int) -> Iterator[Claim]:
    """The claims in pieces of ``size`` words, each in a message of its own, however few words a claim has."""
    held: list[Claim] = []
    room = size
    for claim in claims:
        start, end = 0, claim.z[0].size
        while start < end:
            part = slice(start, min(end, start + room))
            held.append(_cut(claim, part))
            room -= part.stop - start
            start = part.stop
            if not room:
                yield _joined(held)
                held, room = [], size
    if held:
        yield _joined(held)


def _joined(claims: list[Claim]) -> Claim:
    if len(claims) == 1:
        return claims[0]
    x, y, z = (
        (np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs]))
        for pairs in zip(*((claim.x, claim.y, claim.z) for claim in claims), strict=True)
    )
    return Claim(x, y, z)


def _cut(claim: Claim, part: slice) -> Claim:
    return Claim(*((pair[0][part], pair[1][part]) for pair in (claim.x, claim.y, claim.z)))


@compiled
def _conjunction(x: Ring, x_next: Ring, y: Ring, y_next: Ring, mask: Ring, mask_next: Ring, out: Ring) -> None:
    for i in range(out.size):
        out[i] = (x[i] & (y[i] ^ y_next[i])) ^ (x_next[i] & y[i]) ^ mask[i] ^ mask_next[i]


@compiled
def _make(drawn: Ring, drawn_next: Ring, rows: Ring, products: Ring) -> None:
    for i in range(products.size):
        a, b, mask = drawn[3 * i], drawn[3 * i + 1], drawn[3 * i + 2]
        a_next, b_next, mask_next = drawn_next[3 * i], drawn_next[3 * i + 1], drawn_next[3 * i + 2]
        product = (a & (b ^ b_next)) ^ (a_next & b) ^ mask ^ mask_next
        products[i] = product
        row = rows[i]
        row[0], row[1], row[2], row[3], row[4] = a, b, a_next, b_next, product


@compiled
def _put(rows: Ring, products: Ring) -> None:
    for i in range(products.size):
        rows[i, 5] = products[i]


@compiled
def _differ(
    x: Ring, x_next: Ring, y: Ring, y_next: Ring, rows: Ring, buckets: NDArray[np.uint32], first: Ring, second: Ring, products: Ring
) -> None:
    """r and s, both parts of each, and the triples' products in the order of the claims."""
    for layer in range(buckets.shape[0]):
        for i in range(x.size):
            row = rows[buckets[layer, i]]
            first[layer, 0, i], first[layer, 1, i] = x[i] ^ row[0], y[i] ^ row[1]
            second[layer, 0, i], second[layer, 1, i] = x_next[i] ^ row[2], y_next[i] ^ row[3]
            products[layer, 0, i], products[layer, 1, i] = row[4], row[5]


@compiled
def _compare(
    x: Ring,
    x_next: Ring,
    y: Ring,
    y_next: Ring,
    z: Ring,
    z_next: Ring,
    products: Ring,
    first: Ring,
    second: Ring,
    third: Ring,
    constant: Ring,
    held: Ring,
    due: Ring,
) -> None:
    """The defects: the second part of each, and what it must be if they are zero."""
    for layer in range(held.shape[0]):
        for i in range(x.size):
            r = first[layer, 0, i] ^ second[layer, 0, i] ^ third[layer, 0, i]
            s = first[layer, 1, i] ^ second[layer, 1, i] ^ third[layer, 1, i]
            public = r & s
            part = z[i] ^ products[layer, 0, i] ^ (s & x[i]) ^ (r & y[i]) ^ (public & constant[0])
            held[layer, i] = z_next[i] ^ products[layer, 1, i] ^ (s & x_next[i]) ^ (r & y_next[i]) ^ (public & constant[1])
            due[layer, i] = part ^ held[layer, i]
