"""How large a store for so many keys is, and what it fails with.

A key has one slot in each of three segments and a random subset of 47 dense slots; its value is the XOR of all of them (Garimella,
Pinkas, Rosulek, Trieu and Yanai, CRYPTO 2021; Raghuraman and Rindal, CCS 2022, section 3, weight 3).

Failure. Two things must hold for all keys to fit. Peeling leaves a core of at most g rows: by the experiments of Raghuraman and
Rindal that fails with at most 2^-lambda when the segments hold e n slots with e = 1.223 + (lambda + 9.2) / (4.144 n^0.55) and
g = lambda / log2(e n). And the core's rows are independent in the dense slots alone: with g + lambda of them that fails with at
most 2^-lambda. For lambda = 40, min(n, g) is at most 7 whatever n is, hence 47 dense slots. The first bound is an extrapolation
from experiments, not a theorem. A slot is chosen by 27 bits of a digest, so that its probability is off by at most seg / 2^27;
segments are longer by that fraction.

A store that fails is never tried again with other hashes: which sets fail would be told by the retry. At 2^20 keys one retry in
2^17 runs would tell that two keys share their three slots.

Large sets are cut into buckets by further bits of the digest. All buckets have one size, for their mean plus a deviation that is
exceeded with at most 2^-lambda over all of them (Chernoff), so that sizes tell nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LAMBDA = 40  # bits of statistical security
DENSE = 47
FRACTION = 27  # bits of the digest that choose a slot of a segment
BUCKET = 1 << 21  # keys of a bucket, on average
UNCUT = 1 << 22  # keys up to which there is one bucket
MAX_KEYS = 1 << 28


@dataclass(frozen=True)
class Shape:
    """Of a store: ``buckets`` parts of ``slots`` slots each, three segments and the dense slots last."""

    keys: int
    buckets: int
    capacity: int  # keys that a bucket takes
    segment: int  # slots

    @classmethod
    def of(cls, keys: int) -> Shape:
        """For a set of ``keys`` keys. Raises ValueError beyond MAX_KEYS."""
        if not 0 <= keys <= MAX_KEYS:
            raise ValueError(f"a store takes at most {MAX_KEYS} keys")
        buckets = 1 if keys <= UNCUT else -(-keys // BUCKET)
        lamb = LAMBDA + math.log2(buckets)
        mean = keys / buckets
        spread = 0 if buckets == 1 else math.sqrt(3 * mean * (lamb + 1) * math.log(2))  # P[> mean + s] <= exp(-s^2 / 3 mean)
        capacity = max(1, math.ceil(mean + spread))
        expansion = 1.223 + (lamb + 9.2) / (4.144 * capacity**0.55)
        segment = math.ceil(expansion * capacity / 3)
        return cls(keys, buckets, capacity, segment + math.ceil(segment * segment / 2**FRACTION))

    @property
    def slots(self) -> int:
        """Of one bucket."""
        return 3 * self.segment + DENSE

    @property
    def total(self) -> int:
        """Slots of the whole store."""
        return self.buckets * self.slots
