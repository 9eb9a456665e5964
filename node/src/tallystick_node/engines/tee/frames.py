"""The outer ends of the enclave's and the quoting process's sockets: the worker's frames, with one deadline for all of them."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

_MESSAGE = b"M"


class StreamBroken(Exception):  # noqa: N818 - a verdict
    """The other end is gone, too slow, or sent too much; ``reason`` is ``Ended``, ``Deadline``, ``FrameTooLarge`` or
    ``UnexpectedFrame``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Stream:
    """Frames of a kind (one byte), a length (four, big-endian) and that many bytes, until ``seconds`` from now.

    Once broken it stays so, as half a frame or an answer that comes too late would be taken for the next one.
    """

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self.extend(seconds)

    def extend(self, seconds: float) -> None:
        """Set the deadline anew."""
        self._deadline = time.monotonic() + seconds

    @contextlib.contextmanager
    def _armed(self) -> Iterator[None]:
        try:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            yield
        except TimeoutError:
            raise self._broken("Deadline") from None
        except OSError:
            raise self._broken("Ended") from None

    def _broken(self, reason: str) -> StreamBroken:
        self._connection.close()
        return StreamBroken(reason)

    def send(self, kind: bytes, payload: bytes) -> None:
        """Write one frame."""
        self.write(kind + len(payload).to_bytes(4, "big"))
        self.write(payload)

    def write(self, data: bytes) -> None:
        """Write bytes outside of any frame."""
        with self._armed():
            self._connection.sendall(data)

    def receive(self, limit: int) -> tuple[bytes, bytes]:
        """Read one frame of at most ``limit`` bytes."""
        head = self._exactly(5)
        size = int.from_bytes(head[1:], "big")
        if size > limit:
            raise self._broken("FrameTooLarge")
        return head[:1], self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            with self._armed():
                part = self._connection.recv(min(size - len(parts), 1 << 20))
            if not part:
                raise self._broken("Ended")
            parts += part
        return bytes(parts)


class Messages:
    """Messages of at most ``limit`` bytes over a connection, as frames of one kind: each within ``seconds``."""

    def __init__(self, connection: socket.socket, seconds: float, limit: int) -> None:
        self._stream, self._seconds, self._limit = Stream(connection, seconds), seconds, limit

    def send(self, message: bytes) -> None:
        """Send one message. Raises :class:`StreamBroken`."""
        self._stream.extend(self._seconds)
        self._stream.send(_MESSAGE, message)

    def receive(self) -> bytes:
        """The next one. Raises :class:`StreamBroken`."""
        self._stream.extend(self._seconds)
        kind, message = self._stream.receive(self._limit)
        if kind != _MESSAGE:
            raise StreamBroken("UnexpectedFrame")
        return message
