"""The channels of a run over real sockets: what arrives, in which memory, and everything that a hostile peer may try."""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from tallystick_node.engines import silence
from tallystick_node.engines.channel import (
    PART,
    ChannelError,
    Meter,
    ProtocolViolation,
    Session,
    receive_array,
    receive_block,
    send_array,
    send_block,
)
from tallystick_node.peers.direct import Credential
from tallystick_node.runs import sockets as module
from tallystick_node.runs.sockets import SocketChannel, Sockets, Terms, shake_hands
from unit.node.sockets import connected, mesh, terms, together


def pair(seconds: float = 120.0) -> tuple[SocketChannel, SocketChannel]:
    one, two = mesh(2, seconds)
    together(one[1].handshake, two[0].handshake)
    return one[1], two[0]


def context_of(side: Terms) -> ssl.SSLContext:
    """A plain TLS context with the certificate of one side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if side.listens else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=side.peer)
    with os.fdopen(os.memfd_create("x"), "wb") as file:
        file.write(side.key + ssl.DER_cert_to_PEM_cert(side.certificate).encode())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context


def peer_of(seconds: float = 120.0) -> tuple[SocketChannel, ssl.SSLSocket]:
    """A channel and, at its other end, a plain TLS socket that may write anything."""
    (near, far), (ours, theirs) = connected(), terms()
    channel = SocketChannel(1, Sockets(seconds), near, ours, Meter())
    context = context_of(theirs)
    found = together(channel.handshake, lambda: context.wrap_socket(far, server_side=True))
    return channel, found[1]


def stopped_clock(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    """Waits last as long as ``clock`` says."""
    for each in (module, silence):
        monkeypatch.setattr(each, "time", SimpleNamespace(monotonic=lambda: clock[0]))


def agree(one: SocketChannel, two: SocketChannel) -> None:
    assert one.sent.summary() == two.received.summary()
    assert two.sent.summary() == one.received.summary()


SIZES = [0, 1, 100, 2048, 2049, (16 << 10) - 5, (16 << 10) - 4, (16 << 10) - 3, 100_000, (256 << 10) + (16 << 10) - 4, 3_000_000]


def test_messages_of_every_size_arrive_in_order_and_both_transcripts_agree() -> None:
    one, two = pair()
    messages = [os.urandom(size) for size in SIZES]

    def send() -> None:
        for number, message in enumerate(messages):
            one.mark(f"phase {number}")
            one.send(message)
        assert one.receive() == b"done"

    def receive() -> None:
        for number, message in enumerate(messages):
            two.mark(f"phase {number}")
            if number % 2:
                assert two.receive() == message
            else:
                buffer = bytearray(len(message))
                assert two.receive_into(memoryview(buffer)) == len(message)
                assert buffer == message
        two.send(b"done")

    assert together(send, receive) == [None, None]
    agree(one, two)
    assert one.sent.messages == len(SIZES) and one.sent.bytes == sum(SIZES)
    one.mark("only here")
    assert one.sent.summary() != two.received.summary()


def test_parties_that_send_to_each_other_at_once_do_not_wait_in_a_circle() -> None:
    channels = mesh(3)
    arrays = [np.full(4 << 20, number, np.uint64) for number in range(3)]  # 32 MiB: more than every buffer on the way

    def party(me: int) -> None:
        shake_hands(channels[me].values())
        session = Session(me, {**channels[me]})
        for peer in session.channels:
            send_array(session, peer, arrays[me])
        for peer in session.channels:
            assert (receive_array(session, peer, (4 << 20,), "all") == arrays[peer]).all()

    assert together(*(lambda me=me: party(me) for me in range(3))) == [None] * 3
    for me in range(3):
        for peer in range(me):
            agree(channels[me][peer], channels[peer][me])


def test_a_peer_is_heard_while_another_is_waited_for() -> None:
    channels = mesh(3)
    large = os.urandom(16 << 20)

    def first() -> bytes:
        shake_hands(channels[0].values())
        word = channels[0][1].receive()  # comes only after party 2 got rid of what it sends to us
        assert receive_block(channels[0][2], len(large), "late") == large
        return word

    def second() -> None:
        shake_hands(channels[1].values())
        channels[1][0].send(channels[1][2].receive())

    def third() -> None:
        shake_hands(channels[2].values())
        send_block(channels[2][0], large)
        channels[2][1].send(b"gone")

    assert together(first, second, third) == [b"gone", None, None]


def test_a_peer_that_is_too_far_ahead_waits_and_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AHEAD", 1 << 20)
    channels = mesh(3)
    for me in range(3):
        assert all(len(each._backlog) == 0 for each in channels[me].values())
    large, look, full = os.urandom(24 << 20), SocketChannel.take_in, threading.Event()

    def take_in(channel: SocketChannel) -> None:
        look(channel)
        if channel is channels[0][2] and channel._held >= module.AHEAD:
            full.set()

    monkeypatch.setattr(SocketChannel, "take_in", take_in)

    def first() -> tuple[int, bool]:
        shake_hands(channels[0].values())
        channels[0][1].receive()
        kept = channels[0][2]._held
        return kept, receive_block(channels[0][2], len(large), "late") == large

    def second() -> None:
        shake_hands(channels[1].values())
        assert full.wait(120)
        threadless_pause(channels[1][2], 0.5)  # in which it would take in more
        channels[1][0].send(b"now")

    def third() -> None:
        shake_hands(channels[2].values())
        send_block(channels[2][0], large)

    (kept, right), *rest = together(first, second, third)
    assert right and rest == [None, None]
    assert 1 << 20 <= kept <= (1 << 20) + module.PIECE


def test_who_sends_goes_on_when_the_peer_gets_too_far_ahead_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AHEAD", 1 << 20)
    one, two = pair()
    large, ahead = os.urandom(24 << 20), os.urandom((1 << 20) + (256 << 10))

    def slow() -> bytes:
        one.send(large)
        return one.receive()

    def fast() -> bytes:
        time.sleep(0.3)  # until the other can send no more
        two.send(ahead)
        return two.receive()

    assert together(slow, fast) == [ahead, large]


def threadless_pause(channel: SocketChannel, seconds: float) -> None:
    channel.sockets.wait(seconds)


def test_messages_may_be_changed_after_they_were_sent() -> None:
    one, two = pair()
    buffer = bytearray(b"x" * 100_000)
    one.send(buffer)
    buffer[:] = b"y" * 100_000
    assert two.receive() == b"x" * 100_000


def test_a_message_above_the_limit_is_refused_here() -> None:
    one, _ = pair()
    with pytest.raises(ValueError, match="at most"):
        one.send(bytes(PART + 1))


# -- who is at the other end


@pytest.mark.parametrize("liar", [0, 1], ids=["dialling", "listening"])
def test_another_certificate_than_announced_is_refused(liar: int) -> None:
    ends, sides = connected(), list(terms())
    other = Credential.make()
    sides[liar] = Terms(sides[liar].listens, other.key, other.certificate, sides[liar].peer)
    channels = [SocketChannel(1 - me, Sockets(2.0), ends[me], sides[me], Meter()) for me in range(2)]

    def meet(channel: SocketChannel) -> bytes:
        channel.handshake()
        return channel.receive()  # the dialling end learns at its first message that it was refused

    found = together(*(lambda channel=channel: meet(channel) for channel in channels))
    assert isinstance(found[1 - liar], ProtocolViolation) and found[1 - liar].step == "handshake"
    assert found[1 - liar].peer == liar
    assert isinstance(found[liar], ChannelError)


def test_no_certificate_is_refused() -> None:
    (near, far), (_, ours) = connected(), terms()
    channel = SocketChannel(1, Sockets(2.0), near, ours, Meter())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    found = together(channel.handshake, lambda: context.wrap_socket(far).recv(1))
    assert isinstance(found[0], ProtocolViolation) and "CERTIFICATE" in found[0].rule


def test_an_older_tls_is_refused() -> None:
    (near, far), (theirs, ours) = connected(), terms()
    channel = SocketChannel(1, Sockets(2.0), near, ours, Meter())
    context = context_of(theirs)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    found = together(channel.handshake, lambda: context.wrap_socket(far))
    assert isinstance(found[0], ProtocolViolation) and found[0].step == "handshake"


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(64), os.urandom(1 << 16)], ids=["http", "zeros", "random"])
def test_garbage_instead_of_a_session(garbage: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STARTING", 1.0)
    (near, far), (_, ours) = connected(), terms()
    channel = SocketChannel(1, Sockets(1.0), near, ours, Meter())
    far.sendall(garbage)
    with pytest.raises(ChannelError) as caught:
        channel.handshake()
    assert caught.value.peer == 1


def test_a_peer_that_opens_no_session_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STARTING", 1.0)
    (near, _far), (ours, _) = connected(), terms()
    with pytest.raises(ChannelError, match=r"party 1: sent nothing for 1 s"):
        SocketChannel(1, Sockets(0.1), near, ours, Meter()).handshake()


def test_a_peer_whose_process_starts_is_not_taken_for_silent_but_afterwards_it_is() -> None:
    (near, far), (ours, theirs) = connected(), terms()
    channel = SocketChannel(1, Sockets(0.2), near, ours, Meter())
    peer = SocketChannel(0, Sockets(60.0), far, theirs, Meter())
    late = threading.Timer(1.0, peer.handshake)
    late.start()
    channel.handshake()
    late.join()
    with pytest.raises(ChannelError, match=r"sent nothing for 0.2 s"):
        channel.receive()


def test_who_waits_for_a_late_peer_keeps_no_other_waiting_and_all_name_the_late_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is late: the third opens its session with the first all the same."""
    channels = mesh(3, seconds=120.0)
    looked, left, both = SocketChannel.opened, [channels[0][2], channels[2][0]], threading.Event()

    def opened(channel: SocketChannel) -> bool:
        if done := looked(channel):
            left.remove(channel)
            if not left:
                both.set()
        return done

    monkeypatch.setattr(SocketChannel, "opened", opened)

    def meets(me: int) -> None:
        shake_hands(channels[me].values())

    def late() -> None:
        both.wait(60)
        for each in channels[1].values():
            each.close()

    first, _, third = together(lambda: meets(0), late, lambda: meets(2))
    assert both.is_set()
    for error in (first, third):
        assert isinstance(error, ChannelError) and (error.peer, error.rule) == (1, "closed the link")


