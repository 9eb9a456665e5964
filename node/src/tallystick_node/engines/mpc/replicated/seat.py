"""A party's seat at the table of three: its number, its shared randomness, and arrays to and from its neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import PART, ProtocolViolation, Session
from tallystick_node.engines.mpc.prss import Prss, Unsigned

_AHEAD = 8 * PART  # bytes on their way to a peer before this party waits for what it is sent: a channel takes more than that


class Seat:
    """One party among three. Party i holds the parts i and i + 1 of every secret and the seeds of the same numbers."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.index = session.index
        self.before = (session.index - 1) % 3
        self.after = (session.index + 1) % 3
        self.prss = Prss(session)
        self.step = "prss"

    def enter(self, step: str) -> None:
        """What follows, to the next call, is the step of this name: in the transcript, in the meter, in violations."""
        self.step = step
        self.session.mark(step)

    def exchange(
        self,
        to: int | None = None,
        array: NDArray[Any] | None = None,
        of: int | None = None,
        shape: tuple[int, ...] = (),
        kind: Unsigned = np.uint64,
    ) -> NDArray[Any]:
        """Send ``array`` to the party ``to`` while an array of ``shape`` and ``kind`` comes from the party ``of``; either may be
        None.

        Long arrays pass in parts, both ways in turn, so that no two parties wait for each other with full links. Raises
        ProtocolViolation naming ``of`` unless it sends exactly such an array.
        """
        outgoing = memoryview(b"") if array is None else np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        arriving = np.empty(shape if of is not None else 0, kind)
        incoming = arriving.reshape(-1).view(np.uint8).data
        if to is not None and len(outgoing):
            self.session.meter.sent(len(outgoing))
        for start in range(0, max(len(outgoing), len(incoming) + _AHEAD), PART):
            if to is not None and start < len(outgoing):
                self.session.channels[to].send(outgoing[start : start + PART])
            begin = start - _AHEAD
            if of is not None and 0 <= begin < len(incoming):
                self._receive(of, incoming[begin : begin + PART])
        if of is not None and len(incoming):
            self.session.meter.received()
        return arriving

    def _receive(self, peer: int, into: memoryview) -> None:
        part = self.session.channels[peer].receive()
        if len(part) != len(into):
            raise ProtocolViolation(peer, self.step, f"sent {len(part)} bytes where {len(into)} were due")
        into[:] = part

    def send(self, to: int, array: NDArray[Any]) -> None:
        """Send an array whose shape and type the other end knows."""
        self.exchange(to, array)

    def receive(self, of: int, shape: tuple[int, ...], kind: Unsigned = np.uint64) -> NDArray[Any]:
        """An array of this shape and type from a party."""
        return self.exchange(of=of, shape=shape, kind=kind)

    def reshare(self, part: NDArray[Any]) -> NDArray[Any]:
        """From this party's part of masked sums to the next party's: what makes three parts a replicated sharing."""
        return self.exchange(self.before, part, self.after, part.shape, part.dtype.type)
