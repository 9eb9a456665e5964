"""Bins in which two parties' items meet: one party puts each of its items into one of three bins, the other into all three.

Three different bins of m are chosen for an item by its hash. The first party places its items so that no bin has two (cuckoo
hashing; Pagh and Rodler, 2004): an equal item of the other party is in the same bin, whichever of the three it is.

How many bins. Placing fails exactly if some k + 1 items have all their bins among k (Hall). Of such sets the smallest has each of
its k bins at least twice among its items' choices. The expected number of such sets bounds the probability of failure:

    sum over k of C(n, k+1) C(m, k) min(C(k, 3) / C(m, 3), ..)^(k+1),

where the second bound counts the ways in which 3 (k + 1) choices hit each of k bins twice or more: the coefficient of z^(3k+3) in
(e^z - 1 - z)^k times (3k + 3)!, at most its value at any z > 0. With m = 1.31 n + 112 the sum is below 2^-40 for every n up to
``MAX_ITEMS``; the tests compute it. This needs no experiments, unlike the customary 1.27 n (Pinkas, Schneider and Zohner, ACM
TOPS 2018), and costs a thirtieth more. There is no stash.

A party that cannot place its items draws another seed for the hash. Seeds that fail are not told, but who sees the last seed knows
that it did not fail: that seed is off from uniform by the probability of failure, below 2^-40 whatever the items are.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.okvs.store import Words

CHOICES = 3
MAX_ITEMS = 1 << 20

_SPREAD = np.uint64(24)  # a bin is chosen by the other 40 bits of a word: off from uniform by 2^-19 of its probability

Places = NDArray[np.int64]


class NoPlacement(ValueError):  # noqa: N818 - chance
    """Items that cannot be placed under a seed: less likely than 2^-40 for items that were fixed before it was drawn."""


def number_of_bins(items: int) -> int:
    """Bins for so many placed items."""
    return math.ceil(1.31 * items) + 112


def bins_of(hashes: Words, bins: int) -> Places:
    """The three different bins of each item, of shape (n, 3), from hashes of three words or more."""
    first, second, third = (
        ((hashes[:, place] >> _SPREAD) * np.uint64(bins - place) >> np.uint64(40)).astype(np.int64) for place in range(CHOICES)
    )
    second += second >= first
    low, high = np.minimum(first, second), np.maximum(first, second)
    third += third >= low
    third += third >= high
    return np.stack([first, second, third], axis=1)


def placed(chosen: Places, bins: int) -> tuple[Places, NDArray[np.uint8]]:
    """For each item the bin that it is put into, and which of its three that is. Raises NoPlacement."""
    inside = np.full(bins, -1, np.int64)
    if not _place(chosen, inside):
        raise NoPlacement("the items do not fit the bins")
    taken = np.flatnonzero(inside >= 0)
    where = np.empty(len(chosen), np.int64)
    where[inside[taken]] = taken
    return where, np.argmax(chosen == where[:, None], axis=1).astype(np.uint8)


@compiled
def _place(chosen: Places, inside: Places) -> bool:
    """Shortest augmenting paths, one item after another: finds a placement if there is one."""
    reached = np.full(len(inside), -1, np.int64)  # the last item that was looked for a place from here
    source = np.empty(len(inside), np.int64)
    waiting = np.empty(len(inside), np.int64)
    for item in range(len(chosen)):
        head = 0
        tail = 0
        mover = item
        origin = -1
        end = -1
        while end < 0:
            for number in range(chosen.shape[1]):
                place = chosen[mover, number]
                if reached[place] != item:
                    reached[place] = item
                    source[place] = origin
                    waiting[tail] = place
                    tail += 1
                    if inside[place] < 0:
                        end = place
                        break
            if end < 0:
                if head == tail:
                    return False
                origin = waiting[head]
                mover = inside[origin]
                head += 1
        while source[end] >= 0:
            inside[end] = inside[source[end]]
            end = source[end]
        inside[end] = item
    return True
