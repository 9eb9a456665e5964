"""Numbers as engines share them: integers modulo 2^64, and fixed-point numbers in them.

A fixed-point number with f fraction bits is the integer nearest to x 2^f. What would not fit raises, on the way in and on the way
out: no wrong number leaves this module silently.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

BITS = 64
MAGNITUDE = 1 << 62  # a secret stays below it: truncation and comparison need the two bits above

Ring = NDArray[np.uint64]


class OutOfRange(ValueError):  # noqa: N818 - says what the number is
    """A number that does not fit the ring, or is none. The message says how many and where the first is, never its value."""


@dataclass(frozen=True)
class FixedPoint:
    """Fixed point with ``fraction`` bits after the point, 0 to 30: magnitudes below 2^(62 - fraction)."""

    fraction: int = 18

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 30:
            raise ValueError("a fixed-point number has 0 to 30 fraction bits")

    def encode(self, values: ArrayLike) -> Ring:
        """Ring elements of numbers, rounded to the nearest (ties to even). Raises OutOfRange, also for NaN and infinities."""
        scaled = np.asarray(values, np.float64) * float(1 << self.fraction)
        _require(np.abs(scaled) < MAGNITUDE)  # NaN compares false
        return np.rint(scaled).astype(np.int64).view(np.uint64)

    def decode(self, elements: Ring) -> NDArray[np.float64]:
        """The numbers of ring elements. Raises OutOfRange when one lies where no number of the protocol can."""
        return decode_integers(elements).astype(np.float64) / float(1 << self.fraction)


def encode_integers(values: ArrayLike) -> Ring:
    """Ring elements of integers below 2^62 in magnitude. Raises OutOfRange; TypeError for what is no integer."""
    given = np.asarray(values)
    if given.dtype.kind not in "iub":
        raise TypeError("integers are expected: encode other numbers with FixedPoint")
    if given.dtype == np.uint64:
        _require(given < np.uint64(MAGNITUDE))
    whole = given.astype(np.int64)
    _require((whole > -MAGNITUDE) & (whole < MAGNITUDE))
    return whole.view(np.uint64)


def decode_integers(elements: Ring) -> NDArray[np.int64]:
    """The integers of ring elements. Raises OutOfRange when one lies where no number of the protocol can."""
    whole = elements.view(np.int64)
    _require((whole > -MAGNITUDE) & (whole < MAGNITUDE))
    return whole


def _require(fits: NDArray[np.bool_]) -> None:
    if not np.all(fits):
        wrong = np.flatnonzero(~np.atleast_1d(fits).ravel())
        raise OutOfRange(f"{len(wrong)} of {np.size(fits)} numbers do not fit; the first is number {wrong[0]}")
