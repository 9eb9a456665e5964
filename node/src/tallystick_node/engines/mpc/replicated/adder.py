"""Sums of a word that party 0 knows and one that parties 1 and 2 know: from ring elements to bits, and back.

Bit by bit the sum generates g = u ^ s d and propagates p = v ^ d, where party 0 knows u, v and s, and parties 1 and 2 know d. For
digits of two bits (upper bits with a prime)

    G = g' ^ p' g = (u' ^ v'u) ^ (s' ^ u) d' ^ v's d ^ s d'd        P = p'p = v'v ^ v'd ^ v d' ^ d'd

is linear in seven things that party 0 shares between parties 1 and 2, with u, which says where the lower bit of a digit carries.
A prefix tree (Sklansky, 1960) then finds the carry out of all 32 digits in five levels; at each, the 16 digits that change are
packed. One more conjunction carries from the lower to the upper bit of each digit.

``add``: x = a + b with a = x_0 + x_1 and b = x_2; here s = v = a, d = b and u = 0, so that party 0 shares a and a'a only.

``subtract``: of a Boolean word w = c ^ d with c = w_0 ^ w_1 and d = w_2, and y_0, y_1 drawn from the seeds K_0 and K_1, parties 1
and 2 open y_2 = w - (y_0 + y_1) to one another, as the complement of the sum of the complement of w and s = y_0 + y_1.

Cost over all parties, an element: 12 bytes (``subtract``: 32) from party 0, 24 between parties 1 and 2, 12 in each of four levels
and 6 in the last, 12 for the lower bits: 102 bytes, 8 rounds. ``subtract`` opens y_2 for another 16: 138 bytes, 9 rounds.

Privacy: as in comparison, each message is masked by bytes of a seed that its receiver does not hold, or is a part of what it is to
learn: y_2, which is uniform to parties 1 and 2, as each of them misses one of y_0 and y_1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled, inlined
from tallystick_node.engines.mpc.prss import BLOCK, Unsigned, blocks
from tallystick_node.engines.mpc.replicated.compare import LOW, Halves, by_digits, deal_digits, drawn
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

Pair = tuple[Ring, Ring]
HalfPair = tuple[Halves, Halves]
Deal = Callable[[slice, list[NDArray[Any]], list[NDArray[Any]]], None]  # block, masks, what is sent

_ADDED, _SUBTRACTED = (8, 4), (8, 8, 8, 8)  # bytes that party 0 shares of each element, word by word


def add(seat: Seat, secret: Pair) -> Pair:
    """The bits of ring elements, as XOR-shared words; parts are flat arrays."""

    def deal(block: slice, masks: list[NDArray[Any]], sent: list[NDArray[Any]]) -> None:
        deal_digits(secret[0][block], secret[1][block], np.uint64(0), *masks, *sent)

    return _total(seat, *_digits(seat, _ADDED, deal if seat.index == 0 else None, secret))


def subtract(seat: Seat, words: Pair) -> Pair:
    """The ring elements that XOR-shared words of 64 bits are; parts are flat arrays."""
    shape, prss = words[0].shape, seat.prss
    if seat.index == 0:
        y_0, y_1 = prss.own.elements(shape), prss.after.elements(shape)

        def deal(block: slice, masks: list[NDArray[Any]], sent: list[NDArray[Any]]) -> None:
            _deal_difference(words[0][block], words[1][block], y_0[block], y_1[block], *masks, *sent)

        _total(seat, *_digits(seat, _SUBTRACTED, deal, words))
        return y_0, y_1
    known = (prss.own if seat.index == 1 else prss.after).elements(shape)
    first, second = _total(seat, *_digits(seat, _SUBTRACTED, None, words))
    other, missing = (2, first) if seat.index == 1 else (1, second)
    y_2 = ~(first ^ second ^ seat.exchange(other, missing, other))
    return (known, y_2) if seat.index == 1 else (y_2, known)


def _digits(seat: Seat, sizes: tuple[int, ...], deal: Deal | None, secret: Pair) -> tuple[Pair, HalfPair, Pair]:
    """A sharing of G below P of all digits, of the carries of their lower bits, and of p of all bits. Only party 0 gives
    ``deal``."""
    size, width = secret[0].size, sum(sizes)
    masks, inner_masks = np.empty(size, np.uint64), np.empty(size, np.uint32)
    parts, inner = np.empty(size, np.uint64), np.empty(size, np.uint32)
    propagate = np.empty(size, np.uint64)
    if deal is not None:
        message = np.empty(width * size, np.uint8)
        sent = drawn(message, *sizes)
        for block in blocks(size):
            count = block.stop - block.start
            parts[block], *given, inner[block] = drawn(seat.prss.after.passing((width + 12) * count, np.uint8), 8, *sizes, 4)
            masks[block], inner_masks[block] = drawn(seat.prss.own.passing(12 * count, np.uint8), 8, 4)
            deal(block, given, [each[block] for each in sent])
            propagate[block] = given[0]
        seat.send(2, message)
        return (masks, parts), (inner_masks, inner), (sent[0], propagate)
    second = seat.index == 1
    d = np.empty(size, np.uint64)
    sent = drawn(np.empty(0, np.uint8) if second else seat.receive(0, (width * size,), np.uint8), *sizes)
    for block in blocks(size):
        count = block.stop - block.start
        if second:
            masks[block], *given, inner_masks[block] = drawn(seat.prss.own.passing((width + 12) * count, np.uint8), 8, *sizes, 4)
        else:
            given = [each[block] for each in sent]
            masks[block], inner_masks[block] = drawn(seat.prss.after.passing(12 * count, np.uint8), 8, 4)
        propagate[block] = given[0]
        if sizes == _ADDED:
            both = given[1].astype(np.uint64)
            given = [given[0], given[0], both | (both << np.uint64(32)), np.zeros(count, np.uint64)]
        v, s, products, u = given
        own = secret[1 if second else 0][block], v, s, products, u, masks[block], inner_masks[block]
        _join_digits(*own, seat.index, parts[block], inner[block], d[block])
    other = 2 if second else 1
    message = np.concatenate([parts.view(np.uint8), inner.view(np.uint8)])
    theirs, inner_theirs = drawn(seat.exchange(other, message, other), 8, 4)
    parts ^= theirs
    inner ^= inner_theirs
    if second:
        return (masks, parts), (inner_masks, inner), (propagate, d)
    return (parts, masks), (inner, inner_masks), (d, propagate)


def _total(seat: Seat, state: Pair, inner: HalfPair, propagate: Pair) -> Pair:
    """The sum, from its digits."""
    size = state[0].size
    for level in _LEVELS:
        kind: Unsigned = np.uint16 if level is _LEVELS[-1] else np.uint32  # of the last level, only G is needed
        part = _masked(seat, size, kind, _meet, (*state, level))
        theirs = seat.reshare(part)
        for each, message in zip(state, (part, theirs), strict=True):
            for block in blocks(size):
                _settle(each[block], message[block].astype(np.uint32), level)
    crossed = _masked(seat, size, np.uint32, _cross_digits, (*state, *propagate))
    theirs = seat.reshare(crossed)
    sums = np.empty(size, np.uint64), np.empty(size, np.uint64)
    for number, message in enumerate((crossed, theirs)):
        message ^= inner[number]
        _sum_bits(state[number], propagate[number], message, sums[number])
    return sums


def _masked(seat: Seat, size: int, kind: Unsigned, step: Callable[..., None], operands: tuple[NDArray[Any], ...]) -> NDArray[Any]:
    """What ``step`` makes of blocks of the operands (a level's constants pass whole), masked by a sharing of zero."""
    out, scratch = np.empty(size, kind), np.empty(BLOCK, np.uint32)
    for block in blocks(size):
        count = block.stop - block.start
        step(*[each if each.ndim == 2 else each[block] for each in operands], scratch[:count])
        out[block] = scratch[:count]
        out[block] ^= seat.prss.own.passing(count, kind)
        out[block] ^= seat.prss.after.passing(count, kind)
    return out


def _level(chunk: int) -> Ring:
    """The constants of a level: the digits' bit-reversed numbers that have the bit ``chunk`` change, and get what the last of the
    others before them has. Rows of shift and mask: to take the source, three to repeat it, four to pack what changes; four to
    unpack."""
    ones, both = (1 << chunk) - 1, (1 << 32) + 1

    def every(length: int, period: int) -> int:
        return both * sum(((1 << length) - 1) << start for start in range(0, 32, period))

    steps = [length for length in (1, 2, 4, 8) if length >= chunk]
    idle = [(0, 2**64 - 1)] * (4 - len(steps))
    active = every(chunk, 2 * chunk) << chunk
    rows = [(chunk, active), (32 - 2 * chunk, both * ones)]
    rows += [(2 * length, 0) for length in steps] + [(0, 0)] * (4 - len(steps))
    rows += [(length, every(2 * length, 4 * length)) for length in steps] + idle
    rows += idle + [(length, every(length, 2 * length)) for length in reversed(steps)]
    return np.array(rows, np.uint64)


_LEVELS = [_level(chunk) for chunk in (16, 8, 4, 2, 1)]


@compiled
def _deal_difference(
    w: Ring,
    w_next: Ring,
    y_0: Ring,
    y_1: Ring,
    mask_v: Ring,
    mask_s: Ring,
    mask_products: Ring,
    mask_u: Ring,
    v_out: Ring,
    s_out: Ring,
    products_out: Ring,
    u_out: Ring,
) -> None:
    """For the sum of ~c ^ d and s: with e = ~c, bits are u = e s, v = e ^ s."""
    half, low = np.uint64(32), np.uint64(LOW)
    for i in range(w.size):
        e, s = by_digits(~(w[i] ^ w_next[i])), by_digits(y_0[i] + y_1[i])
        u, v = e & s, e ^ s
        upper_v, lower_u = v >> half, u & low
        v_out[i] = v ^ mask_v[i]
        s_out[i] = s ^ (lower_u << half) ^ mask_s[i]
        products_out[i] = (((upper_v & s) & low) << half | (upper_v & v & low)) ^ mask_products[i]
        u_out[i] = (u ^ ((upper_v & lower_u) << half)) ^ mask_u[i]


@compiled
def _join_digits(
    words: Ring,
    v: Ring,
    s: Ring,
    products: Ring,
    u: Ring,
    mask: Ring,
    inner_mask: Halves,
    party: int,
    out: Ring,
    inner: Halves,
    d_out: Ring,
) -> None:
    """A party's part of G and P of all digits and of the carries of their lower bits, masked; and d in the order of digits."""
    half, low = np.uint64(32), np.uint64(LOW)
    for i in range(words.size):
        d = by_digits(words[i])
        d_out[i] = d
        upper, lower = d >> half, d & low
        both = upper & lower
        generate = (u[i] >> half) ^ ((s[i] >> half) & upper) ^ ((products[i] >> half) & lower) ^ (s[i] & both)
        propagate = (products[i] & low) ^ ((v[i] >> half) & lower) ^ (v[i] & upper)
        if party == 1:
            propagate ^= both
        out[i] = (generate | (propagate << half)) ^ mask[i]
        inner[i] = np.uint32((u[i] ^ (s[i] & lower)) & low) ^ inner_mask[i]


@compiled
def _meet(x: Ring, y: Ring, level: Ring, out: Halves) -> None:
    """A party's part of (P_h G_l, P_h P_l) where a level changes them: 16 bits of each, packed."""
    active, source, ones = level[0, 1], level[1, 0], level[1, 1]
    r0, r1, r2, r3 = level[2, 0], level[3, 0], level[4, 0], level[5, 0]
    chunk = level[0, 0]
    s0, s1, s2, s3 = level[6, 0], level[7, 0], level[8, 0], level[9, 0]
    m0, m1, m2, m3 = level[6, 1], level[7, 1], level[8, 1], level[9, 1]
    half = np.uint64(32)
    for i in range(x.size):
        ux, uy = x[i] >> half, y[i] >> half
        ux, uy = (ux | (ux << half)) & active, (uy | (uy << half)) & active
        vx, vy = ((x[i] >> source) & ones) << chunk, ((y[i] >> source) & ones) << chunk
        vx, vy = vx | (vx << r0), vy | (vy << r0)
        vx, vy = vx | (vx << r1), vy | (vy << r1)
        vx, vy = vx | (vx << r2), vy | (vy << r2)
        vx, vy = vx | (vx << r3), vy | (vy << r3)
        z = ((ux & (vx ^ vy)) ^ (uy & vx)) >> chunk
        z = (z | (z >> s0)) & m0
        z = (z | (z >> s1)) & m1
        z = (z | (z >> s2)) & m2
        z = (z | (z >> s3)) & m3
        out[i] = np.uint32(z | (z >> np.uint64(16)))


@compiled
def _settle(x: Ring, packed: Halves, level: Ring) -> None:
    """G ^= what came, P = what came, where a level changes them."""
    chunk, active = level[0, 0], level[0, 1]
    s0, s1, s2, s3 = level[10, 0], level[11, 0], level[12, 0], level[13, 0]
    m0, m1, m2, m3 = level[10, 1], level[11, 1], level[12, 1], level[13, 1]
    half, low = np.uint64(32), np.uint64(0xFFFF)
    for i in range(x.size):
        z = np.uint64(packed[i])
        z = (z & low) | ((z >> np.uint64(16)) << half)
        z = (z | (z << s0)) & m0
        z = (z | (z << s1)) & m1
        z = (z | (z << s2)) & m2
        z = (z | (z << s3)) & m3
        x[i] = (x[i] & ~((active >> half) << half)) ^ (z << chunk)


@inlined
def _carries(generate: np.uint64) -> np.uint64:
    """The carries into the lower bits of digits, in the order of digits, from those out of digits."""
    return by_digits(by_digits(generate << np.uint64(32)) << np.uint64(1))


@compiled
def _cross_digits(x: Ring, y: Ring, p: Ring, p_next: Ring, out: Halves) -> None:
    """A party's part of the carries through the lower bits of digits."""
    for i in range(x.size):
        carry, carry_next = _carries(x[i]), _carries(y[i])
        out[i] = np.uint32(((p[i] & (carry ^ carry_next)) ^ (p_next[i] & carry)) & np.uint64(LOW))


@compiled
def _sum_bits(x: Ring, p: Ring, upper: Halves, out: Ring) -> None:
    """The sum's bits in their places: p and the carries into lower and upper bits of digits."""
    for i in range(x.size):
        out[i] = by_digits(p[i] ^ _carries(x[i]) ^ (np.uint64(upper[i]) << np.uint64(32)))
