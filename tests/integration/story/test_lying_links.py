"""Nodes that lie when a run is over: one about what it received, so that the chain has both signatures and its neighbour challenges
it; and one that tells two parties two words, and is named by both."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.processes import until
from integration.story.conftest import Story
from tallystick.client import disputes, settlement
from tallystick.protocol import canonical
from tallystick.protocol.agreement import COIN, CONTRADICTION, Agreement
from tallystick.protocol.errors import TallystickError
from tallystick.protocol.reasons import Reason
from tallystick.protocol.task import proposal_of
from tallystick.testing.network import Institution, Network
from tallystick.wire import node_pb2

pytestmark = pytest.mark.slow
BOND = 10**14


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with Network(tmp_path_factory.mktemp("liar"), kind=os.environ.get("CHAIN", "anvil")) as network:
        made = Story(network, policy={"largest_stake": BOND})
        yield made


def corrupt(story: Story, liar: Institution, node: str) -> None:
    """The institution runs a node of its own making from now on."""
    story.network.halt(liar)
    with (liar.folder / "node.log").open("ab") as log:
        command = [
            sys.executable,
            str(Path(__file__).with_name(node)),
            "run",
            "--config",
            str(liar.folder / "node.toml"),
        ]
        liar.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def serves() -> bool:
        try:
            story.cedar.nodes.call(liar.account, "GetInfo", node_pb2.InfoRequest(), 10)
        except TallystickError:
            return False
        return True

    until(serves, 180)


def test_who_lies_about_a_link_is_contradicted_on_chain_and_judged(story: Story) -> None:
    corrupt(story, story.hospitals[2], "lying_node.py")
    grants = story.grants()
    spec = story.spec(grants, attempts=1, run_seconds=300)
    proposal, judge = proposal_of(spec), story.regulator.account
    terms = Agreement(proposal.id(), COIN, 3000, BOND, 600, 600, False, False, (3334, 3333, 3333), (judge,))
    settlement.open_agreement(story.alder.chain, proposal, terms)
    task = story.alder.submit(spec, grants.values())
    assert story.alder.wait(task, 300) == "Failed"
    deal = settlement.agreed_deal_of(story.alder.chain, task)
    chain, liar = story.alder.chain, story.hospitals[2].account
    (failed,) = [e for e in chain.events(0, chain.head()) if e.name == "Failed" and e["task"] == deal.task]
    assert failed["reason"] == Reason.TRANSCRIPT_MISMATCH

    said = until(lambda: disputes.breaches_of(chain, deal), 180)
    peer = next(account for account in deal.proposal.accounts if account != liar)
    assert [each["accused"] for each in said] == [f"{peer} or {liar}"]  # once, whoever showed it
    assert said[0]["breach"].startswith(CONTRADICTION)
    assert chain.disputes.verdict_of(deal.task)["atFault"] == 0  # the contract does not know which of the two lies

    honest = next(client for client in story.clients if client.account == peer)
    raised = disputes.challenge(honest.chain, deal, liar, int(Reason.TRANSCRIPT_MISMATCH), bytes(32)).event("DisputeRaised")
    regulator = story.network.connect(story.regulator.signer)
    disputes.judge(regulator, deal, raised["dispute"], uphold=True, reasons=bytes(32))
    assert chain.disputes.verdict_of(deal.task)["atFault"] == 1 << deal.proposal.accounts.index(liar)
    assert canonical.hex32(deal.task) == task


def test_who_tells_two_parties_two_words_is_named_by_both(story: Story) -> None:
    liar, grants = story.hospitals[2], story.grants()
    corrupt(story, liar, "two_words_node.py")
    task = story.alder.submit(story.spec(grants, attempts=1, run_seconds=300), grants.values())
    assert story.alder.wait(task, 300) == "Failed"
    chain = story.alder.chain
    (failed,) = [e for e in chain.events(0, chain.head()) if e.name == "Failed" and canonical.hex32(e["task"]) == task]
    assert (failed["accused"], failed["reason"]) == (liar.account, Reason.STATEMENT_MISMATCH)
    assert failed["reporter"] != liar.account
