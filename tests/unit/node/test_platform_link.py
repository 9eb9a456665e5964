"""The link to another platform: keys and parts of messages, what is refused, and an intersection over it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tallystick.protocol.errors import Configuration
from tallystick_node.engines.channel import ChannelError
from tallystick_node.engines.psi.alliance import messages, wire
from tallystick_node.engines.psi.alliance.exchange import intersect_with_platform
from tallystick_node.engines.psi.alliance.messages import Push
from tallystick_node.engines.psi.items import Items
from tallystick_node.peers import platform
from tallystick_node.peers.platform import METHOD, PlatformLink

ANYWHERE = "127.0.0.1:0"


class Peer:
    """The other side's calls, as bytes."""

    def __init__(self, link: PlatformLink, rank: int) -> None:
        self.rank = rank
        self._channel = grpc.insecure_channel(f"127.0.0.1:{link.port}")
        self._call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(METHOD)

    def push(self, key: str, value: bytes = b"", rank: int | None = None, **part: int) -> tuple[int, str]:
        sender = self.rank if rank is None else rank
        return messages.refusal_of(self._call(Push(sender, key, value, **part).to_bytes(), timeout=60))

    def raw(self, content: bytes) -> int:
        return messages.refusal_of(self._call(content, timeout=60))[0]

    def close(self) -> None:
        self._channel.close()


@pytest.fixture
def link() -> Iterator[PlatformLink]:
    with PlatformLink(0, ANYWHERE, 60) as made:
        yield made


@pytest.fixture
def peer(link: PlatformLink) -> Iterator[Peer]:
    made = Peer(link, 1)
    yield made
    made.close()


def test_an_intersection_over_two_links() -> None:
    with PlatformLink(0, ANYWHERE, 300) as first, PlatformLink(1, ANYWHERE, 300) as second, ThreadPoolExecutor(2) as pool:
        ports = (second.port, first.port)

        def side(rank: int) -> list[int]:
            items = Items.of(b"%d" % i for i in range(10 * rank, 25 + 10 * rank))
            streams = (first, second)[rank].connect(f"127.0.0.1:{ports[rank]}")
            found = intersect_with_platform(streams, rank, items, -1)
            assert found.positions is not None
            return [int(place) + 10 * rank for place in found.positions]

        assert list(pool.map(side, range(2))) == [list(range(10, 25))] * 2


def test_messages_come_in_any_order_and_twice(link: PlatformLink, peer: Peer) -> None:
    for number in (3, 1, 2, 1):
        assert peer.push(f"root:P2P-{number}:1->0", b"%d" % number) == (0, "")
    assert peer.push("root-0:P2P-1:1->0", b"dual") == (0, "")
    assert [link.take("root", number) for number in (1, 2, 3)] == [b"1", b"2", b"3"]
    assert link.take("root-0", 1) == b"dual"
    assert peer.push("root:P2P-2:1->0", b"again") == (0, "")
    assert link._inbox == {}


def test_parts_are_joined_in_any_order(link: PlatformLink, peer: Peer) -> None:
    whole = bytes(range(100))
    for start in (60, 0, 30, 0):
        assert peer.push("root:P2P-1:1->0", whole[start : start + 30 + 10 * (start == 60)], length=100, start=start) == (0, "")
    assert link.take("root", 1) == whole
    assert (link._held, link._parts) == (0, {})


@pytest.mark.parametrize(
    ("pushes", "words"),
    [
        ([("root:P2P-1:1->0", b"x", {"rank": 0})], "rank 1 sends here"),
        ([("root:P2P-1:0->1", b"x", {})], "no stream"),
        ([("other:P2P-1:1->0", b"x", {})], "no stream"),
        ([("root:1:SCATTER", b"x", {})], "no stream"),
        ([("root:P2P-99999999:1->0", b"x", {})], "not due for long"),
        ([("root:P2P-1:1->0\x01\x02x", b"x", {})], "no number"),
        ([("root:P2P-1:1->0", b"xx", {"length": 3, "start": 2})], "outside"),
        ([("root:P2P-1:1->0", b"", {"length": 3, "start": 0})], "outside"),
        ([("root:P2P-1:1->0", b"x", {"length": platform.MAX_MESSAGE + 1, "start": 0})], "outside"),
        ([("root:P2P-1:1->0", b"x", {"length": 3, "start": 0}), ("root:P2P-1:1->0", b"x", {"length": 4, "start": 1})], "of one"),
        ([("root:P2P-1:1->0", b"xy", {"length": 4, "start": 0}), ("root:P2P-1:1->0", b"xy", {"length": 4, "start": 1})], "overlap"),
        ([("root:P2P-1:1->0", b"xy", {"length": 3, "start": 0}), ("root:P2P-1:1->0", b"xy", {"length": 3, "start": 1})], "of one"),
    ],
)
def test_what_is_no_message_of_the_peer_is_refused(peer: Peer, pushes, words) -> None:
    for key, value, more in pushes[:-1]:
        assert peer.push(key, value, **more) == (0, "")
    key, value, more = pushes[-1]
    code, told = peer.push(key, value, **more)
    assert code == messages.INVALID_REQUEST
    assert words in told


