"""The outbox: every chain write of a node, exactly once, across crashes: in order, but what has a deadline first.

A write is queued in the same store as what led to it. Whether a write that was sent before a crash arrived is answered by the
contracts themselves: each of ours can succeed only once, and refuses a repetition with an error of :data:`DONE`.

A refusal by a contract's own rule is final, and told to ``refused``. Whatever else keeps a write from the chain (no answer, an
account that cannot pay) is tried again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import structlog
from tallystick.chain.connection import Chain
from tallystick.protocol.agreement import Agreement
from tallystick.protocol.errors import ChainUnreachable, ContractRefused, Deadline

from tallystick_node.store.database import Store, arguments_of

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


class Outbox:
    """The chain writes of one node. :meth:`flush` blocks; call it from a thread of its own.

    ``refused`` gets the key of a write that a contract refused, and the refusal.
    """

    def __init__(self, store: Store, chain: Chain, refused: Callable[[str, ContractRefused], None]) -> None:
        self._store = store
        self._chain = chain
        self._refused = refused

    def flush(self) -> None:
        """Carry out what is due, the urgent first and the oldest of each kind. An unreachable chain leaves it for later."""
        while due := self._store.due_writes():
            row = min(due, key=lambda each: (each.function not in URGENT, each.number))
            arguments = arguments_of(row)
            try:
                receipt = self._chain.send(row.contract, row.function, *arguments, **_payment(row.function, arguments))
                self._store.mark_write(row.number, "done", transaction=receipt.transaction)
            except ContractRefused as error:
                if error.error in UNDECIDED:
                    LOG.warning("chain write waits", key=row.key, problem=error.message)
                    self._store.postpone_write(row.number, PAUSE, json.dumps(error.problem()))
                    continue
                done = error.error in DONE.get((row.contract, row.function), set())
                self._store.mark_write(row.number, "done" if done else "refused", problem=json.dumps(error.problem()))
                if not done:
                    LOG.warning("chain write refused", key=row.key, error=error.error)
                    self._refused(row.key, error)
            except (ChainUnreachable, Deadline) as error:
                LOG.warning("chain write waits", key=row.key, problem=error.message)
                return


def _payment(function: str, arguments: list[Any]) -> dict[str, int]:
    """The coins that go with a write: of a stake the agreement's bond, where that is in the chain's own coin."""
    if function != "post":
        return {}
    _, agreement = arguments
    return {"value": Agreement.of(agreement).bond}
