"""What a node writes on chain so that a party that staked a bond keeps its promise and loses nothing by another's fault.

A bond promises to accept in time and to let no run end in silence (docs/spec/settlement.md). A party that waits for another in vain
says so on chain (a report) and leaves the run open: it ends when the silent one speaks, or expires and costs that one its bond.
Where nobody who could be silent staked a bond, a failure ends the attempt at once, so that the next one can begin.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence

from tallystick.chain.connection import Chain
from tallystick.protocol import canonical, typed
from tallystick.protocol.agreement import COIN, Demand, standard_agreement
from tallystick.protocol.dataset import DatasetDescriptor
from tallystick.protocol.errors import ChainUnreachable, InvalidData, PeerFailed, RunFailed, TallystickError
from tallystick.protocol.proof.subject import result_of
from tallystick.protocol.reasons import Reason
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.task import TaskSpec, proposal_of
from tallystick.signing import Signer

from tallystick_node.admission.agreements import Agreements, require_terms
from tallystick_node.data.opening import opening
from tallystick_node.evidence import agreement
from tallystick_node.evidence.signed_links import SignedLink
from tallystick_node.settings import Policy
from tallystick_node.store.database import RunRecord, Store, Write
from tallystick_node.store.models import DatasetRow

NOBODY = COIN
ABORT_PATIENCE = 5.0  # most seconds before the report of a run that another party ended: its own report says why
STAGGER = 3.0  # seconds between the parties' attempts to show the same lateness
SILENCE = frozenset({Reason.PEER_SILENT, Reason.PEER_ABORTED})


class OutOfTime(RunFailed):
    """The run was not over when there was just time left to say so on chain."""


class Promises:
    """The chain writes by which one party keeps its promises."""

    def __init__(self, chain: Chain, store: Store, signer: Signer, policy: Policy, agreements: Agreements) -> None:
        self._chain = chain
        self._store = store
        self._signer = signer
        self._policy = policy
        self._agreements = agreements

    @property
    def margin(self) -> int:
        """Seconds before a deadline at which to speak, by the profile of the chain."""
        return self._chain.profile.reporting_seconds

    # -- before a run

    def waits(self, spec: TaskSpec) -> str:
        """What is to be done about bonds before this party accepts, in words; empty when nothing is. Queues the own stake.

        A party that staked is bound to accept. One whose policy lets it stake by itself does so first, and where the policy asks
        for the bonds of the others, after them. Raises Refused where the policy does not take the terms: an agreement may have
        been opened after admission looked for one.
        """
        own, agreed = self._signer.address, self._agreements.of(spec)
        if agreed is None or agreed.staked(own):
            return ""
        require_terms(agreed, spec, own, self._policy)
        if self._policy.bond_of_others and not all(agreed.staked(each) for each in spec.parties if each != own):
            return "waiting for the bonds of the others"
        if self._policy.largest_stake is None or agreed.agreement.bond == 0:
            return ""
        terms = [proposal_of(spec).as_tuple(), agreed.agreement.as_tuple()]
        self._store.enqueue(Write(f"stake:{_task(spec)}", "Settlement", "post", terms))
        return "staking the agreement's bond"

    def willing(self, spec: TaskSpec) -> None:
        """Queue, where this party staked a bond, the proof that it accepts the first attempt, which the ledger does not take, or
        its node does not: a run that somebody starts with it is ended by the report of a failure, before data is read."""
        agreed = self._agreements.of(spec)
        if agreed is not None and agreed.staked(self._signer.address):
            proposal = proposal_of(spec)
            digest = typed.acceptance_digest(self._chain.domain("TaskLedger"), proposal.id(), proposal.spec, 1)
            signed = [proposal.as_tuple(), self._signer.address, self._signer.sign_digest(digest)]
            self._store.enqueue(Write(f"willing:{_task(spec)}", "Disputes", "tenderAcceptance", signed))

    # -- when it stalls

    def failure(self, run: RunRecord, spec: TaskSpec, error: TallystickError) -> tuple[Write, bool]:
        """What to write of a failure, and whether it ends the attempt: not when a party that staked a bond may be silent.

        Who staked nothing itself has nothing to prove then, and only waits; its write changes nothing before the run has expired.
        """
        reason = error.reason if isinstance(error, RunFailed | PeerFailed) else Reason.INTERNAL
        own, aborted = self._signer.address, reason == Reason.PEER_ABORTED
        accused = error.party if error.party in spec.parties and error.party != own and not aborted else None
        evidence = hashlib.sha256(agreement.describe(error).encode()).digest()
        said = [proposal_of(spec).as_tuple(), run.attempt, accused or NOBODY, int(reason), evidence]
        agreed = None
        if reason in SILENCE or isinstance(error, OutOfTime):
            with contextlib.suppress(ChainUnreachable):  # to end the attempt is always a way to speak
                agreed = self._agreements.of(spec)
        if agreed is None or not any(agreed.staked(each) for each in ([accused] if accused else spec.parties) if each != own):
            delay = min(ABORT_PATIENCE, self.margin / 3) if aborted else 0.0  # two thirds of the margin are left to speak in
            return Write(f"fail:{run.task}:{run.attempt}", "TaskLedger", "fail", said, delay), True
        if agreed.staked(own):
            return Write(f"report:{run.task}:{run.attempt}", "Disputes", "tenderReport", said), False
        return self.expiry(run, spec), False

    def leaving(self, run: RunRecord, spec: TaskSpec) -> None:
        """Queue, where this party may have staked a bond, a report that accuses nobody: it leaves a run that may end without it,
        and that costs its bond when the others do not end it either. Nobody is asked to answer, so the run goes on."""
        with contextlib.suppress(ChainUnreachable):  # a report that was not needed costs nothing but gas
            agreed = self._agreements.of(spec)
            if agreed is None or not agreed.staked(self._signer.address):
                return
        error = RunFailed("this party left the run", reason=Reason.PEER_ABORTED)
        evidence = hashlib.sha256(agreement.describe(error).encode()).digest()
        said = [proposal_of(spec).as_tuple(), run.attempt, NOBODY, int(error.reason), evidence]
        self._store.enqueue(Write(f"report:{run.task}:{run.attempt}", "Disputes", "tenderReport", said))

    def answer(self, run: RunRecord, spec: TaskSpec) -> Write:
        """That this party, which another waits for, is there: it ends the attempt, which the others have left."""
        error = RunFailed("the others gave this party up", reason=Reason.PEER_ABORTED)
        evidence = hashlib.sha256(agreement.describe(error).encode()).digest()
        said = [proposal_of(spec).as_tuple(), run.attempt, NOBODY, int(error.reason), evidence]
        return Write(f"fail:{run.task}:{run.attempt}", "TaskLedger", "fail", said)

    def show_result(self, run: RunRecord, spec: TaskSpec) -> None:
        """Queue, where this party staked a bond, its signed result: the statement's proof is not on chain and time runs out."""
        kept, agreed = self._store.recall(run.task, "statement"), self._agreements.of(spec)
        if kept is None or agreed is None or not agreed.staked(self._signer.address):
            return
        envelope = Envelope.parse(kept)
        signed = result_of(Statement.parse(envelope.payload)).as_tuple(), envelope.signatures[self._signer.address]
        arguments = [proposal_of(spec).as_tuple(), self._signer.address, signed]
        self._store.enqueue(Write(f"result:{run.task}:{run.attempt}", "Disputes", "tenderResult", arguments))

    def contradict(self, run: RunRecord, spec: TaskSpec, pairs: Sequence[tuple[SignedLink, SignedLink]]) -> None:
        """Queue, where anybody staked a bond, signed digests that contradict one another: what they show is for the arbiters. One
        party after the other, and those that find it on chain already show it no more: each time costs gas, and says the same."""
        agreed = self._agreements.of(spec) if pairs else None
        if agreed is not None and agreed.posted:
            terms = [proposal_of(spec).as_tuple(), agreed.agreement.as_tuple()]
            delay = STAGGER * spec.parties.index(self._signer.address)
            for one, other in pairs:
                key = contradiction(run.task, run.attempt, *one[0][2:4])
                self._store.enqueue(Write(key, "Disputes", "proveTwoDigests", [*terms, one, other], delay))

    # -- when it is asked

    def open_row(self, run: RunRecord, spec: TaskSpec, dispute: bytes, demand: Demand, going_on: Callable[[], None]) -> None:
        """Queue the opening that another demands of this party's dataset. Raises InvalidData where there is none to show, and what
        ``going_on`` raises, which is called now and then while the file is read."""
        row = next((each for each in self._store.datasets() if _root_of(each) == demand.rows), None)
        if row is None:
            raise InvalidData("no attached dataset has the demanded commitment", remedy="tell the arbiters so, or attach it again")
        shown = opening(row, canonical.unhex32(run.task), demand, going_on)
        agreed = self._agreements.of(spec)
        terms = agreed.agreement if agreed is not None else standard_agreement(canonical.unhex32(run.task))
        arguments = [proposal_of(spec).as_tuple(), terms.as_tuple(), dispute, shown.as_tuple()]
        self._store.enqueue(Write(f"open:{run.task}:{canonical.hex32(dispute)}", "Disputes", "answerOpening", arguments))

    # -- after a deadline

    def expiry(self, run: RunRecord, spec: TaskSpec) -> Write:
        """Closing what is over time: anyone may, so every party does."""
        return Write(f"expire:{run.task}:{run.attempt}", "TaskLedger", "expire", [proposal_of(spec).as_tuple()])

    def lateness(self, run: RunRecord, spec: TaskSpec) -> None:
        """Queue, where anybody staked a bond, the finding of who was late with an expired task. A task that somebody handed to this
        node though it is no party of it is not its business."""
        agreed = self._agreements.of(spec)
        if agreed is not None and agreed.posted and self._signer.address in spec.parties:
            terms = [proposal_of(spec).as_tuple(), agreed.agreement.as_tuple()]
            delay = STAGGER * spec.parties.index(self._signer.address)
            self._store.enqueue(Write(f"late:{run.task}", "Disputes", "proveLateness", terms, delay))


def _root_of(row: DatasetRow) -> bytes:
    return canonical.untext(DatasetDescriptor.parse(row.descriptor).root)


def contradiction(task: str, attempt: int, sender: str, recipient: str) -> str:
    """The key of the write that shows a contradiction about one direction of a link."""
    return f"digests:{task}:{attempt}:{sender}:{recipient}"


def _task(spec: TaskSpec) -> str:
    return "0x" + proposal_of(spec).id().hex()
