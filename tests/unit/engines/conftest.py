"""Parties in threads, and links that corrupt what passes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tallystick_node.engines.channel import Channel, Session, local_sessions


class CorruptingChannel:
    """Passes messages on, changing the ``number``-th that is sent."""

    def __init__(self, inner: Channel, number: int, change: Callable[[bytes], bytes]) -> None:
        self.inner, self.number, self.change, self.peer, self.sent = inner, number, change, inner.peer, 0

    def send(self, message) -> None:
        message = bytes(message)
        self.inner.send(self.change(message) if self.sent == self.number else message)
        self.sent += 1

    def receive(self) -> bytes:
        return self.inner.receive()

    def receive_into(self, view) -> int:
        return self.inner.receive_into(view)

    def mark(self, phase: str) -> None:
        self.inner.mark(phase)


def leave(session: Session) -> None:
    """Close a party's links, so that nobody waits for it until a deadline."""
    for channel in session.channels.values():
        while hasattr(channel, "inner"):
            channel = channel.inner
        channel.close()  # type: ignore[attr-defined]


def run_parties(sessions, engine) -> list:
    """Each party's result, or the exception it ended with; a party that fails leaves."""

    def one(session: Session):
        try:
            return engine(session)
        except Exception as error:
            leave(session)
            return error

    with ThreadPoolExecutor(len(sessions)) as pool:
        return list(pool.map(one, sessions))


@pytest.fixture
def parties():
    """``parties(n, engine, corrupt=(from, to, message number, change))``."""

    def run(number: int, engine, corrupt=None) -> list:
        sessions = local_sessions(number, seconds=240.0)  # kernels may be compiled meanwhile
        if corrupt:
            sender, receiver, message, change = corrupt
            channels = sessions[sender].channels
            channels[receiver] = CorruptingChannel(channels[receiver], message, change)
        return run_parties(sessions, engine)

    return run
