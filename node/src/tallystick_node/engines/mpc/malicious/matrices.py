"""Matrix products in the ring, checked afterwards by random projection (Freivalds, IFIP 1977) and a sacrifice of what is left.

A claim Z = X Y of (m, k) and (k, n) is projected on both sides by public random matrices of zeros and ones, 48 rows P and 48
columns Q, tossed when Z is fixed: A = P X, B = Y Q and C = P Z Q need no message. If Z = X Y + E with E not zero, then E Q is not
zero but with probability 2^-48 (each column of zeros and ones meets a row of E, over the ring, with probability at least 1/2),
and then P E Q is not zero but with probability 2^-48. A side of at most 48 rows or columns stays as it is. Claims of one check
share P and Q, for one wrong claim is enough to be found.

The small claims C = A B are proved over Z_2^112 like products (:mod:`products`): the parties compute D = A B, check that it is C
modulo 2^64, toss weights p for columns, draw a vector h as long as k and compute c, the inner product of h and B p; then they
toss weights q for rows, open r = q A - h, and check that q D p, less c, less the inner product of r and B p is zero, in one sum
for all claims. Errors of the deviating party enter D and c only, and were fixed when p, respectively q were tossed: an error of D
that is not zero modulo 2^64 passes with probability at most 51 / 2^49 < 2^-43 (:func:`error`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.mpc.malicious.agreement import Agreement, derived
from tallystick_node.engines.mpc.malicious.products import Pair, reshared, settle
from tallystick_node.engines.mpc.malicious.wide import EXCESS, Wide, add_matrix, inner_product, total
from tallystick_node.engines.mpc.matrix import add_product
from tallystick_node.engines.mpc.prss import Stream
from tallystick_node.engines.mpc.replicated.arithmetic import matmul
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

PROJECTIONS = 48
LIMIT = 1 << 24  # elements of the matrices that wait for their check

_HIGH = np.uint64((1 << EXCESS) - 1)

Limbs = tuple[Ring, Ring]


def error(excess: int = EXCESS) -> float:
    """log2 of the probability that an error that is not zero modulo 2^64 vanishes modulo 2^(64 + excess) when it met one random
    64-bit word, another error and a second such word: after the first word it has t more factors of two, for each t with
    probability at most 2^-t, and after the second it vanishes with what is left."""
    room = excess + 1  # the bits that an error in bit 63 can still grow by
    return math.log2(sum(2.0**-t * 2.0 ** -(room - t) for t in range(room)) + 2.0**-room + 2.0**-64)


@dataclass(frozen=True)
class Claim:
    """That z = x y, of matrices."""

    x: Pair
    y: Pair
    z: Pair


class Matrices:
    """Matrix products that wait for their check."""

    def __init__(self, seat: Seat, agreement: Agreement) -> None:
        self._seat = seat
        self._agreement = agreement
        self._claims: list[Claim] = []
        self.waiting = 0

    def multiply(self, left: Pair, right: Pair) -> Pair:
        """(m, k) by (k, n): one round, 8 bytes for each element of the result from each party."""
        z = matmul(self._seat, left, right)
        if z[0].size and left[0].size:
            self._claims.append(Claim(left, right, z))
            self.waiting += left[0].size + right[0].size + z[0].size
        return z

    def check(self) -> None:
        """Check all that wait, in nine rounds. Raises ProtocolViolation."""
        if not self._claims:
            return
        seat, agreement = self._seat, self._agreement
        projection = _Projection(Stream(derived(agreement.coin(), b"projections")))
        small = [projection.of(claim) for claim in self._claims]
        self._claims, self.waiting = [], 0
        products = self._multiply(small)
        for claim, product in zip(small, products, strict=True):
            agreement.zero(*(low - part for (low, _), part in zip(product, claim.z, strict=True)))
        tosses = Stream(derived(agreement.coin(), b"columns"))
        columns = [tosses.elements((claim.y[0].shape[1], 1)) for claim in small]
        right = [
            _joined([_wide_product(_lifted(claim.y[part]), p) for claim, p in zip(small, columns, strict=True)]) for part in (0, 1)
        ]
        drawn = [_drawn(stream, right[0][0].shape) for stream in (seat.prss.own, seat.prss.after)]
        crossed = reshared(seat, _inner(drawn[0], _sum(*right)) + _inner(drawn[1], right[0]))
        tosses = Stream(derived(agreement.coin(), b"rows"))
        rows = [tosses.elements((1, claim.x[0].shape[0])) for claim in small]
        opened = self._open(small, rows, drawn)
        key = agreement.confirm()
        sums = [-crossed[part] - _inner(opened, right[part]) for part in (0, 1)]
        for product, p, q in zip(products, columns, rows, strict=True):
            for part in (0, 1):
                low, top = _wide_product(product[part], p)
                sums[part] += _inner((low, top), _lifted(q))
        settle(agreement, *sums)
        agreement.confirm(key)

    def _multiply(self, small: list[Claim]) -> list[tuple[Limbs, Limbs]]:
        """Products modulo 2^112, all in one round."""
        seat, parts = self._seat, []
        for claim in small:
            own, after = (_drawn(stream, claim.z[0].shape) for stream in (seat.prss.own, seat.prss.after))
            low, top = _difference(own, after)
            for x, y in ((claim.x[0], claim.y[0]), (claim.x[0], claim.y[1]), (claim.x[1], claim.y[0])):
                add_matrix(low, top, *_lifted(x), y)
            parts.append((low, top & _HIGH))
        others = _unpacked(seat.reshare(_packed(parts).raw), parts)
        return list(zip(parts, others, strict=True))

    def _open(self, small: list[Claim], rows: list[Ring], drawn: list[Limbs]) -> Limbs:
        """q A - h for all claims, one after the other."""
        shares = []
        for part in (0, 1):
            left = _joined([_wide_product(_lifted(q), claim.x[part]) for claim, q in zip(small, rows, strict=True)])
            low, top = _difference(left, drawn[part])
            shares.append((low, top & _HIGH))
        first, second = (_packed([each]) for each in shares)
        third = _unpacked(self._agreement.open(first.raw, second.raw), shares[:1])[0]
        return _sum(_sum(*shares), third)


class _Projection:
    """One check's P and Q for each number of rows and columns, and what became of matrices that several claims hold."""

    def __init__(self, tosses: Stream) -> None:
        self._tosses = tosses
        self._sides: dict[tuple[str, int], Ring] = {}
        self._made: dict[tuple[Any, ...], Pair] = {}

    def of(self, claim: Claim) -> Claim:
        """A claim of at most 48 by 48 results, turned so that the left matrix is the smaller."""
        x, y, z = claim.x, claim.y, claim.z
        x, z = self._rows(x), self._rows(z)
        y, z = self._columns(y), self._columns(z)
        if x[0].size > y[0].size:
            x, y, z = (_each(pair, np.transpose) for pair in (y, x, z))
        x, y, z = (_each(pair, np.ascontiguousarray) for pair in (x, y, z))
        return Claim(x, y, z)

    def _rows(self, pair: Pair) -> Pair:
        count = pair[0].shape[0]
        if count <= PROJECTIONS:
            return pair
        p = self._side("rows", count)
        return self._once("rows", pair, lambda part: _product(p, part))

    def _columns(self, pair: Pair) -> Pair:
        count = pair[0].shape[1]
        if count <= PROJECTIONS:
            return pair
        q = self._side("columns", count)
        return self._once("columns", pair, lambda part: _product(part, q.T))

    def _side(self, side: str, count: int) -> Ring:
        """(48, count) tossed zeros and ones."""
        if (side, count) not in self._sides:
            size = PROJECTIONS * count // 8
            bits = np.unpackbits(self._tosses.elements((size,), np.uint8))
            self._sides[side, count] = bits.reshape(PROJECTIONS, count).astype(np.uint64)
        return self._sides[side, count]

    def _once(self, side: str, pair: Pair, linear: Callable[[Ring], Ring]) -> Pair:
        """The same matrix, as it lies in memory, is projected once. Its memory is not used again meanwhile: claims keep theirs, and
        what was made of them is kept here."""
        place = (side, *((part.ctypes.data, part.shape, part.strides) for part in pair))
        if place not in self._made:
            self._made[place] = _each(pair, linear)
        return self._made[place]


