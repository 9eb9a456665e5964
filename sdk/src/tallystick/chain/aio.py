"""The synchronous chain and client for asynchronous programs: the same code, each call in a thread of its own.

Why threads and not a second, asynchronous implementation: everything would have to be written, tested and kept right
twice, and nothing would be faster. The calls wait for sockets nearly all of their time; web3's HTTP provider keeps one
session for each thread, so a :class:`~tallystick.chain.connection.Chain` may be used from many; gRPC waits in C with the
interpreter's lock released. What a thread cannot do is to be interrupted, so a call that is cancelled ends early only
where it waits under a :class:`Scope`: at a node's answer, and between two looks at the chain. A transaction that was sent
is not unsent: its thread goes on until the receipt, and the account's next transaction has the right number.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from itertools import islice
from typing import Any, Concatenate, ParamSpec, TypeVar

from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.protocol.errors import Deadline

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 32
BATCH = 64


class Scope:
    """What ends one call from outside. Everything here is safe to use from several threads."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._hooks: list[Callable[[], object]] = []

    @contextlib.contextmanager
    def ending(self, hook: Callable[[], object]) -> Iterator[None]:
        """Call ``hook`` when the scope ends while the block runs; at once when it has ended already."""
        with self._lock:
            self._hooks.append(hook)
            late = self._ended.is_set()
        if late:
            hook()
        try:
            yield
        finally:
            with self._lock:
                self._hooks.remove(hook)

    def end(self) -> None:
        """End the call: what waits under this scope stops waiting."""
        with self._lock:
            self._ended.set()
            hooks = list(self._hooks)
        for hook in hooks:
            hook()

    def pause(self, seconds: float) -> None:
        """Sleep. Raises Deadline as soon as the scope ends."""
        if self._ended.wait(seconds):
            raise Deadline("the call was cancelled")


_SCOPE: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("tallystick_scope", default=None)


def pause(seconds: float) -> None:
    """Sleep, under the scope of the call if it has one."""
    scope = _SCOPE.get()
    if scope is None:
        time.sleep(seconds)
    else:
        scope.pause(seconds)


def ending(hook: Callable[[], object]) -> contextlib.AbstractContextManager[None]:
    """:meth:`Scope.ending` of the call's scope; nothing when the call has none."""
    scope = _SCOPE.get()
    return contextlib.nullcontext() if scope is None else scope.ending(hook)


class Threads:
    """Runs synchronous calls aside, in threads of its own: those of ``asyncio.to_thread`` belong to the program."""

    def __init__(self, most: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="tallystick")

    async def run(self, call: Callable[P, T], seconds: float | None, /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The call's answer. Raises what it raises, and Deadline after ``seconds``; cancelling the awaiting task ends it."""
        scope = Scope()

        def work() -> T:
            _SCOPE.set(scope)
            return call(*args, **kwargs)

        # A context of its own for each call: the scope must not leak into the next call of the same thread.
        future = asyncio.get_running_loop().run_in_executor(self._pool, contextvars.copy_context().run, work)
        try:
            done, _ = await asyncio.wait([future], timeout=seconds)
        except asyncio.CancelledError:
            scope.end()
            future.cancel()
            raise
        if not done:
            scope.end()
            future.cancel()
            raise Deadline(f"no answer within {seconds:g} s", remedy="allow more time, or look at the chain and the nodes")
        return future.result()

    def close(self) -> None:
        """Take no more calls. Those that run end by themselves; nobody waits for them."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def aside(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """The asynchronous twin of a synchronous method: same arguments, same answer, same errors, no logic of its own."""

    @wraps(method)
    async def twin(self: Facade, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.threads.run(method, self.seconds, self.sync, *args, **kwargs)

    return twin


class Facade:
    """An asynchronous face of the synchronous object ``sync``; ``seconds`` bounds each call."""

    def __init__(self, sync: Any, threads: Threads | None = None, seconds: float | None = None) -> None:
        self.sync = sync
        self.threads = threads or Threads()
        self.seconds = seconds


class AsyncChain(Facade):
    """A :class:`Chain` for asynchronous programs."""

    sync: Chain

    request = aside(Chain.request)
    head = aside(Chain.head)
    block = aside(Chain.block)
    now = aside(Chain.now)
    call = aside(Chain.call)
    send = aside(Chain.send)
    receipt = aside(Chain.receipt)

    async def events(self, first: int, last: int) -> AsyncIterator[Event]:
        """See :meth:`Chain.events`: pages are fetched as the loop gets to them."""
        pages = self.sync.events(first, last)
        while batch := await self.threads.run(_take, self.seconds, pages):
            for event in batch:
                yield event


def _take(events: Iterator[Event]) -> list[Event]:
    return list(islice(events, BATCH))
