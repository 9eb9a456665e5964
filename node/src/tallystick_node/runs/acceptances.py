"""From a task's documents to this party's signed acceptance on chain, or to a refusal on record."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import structlog
from tallystick.protocol import canonical, typed
from tallystick.protocol.dataset import DatasetDescriptor
from tallystick.protocol.errors import ChainUnreachable, ContractRefused, Refused
from tallystick.protocol.task import Proposal, TaskSpec, proposal_of

from tallystick_node.admission.gate import Gate
from tallystick_node.evidence import agreement
from tallystick_node.runs.attempt import Institution
from tallystick_node.runs.promises import Promises
from tallystick_node.runs.warm_up import WarmUp
from tallystick_node.store.database import IllegalTransition, RunRecord, Write
from tallystick_node.workloads.registry import workload_named

LOG = structlog.get_logger()
WAITS = "retry-waits"  # what the store calls a next attempt that waits for kernels
STATES = ("None", "Proposed", "Running", "Proved", "Failed", "Cancelled", "Expired")


class Acceptances:
    """The acceptances of one node. Safe to call from several threads."""

    def __init__(self, institution: Institution, gate: Gate, promises: Promises, warming: WarmUp) -> None:
        self._me = institution
        self._store = institution.store
        self._chain = institution.chain
        self._signer = institution.signer
        self._gate = gate
        self._promises = promises
        self._warming = warming
        self._one_at_a_time = threading.Lock()
        self._kept_back: dict[str, tuple[TaskSpec, Callable[[], object]]] = {}  # what waits for kernels

    def admit(self, run: RunRecord) -> RunRecord:
        """Accept the first attempt of a run that is still `received`, refuse it, or let it wait for what is missing; the run as it
        is then. Raises ChainUnreachable."""
        # A spec that is handed over and its proposal's event can arrive at the same moment, in two threads.
        with self._one_at_a_time:
            current = self._store.run(run.task)
            return self._decide(current) if current is not None and current.state == "received" else current or run

    def _decide(self, run: RunRecord) -> RunRecord:
        spec = TaskSpec.parse(run.spec)
        try:
            self._gate.check(spec)
            if self.state_of(proposal_of(spec)) != "Proposed":
                return run
            waiting = self._promises.waits(spec)
        except Refused as refusal:
            self._promises.willing(spec)  # who staked is bound to accept, also where another used up the grant meanwhile
            self._me.note("refusal", refusal.message, run.task, spec, rule=refusal.rule)
            return self._store.advance(run.task, "refused", problem={**refusal.problem(), "rule": refusal.rule})
        if waiting:
            self._store.report(run.task, waiting, 0.0)
            return run
        if not self._warming.ready(spec):
            self._kept_back[run.task] = (spec, partial(self.admit, run))
            self._store.report(run.task, "waiting until kernels are compiled", 0.0)
            return run
        return self._accept(run, spec, 1)

    def try_again(self, run: RunRecord, spec: TaskSpec) -> None:
        """Accept the next attempt, if there is one and the task would still be admitted: authorisation may have ended meanwhile.

        The event of the failure and the kernels that it waited for can come at the same moment, in two threads."""
        with self._one_at_a_time:
            self._decide_again(run, spec)

    def _decide_again(self, run: RunRecord, spec: TaskSpec) -> None:
        failed = self._store.run(run.task)
        if failed is None or failed.state != "failed" or failed.attempt >= spec.attempts or self._chain.now() >= spec.accept_by:
            return
        if not self._warming.ready(spec):
            self._store.remember(run.task, write=None, **{WAITS: b""})
            self._keep_back(run, spec)
            return
        try:
            self._gate.check(spec)
        except Refused as refusal:
            self._me.note("refusal", refusal.message, run.task, spec, rule=refusal.rule)
        else:
            self._accept(failed, spec, failed.attempt + 1)

    def _accept(self, run: RunRecord, spec: TaskSpec, attempt: int) -> RunRecord:
        proposal = proposal_of(spec)
        digest = typed.acceptance_digest(self._chain.domain("TaskLedger"), proposal.id(), proposal.spec, attempt)
        terms = [canonical.unhex32(part.terms) if (part := spec.input_of(party)) else bytes(32) for party in spec.parties]
        index = spec.parties.index(self._signer.address)
        arguments = [proposal.as_tuple(), attempt, [index], [self._signer.sign_digest(digest)], terms]
        write = Write(f"accept:{run.task}:{attempt}", "TaskLedger", "accept", arguments)
        cost = workload_named(spec.workload).cost(spec, self.rows(spec))
        self._store.remember(run.task, predicted=json.dumps(asdict(cost)).encode())
        record = self._store.advance(run.task, "admitted", attempt=attempt, write=write)
        self._me.note("run", f"accepted attempt {attempt} of a {spec.workload} task", run.task, spec)
        return record

    def _keep_back(self, run: RunRecord, spec: TaskSpec) -> None:
        self._kept_back[run.task] = (spec, partial(self.try_again, run, spec))

    def resume(self) -> None:
        """Take up, after a restart, next attempts that waited for kernels: no event tells of their failure again. Asks no chain."""
        for task, _, _ in self._store.recalled(WAITS):
            run = self._store.run(task)
            if run is not None:
                self._keep_back(run, TaskSpec.parse(run.spec))

    def go_on(self) -> None:
        """Accept what has waited for kernels."""
        for task, (spec, accept) in list(self._kept_back.items()):
            if self._warming.ready(spec):
                try:
                    accept()
                except ChainUnreachable:
                    raise
                except IllegalTransition:
                    pass  # it was cancelled meanwhile
                except Exception:  # it is kept over a restart, which would end in the same way
                    LOG.exception("a task that waited for kernels is given up", task=task)
                del self._kept_back[task]
                self._store.forget(task, WAITS)

    def rows(self, spec: TaskSpec) -> dict[str, int]:
        """The inputs' rows as far as this node knows them: its own, which it supposes for the others too."""
        part = spec.input_of(self._signer.address)
        row = self._store.dataset(agreement.registered(spec, self._chain)[part.dataset].descriptor) if part else None
        own = DatasetDescriptor.parse(row.descriptor).rows if row else 0
        return {each.party: own for each in spec.inputs}

    def state_of(self, proposal: Proposal) -> str:
        """The task's state on chain, one of :data:`STATES`."""
        try:
            return STATES[self._chain.tasks.task_at(proposal.id())["state"]]
        except ContractRefused:
            return "None"
