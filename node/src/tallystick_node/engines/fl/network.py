"""One client here, the others at their own institutions: every party runs the strategy itself, on the sum that all of them get.

No party is a server. What a party learns of the others is what the aggregation lets it learn: see :meth:`Aggregation.security`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tallystick_node.engines.channel import ChannelError, ProtocolViolation, Session, receive_block
from tallystick_node.engines.fl.aggregation.base import Aggregation
from tallystick_node.engines.fl.carrier import Carrier
from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.parameters import Vector


class Network(Carrier):
    """The party of a session as one client: its number is the party's index. Raises ValueError when it is not.

    That all parties hold the same model is checked at the end, by digest: a coordinator that told them different sums is found
    out, if not who it was.
    """

    def __init__(self, session: Session, client: Client, aggregation: Aggregation) -> None:
        if client.number != session.index:
            raise ValueError(f"party {session.index} is client {session.index}, not client {client.number}")
        self._session, self._client, self._aggregation = session, client, aggregation

    @property
    def clients(self) -> int:
        """As many as parties."""
        return self._session.parties

    @property
    def local(self) -> Sequence[Client]:
        """This party's."""
        return (self._client,)

    def total(self, say: Callable[[Client], Vector], length: int, members: Sequence[int], round: int) -> Vector:  # noqa: A002
        """See :meth:`Carrier.total`."""
        vector = say(self._client) if self._client.number in members else np.zeros(length)
        return self._aggregation.total(self._session, vector, members, round)

    def agree(self, digest: bytes, step: str) -> tuple[int, ...]:
        """See :meth:`Carrier.agree`."""
        self._session.mark(step)
        silent = []
        for peer, channel in sorted(self._session.channels.items()):
            try:
                channel.send(digest)
            except ChannelError:
                silent.append(peer)
        for peer, channel in sorted(self._session.channels.items()):
            if peer in silent:
                continue
            try:
                theirs = receive_block(channel, len(digest), step)
            except ProtocolViolation:
                raise
            except ChannelError:
                silent.append(peer)
                continue
            if theirs != digest:
                raise ProtocolViolation(peer, step, "does not hold what this party holds: compare models, settings and rounds")
        return tuple(sorted(silent))
