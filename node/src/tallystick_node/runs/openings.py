"""Openings that others demand of this party's datasets on chain: each is shown before the arbiters may rule.

To show where one row stands, all rows are hashed: minutes for a large file. So it happens beside the reading of the chain, a file
at a time, and not longer than the answer is of use. What is demanded is kept in the store until it is answered, or cannot be: a
node that is restarted in between takes it up again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial

import structlog
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.protocol import canonical
from tallystick.protocol.agreement import Demand
from tallystick.protocol.errors import ChainUnreachable, InvalidData
from tallystick.protocol.task import TaskSpec

from tallystick_node.runs.attempt import Institution
from tallystick_node.runs.promises import Promises
from tallystick_node.store.database import RunRecord, Store

LOG = structlog.get_logger()
UNKNOWN, PENDING = 0, 1  # IDisputes.Outcome
KEPT = "demand:"
PAUSE = 5.0  # seconds before a chain that did not answer is asked again
PATIENCE = 60.0  # seconds for which an endpoint may not show the dispute that it, or another at its address, told of


class _Stopped(Exception):  # noqa: N818 - ends a thread whose result nobody waits for
    """The node stops."""


class Openings:
    """The openings of one node. Call it from the event loop."""

    def __init__(self, institution: Institution, store: Store, chain: Chain, promises: Promises) -> None:
        self._me = institution
        self._store = store
        self._chain = chain
        self._promises = promises
        self._turn = asyncio.Semaphore(1)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = threading.Event()

    async def demanded(self, run: RunRecord, event: Event) -> None:
        """Take up what an ``OpeningDemanded`` asks of this party, unless it is under way."""
        demand = Demand(*event["demand"].values())
        wanted = [canonical.hex32(event["dispute"]), canonical.hex32(demand.dataset), canonical.hex32(demand.rows)]
        content = canonical.encode([*wanted, str(demand.index), str(demand.size)])
        key = f"{KEPT}{event['dispute'].hex()[:48]}"
        await asyncio.to_thread(partial(self._store.remember, run.task, write=None, **{key: content}))
        self._begin(run.task, key, content)

    async def resume(self) -> None:
        """Take up what was demanded before a restart."""
        for task, key, content in await asyncio.to_thread(self._store.recalled, KEPT):
            self._begin(task, key, content)

    async def stop(self) -> None:
        """End what is under way; it is taken up at the next start."""
        self._stopping.set()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _begin(self, task: str, key: str, content: bytes) -> None:
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._show(task, key, content))

    async def _show(self, task: str, key: str, content: bytes) -> None:
        try:
            async with self._turn:
                until = time.monotonic() + PATIENCE
                while True:
                    try:
                        await asyncio.to_thread(self._answer, task, content, until)
                        break
                    except ChainUnreachable as error:
                        LOG.warning("an opening waits", task=task, problem=error.message)
                        await asyncio.sleep(PAUSE)
        except Exception:
            LOG.exception("a demanded opening failed by a defect", task=task)
        finally:
            del self._tasks[key]
        await asyncio.to_thread(self._store.forget, task, key)

    def _answer(self, task: str, content: bytes, until: float) -> None:
        """Show, on chain, where a row of this party's dataset stands; where that cannot be, its people have the time until the
        ruling. Raises ChainUnreachable, before ``until`` also where the chain does not show the dispute."""
        dispute, dataset, rows, index, size = canonical.decode(content, 1 << 12)
        demand = Demand(canonical.unhex32(dataset), canonical.unhex32(rows), int(index), int(size))
        run = self._store.run(task)
        found = self._chain.disputes.dispute_at(canonical.unhex32(dispute))
        if found["outcome"] == UNKNOWN and time.monotonic() < until:
            raise ChainUnreachable("the chain does not show a dispute that it told of", party=self._chain.shown_url)
        if run is None or found["outcome"] != PENDING:
            return
        spec = TaskSpec.parse(run.spec)
        left = found["ruleBy"] - max(self._chain.now(), int(time.time())) - self._promises.margin
        try:
            going_on = partial(self._require_time, time.monotonic() + left)
            self._promises.open_row(run, spec, canonical.unhex32(dispute), demand, going_on)
        except InvalidData as error:
            self._store.note_problem(task, error.problem())
            self._me.note("run", f"cannot show a row that is demanded: {error.message}", task, spec)
        else:
            self._me.note("run", "shows where a row stands, as it is demanded", task, spec)

    def _require_time(self, give_up: float) -> None:
        if self._stopping.is_set():
            raise _Stopped
        if time.monotonic() > give_up:
            raise InvalidData(
                "the data file could not be read as a whole before the arbiters may rule", remedy="show the row to the arbiters"
            )
