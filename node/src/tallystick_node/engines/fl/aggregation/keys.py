"""Sums whose rounds have numbers, and the keys of a session, told once, over each pair's own channel."""

from __future__ import annotations

from abc import abstractmethod

from tallystick_node.engines.channel import ChannelError, ProtocolViolation, Session, receive_block
from tallystick_node.engines.credentials import KEYS
from tallystick_node.engines.fl.aggregation.base import Aggregation


class Numbered(Aggregation):
    """A sum that stays with one session, and that uses a round's number once: what is signed and what masks are bound to it."""

    step: str

    def __init__(self) -> None:
        self._session: Session | None = None
        self._last = -1

    def begin(self, session: Session, round: int) -> bool:  # noqa: A002
        """Begin a round; whether it is the first. Raises ValueError for another session or a round's number that is not above the
        last."""
        if round <= self._last:
            raise ValueError("a round's number is above those of the rounds before it")
        if self._session not in (None, session):
            raise ValueError(f"a {self.step} stays with one session")
        first, self._session, self._last = self._session is None, session, round
        return first


class Keyed(Numbered):
    """A sum whose parties tell one another a key before the first round."""

    @abstractmethod
    def take(self, session: Session, peer: int, announced: bytes) -> None:
        """A peer's key, with what came with it. Raises ProtocolViolation naming the peer when it is of no use."""

    def enter(
        self,
        session: Session,
        round: int,  # noqa: A002
        announced: bytes,
        lost: set[int] | None = None,
        *,
        patient: bool = True,
    ) -> None:
        """Begin a round, and before the first one meet: send every party ``announced``, and take as many bytes of each, ``patient``
        for as long as the run may take. A party that is silent or gone is added to ``lost``; without that ChannelError is raised.
        Raises what :meth:`begin` does."""
        if self.begin(session, round):
            self._meet(session, announced, lost, patient=patient)

    def _meet(self, session: Session, announced: bytes, lost: set[int] | None, *, patient: bool) -> None:
        session.mark(f"{self.step}/{KEYS}")
        for peer, channel in sorted(session.channels.items()):
            try:
                channel.send(announced)
            except ChannelError:
                if lost is None:
                    raise
                lost.add(peer)
        for peer, channel in sorted(session.channels.items()):
            if lost is not None and peer in lost:
                continue
            try:
                if patient:
                    session.patience(peer)
                theirs = receive_block(channel, len(announced), f"{self.step}/{KEYS}")
            except ProtocolViolation:
                raise
            except ChannelError:
                if lost is None:
                    raise
                lost.add(peer)
            else:
                self.take(session, peer, theirs)
