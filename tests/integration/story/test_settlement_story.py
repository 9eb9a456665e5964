"""A task of real nodes is paid for: bonds before, contributions after, a lie that costs, a dispute that is judged."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from integration.story.conftest import Story
from tallystick.client import disputes, settlement
from tallystick.protocol import canonical
from tallystick.protocol.agreement import BREACHES, COIN, Agreement
from tallystick.protocol.errors import ContractRefused
from tallystick.protocol.proof.subject import result_of
from tallystick.protocol.statement import Envelope, Statement
from tallystick.protocol.task import Proposal, TaskSpec, proposal_of
from tallystick.protocol.typed import result_digest

pytestmark = pytest.mark.slow

FEE, BOND = 10**15, 10**14
SHARES = (3334, 3333, 3333)


def agreed(proposal: Proposal, arbiter: str, window: int) -> Agreement:
    return Agreement(
        proposal.id(), COIN, FEE, BOND, dispute_seconds=window, ruling_seconds=1800, measured=True, upheld_by_default=False,
        shares=SHARES, arbiters=(arbiter,),
    )  # fmt: skip


def settle_at_last(story: Story, deal: settlement.Deal) -> None:
    """The chain's clock is the network's own: certificates depend on it, so nothing moves it on here. Ganache tries a call at
    the time of the newest block, so one is mined at the time that it is."""
    give_up = time.monotonic() + 60
    while True:
        try:
            settlement.settle(story.birch.chain, deal)
            return
        except ContractRefused as refusal:
            assert refusal.error == "TooEarly" and time.monotonic() < give_up, refusal
        time.sleep(0.5)
        story.birch.chain.request("evm_mine")


def balance(story: Story, account: str) -> int:
    return int(story.alder.chain.request("eth_getBalance", account, "latest"), 16)


def bonded(story: Story, window: int) -> tuple[TaskSpec, str, settlement.Deal]:
    """A task of three hospitals that was agreed about, staked for, and proved."""
    grants = story.grants()
    spec = story.spec(grants)
    proposal = proposal_of(spec)
    settlement.open_agreement(story.alder.chain, proposal, agreed(proposal, story.regulator.account, window))
    task = canonical.hex32(proposal.id())
    for client in story.clients:
        settlement.post_bond(client.chain, settlement.agreed_deal_of(client.chain, task, proposal))
    assert story.run(spec, grants) == (task, "Proved")
    return spec, task, settlement.agreed_deal_of(story.alder.chain, task)


def test_a_task_of_three_hospitals_is_paid_by_contribution(story: Story) -> None:
    spec, _, deal = bonded(story, window=2)
    by_account = {client.account: client for client in story.clients}
    shares = tuple(5000 if account == story.birch.account else 2500 for account in spec.parties)
    signatures = {account: settlement.sign_contributions(client.chain, deal, shares) for account, client in by_account.items()}
    settlement.measure(story.alder.chain, deal, shares, signatures)
    settle_at_last(story, deal)
    quarter = FEE // 4 + BOND
    owed = {story.alder.account: quarter, story.birch.account: FEE // 2 + BOND, story.cedar.account: quarter}
    assert settlement.payouts_of(story.alder.chain, deal) == owed
    to = "0x" + "c0" * 20
    settlement.claim(story.birch.chain, deal, to)
    assert balance(story, to) == FEE // 2 + BOND
    settlement.claim(story.alder.chain, deal)
    with pytest.raises(ContractRefused) as caught:
        settlement.claim(story.alder.chain, deal)
    assert caught.value.error == "NothingOwed"


def test_a_lie_about_a_real_statement_costs_and_an_arbiter_voids_it(story: Story, tmp_path: Path) -> None:
    _, task, deal = bonded(story, window=86400)
    # Cedar signs the statement that all signed, and another one for somebody else
    envelope = story.bundle(task, tmp_path).statement
    stated = Statement.parse(Envelope.parse(envelope).payload)
    other = replace(stated, cost=replace(stated.cost, seconds_ms=stated.cost.seconds_ms + 1))
    signature = story.cedar.signer.sign_digest(result_digest(story.cedar.chain.domain("ProofRegistry"), result_of(other)))
    forged = Envelope(stated.chain_id, other.to_bytes(), {story.cedar.account: signature}).to_bytes()
    disputes.prove_two_statements(story.birch.chain, deal, story.cedar.account, envelope, forged)
    with pytest.raises(ContractRefused) as caught:
        disputes.prove_two_statements(story.birch.chain, deal, story.birch.account, envelope, envelope)
    assert caught.value.error == "NoContradiction"
    (breach,) = disputes.breaches_of(story.alder.chain, deal)
    assert (breach["accused"], breach["breach"]) == (story.cedar.account, BREACHES[0])

    raised = disputes.challenge(story.birch.chain, deal, "", 5, bytes(32)).event("DisputeRaised")
    regulator = story.network.connect(story.regulator.signer)
    disputes.judge(regulator, deal, raised["dispute"], uphold=True, reasons=bytes(32))
    (found,) = disputes.disputes_of(story.alder.chain, deal)
    assert (found.accused, found.outcome, found.opinions) == ("", "upheld", {story.regulator.account: True})
    with pytest.raises(ContractRefused) as caught:
        settlement.settle(story.birch.chain, deal)
    assert caught.value.error == "TooEarly"  # a day for more of it
    verdict = story.alder.chain.disputes.verdict_of(deal.task)
    guilty = 1 << [party.account for party in deal.proposal.parties].index(story.cedar.account)
    assert (verdict["void"], verdict["atFault"], verdict["pending"]) == (True, guilty, 0)
