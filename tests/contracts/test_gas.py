"""What each record costs. The snapshot in contracts/snapshots/gas.json shows each change in review.

``UPDATE_GAS=1 pytest tests/contracts/test_gas.py`` writes it anew. Gas is compared on Anvil, whose precompiles include P-256.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import replace
from pathlib import Path

import pytest
from contracts.bargain import Bargain
from contracts.conftest import KIND, Case
from contracts.test_attestation_verifier import Run
from contracts.test_groth16_verifier import Proved, register
from contracts.test_projection_verifier import Training
from contracts.test_proof_registry import Sum
from contracts.test_quorum_verifier import Vouched
from contracts.test_range_verifier import Ranged
from contracts.test_vector_sum_verifier import Vectors, ready
from eth_abi import encode as abi_encode
from tallystick.attestation.simulation.platform import SimulatedPlatform
from tallystick.protocol import typed
from tallystick.protocol.task import ATTESTED_QUORUM, ATTESTED_SIMULATED, GROTH16

SNAPSHOT = Path(__file__).parents[2] / "contracts" / "snapshots" / "gas.json"
RECORD_LIMIT = 120_000
TASK_LIMIT = 600_000
KEY = "register a circuit's key"  # once for each circuit; its points of the second group are paired to see that they are of it
TOLERANCE = 0.02


def in_ranges(case: Case) -> int:
    """Of a result whose inputs, of two values each, were shown to lie in three ranges."""
    world = case.world
    grants = [world.grant(world.publish(actor)) for actor in world.parties]
    for actor, grant in zip(world.parties, grants, strict=True):
        world.issue(actor, grant)
    ranged = Ranged(world, world.proposal(grants)).start(Case(world, grants, case.proposal))
    return ranged.prove(ranged.proof()).gas_used


def opened_sum(case: Case) -> int:
    """Of a result whose vectors, of up to 28,658 words each, were shown to add up."""
    world = case.world
    ready(world.url)
    grants = [world.grant(world.publish(actor)) for actor in world.parties]
    for actor, grant in zip(world.parties, grants, strict=True):
        world.issue(actor, grant)
    vectors = Vectors(world, world.proposal(grants)).start(Case(world, grants, case.proposal))
    return vectors.prove(vectors.proof()).gas_used


def attestation(case: Case) -> dict[str, int]:
    """Of a network with a simulated platform, and of a result that its enclave computed."""
    world = case.world
    grants = [world.grant(world.publish(actor)) for actor in world.parties]
    for actor, grant in zip(world.parties, grants, strict=True):
        world.issue(actor, grant)
    proposal = world.proposal(grants, proof_kind=typed.proof_kind(ATTESTED_SIMULATED))
    Case(world, grants, proposal).start()
    run = Run(world, proposal)
    return {
        "name a simulation authority": run.govern("nameAuthority", secrets.token_bytes(32), secrets.token_bytes(32)).gas_used,
        "register a platform": run.register(SimulatedPlatform(run.authority).pck).gas_used,
        "allow an enclave": run.govern("allow", secrets.token_bytes(32)).gas_used,
        "revoke a platform": run.govern("revokePlatform", secrets.token_bytes(32), bytes(32)).gas_used,
        "prove (attested, 3 parties)": run.prove(run.proof()).gas_used,
    }


def quorum(case: Case) -> dict[str, int]:
    """Of a result for whose evidence two of three verifiers vouch."""
    world = case.world
    grants = [world.grant(world.publish(actor)) for actor in world.parties]
    for actor, grant in zip(world.parties, grants, strict=True):
        world.issue(actor, grant)
    proposal = world.proposal(grants, proof_kind=typed.proof_kind(ATTESTED_QUORUM))
    Case(world, grants, proposal).start()
    vouched = Vouched(world, proposal)
    return {
        "name a verifier": vouched.govern("nameVerifier", world.requester.address).gas_used,
        "set how many verifiers have to vouch": vouched.govern("setThreshold", 2).gas_used,
        "prove (attested by 2 of 3 verifiers, 3 parties)": vouched.prove(vouched.proof()).gas_used,
    }


def circuits(case: Case) -> dict[str, int]:
    """Of a key for two public inputs, and a result that a proof by it stands behind."""
    world = case.world
    grants = [world.grant(world.publish(actor)) for actor in world.parties]
    for actor, grant in zip(world.parties, grants, strict=True):
        world.issue(actor, grant)
    proposal = world.proposal(grants, proof_kind=typed.proof_kind(GROTH16))
    Case(world, grants, proposal).start()
    proved = Proved(world, proposal)
    return {
        KEY: register(proved.registrant).gas_used,
        "prove (by a circuit with 2 public inputs, 3 parties)": proved.prove(proved.proof()).gas_used,
    }


def reviews(case: Case) -> dict[str, int]:
    """Of an algorithm, one reviewer, and its change of mind."""
    author, reviewer = case.world.parties[:2]
    code, card, *reasons = (secrets.token_bytes(32) for _ in range(4))
    return {
        "register an algorithm": author.send("AlgorithmRegistry", "register", code, 1, card).gas_used,
        "review an algorithm": reviewer.send("AlgorithmRegistry", "review", code, True, reasons[0]).gas_used,
        "review it again": reviewer.send("AlgorithmRegistry", "review", code, False, reasons[1]).gas_used,
        "withdraw an algorithm": author.send("AlgorithmRegistry", "withdraw", code).gas_used,
    }


def enforcement(bargain: Bargain) -> dict[str, int]:
    """Fees, bonds and disputes of a task. Nobody who wants none of them pays for them."""
    world, parties = bargain.world, bargain.parties
    bargain.case.propose()
    used = {"open an agreement (fee in coins)": bargain.open().gas_used}
    used |= {
        f"stake {which} bond": bargain.post(actor).gas_used for which, actor in zip(("the first", "another"), parties, strict=False)
    }
    bargain.post(parties[2])
    world.accept(bargain.proposal, bargain.case.grants)
    result = world.result(bargain.proposal)
    used["prove two statements"] = bargain.two_statements(parties[0], result, replace(result, output=bytes(32))).gas_used
    signed = bargain.signed(parties[0], result)
    used["tender a result"] = parties[0].send("Disputes", "tenderResult", bargain.terms[0], parties[0].address, signed).gas_used
    report = (bargain.terms[0], 1, parties[0].address, 2, secrets.token_bytes(32))
    used["tender a report"] = parties[1].send("Disputes", "tenderReport", *report).gas_used
    world.prove(bargain.proposal, result)
    used["measure (3 signatures)"] = bargain.measure([2000, 3000, 5000], result).gas_used
    link = bargain.link(parties[1], parties[2])
    used["prove two digests"] = bargain.two_digests((parties[1], link), (parties[2], replace(link, size=1))).gas_used
    raised = parties[1].send("Disputes", "challenge", *bargain.terms, parties[2].address, 5, bytes(32))
    used["challenge"] = raised.gas_used
    dispute = raised.event("DisputeRaised")["dispute"]
    used["judge"] = bargain.rule(world.regulator, dispute, True).gas_used
    used["judge and decide"] = bargain.rule(world.relayer, dispute, True).gas_used
    bargain.closed()
    used["settle"] = bargain.settle().gas_used
    used["claim"] = parties[1].send("Settlement", "claim", *bargain.terms, parties[1].address).gas_used
    return used


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
        "narrow grant": owner.send("GrantLedger", "narrow", grant.as_tuple(), (grant.id(), 1, 0, grant.not_after), b"").gas_used,
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
    used["prove (in ranges, 3 parties of 16 digits)"] = in_ranges(case)
    used["prove (vector-sum-verified, 3 parties, 1 chunk)"] = opened_sum(case)
    used |= attestation(case)
    used |= quorum(case)
    used |= circuits(case)
    used |= reviews(case)
    used |= enforcement(Bargain.of(Case(world, case.grants, world.proposal(case.grants))))
    task = sum(value for name, value in used.items() if name.startswith(("propose", "accept", "prove (sum")))
    used["whole three-party task"] = task
    if os.environ.get("UPDATE_GAS"):
        SNAPSHOT.write_text(json.dumps(used, indent=1) + "\n")
    assert task <= TASK_LIMIT
    singles = {k: v for k, v in used.items() if not k.startswith(("whole", "propose", "accept", "prove (", KEY))}
    assert max(singles.values()) <= RECORD_LIMIT, singles
    expected = json.loads(SNAPSHOT.read_text())
    grown = {name: (expected.get(name), value) for name, value in used.items() if value > expected[name] * (1 + TOLERANCE)}
    assert not grown, "gas grew; if it must, run with UPDATE_GAS=1 and explain it in the commit"