def test_all_who_did_not_come_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STARTING", 0.2)
    channels = mesh(4, seconds=0.1)
    with pytest.raises(ChannelError, match=r"party 0: sent nothing for 0.2 s, nor did party 1, party 3") as caught:
        shake_hands(channels[2].values())
    assert caught.value.peer == 0


# -- what it says


def test_a_length_above_the_limit_is_named() -> None:
    channel, peer = peer_of()
    peer.sendall((PART + 1).to_bytes(4, "big") + b"x")
    with pytest.raises(ProtocolViolation, match=f"announces {PART + 1} bytes"):
        channel.receive()


def test_a_message_of_another_length_is_named_without_being_read() -> None:
    channel, peer = peer_of()
    peer.sendall((1000).to_bytes(4, "big"))  # and never its content
    with pytest.raises(ProtocolViolation, match="step: sent 1000 bytes where 8 were due"):
        receive_array(Session(0, {1: channel}), 1, (1,), "step")


def test_messages_in_pieces_and_many_in_one_record_are_the_same() -> None:
    channel, peer = peer_of()
    stream = b"".join(len(each).to_bytes(4, "big") + each for each in (b"a", b"", b"bcd" * 9000, b"e"))
    peer.sendall(stream)
    for byte in stream[:10]:
        peer.sendall(bytes([byte]))
    assert [channel.receive() for _ in range(4)] == [b"a", b"", b"bcd" * 9000, b"e"]
    assert channel.receive() == b"a"
    assert channel.receive() == b""


