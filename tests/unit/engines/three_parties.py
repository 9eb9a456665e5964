"""Three parties of the replicated protocol in threads: what they compute, and what each of them sees."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from tallystick_node.engines.channel import Channel, ChannelError, Session, local_sessions
from tallystick_node.engines.mpc.protocol import Binary, Shares
from tallystick_node.engines.mpc.replicated import Replicated
from unit.engines.conftest import CorruptingChannel, run_parties


def answers(engine, sessions=None) -> list:
    """What ``engine(protocol)`` returns at each party; the first error is raised."""
    found = run_parties(sessions or local_sessions(3), lambda session: engine(Replicated(session)))
    errors = [answer for answer in found if isinstance(answer, Exception)]
    for error in sorted(errors, key=lambda error: isinstance(error, ChannelError)):  # what a party waited for in vain comes last
        raise error
    return found


def together(step, *inputs) -> list:
    """``step(protocol, *shares)`` at three parties; input k belongs to party k mod 3."""

    def engine(protocol: Replicated):
        shares = [
            protocol.share(number % 3, values.shape, values if protocol.index == number % 3 else None)
            for number, values in enumerate(inputs)
        ]
        return step(protocol, *shares)

    return answers(engine)


def revealed(step, *inputs):
    """The value of ``step``'s shares, the same at all parties."""

    def show(protocol: Replicated, *shares: Shares):
        result = step(protocol, *shares)
        return protocol.reveal_binary(result) if isinstance(result, Binary) else protocol.reveal(result)

    found = together(show, *inputs)
    assert all((answer == found[0]).all() for answer in found)
    return found[0]


@dataclass
class Seen:
    """A message: who sent it to whom, as which of its messages to that party, in which step, at which depth."""

    sender: int
    receiver: int
    number: int
    step: str
    content: bytes
    depth: int


@dataclass
class Record:
    """All messages of a run."""

    messages: list[Seen] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class RecordedChannel:
    """Writes down what passes. The depth of a message is one more than that of any message its sender received before in the
    same step."""

    def __init__(
        self, inner: Channel, me: int, record: Record, clocks: list[int], queues: dict[tuple[int, int], deque[int]]
    ) -> None:
        self.inner, self.me, self.record, self.clocks, self.queues, self.peer = inner, me, record, clocks, queues, inner.peer
        self.sent, self.step = 0, ""

    def send(self, message) -> None:
        depth = self.clocks[self.me] + 1
        with self.record.lock:
            self.record.messages.append(Seen(self.me, self.peer, self.sent, self.step, bytes(message), depth))
        self.sent += 1
        self.queues[self.me, self.peer].append(depth)
        self.inner.send(message)

    def receive(self) -> bytes:
        message = self.inner.receive()
        self._tick()
        return message

    def receive_into(self, view) -> int:
        size = self.inner.receive_into(view)
        self._tick()
        return size

    def _tick(self) -> None:
        self.clocks[self.me] = max(self.clocks[self.me], self.queues[self.peer, self.me].popleft())

    def mark(self, phase: str) -> None:
        self.step = phase
        self.clocks[self.me] = 0
        self.inner.mark(phase)


def recorded(engine) -> tuple[list[Seen], list[Session]]:
    """All messages of a run of ``engine(protocol)``, and the sessions with their meters. Steps must not overlap between parties for
    depths to be right: a barrier in the engine, or one step, sees to that."""
    record, clocks = Record(), [0, 0, 0]
    queues = {(i, j): deque[int]() for i in range(3) for j in range(3)}
    sessions = local_sessions(3)
    for session in sessions:
        for peer, channel in list(session.channels.items()):
            session.channels[peer] = RecordedChannel(channel, session.index, record, clocks, queues)
    answers(engine, sessions)
    return record.messages, list(sessions)


def corrupted(engine, sender: int, receiver: int, number: int, change: Callable[[bytes], bytes]) -> list:
    """Each party's answer or error when one message is changed. A party that fails makes the others fail at once."""
    sessions = local_sessions(3)
    channels = sessions[sender].channels
    channels[receiver] = CorruptingChannel(channels[receiver], number, change)

    def one(session: Session):
        try:
            return engine(Replicated(session))
        except Exception:
            for channel in session.channels.values():
                channel.send(b"failed")
            raise

    return run_parties(sessions, one)


def ring(seed: int, *shape: int) -> np.ndarray:
    """Uniform ring elements."""
    return np.random.default_rng(seed).integers(0, 2**64, shape, np.uint64)
