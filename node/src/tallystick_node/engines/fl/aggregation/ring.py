"""A sum without a coordinator: the members pass masked partial sums around a ring, and every party gets the same total."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.fl.aggregation import masks, quantisation
from tallystick_node.engines.fl.aggregation.base import Disagreement, check_summand
from tallystick_node.engines.fl.aggregation.keys import Keyed
from tallystick_node.engines.fl.aggregation.quantisation import Words
from tallystick_node.engines.security import SecurityStatement

STEP = "ring sum"
SHORT = 1 << 12  # words: vectors up to here cost less to send to everyone than they cost round trips in a ring
_DOMAIN = b"tallystick/v1/ring-sum/round\0"


class RingSum(Keyed):
    """The ring all-reduce (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", J. Parallel
    and Distributed Computing 2009) over words modulo 2^32, to which every two members add a mask and its opposite.

    A member adds up the masks that it has in common with each other member (as in Bonawitz et al., CCS 2017, section 4, but without
    shares of secrets: nobody may drop out). Members then pass on piece after piece of the vector, each adding its own, until every
    piece is whole somewhere; and then pass on the whole pieces. A member sends 2 (n - 1) / n of the vector in 2 (n - 1) steps,
    and one piece more to each party that is no member. Vectors of at most ``SHORT`` words go from each member to all parties
    instead, in one step.

    Adversary. *Privacy* holds against parties that deviate, any number of them together, both neighbours of a member included: what
    members send beyond what others sent them are vectors that are uniform but for their sum, so colluding parties learn the sum of
    the other members' vectors and no more. *Correctness* holds against semi-honest parties only: a member can change the sum, or
    tell others another one than it computed, and is not named. A party that is lost ends the round. Where those matter take
    :class:`.secure.SecureSum`. Keys come over each pair's own authenticated channel and live as long as this object; a round number
    is used once.
    """

    step = STEP

    def __init__(self) -> None:
        super().__init__()
        self._secret = X25519PrivateKey.generate()
        self._keys: dict[int, bytes] = {}

    def total(self, session: Session, vector: NDArray[np.float64], members: Sequence[int], round: int) -> NDArray[np.float64]:  # noqa: A002
        """See :meth:`Aggregation.total`; every entry is off by at most :func:`quantisation.error`. Raises ValueError for fewer than
        two members, and Disagreement when parties took part with different members, rounds, contexts or lengths, or one
        deviated so that no sum came out."""
        if len(members) < 2:
            raise ValueError("a masked sum has two or more members: the sum of one vector hides nothing")
        if session.index in members:
            check_summand(vector)
        self.enter(session, round, masks.public_key(self._secret))
        words = np.zeros(len(vector) + 1, np.uint32)  # the last word adds up to zero exactly if the masks cancel
        if session.index in members:
            words[:-1] = quantisation.encode(vector, len(members))
            self._mask(session, words, members, round)
        session.mark(f"{STEP}/exchange")
        if len(words) <= SHORT:
            _exchange(session, words, members)
        elif session.index in members:
            _go_round(session, words, members)
        else:
            _collect(session, words, members)
        return _decoded(words, len(members))

    def security(self, parties: int) -> SecurityStatement:
        """Private whoever colludes; correct if all follow the protocol."""
        return SecurityStatement(
            adversary="semi-honest",
            corruptions=parties - 1,
            parties=parties,
            computational_bits=128,
            statistical_bits=0,
            trusted=(),
            learns={
                "party": "the sum of the members' vectors of every round",
                "colluding parties": "the sum of the other members' vectors, which follows from the sum and their own; nothing "
                "more when they deviate, but then the sum may be false",
            },
            references=(
                "Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms for clusters of workstations, JPDC 2009",
                "Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning, CCS 2017",
            ),
        )

    def take(self, session: Session, peer: int, announced: bytes) -> None:
        """See :meth:`Keyed.take`."""
        if not masks.is_usable(announced):
            raise ProtocolViolation(peer, f"{STEP}/keys", "sent a key of small order, on which anybody could agree")
        self._keys[peer] = announced

    def _mask(self, session: Session, words: Words, members: Sequence[int], round: int) -> None:  # noqa: A002
        listed = struct.pack(f"<3Q{len(members)}I", round, len(words), len(members), *members)
        digest = hashlib.sha256(_DOMAIN + hashlib.sha256(session.context).digest() + listed).digest()
        me = session.index
        masks.add(
            words,
            [(masks.pair_seed(self._secret, self._keys[other], digest, me, other), other < me) for other in members if other != me],
        )


def _exchange(session: Session, words: Words, members: Sequence[int]) -> None:
    """Members send their words to everyone, and all add."""
    if session.index in members:
        for peer in sorted(session.channels):
            send_array(session, peer, words)
    for member in members:
        if member != session.index:
            words += _receive(session, member, len(words))


def _go_round(session: Session, words: Words, members: Sequence[int]) -> None:
    """Turn a member's words into the sum: pieces are added up on their way round, then passed on whole."""
    pieces, count, place = _pieces(words, len(members)), len(members), members.index(session.index)
    after, before = members[(place + 1) % count], members[place - 1]
    for step in range(count - 1):
        send_array(session, after, pieces[(place - step) % count])
        piece = pieces[(place - step - 1) % count]
        piece += _receive(session, before, len(piece))
    whole = pieces[(place + 1) % count]
    for peer in sorted(session.channels.keys() - set(members)):
        send_array(session, peer, whole)
    for step in range(count - 1):
        send_array(session, after, pieces[(place + 1 - step) % count])
        piece = pieces[(place - step) % count]
        piece[:] = _receive(session, before, len(piece))


def _collect(session: Session, words: Words, members: Sequence[int]) -> None:
    """A party that is no member gets each piece of the sum from the member at which it became whole."""
    pieces = _pieces(words, len(members))
    for place, member in enumerate(members):
        piece = pieces[(place + 1) % len(members)]
        piece[:] = _receive(session, member, len(piece))


def _pieces(words: Words, count: int) -> list[Words]:
    """The words in ``count`` views of lengths that differ by at most one."""
    return [words[len(words) * each // count : len(words) * (each + 1) // count] for each in range(count)]


def _receive(session: Session, peer: int, length: int) -> Words:
    session.patience(peer)
    return receive_array(session, peer, (length,), STEP, np.uint32)


def _decoded(words: Words, members: int) -> NDArray[np.float64]:
    if words[-1]:
        raise Disagreement(
            "the masks of the members do not cancel: compare context, round, members and length at all parties; if they are the "
            "same, one of them deviated, and a verified secure sum names it"
        )
    try:
        return quantisation.decode(words[:-1], members, members)
    except quantisation.OutOfRange as error:
        raise Disagreement(f"{error}: a member deviated, and a verified secure sum names it") from None
