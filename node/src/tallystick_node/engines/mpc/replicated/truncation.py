"""Exact truncation on replicated shares, and of products before they are shared.

Truncation never wraps by chance. Party 0 knows a, parties 1 and 2 know b, with x = a + b mod 2^64 (a = x_0 + x_1 and b = x_2, or
sums of masked parts of a product). For |x| < 2^62 and b moved up by 2^62, the sum of a and b wraps exactly when one of them has
its top bit: w = 1 - n_a n_b with n = 1 - top bit. So (a >> m) + (b >> m) - 2^(64-m) w is the shifted sum, but for a carry out of
the low bits, and n_a n_b is needed modulo 2^m only: 32 bits. Local truncation (Mohassel and Zhang, S&P 2017) instead fails with
probability |x| / 2^63 for each element, which is not rare for products.

Privacy: every message is masked by bytes of a seed that its receiver does not hold. Of the terms t_i of a product, party 1 sends
t_1 - F(K_2) to party 0, who adds t_0 + F(K_0), and party 2 sends b = t_2 + F(K_2) - F(K_0) to party 1. Party 2 gets (a >> m) and
n_a less bytes of K_1; parties 1 and 2 exchange parts of n_a n_b less bytes of K_1 and K_0.

What is long flows: a piece is shifted while the next is under way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.prss import blocks
from tallystick_node.engines.mpc.replicated.seat import Extent, Seat, turns
from tallystick_node.engines.mpc.ring import Ring

OFFSET = 1 << 62

Pair = tuple[Ring, Ring]
Terms = Callable[[slice], Ring]  # a party's terms of some rows, flat, in memory that the next call may write over


def truncate_terms(seat: Seat, extent: Extent, terms: Terms, bits: int) -> Pair:
    """Shift what all parties' terms add up to right: 36 bytes an element over all parties, 3 rounds."""
    _require_shift(bits)
    width, masked = extent[1], _masked(seat, terms)

    def told(by: int) -> Terms:
        return lambda piece: seat.receive(by, ((piece.stop - piece.start) * width,))

    if seat.index == 0:
        return _truncate_first(seat, extent, masked, told(1), bits)
    if seat.index == 1:
        return _truncate_second(seat, extent, told(2), bits, masked)
    return _truncate_third(seat, extent, masked, bits, tell=True)


def truncate_shares(seat: Seat, secret: Pair, bits: int) -> Pair:
    """Shift shared secrets right: 20 bytes an element over all parties, 2 rounds."""
    _require_shift(bits)
    shape, extent = secret[0].shape, (secret[0].size, 1)
    one, other = (np.ascontiguousarray(part).reshape(-1) for part in secret)
    if seat.index == 0:
        first, second = _truncate_first(seat, extent, one.__getitem__, other.__getitem__, bits)
    elif seat.index == 1:
        first, second = _truncate_second(seat, extent, other.__getitem__, bits)
    else:
        first, second = _truncate_third(seat, extent, one.__getitem__, bits)
    return first.reshape(shape), second.reshape(shape)


def _masked(seat: Seat, terms: Terms) -> Terms:
    """The terms as another party may see them: see the module."""
    own, after = seat.prss.own, seat.prss.after

    def parts(piece: slice) -> Ring:
        out = terms(piece)
        for block in blocks(out.size):
            count = block.stop - block.start
            if seat.index != 1:
                out[block] += own.passing(count)
            if seat.index != 0:
                out[block] -= after.passing(count)
        return out

    return parts


def _truncate_first(seat: Seat, extent: Extent, first: Terms, second: Terms, bits: int) -> Pair:
    """Party 0: sends party 2 (a >> bits) and n_a, each less a mask that party 1 knows; a is the sum of the parts."""
    out = _empty(extent)
    for group in turns(extent):
        with seat.flow():
            for piece in group:
                a, more = first(piece), second(piece)
                y_0, y_1 = _rows(out[0], extent, piece), _rows(out[1], extent, piece)
                message = np.empty(12 * a.size, np.uint8)
                shifted, not_top = _halves(message)
                for block in blocks(a.size):
                    count = block.stop - block.start
                    words, shorts, mask_1 = _masks(seat.prss.after.passing(16 * count, np.uint8), count)
                    mask_0 = seat.prss.own.passing(count, np.uint32)
                    outputs = shifted[block], not_top[block], y_0[block], y_1[block]
                    _open_first(a[block], more[block], words, shorts, mask_1, mask_0, np.uint64(bits), *outputs)
                seat.send(2, message)
    return out


