from __future__ import annotations

import secrets
from dataclasses import replace

import pytest
from contracts.conftest import ALL_ROLES, DAY, Case, World, refused
from tallystick.protocol import typed
from tallystick.protocol.identity import ROLES
from tallystick.protocol.task import Party, task_id

LEDGER = "TaskLedger"


def test_the_contract_and_the_sdk_compute_the_same_ids(case: Case) -> None:
    world, proposal = case.world, case.proposal
    assert world.call(LEDGER, "taskId", proposal.as_tuple()) == task_id(proposal)
    expected = typed.acceptance_digest(world.domain(LEDGER), proposal.id(), proposal.spec, 1)
    assert world.call(LEDGER, "acceptanceDigest", proposal.id(), proposal.spec, 1) == expected


def test_a_task_runs_from_proposal_to_proof(case: Case) -> None:
    world = case.world
    case.propose()
    assert world.state(case.proposal) == "Proposed"
    receipt = world.accept(case.proposal, case.grants)
    assert receipt.event("Started")["runBy"] > world.now
    assert world.state(case.proposal) == "Running"
    world.prove(case.proposal, world.result(case.proposal))
    assert world.state(case.proposal) == "Proved"


def test_acceptances_arrive_one_by_one_in_any_order(case: Case) -> None:
    case.propose()
    for index in (2, 0):
        case.world.accept(case.proposal, case.grants, indices=[index])
        assert case.world.state(case.proposal) == "Proposed"
    case.world.accept(case.proposal, case.grants, indices=[1])
    assert case.world.state(case.proposal) == "Running"


def test_only_the_requester_itself_proposes(case: Case) -> None:
    with refused("NotTheRequester"):
        case.world.stranger.send(LEDGER, "propose", case.proposal.as_tuple())
    foreign = replace(case.proposal, requester=case.world.stranger.address)
    with refused("NotActive"):
        case.world.stranger.send(LEDGER, "propose", foreign.as_tuple())


def test_a_task_is_proposed_once(case: Case) -> None:
    case.propose()
    with refused("TaskExists"):
        case.propose()


def test_deadlines_and_attempts_are_bounded(case: Case) -> None:
    now = case.world.chain.now()
    bad = [
        ("BadDeadlines", {"accept_by": now - 1}),
        ("BadDeadlines", {"accept_by": now + 31 * DAY}),
        ("BadDeadlines", {"run_seconds": 0}),
        ("BadDeadlines", {"run_seconds": 31 * DAY}),
        ("BadAttempts", {"attempts": 0}),
        ("BadAttempts", {"attempts": 17}),
        ("UnknownProofKind", {"proof_kind": b"none"}),
    ]
    for error, change in bad:
        with refused(error):
            case.world.requester.send(LEDGER, "propose", replace(case.proposal, **change).as_tuple())


def test_parties_ascend_are_active_and_own_what_they_bring(case: Case) -> None:
    world, parties = case.world, case.proposal.parties
    outsider = Party(world.stranger.address)
    swapped = (replace(parties[0], dataset=parties[1].dataset), *parties[1:])
    bad = [
        ("BadParties", ()),
        ("BadParties", parties[::-1]),
        ("BadParties", (parties[0], *parties)),
        ("BadParties", swapped),
        ("BadParties", (Party(parties[0].account, grant=parties[0].grant),)),
        ("BadParties", (Party(parties[0].account, uses=1),)),
        ("BadParties", (Party(parties[0].account, epsilon_micros=1),)),
        ("BadParties", tuple(Party(f"0x{number:040x}") for number in range(1, 18))),
        ("BadParties", (replace(parties[0], uses=0),)),
        ("NotActive", (outsider,)),
        ("UnknownDataset", (replace(parties[0], dataset=secrets.token_bytes(32)),)),
    ]
    for error, change in bad:
        with refused(error):
            world.requester.send(LEDGER, "propose", replace(case.proposal, parties=tuple(change)).as_tuple())


def test_acceptance_needs_the_partys_own_signature(case: Case) -> None:
    case.propose()
    world, proposal = case.world, case.proposal
    terms = world.terms(proposal, case.grants)
    wrong = world.acceptance(world.parties[1], proposal)
    with refused("BadAcceptance"):
        world.relayer.send(LEDGER, "accept", proposal.as_tuple(), 1, [0], [wrong], terms)
    right = bytearray(world.acceptance(world.parties[0], proposal))
    right[7] ^= 1
    with refused("BadAcceptance"):
        world.relayer.send(LEDGER, "accept", proposal.as_tuple(), 1, [0], [bytes(right)], terms)


