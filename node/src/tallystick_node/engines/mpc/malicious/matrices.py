"""Matrix products in the ring, checked afterwards by random projection (Freivalds, IFIP 1977) and a sacrifice of what is left.

A claim Z = X Y of (m, k) and (k, n) is projected on both sides by public random matrices of zeros and ones, 48 rows P and 48
columns Q, tossed when Z is fixed: A = P X, B = Y Q and C = P Z Q need no message. If Z = X Y + E with E not zero, then E Q is not
zero but with probability 2^-48 (each column of zeros and ones meets a row of E, over the ring, with probability at least 1/2),
and then P E Q is not zero but with probability 2^-48. A side of at most 48 rows or columns stays as it is.

The small claim C = A B is proved over Z_2^112 like a product (:mod:`products`): the parties compute D = A B and G = H B for a
drawn matrix H (or A H and H from the right, where B is the smaller), check D = C modulo 2^64, toss u, open u A - H, and check
that the weighted sum of u D - G - (u A - H) B is zero. Errors of the deviating party enter D and G only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.mpc.malicious.agreement import Agreement, derived
from tallystick_node.engines.mpc.malicious.products import Pair, settle
from tallystick_node.engines.mpc.malicious.wide import EXCESS, Wide, add_matrix
from tallystick_node.engines.mpc.matrix import add_product
from tallystick_node.engines.mpc.prss import Stream
from tallystick_node.engines.mpc.replicated.arithmetic import matrix_product
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

PROJECTIONS = 48
LIMIT = 1 << 24  # elements of the matrices that wait for their check

_MODULUS = 1 << (64 + EXCESS)
_HIGH = np.uint64((1 << EXCESS) - 1)

Limbs = tuple[Ring, Ring]


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
        part = matrix_product(self._seat, left, right)
        z = part, self._seat.reshare(part)
        if part.size and left[0].size:
            self._claims.append(Claim(left, right, z))
            self.waiting += left[0].size + right[0].size + part.size
        return z

    def check(self) -> None:
        """Check all that wait, in eight rounds. Raises ProtocolViolation."""
        if not self._claims:
            return
        seat, agreement = self._seat, self._agreement
        tosses = Stream(derived(agreement.coin(), b"projections"))
        small = [_projected(claim, tosses) for claim in self._claims]
        self._claims, self.waiting = [], 0
        factors = [tuple(_drawn(stream, claim.x[0].shape) for stream in (seat.prss.own, seat.prss.after)) for claim in small]
        plain = [tuple((part, np.zeros_like(part)) for part in claim.x) for claim in small]
        products = self._multiply([*plain, *factors], [claim.y for claim in small] * 2)
        products, drawn = products[: len(small)], products[len(small) :]
        for claim, product in zip(small, products, strict=True):
            agreement.zero(*(low - part for (low, _), part in zip(product, claim.z, strict=True)))
        coin = agreement.coin()
        factor, weights = int.from_bytes(derived(coin, b"factor")[:8], "little"), Stream(derived(coin, b"weights"))
        opened = self._open(small, factors, factor)
        key = agreement.confirm()
        sums = [0, 0]
        for claim, product, other, public in zip(small, products, drawn, opened, strict=True):
            weight = weights.elements(claim.z[0].shape)
            for part in (0, 1):
                crossed = _zeros(weight.shape)
                add_matrix(*crossed, *public, claim.y[part])
                values = [_weighted(weight, limbs) for limbs in (product[part], other[part], crossed)]
                sums[part] += factor * values[0] - values[1] - values[2]
        settle(agreement, *sums)
        agreement.confirm(key)

    def _multiply(self, lefts: list[tuple[Limbs, ...]], rights: list[Pair]) -> list[tuple[Limbs, Limbs]]:
        """Products modulo 2^112 of matrices of two limbs and of one, all in one round."""
        seat, parts = self._seat, []
        for left, right in zip(lefts, rights, strict=True):
            own, after = (_drawn(stream, (left[0][0].shape[0], right[0].shape[1])) for stream in (seat.prss.own, seat.prss.after))
            low = own[0] - after[0]
            top = own[1] - after[1] - (own[0] < after[0])
            for x, y in ((left[0], right[0]), (left[0], right[1]), (left[1], right[0])):
                add_matrix(low, top, *x, y)
            parts.append((low, top & _HIGH))
        others = _unpacked(seat.reshare(_packed(parts).raw), parts)
        return list(zip(parts, others, strict=True))

    def _open(self, small: list[Claim], factors: list[tuple[Limbs, ...]], factor: int) -> list[Limbs]:
        """u A - H for all claims."""
        shares: list[list[Limbs]] = [[], []]
        for claim, drawn in zip(small, factors, strict=True):
            for part in (0, 1):
                low, top = _zeros(claim.x[0].shape)
                scalar = np.full((1, 1), factor, np.uint64), np.zeros((1, 1), np.uint64)
                add_matrix(low.reshape(1, -1), top.reshape(1, -1), *scalar, np.ascontiguousarray(claim.x[part]).reshape(1, -1))
                shares[part].append((low - drawn[part][0], (top - drawn[part][1] - (low < drawn[part][0])) & _HIGH))
        first, second = (_packed(each) for each in shares)
        thirds = _unpacked(self._agreement.open(first.raw, second.raw), shares[0])
        return [_sum(_sum(a, b), c) for a, b, c in zip(*shares, thirds, strict=True)]


def _projected(claim: Claim, tosses: Stream) -> Claim:
    """A claim of at most 48 by 48 results, turned so that the left matrix is the smaller."""
    x, y, z = claim.x, claim.y, claim.z
    if z[0].shape[0] > PROJECTIONS:
        rows = _bits(tosses, (PROJECTIONS, z[0].shape[0]))
        x, z = _each(x, lambda part: _product(rows, part)), _each(z, lambda part: _product(rows, part))
    if z[0].shape[1] > PROJECTIONS:
        columns = _bits(tosses, (z[0].shape[1], PROJECTIONS))
        y, z = _each(y, lambda part: _product(part, columns)), _each(z, lambda part: _product(part, columns))
    if x[0].size > y[0].size:
        x, y, z = (_each(pair, lambda part: part.T) for pair in (y, x, z))
    x, y, z = (_each(pair, np.ascontiguousarray) for pair in (x, y, z))
    return Claim(x, y, z)


def _each(pair: Pair, linear: Callable[[Ring], Ring]) -> Pair:
    return linear(pair[0]), linear(pair[1])


def _bits(tosses: Stream, shape: tuple[int, int]) -> Ring:
    count = shape[0] * shape[1]
    return np.unpackbits(tosses.elements((-(-count // 8),), np.uint8), count=count).reshape(shape).astype(np.uint64)


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


def _weighted(weights: Ring, limbs: Limbs) -> int:
    """The sum of weight times element, exactly: matrices are small here."""
    return sum(
        int(weight) * (int(low) + (int(top) << 64))
        for weight, low, top in zip(weights.flat, limbs[0].flat, limbs[1].flat, strict=True)
    )


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
