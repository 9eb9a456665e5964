"""Is a short vector the sum of vectors that others committed to? By Pedersen commitments, whose sum is the commitment to the sum.

Each party publishes C_i = sum over k of y_ik G_k + r_i H of its (masked, quantised) vector before the aggregator says what the sum
is. The aggregate Y, in whole numbers that do not wrap around, with R = sum of r_i, is accepted only if it opens the sum of all C_i.

Which cheaters it catches: an aggregator that drops, changes, repeats or invents a vector, also one with accomplices among the
parties: opening the same points to another sum is a discrete logarithm in BN254 (about 100 bits; see
:mod:`tallystick.commitments.pedersen`). Whose vector it was that does not open its C_i is named by whoever has the vectors. What
it does not catch: a party that commits to another vector than its data give.

What it costs, in Python on one busy core: about 0.1 ms an entry for each commitment, and 1 ms an entry once for the generators;
10^6 entries would take minutes and a quarter of an hour, hence the bound of 2^16. For longer vectors take :mod:`.projection`,
which takes milliseconds, and binds unless the aggregator has an accomplice.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from tallystick.commitments import bn254, pedersen

from tallystick_node.engines.fl.aggregation.projection import ENTRY, Accused
from tallystick_node.engines.fl.aggregation.quantisation import Words
from tallystick_node.engines.fl.aggregation.whole import Whole

MAX_ENTRIES = 1 << 16


@dataclass(frozen=True)
class Committed:
    """A party's commitment, of 64 bytes for all, and what opens it, for the aggregator: with the vector."""

    point: bytes
    blinding: int


def commit(words: Words) -> Committed:
    """Commit to a vector of at most 2^16 words under a fresh blinding. Raises ValueError for a longer one."""
    blinding = secrets.randbelow(bn254.ORDER)
    return Committed(bn254.encode(_commit(words, blinding)), blinding)


def find_liars(vectors: Sequence[Words], committed: Sequence[Committed]) -> None:
    """What the aggregator checks of each party's vector. Raises Accused naming the first that does not open its commitment."""
    for party, (words, each) in enumerate(zip(vectors, committed, strict=True)):
        if _commit(words, each.blinding) != _decode(party, each.point):
            raise Accused(party, "its vector does not open its commitment")


def verify(points: Sequence[bytes], whole: Whole, blinding: int) -> None:
    """What every party checks of the aggregate. Raises Accused unless it is, with the sum of the blindings modulo the group's
    order, the sum of what was committed; naming the party whose commitment is no point."""
    if whole.size and int(whole.max()) >= ENTRY:
        raise Accused(None, "an entry of the aggregate is too large for a sum of words")
    if _commit(whole, blinding) != bn254.total([_decode(party, point) for party, point in enumerate(points)]):
        raise Accused(None, "the aggregate is not the sum of what was committed")


def _commit(values: NDArray[Any], blinding: int) -> bn254.Point:
    if values.ndim != 1 or len(values) > MAX_ENTRIES:
        raise ValueError(f"a vector of at most {MAX_ENTRIES} entries is committed to entry by entry; project longer ones")
    return pedersen.commit(values.tolist(), blinding)


def _decode(party: int, point: bytes) -> bn254.Point:
    try:
        return bn254.decode(point)
    except ValueError as error:
        raise Accused(party, f"its commitment is none: {error}") from None
