"""The links of one run: an ordered stream of messages to and from each peer, over one gRPC stream for each pair.

The party with the lower account dials. Both ends begin with a Hello that names task, attempt, spec and protocol version; any
difference ends the stream with an error that says which. Queues are short, so a slow reader slows its writer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import grpc
from tallystick.chain.connection import Chain
from tallystick.protocol.errors import ChainUnreachable, PeerFailed, TallystickError
from tallystick.protocol.reasons import Reason
from tallystick.wire import node_pb2, node_pb2_grpc

from tallystick_node.peers.identity import channel, require_server
from tallystick_node.settings import Settings

PROTOCOL_VERSION = 1
MAX_MESSAGE = 4 << 20
QUEUE = 32
OPEN_FACTOR = 2  # how many times the patience with a silent link a party has to come to the run
DIAL_SECONDS = 0.5  # between two attempts to reach a peer
ENGINE, EVIDENCE = b"\0", b"\1"  # first byte of every message: what the computation says, and what the nodes say after it


@dataclass
class Link:
    """One peer of one run attempt."""

    account: str
    inbound: dict[bytes, asyncio.Queue[bytes | None]] = field(
        default_factory=lambda: {tag: asyncio.Queue(QUEUE) for tag in (ENGINE, EVIDENCE)}
    )
    outbound: asyncio.Queue[node_pb2.Frame] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    failure: PeerFailed | None = None
    dialled: bool = False

    def fail(self, message: str, remedy: str = "look at the peer's node", reason: Reason = Reason.PEER_SILENT) -> None:
        """The link is over. What arrived before can no longer be read: a run needs all or nothing."""
        if self.failure is None:
            self.failure = PeerFailed(message, party=self.account, remedy=remedy, reason=reason)
            self.ready.set()
            for queue in self.inbound.values():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)

    def end(self) -> None:
        """The peer has said all it had to say: what arrived can still be read."""
        if self.failure is None:
            self.failure = PeerFailed(
                "ended the stream", party=self.account, remedy="look at the peer's node", reason=Reason.PEER_SILENT
            )
            for queue in self.inbound.values():
                with contextlib.suppress(asyncio.QueueFull):
                    queue.put_nowait(None)


class RunLinks:
    """The links of one attempt to every peer."""

    def __init__(self, task: str, attempt: int, spec: bytes, peers: Sequence[str], seconds: float) -> None:
        self.task = task
        self.attempt = attempt
        self.hello = node_pb2.Hello(task=task, attempt=attempt, spec=spec, protocol_version=PROTOCOL_VERSION)
        self.links = {account: Link(account) for account in peers}
        self.tasks: list[asyncio.Task[None]] = []
        self._seconds = seconds

    async def send(self, account: str, tag: bytes, message: bytes) -> None:
        """Queue one message. Raises PeerFailed."""
        link = self.links[account]
        if link.failure:
            raise link.failure
        try:
            await asyncio.wait_for(link.outbound.put(node_pb2.Frame(data=tag + message)), self._seconds)
        except TimeoutError:
            link.fail(f"took no message for {self._seconds:g} s")
        if link.failure:
            raise link.failure

    async def receive(self, account: str, tag: bytes, *, patient: bool = False) -> bytes:
        """The next message of this tag. Raises PeerFailed when the link ends or, unless ``patient``, is silent for too long."""
        link = self.links[account]
        try:
            message = await asyncio.wait_for(link.inbound[tag].get(), None if patient else self._seconds)
        except TimeoutError:
            link.fail(f"sent nothing for {self._seconds:g} s")
            message = None
        if message is None:
            assert link.failure is not None
            raise link.failure
        return message

    def cut(self, account: str, reason: str) -> None:
        """End the link to one account at once."""
        if account in self.links:
            self.links[account].fail(reason, reason=Reason.AUTHORISATION_ENDED)

    def abort(self, problem: node_pb2.Problem) -> None:
        """Tell every peer why this party ends the run; queued messages still leave first."""
        for link in self.links.values():
            with contextlib.suppress(asyncio.QueueFull):
                link.outbound.put_nowait(node_pb2.Frame(abort=node_pb2.Abort(problem=problem)))

    async def close(self) -> None:
        """Let queued messages leave, then end every stream."""
        for link in self.links.values():
            with contextlib.suppress(asyncio.QueueFull):
                link.outbound.put_nowait(node_pb2.Frame(done=True))
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=5)
        for task in self.tasks:
            task.cancel()


class Peers:
    """All runs' links of this node, and the dialling of peers."""

    def __init__(self, settings: Settings, chain: Chain, account: str) -> None:
        self._settings = settings
        self._chain = chain
        self._account = account
        self._runs: dict[tuple[str, int], RunLinks] = {}
        self._opened = asyncio.Condition()

    async def open(self, task: str, attempt: int, spec: bytes, parties: Sequence[str]) -> RunLinks:
        """Links to every other party, all of them established. Raises PeerFailed naming the one that did not come."""
        peers = [account for account in parties if account != self._account]
        run = RunLinks(task, attempt, spec, peers, self._settings.link_seconds)
        async with self._opened:
            self._runs[task, attempt] = run
            self._opened.notify_all()
        for account in peers:
            if int(self._account, 16) < int(account, 16):
                run.tasks.append(asyncio.create_task(self._dial(run, run.links[account])))
        for link in run.links.values():
            try:
                await asyncio.wait_for(link.ready.wait(), OPEN_FACTOR * self._settings.link_seconds)
            except TimeoutError:
                link.fail("did not come to the run in time", "check that its node runs")
            if link.failure:
                await self.release(run)
                raise link.failure
        return run

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
            async with self._opened:
                await asyncio.wait_for(self._opened.wait_for(lambda: key in self._runs), self._settings.link_seconds)
        except TimeoutError:
            raise PeerFailed("this node runs no such attempt", party=self._account, remedy="check task and attempt") from None
        run = self._runs[key]
        link = run.links.get(account)
        if link is None:
            raise PeerFailed("the caller is no party of this task", party=account)
        check_hello(run.hello, hello, account)
        if link.dialled or link.failure:
            raise PeerFailed("this attempt's stream was opened already", party=account, remedy="start a new attempt")
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
        await asyncio.to_thread(require_server, self._chain, link.account, target, *paths)
        async with channel(target, link.account, *paths) as connection:
            stub = node_pb2_grpc.PeerStub(connection)
            await receive_into(stub.Exchange(outgoing(run, link)), link, run.hello)


