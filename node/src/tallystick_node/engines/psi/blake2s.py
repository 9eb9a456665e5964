"""BLAKE2s-256 (RFC 7693), keyed, of many messages that lie one after another: what ``hashlib`` gives one by one, in a loop."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled, inlined

KEY = 32  # bytes
_BLOCK = 64
_U = np.uint32

_START = np.array([0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], np.uint32)
_SCHEDULE = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    ],
    np.int64,
)


Words = NDArray[np.uint64]


def keyed(key: bytes, offsets: NDArray[np.int64], content: NDArray[np.uint8]) -> tuple[Words, Words]:
    """Both halves, of two little-endian words each, of the hashes of the messages that end at ``offsets[1:]``. The key has 32
    bytes."""
    if len(key) != KEY:
        raise ValueError(f"the key has {KEY} bytes")
    state = _START.copy()
    state[0] ^= _U(0x01010000 | KEY << 8 | 32)
    _compress(state, np.frombuffer(key.ljust(_BLOCK, b"\0"), np.uint32), _BLOCK, last=False)
    first, second = _hash(state, offsets, content)
    empty = np.flatnonzero(offsets[1:] == offsets[:-1])  # then the key's block is the last
    if len(empty):
        words = np.frombuffer(hashlib.blake2s(b"", key=key).digest(), np.uint64)
        first[empty], second[empty] = words[:2], words[2:]
    return first, second


# Numba makes 64 bits of two operands of 32: every result is cut back.
@inlined
def _turn(word: np.uint32, places: int) -> np.uint32:
    return _U(_U(word >> _U(places)) | _U(word << _U(32 - places)))


@inlined
def _mix(
    a: np.uint32, b: np.uint32, c: np.uint32, d: np.uint32, x: np.uint32, y: np.uint32
) -> tuple[np.uint32, np.uint32, np.uint32, np.uint32]:
    a = _U(a + b + x)
    d = _turn(_U(d ^ a), 16)
    c = _U(c + d)
    b = _turn(_U(b ^ c), 12)
    a = _U(a + b + y)
    d = _turn(_U(d ^ a), 8)
    c = _U(c + d)
    b = _turn(_U(b ^ c), 7)
    return a, b, c, d


@compiled
def _compress(state: NDArray[np.uint32], message: NDArray[np.uint32], size: int, last: bool) -> None:  # noqa: FBT001
    """RFC 7693, section 3.2; ``size`` is the number of bytes so far."""
    v0, v1, v2, v3 = state[0], state[1], state[2], state[3]
    v4, v5, v6, v7 = state[4], state[5], state[6], state[7]
    v8, v9, v10, v11 = _START[0], _START[1], _START[2], _START[3]
    v12, v13, v14, v15 = _U(_START[4] ^ _U(size)), _START[5], _START[6], _START[7]
    if last:
        v14 = _U(v14 ^ _U(0xFFFFFFFF))
    for number in range(10):
        at = _SCHEDULE[number]
        v0, v4, v8, v12 = _mix(v0, v4, v8, v12, message[at[0]], message[at[1]])
        v1, v5, v9, v13 = _mix(v1, v5, v9, v13, message[at[2]], message[at[3]])
        v2, v6, v10, v14 = _mix(v2, v6, v10, v14, message[at[4]], message[at[5]])
        v3, v7, v11, v15 = _mix(v3, v7, v11, v15, message[at[6]], message[at[7]])
        v0, v5, v10, v15 = _mix(v0, v5, v10, v15, message[at[8]], message[at[9]])
        v1, v6, v11, v12 = _mix(v1, v6, v11, v12, message[at[10]], message[at[11]])
        v2, v7, v8, v13 = _mix(v2, v7, v8, v13, message[at[12]], message[at[13]])
        v3, v4, v9, v14 = _mix(v3, v4, v9, v14, message[at[14]], message[at[15]])
    for place, (low, high) in enumerate(((v0, v8), (v1, v9), (v2, v10), (v3, v11), (v4, v12), (v5, v13), (v6, v14), (v7, v15))):
        state[place] = _U(state[place] ^ low ^ high)


@compiled
def _hash(start: NDArray[np.uint32], offsets: NDArray[np.int64], content: NDArray[np.uint8]) -> tuple[Words, Words]:
    first = np.empty((len(offsets) - 1, 2), np.uint64)
    second = np.empty((len(offsets) - 1, 2), np.uint64)
    state = np.empty(8, np.uint32)
    message = np.empty(16, np.uint32)
    for index in range(len(first)):
        state[:] = start
        place, end = offsets[index], offsets[index + 1]
        size = 64  # the key's block
        while place < end:
            part = min(64, end - place)
            message[:] = _U(0)
            for byte in range(part):
                message[byte >> 2] |= _U(_U(content[place + byte]) << _U(8 * (byte & 3)))
            place += part
            size += part
            _compress(state, message, size, place == end)
        for word in range(2):
            first[index, word] = np.uint64(state[2 * word]) | (np.uint64(state[2 * word + 1]) << np.uint64(32))
            second[index, word] = np.uint64(state[2 * word + 4]) | (np.uint64(state[2 * word + 5]) << np.uint64(32))
    return first, second
