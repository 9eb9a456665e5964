"""Writing and reading a store. Keys come as digests: 128 bits that choose slots, of a hash whose salt was drawn after the keys were
fixed, and bits that choose a bucket.

Free and dense slots are filled from AES-CTR under a fresh key. Without that the array would show which slots no key uses. When
the values are random the whole array is then uniformly random, whatever the keys are.

Lookups go to memory at places that depend on the keys: whoever shares this machine's caches with a party is not defended against.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled, inlined
from tallystick_node.engines.mpc.prss import SEED, Stream
from tallystick_node.engines.okvs.shape import DENSE, FRACTION, Shape

Words = NDArray[np.uint64]
Order = NDArray[np.int64]

MAX_CORE = 2048  # rows that peeling leaves; more than a handful is a failure in itself
_BYTES = -(-DENSE // 8)

_LOW = np.uint64((1 << FRACTION) - 1)
_SHIFT = np.uint64(FRACTION)
_TWICE = np.uint64(2 * FRACTION)
_REST = np.uint64(64 - 2 * FRACTION)
_PLACE = np.uint64(21)  # bits of a place within a segment, three of which the peeling packs in a word
_PLACES = np.uint64((1 << 21) - 1)
_COUNT = np.uint64(1 << 32)
_INDEX = np.uint64((1 << 32) - 1)
_BYTE = np.uint64(255)
_ONE, _TWO, _THREE, _FOUR, _FIVE = (np.uint64(8 * byte) for byte in range(1, 6))


class StoreOverflow(ValueError):  # noqa: N818 - chance, or equal keys
    """The keys do not fit: less likely than 2^-40 for keys that were fixed before the salt."""


def encode(shape: Shape, digests: Words, buckets: Words, values: Words) -> Words:
    """The store, of shape (total slots, words), for ``values`` of shape (keys, words) under distinct ``digests`` (keys, 2).

    ``buckets`` are the words whose high bits choose each key's bucket. Raises StoreOverflow; do not try again.
    """
    if len(digests) > shape.keys or not len(digests) == len(buckets) == len(values):
        raise ValueError("a store has one value for each of its keys")
    store = random_words(shape.total, values.shape[1])
    for number, members in _groups(shape, buckets):
        part = store[number * shape.slots : (number + 1) * shape.slots]
        if members is None:
            _encode(shape.segment, digests, values, part)
        elif len(members) > shape.capacity:
            raise StoreOverflow("a bucket has more keys than it takes")
        else:
            _encode(shape.segment, digests[members], values[members], part)
    return store


def decode(shape: Shape, digests: Words, buckets: Words, store: Words) -> Words:
    """The value of each key, of shape (keys, words); for a key that was not put in, what the slots happen to give."""
    if store.shape[0] != shape.total or len(digests) != len(buckets):
        raise ValueError("the store is not of this shape")
    segment = np.uint64(shape.segment)
    if shape.buckets == 1:
        return _decode(digests, segment, store, _table(store))
    out = np.empty((len(digests), store.shape[1]), np.uint64)
    for number, members in _groups(shape, buckets):
        part = store[number * shape.slots : (number + 1) * shape.slots]
        out[members] = _decode(digests[members], segment, part, _table(part))
    return out


def random_words(rows: int, words: int) -> Words:
    """Uniform words, from AES-CTR under a fresh key."""
    return Stream(secrets.token_bytes(SEED)).elements((rows, words))


def _groups(shape: Shape, buckets: Words) -> Iterator[tuple[int, Order | None]]:
    """Each bucket with the numbers of its keys; None for all of them."""
    if shape.buckets == 1:
        yield 0, None
        return
    chosen = (buckets >> np.uint64(32)) * np.uint64(shape.buckets) >> np.uint64(32)
    order = np.argsort(chosen.astype(np.uint16), kind="stable")
    ends = np.cumsum(np.bincount(chosen.astype(np.int64), minlength=shape.buckets))
    for number, end in enumerate(ends.tolist()):
        yield number, order[int(ends[number - 1]) if number else 0 : end]


def _encode(segment: int, digests: Words, values: Words, part: Words) -> None:
    order = np.empty(len(digests), np.uint32)
    pivots = np.empty(len(digests), np.uint32)
    peeled = _peel(digests, np.uint64(segment), order, pivots)
    if peeled < len(digests):
        left = np.ones(len(digests), np.bool_)
        left[order[:peeled]] = False
        _solve(segment, digests[left], values[left], part)
    _fill_back(digests, values, np.uint64(segment), order, pivots, peeled, part, _table(part))


def _solve(segment: int, digests: Words, values: Words, part: Words) -> None:
    """Give the rows of the core their values: elimination over their own slots and the dense ones; what is free stays random."""
    if len(digests) > MAX_CORE:
        raise StoreOverflow("peeling leaves more rows than the dense slots can take")
    slots = list(range(3 * segment, 3 * segment + DENSE))
    columns: dict[int, int] = {}
    rows: list[tuple[int, int]] = []
    for digest, value in zip(digests, values, strict=True):
        first, second, third, dense = _places(digest[0], digest[1], np.uint64(segment))
        row = int(dense)
        for place in (int(first), int(second), int(third)):
            if place not in columns:
                columns[place] = len(slots)
                slots.append(place)
            row ^= 1 << columns[place]
        rows.append((row, int.from_bytes(value.tobytes(), "little")))
    reduced: list[tuple[int, int, int]] = []  # the pivot's bit, the row, its value
    for row, value_ in rows:
        for bit, other, its in reduced:
            if row >> bit & 1:
                row, value_ = row ^ other, value_ ^ its
        if not row:
            raise StoreOverflow("two sets of keys have the same slots")
        pivot = row.bit_length() - 1
        reduced = [(bit, other ^ row, its ^ value_) if other >> pivot & 1 else (bit, other, its) for bit, other, its in reduced]
        reduced.append((pivot, row, value_))
    size = part.shape[1] * 8
    for pivot, row, value_ in reduced:  # fully reduced: all further bits of a row are of slots that no row is solved by
        rest = row ^ 1 << pivot
        while rest:
            bit = rest.bit_length() - 1
            value_ ^= int.from_bytes(part[slots[bit]].tobytes(), "little")
            rest ^= 1 << bit
        part[slots[pivot]] = np.frombuffer(value_.to_bytes(size, "little"), np.uint64)


@inlined
def _places(low: np.uint64, high: np.uint64, segment: np.uint64) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """A key's slots in the three segments, and its dense slots as bits."""
    first = ((low & _LOW) * segment) >> _SHIFT
    second = segment + ((((low >> _SHIFT) & _LOW) * segment) >> _SHIFT)
    third = segment + segment + (((high & _LOW) * segment) >> _SHIFT)
    dense = (low >> _TWICE) | ((high >> _SHIFT) << _REST)
    return first, second, third, dense


