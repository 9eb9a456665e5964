"""Who computes what in a vertical regression: two holders of shares, and owners that only have columns.

The holders are the owner of the label and the first of the other owners. Every shared number is the sum of what each of them holds,
modulo 2^64. To multiply its matrix by a shared vector, an owner masks (:mod:`masked`): a holder multiplies its own share in the
clear and the other's under encryption; an owner that is no holder does both under encryption, with masks that cancel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_block, send_block
from tallystick_node.engines.fl.vertical.masked import Layout, Matrix, multiply, open_products, ring_elements
from tallystick_node.engines.he.errors import HomomorphicError
from tallystick_node.engines.he.paillier.ciphertexts import Ciphertexts, Encryptor
from tallystick_node.engines.he.paillier.keys import PrivateKey, PublicKey
from tallystick_node.engines.mpc.ring import Ring

STEP = "products"


class Peers:
    """One owner's links: a holder's to everybody, another owner's to the holders. ``owners`` are numbers in the session; places are
    places among them."""

    def __init__(self, session: Session, owners: Sequence[int]) -> None:
        self.session, self.owners = session, owners
        self.place = owners.index(session.index)
        self.holders = [place for place in (0, 1) if place != self.place]
        self.linked = [place for place in range(len(owners)) if place != self.place] if self.place < 2 else self.holders
        self.encryptors: dict[int, Encryptor] = {}  # by the place of the holder who decrypts

    def mark(self, phase: str) -> None:
        """Mark a phase on all links."""
        for owner in sorted(self.owners[place] for place in self.linked):
            self.session.channels[owner].mark(phase)

    def send(self, place: int, message: bytes) -> None:
        """Send a message whose length both ends know."""
        send_block(self.session.channels[self.owners[place]], message)

    def receive(self, place: int, size: int, step: str) -> bytes:
        """Wait for a message of this length. Raises ProtocolViolation for another one."""
        self.session.patience(self.owners[place])
        return receive_block(self.session.channels[self.owners[place]], size, step)

    def violation(self, place: int, step: str, rule: str) -> ProtocolViolation:
        """The verdict on what an owner sent."""
        return ProtocolViolation(self.owners[place], step, rule)

    def exchange_keys(self, own: PrivateKey | None, key_bits: int) -> None:
        """Send the public key, where this owner is a holder, and receive the holders'."""
        if own is not None:
            self.encryptors[self.place] = Encryptor(own)
            for place in self.linked:
                self.send(place, own.public.to_bytes())
        for place in self.holders:
            data = self.receive(place, key_bits // 8, "key")
            try:
                self.encryptors[place] = Encryptor(PublicKey.from_bytes(data))
            except HomomorphicError as error:
                raise self.violation(place, "key", f"sent no public key: {error}") from None

    def encrypted(self, place: int, count: int) -> Ciphertexts:
        """A holder's encrypted share of a vector."""
        key = self.encryptors[place].key
        try:
            return Ciphertexts.from_bytes(key, self.receive(place, count * key.size, STEP), count)
        except HomomorphicError as error:
            raise self.violation(place, STEP, f"sent no ciphertexts: {error}") from None

    def answer(self, place: int, matrix: Matrix, masks: Sequence[int], layout: Layout, vector: Ciphertexts) -> None:
        """Send a holder the masked products with its encrypted share."""
        self.send(place, multiply(self.encryptors[place], layout, matrix, vector, masks))


def assist(peers: Peers, matrix: Matrix) -> None:
    """Multiply, as an owner that is no holder, by the vector that the holders share: they get shares of the products."""
    peers.mark(STEP)
    count, terms = matrix.shape
    vectors = [peers.encrypted(place, terms) for place in peers.holders]
    layout = Layout(vectors[0].key.bits, terms)
    masks = layout.masks(count)
    for place, vector, each in zip(peers.holders, vectors, (masks, layout.opposite(masks)), strict=True):
        peers.answer(place, matrix, each, layout, vector)


class Holder:
    """A holder of shares, with the key that the others' products come back under."""

    def __init__(self, peers: Peers, key: PrivateKey) -> None:
        self.peers, self._key = peers, key

    def seal(self, share: Ring) -> bytes:
        """A share's encryption."""
        return self.peers.encryptors[self.peers.place].encrypt(share).to_bytes()

    def multiply(self, matrix: Matrix, shares: Sequence[Ring], sealed: Mapping[int, bytes], counts: Sequence[int]) -> list[Ring]:
        """Shares of every owner's matrix times its vector, in the order of the owners.

        ``matrix`` is this holder's own, of shape (products, terms); ``shares`` are this holder's of each owner's vector, ``sealed``
        the others' encryptions, by their places; ``counts`` are the numbers of products. Raises ProtocolViolation naming an owner.
        """
        peers = self.peers
        peers.mark(STEP)
        for place in peers.linked:
            peers.send(place, sealed[place])
        (other,) = peers.holders
        found = {peers.place: matrix.view(np.uint64) @ shares[peers.place] + self._cross(other, matrix)}
        for place in peers.linked:
            layout = Layout(self._key.public.bits, len(shares[place]))
            data = peers.receive(place, layout.blocks(counts[place]) * self._key.public.size, STEP)
            try:
                found[place] = open_products(self._key, layout, data, counts[place], shares[place])
            except HomomorphicError:  # no more is said: what decrypts to what is nobody's business
                raise peers.violation(place, STEP, "sent what are no masked products of the encrypted numbers") from None
        return [found[place] for place in range(len(peers.owners))]

    def _cross(self, other: int, matrix: Matrix) -> Ring:
        """This holder's share of its matrix times the other holder's share."""
        count, terms = matrix.shape
        vector = self.peers.encrypted(other, terms)
        layout = Layout(vector.key.bits, terms)
        masks = layout.masks(count)
        self.peers.answer(other, matrix, masks, layout, vector)
        return ring_elements(masks)
