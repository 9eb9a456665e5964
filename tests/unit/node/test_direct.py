"""The entrance for direct connections: who shows a ticket gets in, once; nobody else takes a place for long."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from tallystick.protocol.errors import Configuration, PeerFailed
from tallystick.protocol.reasons import Reason
from tallystick_node.peers import direct
from tallystick_node.peers.direct import Credential, Entrance, connect, new_ticket, require_certificate, split

SECONDS = 120.0  # of patience, where nothing else is tested


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is the entrance that drops a connection, not its clock."""
    monkeypatch.setattr(direct, "TICKET_SECONDS", SECONDS)


def scene(play: Callable[[Entrance], Awaitable[None]]) -> None:
    async def run() -> None:
        entrance = Entrance("127.0.0.1:0")
        await entrance.open()
        try:
            await asyncio.wait_for(play(entrance), SECONDS)
        finally:
            await entrance.close()

    asyncio.run(run())


async def connection(entrance: Entrance, source: str = "127.0.0.1") -> socket.socket:
    plain = socket.socket()
    plain.setblocking(False)
    plain.bind((source, 0))
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", entrance.port))
    return plain


async def ended(plain: socket.socket) -> bool:
    """Whether the other end closes without a word."""
    try:
        return await asyncio.get_running_loop().sock_recv(plain, 1) == b""
    except ConnectionError:
        return True


def expecting(entrance: Entrance, ticket: bytes) -> asyncio.Task[socket.socket]:
    return asyncio.create_task(entrance.arrival(ticket))


def test_a_ticket_leads_to_its_run_and_what_follows_is_left_alone() -> None:
    async def play(entrance: Entrance) -> None:
        tickets = [new_ticket(), new_ticket()]
        arrivals = [expecting(entrance, each) for each in tickets]
        await asyncio.sleep(0)
        for ticket, arrival in reversed(list(zip(tickets, arrivals, strict=True))):
            near = await connect("peer", "127.0.0.1", entrance.port, ticket, SECONDS)
            near.send(b"hello worker")
            far = await arrival
            assert await asyncio.get_running_loop().sock_recv(far, 99) == b"hello worker"
            assert far.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            near.close(), far.close()

    scene(play)


