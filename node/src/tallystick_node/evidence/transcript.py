"""A running digest of everything that goes over one direction of one link: h' = SHA-256(h || tag || length || content)."""

from __future__ import annotations

import hashlib

MESSAGE, MARK = b"\0", b"\1"


class Transcript:
    """One direction. Two honest ends always agree."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256(b"tallystick/v1/transcript").digest()
        self.messages = 0
        self.bytes = 0

    def message(self, content: bytes | bytearray | memoryview) -> None:
        """A message went by."""
        self.messages += 1
        self.bytes += len(content)
        self._mix(MESSAGE, content)

    def mark(self, phase: str) -> None:
        """A phase began."""
        self._mix(MARK, phase.encode())

    def summary(self) -> tuple[int, int, str]:
        """Messages, bytes, and ``sha256:`` with the digest so far."""
        return (self.messages, self.bytes, "sha256:" + self._digest.hex())

    def _mix(self, tag: bytes, content: bytes | bytearray | memoryview) -> None:
        state = hashlib.sha256(self._digest + tag + len(content).to_bytes(8, "big"))
        state.update(content)
        self._digest = state.digest()
