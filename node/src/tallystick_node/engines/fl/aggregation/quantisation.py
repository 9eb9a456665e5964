"""Numbers within [-1, 1] as integers modulo 2^32, so that the sum of all summands neither wraps around nor loses more than stated.

With n summands an entry x becomes the integer nearest to x L, L = floor((2^31 - 1) / n). The sum of n of them is at most 2^31 - 1
in magnitude, and so the residue says which it is. Each summand is off by at most 1 / (2 L), their sum by n / (2 L), about n^2 /
2^32: 2^-25 for ten summands. That no honest sum overflows follows from the check of each entry; a residue whose integer is more
than the summands can give, which a party that deviates can cause, raises.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled

MAX_SUMMANDS = 1 << 16

Words = NDArray[np.uint32]  # integers modulo 2^32


class OutOfRange(ValueError):  # noqa: N818 - a property of the numbers
    """A number is not finite, not within [-1, 1], or a sum is more than its summands can give."""


def levels(summands: int) -> int:
    """L: the integer that stands for 1 when so many are added. Raises ValueError unless they are 1 to 2^16."""
    if not 1 <= summands <= MAX_SUMMANDS:
        raise ValueError(f"1 to {MAX_SUMMANDS} vectors can be added")
    return ((1 << 31) - 1) // summands


def error(summands: int) -> float:
    """The most by which the decoded sum of so many vectors differs from their sum, entry by entry."""
    return summands / (2 * levels(summands))


def encode(vector: NDArray[np.float64], summands: int) -> Words:
    """The words of a vector that is one of ``summands`` to be added. Raises OutOfRange for an entry that is not finite or not
    within [-1, 1]."""
    out = np.empty(vector.shape, np.uint32)
    if not _encode(out.reshape(-1), np.ascontiguousarray(vector).reshape(-1), float(levels(summands))):
        raise OutOfRange("an entry of the vector is not finite or not within [-1, 1]: scale it by its public bound")
    return out


def add(total: Words, words: Words, summands: int) -> None:
    """Add the words of one of ``summands`` vectors to a sum, in place. Raises OutOfRange for a word that no number within [-1, 1]
    becomes."""
    if not _add(total, words, levels(summands)):
        raise OutOfRange("an entry of the vector is not within [-1, 1]")


def decode(total: Words, summands: int, added: int) -> NDArray[np.float64]:
    """The sum that words stand for, when ``added`` of at most ``summands`` vectors went into it. Raises OutOfRange for an entry
    that is more than those can give."""
    out = np.empty(total.shape)
    if not _decode(out, total, levels(summands), added):
        raise OutOfRange(f"an entry of the sum is more than {added} vectors within [-1, 1] can give")
    return out


def within(vector: NDArray[np.float64]) -> bool:
    """Whether every entry of a flat vector is a number within [-1, 1]."""
    return bool(_within(np.ascontiguousarray(vector, np.float64)))


@compiled
def _within(vector: NDArray[np.float64]) -> bool:
    good = True
    for i in range(len(vector)):
        good &= np.abs(vector[i]) <= 1.0  # false for what is no number
    return good


@compiled
def _add(total: Words, words: Words, most: int) -> bool:
    good = True
    for i in range(len(total)):
        word = np.int64(np.int32(words[i]))
        good &= bool((word <= most) & (word >= -most))
        total[i] += words[i]
    return good


@compiled
def _decode(out: NDArray[np.float64], words: Words, scale: int, added: int) -> bool:
    good, most = True, scale * added
    for i in range(len(out)):
        word = np.int64(np.int32(words[i]))
        good &= bool((word <= most) & (word >= -most))
        out[i] = word / float(scale)
    return good


@compiled
def _encode(out: Words, vector: NDArray[np.float64], scale: float) -> bool:
    good = True
    for i in range(len(out)):
        value = vector[i]
        good &= np.abs(value) <= 1.0  # false for what is no number
        out[i] = np.uint32(np.int32(np.rint(value * scale)))
    return good
