"""The client for asynchronous programs: a face on :class:`Client`, with no logic of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self

from tallystick.chain.aio import AsyncChain, Facade, Threads, aside
from tallystick.client.client import Client


class AsyncClient(Facade):
    """A :class:`Client` for asynchronous programs: the same methods with the same answers and errors, awaited.

    Each call runs the synchronous client in a thread (``tallystick.chain.aio`` says why, and what cancelling does). Calls
    may run at the same time; transactions of one account still go out one after the other. Use it as ``async with``, or
    call :meth:`close`. ``threads`` may be shared by several clients, which then are closed with it.
    """

    sync: Client

    def __init__(self, client: Client, *, threads: Threads | None = None, seconds: float | None = None) -> None:
        super().__init__(client, threads, seconds)
        self.chain = AsyncChain(client.chain, self.threads, seconds)

    @property
    def account(self) -> str:
        """The account that this client acts for."""
        return self.sync.account

    enrol = aside(Client.enrol)
    publish = aside(Client.publish)
    attach = aside(Client.attach)
    record = aside(Client.record)
    grant = aside(Client.grant)
    revoke_grant = aside(Client.revoke_grant)
    draft = aside(Client.draft)
    submit = aside(Client.submit)
    wait = aside(Client.wait)
    result = aside(Client.result)
    bundle = aside(Client.bundle)
    audit = aside(Client.audit)
    refusals = aside(Client.refusals)

    def within(self, seconds: float) -> AsyncClient:
        """This client with a deadline: each call raises Deadline when it has no answer after ``seconds``."""
        return AsyncClient(self.sync, threads=self.threads, seconds=seconds)

    async def ask(self, account: str, method: str, request: Any) -> Any:
        """One call to a node; see :meth:`Nodes.call`."""
        return await self.threads.run(self.sync.nodes.call, self.seconds, account, method, request)

    async def watch(self, account: str, task: str, seconds: float = 600.0) -> AsyncIterator[Any]:
        """Every change of a task at one node, as it happens, until it is final there. Leaving the loop ends the call."""
        stream = self.sync.nodes.watch(account, task, seconds)
        try:
            while (status := await self.threads.run(_next, self.seconds, stream)) is not None:
                yield status
        finally:
            stream.close()

    def close(self) -> None:
        """Take no more calls."""
        self.threads.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def _next(stream: Any) -> Any:
    return next(stream, None)
