"""A member's side of a secure sum: Bonawitz et al. (CCS 2017, figure 4, with the lines for active adversaries), without input or
output.

Per round a member draws a key pair for messages, one for masks (s) and a secret for a mask of its own (b), and shares s and b
among its neighbours and itself. It sends its vector plus its own mask plus, for each neighbour, a mask that the neighbour
subtracts. When enough survivors have confirmed who survived, members reveal for each survivor their share of b and for each who
dropped out that of s; an honest member never reveals both of one peer, for it confirms one announcement and reveals once.
"""

from __future__ import annotations

import secrets
import struct

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation
from tallystick_node.engines.credentials import Credential, Signers
from tallystick_node.engines.fl.aggregation import masks, projection, quantisation, sharing
from tallystick_node.engines.fl.aggregation.messages import MEMBER, Round, pack, unpack
from tallystick_node.engines.fl.aggregation.observer import COMMITS, SEALED, SECRETS, SHARED, Observer, commitment
from tallystick_node.engines.fl.aggregation.quantisation import Words

_NONCE = bytes(12)  # each key encrypts one message


class Member(Observer):
    """One member in one round. Its methods are called in the order in which they stand here, each once (RuntimeError otherwise)."""

    def __init__(self, round_: Round, coordinator: int, signers: Signers, index: int, credential: Credential) -> None:
        super().__init__(round_, coordinator, signers)
        self.index = index
        self._credential = credential
        self._mask, self._own = (secrets.token_bytes(masks.KEY) for _ in range(2))
        self._channel, self._masking = X25519PrivateKey.generate(), masks.private_key(self._mask)
        self._agreed: dict[int, bytes] = {}  # with whom this member exchanges shares
        self._shares: dict[int, bytes] = {}
        self.masked: Words = np.empty(0, np.uint32)  # what it sent, where sums are verified
        self._advert = b""
        self._audited: set[int] = set()
        self._done = ""

    def advertise(self) -> bytes:
        """To the coordinator: this member's keys for the round, signed."""
        self._step("", "advertise")
        content = masks.public_key(self._channel) + masks.public_key(self._masking) + commitment(self._own)
        content += self._credential.announced
        self._advert = content + self._sign(b"advertise", content)
        return self._advert

    def share(self, adverts: bytes) -> bytes:
        """To the coordinator, from all adverts: shares of both secrets, encrypted for each neighbour, with commitments to them by
        which a neighbour can reveal no others, all signed: who shares wrongly, or says that another did, is found out."""
        self._step("advertise", "share")
        self.advertised(adverts)
        mine = self.adverts.get(self.index)
        if mine is None or mine.channel + mine.mask + mine.own != self._advert[:SECRETS]:
            raise ProtocolViolation(self.coordinator, "advertise", "left this party out, or forwarded other keys of it")
        holders = sorted({*self.graph[self.index], self.index})
        threshold = self.round.plan.threshold
        pairs = zip(sharing.split(self._mask, threshold, holders), sharing.split(self._own, threshold, holders), strict=True)
        sealed = {}
        for holder, (mask, own) in zip(holders, pairs, strict=True):
            if holder == self.index:
                self._shares[holder] = mask + own
            else:
                content = self._cipher(self.index, holder).encrypt(_NONCE, mask + own, None)
                content += self.promise(self.index, holder, mask) + self.promise(self.index, holder, own)
                sealed[holder] = content + self._sign(b"share", struct.pack("<I", holder) + content)
        return pack(sealed)

    def mask(self, shares: bytes, vector: NDArray[np.float64]) -> tuple[Words, bytes]:
        """To the coordinator, from the neighbours' shares: the masked vector and, where sums are verified, its root, signed.

        Raises ValueError for a vector of another length or with an entry that is not within [-1, 1].
        """
        self._step("share", "mask")
        if vector.shape != (self.round.length,):
            raise ValueError(f"the vector has another shape than ({self.round.length},)")
        masked = quantisation.encode(vector, len(self.round.members))
        received = unpack(self.coordinator, "share", shares, SHARED, len(self.round.members))
        if not received.keys() <= self.graph[self.index]:
            raise ProtocolViolation(self.coordinator, "share", "forwarded shares of a party that is no neighbour")
        for sender, record in received.items():
            self.check_shares(self.coordinator, sender, self.index, record)
            self._shares[sender] = self._unseal(sender, record)
        digest, me = self.round.digest, self.index
        pairs = [(masks.pair_seed(self._masking, self.adverts[other].mask, digest, me, other), me < other) for other in received]
        masks.add(masked, [(masks.self_seed(self._own, digest, me), False), *pairs])
        if not self.round.verified:
            return masked, b""
        self.masked = masked
        root = projection.root(digest + struct.pack("<I", me), masked)
        return masked, root + self._sign(b"root", root)

    def confirm(self, announcement: bytes) -> bytes:
        """To the coordinator, from who it says survived: this member's signature under just that, for those who
        advertised."""
        self._step("mask", "confirm")
        self.announced(announcement)
        if self.index not in self.survivors:
            raise ProtocolViolation(self.coordinator, "survivors", "left out this party's vector")
        holders = {*self.graph[self.index], self.index}
        if self._shares.keys() != holders & {*self.survivors, *self.dropped}:
            rule = "announced that parties took part whose shares it did not forward, or forgot those whose it did"
            raise ProtocolViolation(self.coordinator, "survivors", rule)
        return self._sign(b"confirm", self.said(announcement))

    def reveal(self, certificate: bytes) -> bytes:
        """To the coordinator, when enough have confirmed: the share of each survivor's own mask, or of each dropped member's
        key."""
        self._step("confirm", "reveal")
        self.certified(certificate)
        size, survivors = sharing.SHARE, set(self.survivors)
        return pack({peer: pair[size:] if peer in survivors else pair[:size] for peer, pair in self._shares.items()})

    def vouch(self) -> bytes:
        """To the coordinator, after :meth:`opened`: the projection of this member's masked vector, signed."""
        self._step("reveal", "vouch")
        return self._vouch(self.index, self.masked)

    def audit(self, subject: int, words: Words) -> bytes:
        """To the coordinator, after :meth:`vouch`, once for a survivor: the projection of its masked vector, signed, when that is
        the one that the survivor committed to."""
        if self._done != "vouch" or subject not in self.survivors or subject in self._audited:
            raise ProtocolViolation(self.coordinator, "audit", "asked for an audit that is not due")
        if projection.root(self.round.digest + struct.pack("<I", subject), words) != self.roots[subject]:
            raise ProtocolViolation(self.coordinator, "audit", f"showed a vector that party {subject} did not commit to")
        self._audited.add(subject)
        return self._vouch(subject, words)

    def _vouch(self, subject: int, words: Words) -> bytes:
        content = self.project(words)
        said = self.challenge + struct.pack("<I", subject) + content
        return self.index.to_bytes(MEMBER, "little") + content + self._sign(b"projection", said)

    def _unseal(self, sender: int, record: bytes) -> bytes:
        """The shares that a sender signed: it is its fault when they do not open."""
        try:
            pair = self._cipher(sender, self.index).decrypt(_NONCE, record[:SEALED], None)
        except InvalidTag:
            raise ProtocolViolation(sender, "share", "sealed shares under another key than the one that it announced") from None
        promised = [self.promise(sender, self.index, pair[at : at + sharing.SHARE]) for at in (0, sharing.SHARE)]
        if record[SEALED : SEALED + COMMITS] != b"".join(promised):
            raise ProtocolViolation(sender, "share", "committed to other shares than it sealed")
        return pair

    def _cipher(self, sender: int, holder: int) -> AESGCM:
        other = holder if sender == self.index else sender
        if other not in self._agreed:
            self._agreed[other] = masks.agree(self._channel, self.adverts[other].channel)
        return AESGCM(masks.derive(self._agreed[other], b"share", self.round.digest, sender, holder))

    def _sign(self, kind: bytes, content: bytes) -> bytes:
        return self._credential.sign(self.round.statement(kind, self.index, content))

    def _step(self, after: str, step: str) -> None:
        if self._done != after:
            raise RuntimeError(f"a member's step {step!r} follows {after!r}, not {self._done!r}")
        self._done = step
