"""Conjunctions of XOR-shared words, checked afterwards in buckets of random ones (:mod:`buckets`).

A word is an object of 64 lanes. To check n claims z = x & y, with depth B and C = B opened: the parties make n B + C random
triples c = a & b in the same way, toss the permutation, open C triples whole, and for each claim and each of its B triples open r
= x ^ a and s = y ^ b, which the triple masks. Then z ^ c ^ (s & x) ^ (r & y) ^ (r & s) is the XOR of the two errors in each lane,
and must be zero. It depends on the errors only, which the deviating party knows: an abort says nothing about secrets.

For 2^20 claims B is 2: seven words a claim from each party. A batch of that length is checked as soon as it is full; the rest
waits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation
from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.malicious.agreement import Agreement, derived
from tallystick_node.engines.mpc.malicious.buckets import claims_depth, permutation
from tallystick_node.engines.mpc.prss import blocks
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

Pair = tuple[Ring, Ring]

BATCH = 1 << 20  # claims checked together
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
        self._rooms: dict[str, Ring] = {}
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
        """Whether a batch can be checked."""
        return self.waiting >= BATCH

    def check(self, *, all_of_them: bool = True) -> None:
        """Check the full batches that wait, and the rest if ``all_of_them``. 8 + 48 bytes a word from each party in a full batch,
        six rounds a batch. Raises ProtocolViolation."""
        while self.waiting >= BATCH:
            self._check(self._take(BATCH))
        if all_of_them and self.waiting:
            self._check(self._take(self.waiting))

    def _take(self, count: int) -> Claim:
        """The first claims, as one."""
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
        if len(taken) == 1:
            return taken[0]
        joined = [
            tuple(np.concatenate([getattr(claim, name)[part] for claim in taken]) for part in (0, 1)) for name in ("x", "y", "z")
        ]
        return Claim(*((pair[0], pair[1]) for pair in joined))

    def _check(self, claim: Claim) -> None:
        count = claim.z[0].size
        depth = claims_depth(count)
        rows = self._triples(count * depth + depth)
        order = permutation(derived(self._agreement.coin(), b"buckets"), len(rows))
        # the opened triples and the differences go in one message
        size = 2 * depth * count
        first, second = self._room("first", size + 3 * depth), self._room("second", size + 3 * depth)
        products = self._room("products", size).reshape(depth, 2, count)
        for layer in range(depth):
            places = slice(2 * layer * count, (2 * layer + 2) * count)
            chosen = order[depth + layer * count : depth + (layer + 1) * count]
            _differ(*claim.x, *claim.y, rows, chosen, first[places], second[places], products[layer])
        opened = rows[order[:depth]]
        first[size:], second[size:] = opened[:, [0, 1, 4]].reshape(-1), opened[:, [2, 3, 5]].reshape(-1)
        third = self._agreement.open(first, second)
        key = self._agreement.confirm()
        self._require_right((first[size:] ^ second[size:] ^ third[size:]).reshape(depth, 3))
        held, due = np.split(self._room("defects", size), 2)
        for layer in range(depth):
            places, lanes = slice(2 * layer * count, (2 * layer + 2) * count), slice(layer * count, (layer + 1) * count)
            public = first[places], second[places], third[places]
            _compare(*claim.x, *claim.y, *claim.z, products[layer], *public, self._constant(), held[lanes], due[lanes])
        self._agreement.compare(held, due)
        self._agreement.confirm(key)

    def _room(self, name: str, size: int) -> Ring:
        """Memory for one batch, kept for the next of the same size, in whole lines of the cache."""
        kept = self._rooms.get(name)
        if kept is None or kept.size != size:
            whole = np.empty(size + 8, np.uint64)
            start = -(whole.ctypes.data // 8) % 8
            kept = self._rooms[name] = whole[start : start + size]
        return kept

    def _constant(self) -> Ring:
        """Which of this party's two parts holds public words: all ones there."""
        return np.array([2**64 - 1 if self._seat.index == holder else 0 for holder in (0, 2)], np.uint64)

    def _triples(self, count: int) -> Ring:
        """Random triples in rows of eight words."""
        own, after = self._seat.prss.own, self._seat.prss.after
        rows = self._room("rows", _ROW * count).reshape(count, _ROW)
        products = self._room("made", count)
        for block in blocks(count, 1 << 12):
            size = block.stop - block.start
            _make(own.passing(3 * size), after.passing(3 * size), rows[block], products[block])
        _put(rows, self._seat.reshare(products))
        return rows

    def _require_right(self, triples: Ring) -> None:
        if not np.array_equal(triples[:, 0] & triples[:, 1], triples[:, 2]):
            raise ProtocolViolation(self._seat.after, self._seat.step, "it or the party before made a wrong triple")


def _flat(pair: Pair) -> Pair:
    return np.ascontiguousarray(pair[0]).reshape(-1), np.ascontiguousarray(pair[1]).reshape(-1)


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
    x: Ring, x_next: Ring, y: Ring, y_next: Ring, rows: Ring, order: NDArray[np.uint32], first: Ring, second: Ring, products: Ring
) -> None:
    """r and s, both parts of each, and the triples' products in the order of the claims."""
    count = x.size
    for i in range(count):
        row = rows[order[i]]
        first[i], first[count + i] = x[i] ^ row[0], y[i] ^ row[1]
        second[i], second[count + i] = x_next[i] ^ row[2], y_next[i] ^ row[3]
        products[0, i], products[1, i] = row[4], row[5]


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
    count = x.size
    for i in range(count):
        r = first[i] ^ second[i] ^ third[i]
        s = first[count + i] ^ second[count + i] ^ third[count + i]
        public = r & s
        part = z[i] ^ products[0, i] ^ (s & x[i]) ^ (r & y[i]) ^ (public & constant[0])
        held[i] = z_next[i] ^ products[1, i] ^ (s & x_next[i]) ^ (r & y_next[i]) ^ (public & constant[1])
        due[i] = part ^ held[i]
