"""A running digest of everything that goes over one direction of one link.

BLAKE3 (O'Connor, Aumasson, Neves and Wilcox-O'Hearn 2020) over ``tallystick/v1/transcript`` and then, in order, each item: a tag
(one byte, 0 for a message and 1 for a phase mark), the length of its content (eight bytes, big-endian), its content. The lengths
keep the items apart, so that two transcripts with the same digest hold the same messages between the same marks, unless BLAKE3 has
a collision. Every byte of a run is digested at both ends, so the hash has to be as fast as the data plane: BLAKE3 takes a quarter
of SHA-256's time.
"""

from __future__ import annotations

from blake3 import blake3

_MESSAGE, _MARK = b"\0", b"\1"
_SMALL = 2048  # bytes: up to here a copy costs less than another call


class Transcript:
    """One direction. Two honest ends always agree."""

    def __init__(self) -> None:
        self._state = blake3(b"tallystick/v1/transcript")
        self.messages = 0
        self.bytes = 0

    def message(self, content: bytes | bytearray | memoryview) -> None:
        """A message went by."""
        size = len(content)
        if size > _SMALL:
            self.begin(size)
            self.more(content)
        else:
            self.messages += 1
            self.bytes += size
            self._state.update(_MESSAGE + size.to_bytes(8, "big") + content)

    def begin(self, size: int) -> None:
        """A message of ``size`` bytes begins, whose pieces follow by :meth:`more`."""
        self.messages += 1
        self.bytes += size
        self._state.update(_MESSAGE + size.to_bytes(8, "big"))

    def more(self, piece: bytes | bytearray | memoryview) -> None:
        """The next piece of the message that began."""
        self._state.update(piece)

    def mark(self, phase: str) -> None:
        """A phase began."""
        content = phase.encode()
        self._state.update(_MARK + len(content).to_bytes(8, "big") + content)

    def summary(self) -> tuple[int, int, str]:
        """Messages, bytes, and ``blake3:`` with the digest so far."""
        return (self.messages, self.bytes, "blake3:" + self._state.hexdigest())
