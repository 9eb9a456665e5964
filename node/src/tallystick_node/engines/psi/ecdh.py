"""Two-party private set intersection by commutative exponentiation on Curve25519 (Meadows, IEEE S&P 1986; Huberman,
Franklin and Hogg, EC 1999; the cardinality variant: De Cristofaro, Gasti and Tsudik, CANS 2012).

Each party hashes its items to the curve, masks them with a secret scalar, shuffles and sends them; the other masks
them again. Equal items end as equal points, whichever mask came first. In mode ``ids`` a receiver's own doubly
masked items come back in the order it sent them, so it learns which of them the other has; in mode ``cardinality``
they come back shuffled, so it learns how many.

1. ``bind``: each sends its number of items, a hash of its items under a nonce, and a hash of its half of the salt.
2. ``salt``: each opens its half. The salt separates runs: masked items of one run are useless in another.
3. ``items`` and ``tags``, batch by batch in both directions: masked items; then doubly masked ones, cut to the
   40 + log2(nx) + log2(ny) bits that make a false match in the whole run less likely than 2^-40.

Security: semi-honest parties, decisional Diffie-Hellman in Curve25519 (about 126 bits), the hash to the curve a random
oracle. Both learn both sizes. Receivers learn the intersection, or its size; others learn nothing more. A party that
deviates can lie about its items, or answer wrongly; it cannot make the other's mask leak, since all points used are
of order divisible by the large prime and outputs of low order are refused.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_block, send_block
from tallystick_node.engines.psi import curve25519
from tallystick_node.engines.psi.curve25519 import POINT, Points

Mode = Literal["ids", "cardinality"]

BATCH = 1 << 15  # items masked between two messages
MAX_ITEMS = 1 << 26
STATISTICAL_BITS = 40

_DOMAIN = b"tallystick/v1/psi\0"


@dataclass(frozen=True)
class Intersection:
    """What one party ends with."""

    peer_items: int
    positions: NDArray[np.int64] | None  # of own matched items, ascending; None when not a receiver of ids
    cardinality: int | None  # None when not a receiver


def intersect(
    session: Session, items: Sequence[bytes], *, peer: int, receivers: Sequence[int], mode: Mode, context: bytes
) -> Intersection:
    """Intersect ``items`` with those of ``peer``; both pass the same receivers, mode and context (the task and attempt).

    Raises ``ValueError`` for duplicates and other local misuse, :class:`ProtocolViolation` naming the peer and the
    step, ``ChannelError`` for a lost peer.
    """
    pair = {session.index, peer}
    if peer not in session.channels or not receivers or not set(receivers) <= pair or mode not in ("ids", "cardinality"):
        raise ValueError("an intersection has two parties, one or both of them receivers, and mode ids or cardinality")
    if len(items) > MAX_ITEMS:
        raise ValueError(f"an intersection takes at most {MAX_ITEMS} items")
    if len(set(items)) != len(items):
        raise ValueError("items are unique: remove or group duplicates first")
    run = _Intersection(session, items, peer, set(receivers), mode, hashlib.sha256(_DOMAIN + context).digest())
    run.bind()
    own, theirs = run.exchange()
    if session.index not in receivers:
        return Intersection(run.peer_items, None, None)
    matched = np.isin(_keys(own), _keys(theirs))
    if mode == "cardinality":
        return Intersection(run.peer_items, None, int(matched.sum()))
    positions = np.sort(run.order[matched])
    return Intersection(run.peer_items, positions, len(positions))


def tag_bytes(own: int, theirs: int) -> int:
    """Bytes of a tag for sets of these sizes."""
    return -(-(STATISTICAL_BITS + own.bit_length() + theirs.bit_length()) // 8)


class _Intersection:
    """One run, as one party sees it."""

    def __init__(
        self, session: Session, items: Sequence[bytes], peer: int, receivers: set[int], mode: Mode, context: bytes
    ) -> None:
        self.session = session
        self.channel = session.channels[peer]
        self.items = items
        self.peer = peer
        self.mode = mode
        self.context = context
        self.receives = session.index in receivers
        self.peer_receives = peer in receivers
        self.peer_items = 0
        self.salt = b""
        self.order = _shuffled(len(items))

    def bind(self) -> None:
        """Steps bind and salt."""
        nonce, half = secrets.token_bytes(32), secrets.token_bytes(32)
        fixed = hashlib.sha256(self.context + nonce)
        for item in self.items:
            fixed.update(len(item).to_bytes(8, "big") + item)
        self.channel.mark("psi/bind")
        sealed = self._seal(self.session.index, half)
        self.channel.send(len(self.items).to_bytes(8, "big") + fixed.digest() + sealed)
        bound = receive_block(self.channel, 72, "bind")
        self.peer_items = int.from_bytes(bound[:8], "big")
        if self.peer_items > MAX_ITEMS:
            raise ProtocolViolation(self.peer, "bind", f"it announces more than {MAX_ITEMS} items")
        self.channel.mark("psi/salt")
        self.channel.send(half)
        theirs = receive_block(self.channel, 32, "salt")
        if not hmac.compare_digest(self._seal(self.peer, theirs), bound[40:]):
            raise ProtocolViolation(self.peer, "salt", "its half of the salt is not the one it was bound to by its hash")
        halves = (half, theirs) if self.session.index < self.peer else (theirs, half)
        self.salt = hashlib.sha256(self.context + b"salt" + b"".join(halves)).digest()

    def exchange(self) -> tuple[Points, Points]:
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
                hashed = curve25519.hash_to_curve([self.items[i] for i in mine], self.salt)
                send_block(self.channel, curve25519.multiply(hashed, scalar).tobytes())
            due = min(BATCH, max(0, self.peer_items - start))
            if due:
                theirs.append(self._mask_again(receive_block(self.channel, due * POINT, "items"), scalar, width))
                if self.peer_receives and self.mode == "ids":
                    send_block(self.channel, theirs[-1].tobytes())
            if len(mine) and self.receives and self.mode == "ids":
                own.append(_tags(receive_block(self.channel, len(mine) * width, "tags"), width))
            self.session.progress("psi", min(1.0, (start + BATCH) / batches.stop))
        self.channel.mark("psi/tags")
        tags = np.concatenate([np.empty((0, width), np.uint8), *theirs])
        if self.mode == "cardinality":
            if self.peer_receives:
                send_block(self.channel, tags[_shuffled(len(tags))].tobytes())
            if self.receives:
                own.append(_tags(receive_block(self.channel, len(self.items) * width, "tags"), width))
        return np.concatenate([np.empty((0, width), np.uint8), *own]), tags

    def _mask_again(self, packed: bytes, scalar: bytes, width: int) -> Points:
        points = curve25519.multiply(np.frombuffer(packed, np.uint8).reshape(-1, POINT), scalar)
        if not points.any(axis=1).all():
            raise ProtocolViolation(self.peer, "items", "it sent a point of low order")
        return np.ascontiguousarray(points[:, :width])

    def _seal(self, party: int, half: bytes) -> bytes:
        return hashlib.sha256(self.context + b"half" + party.to_bytes(4, "big") + half).digest()


def _shuffled(number: int) -> NDArray[np.int64]:
    """A secret uniform permutation: the order of 128 random bits a position (NumPy's own generators are not for secrets)."""
    noise = np.frombuffer(secrets.token_bytes(16 * number), np.uint64).reshape(-1, 2)
    return np.lexsort((noise[:, 0], noise[:, 1])).astype(np.int64)


def _tags(packed: bytes, width: int) -> Points:
    return np.frombuffer(packed, np.uint8).reshape(-1, width)


def _keys(tags: Points) -> NDArray[np.bytes_]:
    return np.ascontiguousarray(tags).view(f"S{tags.shape[1]}").ravel()
