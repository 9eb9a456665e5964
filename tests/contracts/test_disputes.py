"""Breaches that the contract sees by itself, challenges that arbiters judge, and what both do to fee and bonds."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import pytest
from contracts.bargain import BOND, FEE, RULING, WINDOW, Bargain
from contracts.conftest import Actor, Case, refused
from tallystick.protocol import merkle, typed
from tallystick.protocol.agreement import COIN, Opening, link_digest, opening_digest

STATEMENT = COIN  # in the place of an accused: the statement itself
BREACHES = ["TwoStatements", "TwoDigests", "FalseOpening", "NoAcceptance", "NoReport"]
PENDING, UPHELD = 1, 2


@pytest.fixture
def bargain(case: Case) -> Bargain:
    return Bargain.of(case)


def final(bargain: Bargain) -> list[int]:
    """What everybody gets in the end. Whatever happened, it is all there is."""
    bargain.closed()
    bargain.settle()
    amounts = bargain.payouts()
    assert sum(amounts) == bargain.held()
    return amounts


def outcome(bargain: Bargain, dispute: bytes) -> int:
    return int(bargain.world.call("Disputes", "disputeAt", dispute)["outcome"])


# -- two statements for one attempt


def test_two_statements_cost_share_and_bond(bargain: Bargain) -> None:
    result = bargain.proved()
    other = replace(result, output=secrets.token_bytes(32))
    proved = bargain.two_statements(bargain.parties[0], result, other).event("BreachProved")
    assert (proved["accused"], BREACHES[proved["breach"]]) == (bargain.parties[0].address, "TwoStatements")
    with refused("AlreadyAtFault"):
        bargain.two_statements(bargain.parties[0], other, result)
    # the share goes back to the requester; the bond is divided by three: two parties that stood, and the requester
    part = BOND // 3
    rest = BOND - 2 * part
    assert final(bargain) == [0, 3002 + BOND + part, 2001 + BOND + part, FEE - 5003 + rest, 0]


def test_what_is_no_contradiction_convicts_nobody(bargain: Bargain) -> None:
    result = bargain.proved()
    accused = bargain.parties[0]
    with refused("NoContradiction"):
        bargain.two_statements(accused, result, result)
    with refused("NoContradiction"):  # another attempt is another statement
        bargain.two_statements(accused, result, replace(result, attempt=2))
    with refused("WrongTask"):
        bargain.two_statements(accused, result, replace(result, task=bytes(32)))
    with refused("WrongTask"):
        bargain.two_statements(accused, replace(result, task=bytes(32)), result)
    with refused("NotAParty"):
        bargain.two_statements(bargain.world.stranger, result, replace(result, output=bytes(32)))


@pytest.mark.parametrize("which", [0, 1])
def test_both_statements_must_be_signed_by_the_accused_for_this_registry(bargain: Bargain, which: int) -> None:
    result = bargain.proved()
    accused, other = bargain.parties[:2]
    pair = [result, replace(result, output=bytes(32))]
    signed = [bargain.signed(accused, each) for each in pair]
    elsewhere = replace(bargain.world.domain("ProofRegistry"), chain_id=1)
    for signature in (
        other.signer.sign_digest(typed.result_digest(bargain.world.domain("ProofRegistry"), pair[which])),
        accused.signer.sign_digest(typed.result_digest(elsewhere, pair[which])),
        b"",
    ):
        forged = list(signed)
        forged[which] = (pair[which].as_tuple(), signature)
        with refused("BadSignature"):
            bargain.world.stranger.send("Disputes", "proveTwoStatements", *bargain.terms, accused.address, *forged)


def test_two_statements_of_a_run_that_failed_count_too(bargain: Bargain) -> None:
    bargain.ready()
    bargain.world.accept(bargain.proposal, bargain.case.grants)
    result = bargain.world.result(bargain.proposal)
    bargain.two_statements(bargain.parties[2], result, replace(result, inputs=bytes(32)))
    bargain.parties[0].send("TaskLedger", "fail", bargain.proposal.as_tuple(), 1, bargain.parties[2].address, 5, bytes(32))
    part = BOND // 3
    assert final(bargain) == [BOND + part, BOND + part, 0, FEE + BOND - 2 * part, 0]


def test_evidence_comes_in_time(bargain: Bargain) -> None:
    result = bargain.proved()
    bargain.world.travel(WINDOW + 10)
    with refused("TooLate"):
        bargain.two_statements(bargain.parties[0], result, replace(result, output=bytes(32)))


# -- message digests


def test_two_digests_by_one_end_are_a_breach(bargain: Bargain) -> None:
    bargain.proved()
    one, two, three = bargain.parties
    link = bargain.link(one, two)
    other = replace(link, digest=secrets.token_bytes(32))
    proved = bargain.two_digests((two, link), (two, other)).event("BreachProved")
    assert (proved["accused"], BREACHES[proved["breach"]]) == (two.address, "TwoDigests")
    with refused("NoContradiction"):  # nobody but its ends speaks for a link
        bargain.two_digests((three, link), (three, other))
    assert bargain.verdict()["atFault"] == 0b010


def test_ends_that_contradict_one_another_are_on_record_and_either_can_be_challenged(bargain: Bargain) -> None:
    bargain.proved(*bargain.parties[:2])
    one, two, three = bargain.parties
    for attempt in (1, 2):
        link = bargain.link(one, three, attempt=attempt)
        seen = bargain.two_digests((one, link), (three, replace(link, size=1))).event("LinkContradicted")
        assert (seen["from"], seen["to"], seen["attempt"]) == (one.address, three.address, attempt)
    assert bargain.verdict()["atFault"] == bargain.verdict()["pending"] == 0  # one of them is honest
    dispute = bargain.challenge(two, one.address)
    bargain.judged(dispute, True)
    assert bargain.verdict()["atFault"] == 0b001
    with refused("NotBound"):  # it undertook nothing
        bargain.challenge(two, three.address)


def test_digests_of_other_messages_contradict_nothing(bargain: Bargain) -> None:
    bargain.proved()
    one, two, three = bargain.parties
    link = bargain.link(one, two)
    for other in (
        link,
        replace(link, messages=8, digest=bytes(32)),
        replace(link, attempt=2, digest=bytes(32)),
        replace(link, sender=two.address, recipient=one.address, digest=bytes(32)),
        replace(link, recipient=three.address, digest=bytes(32)),
        replace(link, task=bytes(32), digest=bytes(32)),
    ):
        with refused("NoContradiction"):
            bargain.two_digests((one, link), (one, other))
    stranger = replace(link, recipient=bargain.world.stranger.address)
    with refused("NotAParty"):
        bargain.two_digests((one, stranger), (bargain.world.stranger, replace(stranger, digest=bytes(32))))
    elsewhere = replace(link, task=bytes(32))
    with refused("WrongTask"):
        bargain.two_digests((one, elsewhere), (one, replace(elsewhere, digest=bytes(32))))


@pytest.mark.parametrize("which", [0, 1])
def test_digests_are_signed_by_their_signers(bargain: Bargain, which: int) -> None:
    bargain.proved()
    one, two, _ = bargain.parties
    link = bargain.link(one, two)
    signed = [bargain.signed_link(one, link), bargain.signed_link(one, replace(link, digest=bytes(32)))]
    signed[which] = (*signed[which][:2], bargain.signed_link(two, link)[2])
    with refused("BadSignature"):
        bargain.world.stranger.send("Disputes", "proveTwoDigests", *bargain.terms, *signed)


def test_the_contract_and_the_sdk_compute_the_same_digests(bargain: Bargain) -> None:
    world = bargain.world
    link = bargain.link(*bargain.parties[:2])
    assert world.call("Disputes", "linkDigest", link.as_tuple()) == link_digest(world.domain("Disputes"), link)
    for path in ((), (secrets.token_bytes(32),) * 3):
        opening = Opening(*(secrets.token_bytes(32) for _ in range(4)), 2**40, 2**41, path)
        assert world.call("Disputes", "openingDigest", opening.as_tuple()) == opening_digest(world.domain("Disputes"), opening)
    standard = Bargain.without(bargain.case).agreement
    found = world.call("Disputes", "standardAgreement", bargain.proposal.as_tuple())
    assert tuple(found.values()) == standard.as_tuple()
    assert world.call("Settlement", "agreementId", standard.as_tuple()) == standard.id()


# -- openings


def opening_of(bargain: Bargain, party: int, rows: list[bytes], index: int) -> Opening:
    path = merkle.InclusionProofs(rows).path(index)
    dataset = bargain.proposal.parties[party].dataset
    root, leaf = merkle.root(rows), merkle.leaf_hash(rows[index])
    return Opening(bargain.proposal.id(), dataset, root, leaf, index, len(rows), tuple(path))


def prove_opening(bargain: Bargain, signer: Actor, opening: Opening) -> Any:
    signature = signer.signer.sign_digest(opening_digest(bargain.world.domain("Disputes"), opening))
    return bargain.world.stranger.send("Disputes", "proveFalseOpening", *bargain.terms, opening.as_tuple(), signature)


def test_true_openings_convict_nobody_whatever_the_shape_of_the_tree(bargain: Bargain) -> None:
    bargain.case.propose()
    bargain.open()
    owner = bargain.parties[1]
    for size in (1, 2, 3, 5, 8, 13):
        rows = [secrets.token_bytes(8) for _ in range(size)]
        for index in {0, size // 2, size - 1}:
            with refused("OpeningHolds"):
                prove_opening(bargain, owner, opening_of(bargain, 1, rows, index))


def wrong_openings(true: Opening) -> dict[str, Opening]:
    return {
        "another leaf": replace(true, leaf=secrets.token_bytes(32)),
        "another place": replace(true, index=true.index ^ 1),
        "a place beyond the end": replace(true, index=true.size),
        "another size": replace(true, size=true.size + 8),
        "a path that is too long": replace(true, path=(*true.path, bytes(32))),
        "a path that is too short": replace(true, path=true.path[:-1]),
        "another commitment": replace(true, rows=secrets.token_bytes(32)),
        "no rows": replace(true, size=0, index=0),
        "a path that goes on above the root": replace(
            true, path=(*true.path, bytes(32)), rows=merkle.node_hash(bytes(32), true.rows)
        ),
    }


@pytest.mark.parametrize("how", sorted(wrong_openings(Opening(b"", b"", b"", b"", 0, 0, ()))))
def test_a_false_opening_is_a_breach(bargain: Bargain, how: str) -> None:
    bargain.case.propose()
    bargain.open()
    true = opening_of(bargain, 1, [secrets.token_bytes(8) for _ in range(11)], 4)
    proved = prove_opening(bargain, bargain.parties[1], wrong_openings(true)[how]).event("BreachProved")
    assert (proved["accused"], BREACHES[proved["breach"]]) == (bargain.parties[1].address, "FalseOpening")


def test_an_opening_counts_when_its_owner_signed_it_for_this_task(bargain: Bargain) -> None:
    bargain.case.propose()
    bargain.open()
    false = replace(opening_of(bargain, 1, [b"a", b"b"], 0), leaf=bytes(32))
    with refused("BadSignature"):
        prove_opening(bargain, bargain.parties[0], false)
    with refused("WrongTask"):
        prove_opening(bargain, bargain.parties[1], replace(false, task=bytes(32)))
    for dataset in (secrets.token_bytes(32), bytes(32)):
        with refused("NotAParty"):
            prove_opening(bargain, bargain.parties[1], replace(false, dataset=dataset))


# -- deadlines


def test_who_staked_a_bond_and_did_not_accept_loses_it(bargain: Bargain) -> None:
    bargain.ready(*bargain.parties[:2])
    bargain.world.accept(bargain.proposal, bargain.case.grants, indices=[0])
    bargain.world.travel(3700)
    with refused("WrongState"):  # nobody told the ledger
        bargain.lateness()
    bargain.expire()
    events = bargain.lateness().events
    # the third party staked nothing, and promised nothing
    assert [(event["accused"], BREACHES[event["breach"]]) for event in events] == [(bargain.parties[1].address, "NoAcceptance")]
    with refused("NobodyLate"):
        bargain.lateness()
    part = BOND // 2
    assert final(bargain) == [BOND + part, 0, 0, FEE + BOND - part, 0]


def test_who_could_not_accept_for_anothers_fault_shows_its_will(bargain: Bargain) -> None:
    """The first party accepts and revokes its grant, so that the last acceptance fails. It is not the last one's fault."""
    bargain.ready()
    one, two, three = bargain.parties
    world, proposal = bargain.world, bargain.proposal
    world.accept(proposal, bargain.case.grants, indices=[0, 1])
    one.send("GrantLedger", "revoke", bargain.case.grants[0].as_tuple())
    with refused("GrantIsRevoked"):
        world.accept(proposal, bargain.case.grants, indices=[2])
    signature = world.acceptance(three, proposal)
    with refused("BadSignature"):
        world.stranger.send("Disputes", "tenderAcceptance", proposal.as_tuple(), two.address, signature)
    with refused("NotAParty"):
        own = world.acceptance(world.stranger, proposal)
        world.stranger.send("Disputes", "tenderAcceptance", proposal.as_tuple(), world.stranger.address, own)
    world.stranger.send("Disputes", "tenderAcceptance", proposal.as_tuple(), three.address, signature)
    world.travel(3700)
    with refused("TooLate"):
        world.stranger.send("Disputes", "tenderAcceptance", proposal.as_tuple(), two.address, world.acceptance(two, proposal))
    bargain.expire()
    with refused("NobodyLate"):
        bargain.lateness()


