"""Ranks from comparisons whose outcomes may be public: the bookkeeping of sorting, which sees no secret.

A sample of each segment is compared pair by pair and becomes its sorted pivots; the others find their place between pivots by
binary search; the gaps are the next segments. So n rows are ranked by about 1.2 n log2 n comparisons in few batches: 22 for 10^5.
Ranks that nobody wants are not refined.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
Compare = Callable[[Places, Places], NDArray[np.bool_]]

_BATCH = 1 << 17  # comparisons that cost about as much as the rounds that they save


def ranked(less: Compare, starts: Places, sizes: Places, wanted: NDArray[np.bool_]) -> Places:
    """The rows of adjoining segments, each ordered within itself: ``order[r]`` is the row of rank r, for every wanted r.

    ``less(left, right)`` says for pairs of rows whether the left one comes before the right one, in a strict total order; ``left``
    is the same object as long as its rows are compared again. Rows of unwanted ranks stand in their segment, between the wanted
    ones that they belong between, in any order.
    """
    order = np.arange(len(wanted))
    before = np.concatenate([[0], np.cumsum(wanted)])
    starts, sizes = _needed(starts, sizes, before)
    while len(starts):
        counts = _samples(sizes)
        segment = np.repeat(np.arange(len(starts)), sizes)
        inner = np.arange(len(segment)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = order[starts[segment] + inner]
        sampled = inner < counts[segment]
        pivots = _sorted_samples(less, rows[sampled], counts)
        others, owner = rows[~sampled], segment[~sampled]
        buckets = _Buckets(starts, counts)
        low = _descend(less, others, owner, pivots, buckets, before)
        starts, sizes = buckets.place(order, pivots, others, owner, low)
        starts, sizes = _needed(starts, sizes, before)
    return order


def _needed(starts: Places, sizes: Places, before: Places) -> tuple[Places, Places]:
    """The segments that hold a wanted rank and more than one row."""
    keep = (sizes > 1) & (before[starts + sizes] > before[starts])
    return starts[keep], sizes[keep]


def _samples(sizes: Places) -> Places:
    """How many rows of each segment become pivots: all, when that is few comparisons; else 2^j - 1, with about as many pairs as a
    segment has rows, and the same j for all, so that they search together."""
    if np.sum(sizes * (sizes - 1) // 2) <= max(_BATCH, 8 * int(np.sum(sizes))):
        return sizes
    levels = int(np.log2((1 + np.sqrt(1 + 8 * np.mean(sizes))) / 2 + 1))
    return np.where(sizes <= max(4, (1 << levels) - 1), sizes, (1 << levels) - 1)


def _sorted_samples(less: Compare, rows: Places, counts: Places) -> Places:
    """The sampled rows, sorted within each segment, by comparing every pair of them."""
    offsets = np.cumsum(counts) - counts
    left, right = [], []
    for count in np.unique(counts):
        first, second = np.triu_indices(count, 1)
        base = offsets[counts == count][:, None]
        left.append((base + first).reshape(-1))
        right.append((base + second).reshape(-1))
    one, two = np.concatenate(left), np.concatenate(right)
    wins = less(rows[one], rows[two])
    rank = np.bincount(two, wins, len(rows)) + np.bincount(one, ~wins, len(rows))
    pivots = np.zeros_like(rows)
    pivots[np.repeat(offsets, counts) + rank.astype(np.int64)] = rows
    return pivots


def _descend(less: Compare, rows: Places, owner: Places, pivots: Places, buckets: _Buckets, before: Places) -> Places:
    """How many pivots of its segment each row comes after; a lower bound of it where no wanted rank depends on it.

    Every segment that has rows left has the same number of pivots.
    """
    low = np.zeros(len(rows), np.int64)
    if not len(rows):
        return low
    searching = rows
    active: slice | Places = slice(None)
    first = buckets.pivot[owner]
    for level in range(int(buckets.counts[owner[0]]).bit_length() - 1, -1, -1):
        span = 1 << level
        middle = pivots[first[active] + low[active] + (span - 1)]
        low[active] += np.where(less(searching, middle), 0, span)
        if before[-1] < len(before) - 1 and level:
            begins, sizes = buckets.ranges(owner, low)
            number = buckets.first[owner] + low
            begin = begins[number]
            needed = before[begin + sizes[number] + (span - 1)] > before[begin]
            active = np.flatnonzero(needed)
            searching = rows[active]
    return low


class _Buckets:
    """The gaps before, between and behind each segment's pivots, numbered through."""

    def __init__(self, starts: Places, counts: Places) -> None:
        self._starts, self.counts = starts, counts
        self.pivot = np.cumsum(counts) - counts
        self.first = np.cumsum(counts + 1) - (counts + 1)
        self._owner = np.repeat(np.arange(len(starts)), counts + 1)
        self._inner = np.arange(len(self._owner)) - self.first[self._owner]

    def ranges(self, owner: Places, low: Places) -> tuple[Places, Places]:
        """The first rank and the size of every bucket, for rows in bucket ``low`` of segment ``owner``."""
        sizes = np.bincount(self.first[owner] + low, minlength=len(self._owner))
        ahead = np.cumsum(sizes) - sizes
        return self._starts[self._owner] + self._inner + ahead - ahead[self.first[self._owner]], sizes

    def place(self, order: Places, pivots: Places, rows: Places, owner: Places, low: Places) -> tuple[Places, Places]:
        """Write pivots and rows to their ranks; the buckets as new segments."""
        begins, sizes = self.ranges(owner, low)
        number = self.first[owner] + low
        small = len(self._owner) <= 1 << 16  # sorted by radix
        by_bucket = np.argsort(number.astype(np.uint16) if small else number, kind="stable")
        number = number[by_bucket]
        order[begins[number] + np.arange(len(number)) - (np.cumsum(sizes) - sizes)[number]] = rows[by_bucket]
        behind = self._inner < self.counts[self._owner]  # every bucket but a segment's last is followed by a pivot
        order[(begins + sizes)[behind]] = pivots
        return begins, sizes