@pytest.mark.parametrize("change", [lambda far: far.send(b"\x17\x03\x03\x00\x20" + bytes(32)), lambda far: far.send(bytes(99))])
def test_bytes_that_are_not_of_the_session_are_named(change: Callable[[socket.socket], object]) -> None:
    channel, peer = peer_of()
    plain = socket.socket(fileno=peer.detach())
    change(plain)
    with pytest.raises(ProtocolViolation, match="not of the TLS session"):
        channel.receive()


def test_a_silent_peer_is_given_up_in_time() -> None:
    channel, peer = peer_of(1.0)
    peer.sendall((100).to_bytes(4, "big") + b"half")
    with pytest.raises(ChannelError, match=r"sent nothing for 1 s"):
        channel.receive()


def test_who_stood_still_itself_looks_at_what_has_come_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = pair()
    look, clock = one.sockets.wait, [0.0]
    stopped_clock(monkeypatch, clock)

    def stands_still(seconds: float) -> set[int]:
        """Another peer's message ends the wait, and this process goes on ten minutes later."""
        one.sockets.wait = look  # type: ignore[method-assign]
        two.send(b"word")
        assert select.select([one._socket], [], [], 60)[0]  # and it is there
        clock[0] += 600
        return set()

    one.sockets.wait = stands_still  # type: ignore[method-assign]
    assert one.receive() == b"word"