def test_a_will_to_accept_is_shown_for_a_first_attempt_that_has_not_started(bargain: Bargain) -> None:
    world, proposal, party = bargain.world, bargain.proposal, bargain.parties[1]

    def tender() -> None:
        world.stranger.send("Disputes", "tenderAcceptance", proposal.as_tuple(), party.address, world.acceptance(party, proposal))

    bargain.ready()
    tender()
    world.accept(proposal, bargain.case.grants)
    with refused("WrongState"):
        tender()
    reporter = bargain.parties[0]
    reporter.send("TaskLedger", "fail", proposal.as_tuple(), 1, party.address, 2, bytes(32))
    with refused("WrongState"):  # failed, and nobody has accepted again
        tender()
    world.accept(proposal, bargain.case.grants, attempt=2, indices=[0])
    with refused("WrongAttempt"):
        tender()


def test_a_requester_that_proposes_too_late_makes_nobody_late(bargain: Bargain) -> None:
    """Bonds are staked before the task is proposed, and the requester proposes when there is no time left to accept."""
    world, proposal = bargain.world, bargain.proposal
    one, two, _ = bargain.parties
    bargain.open()
    bargain.post(one)
    bargain.post(two)
    world.stranger.send("Disputes", "tenderAcceptance", proposal.as_tuple(), one.address, world.acceptance(one, proposal))
    world.travel(3500)
    bargain.case.propose()
    world.travel(200)
    bargain.expire()
    assert [event["accused"] for event in bargain.lateness().events] == [two.address]


