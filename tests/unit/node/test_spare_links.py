"""Runs that can do without some parties: whose link may end, and who is waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import wraps

import pytest
from tallystick.protocol.errors import PeerFailed
from tallystick_node.peers import links as spoken
from tallystick_node.peers.links import Link, RunLinks

ME, A, B, C = (f"0x{number:040x}" for number in range(1, 5))
SECONDS = 0.5


def awaited(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test in an event loop."""

    @wraps(test)
    def run(**given: object) -> None:
        asyncio.run(asyncio.wait_for(test(**given), 20))

    return run


def links(*accounts: str, spare: tuple[str, ...] = (A, B), most: int = 1) -> RunLinks:
    return RunLinks("0x", 1, bytes(32), [Link(account) for account in accounts], 0, SECONDS, spare, most)


async def ends(run: RunLinks, within: float = 10.0) -> PeerFailed | None:
    """Why the run ends, None when it does not within this time."""
    try:
        return await asyncio.wait_for(run.broken(), within)
    except TimeoutError:
        return None


async def working(*alive: Link) -> None:
    """What the nodes of peers say as long as they are at work."""
    while True:
        for link in alive:
            link.pulses += 1
        await asyncio.sleep(SECONDS / 10)


@awaited
async def test_a_run_goes_on_without_as_many_as_it_can_spare() -> None:
    run = links(A, B, C)
    pulses = asyncio.create_task(working(run.links[B], run.links[C]))
    run.links[A].fail("is gone")
    assert await ends(run, 2 * SECONDS) is None and run.failure is None
    run.links[B].fail("is gone too")
    found = await ends(run)
    assert found is not None and found.party == B
    pulses.cancel()


@awaited
async def test_a_run_ends_with_the_link_to_a_party_that_it_needs() -> None:
    run = links(A, B, C)
    run.links[A].fail("is gone")
    run.links[C].fail("is gone")
    found = await ends(run)
    assert found is not None and found.party == C


@awaited
async def test_without_spare_parties_the_first_link_that_ends_ends_the_run() -> None:
    run = links(A, B, spare=(), most=0)
    run.links[A].fail("is gone")
    found = await ends(run)
    assert found is not None and found.party == A


@awaited
async def test_a_spare_party_that_says_nothing_is_given_up_and_one_that_works_is_not() -> None:
    run = links(A, B, C)
    pulses = asyncio.create_task(working(run.links[B]))
    assert await ends(run, 6 * SECONDS) is None
    assert run.links[A].over.is_set() and not run.links[B].over.is_set()
    assert not run.links[C].over.is_set()  # silence of one that is needed counts when something is expected of it
    pulses.cancel()


@awaited
async def test_a_party_that_is_done_need_not_say_that_it_works() -> None:
    run = links(A)
    run.links[A].inbound.put_nowait(b"its word")
    assert await ends(run, 4 * SECONDS) is None and not run.links[A].over.is_set()


@awaited
async def test_only_the_end_of_a_spare_link_is_passed_over() -> None:
    run = links(A, B, C)
    with run.sparing(A):
        run.links[A].fail("is gone")
        await run.receive(A)
    with pytest.raises(PeerFailed, match="no word"), run.sparing(B):
        raise PeerFailed("no word", party=B)
    with pytest.raises(PeerFailed) as caught, run.sparing(C):
        run.links[C].fail("is gone")
        await run.receive(C)
    assert caught.value.party == C


@awaited
async def test_who_stood_still_itself_does_not_take_it_for_the_silence_of_its_peer() -> None:
    """What came meanwhile still goes through the loop's hands a few times, after the wait has timed out."""
    run, loop = links(A, spare=(), most=0), asyncio.get_running_loop()

    def passed_on(times: int) -> None:
        if times:
            loop.call_soon(passed_on, times - 1)
        else:
            run.links[A].inbound.put_nowait(b"its word")

    def stands_still() -> None:
        loop.call_soon_threadsafe(passed_on, 20)
        time.sleep(3 * SECONDS)

    loop.call_later(SECONDS / 10, stands_still)
    assert await run.receive(A) == b"its word"


@awaited
async def test_who_stood_still_itself_does_not_give_a_spare_party_up() -> None:
    run, loop = links(A), asyncio.get_running_loop()
    ended = asyncio.create_task(run.broken())
    await asyncio.sleep(SECONDS / 2)
    time.sleep(3 * SECONDS)
    loop.call_later(SECONDS / 10, run.links[A].inbound.put_nowait, b"its word")
    await asyncio.sleep(2 * SECONDS)
    assert not ended.done() and not run.links[A].over.is_set()
    ended.cancel()


@pytest.mark.parametrize("steps", range(4))
def test_who_is_stopped_as_it_hears_something_stops_all_the_same(steps: int) -> None:
    """A run whose authorisation has ended, or whose time is over, and to which a message comes at the same moment."""

    async def scene() -> None:
        run, heard = links(A), []

        async def hear() -> None:
            while True:
                heard.append(await run.receive(A))

        hearing = asyncio.create_task(hear())
        await asyncio.sleep(0.01)
        run.links[A].inbound.put_nowait(b"word")
        for _ in range(steps):
            await asyncio.sleep(0)
        hearing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hearing
        assert len(heard) + run.links[A].inbound.qsize() == 1  # nothing is lost

    asyncio.run(asyncio.wait_for(scene(), 20))


@awaited
async def test_what_was_said_leaves_also_where_this_process_stands_still_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoken, "LEAVING", 0.2)
    run, said = links(A), []

    async def dial() -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        said.append(await run.links[A].outbound.get())

    run.dialling.append(asyncio.create_task(dial()))
    closing = asyncio.create_task(run.close())
    await asyncio.sleep(0)
    time.sleep(0.5)  # as a machine that sleeps
    await closing
    assert [each.WhichOneof("kind") for each in said] == ["done"]
