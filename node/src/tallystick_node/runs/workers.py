"""Worker processes, each for one run, and the spare ones that were started before their run is known.

Starting a worker takes a second of one core or two, nearly all of it for libraries and the machine code of kernels: more than
many a run takes itself. So a node keeps some that have done that, and then wait for a job, asleep. A spare is a worker like any
other, started earlier: its environment, limits and confinement are the same, it serves one run, and it ends with its node.

Where local work is not done in the worker, an assistant (:mod:`assistant`) is started beside it, and ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from tallystick.protocol.errors import RunFailed
from tallystick.protocol.reasons import Reason

from tallystick_node.runs.frames import HEADER, Kind

LOG = structlog.get_logger()
SETTLED = 1.0  # seconds without a worker after which a spare is started: a run that ended has its proof to make
HERE = "worker"  # local work is done in the worker itself
AGAIN = 30.0  # seconds after which a spare that died, or did not start, is replaced


@dataclass(frozen=True, eq=False)
class Worker:
    """A process, this node's end of its only connection, and its assistant."""

    process: Process
    endpoint: socket.socket
    assistant: Process | None = None

    @classmethod
    async def start(cls, local_work: str = HERE) -> Worker:
        """A new one, which waits for its job. ``local_work``: of the settings."""
        ours, theirs = socket.socketpair()
        near, far = socket.socketpair()
        assistant = None
        try:
            given = [] if local_work == HERE else [near]
            process = await python("tallystick_node.runs.worker", [theirs, *given], *[local_work for _ in given])
            if given:
                assistant = await python("tallystick_node.runs.assistant", [far], local_work)
        except BaseException:
            ours.close()
            raise
        finally:
            for each in (theirs, near, far):
                each.close()
        return cls(process, ours, assistant)

    def announce(self, size: int, descriptors: Sequence[int]) -> None:
        """Tell it that a job of so many bytes follows, and give it copies of descriptors. Raises OSError when it has died."""
        socket.send_fds(self.endpoint, [HEADER.pack(Kind.JOB, size)], list(descriptors))

    async def end(self) -> None:
        """Kill it, whatever it does."""
        each = [self.process, *([] if self.assistant is None else [self.assistant])]
        for process in each:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        try:
            for process in each:
                await process.wait()
        finally:
            self.endpoint.close()


class Workers:
    """The workers of one node, of which ``spares`` wait for a run. ``local_work``: of the settings."""

    def __init__(self, spares: int, local_work: str = HERE) -> None:
        self._wanted, self._local_work = spares, local_work
        self._spares: deque[Worker] = deque()
        self._watches: set[asyncio.Task[None]] = set()
        self._busy = 0
        self._missing = asyncio.Event()
        self._missing.set()

    @asynccontextmanager
    async def begin(self, size: int, descriptors: Sequence[int]) -> AsyncIterator[Worker]:
        """A worker, spare or new, that was told that a job of ``size`` bytes follows; it ends with the context.

        Raises RunFailed when none can be started.
        """
        self._busy += 1
        try:
            worker = await self._told(size, descriptors)
            try:
                yield worker
            finally:
                await worker.end()
        finally:
            self._busy -= 1
            self._missing.set()

    async def keep(self) -> None:
        """Start spares where some are missing, until cancelled: at times when no run has a worker, which their start would slow."""
        while self._wanted:
            await self._missing.wait()
            self._missing.clear()
            await asyncio.sleep(SETTLED)
            while not self._busy and len(self._spares) < self._wanted:
                try:
                    worker = await Worker.start(self._local_work)
                except OSError as error:  # no memory, or no more processes or descriptors
                    LOG.warning("no spare worker process can be started", problem=error.strerror)
                    await asyncio.sleep(AGAIN)
                    self._missing.set()
                    break
                self._spares.append(worker)
                watch = asyncio.create_task(self._watch(worker))
                self._watches.add(watch)
                watch.add_done_callback(self._watches.discard)

    async def close(self) -> None:
        """End the spares."""
        for watch in self._watches:
            watch.cancel()
        while self._spares:
            await self._spares.popleft().end()

    async def _told(self, size: int, descriptors: Sequence[int]) -> Worker:
        while self._spares:
            spare = self._spares.popleft()
            try:
                spare.announce(size, descriptors)
            except OSError:  # it has died, and its watch did not see it yet
                await spare.end()
            else:
                return spare
        try:
            worker = await Worker.start(self._local_work)
        except OSError as error:
            raise RunFailed(f"a worker process cannot be started: {error.strerror}", reason=Reason.WORKER) from None
        try:
            worker.announce(size, descriptors)
        except OSError:
            await worker.end()
            raise RunFailed("a worker process died as it started", reason=Reason.WORKER) from None
        return worker

    async def _watch(self, worker: Worker) -> None:
        """Replace a spare that dies before it has a run."""
        await worker.process.wait()
        if worker in self._spares:
            self._spares.remove(worker)
            await worker.end()
            LOG.warning("a spare worker process died", status=worker.process.returncode)
            await asyncio.sleep(AGAIN)
            self._missing.set()


async def python(module: str, sockets: Sequence[socket.socket], *words: str, stdin: int = DEVNULL) -> Process:
    """A process that is given these sockets, and words after their numbers; of this process it has nothing else."""
    numbers = [each.fileno() for each in sockets]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *map(str, numbers),
        *words,
        stdin=stdin,
        stdout=DEVNULL,
        stderr=DEVNULL,
        pass_fds=numbers,
        env=environment(),
        start_new_session=True,
    )


def environment() -> dict[str, str]:
    """The environment of a process that computes: what it finds programs and kept machine code by, and nothing else."""
    kept = {"NUMBA_CACHE_DIR": os.environ["NUMBA_CACHE_DIR"]} if "NUMBA_CACHE_DIR" in os.environ else {}
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(Path.home()), **kept}
