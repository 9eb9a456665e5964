"""All clients in one process, one after another: for studies before anyone is asked for data, and for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tallystick_node.engines.fl.aggregation import quantisation
from tallystick_node.engines.fl.carrier import Carrier
from tallystick_node.engines.fl.client import Client
from tallystick_node.engines.fl.parameters import Vector


class Simulation(Carrier):
    """Clients number 0 to n - 1, in order. Adds on the grid of integers of a network (:mod:`.aggregation.quantisation`): gives the
    same bits as one with a plain, secure or ring sum from which nobody drops out. Raises ValueError when numbers are missing."""

    def __init__(self, clients: Sequence[Client]) -> None:
        if not clients or [client.number for client in clients] != list(range(len(clients))):
            raise ValueError("the clients of a simulation are numbered 0, 1, 2 and so on, in order")
        self._clients = tuple(clients)

    @property
    def clients(self) -> int:
        """See :class:`Carrier`."""
        return len(self._clients)

    @property
    def local(self) -> Sequence[Client]:
        """All of them."""
        return self._clients

    def total(self, say: Callable[[Client], Vector], length: int, members: Sequence[int], round: int) -> Vector:  # noqa: A002
        """See :meth:`Carrier.total`."""
        words, count = np.zeros(length, np.uint32), len(members)
        for member in members:
            quantisation.add(words, quantisation.encode(say(self._clients[member]), count), count)
        return quantisation.decode(words, count, count)

    def agree(self, digest: bytes, step: str) -> tuple[int, ...]:
        """One process agrees with itself."""
        return ()
