"""How many trees of what depth give a number of correlations.

The noise is regular: one random place in each of t blocks of 2^depth. A vector of N = t 2^depth places, at least twice as many as
correlations are wanted, is compressed by a public matrix (:mod:`code`): dual learning parity with noise.

With t of 600 to 1199 a linear test has a bias below 2^-128 for every code in which all combinations of rows have a relative weight
of d = 0.07 at least: (1 - 2 d)^t < 2^-128. For codes of the shape of :mod:`code` the authors' library, libOTe, counts on 0.15 with
rows of 7 places and 0.2 with 21, and takes as little noise as that allows; here it is several times as much. Prange's
information-set decoding needs to guess N/2 - t places without noise, some 2^490 tries or more for all sizes here. A small number of
correlations gets no fewer trees: below blocks of 16 places the noise would be determined by linear equations that its regularity
gives, so the least vector has 9600 places.
"""

from __future__ import annotations

from dataclasses import dataclass

TREES = 600
LEAST_DEPTH = 4
MOST = 1 << 26  # correlations at a time: a gigabyte of them


@dataclass(frozen=True)
class Shape:
    """Trees, and levels of each; ``size`` places in all."""

    trees: int
    depth: int

    @property
    def size(self) -> int:
        """How many leaves all trees have."""
        return self.trees << self.depth


def shape(count: int) -> Shape:
    """For ``count`` correlations. Raises ValueError outside 1 to ``MOST``."""
    if not 1 <= count <= MOST:
        raise ValueError(f"{count} correlations: from 1 to {MOST} are made at a time")
    depth = max(LEAST_DEPTH, (2 * count // TREES).bit_length() - 1)
    return Shape(max(TREES, -(-2 * count // (1 << depth))), depth)
