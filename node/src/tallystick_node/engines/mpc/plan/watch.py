"""Watching what one party sends and receives, and in which order."""

from __future__ import annotations

from dataclasses import replace

from tallystick_node.engines.channel import Buffer, Channel, Session


class Seen:
    """Bytes and order of what passes on one party's channels."""

    def __init__(self, dealer: int) -> None:
        self.dealer = dealer
        self.bytes = 0
        self.dealt = 0  # bytes that came from the dealer
        self.pattern = ""

    def forget(self) -> None:
        """Nothing has passed."""
        self.bytes, self.dealt, self.pattern = 0, 0, ""

    def watching(self, session: Session) -> Session:
        """The session, watched."""
        channels: dict[int, Channel] = {peer: _Watched(channel, self) for peer, channel in session.channels.items()}
        return replace(session, channels=channels)

    def note(self, what: str) -> None:
        """A message was sent (s) or received (r)."""
        if not self.pattern.endswith(what):
            self.pattern += what


class _Watched:
    """A channel that notes what passes."""

    def __init__(self, inner: Channel, seen: Seen) -> None:
        self.peer = inner.peer
        self._inner = inner
        self._seen = seen

    def send(self, message: Buffer) -> None:
        self._seen.bytes += len(message)
        self._seen.note("s")
        self._inner.send(message)

    def receive(self) -> bytes:
        message = self._inner.receive()
        self._received(len(message))
        return message

    def receive_into(self, view: memoryview) -> int:
        size = self._inner.receive_into(view)
        self._received(size)
        return size

    def _received(self, size: int) -> None:
        self._seen.note("r")
        if self.peer == self._seen.dealer:
            self._seen.dealt += size

    def mark(self, phase: str) -> None:
        self._inner.mark(phase)
