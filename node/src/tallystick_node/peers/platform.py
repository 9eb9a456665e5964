"""A link to a party on another platform, by the alliance's transport: everything is one gRPC call, ``ReceiverService.Push``, of
which each side serves its own, and messages have keys that say which stream they are of, in which place, and between whom.

Streams are named ``root`` and ``root-0``; a message's key is ``<stream>:P2P-<number>:<sender>-><receiver>``, numbered from 1, and
``connect_<rank>`` says that a side is there. Messages come in any order and may come twice. YACL, on which the alliance's reference
implementation runs, adds to that: a mark and a number at the end of a key, an answer ``ACK`` with this number when the message was
taken, without which it sends no more than ten ahead, and ``FIN`` at the end. A peer that marks its keys is answered so.

Both ends are loopback addresses: the published transport says nothing of who is at the other end. An institution puts
its gateway there, which proves itself to the other's over mutual TLS and forwards to this one.
"""

from __future__ import annotations

import ipaddress
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import grpc
from tallystick.protocol.errors import Configuration

from tallystick_node.engines.channel import Buffer, ChannelError
from tallystick_node.engines.psi.alliance import messages
from tallystick_node.engines.psi.alliance.exchange import Streams
from tallystick_node.engines.psi.alliance.messages import Push
from tallystick_node.engines.psi.alliance.wire import Malformed

METHOD = "/org.interconnection.link.ReceiverService/Push"
STREAMS = ("root", "root-0")
MAX_MESSAGE = 32 << 20  # bytes
MAX_HELD = 1 << 30  # bytes of messages that came and were not taken yet
MAX_PARTS = 4096  # of a message
AHEAD = 1 << 16  # messages of a stream that may come before those that are waited for
RETRY = 0.2  # seconds between attempts to reach the peer
YACL_MARK = "\x01\x02"
ACK, FIN = "ACK", "FIN"

_OPTIONS = [("grpc.max_receive_message_length", MAX_MESSAGE + 4096), ("grpc.so_reuseport", 0)]


