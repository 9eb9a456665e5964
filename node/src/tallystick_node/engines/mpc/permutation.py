"""Uniform permutations drawn from a stream of random bytes, the same by all who hold it.

They are drawn by the Fisher-Yates algorithm; an index below k comes from 32 bits by Lemire's method (ACM TOMACS 2019), which
rejects the few draws that would make some indices likelier, so that all permutations are equally likely.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.prss import BLOCK, Stream

Order = NDArray[np.uint32]


def permutation(stream: Stream, length: int) -> Order:
    """A uniform permutation of 0 .. length - 1 from a stream; both holders draw the same."""
    order = np.arange(length, dtype=np.uint32)
    left = length
    while left > 1:
        left = _swap(order, left, stream.passing(min(left, BLOCK), np.uint32))
    return order


@compiled
def _swap(order: Order, left: int, words: Order) -> int:
    """Fisher-Yates from the end as far as the words go; how many places are still to be filled."""
    low = np.uint64(0xFFFFFFFF)
    for word in words:
        if left <= 1:
            break
        bound = np.uint64(left)
        product = np.uint64(word) * bound
        if product & low < bound and product & low < (np.uint64(1 << 32) - bound) % bound:
            continue  # one of the 2^32 mod bound draws that would make some indices likelier
        chosen = product >> np.uint64(32)
        left -= 1
        order[left], order[chosen] = order[chosen], order[left]
    return left
