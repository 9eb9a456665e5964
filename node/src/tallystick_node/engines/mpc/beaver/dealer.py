"""The dealer: a further participant, named in the task, that makes correlated randomness for the others and sees nothing of theirs.

At the start it sends every computing party a seed. From then on it serves requests of the last computing party: both sides of a
request are a few words, and the answer is the corrections of one :class:`~tallystick_node.engines.mpc.beaver.deals.Deal`, as long
as the arrays that they correct. What the parties draw from their seeds costs no message.

Trust: the dealer knows all masks. It learns the secrets if it sees one party's messages or colludes with one, and a dealer that
deals wrongly makes results wrong, unnoticed. Under AES as a pseudo-random function a party knows no more of the others' parts than
the kind of randomness says.
"""

from __future__ import annotations

import secrets
from dataclasses import astuple, fields

import numpy as np

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.mpc.beaver.deals import KINDS, Arrays, Deal
from tallystick_node.engines.mpc.prss import SEED, Stream

LIMIT = 1 << 25  # words that one party draws for one request, at most: 256 MiB
STEP = "deal"

_REQUEST = 4  # words: the kind, counted from 1, and its dimensions; zeros end the dealing


class Dealer:
    """The dealer's side. All other parties of the session compute."""

    def __init__(self, session: Session) -> None:
        """Sends the seeds."""
        self._session = session
        self._parties = sorted(session.channels)
        self._streams = []
        for party in self._parties:
            seed = secrets.token_bytes(SEED)
            session.channels[party].mark(STEP)
            send_array(session, party, np.frombuffer(seed, np.uint8))
            self._streams.append(Stream(seed))

    def serve(self) -> None:
        """Answer requests until the computing parties are done. Raises ProtocolViolation for a request that is none, ChannelError
        when a link fails."""
        while (deal := self._request()) is not None:
            drawn = [deal.draw(stream) for stream in self._streams]
            receiver = self._parties[deal.receiver(len(self._parties))]
            for correction in deal.corrections(drawn):
                send_array(self._session, receiver, correction)

    def _request(self) -> Deal | None:
        asking = self._parties[-1]
        self._session.patience(asking)
        words = [int(word) for word in receive_array(self._session, asking, (_REQUEST,), STEP)]
        if not any(words):
            return None
        if not 1 <= words[0] <= len(KINDS):
            raise ProtocolViolation(asking, STEP, "asked for a kind of randomness that there is not")
        kind = KINDS[words[0] - 1]
        used = len(fields(kind))
        if any(words[1 + used :]):
            raise ProtocolViolation(asking, STEP, "asked for dimensions that the kind has not")
        deal = kind(*words[1 : 1 + used])
        if sum(_size(shape) for shape in deal.shapes) > LIMIT or not deal.sound(len(self._parties)):
            raise ProtocolViolation(asking, STEP, "asked for more than one deal may hold")
        return deal


class Dealt:
    """A computing party's side: what the dealer deals it."""

    def __init__(self, session: Session, dealer: int) -> None:
        """Waits for the seed; ``dealer`` is the dealer's number in the session."""
        self._session = session
        self._dealer = dealer
        members = [party for party in range(session.parties) if party != dealer]
        self._rank, self._parties = members.index(session.index), len(members)
        session.channels[dealer].mark(STEP)
        self._stream = Stream(receive_array(session, dealer, (SEED,), STEP, np.uint8).tobytes())

    def deal(self, deal: Deal) -> Arrays:
        """This party's arrays."""
        if self._rank == self._parties - 1:
            words = [1 + KINDS.index(type(deal)), *astuple(deal)]
            self._ask(words)
        drawn = deal.draw(self._stream)
        if self._rank != deal.receiver(self._parties):
            return drawn
        corrections = tuple(receive_array(self._session, self._dealer, deal.shapes[number], STEP) for number in deal.fitted)
        return deal.corrected(drawn, corrections)

    def close(self) -> None:
        """Tell the dealer that nothing more is needed."""
        if self._rank == self._parties - 1:
            self._ask([])

    def _ask(self, words: list[int]) -> None:
        send_array(self._session, self._dealer, np.array([*words, *[0] * (_REQUEST - len(words))], np.uint64))


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
