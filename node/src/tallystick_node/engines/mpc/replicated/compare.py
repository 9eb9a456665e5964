"""The top bit of replicated secrets: comparison with zero, exact for every ring element.

Party 0 knows a = x_0 + x_1, parties 1 and 2 know b = x_2. The top bit of a + b is that of a, that of b and the carry into it,
which a tree finds from pairs (generate, propagate) of digits. For digits of two bits these are

    G = a'b' + a'a b + a b'b       P = a'a + a'b + a b' + b'b       (over GF(2); a' and b' are the upper bits)

and so linear in a', a and a'a: party 0 shares those between parties 1 and 2, who get their parts of all 32 digits without a
further message, exchange them once to hold a replicated sharing, and the tree of (G_h + P_h G_l, P_h P_l) takes five levels of
conjunctions.

Cost over all parties, an element: 12 bytes from party 0, 16 between parties 1 and 2, and 12 + 6 + 3 + 1.5 + 0.375 in the tree:
50.875 bytes, 7 rounds. The number of elements is rounded up to a multiple of 8.

Privacy: party 2 gets the digits less bytes of K_1; parties 1 and 2 exchange parts masked by bytes of K_1 and K_0; the tree's parts
are masked by a sharing of zero. Each mask is unknown to the receiver, so that every message is uniform to it.

Source: the trick that two of three parties' parts are one operand is Mohassel and Rindal's (ABY3, CCS 2018); the carry tree is that
of parallel-prefix adders (Brent and Kung, 1982).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled, inlined
from tallystick_node.engines.mpc.prss import Unsigned, blocks
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

Bits = NDArray[np.uint8]
Halves = NDArray[np.uint32]
LOW = 0xFFFFFFFF


def negative(seat: Seat, secret: tuple[Ring, Ring]) -> tuple[Bits, Bits]:
    """The top bit of each element, as XOR-shared bits of the array's shape."""
    shape, size = secret[0].shape, secret[0].size
    padded = -(-size // 8) * 8
    first, second = (_padded(part, padded) for part in secret)
    tops = np.empty(padded, np.uint8), np.empty(padded, np.uint8)  # the part of the top bit that needs no carry
    part: NDArray[Any]
    if seat.index == 0:
        part = _first_digits(seat, first, second, tops)
    else:
        part = _other_digits(seat, second if seat.index == 1 else first, tops)
    pair: tuple[NDArray[Any], NDArray[Any]] = (part, seat.reshare(part))
    tree: tuple[tuple[Callable[..., None], Unsigned, int], ...] = (
        (_to_eight, np.uint16, padded),
        (_to_four, np.uint8, padded),
        (_to_two, np.uint8, padded // 2),
        (_to_one, np.uint8, padded // 8),
    )
    for level, kind, length in tree:
        part = np.empty(length, kind)
        masks = seat.prss.own.elements((length,), kind), seat.prss.after.elements((length,), kind)
        level(*pair, *masks, part)
        pair = (part, seat.reshare(part))
    for carries, top in zip(pair, tops, strict=True):
        _unpack(carries, top)
    return tops[0][:size].reshape(shape), tops[1][:size].reshape(shape)


def _first_digits(seat: Seat, first: Ring, second: Ring, tops: tuple[Bits, Bits]) -> Halves:
    """Party 0: shares its digits; its part of the tree's first level follows from bytes that it shares with the others."""
    size = first.size
    message = np.empty(12 * size, np.uint8)
    words, halves = message[: 8 * size].view(np.uint64), message[8 * size :].view(np.uint32)
    out = np.empty(size, np.uint32)
    for block in blocks(size):
        count = block.stop - block.start
        mask_words, mask_halves, y, zero_next = drawn(seat.prss.after.passing(24 * count, np.uint8), 8, 4, 8, 4)
        x, zero = drawn(seat.prss.own.passing(12 * count, np.uint8), 8, 4)
        deal_digits(first[block], second[block], np.uint64(1), mask_words, mask_halves, words[block], halves[block])
        _to_sixteen(x, y, zero, zero_next, out[block], tops[0][block], tops[1][block])
    seat.send(2, message)
    return out


def _other_digits(seat: Seat, b: Ring, tops: tuple[Bits, Bits]) -> Halves:
    """Parties 1 and 2."""
    size, second = b.size, seat.index == 1
    other = 2 if second else 1
    kept, zeros, mine = np.empty(size, np.uint64), np.empty(size, np.uint32), np.empty(size, np.uint64)
    if not second:
        message = seat.receive(0, (12 * size,), np.uint8)
        words, halves = message[: 8 * size].view(np.uint64), message[8 * size :].view(np.uint32)
    for block in blocks(size):
        count = block.stop - block.start
        if second:
            given, given_halves, mask, zero = drawn(seat.prss.own.passing(24 * count, np.uint8), 8, 4, 8, 4)
        else:
            given, given_halves = words[block], halves[block]
            mask, zero = drawn(seat.prss.after.passing(12 * count, np.uint8), 8, 4)
        _join(b[block], given, given_halves, mask, seat.index, mine[block])
        kept[block], zeros[block] = mask, zero
    mine ^= seat.exchange(other, mine, other)
    out = np.empty(size, np.uint32)
    pair, others = ((kept, mine), seat.prss.after) if second else ((mine, kept), seat.prss.own)
    for block in blocks(size):
        mask = others.passing(block.stop - block.start, np.uint32)
        _to_sixteen(pair[0][block], pair[1][block], zeros[block], mask, out[block], tops[0][block], tops[1][block])
    return out


def _padded(part: Ring, size: int) -> Ring:
    flat = np.ascontiguousarray(part).reshape(-1)
    return flat if flat.size == size else np.concatenate([flat, np.zeros(size - flat.size, np.uint64)])


def drawn(drawn: NDArray[np.uint8], *sizes: int) -> list[NDArray[Any]]:
    """Bytes as arrays of words of these sizes in bytes, as many of each."""
    count, start, out = len(drawn) // sum(sizes), 0, []
    for size in sizes:
        out.append(drawn[start : start + size * count].view(np.uint64 if size == 8 else np.uint32))
        start += size * count
    return out


@inlined
def by_digits(word: np.uint64) -> np.uint64:
    """Upper bits of the two-bit digits to the upper half, lower bits to the lower; digits in bit-reversed order of their number, so
    that neighbours are a half apart at each level of the tree. That is the reversal of the six bits of a bit's place."""
    moved = ((word >> np.uint64(31)) ^ word) & np.uint64(0x00000000AAAAAAAA)
    word = word ^ moved ^ (moved << np.uint64(31))
    moved = ((word >> np.uint64(14)) ^ word) & np.uint64(0x0000CCCC0000CCCC)
    word = word ^ moved ^ (moved << np.uint64(14))
    moved = ((word >> np.uint64(4)) ^ word) & np.uint64(0x00F000F000F000F0)
    return word ^ moved ^ (moved << np.uint64(4))


@compiled
def deal_digits(first: Ring, second: Ring, by: np.uint64, mask: Ring, mask_halves: Halves, words: Ring, halves: Halves) -> None:
    """The digits of a, and the products of their bits, masked. Moved up by a bit (``by`` is 1, not 0), so that the carry out is the
    carry into the top; the top bit takes the place that is free."""
    for i in range(first.size):
        a = first[i] + second[i]
        digits = by_digits(a << by)
        words[i] = (digits | ((a >> np.uint64(63)) & by)) ^ mask[i]
        halves[i] = np.uint32((digits >> np.uint64(32)) & digits & np.uint64(LOW)) ^ mask_halves[i]


@compiled
def _join(b: Ring, words: Ring, halves: Halves, mask: Ring, party: int, out: Ring) -> None:
    """A party's part of G (lower half) and P (upper half) of all digits, masked. P of the lowest digit is never used: its place
    takes the sum of the top bits."""
    for i in range(b.size):
        theirs = by_digits(b[i] << np.uint64(1))
        b_high, b_low = theirs >> np.uint64(32), theirs & np.uint64(LOW)
        top = words[i] & np.uint64(1)
        given = words[i] ^ top
        a_high, a_low, a_both = given >> np.uint64(32), given & np.uint64(LOW), np.uint64(halves[i])
        both = b_high & b_low
        generate = (a_high & b_high) ^ (a_both & b_low) ^ (a_low & both)
        propagate = a_both ^ (a_high & b_low) ^ (a_low & b_high)
        if party == 1:
            propagate ^= both
            top ^= b[i] >> np.uint64(63)
        propagate = (propagate & ~np.uint64(1)) | top
        out[i] = (generate | (propagate << np.uint64(32))) ^ mask[i]


@inlined
def _fold(x: np.uint64, y: np.uint64, quarter: np.uint64) -> np.uint64:
    """A party's part of one level: from 2 ``quarter`` digits, G below P, to half as many. Upper digits are in the upper halves."""
    low = (np.uint64(1) << quarter) - np.uint64(1)
    x_top, y_top = x >> (np.uint64(3) * quarter), y >> (np.uint64(3) * quarter)
    x_top |= x_top << quarter
    y_top |= y_top << quarter
    x_low = (x & low) | ((x >> quarter) & (low << quarter))
    y_low = (y & low) | ((y >> quarter) & (low << quarter))
    return (x_top & (x_low ^ y_low)) ^ (y_top & x_low) ^ ((x >> quarter) & low)


@compiled
def _to_sixteen(x: Ring, y: Ring, mask: Halves, mask_next: Halves, out: Halves, top: Bits, top_next: Bits) -> None:
    for i in range(out.size):
        out[i] = np.uint32(_fold(x[i], y[i], np.uint64(16))) ^ mask[i] ^ mask_next[i]
        top[i] = np.uint8((x[i] >> np.uint64(32)) & np.uint64(1))
        top_next[i] = np.uint8((y[i] >> np.uint64(32)) & np.uint64(1))


@compiled
def _to_eight(x: Halves, y: Halves, mask: NDArray[np.uint16], mask_next: NDArray[np.uint16], out: NDArray[np.uint16]) -> None:
    for i in range(out.size):
        out[i] = np.uint16(_fold(np.uint64(x[i]), np.uint64(y[i]), np.uint64(8))) ^ mask[i] ^ mask_next[i]


@compiled
def _to_four(x: NDArray[np.uint16], y: NDArray[np.uint16], mask: Bits, mask_next: Bits, out: Bits) -> None:
    for i in range(out.size):
        out[i] = np.uint8(_fold(np.uint64(x[i]), np.uint64(y[i]), np.uint64(4))) ^ mask[i] ^ mask_next[i]


@compiled
def _to_two(x: Bits, y: Bits, mask: Bits, mask_next: Bits, out: Bits) -> None:
    """Element i in the lower half of byte i, element i + n / 2 in its upper half."""
    half = out.size
    for i in range(half):
        low = _fold(np.uint64(x[i]), np.uint64(y[i]), np.uint64(2))
        high = _fold(np.uint64(x[i + half]), np.uint64(y[i + half]), np.uint64(2))
        out[i] = np.uint8(low | (high << np.uint64(4))) ^ mask[i] ^ mask_next[i]


@compiled
def _to_one(x: Bits, y: Bits, mask: Bits, mask_next: Bits, out: Bits) -> None:
    """The carry out, G_h + P_h G_l, of eight elements in each byte: those of four bytes, a quarter apart."""
    quarter = out.size
    for i in range(quarter):
        together = np.uint8(0)
        for group in range(4):
            a, b = x[i + group * quarter], y[i + group * quarter]
            high, high_next = a >> np.uint8(3), b >> np.uint8(3)
            carry = ((high & (a ^ b)) ^ (high_next & a) ^ (a >> np.uint8(1))) & np.uint8(0x11)
            together |= ((carry | (carry >> np.uint8(3))) & np.uint8(3)) << np.uint8(2 * group)
        out[i] = together ^ mask[i] ^ mask_next[i]


@compiled
def _unpack(carries: Bits, bits: Bits) -> None:
    """bits ^= the carries, in the order of :func:`_to_one`."""
    quarter = carries.size
    for group in range(4):
        for i in range(quarter):
            bits[i + group * quarter] ^= (carries[i] >> np.uint8(2 * group)) & np.uint8(1)
            bits[i + (group + 4) * quarter] ^= (carries[i] >> np.uint8(2 * group + 1)) & np.uint8(1)
