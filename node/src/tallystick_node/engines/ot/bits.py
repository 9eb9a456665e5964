"""Matrices of bits, by columns and by rows.

A batch of transfers is a matrix of 128 columns. Transfer j of a batch of 64 ``words`` is bit j // words of word j % words of every
column: in this order a transposition is made of whole-word steps, and the compiler does many words at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled

COLUMNS = 128

Words = NDArray[np.uint64]

_TILE = 64  # words of each column that are transposed at a time: two blocks of 32 KiB
_SHIFTS = np.array([32, 16, 8, 4, 2, 1], np.uint64)
_MASKS = np.array(
    [0xFFFFFFFF, 0xFFFF0000FFFF, 0xFF00FF00FF00FF, 0x0F0F0F0F0F0F0F0F, 0x3333333333333333, 0x5555555555555555], np.uint64
)


@compiled
def pack(bits: NDArray[np.uint8], words: Words) -> None:
    """Bits (0 or 1), 64 for each word, into words."""
    count = len(words)
    for word in range(count):
        words[word] = np.uint64(0)
    for place in range(64):
        for word in range(count):
            words[word] |= np.uint64(bits[place * count + word]) << np.uint64(place)


@compiled
def unpack(words: Words, bits: NDArray[np.uint8]) -> None:
    """What :func:`pack` packed."""
    count = len(words)
    for place in range(64):
        for word in range(count):
            bits[place * count + word] = np.uint8((words[word] >> np.uint64(place)) & np.uint64(1))


def transpose(columns: Words, count: int, rows: Words) -> None:
    """The first ``count`` words of 128 columns as 64 ``count`` rows of two words; bit c of a row is of column c."""
    _transpose(columns, count, rows, _SHIFTS, _MASKS)


@compiled
def _transpose(columns: Words, count: int, rows: Words, shifts: Words, masks: Words) -> None:
    tile = np.empty(COLUMNS * _TILE, np.uint64)
    for start in range(0, count, _TILE):
        size = min(_TILE, count - start)
        for column in range(COLUMNS):
            for word in range(size):
                tile[column * _TILE + word] = columns[column, start + word]
        _steps(tile, 0, shifts, masks)
        _steps(tile, 64 * _TILE, shifts, masks)
        for place in range(64):
            target = rows[place * count + start : place * count + start + size]
            for word in range(size):
                target[word, 0] = tile[place * _TILE + word]
                target[word, 1] = tile[(64 + place) * _TILE + word]


def flip(words: Words) -> None:
    """Of an array of shape (64, n), in place: bit j of word (i, k) becomes bit i of word (j, k), for all i, j and k.

    So the bits of 64 n numbers become 64 planes, one for each place of a bit, and planes become numbers again; number i n + k is
    bit i of word k of every plane, in the order of :func:`pack`.
    """
    _flip(words, _SHIFTS, _MASKS)


@compiled
def _flip(words: Words, shifts: Words, masks: Words) -> None:
    tile = np.empty(64 * _TILE, np.uint64)
    for start in range(0, words.shape[1], _TILE):
        size = min(_TILE, words.shape[1] - start)
        for row in range(64):
            for word in range(size):
                tile[row * _TILE + word] = words[row, start + word]
        _steps(tile, 0, shifts, masks)
        for row in range(64):
            for word in range(size):
                words[row, start + word] = tile[row * _TILE + word]


@compiled
def _steps(tile: Words, base: int, shifts: Words, masks: Words) -> None:
    """Transpose the 64 x 64 bits of each of ``_TILE`` words, in three passes of two steps."""
    for stage in range(0, 6, 2):
        wide, wide_mask, narrow, narrow_mask = shifts[stage], masks[stage], shifts[stage + 1], masks[stage + 1]
        far, near = np.int64(wide), np.int64(narrow)
        for low in range(64):
            if low & (far | near) == 0:
                at = base + low * _TILE
                at_b, at_c, at_d = at + near * _TILE, at + far * _TILE, at + (far + near) * _TILE
                for word in range(_TILE):
                    a, b, c, d = tile[at + word], tile[at_b + word], tile[at_c + word], tile[at_d + word]
                    moved = ((a >> wide) ^ c) & wide_mask
                    c ^= moved
                    a ^= moved << wide
                    moved = ((b >> wide) ^ d) & wide_mask
                    d ^= moved
                    b ^= moved << wide
                    moved = ((a >> narrow) ^ b) & narrow_mask
                    b ^= moved
                    a ^= moved << narrow
                    moved = ((c >> narrow) ^ d) & narrow_mask
                    d ^= moved
                    c ^= moved << narrow
                    tile[at + word], tile[at_b + word], tile[at_c + word], tile[at_d + word] = a, b, c, d


@compiled
def fold(leaves: Words, columns: Words, total: Words) -> None:
    """Of 16 leaves: the XOR of all into ``total``, and of those whose number has bit b into column b."""
    for word in range(leaves.shape[1]):
        a1, a2, a3 = leaves[1, word], leaves[2, word], leaves[3, word]
        a4, a5, a6, a7 = leaves[4, word], leaves[5, word], leaves[6, word], leaves[7, word]
        a8, a9, a10, a11 = leaves[8, word], leaves[9, word], leaves[10, word], leaves[11, word]
        a12, a13, a14, a15 = leaves[12, word], leaves[13, word], leaves[14, word], leaves[15, word]
        b1, b3, b5, b7 = a2 ^ a3, a6 ^ a7, a10 ^ a11, a14 ^ a15
        b0, b2, b4, b6 = leaves[0, word] ^ a1, a4 ^ a5, a8 ^ a9, a12 ^ a13
        columns[0, word] = a1 ^ a3 ^ a5 ^ a7 ^ a9 ^ a11 ^ a13 ^ a15
        columns[1, word] = b1 ^ b3 ^ b5 ^ b7
        columns[2, word] = b2 ^ b3 ^ b6 ^ b7
        columns[3, word] = b4 ^ b5 ^ b6 ^ b7
        total[word] = b0 ^ b1 ^ b2 ^ b3 ^ b4 ^ b5 ^ b6 ^ b7


@compiled
def correct(columns: Words, delta: NDArray[np.uint8], correction: Words) -> None:
    """XOR the correction into the columns whose bit of ``delta`` is 1, without branching on it."""
    for column in range(len(columns)):
        mask = np.uint64(0) - np.uint64(delta[column])
        for word in range(len(correction)):
            columns[column, word] ^= correction[word] & mask
