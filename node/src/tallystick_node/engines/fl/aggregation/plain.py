"""A sum in the clear, for parties that may see one another's updates: one of them adds and tells the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import Session, receive_array, send_array
from tallystick_node.engines.fl.aggregation.base import Aggregation, check_received, check_summand
from tallystick_node.engines.security import SecurityStatement

STEP = "plain sum"


class PlainSum(Aggregation):
    """The members send their vectors to a coordinator, which adds them in the order of the members and sends every party the sum.

    The coordinator of round r is member number r modulo their count, so that no party sees every round. It learns each member's
    vector of its rounds, and the others trust its sum: honest parties only.
    """

    def total(self, session: Session, vector: NDArray[np.float64], members: Sequence[int], round: int) -> NDArray[np.float64]:  # noqa: A002
        """See :meth:`Aggregation.total`."""
        if session.index in members:
            check_summand(vector)
        coordinator = members[round % len(members)]
        session.mark(STEP)
        if session.index != coordinator:
            if session.index in members:
                send_array(session, coordinator, vector)
            received = receive_array(session, coordinator, vector.shape, STEP, np.float64)
            return check_received(coordinator, STEP, received, len(members))
        out = np.zeros_like(vector)
        for member in members:
            if member == session.index:
                out += vector
            else:
                out += check_received(member, STEP, receive_array(session, member, vector.shape, STEP, np.float64))
        for peer in sorted(session.channels):
            send_array(session, peer, out)
        return out

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