def test_a_run_that_ends_in_silence_costs_who_showed_no_result(bargain: Bargain) -> None:
    bargain.ready()
    world, proposal = bargain.world, bargain.proposal
    world.accept(proposal, bargain.case.grants)
    result = world.result(proposal)
    one, two, three = bargain.parties
    world.relayer.send("Disputes", "tenderResult", proposal.as_tuple(), one.address, bargain.signed(one, result))
    for actor, signed, error in (
        (two, bargain.signed(one, result), "BadSignature"),
        (two, bargain.signed(two, replace(result, attempt=2)), "WrongAttempt"),
        (two, bargain.signed(two, replace(result, task=bytes(32))), "WrongTask"),
        (world.stranger, bargain.signed(world.stranger, result), "NotAParty"),
    ):
        with refused(error):
            world.relayer.send("Disputes", "tenderResult", proposal.as_tuple(), actor.address, signed)
    world.travel(700)
    with refused("TooLate"):
        world.relayer.send("Disputes", "tenderResult", proposal.as_tuple(), two.address, bargain.signed(two, result))
    bargain.expire()
    events = bargain.lateness().events
    assert [(e["accused"], BREACHES[e["breach"]]) for e in events] == [(two.address, "NoReport"), (three.address, "NoReport")]
    assert final(bargain) == [BOND + BOND, 0, 0, FEE + BOND, 0]