def test_acceptance_for_another_chain_contract_or_attempt_does_not_count(case: Case) -> None:
    case.propose()
    world, proposal = case.world, case.proposal
    here = world.domain(LEDGER)
    domains = [replace(here, chain_id=here.chain_id + 1), replace(here, address=world.stranger.address)]
    signatures = [world.acceptance(world.parties[0], proposal, domain=domain) for domain in domains]
    signatures.append(world.acceptance(world.parties[0], proposal, attempt=2))
    for signature in signatures:
        with refused("BadAcceptance"):
            world.relayer.send(LEDGER, "accept", proposal.as_tuple(), 1, [0], [signature], world.terms(proposal, case.grants))


def test_who_brings_data_is_a_provider_of_data_when_it_is_proposed(case: Case) -> None:
    """One that was, and whose new certificate says otherwise, still owns the dataset that it published."""
    world, owner = case.world, case.world.parties[0]
    roles = ALL_ROLES - ROLES["data-provider"]
    world.enrol(owner, world.enrolment(owner, roles, not_before=world.now - DAY + 1))
    with refused("RoleMissing"):
        case.propose()


def test_acceptance_is_given_once_in_time_and_in_shape(case: Case) -> None:
    case.propose()
    world, proposal = case.world, case.proposal
    world.accept(proposal, case.grants, indices=[0])
    with refused("AlreadyAccepted"):
        world.accept(proposal, case.grants, indices=[0])
    with refused("WrongAttempt"):
        world.accept(proposal, case.grants, indices=[1], attempt=2)
    with refused("LengthMismatch"):
        world.relayer.send(LEDGER, "accept", proposal.as_tuple(), 1, [1], [], world.terms(proposal, case.grants))
    signature = world.acceptance(world.parties[1], proposal)
    terms = world.terms(proposal, case.grants)
    for wrong in (terms[:-1], [*terms, bytes(32)]):
        with refused("LengthMismatch"):
            world.relayer.send(LEDGER, "accept", proposal.as_tuple(), 1, [1], [signature], wrong)
    with refused("BadParties"):
        world.relayer.send(LEDGER, "accept", proposal.as_tuple(), 1, [9], [signature], world.terms(proposal, case.grants))
    world.travel(2 * 3600)
    with refused("TooLate"):
        world.accept(proposal, case.grants, indices=[1])


def test_a_suspended_party_cannot_accept(case: Case) -> None:
    case.propose()
    case.world.governor.send("ParticipantRegistry", "suspend", case.world.parties[0].address, bytes(32))
    with refused("NotActive"):
        case.world.accept(case.proposal, case.grants)


def test_a_withdrawn_dataset_stops_the_start(case: Case) -> None:
    case.propose()
    owner = case.world.actor(case.proposal.parties[0].account)
    owner.send("DatasetRegistry", "withdraw", case.proposal.parties[0].dataset)
    with refused("DatasetWithdrawn"):
        case.world.accept(case.proposal, case.grants)


def test_only_the_requester_cancels_and_only_before_the_start(case: Case) -> None:
    case.propose()
    with refused("NotTheRequester"):
        case.world.stranger.send(LEDGER, "cancel", case.proposal.as_tuple())
    case.world.requester.send(LEDGER, "cancel", case.proposal.as_tuple())
    assert case.world.state(case.proposal) == "Cancelled"
    with refused("WrongState"):
        case.world.accept(case.proposal, case.grants)
    with refused("WrongState"):
        case.world.requester.send(LEDGER, "cancel", case.proposal.as_tuple())


def test_a_running_task_cannot_be_cancelled(case: Case) -> None:
    case.start()
    with refused("WrongState"):
        case.world.requester.send(LEDGER, "cancel", case.proposal.as_tuple())


