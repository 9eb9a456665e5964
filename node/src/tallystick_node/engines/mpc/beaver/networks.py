"""Permutation networks (Benes 1964) of which one party knows the switches and the other, with a share of what passes, does not.

A network of 2^k wires has 2 k - 1 layers of 2^(k-1) switches. Layer t < k pairs wires that differ in bit t, and the layers after go
back the same way. Each switch is one random transfer (Mohassel and Sadeghian, EUROCRYPT 2013, section 3.1): the party that knows
the permutation chooses whether the two rows cross, and gets the difference between what the other party's rows were and what they
are then. What it gets is masked by the transfer, so it learns nothing; the other party receives nothing but the extension's
messages.

For each switch one transfer and 16 bytes for each word of a row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session, receive_array, send_array
from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.ring import Ring
from tallystick_node.engines.ot.extension import OtReceiver, OtSender

STEP = "switches"

Switches = NDArray[np.uint8]
Order = NDArray[np.int64]


def depth(rows: int) -> int:
    """k, for the smallest network of 2^k wires, two or more, that takes so many rows."""
    return max(1, (rows - 1).bit_length())


def route(order: Order) -> Switches:
    """The switches, of shape (2 k - 1, 2^(k-1)), that bring row ``order[i]`` to place i; 1 is crossed.

    ``order`` has 2^k elements. By the looping algorithm: an input and its partner go to different halves, and so do the outputs
    that they must reach."""
    size = len(order)
    levels = size.bit_length() - 1
    out = np.zeros((2 * levels - 1, size // 2), np.uint8)
    _route(order.copy(), levels, out)
    return out


def carry(session: Session, peer: int, transfers: OtSender, matrix: Ring) -> Ring:
    """Give rows, of shape (2^k, c), to be permuted by the peer's switches: this party's part of the permuted rows, whose other part
    the peer gets."""
    size, columns = matrix.shape
    matrix = matrix.copy()
    for layer in range(2 * depth(size) - 1):
        upper, lower = _wires(size, layer)
        zeros, ones = transfers.random(size // 2, 2 * columns)
        before = np.concatenate([matrix[upper], matrix[lower]], axis=1)
        after = before - zeros
        crossed = np.roll(before, columns, axis=1) - after
        session.channels[peer].mark(STEP)
        send_array(session, peer, crossed - ones)
        matrix[upper], matrix[lower] = after[:, :columns], after[:, columns:]
    return matrix


def direct(session: Session, peer: int, transfers: OtReceiver, switches: Switches, matrix: Ring) -> Ring:
    """Permute this party's rows and those that the peer gives with :func:`carry`: this party's part of the permuted rows."""
    size, columns = matrix.shape
    matrix = matrix.copy()
    for layer, crossed in enumerate(switches):
        upper, lower = _wires(size, layer)
        strings = transfers.random(crossed, 2 * columns)
        session.channels[peer].mark(STEP)
        corrections = receive_array(session, peer, (size // 2, 2 * columns), STEP)
        strings += corrections * crossed[:, None].astype(np.uint64)
        first, second = matrix[upper], matrix[lower]
        turned = crossed[:, None].astype(bool)
        matrix[upper] = np.where(turned, second, first) + strings[:, :columns]
        matrix[lower] = np.where(turned, first, second) + strings[:, columns:]
    return matrix


def _wires(size: int, layer: int) -> tuple[Order, Order]:
    """The wires that a layer's switches pair, in order of the lower-numbered."""
    levels = size.bit_length() - 1
    bit = min(layer, 2 * levels - 2 - layer)
    upper = np.flatnonzero((np.arange(size) >> bit & 1) == 0)
    return upper, upper + (1 << bit)


@compiled
def _route(order: Order, levels: int, out: Switches) -> None:
    size = len(order)
    place = np.empty(size, np.int64)  # where an input must go
    side = np.empty(size, np.uint8)  # the half that an output's row takes
    following = np.empty(size, np.int64)
    for level in range(levels):
        blocks = 1 << level
        length = size >> level
        last = level == levels - 1
        for block in range(blocks):
            # Wire i of the block is wire block + i << level of the network; pairs are 2 i and 2 i + 1.
            base = block * length
            for i in range(length):
                place[base + order[base + i]] = i
            for i in range(length):
                side[base + i] = np.uint8(2)
            for first in range(0, length, 2):
                output = first
                while side[base + output] == np.uint8(2):
                    side[base + output] = np.uint8(0)
                    partner = output ^ 1
                    side[base + partner] = np.uint8(1)
                    output = place[base + (order[base + partner] ^ 1)]
            for pair in range(length // 2):
                number = (pair << level) + block
                crossed_in = side[base + place[base + 2 * pair]]
                out[level, number] = crossed_in
                if not last:
                    out[2 * levels - 2 - level, number] = side[base + 2 * pair]
            if not last:
                half = length // 2
                for i in range(length):
                    # Output i comes over its half, as that half's output i // 2, from that half's input order // 2.
                    following[base + np.int64(side[base + i]) * half + i // 2] = order[base + i] // 2
        if not last:
            # Half h of block b is block b + h << level of the next level, in the order of the low bits of wires.
            half = size >> (level + 1)
            for block in range(blocks):
                for h in range(2):
                    source, target = block * 2 * half + h * half, (block + (h << level)) * half
                    for i in range(half):
                        order[target + i] = following[source + i]
