"""One attempt of one task at this node: from established links to a proof in the outbox.

The worker computes; then the parties exchange their words, compare what each heard, build one statement, and sign it
(:mod:`closing`). Nothing between the first step and the last needs the chain.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from tallystick.attestation.standing import Standing
from tallystick.chain.connection import Chain
from tallystick.chain.enclaves import VERIFIERS, standing
from tallystick.chain.operators import signers_of
from tallystick.protocol import canonical
from tallystick.protocol.errors import InvalidData, RunFailed
from tallystick.protocol.operators import Scope
from tallystick.protocol.proof.subject import context_of, result_of
from tallystick.protocol.reasons import Reason
from tallystick.protocol.result import NAME, Opening, ResultFile, file_digest
from tallystick.protocol.statement import Link, Statement
from tallystick.protocol.task import ATTESTED_QUORUM, TaskSpec, proposal_of
from tallystick.signing import Signer

from tallystick_node.data.attach import require_unchanged
from tallystick_node.evidence import agreement, earlier, signed_links
from tallystick_node.evidence.agreement import Known, Registered, Word
from tallystick_node.evidence.signed_words import Heard
from tallystick_node.peers.links import RunLinks
from tallystick_node.runs import enclaves, session_key
from tallystick_node.runs.assembly import Ready, assembly
from tallystick_node.runs.closing import Closing
from tallystick_node.runs.patience import patiently
from tallystick_node.runs.process import run_worker
from tallystick_node.runs.quorum import vouched
from tallystick_node.runs.retention import folder_name
from tallystick_node.runs.start import Start, require_no_change
from tallystick_node.runs.workers import Workers
from tallystick_node.settings import Settings
from tallystick_node.store.database import RunRecord, Store, Write
from tallystick_node.workloads.base import ToVouch
from tallystick_node.workloads.registry import workload_named

T = TypeVar("T")
SUBMIT_STAGGER = 3.0  # seconds between the parties' attempts to submit the same proof


@dataclass(frozen=True)
class Institution:
    """This node as a party: what it signs with, keeps things in, and runs."""

    settings: Settings
    store: Store
    chain: Chain
    signer: Signer
    release: str
    workers: Workers

    @property
    def account(self) -> str:
        """The account, EIP-55."""
        return self.signer.address

    @cached_property
    def certificate(self) -> str:
        """The certificate, PEM."""
        return self.settings.certificate.read_text()

    def note(self, kind: str, message: str, task: str, spec: TaskSpec, rule: str = "") -> None:
        """Sign and keep a record about a task."""
        part = spec.input_of(self.account)
        self.store.append_audit(
            self.signer,
            self.chain.deployment.chain_id,
            int(time.time()),
            kind,
            message,
            task=task,
            dataset=part.dataset if part else "",
            party=spec.requester,
            rule=rule,
            detail={"purpose": spec.purpose, "workload": spec.workload},
        )


def result_folder(settings: Settings, task: str) -> Path:
    """Where the result files of a task lie."""
    return earlier.folder_of(settings.results, task)


class Attempt:
    """``links`` are established to every other party."""

    def __init__(self, me: Institution, run: RunRecord, spec: TaskSpec, links: RunLinks, start: Start) -> None:
        self._me = me
        self._run = run
        self._spec = spec
        self._links = links
        self._start = start
        self.closing = Closing(me.chain, me.signer, spec, self._id, run.attempt, links)

    async def prove(self, until: float) -> None:
        """Compute, agree and queue the proof, by the loop's time ``until`` where verifiers have to vouch for it first. Raises
        RunFailed and PeerFailed; nothing is claimed on chain then."""
        async with assembly(self._spec.proof) as ready:  # it gets ready while the worker computes
            await self._prove(until, ready)

    async def _prove(self, until: float, ready: Ready) -> None:
        task, spec, store = self._run.task, self._spec, self._me.store
        began = time.monotonic()
        datasets = await self._patiently(partial(agreement.registered, spec, self._me.chain))
        signers = {party: await self._patiently(partial(signers_of, self._me.chain, party, Scope.SIGN)) for party in spec.parties}
        counted = await self._standing()
        await self._patiently(partial(require_no_change, self._me.chain, spec, self._start))
        data, scratch = await asyncio.to_thread(self._data, datasets), await asyncio.to_thread(self._scratch)
        try:
            await asyncio.to_thread(self._lay_out, scratch)
            async with self._launcher() as launcher:
                outcome = await run_worker(
                    self._me.workers,
                    spec,
                    self._me.account,
                    self._links,
                    context=self._context(),
                    beacon=self._start.block_hash,
                    session_key=session_key.issue(self._me.signer, self._context()),
                    signers=[signers[party] for party in spec.parties],
                    versions={part.party: datasets[part.dataset].descriptor for part in spec.inputs},
                    data=data,
                    scratch=scratch,
                    kept=self._kept(),
                    launcher=launcher,
                    standing=counted,
                    link_seconds=self._me.settings.link_seconds,
                    run_seconds=spec.run_seconds,
                    progress=lambda phase, fraction: store.report(task, phase, fraction),
                )
        finally:
            earlier.clear(scratch)
        elapsed = int(1000 * (time.monotonic() - began))
        store.remember(task, measured=json.dumps(_measured(outcome, elapsed)).encode())
        await asyncio.to_thread(store.advance, task, "proving", phase="agreeing on the statement")
        for index in outcome["absent"]:
            self._links.leave(spec.parties[index])
        assemble = await ready()  # what may take long before the first word: until then peers hear that we work
        own = self._word(outcome, await asyncio.to_thread(self._write_result, outcome), elapsed)
        words = await self.closing.words(own, Heard(self._me.chain, self._me.account, self._context(), self._start.time, signers))
        known = Known(outcome["commitments"], outcome["contributions"])
        agreement.check_commitments(spec, words, known)
        contracts = self._me.chain.deployment.contracts
        follows = partial(agreement.draft, spec, self._run.attempt, words, datasets, contracts, known)
        draft = await asyncio.to_thread(follows)
        with agreement.blaming():
            content = await assemble(draft.statement, spec.parties, draft.said)
        statement = await asyncio.to_thread(agreement.complete, spec, draft.statement, content)
        signatures = await self.closing.signatures(statement, words)
        if spec.proof == ATTESTED_QUORUM:
            store.report(task, "waiting for verifiers", 0.9)
            shown = ToVouch(**{name: bytes.fromhex(value) for name, value in outcome["to_vouch"].items()})
            content = await vouched(self._me.settings, self._me.chain, self._links, spec, statement, content, shown, until)
        self._queue(statement, content, words, signatures)
        without = f" without {', '.join(statement.absent)}" if statement.absent else ""
        self._me.note("statement", f"signed the statement of a {spec.workload} task{without}", task, spec)

    @property
    def _id(self) -> bytes:
        return canonical.unhex32(self._run.task)

    # -- before the computation

    async def _standing(self) -> Standing | None:
        """Which enclaves and platforms count on chain, for a task that is proved by one."""
        if self._spec.proof not in VERIFIERS:
            return None
        return await self._patiently(partial(standing, self._me.chain, self._spec.proof))

    async def _patiently(self, ask: Callable[[], T]) -> T:
        """What the chain answers, while the run may take that long."""
        return await patiently(ask, self._spec.run_seconds)

    def _data(self, datasets: Mapping[str, Registered]) -> dict[str, Any] | None:
        """Path and columns of this party's file, which still holds the rows that were published; and, where the task opens some of
        these, what it was registered with."""
        part = self._spec.input_of(self._me.account)
        if part is None:
            return None
        row = self._me.store.dataset(datasets[part.dataset].descriptor)
        if row is None:
            raise RunFailed("the dataset is no longer attached", reason=Reason.DATA)
        try:
            require_unchanged(row)
        except InvalidData as error:
            raise RunFailed(error.message, reason=Reason.DATA, remedy=error.remedy) from None
        data = {"path": row.path, "columns": json.loads(row.descriptor)["columns"], "answers": self._answers(part.dataset)}
        if workload_named(self._spec.workload).shown_rows(self._spec, self._me.account):
            data["registered"] = [row.descriptor.hex(), row.secret.hex()]
        return data

    def _context(self) -> bytes:
        """What the run's proofs and challenges are bound to."""
        deployment = self._me.chain.deployment
        task = canonical.unhex32(self._run.task)
        return context_of(deployment.chain_id, deployment.contracts["ProofRegistry"], task, self._run.attempt)

    def _scratch(self) -> Path:
        """The folder of this attempt, with what the one before left there, which a workload may go on from."""
        runs, task, attempt = self._me.settings.home / "runs", self._run.task, self._run.attempt
        folder = runs / folder_name(task, attempt)
        before = next((each for n in range(attempt - 1, 0, -1) if (each := runs / folder_name(task, n)).is_dir()), None)
        if before is not None and not folder.exists():
            before.rename(folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def _kept(self) -> Path:
        """The folder of what outlives runs, which nobody else may look into: workers make their own below it."""
        folder = self._me.settings.home / "kept"
        folder.mkdir(exist_ok=True, mode=0o700)
        return folder

    def _answers(self, dataset: str) -> tuple[str, int]:
        """The folder of what was answered of a dataset, which no sweep empties, and how many answers it may keep."""
        folder = self._me.settings.home / "answers"
        folder.mkdir(exist_ok=True, mode=0o700)
        return str(folder / dataset.removeprefix("0x")), self._me.settings.policy.answers_kept

    @asynccontextmanager
    async def _launcher(self) -> AsyncIterator[socket.socket | None]:
        """The way to the process that launches the run's enclave, if this party hosts it."""
        enclosed = workload_named(self._spec.workload).enclave(self._spec)
        if enclosed is None or enclosed.host != self._me.account:
            yield None
            return
        async with enclaves.launcher(self._me.settings) as way:
            yield way

    def _lay_out(self, scratch: Path) -> None:
        """An owner's results of earlier tasks that its run reads, as long as it runs."""
        if self._spec.input_of(self._me.account) is None:
            return
        for named in workload_named(self._spec.workload).earlier(self._spec):
            try:
                earlier.lay_out(self._me.settings.results, self._me.store, self._me.account, named, scratch)
            except InvalidData as error:
                raise RunFailed(error.message, reason=Reason.DATA, remedy=error.remedy) from None

    # -- after it

    def _write_result(self, outcome: dict[str, Any]) -> str:
        """Write the result files of a receiver; the digest of the result file, or empty for a party that receives nothing."""
        if self._me.account not in self._spec.receivers:
            return ""
        folder = result_folder(self._me.settings, self._run.task)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        opening = outcome["opening"]
        content = ResultFile(
            task=self._run.task,
            attempt=self._run.attempt,
            receiver=self._me.account,
            workload=self._spec.workload,
            values=outcome["values"],
            files={name: _digest(Path(source)) for name, source in outcome["files"].items()},
            opening=Opening(tuple(int(t) for t in opening["totals"]), int(opening["blinding"])) if opening else None,
            salt=canonical.hex32(secrets.token_bytes(32)),
        ).to_bytes()
        for name, source in outcome["files"].items():
            Path(source).replace(folder / name)
        (folder / NAME).write_bytes(content)
        for path in folder.iterdir():
            path.chmod(0o600)
        return file_digest(content)

    def _word(self, outcome: dict[str, Any], output: str, elapsed: int) -> Word:
        own, parties = self._me.account, self._spec.parties
        sent = [Link(own, parties[int(peer)], *summary) for peer, summary in outcome["sent"].items()]
        received = [Link(parties[int(peer)], own, *summary) for peer, summary in outcome["received"].items()]
        links = (*sent, *received)
        return Word(
            commitment=outcome["commitment"],
            contribution=outcome["contribution"],
            output=output,
            links=links,
            signatures=signed_links.sign(self._me.chain, self._me.signer, self._id, self._run.attempt, links),
            seconds_ms=elapsed,
            certificate=self._me.certificate,
            release=self._me.release,
        )

    def _queue(self, statement: Statement, content: bytes, words: Mapping[str, Word], signatures: Mapping[str, bytes]) -> None:
        """Keep the evidence and queue the proof: all or nothing."""
        task, attempt, parties = self._run.task, self._run.attempt, self._spec.parties
        arguments = [
            proposal_of(self._spec).as_tuple(),
            result_of(statement).as_tuple(),
            [signatures.get(account, b"") for account in parties],
            content,
        ]
        delay = SUBMIT_STAGGER * parties.index(self._me.account)
        self._me.store.remember(
            task,
            statement=agreement.envelope(statement, signatures),
            proof=content,
            certificates=json.dumps(
                {
                    account: words[account].certificate if account in words else self._links.links[account].identity
                    for account in parties
                }
            ).encode(),
            stated=str(attempt).encode(),
            write=Write(f"submit:{task}:{attempt}", "ProofRegistry", "submit", arguments, delay),
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return canonical.text(hashlib.file_digest(file, "sha256").digest())


def _measured(outcome: dict[str, Any], elapsed_ms: int) -> dict[str, Any]:
    steps = {
        name: dict(zip(("messages", "bytes_sent", "rounds"), counts, strict=True)) for name, counts in outcome["steps"].items()
    }
    return {
        "bytes_sent": sum(step["bytes_sent"] for step in steps.values()),
        "rounds": sum(step["rounds"] for step in steps.values()),
        "seconds": elapsed_ms / 1000,
        "steps": steps,
    }
