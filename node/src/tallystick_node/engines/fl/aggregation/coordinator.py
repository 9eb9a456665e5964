"""The coordinator's side of a secure sum: forwards, adds, and takes the masks off when the survivors have agreed on who they are.

It is given what arrived; who sent nothing is gone for the rest of the round. Its methods raise ProtocolViolation naming a member
whose message breaks a rule, and TooFewLeft when more are gone than the round tolerates.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation
from tallystick_node.engines.credentials import Signers
from tallystick_node.engines.fl.aggregation import graph, projection, sharing, whole
from tallystick_node.engines.fl.aggregation.messages import MEMBER, SIGNATURE, Round, TooFewLeft, pack, unpack
from tallystick_node.engines.fl.aggregation.observer import ADVERT, COMMITS, COMMITTED, PROJECTED, ROOT, SEALED, SHARED, Observer
from tallystick_node.engines.fl.aggregation.quantisation import Words
from tallystick_node.engines.fl.aggregation.whole import Whole


class Coordinator(Observer):
    """The coordinator of one round. Its methods are called in the order in which they stand here.

    ``liars``: members that revealed other shares than they got, or shared a secret wrongly; what they said was left out.
    """

    def __init__(self, round_: Round, index: int, signers: Signers) -> None:
        super().__init__(round_, index, signers)
        self.whole: Whole = np.zeros(round_.length, np.uint64 if round_.verified else np.uint32)
        self.liars: set[int] = set()
        self.vectors: dict[int, Words] = {}  # where sums are verified: what each survivor sent
        self._committed: dict[int, bytes] = {}
        self._sharers: set[int] = set()
        self._promised: dict[tuple[int, int], bytes] = {}  # by owner and holder: the commitments to both shares

    def advertise(self, replies: Mapping[int, bytes]) -> bytes:
        """To all: the adverts of those who take part."""
        self._stay("advertise", replies, self.round.members)
        for member, advert in replies.items():
            if len(advert) != ADVERT:
                raise ProtocolViolation(member, "advertise", f"sent {len(advert)} bytes where {ADVERT} were due")
            self.check_advert(member, member, advert)
        self.take_adverts(replies)
        return pack(replies)

    def share(self, replies: Mapping[int, bytes]) -> dict[int, bytes]:
        """To each who shared its secrets: its neighbours' shares for it."""
        self._stay("share", replies, self.adverts)
        sealed = {}
        for member, message in replies.items():
            sealed[member] = unpack(member, "share", message, SHARED, len(self.round.members))
            if sealed[member].keys() != self.graph[member]:
                raise ProtocolViolation(member, "share", "sent shares for others than its neighbours")
            for holder, record in sealed[member].items():
                self.check_shares(member, member, holder, record)
                self._promised[member, holder] = record[SEALED : SEALED + COMMITS]
        self._sharers = set(replies)
        if len(self.adverts) > self.round.plan.degree + 1 and not graph.holds(self.graph, self._sharers, self.round.plan.threshold):
            raise TooFewLeft("share", tuple(sorted(self.adverts.keys() - self._sharers)), self.round.plan.least)
        return {
            member: pack({sender: sealed[sender][member] for sender in self.graph[member] & self._sharers})
            for member in self._sharers
        }

    def add(self, member: int, masked: Words, committed: bytes) -> None:
        """One member's masked vector and its signed root, as soon as it is there."""
        if member not in self._sharers or member in self._committed:
            raise ProtocolViolation(member, "mask", "sent a masked vector that is not due")
        if masked.dtype != np.uint32 or masked.shape != (self.round.length,):
            raise ProtocolViolation(member, "mask", "sent a masked vector of another length or type")
        if len(committed) != (COMMITTED if self.round.verified else 0):
            raise ProtocolViolation(member, "mask", "sent no root of its masked vector, or one that is not due")
        if self.round.verified:
            self.check_root(member, member, committed)
            if projection.root(self.round.digest + struct.pack("<I", member), masked) != committed[:ROOT]:
                raise ProtocolViolation(member, "mask", "committed to another vector than it sent")
            self.vectors[member] = masked
        self._committed[member] = committed
        if self.round.verified:
            whole.add(self.whole, masked)
        else:
            self.whole += masked

    def announce(self) -> bytes:
        """To all: who survived, who dropped out after it had shared its secrets, and the roots."""
        self._stay("mask", self._committed, self._sharers)
        gone = self._sharers - self._committed.keys()
        head = len(self._committed).to_bytes(4, "little")
        message = head + pack(self._committed) + pack(dict.fromkeys(gone, b""))
        self.announced(message)
        return message

    def certify(self, replies: Mapping[int, bytes]) -> bytes:
        """To all: the survivors' confirmations."""
        for member, signature in replies.items():
            if len(signature) != SIGNATURE:
                raise ProtocolViolation(member, "confirm", f"sent {len(signature)} bytes where {SIGNATURE} were due")
            self.check_confirmation(member, member, signature)
        self._stay("confirm", replies, self.survivors, max(self.round.plan.least, self.round.plan.quorum))
        return pack(replies)

    def open(self, replies: Mapping[int, bytes]) -> dict[int, bytes]:
        """The secrets that take the masks off, by member, from the shares that survivors reveal."""
        self._stay("unmask", replies, self.survivors)
        shares: dict[int, dict[int, bytes]] = {member: {} for member in (*self.survivors, *self.dropped)}
        for holder, message in replies.items():
            revealed = unpack(holder, "unmask", message, sharing.SHARE, len(self.round.members))
            if revealed.keys() != {*self.graph[holder], holder} & shares.keys():
                raise ProtocolViolation(holder, "unmask", "revealed shares of others than its neighbours")
            for owner, share in revealed.items():
                shares[owner][holder] = share
        return {owner: self._recover(owner, self._kept(owner, held)) for owner, held in shares.items()}

    def prove(self, replies: Mapping[int, bytes]) -> tuple[dict[int, bytes], tuple[int, ...]]:
        """The projections that survivors vouch for, checked, and the survivors for whom another must: this party and who is
        gone."""
        found: dict[int, bytes] = {}
        for member, record in replies.items():
            if member != self.coordinator:
                self.audited(member, member, record)
                found[member] = record
        return found, tuple(member for member in self.survivors if member not in found)

    def audited(self, auditor: int, subject: int, record: bytes) -> None:
        """Check the projection of a survivor's vector that an auditor, or the survivor itself, sent."""
        if len(record) != PROJECTED or int.from_bytes(record[:MEMBER], "little") != auditor:
            raise ProtocolViolation(auditor, "projection", f"sent no projection of its own for party {subject}")
        self.check_projection(auditor, subject, record)

    def accept(self, message: bytes) -> None:
        """See :meth:`Observer.accept`: before the others are told. Where the projections do not add up, those of all vectors are
        computed here, and the error names who vouched for another."""
        try:
            super().accept(message)
        except ProtocolViolation:
            for subject, record in unpack(self.coordinator, "projection", message, PROJECTED, len(self.round.members)).items():
                if record[MEMBER:-SIGNATURE] != self.project(self.vectors[subject]):
                    rule = f"sent another projection than that of the vector of party {subject}"
                    raise ProtocolViolation(int.from_bytes(record[:MEMBER], "little"), "projection", rule) from None
            raise

    def _kept(self, owner: int, held: Mapping[int, bytes]) -> dict[int, bytes]:
        """The shares that are those that their holders got. Others convict their holders; the owner's own tell of nobody else."""
        at = COMMITS // 2 if owner in self.survivors else 0
        kept = {}
        for holder, share in held.items():
            promised = self._promised.get((owner, holder), b"")[at : at + COMMITS // 2]
            if holder == owner or self.promise(owner, holder, share) == promised:
                kept[holder] = share
            else:
                self.liars.add(holder)
        return kept

    def _recover(self, owner: int, held: Mapping[int, bytes]) -> bytes:
        if len(held) < self.round.plan.threshold:
            lost = tuple(sorted({*self.graph[owner], owner} - held.keys()))
            raise TooFewLeft("unmask", lost, self.round.plan.threshold)
        try:
            secret, wrong = sharing.join(held, self.round.plan.threshold)
        except sharing.Unrecoverable as error:
            raise ProtocolViolation(owner, "unmask", f"shared a secret that its neighbours cannot recover: {error}") from None
        if not self.opens(owner, secret):
            raise ProtocolViolation(owner, "unmask", "shared another secret than it announced")
        if wrong:  # its own share, or one that it committed to
            self.liars.add(owner)
        return secret

    def _stay(self, step: str, replies: Collection[int], due: Collection[int], least: int | None = None) -> None:
        needed = self.round.plan.least if least is None else least
        lost = tuple(sorted(set(due) - set(replies)))
        if len(replies) < needed:
            raise TooFewLeft(step, lost or tuple(due), needed)
