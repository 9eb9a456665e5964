"""Ordered, authenticated, point-to-point channels between the parties of one run, as every engine sees them.

An engine gets a :class:`Session`: its own index, the number of parties, and a :class:`Channel` to each peer. The
same engine runs over in-memory channels (:func:`local_sessions`) and over the TLS sockets of a node's worker.
"""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tallystick_node.engines.answers import Answers
from tallystick_node.engines.local_work import HERE, Executor
from tallystick_node.engines.silence import Silence
from tallystick_node.engines.store import Store

if TYPE_CHECKING:  # it brings cryptography along, which most engines do without
    from tallystick.attestation.standing import Standing

PART = 32 << 20  # bytes: the longest message of a channel
VOUCHER = 65  # bytes of an institution's signature
Buffer = bytes | bytearray | memoryview


class ChannelError(Exception):
    """A channel failed: the peer closed it, sent nothing before the deadline, or sent what the protocol does not allow.

    ``peer`` is the index of the party at the other end; ``rule`` says in words what was expected.
    """

    def __init__(self, peer: int, rule: str) -> None:
        super().__init__(f"party {peer}: {rule}")
        self.peer = peer
        self.rule = rule


class ProtocolViolation(ChannelError):  # noqa: N818 - a verdict, not a fault of ours
    """A peer sent what the protocol does not allow: ``peer`` names it, ``step`` names the message it failed in."""

    def __init__(self, peer: int, step: str, rule: str) -> None:
        super().__init__(peer, f"{step}: {rule}")
        self.step = step


class Channel(Protocol):
    """One end of an ordered, authenticated link to one peer. Messages keep their boundaries.

    Whoever makes a channel gives it the :class:`Meter` of its session: a channel counts what it sends and receives.
    """

    peer: int

    def send(self, message: Buffer) -> None:
        """Send one message of at most ``PART`` bytes; it may be changed afterwards. Raises ChannelError when the link fails."""

    def receive(self) -> bytes:
        """The next message, in order. Raises ChannelError when the link fails or the peer is silent for too long."""

    def receive_into(self, view: memoryview) -> int:
        """The next message, written into ``view`` (of bytes) without another copy. Returns the message's length: unless it is that
        of ``view``, nothing useful was written and the link is of no more use. Raises ChannelError like :meth:`receive`."""

    def mark(self, phase: str) -> None:
        """Enter a phase: of the meter, and of both directions' transcript digests. Both ends mark the same phases in the same
        order."""


@dataclass
class Step:
    """What one party sent in one step of a protocol, over all its peers."""

    messages: int = 0
    bytes: int = 0
    rounds: int = 0  # how often it sent after it had received: the depth of the exchange


class Meter:
    """Counts of one session, by step: what the plan predicts, the run measures here."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self._step = self.steps.setdefault("", Step())
        self._listened = True
        self._flowing = False
        self._sent = False  # since the pieces began to flow

    def enter(self, step: str) -> None:
        """What follows belongs to ``step``."""
        self._step = self.steps.setdefault(step, Step())

    def sent(self, size: int) -> None:
        """A message was sent."""
        self._step.messages += 1
        self._step.bytes += size
        first = not (self._flowing and self._sent)
        self._step.rounds += self._listened and first
        self._listened, self._sent = self._listened and not first, True

    def received(self) -> None:
        """A message was received."""
        self._listened = True

    @contextmanager
    def flow(self) -> Iterator[None]:
        """Arrays pass within, each piece by piece: however often this party receives one piece and sends another, that is one
        round."""
        self._flowing, self._sent = True, False
        try:
            yield
        finally:
            self._flowing = False


@dataclass(frozen=True)
class Identity:
    """What lets a party's word be shown to third parties. ``key``: 32 bytes, an Ed25519 key for this session alone; ``voucher``:
    ``VOUCHER`` bytes, the institution's signature under the public half and the session; ``check(peer, public, voucher)``: whether
    a voucher is that of a peer's institution for a public key in this session."""

    key: bytes = field(repr=False)
    voucher: bytes
    check: Callable[[int, bytes, bytes], bool]


