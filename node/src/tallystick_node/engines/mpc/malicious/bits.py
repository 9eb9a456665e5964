"""Random bits in both sharings, checked before use, and what they convert: bits to ring elements.

A random bit b = b_0 ^ b_1 ^ b_2, each known to two parties, becomes arithmetic like this: party 0 deals c = b_0 ^ b_1 as c_0 +
c_1, of which parties 2 and 1 know one each; with b_2, known to both, b = b_2 + (1 - 2 b_2) (c_0 + c_1), whose two terms they mask
and exchange.

A deviation adds an error to c or to the result, so that the arithmetic bit is wrong by e or by (1 - 2 b_2) e: never right by
chance. Bits are made in excess, some opened, the others compared in buckets (:mod:`buckets`), lane by lane: the XOR of two bits
of a bucket is opened, and the arithmetic ones must say the same. That difference can depend on b_2, but all bits of a failed
batch are thrown away before anything secret met them: no party goes on with a batch before all have found it right, since only one
of two honest parties may see that it is not.

To convert a secret bit x, open x ^ b: the arithmetic x is b or 1 - b. Nothing is left to check: the opening is certain."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation
from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.malicious.agreement import Agreement, derived
from tallystick_node.engines.mpc.malicious.buckets import permutation, random_depth
from tallystick_node.engines.mpc.protocol import word_type
from tallystick_node.engines.mpc.prss import Unsigned
from tallystick_node.engines.mpc.replicated.seat import Seat

Words = NDArray[Any]
Bits = NDArray[np.uint8]
Order = NDArray[np.uint32]
Pair = tuple[Words, Words]

LEAST = 1 << 12  # bits made at a time: fewer would need deep buckets
BATCH = 1 << 18  # bits made at most at a time: what is compared stays in cache
_LANES = (32, 16, 8, 4, 2, 1)  # bits that move together: the fewer rows, the fewer places that are out of the cache


class RandomBits:
    """Checked random bits, as many as are asked for, in rings of 32 and 64 bits; what is left over waits for the next time."""

    def __init__(self, seat: Seat, agreement: Agreement) -> None:
        self._seat = seat
        self._agreement = agreement
        self._left: dict[Unsigned, tuple[Pair, Pair]] = {}
        self._taken: dict[Unsigned, int] = {}

    def take(self, count: int, kind: Unsigned) -> tuple[Pair, Pair]:
        """``count`` bits: the parts of the Boolean ones (uint8), and of the arithmetic ones (``kind``)."""
        ready = [self._left.pop(kind)] if kind in self._left else []
        missing = count - sum(bits[0].size for bits, _ in ready)
        while missing > 0:
            likely = self._taken.get(kind, 0) // 2  # who took many takes more: long batches have shallow buckets
            ready.append(self._make(min(max(missing, LEAST, likely), BATCH), kind))
            missing -= ready[-1][0][0].size
        (bit, bit_next), (value, value_next) = ready[0] if len(ready) == 1 else _end_to_end(ready)
        self._taken[kind] = self._taken.get(kind, 0) + count
        if bit.size > count:
            self._left[kind] = (bit[count:], bit_next[count:]), (value[count:], value_next[count:])
        return (bit[:count], bit_next[:count]), (value[:count], value_next[:count])

    def _make(self, count: int, kind: Unsigned) -> tuple[Pair, Pair]:
        """At least ``count`` checked bits."""
        best = random_depth(count)
        lanes = next(each for each in _LANES if random_depth(max(1, count // each)) == best or each == 1)
        rows = -(-count // lanes)
        depth = random_depth(rows)
        made = rows * depth + depth
        bits, values = self._deal(made * lanes, kind)
        order = permutation(derived(self._agreement.coin(), b"buckets"), made)
        differ, key = self._open(bits, values, order, lanes, depth)
        kept = order[depth : depth + rows]
        first = _rows(values, kept, lanes)
        self._compare(differ, first, values, order, lanes, depth, key)
        return _rows(bits, kept, lanes), first

    def _deal(self, count: int, kind: Unsigned) -> tuple[Pair, Pair]:
        """Unchecked bits: half a message of one element from each party for each bit."""
        seat, prss = self._seat, self._seat.prss
        packed = -(-count // 8)
        bits = tuple(np.unpackbits(stream.elements((packed,), np.uint8), count=count) for stream in (prss.own, prss.after))
        if seat.index == 0:
            mask, first, second = (stream.elements((count,), kind) for stream in (prss.own, prss.own, prss.after))
            dealt = np.empty(count, kind)
            _dealt(bits[0], bits[1], mask, dealt)
            seat.send(1, dealt)
            return (bits[0], bits[1]), (first, second)
        if seat.index == 1:
            first = prss.own.elements((count,), kind)
            dealt, known, other = seat.receive(0, (count,), kind), bits[1], 2
        else:
            dealt, first = prss.after.elements((count,), kind), prss.after.elements((count,), kind)
            known, other = bits[0], 1
        term = np.empty(count, kind)
        _selected(known, dealt, first, term)
        theirs = seat.exchange(other, term, other)
        total = np.empty(count, kind)
        _total(known, term, theirs, total)
        return (bits[0], bits[1]), ((first, total) if seat.index == 1 else (total, first))

    def _open(self, bits: Pair, values: Pair, order: Order, lanes: int, depth: int) -> tuple[Bits, bytes]:
        """Open some bits whole, and how the others differ from the first of their bucket; confirm both."""
        whole = [_rows(each, order[:depth], lanes) for each in (bits, values)]
        thirds = [self._agreement.open(*pair) for pair in whole]
        size = (order.size - depth) // depth * lanes * (depth - 1)
        own = []
        for part in bits:
            words, width = _words(part, lanes)
            differ = np.empty(size // lanes * width, words.dtype)
            _differ(words, order[depth:], depth, width, differ)
            own.append(np.packbits(differ.view(np.uint8)))
        third = self._agreement.open(own[0], own[1])
        key = self._agreement.confirm()
        opened = whole[0][0] ^ whole[0][1] ^ thirds[0]
        if not np.array_equal(opened.astype(values[0].dtype), whole[1][0] + whole[1][1] + thirds[1]):
            raise ProtocolViolation(self._seat.after, self._seat.step, "it or the party before made a wrong random bit")
        return np.unpackbits(own[0] ^ own[1] ^ third, count=size), key

    def _compare(self, differ: Bits, first: Pair, values: Pair, order: Order, lanes: int, depth: int, key: bytes) -> None:
        held, due = np.empty(differ.size, values[0].dtype), np.empty(differ.size, values[0].dtype)
        size = differ.size // (depth - 1)
        rows, public = size // lanes, (int(self._seat.index == 0), int(self._seat.index == 2))
        for layer in range(1, depth):
            other = _rows(values, order[depth + layer * rows : depth + (layer + 1) * rows], lanes)
            place = slice((layer - 1) * size, layer * size)
            _gaps(differ[place], first[0], first[1], other[0], other[1], *public, held[place], due[place])
        self._agreement.compare(held, due)
        self._agreement.confirm(key)
        self._agreement.unanimous()


def arithmetic(seat: Seat, agreement: Agreement, random: tuple[Pair, Pair], bits: Pair) -> Pair:
    """Secret bits as ring elements: one eighth of a byte from each party and 32 bytes, one round. ``random`` is used up. Raises
    ProtocolViolation where the two holders of an opened part differ."""
    masked = [np.packbits(bit ^ mask) for bit, mask in zip(bits, random[0], strict=True)]
    third = agreement.reveal(masked[0], masked[1])
    assert third is not None  # all receive
    flipped = np.unpackbits(masked[0] ^ masked[1] ^ third, count=bits[0].size)
    parts = []
    for value, holder in zip(random[1], (0, 2), strict=True):
        out = np.empty_like(value)
        _flip(flipped, value, int(seat.index == holder), out)
        parts.append(out)
    return parts[0], parts[1]


def _end_to_end(batches: list[tuple[Pair, Pair]]) -> tuple[Pair, Pair]:
    bit, bit_next, value, value_next = (
        np.concatenate([batch[side][part] for batch in batches]) for side in (0, 1) for part in (0, 1)
    )
    return (bit, bit_next), (value, value_next)


def _rows(pair: Pair, chosen: Order, lanes: int) -> Pair:
    out = tuple(np.empty(chosen.size * lanes, part.dtype) for part in pair)
    for part, rows in zip(pair, out, strict=True):
        words, width = _words(part, lanes)
        _gather(words, chosen, width, rows.view(words.dtype))
    return out[0], out[1]


def _words(part: Words, lanes: int) -> tuple[Words, int]:
    """Elements as the longest words that fill a row of ``lanes``, and how many do."""
    size = lanes * part.itemsize
    word = word_type(min(64, 8 * size))
    return part.view(word), size // np.dtype(word).itemsize


@compiled
def _gather(words: Words, chosen: Order, width: int, out: Words) -> None:
    for i in range(chosen.size):
        start = np.int64(chosen[i]) * width
        for k in range(width):
            out[i * width + k] = words[start + k]


@compiled
def _differ(words: Words, order: Order, depth: int, width: int, out: Words) -> None:
    """Each row of a bucket but the first, XOR the first; bucket i has the rows i, i + n, i + 2 n in order."""
    count = order.size // depth
    for i in range(count):
        first = np.int64(order[i]) * width
        for layer in range(1, depth):
            other, place = np.int64(order[layer * count + i]) * width, ((layer - 1) * count + i) * width
            for k in range(width):
                out[place + k] = words[first + k] ^ words[other + k]


@compiled
def _dealt(bit: Bits, bit_next: Bits, mask: Words, out: Words) -> None:
    for i in range(out.size):
        out[i] = np.uint64(bit[i] ^ bit_next[i]) - np.uint64(mask[i])


@compiled
def _selected(known: Bits, dealt: Words, mask: Words, out: Words) -> None:
    for i in range(out.size):
        value, flag = np.uint64(dealt[i]), np.uint64(known[i])
        out[i] = value - flag * (value + value) - np.uint64(mask[i])


@compiled
def _total(known: Bits, one: Words, other: Words, out: Words) -> None:
    for i in range(out.size):
        out[i] = np.uint64(known[i]) + np.uint64(one[i]) + np.uint64(other[i])


@compiled
def _gaps(
    differ: Bits,
    first: Words,
    first_next: Words,
    other: Words,
    other_next: Words,
    public: int,
    public_next: int,
    held: Words,
    due: Words,
) -> None:
    """first - other where the bits are equal, first + other - 1 where they differ: zero. The second part, and what it must be."""
    one, one_next = np.uint64(public), np.uint64(public_next)
    for i in range(held.size):
        flag = np.uint64(differ[i])
        sign = flag + flag - np.uint64(1)
        a = np.uint64(first[i]) + np.uint64(other[i]) * sign - flag * one
        b = np.uint64(first_next[i]) + np.uint64(other_next[i]) * sign - flag * one_next
        held[i] = b
        due[i] = np.uint64(0) - a - b


@compiled
def _flip(flipped: Bits, value: Words, constant: int, out: Words) -> None:
    one = np.uint64(constant)
    for i in range(out.size):
        flag, each = np.uint64(flipped[i]), np.uint64(value[i])
        out[i] = each + flag * (one - each - each)