def test_a_result_shown_for_one_attempt_says_nothing_about_the_next(bargain: Bargain) -> None:
    bargain.ready()
    world, proposal = bargain.world, bargain.proposal
    one, two, three = bargain.parties
    world.accept(proposal, bargain.case.grants)
    for actor in (one, two):
        signed = bargain.signed(actor, world.result(proposal))
        world.relayer.send("Disputes", "tenderResult", proposal.as_tuple(), actor.address, signed)
    three.send("TaskLedger", "fail", proposal.as_tuple(), 1, COIN, 1, bytes(32))
    world.accept(proposal, bargain.case.grants, attempt=2)
    signed = bargain.signed(two, world.result(proposal, attempt=2))
    world.relayer.send("Disputes", "tenderResult", proposal.as_tuple(), two.address, signed)
    world.travel(700)
    bargain.expire()
    bargain.lateness()
    assert bargain.verdict()["atFault"] == 0b101


def test_when_all_lose_their_bonds_the_requester_gets_them(bargain: Bargain) -> None:
    bargain.ready()
    bargain.world.accept(bargain.proposal, bargain.case.grants)
    bargain.world.travel(700)
    bargain.expire()
    bargain.lateness()
    assert final(bargain) == [0, 0, 0, FEE + 3 * BOND, 0]