def _truncate_second(seat: Seat, extent: Extent, b: Terms, bits: int, tell: Terms | None = None) -> Pair:
    """Party 1; ``tell`` are its terms that party 0 must be told."""
    first, second = _empty(extent)
    for group in turns(extent):
        if tell is not None:
            for piece in group:
                seat.send(0, tell(piece))
        with seat.flow():
            for piece in group:
                given, y_1, y_2 = b(piece), _rows(first, extent, piece), _rows(second, extent, piece)
                crossed = np.empty(given.size, np.uint32)
                for block in blocks(given.size):
                    count = block.stop - block.start
                    words, shorts, mask = _masks(seat.prss.own.passing(16 * count, np.uint8), count)
                    _cross(given[block], words, shorts, mask, np.uint64(bits), crossed[block], y_1[block], y_2[block])
                seat.send(2, crossed)
        for piece in group:
            y_2 = _rows(second, extent, piece)
            _add_lifted(y_2, seat.receive(2, y_2.shape, np.uint32), np.uint64(64 - bits))
    return first, second


def _truncate_third(seat: Seat, extent: Extent, b: Terms, bits: int, *, tell: bool = False) -> Pair:
    """Party 2; ``tell``: party 1 must be told b."""
    first, second = _empty(extent)
    for group in turns(extent):
        masks = []
        for piece in group:
            kept = _rows(first, extent, piece)
            kept[:] = b(piece)
            masks.append(seat.prss.after.elements(kept.shape, np.uint32))
            if tell:
                seat.send(1, kept)
        with seat.flow():
            for piece, mask in zip(group, masks, strict=True):
                y_2, y_0 = _rows(first, extent, piece), _rows(second, extent, piece)
                crossed = np.empty(y_2.size, np.uint32)
                words, shorts = _halves(seat.receive(0, (12 * y_2.size,), np.uint8))
                for block in blocks(y_2.size):
                    given = y_2[block].copy(), words[block], shorts[block], mask[block]
                    _cross(*given, np.uint64(bits), crossed[block], y_0[block], y_2[block])
                seat.send(1, crossed)
        for piece in group:
            y_2 = _rows(first, extent, piece)
            _add_lifted(y_2, seat.receive(1, y_2.shape, np.uint32), np.uint64(64 - bits))
    return first, second


def _empty(extent: Extent) -> Pair:
    size = extent[0] * extent[1]
    return np.empty(size, np.uint64), np.empty(size, np.uint64)


def _rows(flat: Ring, extent: Extent, piece: slice) -> Ring:
    return flat[piece.start * extent[1] : piece.stop * extent[1]]


def _require_shift(bits: int) -> None:
    if not 1 <= bits <= 31:
        raise ValueError("secrets are shifted by 1 to 31 bits")


def _halves(message: NDArray[np.uint8]) -> tuple[Ring, NDArray[np.uint32]]:
    """A message of 12 bytes an element: the words, then the half words."""
    size = 8 * (len(message) // 12)
    return message[:size].view(np.uint64), message[size:].view(np.uint32)


def _masks(drawn: NDArray[np.uint8], count: int) -> tuple[Ring, NDArray[np.uint32], NDArray[np.uint32]]:
    """16 bytes an element: a word and two half words."""
    return drawn[: 8 * count].view(np.uint64), drawn[8 * count : 12 * count].view(np.uint32), drawn[12 * count :].view(np.uint32)


@compiled
def _open_first(
    first: Ring,
    second: Ring,
    words: Ring,
    shorts: NDArray[np.uint32],
    mask_1: NDArray[np.uint32],
    mask_0: NDArray[np.uint32],
    bits: np.uint64,
    shifted: Ring,
    not_top: NDArray[np.uint32],
    y_0: Ring,
    y_1: Ring,
) -> None:
    lift = np.uint64(64) - bits
    for i in range(first.size):
        a = first[i] + second[i]
        rest = (a >> bits) - words[i]
        shifted[i] = rest
        not_top[i] = np.uint32(np.uint64(1) - (a >> np.uint64(63)) - np.uint64(shorts[i]))
        y_0[i] = rest + (np.uint64(mask_0[i]) << lift)
        y_1[i] = words[i] + (np.uint64(mask_1[i]) << lift)


@compiled
def _cross(
    b: Ring,
    words: Ring,
    shorts: NDArray[np.uint32],
    mask: NDArray[np.uint32],
    bits: np.uint64,
    crossed: NDArray[np.uint32],
    y: Ring,
    y_2: Ring,
) -> None:
    """This party's part of n_a n_b, masked; the part y of the result; and y_2 but for the other party's part of n_a n_b."""
    lift = np.uint64(64) - bits
    constant = (np.uint64(1) << lift) + (np.uint64(OFFSET) >> bits)
    for i in range(b.size):
        moved = b[i] + np.uint64(OFFSET)
        own = (np.uint64(1) - (moved >> np.uint64(63))) * np.uint64(shorts[i]) - np.uint64(mask[i])
        crossed[i] = np.uint32(own)
        y[i] = words[i] + (np.uint64(mask[i]) << lift)
        y_2[i] = (moved >> bits) - constant + (own << lift)


@compiled
def _add_lifted(out: Ring, shorts: NDArray[np.uint32], lift: np.uint64) -> None:
    for i in range(out.size):
        out[i] += np.uint64(shorts[i]) << lift
