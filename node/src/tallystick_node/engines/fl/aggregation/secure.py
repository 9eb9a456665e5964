"""The secure sum as an aggregation over a session: a coordinator adds masked vectors, and nobody sees another's."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from numpy.typing import NDArray

from tallystick_node.engines.channel import ChannelError, ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.fl.aggregation.base import Aggregation, check_summand
from tallystick_node.engines.fl.aggregation.coordinator import Coordinator
from tallystick_node.engines.fl.aggregation.graph import Plan, plan
from tallystick_node.engines.fl.aggregation.journal import Journal
from tallystick_node.engines.fl.aggregation.member import Member
from tallystick_node.engines.fl.aggregation.messages import MEMBER, Round, TooFewLeft, pack
from tallystick_node.engines.fl.aggregation.observer import Observer, Whole
from tallystick_node.engines.security import SecurityStatement

Given = ParamSpec("Given")
Got = TypeVar("Got")

_KEY = 32  # bytes of a verification key


class SecureSum(Aggregation):
    """Secure aggregation with dropouts (Bonawitz et al., CCS 2017; for many members the graph of Bell et al., CCS 2020).

    The coordinator of round r is member number r modulo their count. A member that is silent for as long as a channel waits, or
    whose link breaks, drops out; what it already sent counts. ``dropped``: the share of a round's members that may; ``corrupted``:
    the share that may collude, the coordinator among them, by default as many as then can (fewer than all less twice the
    dropping). All messages but the keys that sign them pass through the coordinator: if *it* is lost, the round fails. A round
    number is used once.

    ``verified``: every member commits to its masked vector before it can know what the coordinator makes of it, takes the masks off
    itself, and accepts the sum only if it is that of what was committed (:mod:`.projection`). Without it the coordinator is trusted
    for the sum, not for privacy. ``journal`` keeps what a proof of the whole task needs. After :meth:`total`, ``survivors`` are the
    members whose vectors went into the sum.
    """

    def __init__(
        self, *, dropped: float = 0.2, corrupted: float | None = None, verified: bool = True, journal: Journal | None = None
    ) -> None:
        if not 0 <= dropped < 0.5 or not (corrupted is None or 0 <= corrupted < 1):
            raise ValueError("the share of members that may drop out is below a half, that of those that collude below one")
        self._dropped = dropped
        self._corrupted = corrupted
        if journal is not None and not verified:
            raise ValueError("only rounds that are verified are kept for a proof")
        self._verified = verified
        self._journal = journal
        self._session: Session | None = None
        self._key = Ed25519PrivateKey.generate()
        self._keys: dict[int, Ed25519PublicKey] = {}
        self._lost: set[int] = set()
        self._last = -1
        self.survivors: tuple[int, ...] = ()
        self.liars: tuple[int, ...] = ()  # at the coordinator: members that revealed wrong shares in the last round

    def plan(self, members: int) -> Plan:
        """The numbers for a round of so many. Raises ValueError when they do not allow the shares that were asked for."""
        dropped = math.floor(members * self._dropped + 1e-9)
        corrupted = members - 2 * dropped - 1 if self._corrupted is None else math.floor(members * self._corrupted + 1e-9)
        if corrupted < 1:
            raise ValueError(
                f"of {members} members {dropped} may drop out and none may collude, so the coordinator alone would have every "
                "secret: allow fewer to drop out, or one or more to collude"
            )
        return plan(members, corrupted, dropped)

    def total(self, session: Session, vector: NDArray[np.float64], members: Sequence[int], round: int) -> NDArray[np.float64]:  # noqa: A002
        """See :meth:`Aggregation.total`; every entry is off by at most :func:`quantisation.error`. Raises TooFewLeft at the
        coordinator when more members drop out than may, ChannelError at the others."""
        if session.index in members:
            check_summand(vector)
        if round <= self._last:
            raise ValueError("a round's number is above those of the rounds before it")
        self._meet(session)
        self._last = round
        round_ = Round(session.context, round, tuple(members), self.plan(len(members)), len(vector), self._verified)
        coordinator = members[round % len(members)]
        if session.index == coordinator:
            return self._coordinate(session, round_, vector)
        if session.index in members:
            return self._take_part(session, round_, coordinator, vector)
        return self._watch(session, round_, coordinator)

    def security(self, parties: int) -> SecurityStatement:
        """Private against a coordinator that deviates, with colluding members; correct against one that deviates alone if
        verified. Who is named in an abort broke a rule as far as the one that names it can see; a member that seals or reveals a
        wrong share can have another named, so nobody is convicted."""
        return SecurityStatement(
            adversary="malicious-with-abort" if self._verified else "semi-honest",
            corruptions=self.plan(parties).corrupted,
            parties=parties,
            computational_bits=128,
            statistical_bits=40,
            trusted=(),
            learns={
                "coordinator of a round": "the sum of the surviving members' vectors, and who dropped out when",
                "party": "the sum of the surviving members' vectors of every round, and who they are",
            },
            references=(
                "Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning, CCS 2017",
                "Bell et al., Secure Single-Server Aggregation with (Poly)Logarithmic Overhead, CCS 2020",
            ),
        )

    # -- the parties' keys

    def _meet(self, session: Session) -> None:
        """Once: tell every party, over its own channel, the key that signs what passes through coordinators."""
        if self._session is session:
            return
        if self._session is not None:
            raise ValueError("a secure sum stays with one session")
        self._session = session
        session.mark("secure sum/keys")
        mine = self._key.public_key()
        self._keys[session.index] = mine
        for peer, channel in sorted(session.channels.items()):
            self._try(peer, channel.send, mine.public_bytes_raw())
        for peer, channel in sorted(session.channels.items()):
            announced = self._try(peer, channel.receive)
            if announced is None:
                continue
            if len(announced) != _KEY:
                raise ProtocolViolation(peer, "keys", f"sent {len(announced)} bytes where a key of {_KEY} was due")
            self._keys[peer] = Ed25519PublicKey.from_public_bytes(announced)

    def _try(self, peer: int, act: Callable[Given, Got], *given: Given.args, **named: Given.kwargs) -> Got | None:
        """Do something with a peer. One that is silent or gone is not turned to again; one that breaks a rule raises."""
        if peer in self._lost:
            return None
        try:
            return act(*given, **named)
        except ProtocolViolation:
            raise
        except ChannelError:
            self._lost.add(peer)
            return None

    # -- the coordinator

    def _coordinate(self, session: Session, round_: Round, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        me, run = session.index, Coordinator(round_, session.index, self._keys)
        member = Member(round_, me, self._keys, me, self._key)
        others = [each for each in round_.members if each != me]
        session.mark("secure sum/advertise")
        adverts = run.advertise({me: member.advertise(), **self._receive(session, others)})
        self._tell(session, session.channels, adverts)

        session.mark("secure sum/share")
        shares = run.share({me: member.share(adverts), **self._receive(session, run.adverts)})
        for peer in sorted(shares.keys() - {me}):
            self._tell(session, [peer], shares[peer])

        session.mark("secure sum/mask")
        run.add(me, *member.mask(shares[me], vector))
        for peer in sorted(shares.keys() - {me}):
            committed = self._try(peer, session.channels[peer].receive) if round_.verified else b""
            masked = self._try(peer, receive_array, session, peer, vector.shape, "mask", np.uint32)
            if masked is not None and committed is not None:
                run.add(peer, masked, committed)
        session.mark("secure sum/confirm")
        announcement = run.announce()
        self.survivors = run.survivors
        self._tell(session, session.channels, announcement)
        certificate = run.certify({me: member.confirm(announcement), **self._receive(session, run.survivors)})
        self._tell(session, session.channels, certificate)

        session.mark("secure sum/unmask")
        secrets = run.open({me: member.reveal(certificate), **self._receive(session, run.survivors)})
        self.liars = tuple(sorted(run.liars))
        if not round_.verified:
            words = run.unmasked(run.whole.astype(np.uint32), secrets)
            for peer in sorted(session.channels):
                self._try(peer, send_array, session, peer, words)
            return run.decoded(words)
        return self._prove(session, run, member, pack(secrets))

    def _prove(self, session: Session, run: Coordinator, member: Member, opening: bytes) -> NDArray[np.float64]:
        low, high = run.whole.astype(np.uint32), (run.whole >> np.uint64(32)).astype(_carry(run.round))
        for peer in sorted(session.channels):
            self._tell(session, [peer], opening)
            self._try(peer, send_array, session, peer, low)
            self._try(peer, send_array, session, peer, high)
        words = run.opened(opening, run.whole)
        session.mark("secure sum/projection")
        proof, missing = run.prove(self._receive(session, run.survivors))
        asked = self._audits(session, run, proof, missing)
        self._tell(session, asked, b"")  # no more audits
        self._tell(session, session.channels, pack(proof))
        run.accept(pack(proof))
        self._keep(member, run.whole)
        return run.decoded(words)

    def _audits(self, session: Session, run: Coordinator, proof: dict[int, bytes], missing: Collection[int]) -> list[int]:
        """Have others vouch for this party's vector and those of who is gone. Returns all who wait for vectors to audit."""
        waiting = sorted(proof)
        for subject in missing:
            for auditor in waiting:
                channel = session.channels[auditor]
                self._tell(session, [auditor], subject.to_bytes(MEMBER, "little"))
                self._try(auditor, send_array, session, auditor, run.vectors[subject])
                record = self._try(auditor, channel.receive)
                if record is not None:
                    run.audited(auditor, subject, record)
                    proof[subject] = record
                    break
            else:
                raise TooFewLeft("audit", tuple(sorted(missing)), run.round.plan.least)
        return waiting

    def _receive(self, session: Session, peers: Collection[int]) -> dict[int, bytes]:
        found = {peer: self._try(peer, session.channels[peer].receive) for peer in sorted(peers) if peer != session.index}
        return {peer: message for peer, message in found.items() if message is not None}

    def _tell(self, session: Session, peers: Collection[int], message: bytes) -> None:
        for peer in sorted(peers):
            self._try(peer, session.channels[peer].send, message)

    # -- the others

    def _take_part(self, session: Session, round_: Round, coordinator: int, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        run, channel = Member(round_, coordinator, self._keys, session.index, self._key), session.channels[coordinator]
        session.mark("secure sum/advertise")
        channel.send(run.advertise())
        adverts = _next(session, coordinator)
        session.mark("secure sum/share")
        channel.send(run.share(adverts))
        shares = _next(session, coordinator)
        session.mark("secure sum/mask")
        masked, committed = run.mask(shares, vector)
        if round_.verified:
            channel.send(committed)
        send_array(session, coordinator, masked)
        session.mark("secure sum/confirm")
        channel.send(run.confirm(_next(session, coordinator)))
        self.survivors = run.survivors
        certificate = _next(session, coordinator)
        session.mark("secure sum/unmask")
        channel.send(run.reveal(certificate))
        return self._conclude(session, run)

    def _watch(self, session: Session, round_: Round, coordinator: int) -> NDArray[np.float64]:
        run = Observer(round_, coordinator, self._keys)
        session.mark("secure sum/advertise")
        run.advertised(_next(session, coordinator))
        session.mark("secure sum/share")
        session.mark("secure sum/mask")
        session.mark("secure sum/confirm")
        run.announced(_next(session, coordinator))
        self.survivors = run.survivors
        run.certified(_next(session, coordinator))
        session.mark("secure sum/unmask")
        return self._conclude(session, run)

    def _conclude(self, session: Session, run: Observer) -> NDArray[np.float64]:
        peer, shape = run.coordinator, (run.round.length,)
        session.patience(peer)
        if not run.round.verified:
            return run.decoded(receive_array(session, peer, shape, "sum", np.uint32))
        opening = session.channels[peer].receive()
        low = receive_array(session, peer, shape, "sum", np.uint32)
        high = receive_array(session, peer, shape, "sum", _carry(run.round))
        whole = low + (high.astype(np.uint64) << np.uint64(32))
        words = run.opened(opening, whole)
        session.mark("secure sum/projection")
        if isinstance(run, Member):
            session.channels[peer].send(run.vouch())
            while subject := _next(session, peer):
                vector = receive_array(session, peer, shape, "audit", np.uint32)
                session.channels[peer].send(run.audit(int.from_bytes(subject, "little"), vector))
        run.accept(_next(session, peer))
        self._keep(run, whole)
        return run.decoded(words)

    def _keep(self, run: Observer, whole: Whole) -> None:
        if self._journal is not None:
            self._journal.append(run.masked if isinstance(run, Member) else None, whole)


def _next(session: Session, coordinator: int) -> bytes:
    """The coordinator's next message: it may wait for others first."""
    session.patience(coordinator)
    return session.channels[coordinator].receive()


def _carry(round_: Round) -> type[np.unsignedinteger[Any]]:
    """The type of what a sum of words has above 2^32: less than the number of members."""
    return np.uint8 if len(round_.members) <= 1 << 8 else np.uint16
