"""Cut and bucket: how many random objects must stand beside each object in question, and which go where.

n objects are in question, each of one or more lanes (bits of a word, or elements of a row) that are checked apart but move
together. n B + C random objects are made in the same way, then a tossed permutation opens C of them and puts B beside each object
in question. A bucket is checked by comparing: what differs from its neighbours in one lane is found. So a deviating party passes
only if, in some lane, every bucket is all right or all wrong, and that lane has a wrong object in question; it fixed all wrong
objects before the permutation was tossed. Passing then takes that the B k wrong random objects fall exactly into the buckets of
the k wrong objects in question (:func:`claims_error`, Furukawa, Lindell, Nof and Weinstein, EUROCRYPT 2017, theorem 5.3, for
triples that are checked before use; Araki et al., IEEE S&P 2017, for the buckets of products made afterwards), which has
probability 1 / binom(n B + C, B k).

- k = 1: 1 / binom(n B + C, B).
- 2 <= k <= n - 2: binom(n B + C, B k) >= binom(n B, B k) >= binom(n, k)^B >= (n (n - 1) / 2)^B, for one may choose k of n in each
  of B layers.
- k = n - 1: binom(n B + C, B (n - 1)) = binom(n B + C, B + C) >= binom(n B + C, B) when B + C <= n B, and is computed as it is.
- k = n: 1 / binom(n B + C, C).

When the objects in question are random too (:func:`random_error`), the bucket is made of B such objects, and any k of the n
buckets may be the wrong ones: the probabilities above are multiplied by binom(n, k)."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.malicious.wide import high
from tallystick_node.engines.mpc.prss import Stream
from tallystick_node.engines.mpc.ring import Ring

BITS = 40  # of statistical security
_DEEPEST = 48  # a single object in question needs 40 beside it, and one more against rounding up


def _log2_binomial(n: int, k: int) -> float:
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(2)


def claims_error(count: int, depth: int, opened: int) -> float:
    """log2 of the probability that a wrong object among ``count`` in question passes, with ``depth`` random ones beside each."""
    made = count * depth + opened
    worst = max(
        -_log2_binomial(made, depth),
        -_log2_binomial(made, opened),
        -_log2_binomial(made, depth * (count - 1)) if count > 1 else -math.inf,
    )
    middle = -depth * math.log2(count * (count - 1) / 2) if count > 3 else -math.inf
    return max(worst, middle)


def random_error(count: int, depth: int, opened: int) -> float:
    """log2 of the probability that one of ``count`` random objects is wrong, when each is checked in a bucket of ``depth``."""
    made = count * depth + opened
    worst = max(math.log2(count) - _log2_binomial(made, depth), -_log2_binomial(made, opened))
    if count > 1:
        worst = max(worst, math.log2(count) - _log2_binomial(made, depth * (count - 1)))
    middle = (1 - depth) * math.log2(count * (count - 1) / 2) if count > 3 else -math.inf
    return max(worst, middle)


@cache
def claims_depth(count: int) -> int:
    """The smallest depth, with as many objects opened, for which :func:`claims_error` is at most 2^-40."""
    return next(depth for depth in range(2, _DEEPEST) if claims_error(count, depth, depth) <= -BITS)


@cache
def random_depth(count: int) -> int:
    """The smallest depth, with as many objects opened, for which :func:`random_error` is at most 2^-40."""
    return next(depth for depth in range(2, _DEEPEST) if random_error(count, depth, depth) <= -BITS)


def permutation(seed: bytes, count: int) -> NDArray[np.uint32]:
    """A permutation of 0..count-1 (Fisher and Yates). An index is the high half of a 64-bit word times the number of places, so
    that no permutation's probability exceeds the uniform one by a factor of more than exp(count^2 / 2^64)."""
    out = np.arange(count, dtype=np.uint32)
    _permute(out, Stream(seed).elements((count,)))
    return out


@compiled
def _permute(out: NDArray[np.uint32], words: Ring) -> None:
    for last in range(out.size - 1, 0, -1):
        place = np.int64(high(words[last], np.uint64(last + 1)))
        out[last], out[place] = out[place], out[last]