@pytest.mark.parametrize("shown", [b"\0" * 32, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n....."])
def test_a_wrong_ticket_is_dropped(shown: bytes) -> None:
    async def play(entrance: Entrance) -> None:
        arrival = expecting(entrance, new_ticket())
        plain = await connection(entrance)
        plain.send(shown)
        assert await ended(plain)
        assert not arrival.done()

    scene(play)


def test_a_ticket_is_good_once() -> None:
    async def play(entrance: Entrance) -> None:
        ticket = new_ticket()
        arrival = expecting(entrance, ticket)
        await asyncio.sleep(0)
        first = await connect("peer", "127.0.0.1", entrance.port, ticket, SECONDS)
        second = await connection(entrance)
        second.send(ticket)
        assert await ended(second)
        first.send(b"x")
        assert await asyncio.get_running_loop().sock_recv(await arrival, 1) == b"x"

    scene(play)


def test_a_ticket_of_a_run_that_is_over_is_dropped() -> None:
    async def play(entrance: Entrance) -> None:
        ticket = new_ticket()
        arrival = expecting(entrance, ticket)
        await asyncio.sleep(0)
        arrival.cancel()
        await asyncio.wait([arrival])
        plain = await connection(entrance)
        plain.send(ticket)
        assert await ended(plain)

    scene(play)


@pytest.mark.parametrize("words", [b"", b"half of a ticke"])
def test_who_shows_no_ticket_is_dropped_in_time(monkeypatch: pytest.MonkeyPatch, words: bytes) -> None:
    monkeypatch.setattr(direct, "TICKET_SECONDS", 0.1)

    async def play(entrance: Entrance) -> None:
        plain = await connection(entrance)
        plain.send(words)
        assert await ended(plain)

    scene(play)


def test_a_crowd_without_tickets_keeps_nobody_out() -> None:
    async def play(entrance: Entrance) -> None:
        crowd = [await connection(entrance) for _ in range(direct.PENDING + 10)]
        ticket = new_ticket()
        arrival = expecting(entrance, ticket)
        await asyncio.sleep(0)
        await connect("peer", "127.0.0.1", entrance.port, ticket, SECONDS)
        await arrival
        assert await ended(crowd[0])
        assert len(entrance._pending) <= direct.PENDING_FROM_ONE
        for each in crowd:
            each.close()

    scene(play)


def test_a_crowd_from_one_place_drops_nobody_from_another() -> None:
    async def play(entrance: Entrance) -> None:
        ticket = new_ticket()
        arrival = expecting(entrance, ticket)
        slow = await connection(entrance, "127.0.0.2")
        slow.send(ticket[:7])
        crowd = [await connection(entrance) for _ in range(2 * direct.PENDING)]
        assert await ended(crowd[0])
        slow.send(ticket[7:])
        (await arrival).close()
        for each in (slow, *crowd):
            each.close()

    scene(play)


def test_of_a_crowd_from_many_places_the_oldest_leave_first() -> None:
    async def play(entrance: Entrance) -> None:
        places = 2 * direct.PENDING // direct.PENDING_FROM_ONE
        crowd = [await connection(entrance, f"127.0.0.{10 + i % places}") for i in range(2 * direct.PENDING)]
        assert all([await ended(each) for each in crowd[: direct.PENDING]])
        assert len(entrance._pending) == direct.PENDING
        ticket = new_ticket()
        arrival = expecting(entrance, ticket)
        await asyncio.sleep(0)
        crowd[-1].send(ticket)
        (await arrival).close()
        for each in crowd:
            each.close()

    scene(play)


def test_a_ticket_that_has_come_is_read_before_the_crowd_behind_it() -> None:
    async def play(entrance: Entrance) -> None:
        ticket = new_ticket()
        arrival = expecting(entrance, ticket)
        await asyncio.sleep(0)
        first = socket.create_connection(("127.0.0.1", entrance.port))
        first.send(ticket)
        crowd = [socket.create_connection(("127.0.0.1", entrance.port)) for _ in range(2 * direct.PENDING_FROM_ONE - 1)]
        # all of them wait before the entrance looks
        (await arrival).close()
        for each in (first, *crowd):
            each.close()

    scene(play)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_places(one: str, other: str, same: bool) -> None:
    assert (direct.place_of(one) == direct.place_of(other)) is same


def test_an_entrance_that_opens_late_is_found() -> None:
    async def play(entrance: Entrance) -> None:
        ticket = new_ticket()
        dialling = asyncio.create_task(connect("peer", "127.0.0.1", entrance.port, ticket, SECONDS))
        await asyncio.sleep(2 * direct.RETRY_SECONDS)  # dropped, as its ticket is not expected yet
        arrival = expecting(entrance, ticket)
        await asyncio.gather(dialling, arrival)

    scene(play)


def test_a_closed_entrance_is_named_in_time() -> None:
    async def play(entrance: Entrance) -> None:
        port = entrance.port
        await entrance.close()
        with pytest.raises(PeerFailed, match="lets no connection in") as caught:
            await connect("peer", "127.0.0.1", port, new_ticket(), 0.3)
        assert (caught.value.party, caught.value.reason) == ("peer", Reason.PEER_SILENT)

    scene(play)


def test_a_listener_that_never_answers_is_named_in_time() -> None:
    async def play(_: Entrance) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(PeerFailed, match="lets no connection in"):
            await connect("peer", "127.0.0.1", mute.getsockname()[1], new_ticket(), 0.3)

    scene(play)


def test_an_address_in_use_is_said() -> None:
    async def play(entrance: Entrance) -> None:
        with pytest.raises(Configuration, match="cannot be listened on"):
            await Entrance(f"127.0.0.1:{entrance.port}").open()

    scene(play)


@pytest.mark.parametrize("address", ["", "host", ":80", "host:", "host:x", "host:65536", "host:-1"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(Configuration):
        split(address)


def test_addresses() -> None:
    assert split("[::1]:80") == ("::1", 80)
    assert split("node.example:0") == ("node.example", 0)


def test_certificates_of_links_differ_and_pass() -> None:
    one, two = Credential.make(), Credential.make()
    assert one.certificate != two.certificate and one.key != two.key
    require_certificate(one.certificate, "peer")
