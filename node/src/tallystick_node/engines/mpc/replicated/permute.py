"""A uniform permutation that no party knows: three in a row, each known to two parties and not to the third.

Parties i - 1 and i hold x = u + v between them: party i - 1 takes u = x_{i-1}, party i takes v = x_i + x_{i+1}. Both move their
rows by a permutation drawn from seed K_i, mask them by bytes of K_i and send them to party i + 1, which does not hold K_i: the
new parts. After i = 0, 1, 2 every party misses one of the three permutations (Laur, Willemson and Zhang, ISC 2011).

Cost over all parties: 48 bytes for each element of each row, 3 rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.permutation import Order, permutation
from tallystick_node.engines.mpc.prss import blocks
from tallystick_node.engines.mpc.replicated.seat import Seat
from tallystick_node.engines.mpc.ring import Ring

Pair = tuple[Ring, Ring]


def shuffle(seat: Seat, columns: Sequence[Pair]) -> list[Pair]:
    """Arrays of one first dimension below 2^32, permuted along it by one permutation; all of them share the rounds."""
    lengths = {first.shape[0] for first, _ in columns}
    if len(lengths) != 1:
        raise ValueError("arrays that are permuted together have one first dimension")
    length = lengths.pop()
    shapes = [first.shape for first, _ in columns]
    flat = [(np.ascontiguousarray(first).reshape(-1), np.ascontiguousarray(second).reshape(-1)) for first, second in columns]
    for holder in range(3):
        flat = _one_pass(seat, holder, flat, length)
    return [(first.reshape(shape), second.reshape(shape)) for (first, second), shape in zip(flat, shapes, strict=True)]


def _one_pass(seat: Seat, holder: int, columns: list[Pair], length: int) -> list[Pair]:
    """The permutation of K_holder, known to the parties holder - 1 and holder; party holder + 1 gets two new parts."""
    giver, third = (holder - 1) % 3, (holder + 1) % 3
    sizes = [first.size for first, _ in columns]
    if seat.index == third:
        total = (sum(sizes),)
        upper, lower = seat.receive(holder, total), seat.receive(giver, total)
        return list(zip(_split(upper, sizes), _split(lower, sizes), strict=True))
    leads = seat.index == holder
    stream = seat.prss.own if leads else seat.prss.after
    order = permutation(stream, length)
    message, kept = np.empty(sum(sizes), np.uint64), np.empty(sum(sizes), np.uint64)
    for (first, second), out, keep in zip(columns, _split(message, sizes), _split(kept, sizes), strict=True):
        source = first + second if leads else first
        width = out.size // length if length else 0
        for block in blocks(length):
            part = slice(block.start * width, block.stop * width)
            masks = stream.passing(2 * (part.stop - part.start)).reshape(2, -1)
            own, other = masks if leads else masks[::-1]
            _gather(source, order[block], width, own, other, out[part], keep[part])
    seat.send(third, message)
    mine, sent = _split(kept, sizes), _split(message, sizes)
    return list(zip(mine, sent, strict=True)) if leads else list(zip(sent, mine, strict=True))


def _split(together: Ring, sizes: Sequence[int]) -> list[Ring]:
    return np.split(together, np.cumsum(sizes)[:-1])


@compiled
def _gather(source: Ring, order: Order, width: int, own: Ring, other: Ring, out: Ring, keep: Ring) -> None:
    """Rows in their new order, less their own masks; what both parties keep is the sum of both."""
    at = 0
    for row in order:
        start = np.int64(row) * width
        for column in range(width):
            out[at] = source[start + column] - own[at]
            keep[at] = own[at] + other[at]
            at += 1
