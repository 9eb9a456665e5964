"""The start of an attempt, and what the parties read of the chain at it.

Each node reads the versions of the datasets, who may sign for whom, and which enclaves and platforms count as its run begins, some
a moment later than others. Where an owner revised a dataset in between, a party its operators, or the governor what counts, honest
nodes would build two statements, take a key for a party's that others do not know, or refuse evidence that others accept, and name
one another. So whoever sees such a change after the block in which the attempt started ends the run and accuses nobody: the next
attempt begins with what stands then.
"""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.chain.enclaves import VERIFIERS
from tallystick.protocol import canonical
from tallystick.protocol.errors import RunFailed
from tallystick.protocol.proof.attested import EnclaveTerms
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import TaskSpec


@dataclass(frozen=True)
class Start:
    """The ``block`` in which an attempt started, its hash of 32 bytes, and its ``time`` in seconds since 1970."""

    block: int
    block_hash: bytes
    time: int


def require_no_change(chain: Chain, spec: TaskSpec, start: Start) -> None:
    """Raise RunFailed where a dataset of the task was revised, a party changed its operators, or what counts of the enclaves that
    prove the task changed, after the attempt had started; it is asked after all were read. Raises ChainUnreachable."""
    for event in chain.events(start.block + 1, chain.latest()[0]):
        if what := _change(event, spec):
            raise RunFailed(
                f"{what} in block {event.block}, as the attempt started in block {start.block}",
                remedy="run the task again: parties that began before the change and after it would differ",
                reason=Reason.CHANGED_AT_START,
            )


def _change(event: Event, spec: TaskSpec) -> str:
    """What of the task changed with an event; empty where nothing did."""
    if event.name == "Published" and (dataset := canonical.hex32(event["dataset"])) in (part.dataset for part in spec.inputs):
        return f"the dataset {dataset} was revised by {event['owner']}"
    if event.name == "OperatorChanged" and event["account"] in spec.parties:
        return f"{event['account']} changed what {event['operator']} may do for it"
    if spec.proof in VERIFIERS and event.contract == VERIFIERS[spec.proof]:
        if event.name in ("EnclaveAllowed", "EnclaveDisallowed"):
            change = event.name.removeprefix("Enclave").lower()
            own = event["identity"] in EnclaveTerms.of(spec.parameters).identities
            return f"the enclave {canonical.text(event['identity'])} was {change}" if own else ""
        if event.name in ("PlatformRegistered", "PlatformRevoked"):  # any: whose the run is on, its evidence has yet to say
            return f"the platform {canonical.hex32(event['platform'])} was {event.name.removeprefix('Platform').lower()}"
    return ""
