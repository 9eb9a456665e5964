"""How every intersection begins: both fix their items, then draw a salt together that neither could foresee.

1. ``bind``: each sends its number of items, a hash of its items under a nonce, and a hash of its half of the salt.
2. ``salt``: each opens its half. The salt separates runs, and it is drawn after the items are fixed: what a protocol says of its
   hashes holds for items that were chosen before them. A party that deviates can still use other items than it bound itself to.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_block
from tallystick_node.engines.psi.items import MAX_ITEMS, SALT, Items

BIND_BYTES = 72 + 32  # what each sends
STATISTICAL_BITS = 40


@dataclass(frozen=True)
class Bound:
    """A run whose two parties have fixed their items, as one of them sees it."""

    session: Session
    peer: int
    items: Items
    theirs: int  # how many items the peer has
    salt: bytes  # 32 bytes


@dataclass(frozen=True)
class Intersection:
    """What one party ends with."""

    peer_items: int
    positions: NDArray[np.int64] | None  # of own matched items, ascending; None when not a receiver of them
    cardinality: int | None  # None when not a receiver


def bind(session: Session, peer: int, items: Items, context: bytes) -> Bound:
    """Steps bind and salt. ``context`` (32 bytes) names the run and must be the same at both.

    Raises :class:`ProtocolViolation` when the peer opens another half of the salt than it was bound to, or has too many items.
    """
    channel = session.channels[peer]
    half = secrets.token_bytes(SALT)
    fixed = items.commitment(context + secrets.token_bytes(32))
    channel.mark("psi/bind")
    channel.send(len(items).to_bytes(8, "big") + fixed + _seal(context, session.index, half))
    bound = receive_block(channel, 72, "bind")
    number = int.from_bytes(bound[:8], "big")
    if number > MAX_ITEMS:
        raise ProtocolViolation(peer, "bind", f"it announces more than {MAX_ITEMS} items")
    channel.mark("psi/salt")
    channel.send(half)
    theirs = receive_block(channel, SALT, "salt")
    if not hmac.compare_digest(_seal(context, peer, theirs), bound[40:]):
        raise ProtocolViolation(peer, "salt", "its half of the salt is not the one it was bound to by its hash")
    halves = (half, theirs) if session.index < peer else (theirs, half)
    return Bound(session, peer, items, number, hashlib.sha256(context + b"salt" + b"".join(halves)).digest())


def tag_bytes(own: int, theirs: int) -> int:
    """Bytes of a tag that make a false match in a run less likely than 2^-40: 40 + log2(own) + log2(theirs) bits."""
    return -(-(STATISTICAL_BITS + max(own - 1, 0).bit_length() + max(theirs - 1, 0).bit_length()) // 8)


def _seal(context: bytes, party: int, half: bytes) -> bytes:
    return hashlib.sha256(context + b"half" + party.to_bytes(4, "big") + half).digest()
