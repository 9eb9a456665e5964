"""The secure sum as an aggregation over a session: a coordinator adds masked vectors, and nobody sees another's."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ChannelError, ProtocolViolation, Session
from tallystick_node.engines.credentials import Credential, Signers
from tallystick_node.engines.fl.aggregation.base import check_summand, coordinators
from tallystick_node.engines.fl.aggregation.graph import Plan, plan
from tallystick_node.engines.fl.aggregation.journal import Journal
from tallystick_node.engines.fl.aggregation.keys import Keyed
from tallystick_node.engines.fl.aggregation.messages import Round
from tallystick_node.engines.fl.aggregation.observer import Observer
from tallystick_node.engines.fl.aggregation.quantisation import Words
from tallystick_node.engines.fl.aggregation.record import Record
from tallystick_node.engines.fl.aggregation.turn import Links, Turn
from tallystick_node.engines.fl.aggregation.whole import Whole
from tallystick_node.engines.security import SecurityStatement

BEACON = 32  # bytes of a beacon's digest


class SecureSum(Keyed):
    """Secure aggregation with dropouts (Bonawitz et al., CCS 2017; for many members the graph of Bell et al., CCS 2020).

    The coordinators take turns, in the order of :func:`.coordinators`. A member that is silent for as long as a channel waits, or
    whose link breaks, drops out; what it already sent counts. ``dropped``: the share of a round's members that may; ``corrupted``:
    the share that may collude, the coordinator among them, by default as many as then can (fewer than all less twice the
    dropping). All messages but the keys that sign them pass through the coordinator. If *it* is lost, the next one in the order
    takes over, as long as no member that goes on has confirmed who survived, and it counts among those who drop out; beyond that
    the round fails (:mod:`.turn`). Who drops out coordinates no later round. A round number is used once.

    ``verified``: every member commits to its masked vector before it can know what the coordinator makes of it, takes the masks off
    itself, and accepts the sum only if it is that of what was committed (:mod:`.projection`). Without it the coordinator is trusted
    for the sum, not for privacy. ``journal`` keeps what a proof of the whole task needs to which every member adds its own part,
    ``record`` what one needs to which the others add the part of who dropped out; with it a round that an earlier attempt summed
    has the same survivors, or :class:`.OtherSurvivors` is raised. ``patient``: whether a member that is at work is
    waited for, however long it trains, and only who is gone drops out, then for good; by default so where nobody may drop out.
    After :meth:`total`, ``survivors`` are the members whose vectors went into the sum and ``coordinator`` who added them.
    """

    step = "secure sum"

    def __init__(
        self,
        *,
        dropped: float = 0.2,
        corrupted: float | None = None,
        verified: bool = True,
        journal: Journal | None = None,
        record: Record | None = None,
        patient: bool | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= dropped < 0.5 or not (corrupted is None or 0 <= corrupted < 1):
            raise ValueError("the share of members that may drop out is below a half, that of those that collude below one")
        self._dropped = dropped
        self._corrupted = corrupted
        if (journal is not None or record is not None) and not verified:
            raise ValueError("only rounds that are verified are kept for a proof")
        self._verified = verified
        self._journal = journal
        self._record = record
        self._patient = dropped == 0 if patient is None else patient
        self._signers = Signers({})
        self._credential: Credential | None = None
        self._lost: set[int] = set()  # this party has no link to them
        self._gone: set[int] = set()  # all parties that go on know that they dropped out
        self.survivors: tuple[int, ...] = ()
        self.coordinator = -1
        self.liars: tuple[int, ...] = ()  # at the coordinator: members that revealed or shared wrong shares in the last round

    @property
    def gone(self) -> frozenset[int]:
        """See :meth:`Aggregation.gone`."""
        return frozenset(self._gone)

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
        lost = None if self._dropped == 0 else self._lost  # None: everyone has to stay
        if self._patient:
            self._lost |= self._gone  # who waits for what nobody sends any more would be waited for in vain
        announced = self._own(session).announced + hashlib.sha256(session.beacon).digest()
        self.enter(session, round, announced, lost, patient=self._patient)
        plan_, links = self.plan(len(members)), Links(session, self._lost, patient=self._patient)
        order = [member for member in coordinators(session, members, round) if member not in self._gone][: plan_.dropped + 1]
        for number, coordinator in enumerate(order):
            round_ = Round(session.context, round, tuple(members), plan_, len(vector), self._verified, number)
            turn = Turn(links, round_, coordinator, self._signers, self._own(session), self._bind, self._keep)
            try:
                total = turn.total(vector)
            except ProtocolViolation:
                raise
            except ChannelError:
                if turn.bound or session.index == coordinator or coordinator == order[-1]:
                    raise
                self._lost.add(coordinator)
                turn.abandon()
            else:
                self.survivors, self.liars, self.coordinator = turn.survivors, turn.liars, coordinator
                self._gone |= set(members) - set(turn.survivors)
                return total
        raise ChannelError(members[0], "and all other members of the round dropped out in earlier ones")

    def security(self, parties: int) -> SecurityStatement:
        """Private against a coordinator that deviates, with colluding members; correct against one that deviates alone if
        verified. Who is named in an abort broke a rule as far as the one that names it can see; where institutions vouch for the
        session's keys, what a member signs and sends through a coordinator can have nobody else named."""
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

    def take(self, session: Session, peer: int, announced: bytes) -> None:
        """See :meth:`Keyed.take`. Raises ChannelError when the peer has another beacon, and so other coordinators: a chain that was
        re-organised is nobody's fault."""
        if announced[-BEACON:] != hashlib.sha256(session.beacon).digest():
            raise ChannelError(
                peer, "draws coordinators by another block than this party: one of the two read a chain that was left"
            )
        self._signers.meet(peer, announced[:-BEACON])

    def _own(self, session: Session) -> Credential:
        if self._credential is None:
            self._credential = Credential.of(session)
            self._signers = Signers({}, None if session.identity is None else session.identity.check)
            self._signers.meet(session.index, self._credential.announced)
        return self._credential

    def _bind(self, survivors: Collection[int]) -> None:
        if self._record is not None:
            self._record.bind(survivors)

    def _keep(self, run: Observer, sent: Words | None, whole: Whole) -> None:
        if self._journal is not None:
            self._journal.append(sent, whole)
        if self._record is not None:
            self._record.append(run.vouched, run.aggregate)