def test_bytes_that_are_no_push_are_refused(peer: Peer) -> None:
    assert peer.raw(b"\xff") == messages.INVALID_REQUEST
    assert peer.raw(Push(1, "root:P2P-1:1->0", b"x").to_bytes() + wire.number(4, 7)) == messages.INVALID_REQUEST


def test_no_more_is_held_than_allowed(monkeypatch, link: PlatformLink, peer: Peer) -> None:
    monkeypatch.setattr(platform, "MAX_HELD", 10)
    assert peer.push("root:P2P-1:1->0", b"123456") == (0, "")
    for part in ({}, {"length": 6, "start": 0}):
        code, words = peer.push("root:P2P-2:1->0", b"123456"[: 6 - len(part)], **part)
        assert (code, "are waiting" in words) == (messages.INVALID_REQUEST, True)
    assert link.take("root", 1) == b"123456"
    assert peer.push("root:P2P-2:1->0", b"123456") == (0, "")


def test_a_message_has_only_so_many_parts(monkeypatch, link: PlatformLink, peer: Peer) -> None:
    """Each takes room besides its bytes."""
    monkeypatch.setattr(platform, "MAX_PARTS", 3)
    for start in (4, 0, 2):
        assert peer.push("root:P2P-1:1->0", b"x", length=9, start=start) == (0, "")
    assert peer.push("root:P2P-1:1->0", b"x", length=9, start=2) == (0, "")  # again
    code, words = peer.push("root:P2P-1:1->0", b"x", length=9, start=6)
    assert (code, "more than 3 parts" in words) == (messages.INVALID_REQUEST, True)
    assert len(link._parts["root:P2P-1:1->0"][1]) == 3


def test_a_peer_that_marks_its_keys_is_told_what_was_taken() -> None:
    """As YACL's does, which else sends no more than ten messages ahead."""
    with PlatformLink(0, ANYWHERE, 60) as link, PlatformLink(1, ANYWHERE, 60) as other, ThreadPoolExecutor(2) as pool:
        told = []
        original = other._arrived
        other._arrived = lambda push: (told.append((push.key, push.value)), original(push))
        for side in (pool.submit(link.connect, f"127.0.0.1:{other.port}"), pool.submit(other.connect, f"127.0.0.1:{link.port}")):
            side.result()
        other.deliver("root:P2P-1:1->0\x01\x0217", b"x")
        other.deliver("root:P2P-2:1->0\x01\x020", b"y")
        other.deliver("FIN\x01\x02", b"2")
        assert [link.take("root", number) for number in (1, 2)] == [b"x", b"y"]
        assert told[1:] == [("ACK\x01\x02", b"17")]


def test_a_peer_that_says_nothing_is_named(peer: Peer) -> None:
    with PlatformLink(0, ANYWHERE, 0.3) as link:
        with pytest.raises(ChannelError, match="sent nothing") as caught:
            link.take("root", 1)
        assert caught.value.peer == 1
        with pytest.raises(ChannelError, match="did not reach it"):
            link.connect("127.0.0.1:1")


def test_a_peer_that_refuses_is_named_with_its_words() -> None:
    refused = pytest.raises(ChannelError, match=r"refused a message by code 31100100: rank 1 sends here, not 0")
    with PlatformLink(0, ANYWHERE, 60) as link, PlatformLink(0, ANYWHERE, 60) as same, refused:
        link.connect(f"127.0.0.1:{same.port}")


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:1", "example.org:1", "[::]:0", ":0", "nothing"])
def test_only_gateways_on_this_machine_are_reached(address: str) -> None:
    """What passes is not encrypted."""
    with pytest.raises(Configuration, match="not of this machine"):
        PlatformLink(0, address, 1)
    with PlatformLink(0, ANYWHERE, 1) as link, pytest.raises(Configuration, match="not of this machine"):
        link.connect(address)


def test_an_address_that_is_taken_is_refused(link: PlatformLink) -> None:
    with pytest.raises(Configuration, match="nothing can listen"):
        PlatformLink(0, f"127.0.0.1:{link.port}", 1)
