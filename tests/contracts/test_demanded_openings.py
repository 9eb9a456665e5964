"""An owner is asked where a row stands in its dataset, and answers in time, or arbiters and the default judge its silence."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest
from contracts.bargain import BOND, Bargain
from contracts.conftest import Actor, Case, refused
from tallystick.protocol import merkle
from tallystick.protocol.agreement import Demand, Opening
from tallystick.protocol.reasons import Reason

ROWS = [secrets.token_bytes(8) for _ in range(11)]


class Spot:
    """A proved task in which the first party, that staked a bond, is asked for its row 6 by the second."""

    def __init__(self, case: Case, **changes: object) -> None:
        self.case, self.world = case, case.world
        self.bargain = Bargain.of(case)
        self.bargain.agreement = replace(self.bargain.agreement, **changes)  # type: ignore[arg-type]
        self.owner, self.asker = case.world.parties[:2]
        self.asked = Demand(case.grants[0].dataset, merkle.root(ROWS), 6, len(ROWS))

    def demand(self, by: Actor | None = None, asked: Demand | None = None) -> bytes:
        arguments = (*self.bargain.terms, (asked or self.asked).as_tuple())
        return bytes((by or self.asker).send("Disputes", "demandOpening", *arguments).event("OpeningDemanded")["dispute"])

    def opening(self, **changes: object) -> Opening:
        index = int(changes.get("index", self.asked.index))  # type: ignore[call-overload]
        path = tuple(merkle.inclusion_proof(ROWS, index))
        leaf = merkle.leaf_hash(ROWS[index])
        made = Opening(self.case.proposal.id(), self.asked.dataset, self.asked.rows, leaf, index, len(ROWS), path)
        return replace(made, **changes)  # type: ignore[arg-type]

    def answer(self, dispute: bytes, opening: Opening | None = None) -> None:
        shown = (opening or self.opening()).as_tuple()
        self.world.stranger.send("Disputes", "answerOpening", *self.bargain.terms, dispute, shown)

    def outcome(self, dispute: bytes) -> str:
        return ("none", "pending", "upheld", "dismissed")[self.world.call("Disputes", "disputeAt", dispute)["outcome"]]


@pytest.fixture
def spot(case: Case) -> Spot:
    made = Spot(case)
    made.bargain.proved()
    return made


def test_an_opening_in_time_ends_the_demand_and_costs_nobody_anything(spot: Spot) -> None:
    dispute = spot.demand()
    spot.answer(dispute)
    assert spot.outcome(dispute) == "dismissed"
    spot.bargain.closed()
    spot.bargain.settle()
    assert all(owed >= BOND for owed in spot.bargain.payouts()[:3])
    assert spot.bargain.verdict()["atFault"] == spot.bargain.verdict()["forfeited"] == 0


def test_a_demand_is_a_dispute_with_its_own_reason_besides_a_challenge(spot: Spot) -> None:
    arguments = (*spot.bargain.terms, spot.asked.as_tuple())
    raised = spot.asker.send("Disputes", "demandOpening", *arguments).event("DisputeRaised")
    assert raised["reason"] == Reason.OPENING_DEMANDED
    assert raised["accused"] == spot.owner.address
    task = spot.case.proposal.id()
    assert bytes(raised["dispute"]) == bytes(spot.world.call("Disputes", "demandId", task, spot.asker.address, spot.owner.address))
    spot.bargain.challenge(spot.asker, spot.owner.address)
    with refused("DisputeExists"):
        spot.demand(asked=replace(spot.asked, index=5))
    spot.bargain.closed()
    with refused("DisputePending"):
        spot.bargain.settle()


@pytest.mark.parametrize(("by_default", "outcome"), [(True, "upheld"), (False, "dismissed")])
def test_silence_comes_to_what_the_agreement_says(case: Case, by_default: bool, outcome: str) -> None:
    spot = Spot(case, upheld_by_default=by_default)
    spot.bargain.proved()
    dispute = spot.demand()
    spot.bargain.closed()
    with refused("TooLate"):
        spot.answer(dispute)
    spot.bargain.conclude(dispute)
    assert spot.outcome(dispute) == outcome
    assert spot.bargain.verdict()["atFault"] == (1 if by_default else 0)


def test_arbiters_judge_a_demand_for_what_there_is_not(spot: Spot) -> None:
    dispute = spot.demand(asked=replace(spot.asked, rows=secrets.token_bytes(32)))
    with refused("WrongOpening"):
        spot.answer(dispute)
    spot.bargain.judged(dispute, uphold=False)
    assert spot.bargain.verdict()["forfeited"] == 2


def test_only_the_demanded_opening_answers(spot: Spot) -> None:
    dispute = spot.demand()
    other = secrets.token_bytes(32)
    for opening in (
        spot.opening(index=5),
        spot.opening(leaf=other),
        spot.opening(rows=other),
        spot.opening(size=len(ROWS) + 1),
        spot.opening(dataset=spot.case.grants[1].dataset),
        spot.opening(path=spot.opening().path[:-1]),
    ):
        with refused("WrongOpening"):
            spot.answer(dispute, opening)
    spot.answer(dispute)
    with refused("DisputeIsDecided"):
        spot.answer(dispute)


def test_an_opening_answers_no_challenge(spot: Spot) -> None:
    dispute = spot.bargain.challenge(spot.asker, spot.owner.address)
    with refused("WrongOpening"):
        spot.answer(dispute)


def test_who_may_challenge_may_demand_and_of_an_owner_that_is_bound(case: Case) -> None:
    spot = Spot(case)
    spot.bargain.proved(spot.owner, spot.asker)
    with refused("NotAParty"):
        spot.demand(by=spot.world.stranger)
    with refused("BondMissing"):
        spot.demand(by=spot.world.parties[2])
    with refused("NotBound"):
        spot.demand(asked=replace(spot.asked, dataset=case.grants[2].dataset))
    with refused("NotAParty"):
        spot.demand(asked=replace(spot.asked, dataset=secrets.token_bytes(32)))


def test_demands_that_no_dataset_could_answer_are_refused(spot: Spot) -> None:
    for asked in (replace(spot.asked, index=len(ROWS)), replace(spot.asked, size=0, index=0), replace(spot.asked, rows=bytes(32))):
        with refused("BadDemand"):
            spot.demand(asked=asked)


def test_a_demand_comes_after_the_end_and_in_time(case: Case) -> None:
    spot = Spot(case)
    spot.bargain.ready()
    with refused("TaskNotEnded"):
        spot.demand()
    spot.bargain.closed()
    with refused("TooLate"):
        spot.demand()