def test_a_requester_that_lost_its_own_bond_gains_from_nobody(case: Case) -> None:
    owner = case.world.parties[1]
    bargain = Bargain.of(Case(case.world, case.grants, replace(case.proposal, requester=owner.address)))
    bargain.open(by=owner)
    owner.send("TaskLedger", "propose", bargain.proposal.as_tuple())
    for actor in bargain.parties:
        bargain.post(actor)
    case.world.accept(bargain.proposal, case.grants, indices=[0, 2])
    case.world.travel(3700)
    bargain.expire()
    bargain.lateness()
    part = BOND // 3
    assert final(bargain) == [BOND + part, 0, BOND + part, FEE, BOND - 2 * part]
    assert bargain.claim(case.world.governor) == BOND - 2 * part


def test_nobody_owes_an_acceptance_of_a_further_attempt(bargain: Bargain) -> None:
    """All accepted the first, and it failed: who does not accept the second has kept its word."""
    bargain.ready()
    bargain.world.accept(bargain.proposal, bargain.case.grants)
    bargain.parties[0].send("TaskLedger", "fail", bargain.proposal.as_tuple(), 1, COIN, 1, bytes(32))
    bargain.world.accept(bargain.proposal, bargain.case.grants, indices=[0], attempt=2)
    bargain.world.travel(3700)
    bargain.expire()
    with refused("NobodyLate"):
        bargain.lateness()
    assert final(bargain) == [BOND, BOND, BOND, FEE, 0]


def test_a_requester_that_challenges_for_nothing_loses_its_bond_to_the_parties(bargain: Bargain) -> None:
    bargain.proved(*bargain.parties, bargain.world.requester)
    bargain.judged(bargain.challenge(bargain.world.requester, bargain.parties[1].address), False)
    part = BOND // 4  # three parties, and the consortium in the requester's place
    assert final(bargain) == [5003 + BOND + part, 3002 + BOND + part, 2001 + BOND + part, 1, BOND - 3 * part]


