"""Synchronous calls beside an event loop: together, bounded in time, and ended from outside."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from tallystick.chain.aio import Facade, Scope, Threads, aside, ending, pause
from tallystick.protocol.errors import Deadline, NotFound


class Slow:
    def __init__(self) -> None:
        self.started, self.ended = threading.Event(), threading.Event()
        self.together = threading.Barrier(8)

    def add(self, a: int, *, b: int = 1) -> int:
        """The sum."""
        self.together.wait(60)
        return a + b

    def fail(self) -> None:
        raise NotFound("gone", party="x")

    def wait(self) -> None:
        self.started.set()
        try:
            pause(60)
        finally:
            self.ended.set()

    def call(self) -> None:
        released = threading.Event()
        with ending(released.set):
            self.started.set()
            released.wait(60)
        self.ended.set()


class AsyncSlow(Facade):
    sync: Slow
    add = aside(Slow.add)
    fail = aside(Slow.fail)
    wait = aside(Slow.wait)
    call = aside(Slow.call)


def test_calls_run_at_the_same_time_and_keep_their_names_and_errors() -> None:
    async def main() -> None:
        slow = AsyncSlow(Slow())
        assert await asyncio.gather(*(slow.add(n, b=2) for n in range(8))) == [n + 2 for n in range(8)]
        assert slow.add.__doc__ == "The sum."
        with pytest.raises(NotFound, match="gone"):
            await slow.fail()
        slow.threads.close()

    asyncio.run(main())


@pytest.mark.parametrize("method", ["wait", "call"])
def test_a_cancelled_call_stops_waiting_in_its_thread_too(method: str) -> None:
    async def main() -> None:
        slow = AsyncSlow(Slow())
        task = asyncio.create_task(getattr(slow, method)())
        assert await asyncio.to_thread(slow.sync.started.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(slow.sync.ended.wait, 30)

    asyncio.run(main())


def test_a_deadline_is_our_error_and_ends_the_thread() -> None:
    async def main() -> None:
        slow = AsyncSlow(Slow(), seconds=1.0)
        with pytest.raises(Deadline, match="within 1 s"):
            await slow.wait()
        assert await asyncio.to_thread(slow.sync.ended.wait, 30)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await AsyncSlow(Slow()).wait()

    asyncio.run(main())


def test_a_scope_that_has_ended_ends_what_comes_later() -> None:
    scope = Scope()
    scope.end()
    called: list[int] = []
    with scope.ending(lambda: called.append(1)):
        pass
    assert called == [1]
    with pytest.raises(Deadline):
        scope.pause(60)


def test_one_calls_scope_is_not_the_next_ones() -> None:
    async def main() -> None:
        threads = Threads(1)
        slow = AsyncSlow(Slow(), threads, 0.1)
        with pytest.raises(Deadline):
            await slow.wait()
        assert await threads.run(lambda: pause(0.01) or "slept", 60) == "slept"

    asyncio.run(main())


def test_without_a_scope_a_pause_is_a_sleep() -> None:
    began = time.monotonic()
    pause(0.05)
    with ending(lambda: None):
        assert time.monotonic() - began >= 0.05