@dataclass(frozen=True)
class Registered:
    """A dataset as its owner's node keeps it: its descriptor's bytes, and the secret, 32 bytes, that salts its rows."""

    descriptor: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Session:
    """What one party's engine runs with: parties are numbered 0..n-1 in the order of the task's parties.

    ``patience(peer)`` waits until there is something from ``peer`` to receive, for as long as the run may take: for parties that
    wait for the end of what others compute, while the deadline of a channel is for those who take turns. It raises ChannelError
    when the link fails. Links without that difference wait for nothing here. ``store`` keeps this party's large arrays.
    ``beacon``: bytes that all parties know and none chose alone, empty where there are none; ``identity``: None where no
    institution vouches for keys.
    ``versions`` are the 32 bytes that name each input's version as it is registered, by its party; ``kept`` is a folder that
    outlives the run, for what this party need not make again, None where there is none; ``launcher`` leads to the process that
    launches this party's enclave, None where it is to launch none; ``standing``: which enclaves and platforms count on chain, None
    where the task does not ask; ``executor`` does this party's own work that needs no peer; ``registered``:
    this party's dataset, None where the task opens none of its rows; ``answers``: what was answered of this party's dataset, None
    where it has none.
    """

    index: int
    channels: dict[int, Channel]
    progress: Callable[[str, float], None] = field(default=lambda _phase, _fraction: None)
    context: bytes = b""  # names the task and the attempt: what every proof and salt of the run is bound to
    meter: Meter = field(default_factory=Meter)
    patience: Callable[[int], None] = field(default=lambda _peer: None)
    store: Store = field(default_factory=Store)
    beacon: bytes = b""
    identity: Identity | None = None
    versions: Mapping[int, bytes] = field(default_factory=dict)
    kept: Path | None = None
    launcher: socket.socket | None = None
    standing: Standing | None = None
    executor: Executor = HERE
    registered: Registered | None = None
    answers: Answers | None = None

    @property
    def parties(self) -> int:
        """How many parties the run has, this one among them."""
        return len(self.channels) + 1

    def mark(self, phase: str) -> None:
        """Mark a phase on every channel."""
        for peer in sorted(self.channels):
            self.channels[peer].mark(phase)

    def broadcast(self, message: bytes) -> None:
        """Send the same message to every peer."""
        for peer in sorted(self.channels):
            self.channels[peer].send(message)


def send_block(channel: Channel, block: Buffer) -> None:
    """Send a block whose length both ends know, in messages of at most ``PART`` bytes; an empty block sends nothing."""
    view = memoryview(block)
    for start in range(0, len(view), PART):
        channel.send(view[start : start + PART])


def receive_block(channel: Channel, size: int, step: str) -> bytes:
    """Receive what :func:`send_block` sent. Raises :class:`ProtocolViolation` unless each part has exactly its
    length."""
    parts: list[bytes] = []
    for start in range(0, size, PART):
        part = channel.receive()
        _require(channel, step, len(part), min(PART, size - start))
        parts.append(part)
    return b"".join(parts)


def send_array(session: Session, peer: int, array: NDArray[Any]) -> None:
    """Send the bytes of an array whose shape and type both ends know, in the machine's (little-endian) order. A contiguous array is
    sent without a copy."""
    send_block(session.channels[peer], np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def receive_array(
    session: Session, peer: int, shape: tuple[int, ...], step: str, kind: type[np.generic] = np.uint64
) -> NDArray[Any]:
    """What :func:`send_array` sent, as a writable array of its own, into which the bytes arrive without a copy. Raises
    :class:`ProtocolViolation` naming ``peer`` and ``step`` unless its length is the array's."""
    array = np.empty(shape, kind)
    receive_into(session, peer, array, step)
    return array


def receive_into(session: Session, peer: int, array: NDArray[Any], step: str) -> None:
    """Like :func:`receive_array`, into a contiguous array that is there."""
    view, channel = array.reshape(-1).view(np.uint8).data, session.channels[peer]
    for start in range(0, len(view), PART):
        part = view[start : start + PART]
        _require(channel, step, channel.receive_into(part), len(part))


def _require(channel: Channel, step: str, size: int, due: int) -> None:
    if size != due:
        raise ProtocolViolation(channel.peer, step, f"sent {size} bytes where {due} were due")


class _LocalChannel:
    def __init__(
        self, peer: int, out: queue.SimpleQueue[bytes | None], into: queue.SimpleQueue[bytes | None], seconds: float, meter: Meter
    ) -> None:
        self.peer = peer
        self._out = out
        self._into = into
        self._seconds = seconds
        self._meter = meter

    def send(self, message: Buffer) -> None:
        self._meter.sent(len(message))
        self._out.put(bytes(message))

    def receive(self) -> bytes:
        message = self._heard()
        if message is None:
            self._into.put(None)  # for whoever asks again
            raise ChannelError(self.peer, "closed the link")
        self._meter.received()
        return message

    def _heard(self) -> bytes | None:
        silence = Silence(self._seconds)
        while not silence.over:
            began = time.monotonic()
            with suppress(queue.Empty):
                return self._into.get(timeout=silence.part)
            silence.waited(began)
        raise ChannelError(self.peer, f"sent nothing for {self._seconds:g} s")

    def receive_into(self, view: memoryview) -> int:
        message = self.receive()
        if len(message) == len(view):
            view[:] = message
        return len(message)

    def mark(self, phase: str) -> None:
        """In-memory links keep no transcript."""
        self._meter.enter(phase)

    def close(self) -> None:
        """The other end gets what was sent, and then is told, so that it does not wait until its deadline."""
        self._out.put(None)


def local_sessions(parties: int, seconds: float = 120.0) -> Sequence[Session]:
    """Sessions for ``parties`` parties in one process, to be run in one thread each (tests, notebooks, simulation)."""
    queues: dict[tuple[int, int], queue.SimpleQueue[bytes | None]] = {
        (i, j): queue.SimpleQueue() for i in range(parties) for j in range(parties) if i != j
    }
    sessions = []
    for i in range(parties):
        meter = Meter()
        channels: dict[int, Channel] = {
            j: _LocalChannel(j, queues[i, j], queues[j, i], seconds, meter) for j in range(parties) if j != i
        }
        sessions.append(Session(i, channels, meter=meter))
    return sessions
