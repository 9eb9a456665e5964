"""A party's seat at the table of three: its number, its shared randomness, and arrays to and from its neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import PART, Session, receive_array, send_array
from tallystick_node.engines.mpc.prss import Prss, Unsigned

_TURN = 2 * PART  # bytes that go one way before as many are awaited the other way: links hold more than that


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

    def send(self, to: int, array: NDArray[Any]) -> None:
        """Send an array whose shape and type the other end knows."""
        send_array(self.session, to, array)

    def receive(self, of: int, shape: tuple[int, ...], kind: Unsigned = np.uint64) -> NDArray[Any]:
        """An array of this shape and type. Raises ProtocolViolation naming the party ``of`` unless it sends that many bytes."""
        return receive_array(self.session, of, shape, self.step, kind)

    def exchange(self, to: int, array: NDArray[Any], of: int) -> NDArray[Any]:
        """Send an array to one party while an array like it comes from another, or from the same. Raises like :meth:`receive`.

        Long arrays pass piece by piece, so that no two parties wait for each other with full links.
        """
        if array.nbytes <= _TURN:
            self.send(to, array)
            return self.receive(of, array.shape, array.dtype.type)
        arrived = np.empty(array.shape, array.dtype)
        going, coming = np.ascontiguousarray(array).reshape(-1), arrived.reshape(-1)
        for start in range(0, going.size, _TURN // array.itemsize):
            piece = slice(start, start + _TURN // array.itemsize)
            self.send(to, going[piece])
            coming[piece] = self.receive(of, going[piece].shape, array.dtype.type)
        return arrived

    def reshare(self, part: NDArray[Any]) -> NDArray[Any]:
        """From this party's part of masked sums to the next party's: what makes three parts a replicated sharing."""
        return self.exchange(self.before, part, self.after)
