"""Two-party private set intersection by commutative exponentiation on Curve25519 (Meadows, IEEE S&P 1986; Huberman,
Franklin and Hogg, EC 1999; the cardinality variant: De Cristofaro, Gasti and Tsudik, CANS 2012).

Each party hashes its items to the curve, masks them with a secret scalar, shuffles and sends them; the other masks
them again. Equal items end as equal points, whichever mask came first. In mode ``ids`` a receiver's own doubly
masked items come back in the order it sent them, so it learns which of them the other has; in mode ``cardinality``
they come back shuffled, so it learns how many.

1. :mod:`handshake`: sizes, then a salt. Masked items of one run are useless in another.
2. ``items`` and ``tags``, batch by batch in both directions: masked items; then doubly masked ones, cut to the
   40 + log2(nx) + log2(ny) bits that make a false match in the whole run less likely than 2^-40.

Security: semi-honest parties, decisional Diffie-Hellman in Curve25519 (about 126 bits), the hash to the curve a random
oracle. Both learn both sizes. Receivers learn the intersection, or its size; others learn nothing more. A party that
deviates can lie about its items, or answer wrongly; it cannot make the other's mask leak, since all points used are
of order divisible by the large prime and outputs of low order are refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, receive_block, send_block
from tallystick_node.engines.psi import curve25519
from tallystick_node.engines.psi.curve25519 import POINT, Points
from tallystick_node.engines.psi.handshake import Bound, Intersection, tag_bytes
from tallystick_node.engines.psi.items import Items

Mode = Literal["ids", "cardinality"]

BATCH = 1 << 15  # items masked between two messages


def exchange(run: Bound, receivers: Sequence[int], mode: Mode) -> Intersection:
    """What follows the handshake; both pass the same receivers and mode.

    Raises ``ValueError`` for duplicates, :class:`ProtocolViolation` naming the peer and the step, ``ChannelError`` for a lost peer.
    """
    if len(run.items.distinct()) != len(run.items):
        raise ValueError("items are unique: remove or group duplicates first")
    exchange_ = _Exchange(run, set(receivers), mode)
    own, theirs = exchange_.points()
    if run.session.index not in receivers:
        return Intersection(run.theirs, None, None)
    matched = np.isin(keys_of(own), keys_of(theirs))
    if mode == "cardinality":
        return Intersection(run.theirs, None, int(matched.sum()))
    positions = np.sort(exchange_.order[matched])
    return Intersection(run.theirs, positions, len(positions))


class _Exchange:
    """One run, as one party sees it."""

    def __init__(self, run: Bound, receivers: set[int], mode: Mode) -> None:
        self.session = run.session
        self.channel = run.session.channels[run.peer]
        self.items = run.items
        self.peer = run.peer
        self.mode = mode
        self.receives = run.session.index in receivers
        self.peer_receives = run.peer in receivers
        self.peer_items = run.theirs
        self.salt = run.salt
        self.order = shuffled(len(run.items))

    def points(self) -> tuple[Points, Points]:
        """Steps items and tags: own and the peer's doubly masked items, as tags, for a receiver."""
        scalar = curve25519.random_scalar()
        width = tag_bytes(len(self.items), self.peer_items)
        own: list[Points] = []
        theirs: list[Points] = []
        batches = range(0, max(len(self.items), self.peer_items), BATCH)
        self.channel.mark("psi/items")
        for start in batches:
            mine = self.order[start : start + BATCH]
            if len(mine):
                send_block(self.channel, masked(self.items, mine, self.salt, scalar))
            due = min(BATCH, max(0, self.peer_items - start))
            if due:
                theirs.append(masked_again(self.peer, receive_block(self.channel, due * POINT, "items"), scalar, width))
                if self.peer_receives and self.mode == "ids":
                    send_block(self.channel, theirs[-1].tobytes())
            if len(mine) and self.receives and self.mode == "ids":
                own.append(_tags(receive_block(self.channel, len(mine) * width, "tags"), width))
            self.session.progress("psi", min(1.0, (start + BATCH) / batches.stop))
        self.channel.mark("psi/tags")
        tags = np.concatenate([np.empty((0, width), np.uint8), *theirs])
        if self.mode == "cardinality":
            if self.peer_receives:
                send_block(self.channel, tags[shuffled(len(tags))].tobytes())
            if self.receives:
                own.append(_tags(receive_block(self.channel, len(self.items) * width, "tags"), width))
        return np.concatenate([np.empty((0, width), np.uint8), *own]), tags


def masked(items: Items, places: NDArray[np.int64], salt: bytes, scalar: bytes) -> bytes:
    """The items at these places as points, multiplied by the scalar."""
    hashed = curve25519.hash_to_curve([items[i] for i in places], salt)
    return curve25519.multiply(hashed, scalar).tobytes()


def masked_again(peer: int, packed: bytes, scalar: bytes, width: int) -> Points:
    """What a peer masked, multiplied by the scalar and cut to ``width`` bytes. Raises ProtocolViolation for low order."""
    points = curve25519.multiply(np.frombuffer(packed, np.uint8).reshape(-1, POINT), scalar)
    if not points.any(axis=1).all():
        raise ProtocolViolation(peer, "items", "it sent a point of low order")
    return np.ascontiguousarray(points[:, :width])


def shuffled(number: int) -> NDArray[np.int64]:
    """A secret uniform permutation: the order of 128 random bits a position (NumPy's own generators are not for secrets)."""
    noise = np.frombuffer(secrets.token_bytes(16 * number), np.uint64).reshape(-1, 2)
    return np.lexsort((noise[:, 0], noise[:, 1])).astype(np.int64)


def _tags(packed: bytes, width: int) -> Points:
    return np.frombuffer(packed, np.uint8).reshape(-1, width)


def keys_of(tags: Points) -> NDArray[np.bytes_]:
    """Tags as NumPy's byte strings, to be compared whole."""
    return np.ascontiguousarray(tags).view(f"S{tags.shape[1]}").ravel()
