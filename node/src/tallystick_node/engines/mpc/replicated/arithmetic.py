"""Products and exact truncation on replicated shares: what each party computes and sends.

Truncation never wraps by chance. Party 0 knows a, parties 1 and 2 know b, with x = a + b mod 2^64 (a = x_0 + x_1 and b = x_2, or
sums of masked parts of a product). For |x| < 2^62 and b moved up by 2^62, the sum of a and b wraps exactly when one of them has
its top bit: w = 1 - n_a n_b with n = 1 - top bit. So (a >> m) + (b >> m) - 2^(64-m) w is the shifted sum, but for a carry out of
the low bits, and n_a n_b is needed modulo 2^m only: 32 bits. Local truncation (Mohassel and Zhang, S&P 2017) instead fails with
probability |x| / 2^63 for each element, which is not rare for products.

Privacy: every message is masked by bytes of a seed that its receiver does not hold. Party 2 gets (a >> m) and n_a less bytes of
K_1; parties 1 and 2 exchange parts of n_a n_b less bytes of K_1 and K_0."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.matrix import add_product
from tallystick_node.engines.mpc.prss import blocks
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

OFFSET = 1 << 62

Pair = tuple[Ring, Ring]
Part = NDArray[Any]  # of uint64 or uint32


def product(seat: Seat, left: tuple[Part, Part], right: tuple[Part, Part]) -> Part:
    """This party's masked part of the element-wise product, modulo 2^64 or 2^32: the three parts add up to it."""
    (x, x_next), (y, y_next) = _flat(left), _flat(right)
    kind = left[0].dtype.type
    out = np.empty(left[0].shape, kind)
    flat = out.reshape(-1)
    for block in blocks(flat.size):
        count = block.stop - block.start
        masks = seat.prss.own.passing(count, kind), seat.prss.after.passing(count, kind)
        _product(x[block], x_next[block], y[block], y_next[block], *masks, flat[block])
    return out


def matrix_product(seat: Seat, left: Pair, right: Pair) -> Ring:
    """This party's masked part of the matrix product.

    The nine products x_i y_j are five matrix products: party 0 takes (x_0 + x_1) (y_0 + y_1), party 1 what x_2 y_2 is part of, and
    party 2 the two that are left. Four are not enough: of two parties that take one product each, neither could leave x_j y_j to
    the other. A part that is zero, as one of a fresh input is, takes none."""
    (x, x_next), (y, y_next) = left, right
    if seat.index == 0:
        terms = [(x + x_next, y + y_next)]
    elif seat.index == 1:
        terms = [(x, y_next), (x_next, y + y_next)]
    else:
        terms = [(x, y_next), (x_next, y)]
    out = seat.prss.zero((x.shape[0], y.shape[1]))
    for one, other in terms:
        if one.any() and other.any():
            add_product(out, one, other)
    return out


def truncate_parts(seat: Seat, part: Ring, bits: int) -> Pair:
    """Shift secrets, given as masked parts that add up to them, right: 36 bytes an element over all parties, 3 rounds."""
    _require_shift(bits)
    if seat.index == 0:
        return _truncate_first(seat, (part, seat.receive(1, part.shape)), bits)
    if seat.index == 1:
        return _truncate_second(seat, seat.exchange(0, part, 2), bits)
    seat.send(1, part)
    return _truncate_third(seat, part, bits)


def truncate_shares(seat: Seat, secret: Pair, bits: int) -> Pair:
    """Shift shared secrets right: 20 bytes an element over all parties, 2 rounds."""
    _require_shift(bits)
    if seat.index == 0:
        return _truncate_first(seat, secret, bits)
    if seat.index == 1:
        return _truncate_second(seat, secret[1], bits)
    return _truncate_third(seat, secret[0], bits)


def _truncate_first(seat: Seat, parts: Pair, bits: int) -> Pair:
    """Party 0: sends party 2 (a >> bits) and n_a, each less a mask that party 1 knows; a is the sum of the parts."""
    shape, size = parts[0].shape, parts[0].size
    first, second = np.empty(shape, np.uint64), np.empty(shape, np.uint64)
    message = np.empty(12 * size, np.uint8)
    shifted, not_top = _halves(message)
    a, more = _flat(parts)
    y_0, y_1 = first.reshape(-1), second.reshape(-1)
    for block in blocks(size):
        count = block.stop - block.start
        words, shorts, mask_1 = _masks(seat.prss.after.passing(16 * count, np.uint8), count)
        mask_0 = seat.prss.own.passing(count, np.uint32)
        outputs = shifted[block], not_top[block], y_0[block], y_1[block]
        _open_first(a[block], more[block], words, shorts, mask_1, mask_0, np.uint64(bits), *outputs)
    seat.send(2, message)
    return first, second


def _truncate_second(seat: Seat, b: Ring, bits: int) -> Pair:
    """Party 1."""
    first, second = np.empty(b.shape, np.uint64), np.empty(b.shape, np.uint64)
    crossed = np.empty(b.size, np.uint32)
    flat, y_1, y_2 = np.ascontiguousarray(b).reshape(-1), first.reshape(-1), second.reshape(-1)
    for block in blocks(b.size):
        count = block.stop - block.start
        words, shorts, mask = _masks(seat.prss.own.passing(16 * count, np.uint8), count)
        _cross(flat[block], words, shorts, mask, np.uint64(bits), crossed[block], y_1[block], y_2[block])
    _add_lifted(y_2, seat.exchange(2, crossed, 2), np.uint64(64 - bits))
    return first, second


def _truncate_third(seat: Seat, b: Ring, bits: int) -> Pair:
    """Party 2."""
    first, second = np.empty(b.shape, np.uint64), np.empty(b.shape, np.uint64)
    crossed = np.empty(b.size, np.uint32)
    words, shorts = _halves(seat.receive(0, (12 * b.size,), np.uint8))
    flat, y_2, y_0 = np.ascontiguousarray(b).reshape(-1), first.reshape(-1), second.reshape(-1)
    for block in blocks(b.size):
        mask = seat.prss.after.passing(block.stop - block.start, np.uint32)
        _cross(flat[block], words[block], shorts[block], mask, np.uint64(bits), crossed[block], y_0[block], y_2[block])
    _add_lifted(y_2, seat.exchange(1, crossed, 1), np.uint64(64 - bits))
    return first, second


def _flat(pair: tuple[Part, Part]) -> tuple[Part, Part]:
    return np.ascontiguousarray(pair[0]).reshape(-1), np.ascontiguousarray(pair[1]).reshape(-1)


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
def _product(x: Part, x_next: Part, y: Part, y_next: Part, mask: Part, mask_next: Part, out: Part) -> None:
    for i in range(out.size):
        out[i] = x[i] * (y[i] + y_next[i]) + x_next[i] * y[i] + mask[i] - mask_next[i]


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