def _each(pair: Pair, linear: Callable[[Ring], Ring]) -> Pair:
    return linear(pair[0]), linear(pair[1])


def _product(left: Ring, right: Ring) -> Ring:
    out = np.zeros((left.shape[0], right.shape[1]), np.uint64)
    add_product(out, left, right)
    return out


def _zeros(shape: tuple[int, ...]) -> Limbs:
    return np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)


def _drawn(stream: Stream, shape: tuple[int, ...]) -> Limbs:
    return stream.elements(shape), stream.elements(shape)


def _sum(a: Limbs, b: Limbs) -> Limbs:
    low = a[0] + b[0]
    return low, (a[1] + b[1] + (low < a[0])) & _HIGH


def _difference(a: Limbs, b: Limbs) -> Limbs:
    return a[0] - b[0], a[1] - b[1] - (a[0] < b[0])


def _lifted(ring: Ring) -> Limbs:
    """Elements of the ring as two limbs."""
    return ring, np.zeros_like(ring)


def _wide_product(left: Limbs, right: Ring) -> Limbs:
    """A matrix product modulo 2^128, for a left matrix of two limbs and a right one of one."""
    low, top = _zeros((left[0].shape[0], right.shape[1]))
    add_matrix(low, top, *left, right)
    return low, top


def _joined(arrays: list[Limbs]) -> Limbs:
    """The elements of all arrays, one after the other."""
    low, top = (np.concatenate([each[limb].reshape(-1) for each in arrays]) for limb in (0, 1))
    return low, top


def _inner(a: Limbs, b: Limbs) -> int:
    return total(inner_product(*(limb.reshape(-1) for each in (a, b) for limb in each)))


def _packed(arrays: list[Limbs]) -> Wide:
    """Elements of all arrays as they travel."""
    out = Wide(sum(low.size for low, _ in arrays))
    out.low[:] = np.concatenate([low.reshape(-1) for low, _ in arrays])
    tops = np.concatenate([top.reshape(-1) for _, top in arrays])
    out.half[:], out.quarter[:] = tops.astype(np.uint32), (tops >> np.uint64(32)).astype(np.uint16)
    return out


def _unpacked(raw: NDArray[np.uint8], like: list[Limbs]) -> list[Limbs]:
    packed = Wide(sum(low.size for low, _ in like), raw)
    tops = packed.half.astype(np.uint64) | packed.quarter.astype(np.uint64) << np.uint64(32)
    ends = np.cumsum([low.size for low, _ in like])[:-1]
    lows = np.split(packed.low, ends)
    return [
        (low.reshape(each[0].shape), top.reshape(each[0].shape))
        for low, top, each in zip(lows, np.split(tops, ends), like, strict=True)
    ]
