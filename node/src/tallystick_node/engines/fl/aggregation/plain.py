"""A sum in the clear, for parties that may see one another's updates: one of them adds and tells the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import ProtocolViolation, Session, receive_array, send_array
from tallystick_node.engines.fl.aggregation import quantisation
from tallystick_node.engines.fl.aggregation.base import Aggregation, check_summand, coordinators
from tallystick_node.engines.fl.aggregation.quantisation import OutOfRange, Words
from tallystick_node.engines.security import SecurityStatement

STEP = "plain sum"


class PlainSum(Aggregation):
    """The members send their vectors to a coordinator, which adds them and sends every party the sum.

    Vectors go as integers of 32 bits (:mod:`.quantisation`), half the bytes of float64: every entry of the sum is off by at most
    :func:`quantisation.error`, the sum does not depend on the order of adding, and it is to the bit that of a secure sum of the
    same members. The coordinators take turns, in the order of :func:`.coordinators`. Each learns the members' vectors of its
    rounds, and the others trust its sum: honest parties only.
    """

    def total(self, session: Session, vector: NDArray[np.float64], members: Sequence[int], round: int) -> NDArray[np.float64]:  # noqa: A002
        """See :meth:`Aggregation.total`."""
        if session.index in members:
            check_summand(vector)
        coordinator, count = coordinators(session, members, round)[0], len(members)
        session.mark(STEP)
        if session.index != coordinator:
            if session.index in members:
                send_array(session, coordinator, quantisation.encode(vector, count))
            session.patience(coordinator)  # it waits for all members first
            words = receive_array(session, coordinator, vector.shape, STEP, np.uint32)
            try:
                return quantisation.decode(words, count, count)
            except OutOfRange as error:
                raise ProtocolViolation(coordinator, STEP, str(error)) from None
        words = np.zeros(len(vector), np.uint32)
        for member, each in self._vectors(session, vector, members):
            try:
                quantisation.add(words, each, count)
            except OutOfRange as error:
                raise ProtocolViolation(member, STEP, f"sent what is no summand: {error}") from None
        for peer in sorted(session.channels):
            send_array(session, peer, words)
        return quantisation.decode(words, count, count)

    def security(self, parties: int) -> SecurityStatement:
        """Semi-honest, and no party may be curious: the coordinator of a round sees its members' vectors."""
        return SecurityStatement(
            adversary="semi-honest",
            corruptions=0,
            parties=parties,
            computational_bits=0,
            statistical_bits=0,
            trusted=(),
            learns={
                "coordinator of a round": "the vector of every member of that round",
                "party": "the sum of the members' vectors of every round",
            },
        )

    def _vectors(self, session: Session, vector: NDArray[np.float64], members: Sequence[int]) -> Iterator[tuple[int, Words]]:
        for member in members:
            if member == session.index:
                yield member, quantisation.encode(vector, len(members))
            else:
                yield member, receive_array(session, member, vector.shape, STEP, np.uint32)
