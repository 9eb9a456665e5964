"""Runs, driven by what the node is handed (specs) and by what it reads from the chain (events). There is no coordinator.

A spec and its proposal lead to admission, admission to a signed acceptance on chain, the last acceptance (by any party) to the
run, the run to a statement that all parties sign, and that to a proof on chain. Whatever breaks ends on record.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.protocol import canonical
from tallystick.protocol.errors import (
    ChainUnreachable,
    ContractRefused,
    MalformedDocument,
    PeerFailed,
    Refused,
    RunFailed,
    TallystickError,
)
from tallystick.protocol.grant import Grant, GrantTerms
from tallystick.protocol.reasons import Reason, reason_words
from tallystick.protocol.task import TaskSpec, proposal_of, tolerated
from tallystick.signing import Signer
from tallystick.wire import node_pb2

from tallystick_node.admission.agreements import Agreements
from tallystick_node.admission.gate import Gate
from tallystick_node.engines.security import SecurityStatement
from tallystick_node.peers.exchange import Peers
from tallystick_node.peers.links import RunLinks
from tallystick_node.runs.acceptances import Acceptances
from tallystick_node.runs.attempt import Attempt, Institution
from tallystick_node.runs.openings import Openings
from tallystick_node.runs.promises import NOBODY, OutOfTime, Promises, contradiction
from tallystick_node.runs.start import Start
from tallystick_node.runs.warm_up import WarmUp
from tallystick_node.runs.workers import Workers
from tallystick_node.settings import Settings
from tallystick_node.store.database import IllegalTransition, RunRecord, Store
from tallystick_node.workloads.base import Cost
from tallystick_node.workloads.registry import workload_named

LOG = structlog.get_logger()
SAYING = 1.0  # seconds in which an attempt that verifiers do not vouch for says so itself
RETRIED = frozenset({Reason.RESTARTED, Reason.PEER_SILENT, Reason.WORKER, Reason.PEER_ABORTED, Reason.CHANGED_AT_START})


class Runs:
    """All runs of one node."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        chain: Chain,
        signer: Signer,
        peers: Peers,
        warming: WarmUp,
        workers: Workers,
        release: str,
    ) -> None:
        self._me = Institution(settings, store, chain, signer, release, workers)
        self._store = store
        self._chain = chain
        self._signer = signer
        self._peers = peers
        self._agreements = Agreements(chain, store)
        self._promises = Promises(chain, store, signer, settings.policy, self._agreements)
        self._openings = Openings(self._me, store, chain, self._promises)
        self._gate = Gate(signer.address, chain, store, settings.policy, settings.results)
        self._acceptances = Acceptances(self._me, self._gate, self._promises, warming)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[Any] | None] = set()  # those of attempts that are over, as they close their links
        self._stopped: dict[str, RunFailed] = {}  # runs that were told to stop, and what to report of them

    # -- what the server calls

    def submit(self, caller: str, spec_bytes: bytes, grants: list[bytes]) -> RunRecord:
        """Take a task's documents. Raises Refused (and records it) or MalformedDocument."""
        spec = TaskSpec.parse(spec_bytes)
        task = canonical.hex32(proposal_of(spec).id())
        if caller != spec.requester:
            refusal = Refused(
                "only the requester submits a task",
                rule="requester",
                party=caller,
                remedy="submit with the requester's certificate",
            )
            self._me.note("refusal", refusal.message, task, spec, rule=refusal.rule)
            raise refusal
        for document in grants:
            self._keep_grant(document)
        run = self._store.create_run(task, spec_bytes)
        if run.state == "received":
            run = self._acceptances.admit(run)
        if run.state == "refused":
            raise Refused(
                run.problem.get("message", "refused"),
                rule=run.problem.get("rule", "unknown"),
                party=run.problem.get("party") or None,
                remedy=run.problem.get("remedy", ""),
            )
        return run

    def plan(self, spec_bytes: bytes, rows: Mapping[str, int]) -> tuple[SecurityStatement, Cost, Refused | None]:
        """What a task would promise and cost, and the refusal it would meet here now. Keeps nothing.

        ``rows``: rows of the inputs by party; an input without them is taken to be as large as this node's own. The grants' terms
        come with the task itself, so that they are missing is no refusal yet. Raises MalformedDocument or InvalidTask.
        """
        spec = TaskSpec.parse(spec_bytes)
        workload = workload_named(spec.workload)
        workload.check(spec)
        cost = workload.cost(spec, {**self._acceptances.rows(spec), **rows})
        try:
            self._gate.check(spec)
        except Refused as refusal:
            return workload.security(spec), cost, None if refusal.rule == "terms" else refusal
        return workload.security(spec), cost, None

    def cost(self, task: str) -> dict[str, Any]:
        """Predicted and, after the run, measured cost of a task for this party."""
        kept = {key: self._store.recall(task, key) for key in ("predicted", "measured")}
        return {key: json.loads(value) for key, value in kept.items() if value is not None}

    # -- what the indexer calls

    async def on_event(self, event: Event) -> None:
        """Act on one event of the chain. Idempotent: an event may come again after a restart."""
        try:
            await self._act_on(event)
        except IllegalTransition as late:  # what the event would lead to has been reached, or passed, in another way
            LOG.info("event came late", name=event.name, block=event.block, reason=str(late))

    async def _act_on(self, event: Event) -> None:
        if event.name in ("Suspended", "Revoked"):
            account = event["account"]
            self._peers.cut(account, "was suspended or revoked on chain")
            self._end_where(lambda spec: account in (*spec.parties, spec.requester), f"{account} was {event.name.lower()}")
        elif event.name == "GrantRevoked":
            grant = canonical.hex32(event["grant"])
            self._end_where(lambda spec: any(part.grant == grant for part in spec.inputs), "a grant was revoked")
        elif event.name == "Withdrawn":
            dataset = canonical.hex32(event["dataset"])
            self._end_where(lambda spec: any(part.dataset == dataset for part in spec.inputs), "a dataset was withdrawn")
        elif "task" in event.arguments:
            if event.name == "AgreementOpened":
                await asyncio.to_thread(self._agreements.keep, event)
            task = canonical.hex32(event["task"])
            run = await asyncio.to_thread(self._store.run, task) if self._store.concerns(task) else None
            if run is not None:
                await self._on_task_event(run, event)

    async def _on_task_event(self, run: RunRecord, event: Event) -> None:
        final = {"Cancelled": "cancelled", "Expired": "expired"}.get(event.name)
        if event.name in ("Proposed", "BondPosted") and run.state == "received":
            await asyncio.to_thread(self._acceptances.admit, run)
        elif event.name == "BondPosted" and run.state == "refused":
            await asyncio.to_thread(self._promises.willing, TaskSpec.parse(run.spec))
        elif event.name == "Started":
            await self._on_started(run, event)
        elif event.name == "Reported" and event["accused"] == self._signer.address and event["attempt"] == run.attempt:
            if self._stated(run):  # all have signed: the proof that is on its way answers, and a failure must not overtake it
                return
            self._stop(run.task)
            await asyncio.to_thread(self._store.enqueue, self._promises.answer(run, TaskSpec.parse(run.spec)))
        elif event.name == "ResultProved" and run.state in ("running", "proving"):
            if run.state == "running":
                await asyncio.to_thread(self._store.advance, run.task, "proving")
            await asyncio.to_thread(self._store.advance, run.task, "proved")
        elif event.name == "PartiesAbsent" and self._signer.address in event["parties"]:
            await asyncio.to_thread(self._note_absence, run)
        elif event.name == "OpeningDemanded" and event["accused"] == self._signer.address:
            await self._openings.demanded(run, event)
        elif event.name == "LinkContradicted":
            key = contradiction(run.task, event["attempt"], event["from"], event["to"])
            await asyncio.to_thread(self._store.withdraw_write, key, (event.block, event.block_hash))
        elif event.name == "Failed" and event["attempt"] == run.attempt:
            await self._on_failed(run, event)
        elif final:
            if final == "expired":
                await asyncio.to_thread(self._promises.lateness, run, TaskSpec.parse(run.spec))
            if run.state not in ("proved", "refused", final):
                self._stop(run.task)
                await asyncio.to_thread(self._store.advance, run.task, final)

    async def _on_started(self, run: RunRecord, event: Event) -> None:
        if run.state == "admitted" and event["attempt"] == run.attempt:
            await asyncio.to_thread(self._store.advance, run.task, "running", phase="starting")
            start = Start(event.block, bytes.fromhex(event.block_hash[2:]), event["runBy"] - TaskSpec.parse(run.spec).run_seconds)
            self._tasks[run.task] = asyncio.create_task(self._run(run, event["runBy"], start))
        elif run.state in ("received", "refused", "failed", "expired") and event["attempt"] >= run.attempt:
            # It was accepted in this party's name and not by this node, or later than this node's clock allows: nobody must wait.
            error = RunFailed("this party's node did not accept the attempt", reason=Reason.AUTHORISATION_ENDED)
            started = replace(run, attempt=event["attempt"])
            write, _ = await asyncio.to_thread(self._promises.failure, started, TaskSpec.parse(run.spec), error)
            await asyncio.to_thread(self._store.enqueue, write)

    async def _on_failed(self, run: RunRecord, event: Event) -> None:
        self._stop(run.task)
        if run.state in ("running", "proving"):
            accused = event["accused"] if event["accused"] != NOBODY else None
            failure = RunFailed(f"{reason_words(event['reason'])}, says {event['reporter']}", reason=Reason.INTERNAL, party=accused)
            with contextlib.suppress(IllegalTransition):  # this node has found its own reason meanwhile
                await asyncio.to_thread(self._store.advance, run.task, "failed", problem=failure.problem())
        spec = TaskSpec.parse(run.spec)
        if event["reason"] in RETRIED:
            await asyncio.to_thread(self._acceptances.try_again, run, spec)

    async def tick(self) -> None:
        """Accept what has waited for kernels; close what is over time: anyone may, so every party does."""
        await asyncio.to_thread(self._acceptances.go_on)
        # A chain may make blocks only for transactions, and its clock stands between them; what comes too early is tried again.
        now = max(await asyncio.to_thread(self._chain.now), int(time.time()))
        for run in await asyncio.to_thread(self._store.active_runs):
            with contextlib.suppress(IllegalTransition):  # it was refused, or ended, since it was read
                await asyncio.to_thread(self._meet_deadlines, run, now)

    def _meet_deadlines(self, run: RunRecord, now: int) -> None:
        spec, soon = TaskSpec.parse(run.spec), now + self._promises.margin
        late = run.state in ("received", "admitted") and now > spec.accept_by
        run_by = float(self._store.recall(run.task, "run_by") or b"inf") if run.state in ("running", "proving") else float("inf")
        if late and self._acceptances.state_of(proposal_of(spec)) == "None":
            self._store.advance(run.task, "expired")
        elif late or now > run_by:
            self._store.enqueue(self._promises.expiry(run, spec))
        elif run.state == "received" and soon > spec.accept_by:
            self._promises.willing(spec)
        elif run.state == "proving" and soon > run_by and self._stated(run):
            self._promises.show_result(run, spec)

    async def resume(self) -> None:
        """After a restart: attempts that ran here failed, on record; what waited is taken up; everything else goes on by events."""
        await self._openings.resume()
        await asyncio.to_thread(self._acceptances.resume)
        for run in await asyncio.to_thread(self._store.active_runs):
            spec = TaskSpec.parse(run.spec)
            if run.state == "received":
                await asyncio.to_thread(self._acceptances.admit, run)
            elif self._said_of(run, "reported"):
                continue  # the attempt waits for another party, or its end
            elif run.state == "running" or (run.state == "proving" and not self._stated(run)):
                failure = RunFailed("the node was restarted during the run", reason=Reason.RESTARTED)
                await asyncio.to_thread(self._fail, run, spec, failure)

    async def stop(self) -> None:
        """End every worker; what ran is failed at the next start."""
        await self._openings.stop()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), *filter(None, self._closing), return_exceptions=True)

    def on_refused_write(self, key: str, error: ContractRefused) -> None:
        """Note with its run that the chain refused a write of it."""
        kind, task = key.split(":")[:2]
        run = self._store.run(task)
        if run is None:
            return
        self._store.note_problem(task, error.problem())
        if kind == "accept" and run.attempt == 1:
            with contextlib.suppress(ChainUnreachable):
                self._promises.willing(TaskSpec.parse(run.spec))
        elif kind == "fail" and error.error == "TooLate":
            self._store.enqueue(self._promises.expiry(run, TaskSpec.parse(run.spec)))

    # -- steps

    async def _run(self, run: RunRecord, run_by: int, start: Start) -> None:
        spec = TaskSpec.parse(run.spec)
        self._store.remember(run.task, run_by=str(run_by).encode())
        log = LOG.bind(task=run.task, attempt=run.attempt)
        links: RunLinks | None = None
        attempt: Attempt | None = None
        try:
            log.info("run starts")
            left = run_by - await asyncio.to_thread(self._now, start.time) - self._promises.margin
            until = asyncio.get_running_loop().time() + left
            try:
                async with asyncio.timeout_at(until):
                    links = await self._peers.open(
                        run.task, run.attempt, spec.digest(), spec.parties, spec.may_be_absent, tolerated(spec.proof)
                    )
                    await self._peers.established(links)
                    attempt = Attempt(self._me, run, spec, links, start)
                    await attempt.prove(until - SAYING)
            except TimeoutError:
                awaited = attempt.closing.awaited if attempt else None
                raise OutOfTime(
                    f"the run was not over {self._promises.margin} s before its end, which the report of it takes",
                    reason=Reason.PEER_SILENT if awaited else Reason.WORKER,
                    party=awaited,
                    remedy="give the task more seconds to run",
                ) from None
            log.info("run computed")
        except asyncio.CancelledError:
            failure = self._stopped.pop(run.task, None)
            if failure is not None:
                log.warning("run stopped", problem=failure.message)
                await self._end(run, spec, failure, links)
        except TallystickError as error:
            failed = self._stopped.pop(run.task, error)  # a run that is stopped may fail at the same moment, by the same cause
            log.warning("run failed", problem=failed.message, party=failed.party)
            if attempt is not None and attempt.closing.contradictions:
                await asyncio.to_thread(self._contradict, run, spec, attempt)
            await self._end(run, spec, failed, links)
        except Exception as error:  # a defect of ours must not leave the task hanging
            log.exception("run failed by a defect")
            failure = RunFailed(f"internal error {type(error).__name__}", reason=Reason.INTERNAL)
            await self._end(run, spec, failure, links)
        finally:
            own = asyncio.current_task()
            if self._tasks.get(run.task) is own:  # the next attempt may run already
                del self._tasks[run.task]
            if links is not None:
                self._closing.add(own)  # which no event stops any more: what was said leaves first
                try:
                    await self._peers.release(links)
                finally:
                    self._closing.discard(own)

    async def _end(self, run: RunRecord, spec: TaskSpec, error: TallystickError, links: RunLinks | None) -> None:
        """Report a failure, to the chain and to the peers."""
        if links is not None:
            links.abort(node_pb2.Problem(**error.problem()))
        await asyncio.to_thread(self._fail, run, spec, error)

    def _contradict(self, run: RunRecord, spec: TaskSpec, attempt: Attempt) -> None:
        with contextlib.suppress(ChainUnreachable):  # the report of the failure must not wait for this
            self._promises.contradict(run, spec, attempt.closing.contradictions)

    def _fail(self, run: RunRecord, spec: TaskSpec, error: TallystickError) -> None:
        reason = error.reason if isinstance(error, RunFailed | PeerFailed) else Reason.INTERNAL
        if self._signer.address in spec.may_be_absent and reason in RETRIED:
            self._leave(run, spec, error)
            return
        write, over = self._promises.failure(run, spec, error)
        if not over:  # the run goes on on chain until who is silent speaks, or is late
            self._store.remember(run.task, reported=str(run.attempt).encode(), write=write)
            self._store.note_problem(run.task, error.problem())
            self._store.report(run.task, "waiting for the party that is silent", 0.0)
        else:
            try:
                self._store.advance(run.task, "failed", problem=error.problem(), write=write, of=run.attempt)
            except IllegalTransition:  # another party's report, or a deadline, came first, and perhaps the next attempt with it
                self._store.enqueue(write)
        rule = error.rule if isinstance(error, RunFailed) else ""
        self._me.note("refusal" if rule else "run", error.message, run.task, spec, rule=rule)

    def _leave(self, run: RunRecord, spec: TaskSpec, error: TallystickError) -> None:
        """Drop out of a run that may go on without this party, for a reason that says nothing against another: the task stays as it
        is, until the chain says how it ended."""
        self._promises.leaving(run, spec)
        self._store.report(run.task, "left the run, which may end without this party", 0.0)
        self._store.note_problem(run.task, error.problem())
        self._me.note("run", f"left attempt {run.attempt}: {error.message}", run.task, spec)

    # -- records

    def _note_absence(self, run: RunRecord) -> None:
        """Keep, once, that the others proved a task without this party: who finds that wrong challenges it in time."""
        if self._store.recall(run.task, "absent") is None:
            self._store.remember(run.task, absent=str(run.attempt).encode())
            self._me.note("run", f"the others proved attempt {run.attempt} without this party", run.task, TaskSpec.parse(run.spec))

    def _keep_grant(self, document: bytes) -> None:
        value = canonical.decode(document, 1 << 20)
        if not isinstance(value, dict) or set(value) != {"grant", "terms"}:
            raise MalformedDocument("a grant file has the members grant and terms")
        grant = Grant.from_json(value["grant"])
        terms = GrantTerms.parse(canonical.encode(value["terms"]))
        if terms.root() != grant.terms:
            raise MalformedDocument("a grant file's terms are not those of its grant")
        self._store.put_document("terms", terms.root(), terms.to_bytes())
        self._store.put_document("grant", grant.id(), canonical.encode(grant.to_json()))

    def _stated(self, run: RunRecord) -> bool:
        """Whether the run's present attempt has its statement, signed by all."""
        return self._said_of(run, "stated")

    def _said_of(self, run: RunRecord, key: str) -> bool:
        return self._store.recall(run.task, key) == str(run.attempt).encode()

    def _now(self, started: int) -> int:
        """The chain's time, or this machine's where that is later: a chain that lags must not make a report late. The chain's
        counts as ``started`` where it does not answer."""
        with contextlib.suppress(ChainUnreachable):
            started = self._chain.now()
        return max(started, int(time.time()))

    def _end_where(self, concerned: Callable[[TaskSpec], bool], why: str) -> None:
        """End, on record, every running attempt whose authorisation ended."""
        for task in list(self._tasks):
            run = self._store.run(task)
            if run is not None and concerned(TaskSpec.parse(run.spec)):
                self._stopped[task] = RunFailed(why, reason=Reason.AUTHORISATION_ENDED)
                self._stop(task)

    def _stop(self, task: str) -> None:
        running = self._tasks.get(task)
        if running is not None:
            running.cancel()
