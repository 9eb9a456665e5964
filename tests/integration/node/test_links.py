"""The links of a run over real mutual TLS: what an honest peer does, and everything that a hostile one may try."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from eth_utils.address import to_checksum_address
from tallystick.client.nodes import server_name
from tallystick.protocol.errors import PeerFailed, RunFailed
from tallystick.protocol.identity import issue_authority, issue_certificate
from tallystick.protocol.reasons import Reason
from tallystick.testing.local_chain import free_port
from tallystick.testing.network import Institution, Network
from tallystick.wire import node_pb2, node_pb2_grpc
from tallystick_node.peers import direct, links
from tallystick_node.peers import exchange as exchanging
from tallystick_node.peers.exchange import MAX_MESSAGE, Peers
from tallystick_node.peers.identity import MESSAGE_LIMIT, SERVER_OPTIONS, channel, server_credentials
from tallystick_node.peers.links import PROTOCOL_VERSION, QUEUE, Link, RunLinks
from tallystick_node.runs import process
from tallystick_node.server.door import Door
from tallystick_node.server.services import PeerService
from tallystick_node.server.vouching import Voucher
from tallystick_node.settings import Settings

TASK = "0x" + "ab" * 32
SPEC = b"\5" * 32
SECONDS = 2.0  # of patience, where a test waits for its end
PATIENCE = 60.0  # of patience, where it must not end: a busy machine may stop for many seconds


class Stage:
    """Two institutions by account: ``low`` dials, ``high`` is dialled. ``other`` is enrolled and no party."""

    def __init__(self, network: Network) -> None:
        self.network = network
        found = [network.join(name) for name in ("One", "Two", "Three")]
        self.low, self.high = sorted(found[:2], key=lambda each: int(each.account, 16))
        self.other = found[2]
        self.refusals: list[tuple[str, ...]] = []

    def settings(self, who: Institution, seconds: float) -> Settings:
        return Settings.load(self.network.write_settings(who, link_seconds=seconds))

    def peers(self, who: Institution, seconds: float = PATIENCE) -> Peers:
        return Peers(self.settings(who, seconds), self.network.connect(), who.account)

    @asynccontextmanager
    async def served(
        self, who: Institution, peers: Peers, *, key: Path | None = None, pem: Path | None = None
    ) -> AsyncIterator[None]:
        server = grpc.aio.server(options=SERVER_OPTIONS)
        chain = self.network.connect()
        door = Door(chain, lambda *refusal: self.refusals.append(refusal))
        voucher = Voucher(chain, who.signer, who.account, None, lambda _: False, lambda *_: None)
        node_pb2_grpc.add_PeerServicer_to_server(PeerService(door, peers, voucher), server)
        folder = who.folder
        credentials = server_credentials(key or folder / "tls.key", pem or folder / "tls.pem", self.network.authority_file)
        server.add_secure_port(who.address, credentials)
        await server.start()
        await peers.listen()
        try:
            yield
        finally:
            await peers.close()
            await server.stop(0)

    def dial(self, who: Institution, *, key: Path | None = None, pem: Path | None = None) -> grpc.aio.Channel:
        """A channel to ``high`` with the certificate of ``who``."""
        files = (key or who.folder / "tls.key", pem or who.folder / "tls.pem", self.network.authority_file)
        return channel(self.high.address, self.high.account, *files, seconds=PATIENCE)

    def certify(self, folder: Path, account: str, *, foreign: bool = False) -> tuple[Path, Path]:
        """A key and a certificate that nobody enrolled, from the consortium's authority or from another of the same name."""
        key, now = ec.generate_private_key(ec.SECP256R1()), self.network.governor.chain.now()
        authority, ca_key = self.network.authority, self.network._ca_key
        if foreign:
            ca_key = ec.generate_private_key(ec.SECP256R1())
            authority = issue_authority("Demonstration Consortium CA", ca_key, (now - 60, now + 86400))
        names = ["127.0.0.1", server_name(account)]
        made = issue_certificate(
            authority, ca_key, key.public_key(), account, "x", names, ["data-provider"], (now - 60, now + 86400)
        )
        folder.mkdir(exist_ok=True)
        (folder / "tls.pem").write_bytes(made.pem)
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / "tls.key").write_bytes(pem)
        return folder / "tls.key", folder / "tls.pem"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Network(tmp_path_factory.mktemp("links")) as network:
        yield Stage(network)


