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


def run_parties(sessions, engine) -> list:
    """Each party's result, or the exception it ended with."""

    def one(session: Session):
        try:
            return engine(session)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(sessions)) as pool:
        return list(pool.map(one, sessions))


@pytest.fixture
def parties():
    """``parties(n, engine, corrupt=(from, to, message number, change))``."""

    def run(number: int, engine, corrupt=None) -> list:
        sessions = local_sessions(number, seconds=1.0 if corrupt else 60.0)
        if corrupt:
            sender, receiver, message, change = corrupt
            channels = sessions[sender].channels
            channels[receiver] = CorruptingChannel(channels[receiver], message, change)
        return run_parties(sessions, engine)

    return run
