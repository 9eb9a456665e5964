"""The outbox: every chain write of a node, exactly once, across crashes: in order, but what has a deadline first.

A write is queued in the same store as what led to it. Whether a write that was sent before a crash arrived is answered by the
contracts themselves: each of ours can succeed only once, and refuses a repetition with an error of :data:`DONE`.

A refusal by a contract's own rule is final, and told to ``refused``. Whatever else keeps a write from the chain (no answer, an
account that cannot pay) is tried again.

A write that was carried out stays with the block that shows it. Where a re-organisation, however deep, has taken that block away,
the write is sent again, as a new transaction; what it rests on (a proposal, others' acceptances) may take its time to come again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import structlog
from tallystick.chain.connection import Chain
from tallystick.protocol.agreement import Agreement
from tallystick.protocol.errors import ChainUnreachable, ContractRefused, Deadline

from tallystick_node.store.database import AGAIN, Place, Store, arguments_of
from tallystick_node.store.models import OutboxRow

LOG = structlog.get_logger()

#: A refusal that says that what the write was for is so already.
DONE = {
    ("TaskLedger", "accept"): {"AlreadyAccepted", "WrongState", "WrongAttempt"},
    ("TaskLedger", "fail"): {"WrongState", "WrongAttempt"},
    ("TaskLedger", "expire"): {"WrongState"},
    ("ProofRegistry", "submit"): {"WrongState"},
    ("Settlement", "post"): {"BondIsPosted"},
    ("Disputes", "tenderAcceptance"): {"WrongState", "WrongAttempt"},
    ("Disputes", "tenderReport"): {"WrongState", "WrongAttempt"},
    ("Disputes", "tenderResult"): {"WrongState", "WrongAttempt"},
    ("Disputes", "proveLateness"): {"NobodyLate"},
    ("Disputes", "proveTwoDigests"): {"AlreadyAtFault"},
    ("Disputes", "answerOpening"): {"DisputeIsDecided"},
    ("AuditLog", "anchor"): {"NotGrowing"},
    ("AuditLog", "anchorFor"): {"NotGrowing"},
}

#: What a party loses its bond for when it comes too late, or its chance to stake one.
URGENT = {"post", "accept", "fail", "submit", "tenderAcceptance", "tenderReport", "tenderResult", "answerOpening"}

#: What no rule of a contract of ours says (an account without funds, a node's own limit), and what the next blocks change.
UNDECIDED = {"unknown", "reverted", "TooEarly"}
PAUSE = 5.0  # seconds before such a write is tried again
PATIENCE = 900.0  # seconds for which a write that a re-organisation took away is not refused
NOT_STARTED = ((0,), (1,))  # ITaskLedger.State, as `WrongState` tells it behind the task: None, Proposed


class Outbox:
    """The chain writes of one node. :meth:`flush` blocks; call it from a thread of its own.

    ``refused`` gets the key of a write that a contract refused, and the refusal.
    """

    def __init__(self, store: Store, chain: Chain, refused: Callable[[str, ContractRefused], None]) -> None:
        self._store = store
        self._chain = chain
        self._refused = refused
        self._patience: dict[int, float] = {}  # until when a write that is sent again is not refused

    def flush(self) -> None:
        """Carry out what is due, the urgent first and the oldest of each kind. An unreachable chain leaves it for later."""
        key = ""
        try:
            self._look_back()
            while due := self._store.due_writes():
                row = min(due, key=lambda each: (each.function not in URGENT, each.number))
                key = row.key
                self._carry_out(row)
        except (ChainUnreachable, Deadline) as error:
            LOG.warning("chain write waits", key=key, problem=error.message)

    def _carry_out(self, row: OutboxRow) -> None:
        arguments, before = arguments_of(row), self._chain.latest()
        try:
            receipt = self._chain.send(row.contract, row.function, *arguments, **_payment(row.function, arguments))
        except ContractRefused as error:
            self._hear(row, error, before)
        else:
            self._finish(row, (receipt.block, receipt.block_hash), transaction=receipt.transaction)

    def _hear(self, row: OutboxRow, error: ContractRefused, before: Place) -> None:
        problem = json.dumps(error.problem())
        if error.error in UNDECIDED or self._may_come(row, error):
            LOG.warning("chain write waits", key=row.key, problem=error.message)
            self._store.postpone_write(row.number, PAUSE, problem)
        elif _done(row, error):
            latest = self._chain.latest()  # what the write was for may be in a block that came meanwhile
            if self._chain.hash_at(before[0]) == before[1]:  # else on a chain that is no more: the write is tried again at once
                self._finish(row, latest, problem=problem)
        else:
            self._store.refuse_write(row.number, problem)
            LOG.warning("chain write refused", key=row.key, error=error.error)
            self._refused(row.key, error)

    def _may_come(self, row: OutboxRow, error: ContractRefused) -> bool:
        """Whether a write that was on the chain once may be so again, though it is refused now: what it rests on went with it."""
        behind = error.error == "WrongAttempt" or (error.error == "WrongState" and error.arguments[1:] in NOT_STARTED)
        if row.status != AGAIN or error.error == "TooLate" or (_done(row, error) and not behind):
            return False
        return time.monotonic() < self._patience.setdefault(row.number, time.monotonic() + PATIENCE)

    def _finish(self, row: OutboxRow, place: Place, *, transaction: str = "", problem: str = "") -> None:
        self._look_back()  # while what was there before still is, all of it is on one chain
        self._patience.pop(row.number, None)
        self._store.finish_write(row.number, place, transaction=transaction, problem=problem)

    def _look_back(self) -> None:
        """Send again what is no longer on the chain. Where one block still is, so are all before it."""
        gone = []
        for number, (block, known) in self._store.finished_writes():
            if self._chain.hash_at(block) == known:
                break
            gone.append(number)
        if gone:
            LOG.warning("chain writes are sent again after a re-organisation", writes=len(gone))
            self._store.reopen_writes(gone)


def _done(row: OutboxRow, error: ContractRefused) -> bool:
    return error.error in DONE.get((row.contract, row.function), set())


def _payment(function: str, arguments: list[Any]) -> dict[str, int]:
    """The coins that go with a write: of a stake the agreement's bond, where that is in the chain's own coin."""
    if function != "post":
        return {}
    _, agreement = arguments
    return {"value": Agreement.of(agreement).bond}
