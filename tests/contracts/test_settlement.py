"""Fees and bonds: who may deposit, who gets what, and that every coin has a way out."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import pytest
from contracts.bargain import BOND, FEE, WINDOW, Bargain, fresh_account
from contracts.conftest import DAY, Actor, Case, refused
from contracts.foreign import call_data, create, creation_code, tell
from tallystick.protocol.agreement import COIN

MANNERS = ["Honest", "TakesFee", "ReturnsFalse", "CallsBack"]
NOBODY = "0x" + "00" * 20


@pytest.fixture
def bargain(case: Case) -> Bargain:
    return Bargain.of(case)


def balance(bargain: Bargain, account: str) -> int:
    return int(bargain.world.chain.request("eth_getBalance", account, "latest"), 16)


# -- the agreement


def test_the_contract_and_the_sdk_compute_the_same_agreement_id(bargain: Bargain) -> None:
    assert bargain.world.call("Settlement", "agreementId", bargain.agreement.as_tuple()) == bargain.agreement.id()


def test_the_requester_opens_before_or_after_proposing_and_once(bargain: Bargain) -> None:
    bargain.open()
    assert (bargain.stage(), bargain.held()) == ("Open", FEE)
    bargain.case.propose()
    with refused("AgreementExists"):
        bargain.open()
    other = Bargain(bargain.case, replace(bargain.agreement, fee=1))
    with refused("AgreementExists"):
        other.open()
    assert bargain.held() == FEE


def test_nobody_else_opens_and_not_for_another_task(bargain: Bargain) -> None:
    for actor in (bargain.world.stranger, bargain.parties[0]):
        with refused("NotTheRequester"):
            bargain.open(by=actor)
    with refused("WrongTask"):
        Bargain(bargain.case, replace(bargain.agreement, task=bytes(32))).open()


def test_an_agreement_comes_before_the_first_acceptance(bargain: Bargain) -> None:
    bargain.case.propose()
    bargain.world.accept(bargain.proposal, bargain.case.grants, indices=[1])
    with refused("TaskUnderWay"):
        bargain.open()
    bargain.world.accept(bargain.proposal, bargain.case.grants, indices=[0, 2])
    with refused("TaskUnderWay"):
        bargain.open()


def test_an_agreement_comes_before_the_deadline_and_not_after_the_end(bargain: Bargain) -> None:
    bargain.case.propose()
    bargain.world.requester.send("TaskLedger", "cancel", bargain.proposal.as_tuple())
    with refused("TaskUnderWay"):
        bargain.open()
    late = Bargain.of(Case(bargain.world, bargain.case.grants, replace(bargain.proposal, salt=secrets.token_bytes(32))))
    late.world.travel(3700)
    with refused("TaskUnderWay"):
        late.open()


def test_the_fee_is_paid_exactly(bargain: Bargain) -> None:
    for value in (0, FEE - 1, FEE + 1):
        with refused("WrongValue"):
            bargain.open(value=value)
    assert bargain.held() == 0


def test_terms_that_are_none_are_refused(bargain: Bargain) -> None:
    one, other = bargain.agreement.arbiters
    many = sorted((fresh_account() for _ in range(8)), key=lambda each: int(each, 16))
    shares: list[Any] = [[5000, 5000], [5000, 3000, 2000, 0], [5000, 3000, 1999], [5000, 3000, 2001], []]
    arbiters: list[Any] = [[other, one], [one, one], [NOBODY, one], many]
    arbiters += [[bargain.parties[1].address], [bargain.world.requester.address]]
    wrong = {"BadShares": [(8, each) for each in shares], "BadArbiters": [(9, each) for each in arbiters]}
    wrong["BadPeriods"] = [(member, seconds) for member in (4, 5) for seconds in (0, 30 * DAY + 1)]
    for error, changes in wrong.items():
        for member, value in changes:
            terms = list(bargain.agreement.as_tuple())
            terms[member] = value
            with refused(error):
                bargain.world.requester.send("Settlement", "open", bargain.proposal.as_tuple(), tuple(terms), value=FEE)
    parties = bargain.proposal.parties
    for some, split in (
        ((), {"shares": (), "price": 1, "measured": False}),
        (parties * 6, {"shares": (588,) * 17 + (4,)}),
    ):  # none, and 18
        proposal = replace(bargain.proposal, parties=some)
        terms = replace(bargain.agreement, task=proposal.id(), **split).as_tuple()
        with refused("BadShares"):
            bargain.world.requester.send("Settlement", "open", proposal.as_tuple(), terms, value=FEE)


def test_an_agreement_far_ahead_locks_nothing(bargain: Bargain) -> None:
    far = replace(bargain.proposal, accept_by=bargain.world.chain.now() + 31 * DAY)
    with refused("BadPeriods"):
        Bargain.of(Case(bargain.world, bargain.case.grants, far)).open()


# -- bonds


def test_bonds_are_staked_once_by_participants_before_the_start(bargain: Bargain) -> None:
    with refused("AgreementUnknown"):
        bargain.post(bargain.parties[0])
    bargain.open()
    bargain.post(bargain.parties[0])  # nodes accept as soon as a task is proposed: there is time before
    bargain.case.propose()
    bargain.post(bargain.world.requester)
    assert bargain.held() == FEE + 2 * BOND
    with refused("BondIsPosted"):
        bargain.post(bargain.parties[0])
    with refused("NotAParty"):
        bargain.post(bargain.world.stranger)
    with refused("WrongValue"):
        bargain.post(bargain.parties[1], value=BOND - 1)
    bargain.world.accept(bargain.proposal, bargain.case.grants)
    with refused("TaskUnderWay"):
        bargain.post(bargain.parties[1])


def test_where_no_bond_is_asked_who_undertakes_pays_nothing_and_who_does_not_is_paid(case: Case) -> None:
    bargain = Bargain.of(case, bond=0)
    case.propose()
    bargain.open()
    with refused("WrongValue"):
        bargain.post(bargain.parties[0], value=1)
    assert bargain.post(bargain.parties[0]).event("BondPosted")["bond"] == 0
    with refused("BondIsPosted"):
        bargain.post(bargain.parties[0])
    with refused("AgreementUnknown"):
        Bargain(case, replace(bargain.agreement, bond=BOND)).post(bargain.parties[1])
    case.world.accept(bargain.proposal, case.grants)
    case.world.prove(bargain.proposal, case.world.result(bargain.proposal))
    bargain.closed()
    bargain.settle()
    assert bargain.payouts() == [5003, 3002, 2001, 1, 0]


def test_no_bond_after_the_time_to_accept(bargain: Bargain) -> None:
    bargain.case.propose()
    bargain.open()
    bargain.world.travel(3700)
    with refused("TaskUnderWay"):
        bargain.post(bargain.parties[0])


# -- settlement


def test_a_proved_task_is_paid_by_shares_after_the_window(bargain: Bargain) -> None:
    bargain.proved()
    with refused("TooEarly"):
        bargain.settle()
    bargain.world.travel(WINDOW - 60)
    with refused("TooEarly"):
        bargain.settle()
    bargain.world.travel(120)
    settled = bargain.settle().event("TaskSettled")
    expected = [5003 + BOND, 3002 + BOND, 2001 + BOND, 1, 0]  # the dust goes back to the requester
    assert (settled["paid"], settled["amounts"], bargain.payouts()) == (True, expected, expected)
    to = fresh_account()
    assert [bargain.claim(actor, to) for actor in (*bargain.parties, bargain.world.requester)] == expected[:4]
    assert (balance(bargain, to), bargain.held()) == (FEE + 3 * BOND, 0)


def test_nothing_is_claimed_twice_or_by_others_or_before_settlement(bargain: Bargain) -> None:
    bargain.proved()
    with refused("WrongStage"):
        bargain.claim(bargain.parties[0])
    bargain.closed()
    bargain.settle()
    with refused("WrongStage"):
        bargain.settle()
    with refused("NothingOwed"):
        bargain.claim(bargain.world.stranger)
    with refused("NothingOwed"):  # the consortium has no part in this one
        bargain.claim(bargain.world.governor)
    with refused("NoReceiver"):
        bargain.claim(bargain.parties[0], NOBODY)
    bargain.claim(bargain.parties[0])
    with refused("NothingOwed"):
        bargain.claim(bargain.parties[0])


def test_a_requester_that_is_a_party_claims_both_parts_at_once(case: Case) -> None:
    owner = case.world.parties[1]
    proposal = replace(case.proposal, requester=owner.address)
    bargain = Bargain.of(Case(case.world, case.grants, proposal))
    bargain.open(by=owner)
    owner.send("TaskLedger", "propose", proposal.as_tuple())
    for actor in bargain.parties:
        bargain.post(actor)
    with refused("BondIsPosted"):
        bargain.post(owner)
    bargain.closed()
    bargain.settle()
    assert bargain.claim(owner) == FEE + BOND
    with refused("NothingOwed"):
        bargain.claim(owner)


def test_who_staked_no_bond_gets_no_share(bargain: Bargain) -> None:
    bargain.proved(*bargain.parties[1:])
    bargain.closed()
    bargain.settle()
    assert bargain.payouts() == [0, 3002 + BOND, 2001 + BOND, FEE - 5003, 0]


def test_only_the_opened_terms_settle(bargain: Bargain) -> None:
    bargain.proved()
    bargain.closed()
    with refused("AgreementUnknown"):
        Bargain(bargain.case, replace(bargain.agreement, shares=(0, 0, 10000))).settle()
    other = replace(bargain.proposal, salt=bytes(32))
    with refused("AgreementUnknown"):
        bargain.world.stranger.send("Settlement", "settle", other.as_tuple(), bargain.agreement.as_tuple())


# -- refunds: every end has an exit


def end(bargain: Bargain, how: str) -> None:
    """Bring the task to an end without a proof. What nobody tells the ledger ends by time alone."""
    world, proposal = bargain.world, bargain.proposal
    if how != "never proposed":
        bargain.case.propose()
    if how in ("runs for ever", "run expired", "failed for good", "failed and left"):
        world.accept(proposal, bargain.case.grants)
    if how == "cancelled":
        world.requester.send("TaskLedger", "cancel", proposal.as_tuple())
    elif how in ("failed for good", "failed and left"):
        for attempt in (1, 2) if how == "failed for good" else (1,):
            if attempt == 2:
                world.accept(proposal, bargain.case.grants, attempt=2)
            bargain.parties[0].send("TaskLedger", "fail", proposal.as_tuple(), attempt, NOBODY, 1, bytes(32))
    if how in ("never proposed", "never accepted", "runs for ever", "expired", "run expired", "failed and left"):
        world.travel(3600 + 700)
    if how in ("expired", "run expired"):
        bargain.expire()


ENDS = [
    "never proposed",
    "never accepted",
    "runs for ever",
    "expired",
    "run expired",
    "failed for good",
    "failed and left",
    "cancelled",
]


@pytest.mark.parametrize("how", ENDS)
def test_the_fee_of_a_task_that_ended_otherwise_goes_back_at_once(bargain: Bargain, how: str) -> None:
    bargain.open()
    end(bargain, how)
    assert bargain.settle().event("TaskSettled")["paid"] is False
    assert (bargain.stage(), bargain.payouts()) == ("Returned", [0, 0, 0, FEE, 0])
    assert bargain.claim(bargain.world.requester) == FEE
    assert bargain.held() == 0


@pytest.mark.parametrize("how", ["never proposed", "never accepted", "cancelled"])
def test_with_bonds_a_refund_waits_for_evidence(bargain: Bargain, how: str) -> None:
    if how == "never proposed":
        bargain.open()
        for actor in bargain.parties:
            bargain.post(actor)
    else:
        bargain.ready()
    if how == "cancelled":
        bargain.world.requester.send("TaskLedger", "cancel", bargain.proposal.as_tuple())
    else:
        bargain.world.travel(3700)
    with refused("TooEarly"):
        bargain.settle()
    bargain.closed()
    bargain.settle()
    assert bargain.payouts() == [BOND, BOND, BOND, FEE, 0]


@pytest.mark.parametrize("state", ["proposed", "running", "failed once"])
def test_a_task_that_may_still_be_proved_is_not_settled(bargain: Bargain, state: str) -> None:
    bargain.open()
    bargain.case.propose()
    if state != "proposed":
        bargain.world.accept(bargain.proposal, bargain.case.grants)
    if state == "failed once":
        bargain.parties[0].send("TaskLedger", "fail", bargain.proposal.as_tuple(), 1, NOBODY, 1, bytes(32))
    with refused("TaskNotEnded"):
        bargain.settle()
    if state == "running":  # past the time to accept, and inside the run
        bargain.world.travel(500)
        with refused("TaskNotEnded"):
            bargain.settle()


def test_a_long_run_outlives_the_time_to_accept(case: Case) -> None:
    bargain = Bargain.of(Case(case.world, case.grants, replace(case.proposal, run_seconds=10_000)))
    bargain.ready()
    case.world.accept(bargain.proposal, case.grants)
    case.world.travel(3700)  # acceptBy is over, the run is not
    with refused("TaskNotEnded"):
        bargain.settle()
    case.world.prove(bargain.proposal, case.world.result(bargain.proposal))
    bargain.closed()
    assert bargain.settle().event("TaskSettled")["paid"] is True


# -- measured contributions


def test_contributions_that_all_parties_signed_replace_the_shares(bargain: Bargain) -> None:
    result = bargain.proved()
    bargain.measure([1, 9998, 1], result)
    with refused("NotMeasured"):
        bargain.measure([3333, 3333, 3334], result)
    bargain.closed()
    bargain.settle()
    assert bargain.payouts() == [1 + BOND, 10_004 + BOND, 1 + BOND, 1, 0]


def test_contributions_need_every_signature_for_this_result(bargain: Bargain) -> None:
    with refused("AgreementUnknown"):
        bargain.measure([10000, 0, 0], bargain.world.result(bargain.proposal))
    result = bargain.proved()
    one, two, three = bargain.parties
    with refused("BadContribution"):
        bargain.measure([10000, 0, 0], result, signers=[one, two])
    with refused("BadContribution"):
        bargain.measure([10000, 0, 0], result, signers=[one, one, three])
    with refused("BadContribution"):
        bargain.measure([10000, 0, 0], replace(result, output=bytes(32)))
    for shares in ([10000, 0], [10000, 0, 0, 0], [9999, 0, 0], [10001, 0, 0]):
        with refused("BadShares"):
            bargain.measure(shares, result)


def test_no_contributions_before_the_proof_or_where_none_are_agreed(case: Case) -> None:
    bargain = Bargain.of(case)
    bargain.ready()
    with refused("TaskNotEnded"):
        bargain.measure([10000, 0, 0], bargain.world.result(bargain.proposal))
    proposal = replace(case.proposal, salt=secrets.token_bytes(32))
    fixed = Bargain.of(Case(case.world, case.grants, proposal), measured=False)
    with refused("NotMeasured"):
        fixed.measure([10000, 0, 0], fixed.proved())


# -- tokens


@pytest.fixture
def coin(case: Case) -> str:
    return create(case.world.relayer, creation_code("Coin"))


def behave(bargain: Bargain, manner: str, target: str = NOBODY, data: str = "0x") -> None:
    tell(
        bargain.world.relayer, bargain.agreement.token, "behave(uint8,address,bytes)", MANNERS.index(manner), target,
        bytes.fromhex(data[2:]),
    )  # fmt: skip


def fund(bargain: Bargain, actor: Actor, amount: int) -> None:
    tell(bargain.world.relayer, bargain.agreement.token, "mint(address,uint256)", actor.address, amount)
    tell(actor, bargain.agreement.token, "approve(address,uint256)", bargain.world.deployment.contracts["Settlement"], amount)


def tokens(bargain: Bargain, account: str) -> int:
    call = {"to": bargain.agreement.token, "data": call_data("balanceOf(address)", account)}
    return int(bargain.world.chain.request("eth_call", call, "latest"), 16)


def test_a_task_is_paid_in_a_token(case: Case, coin: str) -> None:
    bargain = Bargain.of(case, token=coin)
    with refused("WrongValue"):
        bargain.open(value=1)
    fund(bargain, case.world.requester, FEE)
    for actor in case.world.parties:
        fund(bargain, actor, BOND)
    bargain.proved()
    vault = case.world.deployment.contracts["Settlement"]
    assert (tokens(bargain, vault), bargain.held()) == (FEE + 3 * BOND, 0)
    bargain.closed()
    bargain.settle()
    to = fresh_account()
    assert bargain.claim(case.world.parties[0], to) == tokens(bargain, to) == 5003 + BOND
    for actor in (*case.world.parties[1:], case.world.requester):
        bargain.claim(actor, to)
    assert (tokens(bargain, to), tokens(bargain, vault)) == (FEE + 3 * BOND, 0)


def test_a_token_that_pays_less_than_it_says_is_refused(case: Case, coin: str) -> None:
    bargain = Bargain.of(case, token=coin)
    fund(bargain, case.world.requester, FEE)
    behave(bargain, "TakesFee")
    with refused("WrongValue"):
        bargain.open()
    behave(bargain, "ReturnsFalse")
    with refused("SafeERC20FailedOperation"):
        bargain.open()
    assert bargain.stage() == "None"


def test_a_token_that_calls_back_gets_nothing_twice(case: Case, coin: str) -> None:
    bargain = Bargain.of(case, token=coin)
    fund(bargain, case.world.requester, FEE)
    vault = case.world.chain.contracts["Settlement"]
    behave(bargain, "CallsBack", vault.address, vault.encode("open", *bargain.terms))
    with refused("ReentrancyGuardReentrantCall"):
        bargain.open()
    behave(bargain, "Honest")
    bargain.open()
    bargain.case.propose()
    case.world.requester.send("TaskLedger", "cancel", bargain.proposal.as_tuple())
    bargain.settle()
    behave(bargain, "CallsBack", vault.address, vault.encode("claim", *bargain.terms, coin))
    with refused("ReentrancyGuardReentrantCall"):
        bargain.claim(case.world.requester)
    behave(bargain, "Honest")
    assert bargain.claim(case.world.requester) == FEE


def test_a_token_that_stops_paying_holds_up_nobody_elses_money(case: Case, coin: str) -> None:
    bad = Bargain.of(Case(case.world, case.grants, replace(case.proposal, salt=bytes(32))), token=coin)
    fund(bad, case.world.requester, FEE)
    bad.open()
    good = Bargain.of(case)
    good.open()
    case.world.travel(3700)
    behave(bad, "ReturnsFalse")
    bad.settle()
    with refused("SafeERC20FailedOperation"):
        bad.claim(case.world.requester)
    good.settle()
    assert good.claim(case.world.requester) == FEE
    behave(bad, "Honest")
    assert bad.claim(case.world.requester) == FEE


def test_an_account_that_takes_no_coins_names_another(bargain: Bargain) -> None:
    bargain.open()
    end(bargain, "cancelled")
    bargain.settle()
    with refused("CoinRefused"):
        bargain.claim(bargain.world.requester, bargain.world.deployment.contracts["AuditLog"])
    assert bargain.claim(bargain.world.requester) == FEE


def test_coins_sent_without_a_reason_are_refused(bargain: Bargain) -> None:
    with refused("unknown"):
        bargain.world.requester.chain.transact("Settlement", bargain.world.deployment.contracts["Settlement"], "0x", 5)
    assert COIN == NOBODY and bargain.held() == 0