def test_who_stood_still_itself_goes_on_with_a_handshake_that_had_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has come meanwhile is only the first of what the peer has to say before it is known."""
    (near, far), (ours, theirs), clock = connected(), terms(), [0.0]
    sockets = Sockets(60.0)
    channel, peer = SocketChannel(1, sockets, near, ours, Meter()), SocketChannel(0, Sockets(60.0), far, theirs, Meter())
    stopped_clock(monkeypatch, clock)
    look = sockets.wait

    def stands_still(seconds: float) -> set[int]:
        sockets.wait = look  # type: ignore[method-assign]
        clock[0] += 600
        return look(seconds)

    sockets.wait = stands_still  # type: ignore[method-assign]
    assert together(channel.handshake, peer.handshake) == [None, None]


def test_a_peer_that_takes_nothing_is_given_up_in_time() -> None:
    channel, _peer = peer_of(1.0)
    with pytest.raises(ChannelError, match=r"took nothing for 1 s"):
        for _ in range(4):
            channel.send(bytes(PART))


@pytest.mark.parametrize("content", [b"", b"\0\0\0\1x", b"\0\0\0\2x"], ids=["nothing", "a message", "half a message"])
def test_an_ended_connection_gives_what_arrived_and_then_its_end(content: bytes) -> None:
    channel, peer = peer_of()
    if content:
        peer.sendall(content)
    peer.shutdown(socket.SHUT_WR)
    if content.endswith(b"\1x"):
        assert channel.receive() == b"x"
    with pytest.raises(ChannelError, match="closed the link"):
        channel.receive()


def test_sending_to_a_peer_that_is_gone() -> None:
    channel, peer = peer_of()
    peer.close()
    with pytest.raises(ChannelError, match="closed the link"):
        for _ in range(99):
            channel.send(bytes(1 << 20))


def test_a_killed_peer_is_gone_at_once() -> None:
    near, far = connected()
    ours, theirs = terms()
    code = f"""
import socket
from tallystick_node.engines.channel import Meter
from tallystick_node.runs.confinement import confine
from tallystick_node.runs.sockets import SocketChannel, Sockets, Terms
confine()
channel = SocketChannel(0, Sockets(120), socket.socket(fileno={far.fileno()}), {theirs!r}, Meter())
channel.handshake()
channel.send(channel.receive())
channel.receive()
"""
    process = subprocess.Popen([sys.executable, "-c", code], pass_fds=[far.fileno()])
    far.close()
    channel = SocketChannel(1, Sockets(120.0), near, ours, Meter())
    try:
        channel.handshake()
        channel.send(b"echo from a confined process")
        assert channel.receive() == b"echo from a confined process"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with pytest.raises(ChannelError, match="closed the link"):
        channel.receive()


def test_who_waits_for_the_end_of_others_work_waits_longer_than_a_turn_takes() -> None:
    one, two = pair(seconds=0.5)

    def late() -> None:
        time.sleep(1.2)
        two.send(b"result")

    def patient() -> bytes:
        one.wait()
        return one.receive()

    assert together(patient, late)[0] == b"result"
    two.send(b"first")
    two.send(b"second")
    assert one.receive() == b"first"
    one.wait()  # what has arrived already is there
    assert one.receive() == b"second"


def test_who_waits_for_the_end_of_others_work_learns_that_they_are_gone() -> None:
    one, two = pair(seconds=0.5)
    two.close()
    with pytest.raises(ChannelError, match="closed the link"):
        one.wait()
