"""Tags of two words, sorted by one party so that their order tells nothing, and matched by the other.

Equal tags are equal items but for an accident of 2^-40 in a whole run, for which they are cut to as many bytes as it takes: the
first word whole, the second to what is left.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.compiled import compiled

Words = NDArray[np.uint64]

WORD = 8  # bytes


def width(bytes_needed: int) -> int:
    """Bytes of a tag on the wire."""
    return max(WORD, bytes_needed)


def send_sorted(session: Session, peer: int, tags: Words, size: int) -> NDArray[np.int64]:
    """Send the tags of shape (n, 2), cut to ``size`` bytes, in the order of both words; which tag is where.

    Raises ValueError when two tags are equal: then two items were.
    """
    first, second = np.ascontiguousarray(tags[:, 0]), tags[:, 1] & _mask(size)
    order = np.argsort(first)
    sorted_ = first[order]
    if (sorted_[1:] == sorted_[:-1]).any():  # rare: by the second words only then
        order = np.lexsort((second, first))
        sorted_ = first[order]
    second = second[order]
    if not _in_order(sorted_, second):
        raise ValueError("items are unique: remove or group duplicates first")
    send_array(session, peer, sorted_)
    send_array(session, peer, second.view(np.uint8).reshape(-1, WORD)[:, : size - WORD])
    return order


def receive(session: Session, peer: int, count: int, size: int, step: str) -> tuple[Words, Words]:
    """What :func:`send_sorted` sent: first and second words. Raises ProtocolViolation unless they are distinct and in order."""
    first = receive_array(session, peer, (count,), step)
    second = np.zeros((count, WORD), np.uint8)
    second[:, : size - WORD] = receive_array(session, peer, (count, size - WORD), step, np.uint8)
    words = second.view(np.uint64).reshape(-1)
    if not _in_order(first, words):
        raise ProtocolViolation(peer, step, "its tags are not distinct and in order")
    return first, words


def match(own: Words, first: Words, second: Words, size: int) -> NDArray[np.int64]:
    """For each of the peer's tags the index of the own tag of shape (n, 2) that equals it, or -1. Raises ValueError like
    :func:`send_sorted`."""
    bits = max(4, (2 * len(own)).bit_length())
    table = np.full(1 << bits, -1, np.int32)
    cut = own[:, 1] & _mask(size)
    if not _build(np.ascontiguousarray(own[:, 0]), cut, np.uint64(64 - bits), table):
        raise ValueError("items are unique: remove or group duplicates first")
    return _probe(np.ascontiguousarray(own[:, 0]), cut, np.uint64(64 - bits), table, first, second)


def _in_order(first: Words, second: Words) -> bool:
    """Whether each is more than the one before."""
    equal = first[1:] == first[:-1]
    return bool((first[1:] >= first[:-1]).all() and (second[1:][equal] > second[:-1][equal]).all())


def _mask(size: int) -> np.uint64:
    return np.uint64((1 << 8 * (size - WORD)) - 1)


@compiled
def _build(first: Words, second: Words, shift: np.uint64, table: NDArray[np.int32]) -> bool:
    mask = len(table) - 1
    for index in range(len(first)):
        place = np.int64(first[index] >> shift)
        while table[place] >= 0:
            if first[table[place]] == first[index] and second[table[place]] == second[index]:
                return False
            place = (place + 1) & mask
        table[place] = np.int32(index)
    return True


@compiled
def _probe(
    first: Words, second: Words, shift: np.uint64, table: NDArray[np.int32], their_first: Words, their_second: Words
) -> NDArray[np.int64]:
    mask = len(table) - 1
    found = np.full(len(their_first), -1, np.int64)
    for index in range(len(their_first)):
        place = np.int64(their_first[index] >> shift)
        while table[place] >= 0:
            other = table[place]
            if first[other] == their_first[index] and second[other] == their_second[index]:
                found[index] = other
                break
            place = (place + 1) & mask
    return found
