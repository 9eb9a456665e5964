"""Conjunctions of XOR-shared words, and bits as they travel: eight in a byte."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation
from tallystick_node.engines.compiled import compiled
from tallystick_node.engines.mpc.protocol import Binary, Words, word_type
from tallystick_node.engines.mpc.prss import BLOCK, blocks
from tallystick_node.engines.mpc.replicated.seat import Seat

Bytes = NDArray[np.uint8]


def conjunction(seat: Seat, left: Binary, right: Binary) -> Binary:
    """Left and right, bit by bit: from each party one word of the array's type an element, or a bit where the width is 1."""
    if left.width != right.width or left.shape != right.shape:
        raise ValueError(f"words of {left.width} and {right.width} bits, shapes {left.shape} and {right.shape}, do not match")
    (x, x_next), (y, y_next) = [[packed(part, left.width) for part in each.parts] for each in (left, right)]
    out = np.empty(x.size, np.uint8)
    for block in blocks(out.size, 8 * BLOCK):
        count = block.stop - block.start
        masks = seat.prss.own.passing(count, np.uint8), seat.prss.after.passing(count, np.uint8)
        _conjunction(x[block], x_next[block], y[block], y_next[block], *masks, out[block])
    clear_above(out, left.width)
    theirs = seat.reshare(out)
    parts = [unpacked(seat, seat.after, each, left.shape, left.width) for each in (out, theirs)]
    return Binary((parts[0], parts[1]), left.width)


def packed(words: Words, width: int) -> Bytes:
    """The bytes of words; bits are packed, eight in a byte."""
    flat = np.ascontiguousarray(words).reshape(-1)
    return np.packbits(flat) if width == 1 else flat.view(np.uint8)


def unpacked(seat: Seat, peer: int, given: Bytes, shape: tuple[int, ...], width: int) -> Words:
    """The words of :func:`packed` bytes that ``peer`` sent. Raises ProtocolViolation naming it for bits above the width."""
    count = int(np.prod(shape, dtype=np.int64))
    if width == 1:
        return np.unpackbits(given, count=count).reshape(shape)
    words = given.view(word_type(width))
    if width < 8 * words.itemsize and (words >> words.dtype.type(width)).any():
        raise ProtocolViolation(peer, seat.step, f"sent words of more than {width} bits")
    return words.reshape(shape)


def clear_above(given: Bytes, width: int) -> None:
    """Clear what a mask left above the width, so that the parts still XOR to words of that width."""
    kind: Any = word_type(width)
    if 1 < width < 8 * np.dtype(kind).itemsize:
        words = given.view(kind)
        words &= kind((1 << width) - 1)


@compiled
def _conjunction(x: Bytes, x_next: Bytes, y: Bytes, y_next: Bytes, mask: Bytes, mask_next: Bytes, out: Bytes) -> None:
    for i in range(out.size):
        out[i] = (x[i] & (y[i] ^ y_next[i])) ^ (x_next[i] & y[i]) ^ mask[i] ^ mask_next[i]
