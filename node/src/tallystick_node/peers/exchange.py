"""How the links of a run come about and what flows on them: the party with the lower account dials the other's node, and both speak
in frames on one gRPC stream (:mod:`links` says what they mean)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

import grpc
from tallystick.chain.connection import Chain
from tallystick.protocol.errors import ChainUnreachable, PeerFailed, TallystickError
from tallystick.protocol.reasons import Reason
from tallystick.wire import node_pb2, node_pb2_grpc

from tallystick_node.engines.silence import Silence
from tallystick_node.peers import direct, knocking
from tallystick_node.peers.identity import channel
from tallystick_node.peers.links import Link, RunLinks
from tallystick_node.settings import Settings

MAX_MESSAGE = 1 << 20  # bytes of a message of evidence
OPEN_FACTOR = 2  # how many times the patience with a silent link a party has to come to the run
DIAL_SECONDS = 0.5  # between two attempts to reach a peer


class Peers:
    """All runs' links of this node, and the dialling of peers."""

    def __init__(self, settings: Settings, chain: Chain, account: str) -> None:
        self._settings = settings
        self._chain = chain
        self._account = account
        self._runs: dict[tuple[str, int], RunLinks] = {}
        self._opened = asyncio.Condition()
        self._entrance = direct.Entrance(settings.data_listen)

    async def listen(self) -> None:
        """Let peers' direct connections in. Raises Configuration when the data address cannot be listened on."""
        await self._entrance.open()

    async def close(self) -> None:
        """Let no more in, and look at no more certificates."""
        knocking.close()
        await self._entrance.close()

    async def open(
        self, task: str, attempt: int, spec: bytes, parties: Sequence[str], spare: Collection[str] = (), most: int = 0
    ) -> RunLinks:
        """Links to every other party, of whom :meth:`established` waits for each; :meth:`release` ends them. ``spare`` and ``most``
        are of :class:`RunLinks`."""
        dialled = {account: int(self._account, 16) < int(account, 16) for account in parties if account != self._account}
        links = [Link(account, b"" if ours else direct.new_ticket()) for account, ours in dialled.items()]
        port = self._entrance.port if any(link.ticket for link in links) else 0
        run = RunLinks(task, attempt, spec, links, port, self._settings.link_seconds, spare, most)
        async with self._opened:
            self._runs[task, attempt] = run
            self._opened.notify_all()
        for link in links:
            if link.ticket:
                run.arriving.append(asyncio.create_task(self._welcome(link)))
            else:
                run.dialling.append(asyncio.create_task(self._dial(run, link)))
        return run

    async def established(self, run: RunLinks) -> None:
        """Wait until all links are. Raises PeerFailed naming the party that did not come, also one that can be spared later."""
        for link in run.links.values():
            await self._await(link)

    async def _await(self, link: Link) -> None:
        silence = Silence(OPEN_FACTOR * self._settings.link_seconds)
        while not silence.over and not link.ready.is_set():
            began = time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(silence.part):
                    await link.ready.wait()
            silence.waited(began)
        if not link.ready.is_set():
            link.fail("did not come to the run in time", "check that its node runs, and reaches this node's `data_listen`")
        if link.failure:
            raise link.failure

    async def release(self, run: RunLinks) -> None:
        """The run is over: close its links and forget them."""
        await run.close()
        self._runs.pop((run.task, run.attempt), None)

    def cut(self, account: str, reason: str) -> None:
        """End every link to an account, in all runs: it was revoked or suspended."""
        for run in self._runs.values():
            run.cut(account, reason)

    async def expected(self, hello: node_pb2.Hello, account: str) -> tuple[RunLinks, Link]:
        """The link that a peer's Hello asks for, as soon as this node has opened its side. Raises PeerFailed."""
        key = (hello.task, hello.attempt)
        try:
            async with self._opened, asyncio.timeout(self._settings.link_seconds):
                await self._opened.wait_for(lambda: key in self._runs)
        except TimeoutError:
            raise PeerFailed("this node runs no such attempt", party=self._account, remedy="check task and attempt") from None
        run = self._runs[key]
        link = run.links.get(account)
        if link is None:
            raise PeerFailed("the caller is no party of this task", party=account)
        if not link.ticket:
            raise PeerFailed("dials where it is dialled", party=account, remedy="the party with the lower account dials")
        if link.dialled or link.failure:
            raise PeerFailed("this attempt's stream was opened already", party=account, remedy="start a new attempt")
        run.greeted(link, hello)
        link.dialled = True
        return run, link

    async def _dial(self, run: RunLinks, link: Link) -> None:
        target = self._settings.peers.get(link.account)
        if target is None:
            link.fail("its address is not configured", "add it to [peers] in the settings")
            return
        give_up = asyncio.get_running_loop().time() + self._settings.link_seconds
        while not link.ready.is_set():
            try:
                await self._connect(run, link, target)
            except (PeerFailed, ChainUnreachable) as error:
                problem, remedy = error.message, error.remedy
            except TallystickError as error:
                link.fail(error.message, error.remedy)
                return
            except grpc.aio.AioRpcError as error:
                problem, remedy = f"its node ended the stream: {error.details() or error.code().name}", "look at the peer's node"
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    link.fail(problem)
                    return
            if not link.ready.is_set():
                if asyncio.get_running_loop().time() > give_up:
                    link.fail(problem, remedy)
                await asyncio.sleep(DIAL_SECONDS)

    async def _connect(self, run: RunLinks, link: Link, target: str) -> None:
        """One attempt at a stream; returns when a stream that was established has ended."""
        paths = (self._settings.key, self._settings.certificate, self._settings.authority)
        shown = await knocking.shown(self._settings, self._chain, link.account)
        link.identity = shown.pem.decode()
        host, _ = direct.split(target)
        seconds = self._settings.link_seconds

        async def greet(hello: node_pb2.Hello) -> None:
            run.greeted(link, hello)
            link.connected(await direct.connect(link.account, host, hello.data_port, hello.ticket, seconds))

        async with channel(target, link.account, *paths, seconds=seconds) as connection:
            stub = node_pb2_grpc.PeerStub(connection)
            # An iterator that is left before its end refers to its call and is referred to by it: the connection would stay.
            async with contextlib.aclosing(aiter(stub.Exchange(outgoing(run, link)))) as frames:
                await receive_into(frames, link, greet)

    async def _welcome(self, link: Link) -> None:
        link.connected(await self._entrance.arrival(link.ticket))


