"""Is a long vector the sum of vectors that others committed to? Compared at four random points, not entry by entry.

The definition, and how sound it is, stands at :mod:`tallystick.commitments.projection`: each party publishes the root of its vector
y_i of d words, the aggregator that of the sum Y, in whole numbers that do not wrap around; from all roots follow four points, at
which the projections of the y_i must add up to those of Y. For d = 2^20 a false sum passes with probability 2^-163, for d = 2^26
with 2^-139. Here is the same in compiled code. Within a round roots are BLAKE3 under a label, which is faster; those of a task's
proof are the definition's (:mod:`.journal`).

Which cheaters it catches: an aggregator that drops, changes, repeats or invents a vector, for the sum of what was committed no
longer fits. What it does not: a party that commits to another vector than its data give; and a party that announces another
projection than its vector's, which only whoever has that vector sees. So an aggregator with an accomplice among the parties can
pass off any sum as one in which the accomplice's vector is another; :mod:`.commitment` binds in that case too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from tallystick.commitments.projection import MODULUS, POINTS, Projection, add

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.shamir import field

ENTRY = 1 << 48  # entries of an aggregate are below
_ROOT = "tallystick/v1/projection/root"
_BLOCK = 1 << 11  # entries: 2^11 products of 32 and 21 bits stay below 2^64
_LIMB = 21  # bits
_LIMBS = 3
_WORD = np.uint64((1 << 32) - 1)
_WORD_BITS = np.uint64(32)


class Accused(ValueError):  # noqa: N818 - a verdict
    """Roots, projections and aggregate do not fit. ``party``: the position of the party that it is about, None for the
    aggregate."""

    def __init__(self, party: int | None, rule: str) -> None:
        super().__init__(rule if party is None else f"party {party}: {rule}")
        self.party = party


class Root:
    """The root of one party's vector, or of the aggregate: of its pieces in order. ``label`` says whose it is, in which task or
    round: a root that is shown again elsewhere fits nothing."""

    def __init__(self, label: bytes) -> None:
        self._hash = blake3(
            blake3(label).digest(), derive_key_context=_ROOT
        )  # of one length, so that nothing runs into the entries

    def update(self, piece: NDArray[Any]) -> None:
        """The next entries, as little-endian words of the array's type."""
        self._hash.update(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)

    def digest(self) -> bytes:
        """32 bytes."""
        return bytes(self._hash.digest())


def root(label: bytes, vector: NDArray[Any]) -> bytes:
    """The root of a vector in one piece."""
    whole = Root(label)
    whole.update(vector)
    return whole.digest()


class Projector:
    """Projects vectors at the points of a challenge, piece after piece: the pieces of a vector are its entries in order."""

    def __init__(self, at: Projection) -> None:
        self._steps = np.array([pow(point, _BLOCK, MODULUS) for point in at], np.uint64)
        powers = _powers(np.array(at, np.uint64), _BLOCK)
        shifts = np.arange(0, _LIMB * _LIMBS, _LIMB, dtype=np.uint64)[:, None]
        mask = np.uint64((1 << _LIMB) - 1)
        self._limbs = ((powers[:, None, :] >> shifts) & mask).astype(np.uint32)
        self._at = at

    def project(self, pieces: Iterable[NDArray[Any]]) -> Projection:
        """The projection of the vector that the pieces, flat arrays of words or of whole numbers below 2^48, make up. Raises
        Accused for a greater number."""
        total, start = [0] * POINTS, 0
        for piece in pieces:
            found = self._piece(piece)
            shifts = [pow(point, start, MODULUS) for point in self._at]
            total = [(sum_ + shift * part) % MODULUS for sum_, shift, part in zip(total, shifts, found, strict=True)]
            start += len(piece)
        return total[0], total[1], total[2], total[3]

    def _piece(self, piece: NDArray[Any]) -> list[int]:
        if not piece.size:
            return [0] * POINTS
        words = piece.dtype == np.uint32
        weights = [1 << (_LIMB * limb) for limb in range(_LIMBS)]
        if not words:
            weights += [weight << 32 for weight in weights]
        sums = np.zeros((-(-len(piece) // _BLOCK), POINTS, len(weights)), np.uint64)
        if words:
            _words(sums, np.ascontiguousarray(piece), self._limbs)
        elif not _wholes(sums, np.ascontiguousarray(piece), self._limbs):
            raise Accused(None, f"an entry of the aggregate is not below 2^{ENTRY.bit_length() - 1}")
        sums %= np.uint64(MODULUS)
        (parts,) = field.combine([[weight % MODULUS for weight in weights]], [sums[:, :, term] for term in range(len(weights))])
        later = _powers(self._steps, max(len(parts) - 1, 1))  # the first block stands as it is
        total = field.add(parts[0], field.total(field.multiply(parts[1:], later.T[: len(parts) - 1]), axis=0))
        return [int(value) for value in total]


def _powers(bases: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    """The powers of elements, from the first on: of shape (bases, count)."""
    powers = bases[:, None]
    while powers.shape[1] < count:
        powers = np.concatenate([powers, field.multiply(powers, powers[:, -1:])], axis=1)
    return powers[:, :count]


def verify(projections: Sequence[Projection], aggregate: Projection) -> None:
    """Raise Accused unless the projections are of elements of the field and add up to the aggregate's."""
    for party, projection in enumerate(projections):
        if not all(0 <= each < MODULUS for each in projection):
            raise Accused(party, f"its projection is not {POINTS} elements of the field")
    if aggregate != add(projections):
        raise Accused(None, "the projections do not add up to the aggregate's: it is not the sum of what was committed")


@compiled
def _words(sums: NDArray[np.uint64], words: NDArray[np.uint32], limbs: NDArray[np.uint32]) -> None:
    """The inner products of each block of words with the limbs of the powers of each point."""
    for block in range(len(sums)):
        piece = words[block * _BLOCK : (block + 1) * _BLOCK]
        for place in range(POINTS):
            low, middle, high = np.uint64(0), np.uint64(0), np.uint64(0)
            for k in range(len(piece)):
                word = np.uint64(piece[k])
                low += word * np.uint64(limbs[place, 0, k])
                middle += word * np.uint64(limbs[place, 1, k])
                high += word * np.uint64(limbs[place, 2, k])
            sums[block, place, 0], sums[block, place, 1], sums[block, place, 2] = low, middle, high


@compiled
def _wholes(sums: NDArray[np.uint64], entries: NDArray[np.uint64], limbs: NDArray[np.uint32]) -> bool:
    """The same of the low and then of the high words of each block of whole numbers. Whether all are small enough for it."""
    every = np.uint64(0)
    for block in range(len(sums)):
        piece = entries[block * _BLOCK : (block + 1) * _BLOCK]
        for k in range(len(piece)):
            every |= piece[k]
        for place in range(POINTS):
            low, middle, high = np.uint64(0), np.uint64(0), np.uint64(0)
            above_low, above_middle, above_high = np.uint64(0), np.uint64(0), np.uint64(0)
            for k in range(len(piece)):
                word, above = piece[k] & _WORD, piece[k] >> _WORD_BITS
                one, two, three = np.uint64(limbs[place, 0, k]), np.uint64(limbs[place, 1, k]), np.uint64(limbs[place, 2, k])
                low += word * one
                middle += word * two
                high += word * three
                above_low += above * one
                above_middle += above * two
                above_high += above * three
            sums[block, place, 0], sums[block, place, 1], sums[block, place, 2] = low, middle, high
            sums[block, place, 3], sums[block, place, 4], sums[block, place, 5] = above_low, above_middle, above_high
    return bool(every < np.uint64(ENTRY))
