"""A party that works for long before its turn says so, so that the others do not take it for silent.

An empty message says that its sender still works on the message that follows. Whoever waits for that one bears any number of them,
for each of which the deadline of the channel begins anew: a party that hangs, or is gone, is found as soon as ever, and one that
only pretends to work is stopped by the deadline of the run. Both ends enter the step's phase before the first: the transcripts hold
them like any other message.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from tallystick_node.engines.channel import Channel, ProtocolViolation

EVERY = 0.5  # seconds between two such messages: a quarter of the least silence that a node may be set to bear
GoingOn = Callable[[], None]  # called now and then by what works for long; may raise


class Alive:
    """Called often while a party works, says to its peers now and then that it does."""

    def __init__(self, channels: Iterable[Channel]) -> None:
        self._channels = tuple(channels)
        self._said = time.monotonic()

    def __call__(self) -> None:
        """Raises ChannelError when a link fails."""
        now = time.monotonic()
        if now - self._said >= EVERY:
            self._said = now
            for channel in self._channels:
                channel.send(b"")


def receive_worked_on(channel: Channel, size: int, step: str) -> bytes:
    """The message of ``size`` bytes, more than none, of a peer that may say first that it works on it. Raises ProtocolViolation for
    one of another length, ChannelError as the channel does."""
    while not (message := channel.receive()):
        pass
    if len(message) != size:
        raise ProtocolViolation(channel.peer, step, f"sent {len(message)} bytes where {size} were due")
    return message
