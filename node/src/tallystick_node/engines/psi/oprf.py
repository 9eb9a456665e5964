"""An oblivious function of items: one party, the *encoder*, learns its values at its own items; the other can compute it anywhere.

What RR22 (:mod:`rr22`) and the protocol of many parties (:mod:`multi_party`) are made of. With the encoder's n items x:

1. The encoder puts h(x) for every x in a store P of m = 1.23 n slots. A silent VOLE of m elements gives it a and c, the
   other b and delta, with c = b + delta a.
2. ``psi/store``: the encoder sends a + P. The other adds delta (a + P) to b: what it now holds decodes, at every x, to what c
   decodes to, plus delta h(x). So it knows, at every y, what the encoder knows at its x.

``SEMI_HONEST`` has values in GF(2^64) and evaluations in pairs of them; ``MALICIOUS`` has both in GF(2^128), and the evaluation is
checked (:mod:`tallystick_node.engines.ot.silent.checked`). The encoder's message is masked by a, which is pseudorandom by dual
learning parity with noise. At an item that the encoder did not put in, the value differs by delta times a number that is zero with
2^-64, or 2^-128. Values are related by delta: they are hashed before they are used.

Products with delta are looked up in tables, at places that depend on hashed items: whoever shares a machine's caches with a party
is not defended against.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tallystick_node.engines.channel import Session, receive_array, send_array
from tallystick_node.engines.okvs.shape import Shape
from tallystick_node.engines.okvs.store import Words, decode, encode
from tallystick_node.engines.ot.silent.checked import checked_vole_receive, checked_vole_send
from tallystick_node.engines.ot.silent.field import BLOCKS, add_block_product, add_product, multiples
from tallystick_node.engines.ot.silent.shape import shape as silent_shape
from tallystick_node.engines.ot.silent.vole import vole_receive, vole_send
from tallystick_node.engines.psi.items import Items


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


@dataclass(frozen=True)
class Hashed:
    """Items under a salt: ``places`` choose slots, ``images`` are h and, by their second words, buckets; both of shape (n, 2)."""

    places: Words
    images: Words

    @classmethod
    def of(cls, items: Items, salt: bytes) -> Hashed:
        """By BLAKE2s."""
        return cls(*items.hashes(salt))

    def stored(self, shape: Shape, values: Words) -> Words:
        """A store of ``values`` of shape (n, words) for these items."""
        return encode(shape, self.places, self.images[:, 1], values)

    def read(self, shape: Shape, store: Words) -> Words:
        """What a store gives for these items."""
        return decode(shape, self.places, self.images[:, 1], store)


def learn(
    session: Session, peer: int, shape: Shape, prepare: Callable[[], tuple[Hashed, Words]], variant: Variant
) -> tuple[Hashed, Words]:
    """The encoder's side: its hashed items, and the function's value at each, of shape (n, 2). ``prepare`` gives the items and the
    store of h, and runs while the parties wait for each other. Raises ProtocolViolation and ChannelError."""
    with ThreadPoolExecutor(1) as other:
        preparing = other.submit(prepare)
        a, c = variant.receive(session, peer, shape.total)
        hashed, store = preparing.result()
    session.channels[peer].mark("psi/store")
    send_array(session, peer, store ^ a.reshape(store.shape))
    return hashed, hashed.read(shape, c)


@dataclass(frozen=True)
class Function:
    """The secret function, at the party that can compute it anywhere."""

    shape: Shape
    store: Words
    table: Words  # multiples of delta
    variant: Variant

    def at(self, hashed: Hashed) -> Words:
        """Its value at each item, of shape (n, 2)."""
        values = hashed.read(self.shape, self.store)
        self.variant.add_product(values, np.ascontiguousarray(hashed.images[:, : self.variant.words]), self.table)
        return values


def compute(session: Session, peer: int, shape: Shape, prepare: Callable[[], Hashed], variant: Variant) -> tuple[Hashed, Words]:
    """The other side: its own hashed items, and the function's value at each. ``shape`` is that of the encoder's store."""
    hashed, function = offer(session, peer, shape, prepare, variant)
    return hashed, function.at(hashed)


def offer(session: Session, peer: int, shape: Shape, prepare: Callable[[], Hashed], variant: Variant) -> tuple[Hashed, Function]:
    """Like :func:`compute`, with the function itself."""
    with ThreadPoolExecutor(1) as other:
        preparing = other.submit(prepare)
        delta, b = variant.send(session, peer, shape.total)
        hashed = preparing.result()
    session.channels[peer].mark("psi/store")
    masked = receive_array(session, peer, (shape.total, variant.words), "store")
    table = variant.multiples(delta)
    variant.add_product(b, masked, table)
    return hashed, Function(shape, b, table, variant)


def own_store(shape: Shape, items: Items, salt: bytes, variant: Variant) -> tuple[Hashed, Words]:
    """What the encoder prepares."""
    hashed = Hashed.of(items, salt)
    return hashed, hashed.stored(shape, np.ascontiguousarray(hashed.images[:, : variant.words]))


def scrambled(values: Words, salt: bytes) -> Words:
    """pi(v) + v with pi AES-128 under a key from the salt: correlation robust when pi is an ideal permutation."""
    key = hashlib.sha256(salt + b"tags").digest()[:16]
    cipher = Cipher(algorithms.AES128(key), modes.ECB()).encryptor()  # noqa: S305 - a permutation, not encryption
    out = np.empty((len(values) + 1, 2), np.uint64)  # OpenSSL's binding wants up to 15 bytes more than it fills
    cipher.update_into(values.reshape(-1).view(np.uint8).data, out.reshape(-1).view(np.uint8).data)
    out[:-1] ^= values
    return out[:-1]


def bytes_sent(slots: int, words: int) -> tuple[int, int]:
    """About what the encoder and the other send: the masked store, corrections of rows and base transfers; sums of trees."""
    form = silent_shape(max(1, slots))
    encoder = 8 * words * slots + 4 * form.trees * (form.depth + 64 * words) + 80_000
    return encoder, 16 * form.trees * (form.depth + 2) + 20_000
