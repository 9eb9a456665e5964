"""How every intersection but :mod:`unbalanced` begins: all fix their items, then draw a salt together that none could foresee.

1. ``bind``: each sends its number of items, a hash of its items under a nonce, and a hash of its part of the salt.
2. ``salt``: each opens its part. The salt separates runs, and it is drawn after the items are fixed: what a protocol says of its
   hashes holds for items that were chosen before them. A party that deviates can still use other items than it bound itself to.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
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
    labels: NDArray[np.uint8] | None = None  # the peer's, of matched items, row by row as positions; None without labels


@dataclass(frozen=True)
class Prediction:
    """Of one run: bytes that each party sends, by its number; the rest of the party with most. Seconds are of two cores that all
    parties share."""

    bytes_sent: tuple[int, ...]
    rounds: int
    seconds: float
    memory_bytes: int


def bind(session: Session, peer: int, items: Items, context: bytes) -> Bound:
    """Steps bind and salt, of two parties. ``context`` (32 bytes) names the run and must be the same at both.

    Raises :class:`ProtocolViolation` when the peer opens another part of the salt than it was bound to, or has too many items.
    """
    sizes, salt = bind_all(session, [peer], items, context)
    return Bound(session, peer, items, sizes[peer], salt)


def bind_all(session: Session, peers: Sequence[int], items: Items, context: bytes) -> tuple[dict[int, int], bytes]:
    """Steps bind and salt: how many items each party has, this one too, and the salt (32 bytes). Raises like :func:`bind`."""
    parts = {session.index: secrets.token_bytes(SALT)}
    fixed = items.commitment(context + secrets.token_bytes(32))
    own = len(items).to_bytes(8, "big") + fixed + _seal(context, session.index, parts[session.index])
    sizes, sealed = {session.index: len(items)}, {}
    for peer in peers:
        session.channels[peer].mark("psi/bind")
        session.channels[peer].send(own)
    for peer in peers:
        bound = receive_block(session.channels[peer], 72, "bind")
        sizes[peer], sealed[peer] = int.from_bytes(bound[:8], "big"), bound[40:]
        if sizes[peer] > MAX_ITEMS:
            raise ProtocolViolation(peer, "bind", f"it announces more than {MAX_ITEMS} items")
    for peer in peers:
        session.channels[peer].mark("psi/salt")
        session.channels[peer].send(parts[session.index])
    for peer in peers:
        parts[peer] = receive_block(session.channels[peer], SALT, "salt")
        if not hmac.compare_digest(_seal(context, peer, parts[peer]), sealed[peer]):
            raise ProtocolViolation(peer, "salt", "its part of the salt is not the one it was bound to by its hash")
    return sizes, hashlib.sha256(context + b"salt" + b"".join(parts[party] for party in sorted(parts))).digest()


def tag_bytes(own: int, theirs: int, runs: int = 1) -> int:
    """Bytes of a tag that make a false match in any of so many runs less likely than 2^-40: 40 + log2(own) + log2(theirs) +
    log2(runs) bits."""
    bits = STATISTICAL_BITS + sum(max(number - 1, 0).bit_length() for number in (own, theirs, runs))
    return -(-bits // 8)


def _seal(context: bytes, party: int, half: bytes) -> bytes:
    return hashlib.sha256(context + b"half" + party.to_bytes(4, "big") + half).digest()