class PlatformLink:
    """This side of a link between rank 0 and rank 1. ``listen``: where the peer's gateway reaches it, ``host:port``, port 0 for
    any. ``seconds``: how long the peer may be silent. Raises Configuration for an address that is not a loopback one, or is
    taken."""

    def __init__(self, rank: int, listen: str, seconds: float) -> None:
        self._rank, self._peer, self._seconds = rank, 1 - rank, seconds
        self._changed = threading.Condition()
        self._inbox: dict[str, tuple[bytes, str]] = {}  # with YACL's number of a message
        self._parts: dict[str, tuple[int, dict[int, bytes]]] = {}
        self._awaited = dict.fromkeys(STREAMS, 1)
        self._held = 0
        self._there = False
        self._channel: grpc.Channel | None = None
        self._server = grpc.server(ThreadPoolExecutor(4), options=_OPTIONS)
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._push)
        self._server.add_generic_rpc_handlers((_One(handler),))
        try:
            self.port = self._server.add_insecure_port(_loopback(listen))
        except RuntimeError:
            raise Configuration(f"nothing can listen at {listen}", remedy="choose another port") from None
        self._server.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the link. What was sent has arrived."""
        if self._channel is not None:
            self._channel.close()
        self._server.stop(1).wait()

    def connect(self, address: str) -> Streams:
        """Reach the peer, through the gateway at this address, and wait until it is there. Raises ChannelError and
        Configuration."""
        self._channel = grpc.insecure_channel(_loopback(address), options=_OPTIONS)
        self.deliver(f"connect_{self._rank}", b"")
        with self._changed:
            if not self._changed.wait_for(lambda: self._there, self._seconds):
                raise ChannelError(self._peer, f"did not connect for {self._seconds:g} s")
        main, dual = (_Stream(self, name, self._rank, self._peer) for name in STREAMS)
        return Streams(main, dual)

    def deliver(self, key: str, value: bytes) -> None:
        """Push a message, again where the peer is not there yet. Raises ChannelError."""
        assert self._channel is not None
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(METHOD)
        until = time.monotonic() + self._seconds
        while True:
            try:
                answer = call(Push(self._rank, key, value).to_bytes(), timeout=max(0.1, until - time.monotonic()))
                break
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() + RETRY > until:
                    raise ChannelError(self._peer, f"a message did not reach it: {error.code().name}") from None
                time.sleep(RETRY)
        try:
            code, words = messages.refusal_of(answer)
        except Malformed:
            raise ChannelError(self._peer, "answered a message by what is no answer") from None
        if code != messages.OK:
            shown = "".join(sign if sign.isprintable() else "?" for sign in words[:256])
            raise ChannelError(self._peer, f"refused a message by code {code}: {shown}")

    def take(self, stream: str, number: int) -> bytes:
        """The peer's message of this number. Raises ChannelError."""
        key = f"{stream}:P2P-{number}:{self._peer}->{self._rank}"
        with self._changed:
            if not self._changed.wait_for(lambda: key in self._inbox, self._seconds):
                raise ChannelError(self._peer, f"sent nothing for {self._seconds:g} s")
            self._awaited[stream] = number + 1
            value, mark = self._inbox.pop(key)
            self._held -= len(value)
        if mark not in ("", "0"):
            self.deliver(ACK + YACL_MARK, mark.encode())
        return value

    def _push(self, content: bytes, _context: grpc.ServicerContext) -> bytes:
        try:
            push = Push.parse(content)
            with self._changed:
                self._arrived(push)
                self._changed.notify_all()
        except Malformed as error:
            return messages.pushed(messages.INVALID_REQUEST, str(error))
        return messages.pushed()

    def _arrived(self, push: Push) -> None:
        """Keep a message, or a part of one. Raises Malformed."""
        if push.rank != self._peer:
            raise Malformed(f"rank {self._peer} sends here, not {push.rank}")
        key, _, mark = push.key.partition(YACL_MARK)
        if key == f"connect_{self._peer}":
            self._there = True
        if key in (f"connect_{self._peer}", ACK, FIN):
            return
        stream, number = self._place(key)
        if number < self._awaited[stream] or key in self._inbox:
            return  # it came before, and its answer was lost
        if number >= self._awaited[stream] + AHEAD:
            raise Malformed("a message that is not due for long")
        if not re.fullmatch(r"[0-9]{0,20}", mark):
            raise Malformed("a mark that is no number")
        if push.length is None:
            self._reserve(len(push.value))
            self._inbox[key] = push.value, mark
            return
        end = push.start + len(push.value)
        if not 0 <= push.start < end <= push.length <= MAX_MESSAGE:
            raise Malformed("a part that is outside of its message")
        if key not in self._parts:
            self._reserve(push.length)
            self._parts[key] = push.length, {}
        length, parts = self._parts[key]
        if len(parts) == MAX_PARTS and push.start not in parts:
            raise Malformed(f"a message in more than {MAX_PARTS} parts")
        have = parts.setdefault(push.start, push.value)
        if length != push.length or len(have) != len(push.value) or sum(map(len, parts.values())) > length:
            raise Malformed("parts that are not of one message")
        if sum(map(len, parts.values())) == length:
            whole = b"".join(parts[start] for start in sorted(parts))
            if any(whole[start : start + len(part)] != part for start, part in parts.items()):
                raise Malformed("parts that overlap")
            del self._parts[key]
            self._inbox[key] = whole, mark

    def _reserve(self, size: int) -> None:
        if self._held + size > MAX_HELD:
            raise Malformed(f"more than {MAX_HELD} bytes are waiting here")
        self._held += size

    def _place(self, key: str) -> tuple[str, int]:
        found = re.fullmatch(r"([\w-]+):P2P-([0-9]{1,12}):([0-9])->([0-9])", key)
        if found is None or found[1] not in STREAMS or (int(found[3]), int(found[4])) != (self._peer, self._rank):
            raise Malformed("a key of no stream to this side")
        return found[1], int(found[2])


class _One(grpc.GenericRpcHandler):
    """Serves one method, of messages as bytes."""

    def __init__(self, handler: grpc.RpcMethodHandler[bytes, bytes]) -> None:
        self._handler = handler

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return self._handler if handler_call_details.method == METHOD else None


class _Stream:
    """One stream of a link, as engines see it."""

    def __init__(self, link: PlatformLink, name: str, rank: int, peer: int) -> None:
        self.peer = peer
        self._link, self._name, self._rank = link, name, rank
        self._sent = self._received = 0

    def send(self, message: Buffer) -> None:
        self._sent += 1
        self._link.deliver(f"{self._name}:P2P-{self._sent}:{self._rank}->{self.peer}", bytes(message))

    def receive(self) -> bytes:
        self._received += 1
        return self._link.take(self._name, self._received)

    def receive_into(self, view: memoryview) -> int:
        message = self.receive()
        if len(message) == len(view):
            view[:] = message
        return len(message)

    def mark(self, phase: str) -> None:
        """Nothing: this transport knows no phases."""


def _loopback(address: str) -> str:
    host = address.rpartition(":")[0].strip("[]")
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local:
        raise Configuration(
            f"{address} is not of this machine: the link to another platform is not encrypted",
            remedy="give a loopback address, and let a gateway there forward it over mutual TLS",
        )
    return address