def test_nobody_is_late_in_a_task_that_was_proved_cancelled_or_failed(bargain: Bargain) -> None:
    bargain.proved()
    with refused("WrongState"):
        bargain.lateness()
    for how in ("cancelled", "failed"):
        other = Bargain.of(Case(bargain.world, bargain.case.grants, replace(bargain.proposal, salt=secrets.token_bytes(32))))
        other.ready()
        if how == "cancelled":
            other.world.requester.send("TaskLedger", "cancel", other.proposal.as_tuple())
        else:
            other.world.accept(other.proposal, other.case.grants)
            other.parties[0].send("TaskLedger", "fail", other.proposal.as_tuple(), 1, COIN, 1, bytes(32))
        with refused("WrongState"):
            other.lateness()


def test_a_failure_that_is_reported_after_the_run_comes_too_late(bargain: Bargain) -> None:
    bargain.ready()
    bargain.world.accept(bargain.proposal, bargain.case.grants)
    bargain.world.travel(700)
    with refused("TooLate"):
        bargain.parties[0].send("TaskLedger", "fail", bargain.proposal.as_tuple(), 1, COIN, 1, bytes(32))
    bargain.expire()
    assert [event["accused"] for event in bargain.lateness().events] == [party.address for party in bargain.parties]


def test_who_reports_whom_it_waits_for_is_not_late_and_the_silent_one_is(bargain: Bargain) -> None:
    bargain.ready()
    world, proposal = bargain.world, bargain.proposal
    one, two, three = bargain.parties

    def report(by: Actor, attempt: int = 1, accused: str = COIN) -> Any:
        return by.send("Disputes", "tenderReport", proposal.as_tuple(), attempt, accused, 2, secrets.token_bytes(32))

    with refused("WrongState"):
        report(one)
    world.accept(proposal, bargain.case.grants)
    reported = report(one, accused=three.address).event("Reported")
    assert (reported["party"], reported["accused"], reported["reason"]) == (one.address, three.address, 2)
    report(two)
    for by, attempt, accused, error in (
        (three, 2, COIN, "WrongAttempt"),
        (world.stranger, 1, COIN, "NotAParty"),
        (three, 1, world.stranger.address, "NotAParty"),
    ):
        with refused(error):
            report(by, attempt, accused)
    world.travel(700)
    with refused("TooLate"):
        report(three)
    bargain.expire()
    events = bargain.lateness().events
    assert [(e["accused"], BREACHES[e["breach"]]) for e in events] == [(three.address, "NoReport")]
    assert final(bargain)[2] == 0


def test_a_report_leaves_the_run_open_for_who_was_silent(bargain: Bargain) -> None:
    bargain.ready()
    world, proposal = bargain.world, bargain.proposal
    world.accept(proposal, bargain.case.grants)
    bargain.parties[0].send("Disputes", "tenderReport", proposal.as_tuple(), 1, bargain.parties[1].address, 2, bytes(32))
    world.prove(proposal, world.result(proposal))
    assert world.state(proposal) == "Proved"


# -- challenges


def test_a_statement_that_is_voided_pays_nobody(bargain: Bargain) -> None:
    bargain.proved()
    dispute = bargain.challenge(bargain.parties[2], STATEMENT)
    assert dispute == bargain.world.call("Disputes", "disputeId", bargain.proposal.id(), bargain.parties[2].address, STATEMENT)
    assert outcome(bargain, dispute) == PENDING
    bargain.world.travel(WINDOW + 10)
    with refused("DisputePending"):
        bargain.settle()
    bargain.judged(dispute, True)
    assert outcome(bargain, dispute) == UPHELD
    assert final(bargain) == [BOND, BOND, BOND, FEE, 0]
    assert bargain.stage() == "Returned"


def test_a_party_found_at_fault_loses_share_and_bond(bargain: Bargain) -> None:
    bargain.proved()
    dispute = bargain.challenge(bargain.parties[0], bargain.parties[1].address)
    bargain.judged(dispute, True)
    part = BOND // 3
    assert final(bargain) == [5003 + BOND + part, 0, 2001 + BOND + part, FEE - 7004 + BOND - 2 * part, 0]


