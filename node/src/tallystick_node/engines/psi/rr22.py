"""Two-party private set intersection from an oblivious key-value store and vector oblivious linear evaluation.

Rindal and Raghuraman, "Blazing Fast PSI from Improved OKVS and Subfield VOLE" (CCS 2022), the semi-honest protocol in the shape
with least communication: values in K = GF(2^64), evaluations in K^2. With the encoder's n items x and the sender's y:

1. :mod:`handshake`: sizes, then a salt. Items are hashed by BLAKE2s under the salt.
2. :mod:`oprf`: the encoder learns a secret function's values at its items; the sender can compute it at every y.
3. ``psi/tags``: the sender sends hashes of the values at its items, sorted. The encoder knows the same values for the y that are
   among its x; another y's it would have to guess.
4. ``psi/matches``, where the sender is a receiver, too: the encoder says which of the tags it has, by one bit for each in their
   sorted order, and proves it by a hash of all their values.
5. ``psi/labels``, where the sender gives :mod:`labels` of its items to one receiver: after the tags and in their order, each masked
   by a pad, which is another hash of the value that the tag is a hash of.

The encoder is the receiver, or of two receivers the one with fewer items.

Security of ``SEMI_HONEST``: dual learning parity with noise for the encoder; for the sender, that tags are outputs of a
correlation-robust hash on values that its delta masks. An item y of the sender that the encoder does not have gives a tag that the
encoder can compute only if the store happens to decode to h(y) there: 2^-64 for each item, 2^-40 for 2^24 of the sender's, which
is the most that is allowed. Store failure: 2^-40 (:mod:`okvs.shape`). Both learn both sizes. An encoder that deviates can put in
more items than it announced, up to m; a sender that deviates can learn of guesses at single items whether they are there.

``MALICIOUS`` is secure with abort against either (Rindal and Schoppmann, EUROCRYPT 2021, figure 4, with this store): values and
evaluations in GF(2^128), the evaluation checked (:mod:`tallystick_node.engines.ot.silent.checked`), tags of 128 bits that BLAKE2s,
a random oracle, makes of a value and its item under a pad that both contribute to, the sender by a commitment before the
evaluation. It has one receiver: an encoder that told the other of matches could leave some out. An encoder can still put in up
to m items, the slots of its store, which is what the proof extracts: 1.23 n of many, 1541 for a thousand, 98 for ten. A sender can
make one tag stand for two items by 2^64 hashes.

Labels. Tag and pad together are one longer output of the function: in ``SEMI_HONEST`` hashes under different ideal permutations, in
``MALICIOUS`` BLAKE2s under different keys. So what is said of tags holds for labels: at an item that the encoder did not put in,
tag and pad are pseudo-random together, and the masked label with them. For the simulation against an encoder that deviates: its
items are extracted from the store before tags are sent, and the functionality gives the labels of those that match. Against such a
sender: the queries to the oracle that made a tag name value and item, hence the pad and the label that it put there. An encoder
that deviates gets labels of all items that it put in, up to m. A false match gives a label of noise.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, receive_block
from tallystick_node.engines.okvs.shape import Shape
from tallystick_node.engines.okvs.store import Words
from tallystick_node.engines.psi import blake2s, labels, openings, oprf, tags
from tallystick_node.engines.psi.handshake import Bound, Intersection, tag_bytes
from tallystick_node.engines.psi.items import Items
from tallystick_node.engines.psi.labels import Bytes, Labels
from tallystick_node.engines.psi.openings import Check, Show
from tallystick_node.engines.psi.oprf import MALICIOUS, SEMI_HONEST, Function, Hashed, Variant

MAX_ITEMS = 1 << 24  # of either
PAD = 32  # bytes


def exchange(
    run: Bound,
    receivers: Sequence[int],
    variant: Variant = SEMI_HONEST,
    labelled: Labels | None = None,
    *,
    shows: Show | None = None,
    checks: Check | None = None,
    runs: int = 1,
) -> Intersection:
    """What follows the handshake; both pass the same receivers (one, for ``MALICIOUS``, with labels and with openings), variant and
    width of labels. With openings the encoder ``shows`` rows, which the other ``checks``. ``runs``: of how many that are one
    intersection this is one, at both.

    Raises ``ValueError`` for duplicates, :class:`ProtocolViolation` naming the peer and the step, ``ChannelError`` for a lost peer.
    """
    me, both = run.session.index, len(receivers) == 2
    if both and (variant is MALICIOUS or labelled is not None):
        raise ValueError("the malicious variant, and labels, have one receiver")
    if both and (shows or checks):
        raise ValueError("rows are opened by one receiver")
    if checks and not run.theirs:
        raise ProtocolViolation(run.peer, "openings", "it compares no keys, and so none of its rows")
    own, rows = np.empty(0, np.int64), None if labelled is None else np.empty((0, labelled.width), np.uint8)
    if run.items and run.theirs:
        size = _size(run, variant, runs)
        if me == encoder(receivers, {me: len(run.items), run.peer: run.theirs}):
            own, rows = _encode(run, variant, size, labelled, shows, tells=both)
        else:
            own = _answer(run, variant, size, labelled, checks, hears=both)
    if me not in receivers:
        return Intersection(run.theirs, None, None)
    order = np.argsort(own)
    return Intersection(run.theirs, own[order], len(own), None if rows is None else rows[order])


def encoder(receivers: Sequence[int], sizes: dict[int, int]) -> int:
    """Who puts its items in the store: the receiver, or of two receivers the one with fewer items, or the first."""
    return min(receivers, key=lambda party: (sizes[party], party))


def _encode(
    run: Bound, variant: Variant, size: int, labelled: Labels | None, shows: Show | None, *, tells: bool
) -> tuple[NDArray[np.int64], Bytes | None]:
    session, peer, salt = run.session, run.peer, run.salt
    channel, shape = session.channels[peer], Shape.of(len(run.items))
    session.progress("psi", 0.1)
    sealed = receive_block(channel, PAD, "pad") if variant is MALICIOUS else b""
    hashed, values = oprf.learn(session, peer, shape, partial(oprf.own_store, shape, run.items, salt, variant), variant)
    if variant is MALICIOUS:
        salt = _pad_of_encoder(run, sealed)
    if shows:
        openings.show(session, peer, salt, values, shows)
    session.progress("psi", 0.5)
    own = _tags(values, hashed, salt, variant)
    channel.mark("psi/tags")
    first, second = tags.receive(session, peer, run.theirs, size, "tags")
    session.progress("psi", 0.9)
    found = tags.match(own, first, second, size)
    matched = found[found >= 0]
    if tells:
        channel.mark("psi/matches")
        channel.send(np.packbits(found >= 0).tobytes() + _proof(values[matched], salt))
    if labelled is None:
        return matched, None
    channel.mark("psi/labels")
    pads = partial(_pads, values, hashed, salt, variant, labelled.width)
    return matched, labels.receive(session, peer, found, labelled.width, pads)


def _answer(
    run: Bound, variant: Variant, size: int, labelled: Labels | None, checks: Check | None, *, hears: bool
) -> NDArray[np.int64]:
    session, peer, items, salt = run.session, run.peer, run.items, run.salt
    channel, half = session.channels[peer], secrets.token_bytes(PAD)
    session.progress("psi", 0.1)
    if variant is MALICIOUS:
        channel.send(_sealed(half, salt))
    hashed, function = oprf.offer(session, peer, Shape.of(run.theirs), partial(Hashed.of, items, salt), variant)
    if variant is MALICIOUS:
        salt = _pad_of_sender(run, half)
    if checks:
        openings.check(session, peer, salt, run.theirs, partial(_at, function, run.salt), checks)
    values = function.at(hashed)
    session.progress("psi", 0.5)
    channel.mark("psi/tags")
    order = tags.send_sorted(session, peer, _tags(values, hashed, salt, variant), size)
    if labelled is not None:
        channel.mark("psi/labels")
        pads = partial(_pads, values, hashed, salt, variant, labelled.width)
        labels.send(session, peer, labelled.beside(len(items)), order, pads)
    if not hears:
        return np.empty(0, np.int64)
    channel.mark("psi/matches")
    told = -(-len(items) // 8)
    answer = receive_block(channel, told + 32, "matches")
    bits = np.unpackbits(np.frombuffer(answer[:told], np.uint8))
    matched = order[np.flatnonzero(bits[: len(items)])]
    if bits[len(items) :].any() or not hmac.compare_digest(_proof(values[matched], salt), answer[told:]):
        raise ProtocolViolation(peer, "matches", "it does not know the items that it says match")
    return matched


def _at(function: Function, salt: bytes, items: Items) -> Words:
    return function.at(Hashed.of(items, salt))


def _size(run: Bound, variant: Variant, runs: int) -> int:
    return 16 if variant is MALICIOUS else tags.width(tag_bytes(len(run.items), run.theirs, runs))


def _tags(values: Words, hashed: Hashed, salt: bytes, variant: Variant) -> Words:
    if variant is MALICIOUS:
        return _oracle(salt, values, hashed.places, hashed.images)[0]
    return oprf.scrambled(values, salt)


def _pads(values: Words, hashed: Hashed, salt: bytes, variant: Variant, width: int, places: NDArray[np.int64]) -> Bytes:
    """What masks the labels of the items at these places, and is independent of their tags."""
    some = values[places]
    size = 32 if variant is MALICIOUS else 16  # bytes of a hash
    names = [salt + b"label" + number.to_bytes(4, "big") for number in range(-(-width // size))]
    if variant is MALICIOUS:
        images = hashed.places[places], hashed.images[places]
        parts = [half for name in names for half in _oracle(hashlib.sha256(name).digest(), some, *images)]
    else:
        parts = [oprf.scrambled(some, name) for name in names]
    return np.ascontiguousarray(np.concatenate(parts, axis=1)).view(np.uint8)[:, :width]


def _oracle(key: bytes, values: Words, places: Words, images: Words) -> tuple[Words, Words]:
    content = np.concatenate([values, places, images], axis=1)
    return blake2s.keyed(key, np.arange(len(values) + 1) * 48, content.reshape(-1).view(np.uint8))


def _sealed(half: bytes, salt: bytes) -> bytes:
    return hashlib.sha256(salt + b"pad" + half).digest()


def _pad_of_encoder(run: Bound, sealed: bytes) -> bytes:
    """The key of the tags: a half of each party's, the sender's opened when the store is sent."""
    channel, own = run.session.channels[run.peer], secrets.token_bytes(PAD)
    channel.send(own)
    half = receive_block(channel, PAD, "pad")
    if not hmac.compare_digest(_sealed(half, run.salt), sealed):
        raise ProtocolViolation(run.peer, "pad", "its half of the pad is not the one it was bound to by its hash")
    return hashlib.sha256(run.salt + own + half).digest()


def _pad_of_sender(run: Bound, half: bytes) -> bytes:
    channel = run.session.channels[run.peer]
    theirs = receive_block(channel, PAD, "pad")
    channel.send(half)
    return hashlib.sha256(run.salt + theirs + half).digest()


def _proof(values: Words, salt: bytes) -> bytes:
    return hashlib.sha256(salt + b"matches" + values.tobytes()).digest()
