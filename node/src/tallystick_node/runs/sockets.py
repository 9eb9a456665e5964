"""The channels of one run: a connected TCP socket to each peer, under TLS 1.3, driven by one thread without an event loop.

A message is its length (four bytes, big-endian) and its content. What arrives is taken from the kernel whenever this side waits,
for whichever peer it waits and whether to read or to write, and is kept, still encrypted, until the engine asks for it. So
parties that send to one another at the same time never wait in a circle, up to ``AHEAD`` bytes on each link; beyond them a peer
that is ahead waits.

Security: each end shows a certificate that exists for this link alone and pins the other's, byte by byte; the nodes exchanged both
over a stream whose ends they checked against the chain. Records, keys and their order are OpenSSL's. A peer is hostile: what it
sends is bounded before it is kept, and every wait ends by the deadline.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tallystick_node.engines.channel import PART, Buffer, ChannelError, Meter, ProtocolViolation
from tallystick_node.engines.silence import Silence
from tallystick_node.evidence.transcript import Transcript

AHEAD = 256 << 20  # bytes that a peer may be ahead of what the engine has asked for
PIECE = 256 << 10  # bytes that go to TLS, to the digest and to the kernel at a time: they stay in cache
RECORD = 16 << 10  # bytes of content of one TLS record
LENGTH = 4
SPARE = 128  # free buffers that are kept
STARTING = 30.0  # seconds that a peer's process may take to start, however soon silence counts afterwards: its machine may be busy


@dataclass(frozen=True)
class Terms:
    """What the nodes agreed on for one end of a link. ``key``: PEM; ``certificate`` and ``peer``: DER, of this end and of the only
    one that it takes at the other."""

    listens: bool
    key: bytes
    certificate: bytes
    peer: bytes

    def tls(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """A session to be opened. Raises ssl.SSLError when a certificate is none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if self.listens else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # it is the certificate itself that is known, not a name in it
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.peer)
        if self.listens:
            context.num_tickets = 0  # no session is ever resumed
        with os.fdopen(os.memfd_create("link"), "wb") as file:  # OpenSSL reads keys from files: this one lies on no disk
            file.write(self.key + ssl.DER_cert_to_PEM_cert(self.certificate).encode())
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        return context.wrap_bio(incoming, outgoing, server_side=self.listens)


