"""Many byte strings in one piece of memory, as PSI takes them: where each ends, and all of their bytes one after another."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled, inlined
from tallystick_node.engines.psi import blake2s

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]

SALT = 32  # bytes
MAX_ITEMS = 1 << 26

_STEP = 1 << 14  # items that are taken together where they are wanted one after another
_MULTIPLIER = np.uint64(0x9FB21C651E98DF25)
_SHIFT = np.uint64(29)


class Items(Sequence[bytes]):
    """Byte strings; ``offsets`` has one entry more than there are strings. Both arrays are contiguous, and stay as they are."""

    def __init__(self, offsets: Offsets, content: Bytes) -> None:
        if len(offsets) > MAX_ITEMS + 1:
            raise ValueError(f"an intersection takes at most {MAX_ITEMS} items")
        self._offsets = offsets
        self._content = content

    @classmethod
    def of(cls, items: Iterable[bytes]) -> Items:
        """Of single byte strings."""
        listed = list(items)
        offsets = np.cumsum([0, *(len(item) for item in listed)]).astype(np.int64)
        return cls(offsets, np.frombuffer(b"".join(listed), np.uint8))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Items: ...
    def __getitem__(self, index: int | slice) -> bytes | Items:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        if not -len(self) <= index < len(self):
            raise IndexError("no such item")
        place = index % len(self)
        return self._content[self._offsets[place] : self._offsets[place + 1]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self), _STEP):  # one by one takes a microsecond more for each
            ends = self._offsets[start : start + _STEP + 1]
            content = self._content[ends[0] : ends[-1]].tobytes()
            yield from (content[one:other] for one, other in pairwise((ends - ends[0]).tolist()))

    @property
    def arrays(self) -> tuple[Offsets, Bytes]:
        """Where each ends, from 0 on, and all bytes: what makes these items again."""
        first, last = self._offsets[0], self._offsets[-1]
        return self._offsets - first, self._content[first:last]

    def take(self, places: NDArray[np.int64]) -> Items:
        """The items at these places, in this order."""
        lengths = self._offsets[places + 1] - self._offsets[places]
        offsets = np.zeros(len(places) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        content = np.empty(int(offsets[-1]), np.uint8)
        _copy(self._offsets, self._content, places, offsets, content)
        return Items(offsets, content)

    def filled(self, size: int) -> Items:
        """These items and, up to ``size``, random strings of 32 bytes, which nobody else has."""
        more = size - len(self)
        first, last = self._offsets[0], self._offsets[-1]
        offsets = np.concatenate([self._offsets - first, (last - first) + 32 * np.arange(1, more + 1)])
        noise = np.frombuffer(secrets.token_bytes(32 * more), np.uint8)
        return Items(offsets, np.concatenate([self._content[first:last], noise]))

    def commitment(self, prefix: bytes) -> bytes:
        """SHA-256 of ``prefix``, the number of items, where each ends (8 bytes each, little-endian) and their bytes."""
        state = hashlib.sha256(prefix + len(self).to_bytes(8, "little"))
        state.update(np.ascontiguousarray(self._offsets - self._offsets[0])[1:].tobytes())
        state.update(self._content[self._offsets[0] : self._offsets[-1]].data)
        return state.digest()

    def hashes(self, salt: bytes) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """BLAKE2s-256 of each item, keyed with the salt: both halves, of shape (n, 2)."""
        return blake2s.keyed(salt, self._offsets, self._content)

    def distinct(self, which: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """The places of the first of each group of equal items, ascending; of those that ``which`` is true for."""
        kept = np.ones(len(self), np.bool_) if which is None else which
        size = 1 << max(4, (2 * len(self)).bit_length())
        seed = np.uint64(secrets.randbits(64))  # so that nobody can choose items that all fall together
        return _first_of_each(self._offsets, self._content, kept, np.full(size, -1, np.int32), seed)


@compiled
def _copy(offsets: Offsets, content: Bytes, places: NDArray[np.int64], out_offsets: Offsets, out: Bytes) -> None:
    for index in range(len(places)):
        start = offsets[places[index]]
        target = out_offsets[index]
        for byte in range(out_offsets[index + 1] - target):
            out[target + byte] = content[start + byte]


@inlined
def _mix(content: Bytes, start: int, end: int, seed: np.uint64) -> np.uint64:
    state = seed ^ np.uint64(end - start)
    for byte in range(start, end):
        state = (state ^ np.uint64(content[byte])) * _MULTIPLIER
        state ^= state >> _SHIFT
    return state * _MULTIPLIER


@compiled
def _first_of_each(
    offsets: Offsets, content: Bytes, kept: NDArray[np.bool_], table: NDArray[np.int32], seed: np.uint64
) -> NDArray[np.int64]:
    """Open addressing; items are compared byte for byte."""
    mask = np.uint64(len(table) - 1)
    first = np.empty(len(kept), np.int64)
    count = 0
    for index in range(len(kept)):
        if not kept[index]:
            continue
        start, end = offsets[index], offsets[index + 1]
        place = (_mix(content, start, end, seed) >> np.uint64(20)) & mask
        new = True
        while table[place] >= 0:
            other = offsets[table[place]]
            if offsets[table[place] + 1] - other == end - start:
                same = True
                for byte in range(end - start):
                    if content[other + byte] != content[start + byte]:
                        same = False
                        break
                if same:
                    new = False
                    break
            place = (place + np.uint64(1)) & mask
        if new:
            table[place] = np.int32(index)
            first[count] = index
            count += 1
    return first[:count].copy()
