"""Two-party private set intersection from an oblivious key-value store and vector oblivious linear evaluation.

Rindal and Raghuraman, "Blazing Fast PSI from Improved OKVS and Subfield VOLE" (CCS 2022), the semi-honest protocol in the shape
with least communication: values in K = GF(2^64), evaluations in K^2. With the encoder's n items x and the sender's y:

1. :mod:`handshake`: sizes, then a salt. Items are hashed by BLAKE2s under the salt.
2. The encoder puts h(x) for every x in a store P of m = 1.23 n slots. A silent VOLE of m elements gives it a and c, the
   sender b and delta, with c = b + delta a.
3. ``psi/store``: the encoder sends a + P, 8 m bytes. The sender adds delta (a + P) to b: what it now holds decodes, at every x,
   to what c decodes to, plus delta h(x).
4. ``psi/tags``: the sender decodes at every y, adds delta h(y), and sends hashes of that, sorted. The encoder knows the same
   values for the y that are among its x; another y's it would have to guess, or delta.
5. ``psi/matches``, where the sender is a receiver, too: the encoder says which of the tags it has, by one bit for each in their
   sorted order, and proves it by a hash of all their values.

The encoder is the receiver, or of two receivers the one with fewer items.

Security of ``SEMI_HONEST``. The encoder's message is masked by a, which is pseudorandom by dual learning parity with noise (the
code and the noise of :mod:`tallystick_node.engines.ot.silent`); the sender's tags are outputs of a correlation-robust hash (AES-128
under a key from the salt as an ideal permutation, x -> pi(x) + x) on values that delta masks. An item y of the sender that the
encoder does not have gives a tag that the encoder can compute only if P happens to decode to h(y) there: 2^-64 for each item,
2^-40 for 2^24 of the sender's, which is the most that is allowed. Store failure: 2^-40 (:mod:`okvs.shape`). Both learn both
sizes. An encoder that deviates can put in more items than it announced, up to m; a sender that deviates can learn of guesses
at single items whether they are there.

``MALICIOUS`` is secure with abort against either (Rindal and Schoppmann, EUROCRYPT 2021, figure 4, with this store): values and
evaluations in GF(2^128), the evaluation checked (:mod:`tallystick_node.engines.ot.silent.checked`), tags of 128 bits that BLAKE2s,
a random oracle, makes of a value and its item under a pad that both contribute to, the sender by a commitment before the
evaluation. It has one receiver: an encoder that told the other of matches could leave some out. An encoder can still put in up
to m = 1.23 n items, which is what the proof extracts; a sender can make one tag stand for two items by 2^64 hashes.

Products with delta are looked up in tables, at places that depend on hashed items: whoever shares a machine's caches with a party
is not defended against.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, receive_block, send_array
from tallystick_node.engines.okvs.shape import Shape
from tallystick_node.engines.okvs.store import Words, decode, encode
from tallystick_node.engines.ot.silent.checked import checked_vole_receive, checked_vole_send
from tallystick_node.engines.ot.silent.field import BLOCKS, add_block_product, add_product, multiples
from tallystick_node.engines.ot.silent.shape import shape as silent_shape
from tallystick_node.engines.ot.silent.vole import vole_receive, vole_send
from tallystick_node.engines.psi import blake2s, tags
from tallystick_node.engines.psi.handshake import Bound, Intersection, tag_bytes
from tallystick_node.engines.psi.items import Items

MAX_ITEMS = 1 << 24  # of either
PAD = 32  # bytes


@dataclass(frozen=True)
class Variant:
    """``words`` of an element of the field, the evaluation over it, and products with its delta."""

    words: int
    send: Callable[[Session, int, int], tuple[Words, Words]]
    receive: Callable[[Session, int, int], tuple[Words, Words]]
    multiples: Callable[[Words], Words]
    add_product: Callable[[Words, Words, Words], None]


SEMI_HONEST = Variant(
    1, vole_send, vole_receive, multiples, lambda out, factors, table: add_product(out, factors.reshape(-1), table)
)
MALICIOUS = Variant(2, checked_vole_send, checked_vole_receive, lambda delta: multiples(delta, BLOCKS), add_block_product)


def exchange(run: Bound, receivers: Sequence[int], variant: Variant = SEMI_HONEST) -> Intersection:
    """What follows the handshake; both pass the same receivers (one, for ``MALICIOUS``) and variant.

    Raises ``ValueError`` for duplicates, :class:`ProtocolViolation` naming the peer and the step, ``ChannelError`` for a lost peer.
    """
    me, both = run.session.index, len(receivers) == 2
    if both and variant is MALICIOUS:
        raise ValueError("the malicious variant has one receiver")
    if not run.items or not run.theirs:
        own = np.empty(0, np.int64)
    elif me == encoder(receivers, {me: len(run.items), run.peer: run.theirs}):
        own = _encode(run, variant, tells=both)
    else:
        own = _answer(run, variant, hears=both)
    if me not in receivers:
        return Intersection(run.theirs, None, None)
    return Intersection(run.theirs, np.sort(own), len(own))


def encoder(receivers: Sequence[int], sizes: dict[int, int]) -> int:
    """Who puts its items in the store: the receiver, or of two receivers the one with fewer items, or the first."""
    return min(receivers, key=lambda party: (sizes[party], party))


def _encode(run: Bound, variant: Variant, *, tells: bool) -> NDArray[np.int64]:
    session, peer, items, salt = run.session, run.peer, run.items, run.salt
    channel = session.channels[peer]
    shape = Shape.of(len(items))
    session.progress("psi", 0.1)
    sealed = receive_block(channel, PAD, "pad") if variant is MALICIOUS else b""
    with ThreadPoolExecutor(1) as other:  # while the peers wait for each other in the evaluation
        storing = other.submit(_store, shape, items, salt, variant.words)
        a, c = variant.receive(session, peer, shape.total)
        (places, images), store = storing.result()
    channel.mark("psi/store")
    store ^= a.reshape(store.shape)
    send_array(session, peer, store)
    del a, store
    if variant is MALICIOUS:
        salt = _pad_of_encoder(run, sealed)
    session.progress("psi", 0.5)
    values = decode(shape, places, images[:, 1], c)
    own = _tags(values, places, images, salt, variant)
    size = _size(run, variant)
    channel.mark("psi/tags")
    first, second = tags.receive(session, peer, run.theirs, size, "tags")
    session.progress("psi", 0.9)
    found = tags.match(own, first, second, size)
    matched = found[found >= 0]
    if tells:
        channel.mark("psi/matches")
        channel.send(np.packbits(found >= 0).tobytes() + _proof(values[matched], salt))
    return matched


def _answer(run: Bound, variant: Variant, *, hears: bool) -> NDArray[np.int64]:
    session, peer, items, salt = run.session, run.peer, run.items, run.salt
    channel = session.channels[peer]
    shape = Shape.of(run.theirs)
    session.progress("psi", 0.1)
    half = secrets.token_bytes(PAD)
    if variant is MALICIOUS:
        channel.send(_sealed(half, salt))
    with ThreadPoolExecutor(1) as other:
        hashing = other.submit(items.hashes, salt)
        delta, b = variant.send(session, peer, shape.total)
        places, images = hashing.result()
    channel.mark("psi/store")
    masked = receive_array(session, peer, (shape.total, variant.words), "store")
    if variant is MALICIOUS:
        salt = _pad_of_sender(run, half)
    session.progress("psi", 0.5)
    table = variant.multiples(delta)
    variant.add_product(b, masked, table)
    values = decode(shape, places, images[:, 1], b)
    variant.add_product(values, np.ascontiguousarray(images[:, : variant.words]), table)
    channel.mark("psi/tags")
    order = tags.send_sorted(session, peer, _tags(values, places, images, salt, variant), _size(run, variant))
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


def _store(shape: Shape, items: Items, salt: bytes, words: int) -> tuple[tuple[Words, Words], Words]:
    """The halves of every item's hash, of which one chooses slots, and the store of h(x): the first words of the other half."""
    places, images = items.hashes(salt)
    return (places, images), encode(shape, places, images[:, 1], np.ascontiguousarray(images[:, :words]))