class Sockets:
    """All sockets of one party. ``seconds``: how long a peer may be silent, or take nothing."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._poll = select.poll()
        self._channels: dict[int, SocketChannel] = {}
        self._spare: list[bytearray] = []

    def add(self, channel: SocketChannel, descriptor: int) -> None:
        """Watch a channel."""
        self._channels[descriptor] = channel
        self._poll.register(descriptor, select.POLLIN)

    def watch(self, descriptor: int, events: int) -> None:
        """Change what a channel is watched for."""
        self._poll.modify(descriptor, events)

    def drop(self, descriptor: int) -> None:
        """Watch a channel no longer."""
        if self._channels.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def wait(self, seconds: float) -> set[int]:
        """Take in what arrives on any channel; the descriptors of those that take more. Waits for neither more than ``seconds``."""
        writable = set()
        for descriptor, events in self._poll.poll(seconds * 1000):
            if events & ~select.POLLOUT:
                self._channels[descriptor].take_in()
            if events & select.POLLOUT:
                writable.add(descriptor)
        return writable

    def buffer(self) -> bytearray:
        """A buffer of ``PIECE`` bytes."""
        return self._spare.pop() if self._spare else bytearray(PIECE)

    def free(self, buffer: bytearray) -> None:
        """A buffer that is needed no longer."""
        if len(self._spare) < SPARE:
            self._spare.append(buffer)


class SocketChannel:
    """One peer, among ``sockets``. ``sent`` and ``received`` are the transcripts of the two directions.

    The transcript grows when the engine sends or receives, not when bytes arrive, so that a phase mark falls between the same
    messages at both ends.
    """

    def __init__(self, peer: int, sockets: Sockets, connection: socket.socket, terms: Terms, meter: Meter) -> None:
        self.peer = peer
        self.sent = Transcript()
        self.received = Transcript()
        self._meter = meter
        self.sockets = sockets
        self._socket = connection
        self._descriptor = connection.fileno()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._terms = terms
        self._tls = terms.tls(self._incoming, self._outgoing)
        self._backlog: deque[bytearray] = deque()  # all full but the last
        self._filled = 0  # bytes in the last
        self._ended = False
        self._blocked = False  # something encrypted waits for room in the kernel
        self._plain = memoryview(bytearray(2 * RECORD))  # decrypted and not yet asked for: plain[start:end]
        self._start = self._end = 0
        connection.setblocking(False)
        sockets.add(self, self._descriptor)

    def handshake(self) -> None:
        """:func:`shake_hands` with this peer alone."""
        shake_hands([self])

    def opened(self) -> bool:
        """Whether the TLS session is open, after what has arrived was looked at; waits for nothing. Raises what
        :func:`shake_hands` does, but for silence."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                if not self._held and not self._ended:
                    return False
                self._feed()
            except ssl.SSLError as error:
                if self._outgoing.pending:  # an alert, for the peer's log
                    self._flush()
                raise ProtocolViolation(self.peer, "handshake", f"opens no TLS session ({error.reason})") from None
        self._flush()
        if self._tls.getpeercert(binary_form=True) != self._terms.peer:
            raise ProtocolViolation(self.peer, "handshake", "shows another certificate than its node announced")
        return True

    def send(self, message: Buffer) -> None:
        """Send one message. Raises ChannelError when the peer is gone, or takes nothing for too long."""
        size = len(message)
        if size > PART:
            raise ValueError(f"a message has at most {PART} bytes")
        self._meter.sent(size)
        view, header = memoryview(message), size.to_bytes(LENGTH, "big")
        if size <= RECORD - LENGTH:
            self.sent.message(view)
            self._encrypt(header + view)
            return
        self.sent.begin(size)
        self.sent.more(view[: RECORD - LENGTH])
        self._encrypt(header + view[: RECORD - LENGTH])
        for start in range(RECORD - LENGTH, size, PIECE):
            piece = view[start : start + PIECE]
            self.sent.more(piece)
            self._encrypt(piece)

    def receive(self) -> bytes:
        """The next message. Raises ChannelError."""
        size = self._next()
        if self._end - self._start >= size:
            message = bytes(self._plain[self._start : self._start + size])
            self._start += size
            self.received.message(message)
        else:
            whole = bytearray(size)
            self._fill(memoryview(whole))
            message = bytes(whole)
        self._meter.received()
        return message

    def receive_into(self, view: memoryview) -> int:
        """The next message, decrypted into ``view``; unless it has its length only the length is read. Raises ChannelError."""
        size = self._next()
        if size == len(view):
            self._fill(view)
            self._meter.received()
        return size

    def wait(self) -> None:
        """Return when there is something to receive, however long that takes. Raises ChannelError when the peer is gone."""
        while not (self._held or self._end > self._start or self._incoming.pending or self._tls.pending()):
            if self._ended:
                raise self._lost()
            self.sockets.wait(self.sockets.seconds)

    def mark(self, phase: str) -> None:
        """Enter a phase: of the meter, and of both transcripts."""
        self._meter.enter(phase)
        self.sent.mark(phase)
        self.received.mark(phase)

    def close(self) -> None:
        """Close the connection."""
        self.sockets.drop(self._descriptor)
        self._socket.close()

    # -- to the peer

    def _encrypt(self, content: bytes | memoryview) -> None:
        self._tls.write(content)  # into memory: it takes everything
        self._flush()

    def _flush(self) -> None:
        """Hand what is encrypted to the kernel; take in what arrives while it has no room."""
        data = self._outgoing.read()
        done = self._put(data)
        if done == len(data):
            return
        rest = memoryview(data)[done:]
        self._blocked = True
        self._watch()
        try:
            while rest:
                if self._descriptor not in self._until("took", writing=True):
                    raise self._lost()
                rest = rest[self._put(rest) :]
        finally:
            self._blocked = False
            self._watch()

    def _put(self, data: Buffer) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            raise self._lost() from None

    # -- from the peer

    def take_in(self) -> None:
        """Keep what the kernel has. Called when there is something, or the connection has ended."""
        if not self._backlog or self._filled == PIECE:
            self._backlog.append(self.sockets.buffer())
            self._filled = 0
        try:
            size = self._socket.recv_into(memoryview(self._backlog[-1])[self._filled :])
        except BlockingIOError:
            return
        except OSError:
            size = 0
        self._filled += size
        if size == 0:
            self._ended = True
            self.sockets.drop(self._descriptor)
        elif self._held >= AHEAD:
            self._watch()

    @property
    def _held(self) -> int:
        return (len(self._backlog) - 1) * PIECE + self._filled if self._backlog else 0

    def _next(self) -> int:
        """The length of the next message."""
        while self._end - self._start < LENGTH:
            rest = self._end - self._start
            self._plain[:rest] = self._plain[self._start : self._end]
            self._start, self._end = 0, rest
            self._end += self._decrypt(self._plain[rest:])
        size = int.from_bytes(self._plain[self._start : self._start + LENGTH], "big")
        self._start += LENGTH
        if size > PART:
            raise ProtocolViolation(self.peer, "message", f"announces {size} bytes where at most {PART} are allowed")
        return size

    def _fill(self, view: memoryview) -> None:
        """The content of the message whose length was read."""
        done = min(len(view), self._end - self._start)
        view[:done] = self._plain[self._start : self._start + done]
        self._start += done
        if done == len(view):
            self.received.message(view)
            return
        self.received.begin(len(view))
        digested = 0
        while done < len(view):
            done += self._decrypt(view[done:])
            if done - digested >= PIECE:
                self.received.more(view[digested:done])
                digested = done
        self.received.more(view[digested:])

    def _decrypt(self, view: memoryview) -> int:
        """At least one byte of what the peer said, at most one record."""
        while True:
            if not self._incoming.pending and not self._tls.pending():
                self._feed()
            try:
                size: Any = self._tls.read(len(view), view)  # an int with a buffer, whatever the stubs say
            except ssl.SSLWantReadError:
                self._feed()
                continue
            except ssl.SSLError as error:
                raise ProtocolViolation(self.peer, "message", f"sends what is not of the TLS session ({error.reason})") from None
            if size:
                return int(size)
            raise self._lost()

    def _feed(self) -> None:
        """Give TLS the next piece of what has arrived."""
        while not self._held:
            if self._ended:
                raise self._lost()
            self._until("sent", writing=False)
        full = self._held >= AHEAD
        size = PIECE if len(self._backlog) > 1 else self._filled
        buffer = self._backlog.popleft()
        self._incoming.write(memoryview(buffer)[:size])
        self.sockets.free(buffer)
        if full:
            self._watch()

    # -- waiting

    def _until(self, failed: str, *, writing: bool) -> set[int]:
        """Wait until this peer takes more or has sent something. Raises ChannelError at the deadline: what it ``failed`` to do."""
        silence = Silence(self.sockets.seconds)
        while not silence.over:
            began = time.monotonic()
            writable = self.sockets.wait(silence.part)
            if self._ended or (self._descriptor in writable if writing else self._held):
                return writable
            silence.waited(began)
        raise ChannelError(self.peer, f"{failed} nothing for {self.sockets.seconds:g} s")

    def _watch(self) -> None:
        """Be told of room where something waits for it, and of what arrives unless enough is kept."""
        if not self._ended:
            events = (select.POLLOUT if self._blocked else 0) | (select.POLLIN if self._held < AHEAD else 0)
            self.sockets.watch(self._descriptor, events)

    def _lost(self) -> ChannelError:
        return ChannelError(self.peer, "closed the link")


def shake_hands(channels: Iterable[SocketChannel]) -> None:
    """Open the TLS sessions of all channels of one party, whichever peer comes first: who waits for a late one keeps no other
    waiting, which would take this party for silent. Raises ProtocolViolation unless each peer proves itself with the certificate
    that its node announced, and ChannelError when none of those that are awaited comes for longer than a process takes to start."""
    awaited: list[SocketChannel] = []
    while still := [each for each in awaited or sorted(channels, key=lambda each: each.peer) if not each.opened()]:
        if still != awaited:  # it counts anew: processes on one busy machine start one after another
            awaited, sockets = still, still[0].sockets
            patience = max(sockets.seconds, STARTING)
            silence = Silence(patience)
        if silence.over:
            first, *others = (each.peer for each in awaited)
            also = f", nor did {', '.join(f'party {each}' for each in others)}" if others else ""
            raise ChannelError(first, f"sent nothing for {patience:g} s{also}")
        began = time.monotonic()
        sockets.wait(silence.part)
        silence.waited(began)
