"""Nodes keep their parties' promises: they stake by their policy, say in time whom they wait for, and show who was late."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from integration.processes import number, stopped, until, workers
from integration.story.conftest import Story
from tallystick.client import disputes, settlement
from tallystick.protocol import canonical
from tallystick.protocol.agreement import BREACHES, COIN, Agreement
from tallystick.protocol.errors import Refused
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import TaskSpec, proposal_of
from tallystick.testing.network import Network

pytestmark = pytest.mark.slow
FEE, BOND = 3 * 10**15, 10**14


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    policy = {"minimum_fee": FEE // 4, "largest_stake": BOND}
    with Network(tmp_path_factory.mktemp("bonds"), kind=os.environ.get("CHAIN", "anvil")) as network:
        yield Story(network, link_seconds=15, policy=policy)


def agreed(story: Story, spec: TaskSpec, **changes: Any) -> settlement.Deal:
    proposal = proposal_of(spec)
    terms: dict[str, Any] = {
        "task": proposal.id(), "token": COIN, "fee": FEE, "bond": BOND, "dispute_seconds": 600, "ruling_seconds": 600,
        "measured": False, "upheld_by_default": False, "shares": (3334, 3333, 3333), "arbiters": (story.regulator.account,),
    }  # fmt: skip
    settlement.open_agreement(story.alder.chain, proposal, Agreement(**{**terms, **changes}))
    return settlement.agreed_deal_of(story.alder.chain, canonical.hex32(proposal.id()), proposal)


def told(story: Story, deal: settlement.Deal, name: str) -> list[Any]:
    chain = story.network.governor.chain
    return [e for e in chain.events(0, chain.head()) if e.name == name and e.arguments.get("task") == deal.task]


def test_terms_that_the_nodes_do_not_take_are_refused(story: Story) -> None:
    grants = story.grants()
    for terms, words in (({"fee": 1}, "share of the fee"), ({"bond": BOND + 1}, "asks a bond"), (None, "share of the fee")):
        spec = story.spec(grants)
        if terms is not None:
            agreed(story, spec, **terms)
        with pytest.raises(Refused, match=words):
            story.alder.submit(spec, grants.values())


def test_who_hangs_loses_its_bond_and_the_others_keep_theirs_without_any_hand(story: Story) -> None:
    grants = story.grants()
    spec = story.spec(grants, run_seconds=120, attempts=2)
    deal = agreed(story, spec)
    alder, birch, cedar = story.hospitals
    task = story.alder.submit(spec, grants.values())
    (worker,) = until(lambda: workers(birch))
    with stopped(worker):
        until(lambda: all(workers(who) for who in story.hospitals))
        assert set(settlement.posted_by(story.alder.chain, deal)) == set(deal.proposal.accounts)
        with stopped(number(cedar), *workers(cedar)):
            os.kill(worker, signal.SIGCONT)
            until(lambda: len(told(story, deal, "Reported")) == 2)
            assert {(e["party"], e["reason"]) for e in told(story, deal, "Reported") if e["accused"] == cedar.account}
            (started,) = told(story, deal, "Started")
            until(lambda: time.time() > started["runBy"] + 2, 180)
            story.network.governor.chain.request("evm_mine")  # Ganache answers as of its last block, and makes none unasked
            breach = until(lambda: disputes.breaches_of(story.alder.chain, deal), 180)
    assert [(each["accused"], each["breach"]) for each in breach] == [(cedar.account, BREACHES[4])]
    assert {e["party"] for e in told(story, deal, "Reported")} == {alder.account, birch.account}
    assert story.alder.wait(task, 60) == "Expired"
    verdict = story.alder.chain.disputes.verdict_of(deal.task)
    assert verdict["atFault"] == 1 << deal.proposal.accounts.index(cedar.account)


def test_who_is_there_after_all_says_so_and_the_task_is_tried_again(story: Story) -> None:
    grants = story.grants()
    deal = agreed(story, spec := story.spec(grants, run_seconds=120, attempts=2))
    task = story.alder.submit(spec, grants.values())
    (worker,) = until(lambda: workers(story.hospitals[1]))
    with stopped(worker):  # Birch's node lives, its worker hangs
        until(lambda: told(story, deal, "Failed"))
    (failed,) = told(story, deal, "Failed")
    assert failed["reporter"] == story.birch.account and failed["reason"] == Reason.PEER_ABORTED
    assert until(lambda: story.alder.wait(task, 300) == "Proved")
    assert story.alder.chain.disputes.verdict_of(deal.task)["atFault"] == 0
