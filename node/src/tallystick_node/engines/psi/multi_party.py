"""Private set intersection of three to eight parties: which items all of them have.

Kolesnikov, Matania, Pinkas, Rosulek and Trieu, "Practical Multi-Party Private Set Intersection from Symmetric-Key Techniques" (CCS
2017, section 5), with the stores and the oblivious function of RR22 (as Nevo, Trieu and Yanai, CCS 2021, do with others). One
receiver leads.

1. :mod:`handshake` among all: sizes, then a salt. Every pair of parties shares a key (``psi/keys``).
2. A party's share of an item is the XOR of AES-128 of its hash under all of the party's keys. Every key enters the shares of two
   parties: so an item's shares add up to zero over all parties.
3. With each of the others, one after another, the leader runs :mod:`oprf`: it learns the other's function at its own items.
4. ``psi/shares``: each of the others sends a store of its shares, masked by its function, at its items. At an item that both have
   the leader finds the share there, at others a random word.
5. An item that all have gives shares that add up to zero. ``psi/matches``: the leader tells other receivers the hashes of those
   items, sorted.

Security: augmented semi-honest, any number of colluding parties: what the leader and others learn together is the intersection
of the leader's items with those of the parties that do not collude, as if the colluding had put in the leader's items. The leader
alone learns the intersection of all. Assumptions: those of :mod:`oprf`, and AES-128 as a pseudo-random function. An item is found
wrongly with 2^-64, 2^-40 for 2^24 items. All learn all sizes.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from functools import partial

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, receive_block, send_array
from tallystick_node.engines.okvs.shape import Shape
from tallystick_node.engines.okvs.store import Words
from tallystick_node.engines.psi import oprf, tags
from tallystick_node.engines.psi.handshake import BIND_BYTES, Intersection, Prediction, bind_all
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.oprf import SEMI_HONEST, Hashed

FEWEST, MOST = 3, 8
MAX_ITEMS = 1 << 24  # of each
KEY = 16  # bytes

_DOMAIN = b"tallystick/v1/psi/many\0"
_TAG = 16
_TURN = b"\1"


def intersect_all(
    session: Session, items: Items, *, parties: Sequence[int], receivers: Sequence[int], context: bytes
) -> Intersection:
    """Intersect distinct ``items`` with those of all ``parties``, this one too; all pass the same parties, receivers and context.

    Raises ``ValueError`` for duplicates and other local misuse, :class:`ProtocolViolation` naming a peer and the step,
    ``ChannelError`` for a lost peer.
    """
    others = sorted(set(parties) - {session.index})
    if not FEWEST <= len(others) + 1 <= MOST or not set(others) <= set(session.channels) or session.index not in parties:
        raise ValueError(f"{FEWEST} to {MOST} parties of the session intersect")
    if not receivers or not set(receivers) <= set(parties):
        raise ValueError("one or more of the parties receive")
    if len(items) > MAX_ITEMS:
        raise ValueError(f"this intersection takes at most {MAX_ITEMS} items")
    if len(items.distinct()) != len(items):
        raise ValueError("items are unique: remove or group duplicates first")
    sizes, salt = bind_all(session, others, items, hashlib.sha256(_DOMAIN + context).digest())
    for peer in others:
        if sizes[peer] > MAX_ITEMS:
            raise ProtocolViolation(peer, "bind", f"it announces more than {MAX_ITEMS} items")
    largest = max(sizes[peer] for peer in others)
    matched = np.empty(0, np.int64)
    if min(sizes.values()):
        run = _Run(session, items, others, sizes, salt)
        leader = leads(receivers, sizes)
        matched = run.lead(receivers) if session.index == leader else run.follow(leader, receivers)
    if session.index not in receivers:
        return Intersection(largest, None, None)
    return Intersection(largest, np.sort(matched), len(matched))


def leads(receivers: Sequence[int], sizes: dict[int, int]) -> int:
    """The receiver with fewest items, of those the first."""
    return min(receivers, key=lambda party: (sizes[party], party))


class _Run:
    """One run after the handshake, as one party sees it."""

    def __init__(self, session: Session, items: Items, others: list[int], sizes: dict[int, int], salt: bytes) -> None:
        self._session, self._items, self._others, self._sizes, self._salt = session, items, others, sizes, salt
        self._keys = self._share_keys()

    def _share_keys(self) -> list[bytes]:
        keys = []
        for peer in self._others:
            channel = self._session.channels[peer]
            channel.mark("psi/keys")
            if self._session.index < peer:
                keys.append(secrets.token_bytes(KEY))
                channel.send(keys[-1])
        keys += [receive_block(self._session.channels[peer], KEY, "keys") for peer in self._others if peer < self._session.index]
        return keys

    def lead(self, receivers: Sequence[int]) -> NDArray[np.int64]:
        shape = Shape.of(len(self._items))
        hashed, store = oprf.own_store(shape, self._items, self._salt, SEMI_HONEST)
        total = self._shares(hashed)
        for number, peer in enumerate(self._others):
            self._session.channels[peer].mark("psi/turn")
            self._session.channels[peer].send(_TURN)
            _, values = oprf.learn(self._session, peer, shape, lambda: (hashed, store), SEMI_HONEST)
            theirs = Shape.of(self._sizes[peer])
            self._session.channels[peer].mark("psi/shares")
            shares = receive_array(self._session, peer, (theirs.total, 1), "shares")
            total ^= hashed.read(theirs, shares) ^ self._mask(values, self._session.index, peer)
            self._session.progress("psi", (number + 1) / len(self._others))
        matched = np.flatnonzero(total[:, 0] == 0)
        found = np.ascontiguousarray(hashed.places[matched])
        for peer in sorted(set(receivers) - {self._session.index}):
            self._session.channels[peer].mark("psi/matches")
            self._session.channels[peer].send(len(matched).to_bytes(8, "big"))
            tags.send_sorted(self._session, peer, found, _TAG)
        return matched

    def follow(self, leader: int, receivers: Sequence[int]) -> NDArray[np.int64]:
        session, channel = self._session, self._session.channels[leader]
        prepare = partial(Hashed.of, self._items, self._salt)
        channel.mark("psi/turn")
        session.patience(leader)  # for as long as it takes with those before
        receive_block(channel, len(_TURN), "turn")
        hashed, values = oprf.compute(session, leader, Shape.of(self._sizes[leader]), prepare, SEMI_HONEST)
        masked = self._shares(hashed) ^ self._mask(values, leader, session.index)
        channel.mark("psi/shares")
        send_array(session, leader, hashed.stored(Shape.of(len(self._items)), masked))
        if session.index not in receivers:
            return np.empty(0, np.int64)
        channel.mark("psi/matches")
        session.patience(leader)
        number = int.from_bytes(receive_block(channel, 8, "matches"), "big")
        if number > min(self._sizes.values()):
            raise ProtocolViolation(leader, "matches", "more items match than one of the parties has")
        first, second = tags.receive(session, leader, number, _TAG, "matches")
        found = tags.match(hashed.places, first, second, _TAG)
        if (found < 0).any():
            raise ProtocolViolation(leader, "matches", "it names an item that is not here")
        return found

    def _shares(self, hashed: Hashed) -> Words:
        """Of shape (n, 1): the XOR of AES-128 of every item's hash under all keys."""
        blocks = hashed.places.reshape(-1).view(np.uint8)
        total = np.zeros((len(hashed.places), 1), np.uint64)
        out = np.empty(len(blocks) + 16, np.uint8)  # OpenSSL's binding wants up to 15 bytes more than it fills
        for key in self._keys:
            cipher = Cipher(algorithms.AES128(key), modes.ECB()).encryptor()  # noqa: S305 - a function of distinct blocks
            cipher.update_into(blocks.data, out.data)
            total[:, 0] ^= out[: len(blocks)].view(np.uint64)[::2]
        return total

    def _mask(self, values: Words, leader: int, other: int) -> Words:
        """Of shape (n, 1): the function that the leader learns of another party, hashed."""
        pair = leader.to_bytes(4, "big") + other.to_bytes(4, "big")
        return np.ascontiguousarray(oprf.scrambled(values, hashlib.sha256(self._salt + pair).digest())[:, :1])


def predict(sizes: dict[int, int], receivers: Sequence[int]) -> Prediction:
    """What a run of parties with so many items will cost, if all items of the smallest set match. Bytes are within one per cent, or
    100 kB for each peer."""
    leader = leads(receivers, sizes)
    slots = Shape.of(sizes[leader]).total
    encoder, other = oprf.bytes_sent(slots, SEMI_HONEST.words)
    sent = []
    for party in sorted(sizes):
        begin = (len(sizes) - 1) * BIND_BYTES + KEY * sum(peer > party for peer in sizes)
        if party == leader:
            sent.append(begin + (len(sizes) - 1) * encoder + (len(receivers) - 1) * (8 + _TAG * min(sizes.values())))
        else:
            sent.append(begin + other + 8 * Shape.of(sizes[party]).total)
    items = sum(sizes.values()) + (len(sizes) - 1) * sizes[leader]
    return Prediction(tuple(sent), 4 * len(sizes), 0.4 * len(sizes) + 1.1e-6 * items, 250 * slots + 120 * max(sizes.values()))