def hello(**changes: Any) -> node_pb2.Frame:
    certificate = direct.Credential.make().certificate
    values = {"task": TASK, "attempt": 1, "spec": SPEC, "protocol_version": PROTOCOL_VERSION, "certificate": certificate, **changes}
    return node_pb2.Frame(hello=node_pb2.Hello(**values))


def data(content: bytes) -> node_pb2.Frame:
    return node_pb2.Frame(evidence=content)


async def opened(stage: Stage, who: Institution, peers: Peers) -> RunLinks:
    run = await peers.open(TASK, 1, SPEC, [stage.low.account, stage.high.account])
    try:
        await peers.established(run)
    except BaseException:
        await peers.release(run)
        raise
    return run


async def received(stage: Stage, peers: Peers, seconds: float = PATIENCE) -> None:
    """Open the run at ``high`` and take what ``low`` sends, until the link ends: perhaps before the run has seen it open."""
    run = await opened(stage, stage.high, peers)
    run._seconds = seconds  # of silence, once it is open
    try:
        while True:
            await run.receive(stage.low.account)
    finally:
        await peers.release(run)


def scene(play: Callable[[], Awaitable[None]]) -> None:
    """Everything ends within seconds, or with the machine's pauses in minutes, whatever a peer does."""
    asyncio.run(asyncio.wait_for(play(), 3 * PATIENCE))