@inlined
def _dense(table: NDArray[np.uint64], bits: np.uint64, word: int) -> np.uint64:
    """The XOR of a key's dense slots, by the bytes of its bits."""
    low = table[0, bits & _BYTE, word] ^ table[1, (bits >> _ONE) & _BYTE, word] ^ table[2, (bits >> _TWO) & _BYTE, word]
    high = table[3, (bits >> _THREE) & _BYTE, word] ^ table[4, (bits >> _FOUR) & _BYTE, word] ^ table[5, bits >> _FIVE, word]
    found: np.uint64 = low ^ high
    return found


@compiled
def _peel(digests: Words, segment: np.uint64, order: NDArray[np.uint32], pivots: NDArray[np.uint32]) -> int:
    """Peel keys that alone have a slot, breadth first; how many were peeled. A slot's state is the number of its keys with the XOR
    of their indices, and the XOR of their places."""
    total = 3 * int(segment)
    state = np.zeros((total, 2), np.uint64)
    for index in range(len(digests)):
        first, second, third, _ = _places(digests[index, 0], digests[index, 1], segment)
        packed = first | ((second - segment) << _PLACE) | ((third - segment - segment) << (_PLACE + _PLACE))
        for place in (first, second, third):
            state[place, 0] = (state[place, 0] + _COUNT) ^ np.uint64(index)
            state[place, 1] ^= packed
    waiting = np.empty(total, np.uint32)  # a slot waits at most once: its count only falls, and is 1 once
    head = 0
    tail = 0
    for alone in range(total):
        if state[alone, 0] >> np.uint64(32) == np.uint64(1):
            waiting[tail] = np.uint32(alone)
            tail += 1
    peeled = 0
    while head < tail:
        slot = waiting[head]
        head += 1
        if state[slot, 0] >> np.uint64(32) != np.uint64(1):
            continue
        index = state[slot, 0] & _INDEX
        packed = state[slot, 1]
        order[peeled] = np.uint32(index)
        pivots[peeled] = slot
        peeled += 1
        base = np.uint64(0)
        for number in range(3):
            place = base + ((packed >> (_PLACE * np.uint64(number))) & _PLACES)
            base += segment
            now = (state[place, 0] - _COUNT) ^ index
            state[place, 0] = now
            state[place, 1] ^= packed
            if now >> np.uint64(32) == np.uint64(1):
                waiting[tail] = np.uint32(place)
                tail += 1
    return peeled


@compiled
def _fill_back(
    digests: Words,
    values: Words,
    segment: np.uint64,
    order: NDArray[np.uint32],
    pivots: NDArray[np.uint32],
    peeled: int,
    part: Words,
    table: NDArray[np.uint64],
) -> None:
    words = part.shape[1]
    for step in range(peeled - 1, -1, -1):
        index = order[step]
        pivot = pivots[step]
        first, second, third, dense = _places(digests[index, 0], digests[index, 1], segment)
        for word in range(words):
            part[pivot, word] = np.uint64(0)
            found = values[index, word] ^ part[first, word] ^ part[second, word] ^ part[third, word]
            part[pivot, word] = found ^ _dense(table, dense, word)


@compiled
def _decode(digests: Words, segment: np.uint64, part: Words, table: NDArray[np.uint64]) -> Words:
    words = part.shape[1]
    out = np.empty((len(digests), words), np.uint64)
    for index in range(len(digests)):
        first, second, third, dense = _places(digests[index, 0], digests[index, 1], segment)
        for word in range(words):
            out[index, word] = part[first, word] ^ part[second, word] ^ part[third, word] ^ _dense(table, dense, word)
    return out


@compiled
def _table(part: Words) -> NDArray[np.uint64]:
    """The XOR of the dense slots of every byte of a key's dense bits."""
    words = part.shape[1]
    start = len(part) - DENSE
    table = np.zeros((_BYTES, 256, words), np.uint64)
    for byte in range(_BYTES):
        for bit in range(8):
            number = 8 * byte + bit
            for word in range(words):
                slot = part[start + number, word] if number < DENSE else np.uint64(0)
                for rest in range(1 << bit):
                    table[byte, (1 << bit) + rest, word] = table[byte, rest, word] ^ slot
    return table