def test_only_a_party_reports_a_failure_and_names_a_party(case: Case) -> None:
    case.start()
    world, proposal = case.world, case.proposal
    nobody = "0x" + "00" * 20
    for who in (world.stranger, world.requester):
        with refused("NotAParty"):
            who.send(LEDGER, "fail", proposal.as_tuple(), 1, nobody, 7, bytes(32))
    with refused("NotAParty"):
        world.parties[0].send(LEDGER, "fail", proposal.as_tuple(), 1, world.stranger.address, 7, bytes(32))
    with refused("WrongAttempt"):
        world.parties[0].send(LEDGER, "fail", proposal.as_tuple(), 2, nobody, 7, bytes(32))
    evidence = secrets.token_bytes(32)
    accused = world.parties[1].address
    failed = world.parties[0].send(LEDGER, "fail", proposal.as_tuple(), 1, accused, 7, evidence).event("Failed")
    assert (failed["accused"], failed["reason"], failed["evidence"]) == (accused, 7, evidence)
    assert world.state(proposal) == "Failed"


def test_a_failed_attempt_can_be_followed_until_attempts_end(case: Case) -> None:
    world, proposal = case.world, case.proposal
    case.start()
    for attempt in (1, 2):
        world.parties[0].send(LEDGER, "fail", proposal.as_tuple(), attempt, "0x" + "00" * 20, 1, bytes(32))
        if attempt == 1:
            world.accept(proposal, case.grants, attempt=2)
            assert world.call("GrantLedger", "accountOf", case.grants[0].id())["used"] == 2
    with refused("WrongState"):
        world.accept(proposal, case.grants, attempt=3)
    with refused("WrongState"):
        world.prove(proposal, world.result(proposal, attempt=2))


def test_anyone_expires_a_proposal_and_the_late_are_on_record(case: Case) -> None:
    case.propose()
    world, proposal = case.world, case.proposal
    world.accept(proposal, case.grants, indices=[1])
    with refused("TooEarly"):
        world.stranger.send(LEDGER, "expire", proposal.as_tuple())
    world.travel(2 * 3600)
    event = world.stranger.send(LEDGER, "expire", proposal.as_tuple()).event("Expired")
    assert event["late"] == 0b101
    assert world.state(proposal) == "Expired"
    with refused("WrongState"):
        world.stranger.send(LEDGER, "expire", proposal.as_tuple())


def test_anyone_expires_a_run_that_ended_nowhere(case: Case) -> None:
    case.start()
    world, proposal = case.world, case.proposal
    world.travel(601)
    with refused("TooLate"):
        world.prove(proposal, world.result(proposal))
    event = world.stranger.send(LEDGER, "expire", proposal.as_tuple()).event("Expired")
    assert (event["late"], event["during"]) == (0b111, 2)


def test_only_the_proof_registry_proves(case: Case) -> None:
    case.start()
    for who in (case.world.stranger, case.world.requester, case.world.parties[0], case.world.governor):
        with refused("OnlyProofRegistry"):
            who.send(LEDGER, "prove", case.proposal.id(), 1, case.proposal.proof_kind, bytes(32))


@pytest.mark.parametrize("function", ["cancel", "expire", "fail", "accept"])
def test_a_changed_proposal_is_another_task(case: Case, function: str) -> None:
    case.start()
    other = replace(case.proposal, run_seconds=case.proposal.run_seconds + 1).as_tuple()
    more = {"fail": (1, "0x" + "00" * 20, 1, bytes(32)), "accept": (1, [], [], [bytes(32)] * 3)}.get(function, ())
    with refused("UnknownTask"):
        case.world.requester.send(LEDGER, function, other, *more)


@pytest.mark.parametrize("role", ["result-receiver", "compute"])
def test_a_party_without_data_receives_or_computes_without_a_grant(world: World, role: str) -> None:
    world.enrol(world.newcomer, world.enrolment(world.newcomer, roles=ROLES[role]))
    owner = world.parties[0]
    grant = world.grant(world.publish(owner))
    world.issue(owner, grant)
    proposal = world.proposal([grant], receivers=(world.newcomer,))
    world.requester.send(LEDGER, "propose", proposal.as_tuple())
    world.accept(proposal, [grant])
    assert world.state(proposal) == "Running"


def test_a_party_without_data_has_a_role_for_it(world: World) -> None:
    world.enrol(world.newcomer, world.enrolment(world.newcomer, roles=ROLES["data-provider"] | ROLES["requester"]))
    grant = world.grant(world.publish(world.parties[0]))
    world.issue(world.parties[0], grant)
    with refused("RoleMissing"):
        world.requester.send(LEDGER, "propose", world.proposal([grant], receivers=(world.newcomer,)).as_tuple())