def check_hello(ours: node_pb2.Hello, theirs: node_pb2.Hello, account: str) -> None:
    """Raise PeerFailed unless both sides mean the same run."""
    if theirs.protocol_version != ours.protocol_version:
        raise PeerFailed(
            f"speaks protocol version {theirs.protocol_version}, this node {ours.protocol_version}",
            party=account,
            remedy="the party with the older version upgrades",
        )
    if (theirs.task, theirs.attempt) != (ours.task, ours.attempt):
        raise PeerFailed("answers for another task or attempt", party=account)
    if theirs.spec != ours.spec:
        raise PeerFailed("has another spec for this task", party=account)


async def outgoing(run: RunLinks, link: Link) -> AsyncIterator[node_pb2.Frame]:
    """Our frames of a stream: Hello, then what is queued, until done."""
    yield node_pb2.Frame(hello=run.hello)
    while True:
        frame = await link.outbound.get()
        yield frame
        if frame.WhichOneof("kind") != "data":
            return


async def receive_into(frames: AsyncIterator[node_pb2.Frame], link: Link, hello: node_pb2.Hello | None) -> None:
    """Read a peer's frames into its link. ``hello``: what its first frame must agree with, None when it was checked.

    Raises what gRPC raises as long as the link is not established; afterwards every fault is the link's.
    """
    try:
        async for frame in frames:
            if hello is not None:
                _greet(frame, link, hello)
                hello = None
            else:
                await _take(frame, link)
            if link.failure:
                return
        link.fail("ended the stream")
    except PeerFailed as error:
        link.fail(error.message, error.remedy, error.reason)
    except (grpc.aio.AioRpcError, grpc.aio.UsageError, grpc.RpcError) as error:  # a message above the limit, a reset
        if hello is not None:
            raise
        details = error.details() if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
        link.fail(f"its stream broke: {details}")


def _greet(frame: node_pb2.Frame, link: Link, hello: node_pb2.Hello) -> None:
    if frame.WhichOneof("kind") != "hello":
        raise PeerFailed("did not begin with Hello", party=link.account)
    check_hello(hello, frame.hello, link.account)
    link.ready.set()


async def _take(frame: node_pb2.Frame, link: Link) -> None:
    kind = frame.WhichOneof("kind")
    if kind == "data" and len(frame.data) <= MAX_MESSAGE + 1 and frame.data[:1] in link.inbound:
        await link.inbound[frame.data[:1]].put(frame.data[1:])
    elif kind == "done":
        link.end()
    elif kind == "abort":
        link.fail(f"ended the run: {frame.abort.problem.message[:300]}", reason=Reason.PEER_ABORTED)
    else:
        raise PeerFailed("sent what the protocol does not allow", party=link.account)
