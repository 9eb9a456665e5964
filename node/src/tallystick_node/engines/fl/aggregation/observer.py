"""What every party of a secure sum can check of it: who took part, that the survivors agree on who survived, and that the sum fits.

A party outside the members does just this; a member (:mod:`.member`) and the coordinator (:mod:`.coordinator`) build on it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tallystick.commitments.projection import POINTS, ZERO, Projection, challenge, points

from tallystick_node.engines.channel import VOUCHER, ProtocolViolation
from tallystick_node.engines.credentials import KEY, Signers
from tallystick_node.engines.fl.aggregation import graph, masks, projection, quantisation, sharing
from tallystick_node.engines.fl.aggregation.messages import MEMBER, SIGNATURE, Round, pack, unpack
from tallystick_node.engines.fl.aggregation.quantisation import Words
from tallystick_node.engines.fl.aggregation.whole import Whole

ROOT = 32  # bytes
SECRETS = 3 * masks.KEY  # bytes of what an advert says of a member's secrets
ADVERT = SECRETS + KEY + VOUCHER + SIGNATURE
COMMITTED = ROOT + SIGNATURE
SEALED = 2 * sharing.SHARE + 16  # bytes of a pair of shares, encrypted
COMMITS = 64  # bytes of the commitments to both
SHARED = SEALED + COMMITS + SIGNATURE
PROJECTED = MEMBER + 8 * POINTS + SIGNATURE


_SHARE = b"tallystick/v1/secure-aggregation/share\0"


@dataclass(frozen=True)
class Advert:
    """What a member announces for one round: a key for messages, one for masks, and a commitment to the secret of its own mask."""

    channel: bytes
    mask: bytes
    own: bytes


def commitment(secret: bytes) -> bytes:
    """The commitment to a secret of 32 random bytes."""
    return hashlib.sha256(b"tallystick/v1/secure-aggregation/own\0" + secret).digest()


class Observer:
    """One party's view of a round. Methods raise ProtocolViolation naming whose message breaks which rule."""

    def __init__(self, round_: Round, coordinator: int, signers: Signers) -> None:
        self.round = round_
        self.coordinator = coordinator
        self.signers = signers
        self.adverts: dict[int, Advert] = {}
        self.graph: graph.Graph = {}
        self.survivors: tuple[int, ...] = ()
        self.dropped: tuple[int, ...] = ()  # shared their keys, sent no masked vector
        self.roots: dict[int, bytes] = {}
        self.challenge = b""
        self._advertised = b""
        self._announcement = b""
        self.aggregate: Projection = ZERO
        self.vouched: dict[int, tuple[bytes, Projection]] = {}  # of each survivor the root and the projections, once accepted

    # -- who takes part

    def advertised(self, message: bytes) -> None:
        """The adverts of all who take part."""
        adverts = unpack(self.coordinator, "advertise", message, ADVERT, len(self.round.members))
        self._enough("advertise", len(adverts))
        for member, advert in adverts.items():
            self.check_advert(self.coordinator, member, advert)
        self.take_adverts(adverts)

    def check_advert(self, peer: int, member: int, advert: bytes) -> None:
        """Raise unless the advert that ``peer`` sent is the member's own."""
        content, signature = advert[:-SIGNATURE], advert[-SIGNATURE:]
        if member in self.round.members:
            self.signers.check_announced(peer, member, content[SECRETS:])
        if member not in self.round.members or not self.signed(b"advertise", member, content, signature):
            raise ProtocolViolation(peer, "advertise", f"sent keys of party {member} that it did not sign for this round")
        if not all(masks.is_usable(content[at : at + masks.KEY]) for at in (0, masks.KEY)):
            raise ProtocolViolation(member, "advertise", "announced a key with which every secret agrees on the same")

    def signed(self, kind: bytes, member: int, content: bytes, signature: bytes) -> bool:
        """Whether the signature is the member's under a statement of a kind in this round."""
        return self.signers.signed(member, self.round.statement(kind, member, content), signature)

    def take_adverts(self, adverts: Mapping[int, bytes]) -> None:
        """Keep the adverts and draw the graph from them."""
        size = masks.KEY
        for member, advert in adverts.items():
            self.adverts[member] = Advert(advert[:size], advert[size : 2 * size], advert[2 * size : 3 * size])
        contents = pack({member: advert[:-SIGNATURE] for member, advert in adverts.items()})
        self._advertised = hashlib.sha256(self.round.digest + contents).digest()
        self.graph = graph.draw(sorted(adverts), self.round.plan.degree, self._advertised)

    def check_shares(self, peer: int, sender: int, holder: int, record: bytes) -> None:
        """Raise unless the shares for a holder that ``peer`` sent are those that the sender signed."""
        content, signature = struct.pack("<I", holder) + record[:-SIGNATURE], record[-SIGNATURE:]
        if not self.signed(b"share", sender, content, signature):
            raise ProtocolViolation(peer, "share", f"sent shares of party {sender} that it did not sign for party {holder}")

    def promise(self, owner: int, holder: int, share: bytes) -> bytes:
        """The commitment to a share, which is too long to be guessed: the holder can reveal no other, and the owner deny none."""
        return hashlib.sha256(_SHARE + self.round.digest + struct.pack("<2I", owner, holder) + share).digest()

    # -- who survived

    def announced(self, message: bytes) -> None:
        """The coordinator's word on who survived and who dropped out, and the roots of what the survivors sent."""
        step, peer = "survivors", self.coordinator
        count = int.from_bytes(message[:4], "little")
        size, most = COMMITTED if self.round.verified else 0, len(self.round.members)
        cut = 4 + count * (MEMBER + size)
        found = unpack(peer, step, message[4:cut], size, most)
        gone = unpack(peer, step, message[cut:], 0, most)
        if len(found) != count or found.keys() & gone.keys() or not (found.keys() | gone.keys()) <= self.adverts.keys():
            raise ProtocolViolation(peer, step, "announced survivors that did not take part, or also dropped out")
        self._enough(step, count)
        plan = self.round.plan
        sparse = len(self.adverts) > plan.degree + 1
        if sparse and not graph.holds(self.graph, found.keys(), plan.threshold):
            raise ProtocolViolation(peer, step, "announced survivors who no longer hide one another: the graph is cut")
        for member, committed in found.items():
            if self.round.verified:
                self.check_root(peer, member, committed)
        self.take_announcement(message, found, tuple(gone))

    def check_root(self, peer: int, member: int, committed: bytes) -> None:
        """Raise unless the root that ``peer`` sent is the member's own, for this round."""
        if not self.signed(b"root", member, committed[:ROOT], committed[ROOT:]):
            raise ProtocolViolation(peer, "survivors", f"sent a root of party {member} that it did not sign for this round")

    def take_announcement(self, message: bytes, found: Mapping[int, bytes], gone: tuple[int, ...]) -> None:
        """Keep who survived."""
        self.survivors, self.dropped = tuple(sorted(found)), gone
        self.roots = {member: committed[:ROOT] for member, committed in found.items()} if self.round.verified else {}
        self._announcement = message

    def said(self, announcement: bytes) -> bytes:
        """What a survivor confirms: the announcement, and the adverts that it was shown. A member can sign two adverts, whose
        secrets take off two masks; so parties that were shown different ones must not go on with one another."""
        return self._advertised + announcement

    def certified(self, message: bytes) -> None:
        """The survivors' signatures under the announcement: enough of them that no other announcement has as many."""
        signatures = unpack(self.coordinator, "confirm", message, SIGNATURE, len(self.round.members))
        for member, signature in signatures.items():
            self.check_confirmation(self.coordinator, member, signature)
        if len(signatures) < self.round.plan.quorum:
            rule = f"showed {len(signatures)} confirmations of the survivors where {self.round.plan.quorum} are needed"
            raise ProtocolViolation(self.coordinator, "confirm", rule)

    def check_confirmation(self, peer: int, member: int, signature: bytes) -> None:
        """Raise unless it is a survivor's confirmation of the announcement."""
        said = self.said(self._announcement)
        if member not in self.survivors or not self.signed(b"confirm", member, said, signature):
            rule = f"sent a confirmation of party {member} that is not of these survivors, or of other adverts"
            raise ProtocolViolation(peer, "confirm", rule)

    # -- the sum

    def opened(self, opening: bytes, whole: Whole, words: Words) -> Words:
        """The sum modulo 2^32, from the masked sum, ``words`` modulo 2^32, and the secrets that take off its masks, both checked by
        what the members announced. Fixes the challenge of the projections, and writes over ``words``."""
        secrets = unpack(self.coordinator, "unmask", opening, masks.KEY, len(self.round.members))
        if secrets.keys() != {*self.survivors, *self.dropped}:
            raise ProtocolViolation(self.coordinator, "unmask", "sent secrets of others than those who sent or dropped out")
        for member, secret in secrets.items():
            if not self.opens(member, secret):
                raise ProtocolViolation(self.coordinator, "unmask", f"sent a secret that party {member} did not announce")
        self.commit_to(whole)
        return self.unmasked(words, secrets)

    def opens(self, member: int, secret: bytes) -> bool:
        """Whether it is the secret that a survivor's own mask, or a dropped member's masks with others, come from."""
        advert = self.adverts[member]
        if member in self.survivors:
            return commitment(secret) == advert.own
        return masks.public_key(masks.private_key(secret)) == advert.mask

    def unmasked(self, words: Words, secrets: Mapping[int, bytes]) -> Words:
        """Take the masks off a masked sum, in place."""
        survivors, digest = set(self.survivors), self.round.digest
        seeds = [(masks.self_seed(secrets[member], digest, member), True) for member in self.survivors]
        for member in self.dropped:
            secret = masks.private_key(secrets[member])
            for other in sorted(self.graph[member] & survivors):
                seed = masks.pair_seed(secret, self.adverts[other].mask, digest, member, other)
                seeds.append((seed, member < other))  # ``other`` added the mask if its number is the greater
        masks.add(words, seeds)
        return words

    def commit_to(self, whole: Whole) -> None:
        """The aggregate that the projections are compared with."""
        aggregate = projection.root(self.round.digest + b"aggregate", whole)
        self.challenge = challenge(self.round.digest, [self.roots[each] for each in self.survivors], aggregate)
        self._projector = projection.Projector(points(self.challenge))
        try:
            self.aggregate = self._projector.project([whole])
        except projection.Accused as error:
            raise ProtocolViolation(self.coordinator, "aggregate", error.args[0]) from None

    def project(self, words: Words) -> bytes:
        """The projection of a masked vector at the challenge's points."""
        return struct.pack(f"<{POINTS}Q", *self._projector.project([words]))

    def check_projection(self, peer: int, member: int, record: bytes) -> Projection:
        """The projection of a member's vector, as its signer vouches for it: the member, or another who audited it. The coordinator
        vouches for none, not even its own: its own vector is audited too."""
        signer, content = int.from_bytes(record[:MEMBER], "little"), record[MEMBER:-SIGNATURE]
        said = self.challenge + struct.pack("<I", member) + content
        vouched = signer in self.survivors and signer != self.coordinator
        if not vouched or not self.signed(b"projection", signer, said, record[-SIGNATURE:]):
            raise ProtocolViolation(
                peer, "projection", f"sent a projection for party {member} that nobody else vouches for with this aggregate"
            )
        return struct.unpack(f"<{POINTS}Q", content)

    def accept(self, message: bytes) -> None:
        """The projections of all survivors' vectors. Raises unless they add up to the aggregate's."""
        records = unpack(self.coordinator, "projection", message, PROJECTED, len(self.round.members))
        if tuple(records) != self.survivors:
            raise ProtocolViolation(self.coordinator, "projection", "sent projections of others than the survivors")
        found = [self.check_projection(self.coordinator, member, record) for member, record in records.items()]
        try:
            projection.verify(found, self.aggregate)
        except projection.Accused as error:
            raise ProtocolViolation(self.coordinator, "projection", str(error)) from None
        self.vouched = {member: (self.roots[member], each) for member, each in zip(records, found, strict=True)}

    def decoded(self, words: Words) -> NDArray[np.float64]:
        """The sum as numbers. Raises when it is more than the survivors' vectors can give."""
        try:
            return quantisation.decode(words, len(self.round.members), len(self.survivors))
        except quantisation.OutOfRange as error:
            raise ProtocolViolation(self.coordinator, "sum", str(error)) from None

    def _enough(self, step: str, members: int) -> None:
        if members < self.round.plan.least:
            raise ProtocolViolation(
                self.coordinator, step, f"goes on with {members} members where {self.round.plan.least} must stay"
            )
