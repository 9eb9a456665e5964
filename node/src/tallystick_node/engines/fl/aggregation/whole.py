"""Sums of words that do not wrap around: added up, cut in two for the way, and put together again, each in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.fl.aggregation.quantisation import Words

Whole = NDArray[np.uint64]
Carries = NDArray[np.unsignedinteger[Any]]
_BITS = np.uint64(32)


def add(total: Whole, words: Words) -> None:
    """Add words, in place."""
    _add(total, words)


def split(total: Whole, kind: type[np.unsignedinteger[Any]]) -> tuple[Words, Carries]:
    """What a sum is modulo 2^32, and what it has above, in a type that holds it."""
    low, high = np.empty(total.shape, np.uint32), np.empty(total.shape, kind)
    _split(low, high, total)
    return low, high


def join(low: Words, high: Carries) -> Whole:
    """The sum that was split."""
    out = np.empty(low.shape, np.uint64)
    _join(out, low, high)
    return out


@compiled
def _add(total: Whole, words: Words) -> None:
    for i in range(len(total)):
        total[i] += np.uint64(words[i])


@compiled
def _split(low: Words, high: Carries, total: Whole) -> None:
    for i in range(len(total)):
        low[i] = total[i]
        high[i] = total[i] >> _BITS


@compiled
def _join(out: Whole, low: Words, high: Carries) -> None:
    for i in range(len(out)):
        out[i] = np.uint64(low[i]) + (np.uint64(high[i]) << _BITS)
