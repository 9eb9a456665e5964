"""Openings that others demand of this party's datasets on chain: each is shown before the arbiters may rule.

To show where one row stands, all rows are hashed: minutes for a large file. So it happens beside the reading of the chain, a file
at a time, and not longer than the answer is of use. What is demanded is kept in the store until it is answered, or cannot be: a
node that is restarted in between takes it up again.

What the chain does not answer, and what fails by a defect (of the node, its disk, its file), is tried again, with pauses that grow,
as long as an answer is of use. Meanwhile others have their turn.
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
from tallystick.protocol.errors import ChainUnreachable, InvalidData, RunFailed
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import TaskSpec

from tallystick_node.runs.attempt import Institution
from tallystick_node.runs.promises import Promises
from tallystick_node.store.database import RunRecord, Store

LOG = structlog.get_logger()
UNKNOWN, PENDING = 0, 1  # IDisputes.Outcome
KEPT = "demand:"
PAUSE = 5.0  # seconds before what did not succeed is tried again; each pause is twice the one before
LONGEST = {"chain": 60.0, "defect": 600.0}  # seconds of the longest pause, where a try costs a question, or reads a file
TRIES = 300  # tries that fail by a defect, about two days of them: then the next start takes it up
LOOKS = 12  # how often an endpoint may not show the dispute that it, or another at its address, told of


class _Stopped(Exception):  # noqa: N818 - ends a thread whose result nobody waits for
    """The node stops."""


class _NotShown(Exception):  # noqa: N818 - what is waited for
    """The chain does not show a dispute that it told of."""


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
        pause, defects, unseen, noted = PAUSE, 0, 0, False
        try:
            while True:
                try:
                    async with self._turn:
                        await asyncio.to_thread(partial(self._answer, task, key, content, waits=unseen < LOOKS))
                    return
                except _NotShown:
                    unseen, longest = unseen + 1, PAUSE
                except ChainUnreachable as error:
                    LOG.warning("an opening waits", task=task, problem=error.message)
                    longest = LONGEST["chain"]
                except Exception as error:
                    LOG.exception("a demanded opening failed by a defect", task=task)
                    noted = noted or await asyncio.to_thread(self._note_defect, task, error)
                    defects += 1
                    if defects == TRIES:
                        return
                    longest = LONGEST["defect"]
                pause = min(pause, longest)
                await asyncio.sleep(pause)
                pause *= 2
        finally:
            del self._tasks[key]

    def _answer(self, task: str, key: str, content: bytes, *, waits: bool) -> None:
        """Show, on chain, where a row of this party's dataset stands; where that cannot be, its people have the time until the
        ruling. Keeps the demand no longer then. Raises ChainUnreachable and, if it ``waits``, _NotShown."""
        dispute, dataset, rows, index, size = canonical.decode(content, 1 << 12)
        demand = Demand(canonical.unhex32(dataset), canonical.unhex32(rows), int(index), int(size))
        run = self._store.run(task)
        found = self._chain.disputes.dispute_at(canonical.unhex32(dispute))
        if waits and found["outcome"] == UNKNOWN:
            raise _NotShown
        if run is not None and found["outcome"] == PENDING:
            self._answer_pending(run, canonical.unhex32(dispute), demand, found["ruleBy"])
        self._store.forget(task, key)

    def _answer_pending(self, run: RunRecord, dispute: bytes, demand: Demand, rule_by: int) -> None:
        spec = TaskSpec.parse(run.spec)
        give_up = time.monotonic() + rule_by - max(self._chain.now(), int(time.time())) - self._promises.margin
        try:
            self._require_time(give_up)
            self._promises.open_row(run, spec, dispute, demand, partial(self._require_time, give_up))
        except InvalidData as error:
            self._store.note_problem(run.task, error.problem())
            self._me.note("run", f"cannot show a row that is demanded: {error.message}", run.task, spec)
        else:
            self._me.note("run", "shows where a row stands, as it is demanded", run.task, spec)

    def _note_defect(self, task: str, error: Exception) -> bool:
        """Tell this party's people, who may answer in time where the next tries do not. Whether that could be done: the defect may
        be the store's."""
        failure = RunFailed(
            f"showing a row that is demanded failed by a defect of this node ({type(error).__name__})",
            remedy="look into the node's log; the node tries again until the arbiters may rule",
            reason=Reason.INTERNAL,
        )
        try:
            run = self._store.run(task)
            if run is not None:
                self._store.note_problem(task, failure.problem())
                self._me.note("run", failure.message, task, TaskSpec.parse(run.spec))
        except Exception:
            LOG.exception("a defect could not be put on record", task=task)
            return False
        return True

    def _require_time(self, give_up: float) -> None:
        if self._stopping.is_set():
            raise _Stopped
        if time.monotonic() > give_up:
            raise InvalidData(
                "the data file could not be read as a whole before the arbiters may rule", remedy="show the row to the arbiters"
            )
