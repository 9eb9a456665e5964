"""The one thing that a round of federated learning asks of its parties: the sum of the members' vectors."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session
from tallystick_node.engines.fl.aggregation import quantisation
from tallystick_node.engines.mpc.prss import SEED, Stream
from tallystick_node.engines.security import SecurityStatement

_ORDER = b"tallystick/v1/coordinators\0"


class Disagreement(ValueError):  # noqa: N818 - a verdict on a round
    """What the members sent adds up to no sum, and nobody can say whose fault it is."""


class OtherSurvivors(ValueError):  # noqa: N818 - a verdict on a round
    """A round is repeated with other survivors than before: the difference of the two sums would show what some of them said."""


def check_summand(vector: NDArray[np.float64]) -> None:
    """Raise ValueError unless a party's own vector is flat and finite, with every entry within [-1, 1]."""
    if vector.ndim != 1 or not quantisation.within(vector):
        raise ValueError("a summand is a flat vector of finite numbers within [-1, 1]: scale it by its public bound")


def coordinators(session: Session, members: Sequence[int], round: int) -> list[int]:  # noqa: A002
    """The members of a round in the order in which they coordinate it: the next takes over from one that is lost.

    Members stand in an order drawn from the session's beacon, so that nobody chooses it, ascending where there is none; and each
    round begins with the next of them, so that no party sees every round.
    """
    order = list(members)
    if session.beacon:
        seed = hashlib.sha256(_ORDER + hashlib.sha256(session.context).digest() + session.beacon).digest()[:SEED]
        drawn = Stream(seed).elements((session.parties,))
        order.sort(key=lambda member: (int(drawn[member]), member))
    first = round % len(order)
    return order[first:] + order[:first]


class Aggregation(ABC):
    """Adds one vector of every member of a round. Every party of the session calls :meth:`total` in the same order of rounds, also
    those that are no members: they give nothing and get the sum."""

    @abstractmethod
    def total(self, session: Session, vector: NDArray[np.float64], members: Sequence[int], round: int) -> NDArray[np.float64]:  # noqa: A002
        """The sum of the members' vectors, of shape (k,), the same to the bit at every party.

        ``vector``, of shape (k,), is this party's summand, every entry within [-1, 1]; of a party outside ``members`` only its
        length counts. All parties give
        vectors of one length and the same ``members``, ascending and distinct, and the same ``round``, counted from 0. Raises
        ChannelError when a party is silent, ProtocolViolation when one sends what the protocol does not allow (a number that is not
        finite or, where it can be seen, one out of range), and ValueError when this party's own vector breaks the rule.
        """

    @property
    def gone(self) -> frozenset[int]:
        """Parties that all who go on know to have dropped out for good: nobody waits for them. None, for a sum that says nothing of
        it."""
        return frozenset()

    @abstractmethod
    def security(self, parties: int) -> SecurityStatement:
        """What the sum promises when so many parties take part."""
