"""The links of one run: for each pair of parties a gRPC stream on which their nodes agree, and a direct connection for the workers.

:mod:`exchange` brings them about and carries them. Both ends begin with a Hello that names task, attempt, spec and protocol
version; any difference ends the stream with an error that says which. The Hellos also bring about the direct connection
(:mod:`direct`), over which the computation runs; the stream carries what the nodes say after it, and why a party ends the run. When
either end of a link ends, this node closes both.

A run may do without some parties. Their links may end without ending the run, as long as no more of them do than it tolerates; and
whether such a party still works is watched all the time, so that nobody waits for one whose machine is gone.

Parties may be done at very different times: an owner has shared its data long before the others have computed. So a node says
from time to time that its worker is still at work, and silence counts only when it does not say so.

What is waited for here may come at the very moment at which the run is stopped. So no wait is by ``asyncio.wait_for``, which then
answers with what has come, in Python 3.11, and loses the stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from tallystick.protocol.errors import PeerFailed
from tallystick.protocol.reasons import Reason
from tallystick.wire import node_pb2

from tallystick_node.engines.silence import PARTS, Silence
from tallystick_node.peers import direct

PROTOCOL_VERSION = 5
QUEUE = 8
LEAVING = 5.0  # seconds in which what was said last leaves, and the peers end their streams
PULSES = PARTS  # how often a node says that it works, in the time for which a peer may be silent


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
        silence = Silence(self._seconds)
        while not silence.over or not link.outbound.full():
            began = time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(silence.part):
                    await link.outbound.put(node_pb2.Frame(evidence=message))
                break
            silence.waited(began)
        else:
            link.fail(f"took no message for {self._seconds:g} s")
        if link.failure:
            raise link.failure

    async def receive(self, account: str) -> bytes:
        """The next message of evidence. Raises PeerFailed when the link ends, or is silent for too long and not at work."""
        link = self.links[account]
        message = await self._heard(link)
        if message is None:
            assert link.failure is not None
            raise link.failure
        return message

    async def _heard(self, link: Link) -> bytes | None:
        """What comes next; None when the link is over, as it is after silence."""
        pulses, silence = link.pulses, Silence(self._seconds)
        while not silence.over or not link.inbound.empty():
            began = time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(silence.part):
                    return await link.inbound.get()
            silence.waited(began)
            if link.pulses != pulses:
                pulses, silence = link.pulses, Silence(self._seconds)
        link.fail(f"sent nothing for {self._seconds:g} s")
        return None

    async def hear(self, account: str) -> bytes | None:
        """The next message of evidence, for as long as it takes; None when the link is over: for what a run can do without."""
        return await self.links[account].inbound.get()

    async def broken(self) -> PeerFailed:
        """Wait until a link is over that the run cannot do without; why."""
        silences: dict[str, tuple[int, Silence]] = {}
        while (failure := self.failure) is None:
            waiting = [asyncio.create_task(link.over.wait()) for link in self.links.values() if not link.over.is_set()]
            began = time.monotonic()
            try:
                await asyncio.wait(waiting, timeout=self.pulse if self._spare else None, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()
            self._end_silent(silences, began)
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
            async with asyncio.timeout(self._seconds):
                await self.links[account].over.wait()
        return self.links[account].over.is_set()

    def _end_silent(self, silences: dict[str, tuple[int, Silence]], began: float) -> None:
        """End the links to parties that can be spared and have said nothing for too long: neither that they work, nor evidence.
        ``silences``: by account, of each that went on since ``began``, and how many pulses came before it."""
        for account in self._spare & self.links.keys():
            link = self.links[account]
            pulses, silence = silences.get(account, (-1, Silence(0)))
            if link.pulses != pulses or not link.inbound.empty():
                silences[account] = (link.pulses, Silence(self._seconds))
                continue
            silence.waited(began)
            if silence.over:
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
        silence, leaving = Silence(LEAVING), set(self.dialling)
        while leaving and not silence.over:
            began = time.monotonic()
            _, leaving = await asyncio.wait(leaving, timeout=silence.part)
            silence.waited(began)
        for task in (*self.dialling, *self.arriving):
            task.cancel()
        for link in self.links.values():
            link.disconnect()
