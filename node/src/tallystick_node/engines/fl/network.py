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
    """``owners``, ascending, are the parties that have rows: client number i is theirs number i. ``client`` is this party's, None
    where it has no rows and only follows the training. Raises ValueError when the client is not this party's, or owners are not
    in order.

    That all parties hold the same model is checked at the end, by digest: a coordinator that told them different sums is found
    out, if not who it was.
    """

    def __init__(self, session: Session, owners: Sequence[int], client: Client | None, aggregation: Aggregation) -> None:
        if list(owners) != sorted(set(owners) & set(range(session.parties))):
            raise ValueError("owners are parties of the session, ascending")
        due = owners.index(session.index) if session.index in owners else None
        if (client.number if client else None) != due:
            raise ValueError(f"party {session.index} is client {due}, not client {client.number if client else None}")
        self._session, self._owners, self._client, self._aggregation = session, tuple(owners), client, aggregation

    @property
    def clients(self) -> int:
        """As many as owners."""
        return len(self._owners)

    @property
    def local(self) -> Sequence[Client]:
        """This party's."""
        return (self._client,) if self._client else ()

    def total(self, say: Callable[[Client], Vector], length: int, members: Sequence[int], round: int) -> Vector:  # noqa: A002
        """See :meth:`Carrier.total`."""
        client = self._client
        vector = say(client) if client is not None and client.number in members else np.zeros(length)
        return self._aggregation.total(self._session, vector, [self._owners[member] for member in members], round)

    def agree(self, digest: bytes, step: str) -> tuple[int, ...]:
        """See :meth:`Carrier.agree`."""
        self._session.mark(step)
        silent = sorted(self._aggregation.gone - {self._session.index})
        for peer, channel in sorted(self._session.channels.items()):
            if peer in silent:
                continue
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