async def outgoing(run: RunLinks, link: Link) -> AsyncIterator[node_pb2.Frame]:
    """Our frames of a stream: Hello, then what is queued, until done; until the first evidence also that we work."""
    yield node_pb2.Frame(hello=run.hello(link))
    working = True
    while True:
        try:
            frame = await asyncio.wait_for(link.outbound.get(), run.pulse if working else None)
        except TimeoutError:
            frame = node_pb2.Frame(working=True)
        yield frame
        if frame.WhichOneof("kind") in ("abort", "done"):
            return
        working = working and frame.WhichOneof("kind") != "evidence"


Greeting = Callable[[node_pb2.Hello], Awaitable[None]]


async def receive_into(frames: AsyncIterator[node_pb2.Frame], link: Link, greet: Greeting | None) -> None:
    """Read a peer's frames into its link. ``greet``: what takes its first frame, None when that was taken.

    Raises what gRPC raises as long as no Hello was taken; afterwards every fault is the link's.
    """
    try:
        async for frame in frames:
            if greet is not None:
                if frame.WhichOneof("kind") != "hello":
                    raise PeerFailed("did not begin with Hello", party=link.account)
                await greet(frame.hello)
                greet = None
            else:
                await _take(frame, link)
            if link.failure:
                return
        link.fail("ended the stream")
    except PeerFailed as error:
        link.fail(error.message, error.remedy, error.reason)
    except (grpc.aio.AioRpcError, grpc.aio.UsageError, grpc.RpcError) as error:  # a message above the limit, a reset
        if greet is not None:
            raise
        details = error.details() if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
        link.fail(f"its stream broke: {details}")


async def _take(frame: node_pb2.Frame, link: Link) -> None:
    kind = frame.WhichOneof("kind")
    if kind == "evidence" and len(frame.evidence) <= MAX_MESSAGE:
        await link.inbound.put(frame.evidence)
    elif kind == "working":
        link.pulses += 1
    elif kind == "waits_for":
        link.waits_for = frame.waits_for[:42]  # an account
    elif kind == "done":
        link.end()
    elif kind == "abort":
        link.fail(f"ended the run: {frame.abort.problem.message[:300]}", reason=Reason.PEER_ABORTED)
    else:
        raise PeerFailed("sent what the protocol does not allow", party=link.account)
