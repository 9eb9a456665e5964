"""Room at a key service: who has asked for nothing yet waits in a hall; who has asked has a place, and each account at most a few.

To connect costs nothing, so a place is given for a first message only. The hall is large, everybody in it has little time, and
where it is full whoever has waited longest is put out: idle connections, however many, keep nobody from being served. An
institution that begins requests and does not go on with them fills its own places alone.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator

HALL = 128  # connections that have asked for nothing yet
PLACES = 32  # requests that are served at once
EACH = 8  # of one account


class Crowded(Exception):  # noqa: N818 - a verdict
    """There is no place for a request; the message says why."""


class Places:
    """One service's. ``hall``, ``places`` and ``each``: as :data:`HALL`, :data:`PLACES` and :data:`EACH`."""

    def __init__(self, hall: int = HALL, places: int = PLACES, each: int = EACH) -> None:
        self._size, self._places, self._each = hall, places, each
        self._hall: OrderedDict[int, socket.socket] = OrderedDict()
        self._asking: Counter[str] = Counter()  # requests by account, those that wait for a place among them
        self._served = 0
        self._change = threading.Condition()
        self._came, self._closed = 0, False

    @contextlib.contextmanager
    def waiting(self, connection: socket.socket) -> Iterator[None]:
        """Have a connection in the hall, until the context ends; who has waited longest is put out where it is full."""
        with self._change:
            self._came += 1
            ticket = self._came
            if len(self._hall) >= self._size:
                _, longest = self._hall.popitem(last=False)
                _end(longest)
            self._hall[ticket] = connection
            if self._closed:
                _end(connection)
        try:
            yield
        finally:
            with self._change:
                self._hall.pop(ticket, None)
                self._change.notify_all()

    @contextlib.contextmanager
    def served(self, account: str, seconds: float) -> Iterator[None]:
        """Have a place, as soon as there is one. Raises :class:`Crowded` where the account has as many requests as it may, those
        that wait counted, or where no place comes free within ``seconds``."""
        give_up = time.monotonic() + seconds
        with self._change:
            if self._asking[account] >= self._each:
                raise Crowded(f"the account has {self._each} requests that are not answered yet")
            self._asking[account] += 1
        try:
            with self._change:
                while self._served >= self._places:
                    if not self._change.wait(max(0.0, give_up - time.monotonic())):
                        raise Crowded(f"all of {self._places} places are taken")
                self._served += 1
            try:
                yield
            finally:
                with self._change:
                    self._served -= 1
        finally:
            with self._change:
                self._asking[account] -= 1
                if not self._asking[account]:
                    del self._asking[account]
                self._change.notify_all()

    def close(self, seconds: float) -> None:
        """Put out who has asked for nothing, and wait for who has, at most ``seconds``."""
        give_up = time.monotonic() + seconds
        with self._change:
            self._closed = True
            for connection in self._hall.values():
                _end(connection)
            self._change.wait_for(lambda: not self._asking and not self._hall, max(0.0, give_up - time.monotonic()))


def _end(connection: socket.socket) -> None:
    """End it for the thread that reads from it: as TCP does, as TLS would wait for the other end."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
