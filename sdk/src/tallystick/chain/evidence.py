"""Chain evidence for a bundle: the blocks that hold a task's events, in the form that verifies offline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.protocol import canonical, receipts
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.facts import BlockEvidence, ChainEvidence
from tallystick.protocol.statement import CONTRACTS
from tallystick.protocol.task import TaskSpec, proposal_of


def collect(chain: Chain, spec: TaskSpec) -> ChainEvidence:
    """Every block up to the proof with an event about the task, its parties, datasets or grants, with all its receipts.

    Headers in between are included too, so that each block links to the last one, which holds the proof and whose hash is
    what a verifier trusts. Raises MalformedDocument when the chain has no proof of the task.
    """
    task = proposal_of(spec).id()
    datasets = {canonical.unhex32(part.dataset) for part in spec.inputs}
    grants = {canonical.unhex32(part.grant) for part in spec.inputs}
    accounts = {*spec.parties, spec.requester}

    def concerns(event: Event) -> bool:
        found: Mapping[str, Any] = event.arguments
        return (
            found.get("task") == task
            or found.get("dataset") in datasets
            or found.get("grant") in grants
            or (event.contract == "ParticipantRegistry" and found.get("account") in accounts)
            or event.name.startswith("Authority")
        )

    events = list(chain.events(0, chain.head()))
    proofs = [event.block for event in events if event.name == "ResultProved" and event["task"] == task]
    if not proofs:
        raise MalformedDocument("the chain has no proof of this task")
    wanted = sorted({event.block for event in events if event.block <= proofs[0] and concerns(event)})
    blocks = []
    for number in range(wanted[0], wanted[-1] + 1):
        header = chain.block(number)
        content: tuple[bytes, ...] = ()
        if number in wanted:
            content = tuple(
                receipts.receipt_bytes(chain.request("eth_getTransactionReceipt", transaction))
                for transaction in header["transactions"]
            )
        blocks.append(BlockEvidence(receipts.header_bytes(header), content))
    contracts = {name: chain.deployment.contracts[name] for name in CONTRACTS}
    return ChainEvidence(chain.deployment.chain_id, contracts, tuple(blocks))