def test_a_challenge_that_is_dismissed_costs_the_challengers_bond(bargain: Bargain) -> None:
    bargain.proved()
    bargain.judged(bargain.challenge(bargain.parties[0], bargain.parties[1].address), False)
    part = BOND // 3
    assert final(bargain) == [5003, 3002 + BOND + part, 2001 + BOND + part, 1 + BOND - 2 * part, 0]


@pytest.mark.parametrize("upheld", [True, False])
def test_when_the_arbiters_are_silent_the_default_counts(case: Case, upheld: bool) -> None:
    bargain = Bargain.of(case, upheld_by_default=upheld)
    bargain.proved()
    dispute = bargain.challenge(bargain.parties[0], bargain.parties[1].address)
    bargain.rule(bargain.world.regulator, dispute, not upheld)  # one of two is no majority
    with refused("TooEarly"):
        bargain.conclude(dispute)
    bargain.world.travel(RULING + 10)
    with refused("TooLate"):
        bargain.rule(bargain.world.relayer, dispute, not upheld)
    decided = bargain.conclude(dispute).event("DisputeDecided")
    assert (decided["upheld"], decided["byDefault"]) == (upheld, True)
    with refused("DisputeIsDecided"):
        bargain.conclude(dispute)
    amounts = final(bargain)
    # by default a challenger loses nothing
    assert (amounts[0] >= 5003 + BOND, amounts[1] == 0) == (True, upheld)


def test_only_the_arbiters_judge_once_each_and_what_is_decided_stays(bargain: Bargain) -> None:
    bargain.proved()
    dispute = bargain.challenge(bargain.parties[0], bargain.parties[1].address)
    for actor in (bargain.world.stranger, bargain.world.governor, bargain.world.requester, bargain.parties[0]):
        with refused("NotAnArbiter"):
            bargain.rule(actor, dispute, True)
    bargain.rule(bargain.world.regulator, dispute, True)
    with refused("OpinionIsGiven"):
        bargain.rule(bargain.world.regulator, dispute, False)
    bargain.rule(bargain.world.relayer, dispute, False)
    assert outcome(bargain, dispute) == PENDING  # one for, one against: the default decides
    with refused("DisputeUnknown"):
        bargain.rule(bargain.world.regulator, secrets.token_bytes(32), True)
    bargain.closed()
    bargain.conclude(dispute)
    with refused("DisputeIsDecided"):
        bargain.rule(bargain.world.regulator, dispute, True)


def test_only_participants_with_a_bond_challenge_parties_in_time_and_once(bargain: Bargain) -> None:
    bargain.ready(bargain.parties[0])
    with refused("TaskNotEnded"):
        bargain.challenge(bargain.parties[0])
    bargain.world.accept(bargain.proposal, bargain.case.grants)
    bargain.world.prove(bargain.proposal, bargain.world.result(bargain.proposal))
    with refused("NotAParty"):
        bargain.challenge(bargain.world.stranger)
    with refused("NotAParty"):
        bargain.challenge(bargain.parties[0], bargain.world.requester.address)
    for actor in (bargain.parties[1], bargain.world.requester):
        with refused("BondMissing"):
            bargain.challenge(actor)
    dispute = bargain.challenge(bargain.parties[0])
    with refused("DisputeExists"):
        bargain.challenge(bargain.parties[0])
    with refused("WrongTerms"):
        Bargain(bargain.case, replace(bargain.agreement, upheld_by_default=True)).challenge(bargain.parties[0])
    with refused("WrongTerms"):
        Bargain.without(bargain.case).challenge(bargain.parties[0])
    bargain.judged(dispute, True)
    bargain.world.travel(WINDOW + 10)
    with refused("TooLate"):
        bargain.challenge(bargain.parties[0], bargain.parties[1].address)


