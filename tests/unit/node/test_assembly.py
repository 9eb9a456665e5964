"""Proofs that are put together in a process of their own: the same ones, the same errors, and what becomes of that process."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable
from typing import Any

import pytest
from tallystick.commitments import kzg
from tallystick.protocol.errors import MalformedDocument, RunFailed
from tallystick.protocol.proof.kinds import KINDS
from tallystick.protocol.proof.subject import subject_of
from tallystick.protocol.reasons import Reason
from tallystick_node.runs import assembly as module
from tallystick_node.runs.assembly import assembly
from unit.protocol.world import World, make

PROOF = "vector-sum-verified"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    """The processes that are started."""
    found: list[Process] = []
    start = module.python

    async def python(*given: Any) -> Process:
        found.append(await start(*given))
        return found[-1]

    monkeypatch.setattr(module, "python", python)
    return found


def said_in(world: World) -> dict[str, str]:
    return dict(world.contributions(subject_of(world.statement, world.spec.parties)))  # which is kept for other tests


def assembled(world: World, said: dict[str, str]) -> bytes:
    async def run() -> bytes:
        async with assembly(world.spec.proof) as ready:
            assemble = await ready()
            return await assemble(world.statement, world.spec.parties, said)

    return asyncio.run(run())


@pytest.mark.slow
def test_a_proof_of_openings_is_put_together_elsewhere(started: list[Process], monkeypatch: pytest.MonkeyPatch) -> None:
    world = make(PROOF)
    subject, said = subject_of(world.statement, world.spec.parties), said_in(world)
    due = KINDS[PROOF].assemble(subject, said)
    monkeypatch.setattr(kzg, "_load", None)
    assert assembled(world, said) == due
    assert len(started) == 1 and started[0].returncode is not None


@pytest.mark.slow
def test_who_gave_a_part_that_does_not_hold_is_named(started: list[Process]) -> None:
    world = make(PROOF)
    said = said_in(world)
    party = world.spec.inputs[0].party
    digit = len("kzg-openings:")  # of the opened value
    said[party] = said[party][:digit] + ("1" if said[party][digit] == "0" else "0") + said[party][digit + 1 :]
    with pytest.raises(MalformedDocument, match="opening of its vector is refused") as caught:
        assembled(world, said)
    assert caught.value.party == party


@pytest.mark.parametrize(
    ("what", "words"), [(signal.SIGKILL, "proof together died"), (signal.SIGSTOP, "set-up was not loaded within 0.5 s")]
)
def test_a_process_that_dies_or_hangs_ends_the_attempt(
    what: signal.Signals, words: str, started: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.5 if what == signal.SIGSTOP else 120)
    start = module.python

    async def python(*given: Any) -> Process:
        process = await start(*given)
        os.kill(process.pid, what)
        return process

    monkeypatch.setattr(module, "python", python)

    async def run() -> None:
        async with assembly(PROOF) as ready:
            await ready()
            raise AssertionError("it is not ready")

    with pytest.raises(RunFailed, match=words) as caught:
        asyncio.run(run())
    assert caught.value.reason == Reason.WORKER and caught.value.remedy
    assert len(started) == 1 and started[0].returncode is not None


@pytest.mark.slow
def test_a_process_that_hangs_over_the_proof_ends_the_attempt(started: list[Process], monkeypatch: pytest.MonkeyPatch) -> None:
    world = make(PROOF)
    said = said_in(world)

    async def run() -> None:
        async with assembly(PROOF) as ready:
            assemble = await ready()
            os.kill(started[0].pid, signal.SIGSTOP)
            monkeypatch.setattr(module, "SECONDS", 0.5)
            await assemble(world.statement, world.spec.parties, said)

    with pytest.raises(RunFailed, match="the proof was not put together within 0.5 s"):
        asyncio.run(run())
    assert [each.returncode for each in started] == [-signal.SIGKILL]


def test_a_process_gets_ready_while_the_worker_computes_and_ends_with_an_attempt_that_fails(started: list[Process]) -> None:
    async def run() -> None:
        async with assembly(PROOF):
            assert len(started) == 1 and started[0].returncode is None
            raise RunFailed("the worker died", reason=Reason.WORKER)

    with pytest.raises(RunFailed, match="worker died"):
        asyncio.run(run())
    assert [each.returncode for each in started] == [-signal.SIGKILL]


@pytest.mark.parametrize("waits", [False, True])
def test_an_attempt_that_is_cancelled_ends_the_process(waits: bool, started: list[Process]) -> None:
    """While the worker computes, and while the attempt waits for the set-up."""

    async def run() -> None:
        async with assembly(PROOF) as ready:
            await (ready() if waits else asyncio.Event().wait())
            raise AssertionError("it is not ready")

    async def play() -> None:
        running = asyncio.create_task(run())
        while not started:
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    asyncio.run(play())
    assert [each.returncode for each in started] == [-signal.SIGKILL]


def test_no_other_kind_of_proof_needs_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Callable[..., Any] | None = None
    monkeypatch.setattr(module, "python", missing)
    world = make("sum-verified")
    due = KINDS["sum-verified"].assemble(subject_of(world.statement, world.spec.parties), said_in(world))
    assert assembled(world, said_in(world)) == due
