"""The links of one run: for each pair of parties a gRPC stream on which their nodes agree, and a direct connection for the workers.

The party with the lower account dials. Both ends begin with a Hello that names task, attempt, spec and protocol version; any
difference ends the stream with an error that says which. The Hellos also bring about the direct connection (:mod:`direct`), over
which the computation runs; the stream carries what the nodes say after it, and why a party ends the run. When either end of a
link ends, this node closes both.

A run may do without some parties. Their links may end without ending the run, as long as no more of them do than it tolerates; and
whether such a party still works is watched all the time, so that nobody waits for one whose machine is gone.

Parties may be done at very different times: an owner has shared its data long before the others have computed. So a node says
from time to time that its worker is still at work, and silence counts only when it does not say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import grpc
from tallystick.chain.connection import Chain
from tallystick.protocol.errors import ChainUnreachable, PeerFailed, TallystickError
from tallystick.protocol.reasons import Reason
from tallystick.wire import node_pb2, node_pb2_grpc

from tallystick_node.peers import direct
from tallystick_node.peers.identity import channel, require_server
from tallystick_node.settings import Settings

PROTOCOL_VERSION = 3
MAX_MESSAGE = 1 << 20  # bytes of a message of evidence
QUEUE = 8
PULSES = 4  # how often a node says that it works, in the time for which a peer may be silent
OPEN_FACTOR = 2  # how many times the patience with a silent link a party has to come to the run
DIAL_SECONDS = 0.5  # between two attempts to reach a peer


@dataclass
class Link:
    """One peer of one run attempt. ``ticket``: what it shows at this node's data address; empty where this node dials.
    ``identity``: the institution's certificate, PEM, that the peer's node proved itself with."""

    account: str
    ticket: bytes = b""
    credential: direct.Credential = field(default_factory=direct.Credential.make)
    certificate: bytes = b""  # what the peer's worker shows, by its Hello
    connection: socket.socket | None = None
    inbound: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    outbound: asyncio.Queue[node_pb2.Frame] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    identity: str = ""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    failure: PeerFailed | None = None
    dialled: bool = False
    pulses: int = 0  # how often the peer has said that it works
    waits_for: str = ""  # whom the peer's worker hears nothing from, as the peer says

    def connected(self, connection: socket.socket) -> None:
        """The direct connection is there."""
        self.connection = connection
        self.ready.set()
        if self.failure is not None:
            self.disconnect()

    def fail(self, message: str, remedy: str = "look at the peer's node", reason: Reason = Reason.PEER_SILENT) -> None:
        """The link is over, at once. What arrived before can no longer be read: a run needs all or nothing."""
        if self.failure is None:
            self.failure = PeerFailed(message, party=self.account, remedy=remedy, reason=reason)
            self.ready.set()
            self.over.set()
            self.disconnect()
            while not self.inbound.empty():
                self.inbound.get_nowait()
            self.inbound.put_nowait(None)

    def end(self) -> None:
        """The peer has said all it had to say: what arrived can still be read."""
        if self.failure is None:
            self.failure = PeerFailed(
                "ended the stream", party=self.account, remedy="look at the peer's node", reason=Reason.PEER_SILENT
            )
            self.ready.set()
            self.over.set()
            with contextlib.suppress(asyncio.QueueFull):
                self.inbound.put_nowait(None)

    def disconnect(self) -> None:
        """End the direct connection, also for the worker that holds it."""
        if self.connection is not None:
            with contextlib.suppress(OSError):  # the peer may have ended it
                self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()
            self.connection = None


class RunLinks:
    """The links of one attempt to every peer. ``port``: of this node's data address. ``spare``: parties of whom at most ``most``
    may leave without ending the run."""

    def __init__(
        self,
        task: str,
        attempt: int,
        spec: bytes,
        links: Sequence[Link],
        port: int,
        seconds: float,
        spare: Collection[str] = (),
        most: int = 0,
    ) -> None:
        self.task = task
        self.attempt = attempt
        self.spec = spec
        self.links = {link.account: link for link in links}
        self.dialling: list[asyncio.Task[None]] = []
        self.arriving: list[asyncio.Task[None]] = []
        self._port = port
        self._seconds = seconds
        self._spare = frozenset(spare)
        self._most = most

    def hello(self, link: Link) -> node_pb2.Hello:
        """What this node begins a stream with."""
        return node_pb2.Hello(
            task=self.task,
            attempt=self.attempt,
            spec=self.spec,
            protocol_version=PROTOCOL_VERSION,
            certificate=link.credential.certificate,
            ticket=link.ticket,
            data_port=self._port if link.ticket else 0,
        )

    def greeted(self, link: Link, theirs: node_pb2.Hello) -> None:
        """Take a peer's Hello. Raises PeerFailed unless both sides mean the same run."""
        if theirs.protocol_version != PROTOCOL_VERSION:
            raise PeerFailed(
                f"speaks protocol version {theirs.protocol_version}, this node {PROTOCOL_VERSION}",
                party=link.account,
                remedy="the party with the older version upgrades",
            )
        if (theirs.task, theirs.attempt) != (self.task, self.attempt):
            raise PeerFailed("answers for another task or attempt", party=link.account)
        if theirs.spec != self.spec:
            raise PeerFailed("has another spec for this task", party=link.account)
        due = (0, 0, 0) if link.ticket else (direct.TICKET, 1, 65535)  # the dialled node gives ticket and port
        if len(theirs.ticket) != due[0] or not due[1] <= theirs.data_port <= due[2]:
            raise PeerFailed("announces no data address, or one where none is due", party=link.account)
        direct.require_certificate(theirs.certificate, link.account)
        link.certificate = theirs.certificate

    async def send(self, account: str, message: bytes) -> None:
        """Queue one message of evidence. Raises PeerFailed."""
        link = self.links[account]
        if link.failure:
            raise link.failure
        try:
            await asyncio.wait_for(link.outbound.put(node_pb2.Frame(evidence=message)), self._seconds)
        except TimeoutError:
            link.fail(f"took no message for {self._seconds:g} s")
        if link.failure:
            raise link.failure

    async def receive(self, account: str) -> bytes:
        """The next message of evidence. Raises PeerFailed when the link ends, or is silent for too long and not at work."""
        link = self.links[account]
        heard, message = -1, None
        while link.pulses != heard:
            heard = link.pulses
            try:
                message = await asyncio.wait_for(link.inbound.get(), self._seconds)
                break
            except TimeoutError:
                continue
        else:
            link.fail(f"sent nothing for {self._seconds:g} s")
        if message is None:
            assert link.failure is not None
            raise link.failure
        return message

    async def broken(self) -> PeerFailed:
        """Wait until a link is over that the run cannot do without; why."""
        while (failure := self.failure) is None:
            heard = {account: link.pulses for account, link in self.links.items() if not link.over.is_set()}
            waiting = [asyncio.create_task(self.links[account].over.wait()) for account in heard]
            try:
                ended, _ = await asyncio.wait(
                    waiting, timeout=self._seconds if self._spare else None, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                for task in waiting:
                    task.cancel()
            if not ended:
                self._end_silent(heard)
        return failure

    @property
    def failure(self) -> PeerFailed | None:
        """Why the run cannot go on, for the links that are over; None when it can."""
        over = [link for link in self.links.values() if link.failure is not None]
        needed = [link for link in over if link.account not in self._spare]
        if needed:
            return needed[0].failure
        return over[-1].failure if len(over) > self._most else None

    @contextlib.contextmanager
    def sparing(self, account: str) -> Iterator[None]:
        """Pass over that the link to ``account`` is over, where the run can do without it. Raises PeerFailed where it cannot."""
        try:
            yield
        except PeerFailed as error:
            if error is not self.links[account].failure or account not in self._spare:
                raise
            if self.failure is not None:
                raise self.failure from None

    def leave(self, account: str) -> None:
        """End the link to a party that the run has lost: it is told at once, and nobody waits for it."""
        self.links[account].fail("dropped out of the run")

    async def ended(self, account: str) -> bool:
        """Whether the link to ``account`` is over, or ends as soon as others can have found out."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.links[account].over.wait(), self._seconds)
        return self.links[account].over.is_set()

    def _end_silent(self, heard: dict[str, int]) -> None:
        """End the links to parties that can be spared and have said nothing for too long: neither that they work, nor evidence."""
        for account, pulses in heard.items():
            link = self.links[account]
            if account in self._spare and link.pulses == pulses and link.inbound.empty():
                link.fail(f"sent nothing for {self._seconds:g} s")

    @property
    def pulse(self) -> float:
        """Seconds after which a node that works says so."""
        return self._seconds / PULSES

    def suspect(self, account: str) -> None:
        """Tell every peer that this party's worker hears nothing from ``account``: it is not the cause itself."""
        for link in self.links.values():
            with contextlib.suppress(asyncio.QueueFull):
                link.outbound.put_nowait(node_pb2.Frame(waits_for=account))

    def silent(self, account: str) -> str:
        """Who is at the end of the waiting that begins with ``account``, by what the peers have said of themselves."""
        passed = {account}
        while (link := self.links.get(account)) and link.waits_for in self.links and link.waits_for not in passed:
            account = link.waits_for
            passed.add(account)
        return account

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
        """Let queued messages leave, then end every stream and connection."""
        for link in self.links.values():
            with contextlib.suppress(asyncio.QueueFull):
                link.outbound.put_nowait(node_pb2.Frame(done=True))
        if self.dialling:
            await asyncio.wait(self.dialling, timeout=5)
        for task in (*self.dialling, *self.arriving):
            task.cancel()
        for link in self.links.values():
            link.disconnect()


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
        """Let no more in."""
        await self._entrance.close()

    async def open(
        self, task: str, attempt: int, spec: bytes, parties: Sequence[str], spare: Collection[str] = (), most: int = 0
    ) -> RunLinks:
        """Links to every other party, all of them established. Raises PeerFailed naming the one that did not come: also of parties
        that can be spared later, see :class:`RunLinks`."""
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
        try:
            for link in links:
                await self._await(link)
        except BaseException:
            await self.release(run)
            raise
        return run

    async def _await(self, link: Link) -> None:
        try:
            await asyncio.wait_for(link.ready.wait(), OPEN_FACTOR * self._settings.link_seconds)
        except TimeoutError:
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
            async with self._opened:
                await asyncio.wait_for(self._opened.wait_for(lambda: key in self._runs), self._settings.link_seconds)
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
        shown = await asyncio.to_thread(require_server, self._chain, link.account, target, *paths)
        link.identity = shown.pem.decode()
        host, _ = direct.split(target)

        async def greet(hello: node_pb2.Hello) -> None:
            run.greeted(link, hello)
            seconds = self._settings.link_seconds
            link.connected(await direct.connect(link.account, host, hello.data_port, hello.ticket, seconds))

        async with channel(target, link.account, *paths) as connection:
            stub = node_pb2_grpc.PeerStub(connection)
            await receive_into(stub.Exchange(outgoing(run, link)), link, greet)

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
