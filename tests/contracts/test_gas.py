"""What each record costs. The snapshot in contracts/snapshots/gas.json shows each change in review.

``UPDATE_GAS=1 pytest tests/contracts/test_gas.py`` writes it anew. Gas is compared on Anvil, whose precompiles include P-256.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import pytest
from contracts.conftest import KIND, Case
from contracts.test_projection_verifier import Training
from contracts.test_proof_registry import Sum
from eth_abi import encode as abi_encode

SNAPSHOT = Path(__file__).parents[2] / "contracts" / "snapshots" / "gas.json"
RECORD_LIMIT = 120_000
TASK_LIMIT = 600_000
TOLERANCE = 0.02


@pytest.mark.skipif(KIND != "anvil", reason="Ganache lacks the P-256 precompile, so enrolment costs more there")
def test_gas_stays_within_the_limits_and_the_snapshot(case: Case) -> None:
    world = case.world
    proof = Sum(world, case.proposal)
    case.proposal = proof.proposal
    result = proof.result(proof.inputs, proof.sum)
    owner = world.parties[0]
    grant = world.grant(world.publish(owner))
    training = Training(world, world.proposal(case.grants))
    used = {
        "enrol": world.enrol(world.newcomer).gas_used,
        "publish": owner.send("DatasetRegistry", "publish", *(secrets.token_bytes(32) for _ in range(3))).gas_used,
        "grant": world.issue(owner, grant).gas_used,
        "revoke grant": owner.send("GrantLedger", "revoke", grant.as_tuple()).gas_used,
        "anchor audit head": owner.send("AuditLog", "anchor", secrets.token_bytes(32), 1).gas_used,
        "anchor audit head again": owner.send("AuditLog", "anchor", secrets.token_bytes(32), 2).gas_used,
        "propose (3 parties)": case.propose().gas_used,
        "accept (3 signatures, 3 debits)": world.accept(proof.proposal, case.grants).gas_used,
        "prove (sum-verified, 3 parties)": world.prove(
            proof.proposal, result, abi_encode(["uint256[2][]", "uint256[2]"], [proof.inputs, proof.sum])
        ).gas_used,
    }
    world.requester.send("TaskLedger", "propose", training.proposal.as_tuple())
    world.accept(training.proposal, case.grants)
    used["prove (projection-verified, 3 parties)"] = training.prove(training.proof()).gas_used
    task = sum(value for name, value in used.items() if name.startswith(("propose", "accept", "prove (sum")))
    used["whole three-party task"] = task
    if os.environ.get("UPDATE_GAS"):
        SNAPSHOT.write_text(json.dumps(used, indent=1) + "\n")
    assert task <= TASK_LIMIT
    singles = {k: v for k, v in used.items() if not k.startswith(("whole", "propose", "accept", "prove"))}
    assert max(singles.values()) <= RECORD_LIMIT, singles
    expected = json.loads(SNAPSHOT.read_text())
    grown = {name: (expected.get(name), value) for name, value in used.items() if value > expected[name] * (1 + TOLERANCE)}
    assert not grown, "gas grew; if it must, run with UPDATE_GAS=1 and explain it in the commit"
