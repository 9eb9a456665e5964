"""The properties of contracts/properties.md that no other file shows, and that every property names tests that exist."""

from __future__ import annotations

import ast
import re
import secrets
from dataclasses import replace
from pathlib import Path

import pytest
from contracts.conftest import KIND, Case, World, refused
from contracts.test_proof_registry import Sum
from tallystick.protocol import typed

PROPERTIES = Path(__file__).parents[2] / "contracts" / "properties.md"
TESTS = Path(__file__).parent
NOBODY = "0x" + "00" * 20
LEDGER, GRANTS, PROOFS = "TaskLedger", "GrantLedger", "ProofRegistry"


def properties() -> dict[int, tuple[str, list[str]]]:
    """Number, sentence and named tests of each property."""
    parts = re.split(r"^\*\*P(\d+)\.\s", PROPERTIES.read_text(), flags=re.MULTILINE)[1:]
    found = {}
    for number, text in zip(parts[::2], parts[1::2], strict=True):
        assert int(number) not in found, f"P{number} is there twice"
        found[int(number)] = text.partition("**")[0], re.findall(r"`(test_\w+\.py::\w+)`", text)
    return found


def existing() -> set[str]:
    return {
        f"{path.name}::{node.name}"
        for path in TESTS.glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_property_names_tests_that_exist() -> None:
    found = properties()
    assert list(found) == list(range(1, len(found) + 1)), "properties are numbered without gaps"
    tests = existing()
    for number, (sentence, names) in found.items():
        assert sentence.strip(), f"P{number} says nothing"
        assert names, f"P{number} names no test"
        assert set(names) <= tests, f"P{number}: {set(names) - tests}"


def test_every_test_of_this_file_is_named_by_a_property() -> None:
    named = {name for _, names in properties().values() for name in names}
    here = {name for name in existing() if name.startswith("test_properties.py::")}
    assert here - named == {
        "test_properties.py::test_every_property_names_tests_that_exist",
        "test_properties.py::test_every_test_of_this_file_is_named_by_a_property",
    }


def fail(case: Case, attempt: int = 1) -> None:
    case.world.parties[0].send(LEDGER, "fail", case.proposal.as_tuple(), attempt, NOBODY, 1, bytes(32))


# -- the life of a task


def test_a_failed_task_ends_at_its_deadline(case: Case) -> None:
    case.start()
    fail(case)
    case.world.travel(2 * 3600)
    with refused("TooLate"):
        case.world.accept(case.proposal, case.grants, attempt=2)
    with refused("WrongState"):
        case.world.stranger.send(LEDGER, "expire", case.proposal.as_tuple())
    assert case.world.state(case.proposal) == "Failed"


@pytest.mark.skipif(KIND != "anvil", reason="Ganache has no way to fix the next block's time")
def test_deadlines_are_exact_to_the_second(case: Case) -> None:
    world, proposal = case.world, case.proposal
    case.propose()
    world.chain.request("evm_setNextBlockTimestamp", proposal.accept_by)
    world.accept(proposal, case.grants)  # the last second to accept
    run_by = world.call(LEDGER, "taskAt", proposal.id())["runBy"]
    assert run_by == proposal.accept_by + proposal.run_seconds
    world.chain.request("evm_setNextBlockTimestamp", run_by)
    world.prove(proposal, world.result(proposal))  # the last second to prove
    assert world.state(proposal) == "Proved"


def test_what_has_ended_stays_ended(case: Case) -> None:
    world, snapshots = case.world, []
    ends = {
        "Proved": lambda: (world.accept(case.proposal, case.grants), world.prove(case.proposal, world.result(case.proposal))),
        "Cancelled": lambda: world.requester.send(LEDGER, "cancel", case.proposal.as_tuple()),
        "Expired": lambda: (world.travel(7200), world.stranger.send(LEDGER, "expire", case.proposal.as_tuple())),
    }
    case.propose()
    for state, end in ends.items():
        snapshots.append(world.chain.request("evm_snapshot"))
        end()
        assert world.state(case.proposal) == state
        call = case.proposal.as_tuple()
        for attempt in (
            lambda: world.accept(case.proposal, case.grants),
            lambda: world.accept(case.proposal, case.grants, attempt=2),
            lambda call=call: world.requester.send(LEDGER, "cancel", call),
            lambda call=call: world.stranger.send(LEDGER, "expire", call),
            lambda: fail(case),
            lambda: world.prove(case.proposal, world.result(case.proposal)),
        ):
            with refused("WrongState"):
                attempt()
        with refused("TaskExists"):
            case.propose()
        assert world.state(case.proposal) == state
        world.chain.request("evm_revert", snapshots.pop())


def test_acceptances_of_a_failed_attempt_are_void(case: Case) -> None:
    case.start()
    fail(case)
    case.world.accept(case.proposal, case.grants, attempt=2, indices=[0])
    task = case.world.call(LEDGER, "taskAt", case.proposal.id())
    assert (task["attempt"], task["accepted"], case.world.state(case.proposal)) == (2, 0b001, "Proposed")


def test_an_acceptance_without_signatures_is_refused(case: Case) -> None:
    case.start()
    fail(case)
    terms = case.world.terms(case.proposal, case.grants)
    for attempt in (1, 2, 3):
        with refused("LengthMismatch"):
            case.world.stranger.send(LEDGER, "accept", case.proposal.as_tuple(), attempt, [], [], terms)
    assert case.world.state(case.proposal) == "Failed"
    case.world.accept(case.proposal, case.grants, attempt=2)
    assert case.world.state(case.proposal) == "Running"


# -- grants


def test_one_grant_cannot_stand_for_two_parties(case: Case) -> None:
    world, (first, second, third) = case.world, case.proposal.parties
    shared = (first, replace(second, grant=first.grant), third)
    proposal = world.proposal([], parties=shared)
    world.requester.send(LEDGER, "propose", proposal.as_tuple())
    with refused("WrongDataset"):
        world.accept(proposal, case.grants)
    assert [world.call(GRANTS, "accountOf", grant.id())["used"] for grant in case.grants] == [0, 0, 0]


def test_a_grant_revoked_after_acceptances_still_stops_the_start(case: Case) -> None:
    case.propose()
    case.world.accept(case.proposal, case.grants, indices=[0, 1])
    grant = next(grant for grant in case.grants if grant.id() == case.proposal.parties[0].grant)
    case.world.actor(case.proposal.parties[0].account).send(GRANTS, "revoke", grant.as_tuple())
    with refused("GrantIsRevoked"):
        case.world.accept(case.proposal, case.grants, indices=[2])
    assert case.world.state(case.proposal) == "Proposed"


def test_a_suspended_owner_revokes(case: Case) -> None:
    owner = case.world.actor(case.proposal.parties[0].account)
    grant = next(grant for grant in case.grants if grant.id() == case.proposal.parties[0].grant)
    case.world.governor.send("ParticipantRegistry", "suspend", owner.address, bytes(32))
    owner.send(GRANTS, "revoke", grant.as_tuple())
    assert case.world.call(GRANTS, "accountOf", grant.id())["revoked"]


# -- signatures


def test_an_acceptance_is_good_for_its_task_alone(case: Case) -> None:
    world, twin = case.world, case.world.proposal(case.grants)
    case.propose()
    world.requester.send(LEDGER, "propose", twin.as_tuple())
    signatures = [world.acceptance(world.actor(party.account), case.proposal) for party in case.proposal.parties]
    with refused("BadAcceptance"):
        world.relayer.send(LEDGER, "accept", twin.as_tuple(), 1, [0, 1, 2], signatures, world.terms(twin, case.grants))


def test_a_results_signatures_are_good_for_their_task_and_attempt_alone(case: Case) -> None:
    world = case.world
    case.start()
    twin = world.proposal(case.grants)
    world.requester.send(LEDGER, "propose", twin.as_tuple())
    world.accept(twin, case.grants)
    result = world.result(case.proposal)
    signatures = world.signatures(case.proposal, result)
    with refused("BadSignature"):
        world.prove(twin, typed.Result(**{**vars(result), "task": twin.id()}), signatures=signatures)
    with refused("WrongTask"):
        world.prove(twin, result, signatures=signatures)
    fail(case)
    world.accept(case.proposal, case.grants, attempt=2)
    with refused("WrongAttempt"):
        world.prove(case.proposal, result, signatures=signatures)
    with refused("BadSignature"):
        world.prove(case.proposal, typed.Result(**{**vars(result), "attempt": 2}), signatures=signatures)


# -- who may do what


def test_the_office_passes_to_who_takes_it(world: World) -> None:
    registry = "ParticipantRegistry"
    with refused("OwnableUnauthorizedAccount"):
        world.stranger.send(registry, "transferOwnership", world.stranger.address)
    world.governor.send(registry, "transferOwnership", world.regulator.address)
    assert world.call(registry, "governor") == world.governor.address
    with refused("NotAllowed"):
        world.regulator.send(registry, "suspend", world.requester.address, bytes(32))
    with refused("OwnableUnauthorizedAccount"):
        world.stranger.send(registry, "acceptOwnership")
    world.regulator.send(registry, "acceptOwnership")
    assert world.call(registry, "governor") == world.regulator.address
    with refused("NotAllowed"):
        world.governor.send(registry, "suspend", world.requester.address, bytes(32))
    world.regulator.send(registry, "suspend", world.requester.address, bytes(32))


# -- proofs


def test_proof_bytes_that_are_none_are_refused(case: Case) -> None:
    proof = Sum(case.world, case.proposal)
    proof.start(case)
    result = proof.result(proof.inputs, proof.sum)
    for garbage in (b"", b"\0", bytes(32), secrets.token_bytes(96), b"\xff" * 1000):
        with refused("unknown"):  # the decoder reverts before any rule can say why
            case.world.prove(proof.proposal, result, garbage)
    assert case.world.state(proof.proposal) == "Running"
