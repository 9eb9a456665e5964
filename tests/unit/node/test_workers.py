"""Worker processes that are started ahead of their run: one serves one run, and what becomes of one that dies or waits."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tallystick.protocol.errors import RunFailed
from tallystick_node.engines import compiled
from tallystick_node.runs import workers as module
from tallystick_node.runs.confinement import MEMORY_BYTES
from tallystick_node.runs.frames import HEADER, Kind
from tallystick_node.runs.workers import Worker, Workers

JOB = {"links": []}  # one that no run comes of, after the worker has taken it
NODE = """
import asyncio
from tallystick_node.runs import workers
workers.SETTLED = 0.0
async def main():
    node = workers.Workers(1)
    keeping = asyncio.create_task(node.keep())
    while not node._spares:
        await asyncio.sleep(0.01)
    print(node._spares[0].process.pid, flush=True)
    await keeping
asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED", 0.0)
    monkeypatch.setattr(module, "AGAIN", 0.0)


async def answer(workers: Workers, job: Any = JOB) -> tuple[int, int, dict[str, Any]]:
    """The worker that took a job, and how it ended."""
    content = json.dumps(job).encode()
    async with workers.begin(len(content), []) as worker:
        reader, writer = await asyncio.open_connection(sock=worker.endpoint)
        writer.write(content)
        kind, size = HEADER.unpack(await reader.readexactly(HEADER.size))
        body = json.loads(await reader.readexactly(size))
        assert await reader.read() == b""  # and it ends
        writer.close()
        return worker.process.pid, kind, body


def with_spares(number: int, test: Callable[[Workers], Awaitable[None]]) -> None:
    async def run() -> None:
        workers = Workers(number)
        keeping = asyncio.create_task(workers.keep())
        try:
            await test(workers)
        finally:
            keeping.cancel()
            await workers.close()

    asyncio.run(run())


async def spares(workers: Workers, number: int = 1) -> list[int]:
    """Their process ids, when there are as many."""
    for _ in range(3000):
        if len(workers._spares) == number:
            return [each.process.pid for each in workers._spares]
        await asyncio.sleep(0.01)
    raise AssertionError("no spare was started")


def status(process: int) -> dict[str, str]:
    """What the kernel says of a process; nothing of one that is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def ticks(process: int) -> int:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def gone(process: int) -> bool:
    """Whether it has ended with all its threads, which hold what it had open."""
    now = status(process)
    return now.get("State", "X")[0] in "XZ" and int(now.get("Threads", "1")) < 2


def test_a_spare_takes_one_job_and_is_replaced() -> None:
    async def test(workers: Workers) -> None:
        (first,) = await spares(workers)
        process, kind, body = await answer(workers)
        assert (process, kind) == (first, Kind.ERROR)
        assert body["message"] == "the worker failed with KeyError"
        assert gone(first)
        (second,) = await spares(workers)
        assert second != first
        assert (await answer(workers))[0] == second  # a run that failed leaves nothing to the next

    with_spares(1, test)


def test_without_spares_a_worker_is_started_for_each_job() -> None:
    async def test(workers: Workers) -> None:
        first, second = [await answer(workers) for _ in range(2)]
        assert first[0] != second[0] and first[1:] == second[1:]
        assert not workers._spares

    with_spares(0, test)


def test_more_jobs_than_spares() -> None:
    async def test(workers: Workers) -> None:
        (first,) = await spares(workers)
        answers = await asyncio.gather(answer(workers), answer(workers))
        assert answers[0][0] == first != answers[1][0]

    with_spares(1, test)


def test_a_spare_that_dies_is_replaced_and_fails_no_run() -> None:
    async def test(workers: Workers) -> None:
        first, second = await spares(workers, 2)
        os.kill(first, signal.SIGKILL)
        while not gone(first):
            time.sleep(0.001)  # before this node's loop hears of it
        assert (await answer(workers))[0] == second
        assert first not in await spares(workers, 2)
        third, _ = await spares(workers, 2)
        os.kill(third, signal.SIGKILL)
        while workers._spares[0].process.pid == third:
            await asyncio.sleep(0.01)
        assert third not in await spares(workers, 2)

    with_spares(2, test)


def test_a_spare_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(workers: Workers) -> None:
        real, tries = Worker.start, []

        async def scarce(_local_work: str) -> Worker:
            tries.append(1)
            if len(tries) < 3:
                raise BlockingIOError(11, "Resource temporarily unavailable")
            return await real()

        monkeypatch.setattr(Worker, "start", scarce)
        await spares(workers)
        assert len(tries) == 3

    with_spares(1, test)


def test_no_spare_is_started_while_a_run_has_a_worker() -> None:
    async def test(workers: Workers) -> None:
        await spares(workers)
        async with workers.begin(1, []):
            await asyncio.sleep(0.3)
            assert not workers._spares
        await spares(workers)

    with_spares(1, test)


def test_a_spare_ends_with_its_node() -> None:
    node = subprocess.Popen([sys.executable, "-c", NODE], stdout=subprocess.PIPE, text=True)
    assert node.stdout is not None
    spare = int(node.stdout.readline())
    node.kill()
    node.wait()
    node.stdout.close()
    give_up = time.monotonic() + 60
    while not gone(spare):
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_a_spare_is_confined_and_sleeps() -> None:
    async def test(workers: Workers) -> None:
        (spare,) = await spares(workers)
        used = -1
        while not (status(spare)["Seccomp"] == "2" and status(spare)["State"][0] == "S" and ticks(spare) == used):
            used = ticks(spare)
            await asyncio.sleep(0.5)  # it prepares itself, and may wait for the disk meanwhile
        limits = Path(f"/proc/{spare}/limits").read_text()
        assert f"Max data size             {MEMORY_BYTES}" in limits
        assert "Max core file size        0 " in limits
        assert status(spare)["NoNewPrivs"] == "1"

    with_spares(1, test)


def test_a_worker_that_cannot_be_started_is_a_failed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(workers: Workers) -> None:
        real = Worker.start

        async def dead(_local_work: str) -> Worker:
            worker = await real()
            worker.process.kill()
            await worker.process.wait()
            return worker

        monkeypatch.setattr(Worker, "start", dead)
        with pytest.raises(RunFailed, match="died as it started"):
            await answer(workers)

        async def none(_local_work: str) -> Worker:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

        monkeypatch.setattr(Worker, "start", none)
        with pytest.raises(RunFailed, match="cannot be started: Cannot allocate memory"):
            await answer(workers)

    with_spares(0, test)


LOADED = """
from tallystick_node.engines import compiled
from tallystick_node.engines.psi import tags
assert not any(kernel.signatures for kernel in compiled._KERNELS)
for _ in compiled.load():
    pass
print(len(compiled._nothing.signatures), sum(sum(kernel.stats.cache_misses.values()) for kernel in compiled._KERNELS))
"""


def test_kept_machine_code_is_loaded_and_none_is_compiled() -> None:
    compiled._nothing()  # is kept now
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "1 0\n"), done.stderr
