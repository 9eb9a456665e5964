"""The start of an attempt, and what the parties read of the chain at it.

Each node reads the versions of the datasets and who may sign for whom as its run begins, some a moment later than others. Where an
owner revised a dataset in between, or a party changed its operators, honest nodes would build two statements, or take a key for a
party's that others do not know, and name one another. So whoever sees such a change after the block in which the attempt started
ends the run, and nobody is accused: the next attempt begins with what stands then.
"""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.chain.connection import Chain
from tallystick.protocol import canonical
from tallystick.protocol.errors import RunFailed
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import TaskSpec


@dataclass(frozen=True)
class Start:
    """The ``block`` in which an attempt started, its hash of 32 bytes, and its ``time`` in seconds since 1970."""

    block: int
    block_hash: bytes
    time: int


def require_no_change(chain: Chain, spec: TaskSpec, start: Start) -> None:
    """Raise RunFailed where a dataset of the task was revised, or a party changed its operators, after the attempt had started; it
    is asked after both were read. Raises ChainUnreachable."""
    datasets = {part.dataset for part in spec.inputs}
    for event in chain.events(start.block + 1, chain.latest()[0]):
        if event.name == "Published" and (dataset := canonical.hex32(event["dataset"])) in datasets:
            what = f"the dataset {dataset} was revised by {event['owner']}"
        elif event.name == "OperatorChanged" and event["account"] in spec.parties:
            what = f"{event['account']} changed what {event['operator']} may do for it"
        else:
            continue
        raise RunFailed(
            f"{what} in block {event.block}, as the attempt started in block {start.block}",
            remedy="run the task again: parties that began before the change and after it would differ",
            reason=Reason.CHANGED_AT_START,
        )
