"""Collecting the word of verifiers for the evidence of a run, until as many vouch as the task asks for.

Every party of the task asks every verifier that the task names, over mutual TLS, and again as long as one does not answer with a
vouching for this very run; whoever has enough tells the other parties. There is no coordinator: what a verifier says is signed, so
that it does not matter who asked or passed it on, and one party that reaches enough verifiers is enough. A verifier that is slow,
absent, or vouches for something else only does not count.

What the parties signed stays as it is: vouchings are no part of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog
from tallystick.chain.connection import Chain
from tallystick.protocol import canonical
from tallystick.protocol.errors import (
    ChainUnreachable,
    ContractRefused,
    MalformedDocument,
    PeerFailed,
    RunFailed,
    TallystickError,
)
from tallystick.protocol.proof import quorum
from tallystick.protocol.proof.attested import WORD, EnclaveTerms
from tallystick.protocol.proof.quorum import QuorumRun
from tallystick.protocol.proof.subject import Subject, subject_of
from tallystick.protocol.proof.vouching import RunClaim, Vouching
from tallystick.protocol.reasons import Reason
from tallystick.protocol.statement import Statement
from tallystick.protocol.task import TaskSpec
from tallystick.wire import node_pb2

from tallystick_node.peers import vouching
from tallystick_node.peers.links import RunLinks
from tallystick_node.settings import Settings
from tallystick_node.workloads.base import ToVouch

LOG = structlog.get_logger()
AGAIN = (1.0, 8.0)  # seconds before a verifier is asked again: at first, and at most
LOOK = 5.0  # seconds between two looks at whose word counts on chain, where nobody says anything new
Ask = Callable[[str], Awaitable[Vouching]]
Hear = Callable[[], Awaitable[bytes | None]]


async def vouched(
    settings: Settings,
    chain: Chain,
    links: RunLinks,
    spec: TaskSpec,
    statement: Statement,
    proof: bytes,
    shown: ToVouch,
    until: float,
) -> bytes:
    """The proof bytes of a statement that all parties signed, with as many vouchings as the task asks for, which the other parties
    are told. Raises RunFailed when too few verifiers vouch before ``until``, the loop's time."""
    subject = subject_of(statement, spec.parties)
    run, _ = QuorumRun.parse(proof[WORD * len(spec.parties) :])
    attempt = (subject.chain_id, subject.registry, subject.task, subject.attempt)
    given = tuple(canonical.untext(text) for text in subject.commitments if text)
    claim = RunClaim(*attempt, run.algorithm, given, run.output, shown.key)
    identities = [canonical.text(each) for each in EnclaveTerms.of(spec.parameters).identities]
    request = node_pb2.VouchRequest(claim=claim.to_bytes(), evidence=shown.evidence, policy=shown.policy, identities=identities)
    collecting = Quorum(chain, subject, proof, chain.profile.reporting_seconds)
    hear = [partial(links.hear, account) for account in links.links]
    whole = await collecting.collect(lambda verifier: vouching.ask(settings, chain, verifier, request), hear, until)
    for account in links.links:
        with contextlib.suppress(PeerFailed):  # it may have enough already, and be gone
            await links.send(account, collecting.passed_on(whole))
    return whole


