"""Who works for long before its turn and says so is waited for; who says nothing is as silent as ever."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tallystick_node.engines import alive
from tallystick_node.engines.alive import receive_worked_on
from tallystick_node.engines.channel import ChannelError, ProtocolViolation, Session, local_sessions
from tallystick_node.engines.mpc.additive import secure_sum
from tallystick_node.engines.mpc.threshold import at_least
from unit.engines.conftest import run_parties
from unit.node.sockets import mesh, together

SILENCE, WORK = 20, 100  # seconds of a clock that only moves while party 0 works
Ready = Callable[[Callable[[], None]], None]
Step = Callable[[Session, Ready], list[bool]]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.waiting, self.gave_up = threading.Semaphore(0), threading.Semaphore(0)  # one for each party that does

    def monotonic(self) -> float:
        return self.now


class Impatient:
    """A channel that takes its peer for silent after ``SILENCE`` seconds of a clock."""

    def __init__(self, inner: Any, clock: Clock) -> None:
        self.inner, self.clock, self.peer = inner, clock, inner.peer
        self.send, self.mark, self.close = inner.send, inner.mark, inner.close

    def receive(self) -> bytes:
        began, late = self.clock.now, False
        self.clock.waiting.release()
        while True:
            try:
                message = self.inner._into.get(timeout=0.01)
            except queue.Empty:
                if late:  # nothing had come before that moment
                    self.clock.gave_up.release()
                    raise ChannelError(self.peer, "sent nothing") from None
                late = self.clock.now - began > SILENCE
            else:
                if message is None:
                    raise ChannelError(self.peer, "closed the link")
                return bytes(message)

    def wait(self) -> None:
        while self.inner._into.empty():
            time.sleep(0.001)


def size_test(session: Session, ready: Ready) -> list[bool]:
    """Two owners with seven rows each, of whom the first has to get ready, and where there is a third party, a receiver."""

    def count(going_on: Callable[[], None]) -> list[int]:
        if session.index == 0:
            ready(going_on)
        return [7]

    return at_least(session, count if session.index < 2 else None, groups=1, threshold=5, inputs=(0, 1), context=b"")


def addition(session: Session, ready: Ready) -> list[bool]:
    """Of what the same parties have; whether a receiver got the total."""
    values = [7] if session.index < 2 else None
    first = ready if session.index == 0 else None
    totals = secure_sum(
        session, values, length=1, inputs=(0, 1), receivers=range(1, session.parties), context=b"", ready=first
    ).totals
    return [totals == ((14,) if session.index else None)]


STEPS = pytest.mark.parametrize("step", [size_test, addition])


def outcomes(monkeypatch: pytest.MonkeyPatch, clock: Clock, ready: Ready, step: Step) -> list[Any]:
    monkeypatch.setattr(alive, "time", clock)
    sessions = []
    for each in local_sessions(3, seconds=600):
        channels: dict[int, Any] = {peer: Impatient(channel, clock) for peer, channel in each.channels.items()}
        sessions.append(replace(each, channels=channels, patience=lambda peer, channels=channels: channels[peer].wait()))
    return run_parties(sessions, lambda session: step(session, ready))


@STEPS
def test_an_owner_that_works_for_longer_than_silence_is_borne_is_waited_for(monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    clock = Clock()

    def working(going_on: Callable[[], None]) -> None:
        for _ in range(WORK):
            clock.now += 1
            going_on()

    assert outcomes(monkeypatch, clock, working, step) == [[True]] * 3
    assert clock.now == WORK


@pytest.mark.parametrize(("step", "waiting"), [(size_test, 1), (addition, 2)])  # who only receives sizes waits for its link's end
def test_an_owner_that_hangs_is_taken_for_silent(monkeypatch: pytest.MonkeyPatch, step: Step, waiting: int) -> None:
    clock = Clock()

    def hanging(_: Callable[[], None]) -> None:
        for _ in range(waiting):  # who has not begun to wait would find the links of those that have given up closed
            assert clock.waiting.acquire(timeout=60)
        clock.now += 2 * SILENCE
        for _ in range(waiting):
            assert clock.gave_up.acquire(timeout=60)

    _, *others = outcomes(monkeypatch, clock, hanging, step)
    assert [(each.peer, each.rule) for each in others[:waiting]] == [(0, "sent nothing")] * waiting


def test_it_is_not_said_more_often_than_it_needs_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said = Clock(), list[bytes]()
    monkeypatch.setattr(alive, "time", clock)
    channel: Any = type("Channel", (), {"send": staticmethod(said.append)})
    going_on = alive.Alive([channel])
    for _ in range(1000):
        clock.now += alive.EVERY / 8
        going_on()
    assert said == [b""] * 125


@pytest.mark.parametrize(
    ("step", "messages"), [(size_test, 3), (addition, 5)]
)  # key, mix, decrypt; seal, body, echo, share, partial
def test_both_ends_have_the_same_transcript(monkeypatch: pytest.MonkeyPatch, step: Step, messages: int) -> None:
    monkeypatch.setattr(alive, "EVERY", 0.0)
    channels = mesh(2, seconds=300)

    def ready(going_on: Callable[[], None]) -> None:
        for _ in range(5):
            going_on()

    def party(index: int) -> list[bool]:
        for channel in channels[index].values():
            channel.handshake()
        return step(Session(index, {**channels[index]}), ready)

    assert together(lambda: party(0), lambda: party(1)) == [[True], [True]]
    for one, other in ((0, 1), (1, 0)):
        assert channels[one][other].sent.summary() == channels[other][one].received.summary()
    assert channels[0][1].sent.messages == 5 + messages


def test_a_message_of_another_length_names_its_sender_and_step() -> None:
    one, other = local_sessions(2)
    for message in (b"", b"", b"12"):
        one.channels[1].send(message)
    with pytest.raises(ProtocolViolation, match="sent 2 bytes where 3 were due") as caught:
        receive_worked_on(other.channels[0], 3, "key")
    assert (caught.value.peer, caught.value.step) == (0, "key")
