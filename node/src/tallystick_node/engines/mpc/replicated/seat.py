"""A party's seat at the table of three: its number, its shared randomness, and arrays to and from its neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.channel import PART, Session, receive_array, receive_into, send_array
from tallystick_node.engines.memory import keep_freed
from tallystick_node.engines.mpc.prss import Prss, Unsigned

_TURN = 2 * PART  # bytes that go one way before as many are awaited the other way: links hold more than that
_PIECE = 1 << 16  # elements of an array that flows: while one piece is under way, the next is computed in the cache
_ROWS = 256  # of a matrix, at least that many: each piece passes over the whole right factor

Extent = tuple[int, int]  # rows, and elements in each


class Seat:
    """One party among three. Party i holds the parts i and i + 1 of every secret and the seeds of the same numbers."""

    def __init__(self, session: Session) -> None:
        keep_freed()
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

    def receive_into(self, of: int, array: NDArray[Any]) -> None:
        """Like :meth:`receive`, into a contiguous array that is there."""
        receive_into(self.session, of, array, self.step)

    def flow(self) -> AbstractContextManager[None]:
        """What passes within passes piece by piece, in one round: see :func:`turns`."""
        return self.session.meter.flow()

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


def turns(extent: Extent) -> Iterator[list[slice]]:
    """The rows of an array of 64-bit elements, cut into pieces that follow one another on a link, in groups: a group is sent, and
    received, before the next begins. A group has at most ``_TURN`` bytes, unless one row has more."""
    rows, width = extent[0], max(1, extent[1])
    length = max(1, min(_PIECE, _TURN // 8) // width)
    if width > 1:
        length = max(1, min(max(_ROWS, length), _TURN // (8 * width)))
    pieces = [slice(start, min(start + length, rows)) for start in range(0, rows, length)]
    group = max(1, _TURN // (8 * width * length))
    for start in range(0, len(pieces), group):
        yield pieces[start : start + group]