def _size(run: Bound, variant: Variant) -> int:
    return 16 if variant is MALICIOUS else tags.width(tag_bytes(len(run.items), run.theirs))


def _tags(values: Words, places: Words, images: Words, salt: bytes, variant: Variant) -> Words:
    if variant is MALICIOUS:
        content = np.concatenate([values, places, images], axis=1)
        return blake2s.keyed(salt, np.arange(len(values) + 1) * 48, content.reshape(-1).view(np.uint8))[0]
    return _hashed(values, salt)


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


def _hashed(values: Words, salt: bytes) -> Words:
    """pi(v) + v with pi AES-128 under a key from the salt."""
    key = hashlib.sha256(salt + b"tags").digest()[:16]
    cipher = Cipher(algorithms.AES128(key), modes.ECB()).encryptor()  # noqa: S305 - a permutation, not encryption
    out = np.empty((len(values) + 1, 2), np.uint64)  # OpenSSL's binding wants up to 15 bytes more than it fills
    cipher.update_into(values.reshape(-1).view(np.uint8).data, out.reshape(-1).view(np.uint8).data)
    out[:-1] ^= values
    return out[:-1]


def _proof(values: Words, salt: bytes) -> bytes:
    return hashlib.sha256(salt + b"matches" + values.tobytes()).digest()


def evaluation_bytes(slots: int, words: int) -> tuple[int, int]:
    """About what the encoder and the sender send in a silent evaluation: corrections of rows and base transfers, sums of trees."""
    form = silent_shape(max(1, slots))
    return 4 * form.trees * (form.depth + 64 * words) + 80_000, 16 * form.trees * (form.depth + 2) + 20_000