def test_who_was_only_named_by_a_requester_cannot_be_challenged(bargain: Bargain) -> None:
    """Or else a requester with arbiters of its own choice could have anybody found at fault."""
    made_up = Bargain.without(Case(bargain.world, bargain.case.grants, replace(bargain.proposal, accept_by=bargain.world.now - 1)))
    with refused("NotBound"):  # a proposal that exists nowhere but in the caller's hands
        made_up.challenge(bargain.world.requester, bargain.parties[0].address)
    one, two, three = (actor.address for actor in bargain.parties)
    bargain.ready(bargain.world.requester, bargain.parties[1])
    bargain.world.accept(bargain.proposal, bargain.case.grants, indices=[2])
    bargain.world.requester.send("TaskLedger", "cancel", bargain.proposal.as_tuple())
    for accused in (one, three, STATEMENT):  # that a node accepts a task says nothing about arbiters
        with refused("NotBound"):
            bargain.challenge(bargain.world.requester, accused)
    bargain.challenge(bargain.world.requester, two)


def test_without_an_agreement_who_accepted_is_bound_and_nobody_else(case: Case) -> None:
    bargain = Bargain.without(case)
    case.propose()
    case.world.accept(case.proposal, case.grants, indices=[2])
    case.world.requester.send("TaskLedger", "cancel", case.proposal.as_tuple())
    for accused in (case.world.parties[0].address, STATEMENT):
        with refused("NotBound"):
            bargain.challenge(case.world.requester, accused)
    bargain.challenge(case.world.requester, case.world.parties[2].address)
    again = Case(case.world, case.grants, replace(case.proposal, salt=secrets.token_bytes(32)))
    again.propose()
    for attempt in (1, 2):
        case.world.accept(again.proposal, case.grants, attempt=attempt)
        case.world.parties[0].send("TaskLedger", "fail", again.proposal.as_tuple(), attempt, COIN, 1, bytes(32))
    Bargain.without(again).challenge(case.world.parties[0], case.world.parties[1].address)


def test_a_dispute_is_judged_under_its_own_task(bargain: Bargain) -> None:
    bargain.proved()
    dispute = bargain.challenge(bargain.parties[0])
    other = Bargain.without(Case(bargain.world, bargain.case.grants, replace(bargain.proposal, salt=bytes(32))))
    with refused("DisputeUnknown"):
        other.rule(bargain.world.governor, dispute, True)


@pytest.mark.parametrize("part", ["requester", "party"])
def test_the_governor_does_not_judge_its_own_case(case: Case, part: str) -> None:
    """Who governs may change: the governor of the day of the opinion counts."""
    world = case.world
    case.start()
    world.prove(case.proposal, world.result(case.proposal))
    bargain = Bargain.without(case)
    dispute = bargain.challenge(bargain.parties[0], bargain.parties[1].address)
    heir = world.requester if part == "requester" else bargain.parties[2]
    world.governor.send("ParticipantRegistry", "transferOwnership", heir.address)
    heir.send("ParticipantRegistry", "acceptOwnership")
    for actor in (heir, world.governor):
        with refused("NotAnArbiter"):
            bargain.rule(actor, dispute, True)
    bargain.closed()
    decided = bargain.conclude(dispute).event("DisputeDecided")
    assert (decided["upheld"], decided["byDefault"]) == (False, True)


def test_a_task_without_an_agreement_is_challenged_for_the_record(case: Case) -> None:
    case.start()
    case.world.prove(case.proposal, case.world.result(case.proposal))
    bargain = Bargain.without(case)
    dispute = bargain.challenge(bargain.parties[0], bargain.parties[1].address)
    with refused("NotAnArbiter"):
        bargain.rule(case.world.regulator, dispute, True)
    decided = bargain.rule(case.world.governor, dispute, True).event("DisputeDecided")
    assert (decided["accused"], decided["upheld"], decided["byDefault"]) == (bargain.parties[1].address, True, False)
    with refused("AgreementUnknown"):
        bargain.settle()
    with refused("DisputeIsDecided"):
        bargain.rule(case.world.governor, dispute, False)
