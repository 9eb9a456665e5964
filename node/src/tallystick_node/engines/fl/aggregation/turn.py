"""One turn of a round of the secure sum over a session: the messages of members, coordinator and others, under one coordinator.

If the coordinator is lost, the members may begin another turn under the next one, with fresh keys and masks, as long as they have
not confirmed who survived in this one (:attr:`Turn.bound`). Secrets of a turn are revealed only when so many members have confirmed
that the others are too few for another: so of no two turns of a round, with whatever survivors, both sums can be read, of which
the difference would show what one member said. It does not matter whether the coordinator is dead or feigns it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ChannelError, ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.credentials import Credential, Signers
from tallystick_node.engines.fl.aggregation import whole
from tallystick_node.engines.fl.aggregation.coordinator import Coordinator
from tallystick_node.engines.fl.aggregation.member import Member
from tallystick_node.engines.fl.aggregation.messages import MEMBER, Round, TooFewLeft, pack
from tallystick_node.engines.fl.aggregation.observer import Observer
from tallystick_node.engines.fl.aggregation.quantisation import Words
from tallystick_node.engines.fl.aggregation.whole import Whole

Given = ParamSpec("Given")
Got = TypeVar("Got")
Keep = Callable[[Observer, Words | None, Whole], None]  # the round, what this party sent of the sum, and the sum
Bind = Callable[[Collection[int]], None]  # the survivors that this party is about to confirm; raises when it must not

PHASES = ("advertise", "share", "mask", "confirm", "unmask", "projection")
_TURN = struct.Struct("<QI")  # a round's number and the turn


class Links:
    """The channels of a session, of which some may be lost: a peer that was silent or gone is not turned to again.

    ``patient``: whether to wait for the first message of a round as long as the run may take: members train for unlike times.
    """

    def __init__(self, session: Session, lost: set[int], *, patient: bool) -> None:
        self.session = session
        self.lost = lost
        self.patient = patient

    def attempt(self, peer: int, act: Callable[Given, Got], *given: Given.args, **named: Given.kwargs) -> Got | None:
        """Do something with a peer; None when it is lost. One that breaks a rule raises."""
        if peer in self.lost:
            return None
        try:
            return act(*given, **named)
        except ProtocolViolation:
            raise
        except ChannelError:
            self.lost.add(peer)
            return None

    def receive(self, peers: Collection[int]) -> dict[int, bytes]:
        """The next message of each peer that is not lost."""
        channels, me = self.session.channels, self.session.index
        found = {peer: self.attempt(peer, channels[peer].receive) for peer in sorted(peers) if peer != me}
        return {peer: message for peer, message in found.items() if message is not None}

    def tell(self, peers: Collection[int], message: bytes) -> None:
        """Send a message to each peer that is not lost."""
        for peer in sorted(peers):
            self.attempt(peer, self.session.channels[peer].send, message)


class Turn:
    """One party's side. ``bind`` is called with the survivors before this party confirms them, ``keep`` with the round and the
    aggregate once that is accepted. After :meth:`total`,
    ``survivors`` are the members whose vectors went into the sum, and at the coordinator ``liars`` those that revealed other shares
    than they got, or shared a secret wrongly."""

    def __init__(
        self, links: Links, round_: Round, coordinator: int, signers: Signers, credential: Credential, bind: Bind, keep: Keep
    ) -> None:
        self._links, self._session, self._round, self._coordinator = links, links.session, round_, coordinator
        self._signers, self._credential, self._bind, self._keep = signers, credential, bind, keep
        self._opening = _TURN.pack(round_.number, round_.turn)
        self._entered = 0
        self.bound = False  # whether this party confirmed who survived, after which it begins no other turn
        self.survivors: tuple[int, ...] = ()
        self.liars: tuple[int, ...] = ()

    def total(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum. Raises ChannelError naming the coordinator when it is lost, TooFewLeft at the coordinator, and
        ProtocolViolation."""
        if self._session.index == self._coordinator:
            return self._coordinate(vector)
        if self._session.index in self._round.members:
            return self._take_part(vector)
        return self._watch()

    def abandon(self) -> None:
        """Go on to the next turn. Both ends of each link mark the same phases, however far either came."""
        for phase in PHASES[self._entered : PHASES.index("confirm") + 1]:
            self._enter(phase)

    def _enter(self, phase: str) -> None:
        self._session.mark(f"secure sum/{phase}")
        self._entered += 1

    def _member(self) -> Member:
        return Member(self._round, self._coordinator, self._signers, self._session.index, self._credential)

    # -- the coordinator

    def _coordinate(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        session, links, round_ = self._session, self._links, self._round
        me, run, member = session.index, Coordinator(round_, session.index, self._signers), self._member()
        self._enter("advertise")
        adverts = run.advertise({me: member.advertise(), **self._adverts()})
        links.tell(session.channels, self._opening + adverts)

        self._enter("share")
        shares = run.share({me: member.share(adverts), **links.receive(run.adverts)})
        for peer in sorted(shares.keys() - {me}):
            links.tell([peer], shares[peer])

        self._enter("mask")
        run.add(me, *member.mask(shares[me], vector))
        for peer in sorted(shares.keys() - {me}):
            committed = links.attempt(peer, session.channels[peer].receive) if round_.verified else b""
            masked = links.attempt(peer, receive_array, session, peer, vector.shape, "mask", np.uint32)
            if masked is not None and committed is not None:
                run.add(peer, masked, committed)
        self._enter("confirm")
        announcement = run.announce()
        self.survivors = run.survivors
        self._bind(run.survivors)
        links.tell(session.channels, announcement)
        self.bound = True
        certificate = run.certify({me: member.confirm(announcement), **links.receive(run.survivors)})
        links.tell(session.channels, certificate)

        self._enter("unmask")
        secrets = run.open({me: member.reveal(certificate), **links.receive(run.survivors)})
        self.liars = tuple(sorted(run.liars))
        if not round_.verified:
            words = run.unmasked(run.whole.astype(np.uint32), secrets)
            for peer in sorted(session.channels):
                links.attempt(peer, send_array, session, peer, words)
            return run.decoded(words)
        return self._prove(run, member, pack(secrets))

    def _adverts(self) -> dict[int, bytes]:
        """The first messages of the other members. Who is in another round or turn has lost touch, and is lost."""
        links, found = self._links, {}
        for peer in self._round.members:
            if peer == self._session.index:
                continue
            if links.patient:
                links.attempt(peer, self._session.patience, peer)
            message = links.attempt(peer, self._session.channels[peer].receive)
            if message is None:
                continue
            if message.startswith(self._opening):
                found[peer] = message[_TURN.size :]
            else:
                links.lost.add(peer)
        return found

    def _prove(self, run: Coordinator, member: Member, opening: bytes) -> NDArray[np.float64]:
        session, links = self._session, self._links
        low, high = whole.split(run.whole, _carry(run.round))
        for peer in sorted(session.channels):
            links.tell([peer], opening)
            links.attempt(peer, send_array, session, peer, low)
            links.attempt(peer, send_array, session, peer, high)
        words = run.opened(opening, run.whole, low)
        self._enter("projection")
        proof, missing = run.prove(links.receive(run.survivors))
        asked = self._audits(run, proof, missing)
        links.tell(asked, b"")  # no more audits
        run.accept(pack(proof))
        links.tell(session.channels, pack(proof))
        self._keep(run, member.masked, run.whole)
        return run.decoded(words)

    def _audits(self, run: Coordinator, proof: dict[int, bytes], missing: Collection[int]) -> list[int]:
        """Have others vouch for this party's vector and those of who is gone. Returns all who wait for vectors to audit."""
        session, links, waiting = self._session, self._links, sorted(proof)
        for subject in missing:
            for auditor in waiting:
                links.tell([auditor], subject.to_bytes(MEMBER, "little"))
                links.attempt(auditor, send_array, session, auditor, run.vectors[subject])
                record = links.attempt(auditor, session.channels[auditor].receive)
                if record is not None:
                    run.audited(auditor, subject, record)
                    proof[subject] = record
                    break
            else:
                raise TooFewLeft("audit", tuple(sorted(missing)), run.round.plan.least)
        return waiting

    # -- the others

    def _take_part(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        run, channel = self._member(), self._session.channels[self._coordinator]
        self._enter("advertise")
        channel.send(self._opening + run.advertise())
        adverts = self._opened()
        self._enter("share")
        channel.send(run.share(adverts))
        shares = self._next()
        self._enter("mask")
        masked, committed = run.mask(shares, vector)
        if self._round.verified:
            channel.send(committed)
        send_array(self._session, self._coordinator, masked)
        self._enter("confirm")
        announcement = self._next()
        confirmation = run.confirm(announcement)
        self._bind(run.survivors)
        self.survivors, self.bound = run.survivors, True
        channel.send(confirmation)
        certificate = self._next()
        self._enter("unmask")
        channel.send(run.reveal(certificate))
        return self._conclude(run)

    def _watch(self) -> NDArray[np.float64]:
        run = Observer(self._round, self._coordinator, self._signers)
        self._enter("advertise")
        run.advertised(self._opened())
        for phase in ("share", "mask", "confirm"):
            self._enter(phase)
        run.announced(self._next())
        self.survivors = run.survivors
        run.certified(self._next())
        self.bound = True
        self._enter("unmask")
        return self._conclude(run)

    def _conclude(self, run: Observer) -> NDArray[np.float64]:
        session, peer, shape = self._session, self._coordinator, (self._round.length,)
        session.patience(peer)
        if not self._round.verified:
            return run.decoded(receive_array(session, peer, shape, "sum", np.uint32))
        opening = session.channels[peer].receive()
        low = receive_array(session, peer, shape, "sum", np.uint32)
        aggregate = whole.join(low, receive_array(session, peer, shape, "sum", _carry(self._round)))
        words = run.opened(opening, aggregate, low)
        self._enter("projection")
        if isinstance(run, Member):
            session.channels[peer].send(run.vouch())
            while subject := self._next():
                vector = receive_array(session, peer, shape, "audit", np.uint32)
                session.channels[peer].send(run.audit(int.from_bytes(subject, "little"), vector))
        run.accept(self._next())
        self._keep(run, run.masked if isinstance(run, Member) else None, aggregate)
        return run.decoded(words)

    def _next(self) -> bytes:
        """The coordinator's next message: it may wait for others first."""
        self._session.patience(self._coordinator)
        return self._session.channels[self._coordinator].receive()

    def _opened(self) -> bytes:
        """The coordinator's first message. Raises ChannelError when it is in another round or turn."""
        message = self._next()
        if not message.startswith(self._opening):
            raise ChannelError(self._coordinator, "is in another round, or in another turn of this one")
        return message[_TURN.size :]


def _carry(round_: Round) -> type[np.unsignedinteger[Any]]:
    """The type of what a sum of words has above 2^32: less than the number of members."""
    return np.uint8 if len(round_.members) <= 1 << 8 else np.uint16
