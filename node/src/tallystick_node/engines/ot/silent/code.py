"""The expand-convolute code that spreads the noise (Raghuraman, Rindal and Tanguy, CRYPTO 2023), in systematic form.

A vector v of N places becomes ``count`` correlations: v[i] plus 11 places of the convolution of all of v behind the first
``count``, one from each of 11 segments of equal length (a regular expander). In the convolution each place becomes

    y_i = X (x_i + y_{i-28}) + a random sum of y_j for the 24 to 27 j < i that are in i's block of four or the six before it:

a state of 28 places that never falls silent by itself. It runs round the vector twice, and takes its state along, so that every
place depends on every other. X is the generator of the field of :mod:`field`: over an extension of GF(2) it makes the code one over
that field and not many copies of a binary one, which share their noise and so would be weaker together.

Blocks of four make it fast: of every block the sums of all 16 subsets are tabulated once, and six look-ups give 24 random taps.

The code is public: its positions and taps are AES-128-CTR output from a digest of the session's context. Security rests on the
assumption that dual learning parity with regular noise is hard for it, see :mod:`shape`.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.prss import Stream
from tallystick_node.engines.ot.silent.field import Field, Words, block_times_x, word_times_x

WEIGHT = 11
ROUNDS = 2

_RING = 8  # blocks of four places whose sums are kept: the last seven and the present one
_PIECE = 1 << 14  # places at a time


class Code:
    """The code of one session."""

    def __init__(self, context: bytes) -> None:
        self._seed = hashlib.sha256(b"tallystick/ot/silent/code/v1" + context).digest()[:16]

    def compress(self, field: Field, count: int, *vectors: Words) -> list[Words]:
        """``count`` places of each of some vectors of at least twice as many (a multiple of 16), which are overwritten: of shape
        (N,) for vectors over GF(2^64) or (N, 2) for vectors of blocks. Together they take less than one by one."""
        kept = -(-count // 4) * 4
        works = [_Work(vector[:kept], vector[kept:]) for vector in vectors]
        stream = Stream(self._seed)
        size = len(vectors[0]) - kept
        for done in range(0, ROUNDS * size, size):
            for start in range(0, size, _PIECE):
                taps = stream.passing(min(_PIECE, size - start), np.uint32)
                for work in works:
                    work.convolve(field, start, taps, done)
        for segment in range(WEIGHT):
            source = slice(size * segment // WEIGHT, size * (segment + 1) // WEIGHT)
            for start in range(0, kept, _PIECE):
                places = stream.passing(min(_PIECE, kept - start), np.uint32)
                for work in works:
                    work.expand(start, source, places)
        return [vector[:count] for vector in vectors]


class _Work:
    """One vector: what is kept of it, what is convolved, and the sums of subsets of the last blocks."""

    def __init__(self, kept: Words, rest: Words) -> None:
        self._kept, self._rest = kept, rest
        self._sums = np.zeros((16 * _RING, *rest.shape[1:]), np.uint64)
        self._convolve, self._expand = (_convolve_blocks, _expand_blocks) if rest.ndim == 2 else (_convolve_words, _expand_words)

    def convolve(self, field: Field, start: int, taps: NDArray[np.uint32], done: int) -> None:
        self._convolve(field, self._rest[start : start + len(taps)], taps, self._sums, (done + start) // 4)

    def expand(self, start: int, source: slice, places: NDArray[np.uint32]) -> None:
        self._expand(self._kept[start : start + len(places)], self._rest[source], places)


@compiled
def _convolve_blocks(field: Field, places: Words, taps: NDArray[np.uint32], sums: Words, done: int) -> None:
    for block in range(len(places) // 4):
        number = done + block
        own = 16 * (number & 7)
        old = 16 * ((number - 7) & 7)
        sums[own, 0] = sums[own, 1] = np.uint64(0)
        for k in range(4):
            i = 4 * block + k
            tap = np.int64(taps[i])
            first, second = block_times_x(field, places[i, 0] ^ sums[old + (1 << k), 0], places[i, 1] ^ sums[old + (1 << k), 1])
            for back in range(1, 7):
                at = 16 * ((number - back) & 7) + ((tap >> (4 * back)) & 15)
                first ^= sums[at, 0]
                second ^= sums[at, 1]
            at = own + (tap & ((1 << k) - 1))
            first ^= sums[at, 0]
            second ^= sums[at, 1]
            for subset in range(1 << k):
                sums[own + (1 << k) + subset, 0] = sums[own + subset, 0] ^ first
                sums[own + (1 << k) + subset, 1] = sums[own + subset, 1] ^ second
            places[i, 0], places[i, 1] = first, second


@compiled
def _convolve_words(field: Field, places: Words, taps: NDArray[np.uint32], sums: Words, done: int) -> None:
    for block in range(len(places) // 4):
        number = done + block
        own = 16 * (number & 7)
        old = 16 * ((number - 7) & 7)
        sums[own] = np.uint64(0)
        for k in range(4):
            i = 4 * block + k
            tap = np.int64(taps[i])
            value = word_times_x(field, places[i] ^ sums[old + (1 << k)])
            for back in range(1, 7):
                value ^= sums[16 * ((number - back) & 7) + ((tap >> (4 * back)) & 15)]
            value ^= sums[own + (tap & ((1 << k) - 1))]
            for subset in range(1 << k):
                sums[own + (1 << k) + subset] = sums[own + subset] ^ value
            places[i] = value


@compiled
def _expand_blocks(out: Words, source: Words, random: NDArray[np.uint32]) -> None:
    size = np.uint64(len(source))
    for i in range(len(out)):
        at = np.int64((np.uint64(random[i]) * size) >> np.uint64(32))
        out[i, 0] ^= source[at, 0]
        out[i, 1] ^= source[at, 1]


@compiled
def _expand_words(out: Words, source: Words, random: NDArray[np.uint32]) -> None:
    size = np.uint64(len(source))
    for i in range(len(out)):
        at = np.int64((np.uint64(random[i]) * size) >> np.uint64(32))
        out[i] ^= source[at]
