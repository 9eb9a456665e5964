"""Spot checks of an encoder's items: some rows of what it registered are opened, and their items are shown to be in its store.

After the encoder sent its store (:mod:`oprf`), and so fixed which items it can use, and before it gets a tag, both toss a coin:
the checker commits to a half, the encoder tells its own, the checker opens. The coin says which rows are opened. How a row is
opened, and is bound to what was registered, is the caller's: ``show(coin)`` gives the message and the places of the opened rows'
items among the encoder's, and ``check(coin, message, announced)`` those items, or raises ValueError saying what is wrong, also
where the encoder announced more items than there can be. The encoder sends a hash of the secret function's values at these items
under the salt. The checker computes the function and compares.

Soundness: at an item that it did not put in, the encoder would have to guess the value, of 128 bits. So an encoder whose store
lacks the items of a fraction f of its registered rows fails at k rows, drawn with replacement, with 1 - (1 - f)^k, before it learns
what matches: it is found, or breaks off when it knows the coin, as either can, and a further attempt is a further toss. It is not
found for what it put in besides: a store takes more items than were announced (:mod:`rr22`). Of the checker's items nothing is
shown. What the checker learns are the k rows, others in each attempt, and, of an encoder that deviates, that one of their items is
missing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_block, send_block
from tallystick_node.engines.okvs.store import Words
from tallystick_node.engines.psi.items import Items

Show = Callable[[bytes], tuple[bytes, NDArray[np.int64]]]
Check = Callable[[bytes, bytes, int], Items]

LARGEST = 16 << 20  # bytes of a message that opens rows

_STEP = "openings"
_HALF = 32


def show(session: Session, peer: int, salt: bytes, values: Words, shown: Show) -> None:
    """The encoder's side; ``values`` of the function at its items. Raises ProtocolViolation and ChannelError."""
    channel, half = session.channels[peer], secrets.token_bytes(_HALF)
    channel.mark("psi/openings")
    sealed = receive_block(channel, 32, _STEP)
    channel.send(half)
    other = receive_block(channel, _HALF, _STEP)
    if not hmac.compare_digest(_sealed(salt, other), sealed):
        raise ProtocolViolation(peer, _STEP, "its half of the coin is not the one it was bound to by its hash")
    message, places = shown(_coin(salt, half, other))
    channel.send(len(message).to_bytes(8, "big") + _proof(salt, values[places]))
    send_block(channel, message)


def check(session: Session, peer: int, salt: bytes, announced: int, function: Callable[[Items], Words], checked: Check) -> None:
    """The other side; ``announced`` items has the encoder, and ``function`` gives the values at items. Raises ProtocolViolation,
    naming the peer, and ChannelError."""
    channel, half = session.channels[peer], secrets.token_bytes(_HALF)
    channel.mark("psi/openings")
    channel.send(_sealed(salt, half))
    other = receive_block(channel, _HALF, _STEP)
    channel.send(half)
    session.patience(peer)  # it hashes all its rows
    head = receive_block(channel, 40, _STEP)
    size = int.from_bytes(head[:8], "big")
    if size > LARGEST:
        raise ProtocolViolation(peer, _STEP, f"it opens rows with more than {LARGEST} bytes")
    message = receive_block(channel, size, _STEP)
    try:
        items = checked(_coin(salt, other, half), message, announced)
    except ValueError as error:
        raise ProtocolViolation(peer, _STEP, str(error)) from None
    if not hmac.compare_digest(_proof(salt, function(items)), head[8:]):
        raise ProtocolViolation(peer, _STEP, "it did not compare the keys of the rows that it registered")


def _sealed(salt: bytes, half: bytes) -> bytes:
    return hashlib.sha256(salt + b"coin" + half).digest()


def _coin(salt: bytes, encoders: bytes, checkers: bytes) -> bytes:
    return hashlib.sha256(salt + b"rows" + encoders + checkers).digest()


def _proof(salt: bytes, values: Words) -> bytes:
    return hashlib.sha256(salt + b"opened" + np.ascontiguousarray(values).tobytes()).digest()
