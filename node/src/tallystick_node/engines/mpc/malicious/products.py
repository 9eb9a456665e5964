"""Products in the ring, checked afterwards by sacrifice over Z_2^112.

A product is computed as among honest parties (Araki et al., CCS 2016), but modulo 2^112: a party that deviates adds an error e of
its choice, which matters if it is not zero modulo 2^64. To check n products z = x y + e:

1. The parties draw a and compute c = a y (+ f) modulo 2^112, for each product, in the same way.
2. They toss a factor u and weights w, 64 bits each.
3. They open r = u x - a, which a masks, and confirm what was opened.
4. They check that the sum of w (u z - c - r y), which is the sum of w (u e - f), is zero.

Why that is sound (Cramer, Damgard, Escudero, Scholl and Xing, CRYPTO 2018, for s = 48 bits in excess): let e have v < 64 factors
of two. u e - f has v + t or more with probability at most 2^-t, as u is uniform and drawn after f. If it has d, the sum vanishes
modulo 2^112 with probability at most 2^-(112 - d), as w is uniform. Summed over t, for v = 63, an error passes with probability
at most 51 / 2^49 < 2^-43 (:func:`error`).

Why it leaks nothing: what the check shows depends on e, f, u and w alone, which the deviating party knows. So an abort says
nothing about secrets: multiplying by a secret key instead, as authenticated shares do, would let an error in a y tell whether y
is even."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tallystick_node.engines.mpc.malicious.agreement import Agreement, derived
from tallystick_node.engines.mpc.malicious.wide import (
    EXCESS,
    Limbs,
    Wide,
    add_up,
    masked_multiples,
    products,
    products_of_wide,
    weighted_defect,
)
from tallystick_node.engines.mpc.prss import Stream, blocks
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

Pair = tuple[Ring, Ring]

_MODULUS = 1 << (64 + EXCESS)

LIMIT = 1 << 18  # products that are checked at a time: what is made for a check stays in the heap


def error(excess: int = EXCESS) -> float:
    """log2 of the probability that a wrong product passes, whatever the number of products."""
    room = excess + 1  # the bits that an error in bit 63 can still grow by
    return math.log2(sum(2.0**-t * 2.0 ** -(room - t) for t in range(room)) + 2.0**-room + 2.0**-64)


@dataclass(frozen=True)
class Claim:
    """That z = x y, of vectors: x and y in the ring, z modulo 2^112; the parts that a party holds."""

    x: Pair
    y: Pair
    z: tuple[Limbs, Limbs]


class Products:
    """Products that wait for their check."""

    def __init__(self, seat: Seat, agreement: Agreement) -> None:
        self._seat = seat
        self._agreement = agreement
        self._claims: list[Claim] = []
        self.waiting = 0

    def multiply(self, left: Pair, right: Pair) -> Pair:
        """Element by element, of one shape: one round, 14 bytes an element from each party."""
        shape = left[0].shape
        x, y = (_flat(left), _flat(right))
        z = self._compute(x, y)
        if z[0].size:
            self._claims.append(Claim(x, y, (z[0][:], z[1][:])))
            self.waiting += z[0].size
        return z[0].low.reshape(shape), z[1].low.reshape(shape)

    def _compute(self, x: Pair, y: Pair) -> tuple[Wide, Wide]:
        own, after = self._seat.prss.own, self._seat.prss.after
        out = Wide(x[0].size)
        for block in blocks(out.size):
            count = block.stop - block.start
            mask, less = own.passing(2 * count), after.passing(2 * count)
            masks = mask[:count], mask[count:], less[:count], less[count:]
            products(x[0][block], x[1][block], y[0][block], y[1][block], *masks, out[block])
        return out, Wide(out.size, self._seat.reshare(out.raw))

    def check(self) -> None:
        """Check all that wait, at most ``LIMIT`` at a time. 28 bytes a product from each party, six rounds each time. Raises
        ProtocolViolation."""
        taken: list[Claim] = []
        size = 0
        for claim in self._claims:
            for start in range(0, claim.y[0].size, LIMIT):
                piece = _cut(claim, slice(start, start + LIMIT))
                if size + piece.y[0].size > LIMIT:
                    self._check(taken, size)
                    taken, size = [], 0
                taken.append(piece)
                size += piece.y[0].size
        if taken:
            self._check(taken, size)
        self._claims, self.waiting = [], 0

    def _check(self, claims: list[Claim], size: int) -> None:
        places: list[slice] = []
        for claim in claims:
            start = places[-1].stop if places else 0
            places.append(slice(start, start + claim.y[0].size))
        factors = [self._seat.prss.own.elements((2, size)), self._seat.prss.after.elements((2, size))]
        drawn = self._draw(claims, places, factors, size)
        coin = self._agreement.coin()
        factor = np.uint64(int.from_bytes(derived(coin, b"factor")[:8], "little"))
        opened = self._open(claims, places, factors, factor, size)
        key = self._agreement.confirm()
        self._settle(claims, places, drawn, opened, factor, Stream(derived(coin, b"weights")))
        self._agreement.confirm(key)

    def _draw(self, claims: list[Claim], places: list[slice], factors: list[Ring], size: int) -> tuple[Wide, Wide]:
        """c = a y for all claims."""
        own, after = self._seat.prss.own, self._seat.prss.after
        out = Wide(size)
        for claim, place in zip(claims, places, strict=True):
            for block in blocks(place.stop - place.start):
                at = slice(place.start + block.start, place.start + block.stop)
                count = block.stop - block.start
                mask, less = own.passing(2 * count), after.passing(2 * count)
                limbs = factors[0][0][at], factors[0][1][at], factors[1][0][at], factors[1][1][at]
                masks = mask[:count], mask[count:], less[:count], less[count:]
                products_of_wide(*limbs, claim.y[0][block], claim.y[1][block], *masks, out[at])
        return out, Wide(size, self._seat.reshare(out.raw))

    def _open(self, claims: list[Claim], places: list[slice], factors: list[Ring], factor: np.uint64, size: int) -> Wide:
        """r = u x - a for all claims."""
        parts = Wide(size), Wide(size)
        for claim, place in zip(claims, places, strict=True):
            for part, out, drawn in zip(claim.x, parts, factors, strict=True):
                masked_multiples(factor, part, drawn[0][place], drawn[1][place], out[place])
        third = Wide(size, self._agreement.open(parts[0].raw, parts[1].raw))
        opened = Wide(size, parts[0].raw.copy())
        add_up(opened[:], parts[1][:], third[:])
        return opened

    def _settle(
        self, claims: list[Claim], places: list[slice], drawn: tuple[Wide, Wide], opened: Wide, factor: np.uint64, weights: Stream
    ) -> None:
        """The weighted sum of what should be zero."""
        sums = [0, 0]
        for claim, place in zip(claims, places, strict=True):
            for block in blocks(place.stop - place.start):
                at = slice(place.start + block.start, place.start + block.stop)
                weight = weights.passing(block.stop - block.start)
                for part in (0, 1):
                    low, top = weighted_defect(
                        factor, weight, opened[at], claim.y[part][block], _limbs(claim.z[part], block), drawn[part][at]
                    )
                    sums[part] += int(low) + (int(top) << 64)
        settle(self._agreement, *sums)


def settle(agreement: Agreement, first: int, second: int) -> None:
    """Put down that a secret modulo 2^112, of which this party has two parts, is zero."""
    agreement.compare(
        *(np.array([part % _MODULUS & 2**64 - 1, part % _MODULUS >> 64], np.uint64) for part in (second, -first - second))
    )


def _limbs(limbs: Limbs, part: slice) -> Limbs:
    return limbs[0][part], limbs[1][part], limbs[2][part]


def _cut(claim: Claim, part: slice) -> Claim:
    x, y = ((pair[0][part], pair[1][part]) for pair in (claim.x, claim.y))
    return Claim(x, y, (_limbs(claim.z[0], part), _limbs(claim.z[1], part)))


def _flat(pair: Pair) -> Pair:
    return np.ascontiguousarray(pair[0]).reshape(-1), np.ascontiguousarray(pair[1]).reshape(-1)