@pytest.fixture
def give_up_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who dials gives up, and says why, before those who wait for the run do."""
    monkeypatch.setattr(exchanging, "OPEN_FACTOR", PATIENCE / SECONDS)


async def exchange(frames: list[node_pb2.Frame], link: grpc.aio.Channel, hold: float = 0.0) -> list[node_pb2.Frame]:
    """Send frames, make the direct connection that the answer asks for, keep all open for a while, and return what came."""

    async def outgoing() -> AsyncIterator[node_pb2.Frame]:
        for frame in frames:
            yield frame
        await asyncio.sleep(hold)

    came: list[node_pb2.Frame] = []
    with contextlib.ExitStack() as connections:
        async with link:
            async for frame in node_pb2_grpc.PeerStub(link).Exchange(outgoing(), timeout=2 * PATIENCE):
                came.append(frame)
                if frame.hello.ticket:
                    where = ("127.0.0.1", frame.hello.data_port, frame.hello.ticket)
                    connections.enter_context(await direct.connect("peer", *where, seconds=hold or PATIENCE))
    return came


async def refused(
    stage: Stage, frames: list[node_pb2.Frame], who: Institution, status: str, words: str, seconds: float = PATIENCE, **files: Path
) -> None:
    peers = stage.peers(stage.high, seconds)
    async with stage.served(stage.high, peers):
        run = asyncio.create_task(opened(stage, stage.high, peers))
        await asyncio.sleep(0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exchange(frames, stage.dial(who, **files))
        assert caught.value.code().name == status, caught.value
        assert words in (caught.value.details() or "")
        run.cancel()


# -- honest


def test_two_nodes_exchange_messages_in_order(stage: Stage) -> None:
    async def play() -> None:
        low, high = stage.peers(stage.low), stage.peers(stage.high)
        async with stage.served(stage.high, high):
            one, two = await asyncio.gather(opened(stage, stage.low, low), opened(stage, stage.high, high))
            for number in range(3 * QUEUE):
                await one.send(stage.high.account, b"%d" % number)
                assert await two.receive(stage.low.account) == b"%d" % number
            await two.send(stage.low.account, b"e")
            await two.send(stage.low.account, b"f" * MAX_MESSAGE)
            assert await one.receive(stage.high.account) == b"e"
            assert await one.receive(stage.high.account) == b"f" * MAX_MESSAGE
            link, other = one.links[stage.high.account], two.links[stage.low.account]
            assert (link.certificate, other.certificate) == (other.credential.certificate, link.credential.certificate)
            assert bool(link.ticket) < bool(other.ticket)  # the dialled node gave it
            near, far = link.connection, other.connection
            assert near is not None and far is not None
            near.send(b"from worker to worker")
            assert await asyncio.get_running_loop().sock_recv(far, 99) == b"from worker to worker"
            await asyncio.gather(low.release(one), high.release(two))

    scene(play)


def test_a_run_that_is_over_holds_no_connection(stage: Stage) -> None:
    """Not even until Python collects what refers to itself: between two such collections there may be hundreds of runs."""

    def sockets() -> int:
        return sum(os.path.realpath(each).rpartition("/")[2].startswith("socket:") for each in Path("/proc/self/fd").iterdir())

    async def play() -> None:
        low, high = stage.peers(stage.low), stage.peers(stage.high)
        async with stage.served(stage.high, high):

            async def run() -> None:
                one, two = await asyncio.gather(opened(stage, stage.low, low), opened(stage, stage.high, high))
                await asyncio.gather(low.release(one), high.release(two))

            await run()
            gc.collect()
            gc.disable()
            try:
                before = sockets()
                for _ in range(8):
                    await run()
                async with asyncio.timeout(PATIENCE):
                    while sockets() > before + 4:  # the last may be closing yet
                        await asyncio.sleep(0.05)
            finally:
                gc.enable()

    scene(play)


# -- who is at the other end


def test_a_certificate_that_was_not_enrolled_is_refused(stage: Stage, tmp_path: Path) -> None:
    stranger = to_checksum_address("0x" + "77" * 20)
    key, pem = stage.certify(tmp_path / "a", stranger)
    scene(lambda: refused(stage, [hello()], stage.low, "PERMISSION_DENIED", "not active", key=key, pem=pem))
    assert [(rule, party) for rule, _, party in stage.refusals if party == stranger] == [("participant-active", stranger)]


def test_another_certificate_for_an_enrolled_account_is_refused(stage: Stage, tmp_path: Path) -> None:
    key, pem = stage.certify(tmp_path / "b", stage.low.account)
    scene(lambda: refused(stage, [hello()], stage.low, "PERMISSION_DENIED", "not the one enrolled", key=key, pem=pem))


def test_a_certificate_of_another_authority_does_not_connect(stage: Stage, tmp_path: Path) -> None:
    key, pem = stage.certify(tmp_path / "c", stage.low.account, foreign=True)
    scene(lambda: refused(stage, [hello()], stage.low, "UNAVAILABLE", "", key=key, pem=pem))


def test_who_is_no_party_is_refused(stage: Stage) -> None:
    scene(lambda: refused(stage, [hello()], stage.other, "ABORTED", "no party"))


# -- what it says


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([data(b"x")], "begins with Hello"),
        ([], "begins with Hello"),
        ([hello(task="0x" + "cd" * 32)], "runs no such attempt"),
        ([hello(attempt=2)], "runs no such attempt"),
        ([hello(spec=b"\6" * 32)], "another spec"),
        ([hello(protocol_version=99)], f"protocol version 99, this node {PROTOCOL_VERSION}"),
        ([hello(certificate=b"")], "no P-256 certificate"),
        ([hello(certificate=b"\x30\x82" * 99)], "no P-256 certificate"),
        ([hello(certificate=2 * direct.Credential.make().certificate)], "no P-256 certificate"),
        ([hello(certificate=direct.Credential.make().certificate + bytes(direct.CERTIFICATE_LIMIT))], "no P-256 certificate"),
        ([hello(ticket=bytes(direct.TICKET))], "where none is due"),
        ([hello(data_port=4433)], "where none is due"),
    ],
)
def test_a_wrong_beginning_is_refused(stage: Stage, frames: list[node_pb2.Frame], words: str) -> None:
    seconds = SECONDS if words == "runs no such attempt" else PATIENCE  # for which this node waits for itself to run it
    scene(lambda: refused(stage, frames, stage.low, "ABORTED", words, seconds))


def test_a_second_stream_for_the_same_attempt_is_refused(stage: Stage) -> None:
    async def play() -> None:
        peers = stage.peers(stage.high)
        async with stage.served(stage.high, peers):
            first = asyncio.create_task(exchange([hello()], stage.dial(stage.low), hold=PATIENCE))
            run = await opened(stage, stage.high, peers)
            with pytest.raises(grpc.aio.AioRpcError, match="opened already"):
                await exchange([hello()], stage.dial(stage.low))
            await peers.release(run)
            first.cancel()

    scene(play)


@pytest.mark.parametrize(
    "frame",
    [
        data(bytes(MAX_MESSAGE + 1)),
        hello(),
        node_pb2.Frame(),
    ],
    ids=["too long", "hello again", "nothing"],
)
def test_a_frame_that_the_protocol_does_not_allow_ends_the_link(stage: Stage, frame: node_pb2.Frame) -> None:
    async def play() -> None:
        peers = stage.peers(stage.high)
        async with stage.served(stage.high, peers):
            sending = asyncio.create_task(exchange([hello(), data(b"good"), frame], stage.dial(stage.low), hold=PATIENCE))
            with pytest.raises(PeerFailed) as caught:
                await received(stage, peers)
            assert caught.value.party == stage.low.account
            assert caught.value.reason == Reason.PEER_VIOLATION
            sending.cancel()

    scene(play)


def test_a_message_above_every_limit_breaks_the_stream(stage: Stage) -> None:
    async def play() -> None:
        peers = stage.peers(stage.high)
        async with stage.served(stage.high, peers):
            files = (stage.low.folder / "tls.key", stage.low.folder / "tls.pem", stage.network.authority_file)
            credentials = grpc.ssl_channel_credentials(
                files[2].read_bytes(), private_key=files[0].read_bytes(), certificate_chain=files[1].read_bytes()
            )
            options = [("grpc.ssl_target_name_override", server_name(stage.high.account)), ("grpc.max_send_message_length", -1)]
            link = grpc.aio.secure_channel(stage.high.address, credentials, options=options)
            sending = asyncio.create_task(exchange([hello(), data(bytes(MESSAGE_LIMIT + 1))], link, hold=2))
            with pytest.raises(PeerFailed, match="broke|ended"):
                await received(stage, peers)
            with pytest.raises((grpc.aio.AioRpcError, PeerFailed)):  # the stream broke, perhaps before the connection was made
                await sending

    scene(play)


@pytest.mark.parametrize(("last", "words"), [([], "sent nothing"), ([node_pb2.Frame(done=True)], "ended the stream")])
def test_silence_and_a_sudden_end_are_named_in_time(stage: Stage, last: list[node_pb2.Frame], words: str) -> None:
    async def play() -> None:
        peers = stage.peers(stage.high)
        async with stage.served(stage.high, peers):
            sending = asyncio.create_task(exchange([hello(), *last], stage.dial(stage.low), hold=PATIENCE))
            with pytest.raises(PeerFailed, match=words) as caught:
                await received(stage, peers, SECONDS)
            assert caught.value.reason == Reason.PEER_SILENT
            sending.cancel()

    scene(play)


def test_a_peer_that_works_is_waited_for_and_one_that_stops_working_is_not(stage: Stage, monkeypatch) -> None:
    """An owner that has shared its data has its evidence long before those who compute have theirs."""
    monkeypatch.setattr(links, "PULSES", 4 * PATIENCE)

    async def play() -> None:
        low, high = stage.peers(stage.low), stage.peers(stage.high)
        async with stage.served(stage.high, high):
            one, two = await asyncio.gather(opened(stage, stage.low, low), opened(stage, stage.high, high))
            waiting = asyncio.create_task(two.receive(stage.low.account))
            while two.links[stage.low.account].pulses < 2:
                await asyncio.sleep(0.05)
            assert not waiting.done()
            await one.send(stage.high.account, b"word")
            assert await waiting == b"word"
            two._seconds = SECONDS
            with pytest.raises(PeerFailed, match="sent nothing"):  # it has ended its work: now it owes its next word
                await two.receive(stage.low.account)
            await asyncio.gather(low.release(one), high.release(two))

    scene(play)


def test_who_says_that_it_works_is_waited_for_however_long() -> None:
    async def play() -> None:
        one = to_checksum_address(f"0x{1:040x}")
        run = RunLinks(TASK, 1, SPEC, [Link(one)], 0, 0.02)
        waiting = asyncio.create_task(run.receive(one))
        loop = asyncio.get_running_loop()
        later = loop.time() + 0.5
        while loop.time() < later:
            run.links[one].pulses += 1
            await asyncio.sleep(0)
        assert not waiting.done()
        with pytest.raises(PeerFailed, match="sent nothing"):
            await waiting

    scene(play)


def test_who_waits_itself_is_not_taken_for_the_cause() -> None:
    one, two, three, me = (to_checksum_address(f"0x{number:040x}") for number in (1, 2, 3, 4))
    run = RunLinks(TASK, 1, SPEC, [Link(one), Link(two), Link(three)], 0, SECONDS)
    assert run.silent(one) == one
    run.links[one].waits_for = two
    run.links[two].waits_for = three
    assert run.silent(one) == three
    run.links[three].waits_for = one  # in a circle: whoever comes last is as good as any
    assert run.silent(one) == three
    run.links[one].waits_for = me  # it hears nothing from this party, nor this party from it
    assert run.silent(one) == one
    run.links[one].waits_for = "nonsense"
    assert run.silent(one) == one


def test_a_silent_worker_is_accused_of_silence_by_those_that_wait_for_it_and_for_those_that_do(monkeypatch) -> None:
    monkeypatch.setattr(process, "SECOND_THOUGHT", 0.1)
    one, two, three = (to_checksum_address(f"0x{number:040x}") for number in (1, 2, 3))
    for waits_for, accused in (("", one), (two, two), (three, one)):  # `three` is this party
        run = RunLinks(TASK, 1, SPEC, [Link(one), Link(two)], 0, SECONDS)
        run.links[one].waits_for = waits_for
        problem = {"reason": Reason.PEER_SILENT, "peer": 0, "message": "sent nothing for 2 s"}
        with pytest.raises((PeerFailed, RunFailed)) as caught:
            asyncio.run(process._fail(problem, (one, two, three), run))
        assert (caught.value.party, caught.value.reason) == (accused, Reason.PEER_SILENT)
        assert [link.outbound.get_nowait().waits_for for link in run.links.values()] == [one, one]


def test_a_suspicion_is_told_to_every_peer(stage: Stage) -> None:
    async def play() -> None:
        low, high = stage.peers(stage.low), stage.peers(stage.high)
        async with stage.served(stage.high, high):
            one, two = await asyncio.gather(opened(stage, stage.low, low), opened(stage, stage.high, high))
            one.suspect(stage.other.account)
            for _ in range(1000):
                await asyncio.sleep(0.05)
                if two.links[stage.low.account].waits_for:
                    break
            assert two.links[stage.low.account].waits_for == stage.other.account
            await asyncio.gather(low.release(one), high.release(two))

    scene(play)


def test_an_abort_shows_its_words_and_no_more_than_a_line(stage: Stage) -> None:
    async def play() -> None:
        peers = stage.peers(stage.high)
        abort = node_pb2.Frame(abort=node_pb2.Abort(problem=node_pb2.Problem(message="my disk is full " + "x" * 9999)))
        async with stage.served(stage.high, peers):
            sending = asyncio.create_task(exchange([hello(), abort], stage.dial(stage.low), hold=PATIENCE))
            with pytest.raises(PeerFailed, match="my disk is full") as caught:
                await received(stage, peers)
            assert caught.value.reason == Reason.PEER_ABORTED
            assert len(caught.value.message) < 400
            sending.cancel()

    scene(play)


def test_a_flood_is_not_kept(stage: Stage) -> None:
    async def play() -> None:
        peers = stage.peers(stage.high)
        async with stage.served(stage.high, peers):
            flood = [hello(), *(data(bytes(1 << 16)) for _ in range(8 * QUEUE))]
            sending = asyncio.create_task(exchange(flood, stage.dial(stage.low), hold=PATIENCE))
            run = await opened(stage, stage.high, peers)
            await asyncio.sleep(SECONDS)
            assert run.links[stage.low.account].inbound.qsize() <= QUEUE
            sending.cancel()
            await peers.release(run)

    scene(play)


def test_a_cut_account_is_out_at_once(stage: Stage) -> None:
    async def play() -> None:
        peers = stage.peers(stage.high)
        async with stage.served(stage.high, peers):
            sending = asyncio.create_task(exchange([hello(), data(b"late")], stage.dial(stage.low), hold=PATIENCE))
            run = await opened(stage, stage.high, peers)
            worker = run.links[stage.low.account].connection.dup()
            broken = asyncio.create_task(run.broken())
            await asyncio.sleep(0)
            peers.cut(stage.low.account, "was revoked on chain")
            assert worker.recv(1) == b""  # also for the process that holds the connection
            assert (await broken).reason == Reason.AUTHORISATION_ENDED
            with pytest.raises(PeerFailed, match="revoked"):
                await run.receive(stage.low.account)
            with pytest.raises(PeerFailed, match="revoked"):
                await run.send(stage.low.account, b"x")
            sending.cancel()
            await peers.release(run)

    scene(play)


# -- dialling


def test_nobody_at_the_address_is_named_in_time(stage: Stage, give_up_first: None) -> None:
    async def play() -> None:
        with pytest.raises(PeerFailed, match="no TLS session") as caught:
            await opened(stage, stage.low, stage.peers(stage.low, SECONDS))
        assert (caught.value.party, caught.value.reason) == (stage.high.account, Reason.PEER_SILENT)

    scene(play)


def test_another_accounts_node_at_the_address_is_not_talked_to(stage: Stage, give_up_first: None) -> None:
    async def play() -> None:
        peers = stage.peers(stage.high)
        files = {"key": stage.other.folder / "tls.key", "pem": stage.other.folder / "tls.pem"}
        async with stage.served(stage.high, peers, **files):
            with pytest.raises(PeerFailed, match="no TLS session"):
                await opened(stage, stage.low, stage.peers(stage.low, SECONDS))

    scene(play)


async def answered(stage: Stage, *frames: node_pb2.Frame, seconds: float = PATIENCE) -> None:
    """Dial a node at the right address, with the right certificate, that answers so and then nothing."""

    class Node(node_pb2_grpc.PeerServicer):
        async def Exchange(self, _frames: Any, context: Any) -> AsyncIterator[node_pb2.Frame]:
            for frame in frames:
                yield frame
            await asyncio.sleep(2 * PATIENCE)

    server = grpc.aio.server(options=SERVER_OPTIONS)
    node_pb2_grpc.add_PeerServicer_to_server(Node(), server)
    folder = stage.high.folder
    credentials = server_credentials(folder / "tls.key", folder / "tls.pem", stage.network.authority_file)
    server.add_secure_port(stage.high.address, credentials)
    await server.start()
    try:
        await opened(stage, stage.low, stage.peers(stage.low, seconds))
    finally:
        await server.stop(0)


@pytest.mark.slow
def test_a_node_that_never_says_hello_is_given_up(stage: Stage) -> None:
    async def play() -> None:
        with pytest.raises(PeerFailed, match="did not come") as caught:
            await answered(stage, seconds=SECONDS)
        assert caught.value.reason == Reason.PEER_SILENT

    scene(play)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (data(b"x"), "did not begin with Hello"),
        (hello(), "no data address"),
        (hello(ticket=bytes(direct.TICKET)), "no data address"),
        (hello(ticket=bytes(direct.TICKET), data_port=65536), "no data address"),
        (hello(ticket=bytes(direct.TICKET - 1), data_port=4433), "no data address"),
        (hello(ticket=bytes(direct.TICKET), data_port=4433, certificate=b"x"), "no P-256 certificate"),
        (hello(ticket=bytes(direct.TICKET), data_port=4433, attempt=2), "another task or attempt"),
    ],
)
def test_an_answer_that_names_no_data_address(stage: Stage, frame: node_pb2.Frame, words: str) -> None:
    async def play() -> None:
        with pytest.raises(PeerFailed, match=words) as caught:
            await answered(stage, frame)
        assert (caught.value.party, caught.value.reason) == (stage.high.account, Reason.PEER_VIOLATION)

    scene(play)


def test_a_data_address_that_lets_nobody_in_is_named_in_time(stage: Stage, give_up_first: None) -> None:
    async def play() -> None:
        with pytest.raises(PeerFailed, match="lets no connection in") as caught:
            await answered(stage, hello(ticket=bytes(direct.TICKET), data_port=free_port()), seconds=SECONDS)
        assert (caught.value.party, caught.value.reason) == (stage.high.account, Reason.PEER_SILENT)

    scene(play)


def test_who_says_hello_and_never_connects_is_given_up(stage: Stage) -> None:
    async def play() -> None:
        peers = stage.peers(stage.high, SECONDS)
        async with stage.served(stage.high, peers), stage.dial(stage.low) as link:

            async def outgoing() -> AsyncIterator[node_pb2.Frame]:
                yield hello()
                await asyncio.sleep(2 * PATIENCE)

            call = node_pb2_grpc.PeerStub(link).Exchange(outgoing(), timeout=2 * PATIENCE)
            with pytest.raises(PeerFailed, match="did not come") as caught:
                await opened(stage, stage.high, peers)
            assert (caught.value.party, caught.value.reason) == (stage.low.account, Reason.PEER_SILENT)
            call.cancel()

    scene(play)


def test_a_peer_without_an_address_is_named(stage: Stage) -> None:
    async def play() -> None:
        peers = stage.peers(stage.low)
        peers._settings.peers.clear()
        with pytest.raises(PeerFailed, match="address is not configured"):
            await opened(stage, stage.low, peers)

    scene(play)
