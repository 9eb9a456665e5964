"""Labels: what a sender has beside its items, of which the receiver learns those of the items that match, and no other.

The oblivious function of an intersection, F, gives a tag *and* a one-time pad for each item: F(y) is hashed twice, under different
names. The sender sends, beside the tag of each of its items and in the order of the tags, the item's label XOR its pad. Whoever
knows F(y) finds the tag and takes the pad off; to others the label is random (as Chen, Huang, Laine and Rindal do, CCS 2018;
Freedman, Ishai, Pinkas and Reingold, TCC 2005, for retrieval by keyword in the same way). All labels have one width, so that
lengths tell nothing, and all are sent, whether they match or not.

Why a pad and no tag of its own on a label: the label is the sender's input. A sender who deviates may give an item any label, and
so could it if it were authenticated; a receiver must take every string of the width for some label, or an error of its would tell
the sender that the item matched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session, receive_array, send_array

MAX_WIDTH = 4096  # bytes

_SENT = 4 << 20  # bytes of labels between two messages, about

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]
Pads = Callable[[Places], Bytes]  # of these places among the items: one row of the width for each


@dataclass(frozen=True)
class Labels:
    """Of a run: how wide, in bytes, and at the sender the rows beside its items, of shape (items, width); None at the receiver."""

    width: int
    rows: Bytes | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_WIDTH:
            raise ValueError(f"a label has 1 to {MAX_WIDTH} bytes")

    def beside(self, items: int) -> Bytes:
        """The sender's rows. Raises ValueError unless there is one of the width for each item."""
        if self.rows is None or self.rows.shape != (items, self.width) or self.rows.dtype != np.uint8:
            raise ValueError("one label of the width for each item")
        return self.rows


def send(session: Session, peer: int, rows: Bytes, order: Places, pads: Pads) -> None:
    """Send the padded rows in an order, that of their tags."""
    for part in _parts(len(order), rows.shape[1]):
        places = order[part]
        send_array(session, peer, rows[places] ^ pads(places))


def receive(session: Session, peer: int, found: Places, width: int, pads: Pads) -> Bytes:
    """Of what :func:`send` sent the rows that match, in its order. ``found``: for each of the peer's items the place of the own
    item that equals it, or -1. Raises ProtocolViolation and ChannelError."""
    opened = [np.empty((0, width), np.uint8)]
    for part in _parts(len(found), width):
        own = found[part]
        sealed = receive_array(session, peer, (len(own), width), "labels", np.uint8)
        matched = np.flatnonzero(own >= 0)
        if len(matched):
            opened.append(sealed[matched] ^ pads(own[matched]))
    return np.concatenate(opened)


def of_point(name: bytes, point: bytes, width: int) -> bytes:
    """The pad of a function whose value is a point: SHAKE-256, as a random oracle, of it under a name."""
    return hashlib.shake_256(name + point).digest(width)


def _parts(rows: int, width: int) -> Iterator[slice]:
    size = max(1, _SENT // width)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
