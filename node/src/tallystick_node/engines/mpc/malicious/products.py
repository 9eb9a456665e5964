"""Products in the ring, checked afterwards by sacrifice over Z_2^112.

A product is computed as among honest parties (Araki et al., CCS 2016), but modulo 2^112: a party that deviates adds an error e of
its choice, which matters if it is not zero modulo 2^64. To check n products z = x y + e:

1. The parties draw an a for each product and compute c = sum of a y (+ f) modulo 2^112, which is one element, in the same way.
2. They toss a weight w of 64 bits for each product.
3. They open r = w x - a for each product, which a masks, and confirm what was opened.
4. They check that the sum of w z - r y, less c, is zero: it is the sum of w e, less f.

Why that is sound: let one e have v < 64 factors of two. Whatever f and all other weights are, the sum vanishes modulo 2^112 for
one value of w modulo 2^(112 - v), and w is uniform and was tossed when e and f were fixed: a wrong product passes with
probability at most 2^-49 (:func:`error`). This is the sacrifice of SPDZ2k (Cramer, Damgard, Escudero, Scholl and Xing, CRYPTO
2018) for one inner product in place of many products: their random weights come first.

Why it leaks nothing: what the check shows depends on e, f and w alone, which the deviating party knows. So an abort says nothing
about secrets: multiplying by a secret key instead, as authenticated shares do, would let an error in a y tell whether y is
even."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.mpc.malicious.agreement import Agreement, derived
from tallystick_node.engines.mpc.malicious.wide import (
    BYTES,
    EXCESS,
    Limbs,
    Wide,
    add_up,
    masked_multiples,
    products,
    sum_of_products,
    total,
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
    return float(-min(excess + 1, 64))


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
        """Check all that wait, at most ``LIMIT`` at a time. 14 bytes a product from each party, six rounds each time. Raises
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
        drawn = [self._seat.prss.own.elements((2, size)), self._seat.prss.after.elements((2, size))]
        crossed = self._cross(claims, places, drawn)
        weights = Stream(derived(self._agreement.coin(), b"weights")).elements((size,))
        opened = self._open(claims, places, drawn, weights)
        key = self._agreement.confirm()
        self._settle(claims, places, crossed, opened, weights)
        self._agreement.confirm(key)

    def _cross(self, claims: list[Claim], places: list[slice], drawn: list[Ring]) -> tuple[int, int]:
        """c, the sum of a y over all claims."""
        part = 0
        for claim, place in zip(claims, places, strict=True):
            own, after = drawn[0][:, place], drawn[1][:, place]
            part += total(sum_of_products(own[0], own[1], after[0], after[1], claim.y[0], claim.y[1]))
        return reshared(self._seat, part)

    def _open(self, claims: list[Claim], places: list[slice], drawn: list[Ring], weights: Ring) -> Wide:
        """r = w x - a for all claims."""
        parts = Wide(weights.size), Wide(weights.size)
        for claim, place in zip(claims, places, strict=True):
            for part, out, mask in zip(claim.x, parts, drawn, strict=True):
                masked_multiples(weights[place], part, mask[0][place], mask[1][place], out[place])
        third = Wide(weights.size, self._agreement.open(parts[0].raw, parts[1].raw))
        add_up(parts[0][:], parts[1][:], third[:])
        return parts[0]

    def _settle(self, claims: list[Claim], places: list[slice], crossed: tuple[int, int], opened: Wide, weights: Ring) -> None:
        """The weighted sum of what should be zero."""
        sums = [-each for each in crossed]
        for claim, place in zip(claims, places, strict=True):
            for part in (0, 1):
                sums[part] += total(weighted_defect(weights[place], opened[place], claim.y[part], claim.z[part]))
        settle(self._agreement, *sums)


def reshared(seat: Seat, part: int) -> tuple[int, int]:
    """The two parts that this party holds of what the parties' parts add up to modulo 2^112. One round, 14 bytes."""
    own, after = (_integer(stream.elements((BYTES,), np.uint8)) for stream in (seat.prss.own, seat.prss.after))
    made = np.frombuffer(bytearray(((part + own - after) % _MODULUS).to_bytes(BYTES, "little")), np.uint8)
    other = seat.reshare(made)
    return _integer(made), _integer(other)


def settle(agreement: Agreement, first: int, second: int) -> None:
    """Put down that a secret modulo 2^112, of which this party has two parts, is zero."""
    agreement.compare(
        *(np.array([part % _MODULUS & 2**64 - 1, part % _MODULUS >> 64], np.uint64) for part in (second, -first - second))
    )


def _integer(given: NDArray[np.uint8]) -> int:
    return int.from_bytes(given.tobytes(), "little")


def _limbs(limbs: Limbs, part: slice) -> Limbs:
    return limbs[0][part], limbs[1][part], limbs[2][part]


def _cut(claim: Claim, part: slice) -> Claim:
    x, y = ((pair[0][part], pair[1][part]) for pair in (claim.x, claim.y))
    return Claim(x, y, (_limbs(claim.z[0], part), _limbs(claim.z[1], part)))


def _flat(pair: Pair) -> Pair:
    return np.ascontiguousarray(pair[0]).reshape(-1), np.ascontiguousarray(pair[1]).reshape(-1)
