"""Fees and bonds of tasks: opened, staked, settled and claimed over one chain connection.

Every function that takes a connection with a signer acts for that account. Terms and proposals come from the chain's own events,
so a task's id is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from tallystick.chain.connection import Chain, Receipt
from tallystick.protocol import canonical
from tallystick.protocol.agreement import COIN, Agreement, contribution_digest, standard_agreement
from tallystick.protocol.errors import MalformedDocument, NotFound
from tallystick.protocol.task import Party, Proposal

STAGES = ("none", "open", "paid", "returned")


@dataclass(frozen=True)
class Deal:
    """A task's proposal with the agreement that stands for it; ``agreed`` is False where that is the standard one."""

    proposal: Proposal
    agreement: Agreement
    agreed: bool

    @property
    def task(self) -> bytes:
        """The task's id."""
        return self.agreement.task

    @property
    def terms(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Proposal and agreement, as the contracts take them."""
        return self.proposal.as_tuple(), self.agreement.as_tuple()


def deal_of(chain: Chain, task: str, proposal: Proposal | None = None) -> Deal:
    """What was agreed about a task. Its proposal is read from the chain, unless it is given because it is not there yet.
    Raises NotFound."""
    wanted, agreement = canonical.unhex32(task), None
    for event in chain.events(0, chain.head()):
        if event.arguments.get("task") != wanted:
            continue
        if event.name == "Proposed":
            proposal = _proposal(event["proposal"])
        elif event.name == "AgreementOpened":
            agreement = Agreement.of(event["agreement"].values())
    if proposal is None:
        raise NotFound("the chain knows no such task", party=task, remedy="`tally task list` shows those it knows")
    return Deal(proposal, agreement or standard_agreement(wanted), agreed=agreement is not None)


def agreed_deal_of(chain: Chain, task: str, proposal: Proposal | None = None) -> Deal:
    """The same, where an agreement was opened. Raises NotFound."""
    deal = deal_of(chain, task, proposal)
    if not deal.agreed:
        raise NotFound(
            "no agreement was opened for this task", party=task, remedy="`tally settlement open`, before anybody accepts"
        )
    return deal


def open_agreement(chain: Chain, proposal: Proposal, agreement: Agreement) -> Receipt:
    """Declare the terms of a task and deposit its fee (the requester, before anybody accepts)."""
    coins = _pay(chain, agreement.token, agreement.fee)
    return chain.settlement.open(proposal, agreement, value=coins)


def post_bond(chain: Chain, deal: Deal) -> Receipt:
    """Stake the agreement's bond for the own account."""
    coins = _pay(chain, deal.agreement.token, deal.agreement.bond)
    return chain.settlement.post(*deal.terms, value=coins)


def sign_contributions(chain: Chain, deal: Deal, shares: Sequence[int]) -> bytes:
    """The own signature over measured shares (basis points, in the order of the parties) of the proved result. Raises NotFound."""
    return chain.own().sign_digest(_contribution(chain, deal, shares))


def measure(chain: Chain, deal: Deal, shares: Sequence[int], signatures: Mapping[str, bytes]) -> Receipt:
    """Record shares that every party signed; ``signatures`` by account. Raises MalformedDocument when one is missing; a party that
    was absent from the proved result signs nothing, and its share is zero."""
    bits = chain.proofs.proof_of(deal.task)["absent"]
    absent = {account for index, account in enumerate(deal.proposal.accounts) if bits >> index & 1}
    missing = [account for account in deal.proposal.accounts if account not in signatures and account not in absent]
    if missing:
        raise MalformedDocument("a party's signature is missing", party=missing[0], remedy="every party signs the same shares")
    return chain.settlement.measure(*deal.terms, list(shares), [signatures.get(account, b"") for account in deal.proposal.accounts])


def settle(chain: Chain, deal: Deal) -> Receipt:
    """Divide fee and bonds, when all is over (anyone)."""
    return chain.settlement.settle(*deal.terms)


def claim(chain: Chain, deal: Deal, to: str | None = None) -> Receipt:
    """Take what the own account is owed, to itself or to ``to``."""
    return chain.settlement.claim(*deal.terms, to or chain.own().address)


def closes_at(chain: Chain, deal: Deal) -> int:
    """Until when evidence and challenges are taken, in seconds since 1970; 0 while the task can still be proved."""
    proposal = deal.proposal
    return chain.settlement.closes_at(deal.task, proposal.accept_by, proposal.attempts, deal.agreement.dispute_seconds)


def payouts_of(chain: Chain, deal: Deal) -> dict[str, int]:
    """What each account is owed of a settled task, claimed or not: parties, requester and, where it has a part, the governor."""
    owed: dict[str, int] = {}
    accounts = [*deal.proposal.accounts, deal.proposal.requester, chain.participants.governor()]
    for account, amount in zip(accounts, chain.settlement.payouts(*deal.terms), strict=True):
        owed[account] = owed.get(account, 0) + amount
    return {account: amount for account, amount in owed.items() if amount or account in accounts[:-1]}


def posted_by(chain: Chain, deal: Deal) -> list[str]:
    """Who staked a bond."""
    posted = chain.settlement.escrow_of(deal.task)["posted"]
    found = [account for index, account in enumerate(deal.proposal.accounts) if posted >> index & 1]
    return [*found, deal.proposal.requester] if posted >> 16 & 1 else found


def _proposal(value: Mapping[str, Any]) -> Proposal:
    """The proposal in an event."""
    members = dict(value) | {"parties": tuple(Party(*each.values()) for each in value["parties"])}
    return Proposal(*members.values())


def _contribution(chain: Chain, deal: Deal, shares: Sequence[int]) -> bytes:
    proof = chain.proofs.proof_of(deal.task)
    if not proof["provedAt"]:
        raise NotFound("the task has no proved result", party=canonical.hex32(deal.task), remedy="wait for the proof")
    return contribution_digest(chain.domain("Settlement"), deal.task, proof["attempt"], proof["digest"], shares)


def _pay(chain: Chain, token: str, amount: int) -> int:
    """The coins to send along; for a token, allow the settlement to take the amount."""
    if token == COIN:
        return amount
    if amount:
        spender = chain.deployment.contracts["Settlement"]
        data = "0x" + (keccak(text="approve(address,uint256)")[:4] + abi_encode(["address", "uint256"], [spender, amount])).hex()
        chain.receipt(chain.transact("the token", token, data), "the token")
    return 0