class Quorum:
    """The vouchings for one proof, of which ``proof`` holds what the parties signed. ``hold``: seconds for which an appraisal has
    to be good yet, so that the chain still takes it."""

    def __init__(self, chain: Chain, subject: Subject, proof: bytes, hold: int) -> None:
        self._chain, self._subject, self._signed, self._hold = chain, subject, proof, hold
        self._run, _ = QuorumRun.parse(proof[WORD * len(subject.parties) :])
        self._found: dict[str, Vouching] = {}
        self._problems = dict.fromkeys(self._run.verifiers, "has not answered yet")
        self._news, self._now = asyncio.Event(), 0

    async def collect(self, ask: Ask, hear: Sequence[Hear], until: float) -> bytes:
        """The proof bytes with as many vouchings as the task asks for. ``ask`` gets a verifier's account; each of ``hear`` waits
        for what a party passes on, None when it is gone; ``until``: the loop's time. Raises RunFailed if too few vouch by then."""
        waiting = [asyncio.create_task(self._ask(each, ask)) for each in self._run.verifiers]
        waiting += [asyncio.create_task(self._hear(each)) for each in hear]
        try:
            async with asyncio.timeout_at(until):
                while True:
                    self._news.clear()
                    if (whole := await self._whole()) is not None:
                        return whole
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK):
                            await self._news.wait()
        except TimeoutError:
            raise self._failed() from None
        finally:
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def passed_on(self, whole: bytes) -> bytes:
        """What another party is told once this one has enough: the vouchings of the proof ``whole``."""
        return whole[len(self._signed) :]

    async def _ask(self, verifier: str, ask: Ask) -> None:
        """Ask until what is held of the verifier counts, and again once it ends too soon: others may be waited for that long."""
        pause, most = AGAIN
        while True:
            if not self._lasts(verifier):
                try:
                    self._take([await ask(verifier)], verifier)
                except TallystickError as error:
                    if not self._lasts(verifier):  # nor has another party passed one on meanwhile
                        self._problems[verifier] = error.message
                        LOG.info("verifier does not vouch", verifier=verifier, problem=error.message)
            await asyncio.sleep(pause)
            pause = min(2 * pause, most)

    def _lasts(self, verifier: str) -> bool:
        """Whether there is a vouching, and it held long enough at the last look."""
        found = self._found.get(verifier)
        return found is not None and found.not_after >= self._now + self._hold

    async def _hear(self, hear: Hear) -> None:
        for _ in range(quorum.MAX_VERIFIERS):  # nobody has more to tell
            if (passed := await hear()) is None:
                return
            try:
                run, rest = QuorumRun.parse(self._run.to_bytes() + passed)
                self._take(quorum.KIND.vouchings(self._subject, run, rest))
            except MalformedDocument as error:
                LOG.warning("a party passed on what is no vouching", problem=error.message)

    def _take(self, given: Sequence[Vouching], expected: str | None = None) -> None:
        """Keep those that are signed by a verifier of the task, about this very run, of each verifier the one that holds longest.
        Raises MalformedDocument for one of somebody else than was asked, and where it is about anything else."""
        for each in given:
            if expected is not None and each.verifier != expected:
                raise MalformedDocument("answered with another's vouching", party=expected)
            about = quorum.KIND.vouchings(self._subject, self._run, quorum.write_vouchings(self._run, [each]))
            if not about:
                raise MalformedDocument(
                    "vouches for another attempt or run, or did not sign with its account's key", party=expected
                )
            held = self._found.get(each.verifier)
            if held is None or held.not_after < each.not_after:
                self._found[each.verifier] = about[0]
                self._problems.pop(each.verifier, None)
                self._news.set()

    async def _whole(self) -> bytes | None:
        if len(self._found) < self._run.threshold:
            return None
        try:
            counting = await asyncio.to_thread(self._counting)
        except ChainUnreachable:
            return None
        if len(counting) < self._run.threshold:
            return None
        best = sorted(counting, key=lambda each: each.not_after)[-self._run.threshold :]
        return self._signed + quorum.write_vouchings(self._run, best)

    def _counting(self) -> list[Vouching]:
        """Those whose word the chain takes now, and for a while yet: one that it does not take would spoil the proof."""
        self._now = now = max(self._chain.now(), int(time.time()))
        counting = []
        for verifier, each in list(self._found.items()):
            if each.not_after < now + self._hold:
                self._problems[verifier] = "vouched, but its appraisal ends too soon"
            elif not self._chain.quorum.is_verifier(verifier):
                self._problems[verifier] = "vouched, but the governor does not name it a verifier any more"
            else:
                try:
                    self._chain.participants.require_active(verifier, 0)
                except ContractRefused as error:
                    self._problems[verifier] = f"vouched, but is not active on chain ({error.error})"
                else:
                    self._problems.pop(verifier, None)
                    counting.append(each)
        return counting

    def _failed(self) -> RunFailed:
        lacking = [account for account in self._run.verifiers if account in self._problems]
        problems = "; ".join(f"{account}: {self._problems[account]}"[:200] for account in lacking)
        count = len(self._run.verifiers) - len(lacking)
        return RunFailed(
            f"{count} of {len(self._run.verifiers)} verifiers vouched in time, and {self._run.threshold} have to ({problems})",
            reason=Reason.NOT_VOUCHED,
            party=lacking[0] if lacking else None,
            rule="quorum",
            remedy="see that these verifiers' nodes run, stand in [peers] and set policy.vouches, or give the task more seconds",
        )
