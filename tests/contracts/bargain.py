"""A three-party task with an agreement about it, and what its participants do with money and evidence."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any

from contracts.conftest import Actor, Case, World
from tallystick.chain.connection import Receipt
from tallystick.protocol import typed
from tallystick.protocol.agreement import COIN, Agreement, LinkDigest, contribution_digest, link_digest, standard_agreement
from tallystick.protocol.task import Proposal

FEE, BOND, WINDOW, RULING = 10_007, 500, 1000, 2000
STAGES = ("None", "Open", "Paid", "Returned")


@dataclass
class Bargain:
    """The agreement is made and not opened; ``standard`` ones never are."""

    case: Case
    agreement: Agreement

    @classmethod
    def of(cls, case: Case, **changes: Any) -> Bargain:
        arbiters = sorted((case.world.regulator.address, case.world.relayer.address), key=lambda each: int(each, 16))
        made = Agreement(case.proposal.id(), COIN, FEE, BOND, WINDOW, RULING, True, False, (5000, 3000, 2000), tuple(arbiters))
        return cls(case, replace(made, **changes))

    @classmethod
    def without(cls, case: Case) -> Bargain:
        return cls(case, standard_agreement(case.proposal.id()))

    @property
    def world(self) -> World:
        return self.case.world

    @property
    def proposal(self) -> Proposal:
        return self.case.proposal

    @property
    def parties(self) -> list[Actor]:
        return self.world.parties

    @property
    def terms(self) -> tuple[Any, Any]:
        """What every function takes first."""
        return self.proposal.as_tuple(), self.agreement.as_tuple()

    # -- money

    def open(self, by: Actor | None = None, value: int | None = None) -> Receipt:
        coins = self.agreement.fee if self.agreement.token == COIN else 0
        return (by or self.world.requester).send("Settlement", "open", *self.terms, value=coins if value is None else value)

    def post(self, by: Actor, value: int | None = None) -> Receipt:
        coins = self.agreement.bond if self.agreement.token == COIN else 0
        return by.send("Settlement", "post", *self.terms, value=coins if value is None else value)

    def ready(self, *bonded: Actor) -> None:
        """Proposed, opened, and bonds staked by ``bonded`` (all parties when nobody is named)."""
        self.case.propose()
        self.open()
        for actor in bonded or self.parties:
            self.post(actor)

    def proved(self, *bonded: Actor) -> typed.Result:
        self.ready(*bonded)
        self.world.accept(self.proposal, self.case.grants)
        result = self.world.result(self.proposal)
        self.world.prove(self.proposal, result)
        return result

    def settle(self) -> Receipt:
        return self.world.stranger.send("Settlement", "settle", *self.terms)

    def claim(self, by: Actor, to: str | None = None) -> int:
        return int(by.send("Settlement", "claim", *self.terms, to or fresh_account()).event("PaidOut")["amount"])

    def measure(self, shares: list[int], result: typed.Result, signers: list[Actor] | None = None) -> Receipt:
        domain = self.world.domain("Settlement")
        digest = contribution_digest(domain, self.proposal.id(), result.attempt, result.hash(), shares)
        signatures = [actor.signer.sign_digest(digest) for actor in signers or self.parties]
        return self.world.stranger.send("Settlement", "measure", *self.terms, shares, signatures)

    def payouts(self) -> list[int]:
        return list(self.world.call("Settlement", "payouts", *self.terms))

    def stage(self) -> str:
        return STAGES[self.world.call("Settlement", "escrowOf", self.proposal.id())["stage"]]

    def held(self, token: str = COIN) -> int:
        """The coins of the settlement contract."""
        assert token == COIN
        return int(self.world.chain.request("eth_getBalance", self.world.deployment.contracts["Settlement"], "latest"), 16)

    def closed(self) -> None:
        """Until nothing can be said about the task any more: past every deadline of the task, of disputes and of rulings."""
        self.world.travel(3600 + 600 + self.agreement.dispute_seconds + self.agreement.ruling_seconds + 10)

    # -- disputes

    def challenge(self, by: Actor, accused: str = COIN, evidence: bytes | None = None) -> bytes:
        evidence = evidence or secrets.token_bytes(32)
        receipt = by.send("Disputes", "challenge", *self.terms, accused, 5, evidence)
        return bytes(receipt.event("DisputeRaised")["dispute"])

    def rule(self, by: Actor, dispute: bytes, uphold: bool) -> Receipt:
        return by.send("Disputes", "rule", *self.terms, dispute, uphold, secrets.token_bytes(32))

    def judged(self, dispute: bytes, uphold: bool) -> None:
        """Both arbiters are of one opinion."""
        for arbiter in (self.world.regulator, self.world.relayer):
            self.rule(arbiter, dispute, uphold)

    def conclude(self, dispute: bytes) -> Receipt:
        return self.world.stranger.send("Disputes", "conclude", *self.terms, dispute)

    def signed(self, actor: Actor, result: typed.Result) -> tuple[Any, bytes]:
        return result.as_tuple(), actor.signer.sign_digest(typed.result_digest(self.world.domain("ProofRegistry"), result))

    def two_statements(self, accused: Actor, one: typed.Result, other: typed.Result, *, by: Actor | None = None) -> Receipt:
        signed = (self.signed(accused, one), self.signed(accused, other))
        return (by or self.world.stranger).send("Disputes", "proveTwoStatements", *self.terms, accused.address, *signed)

    def link(self, sender: Actor, recipient: Actor, **changes: Any) -> LinkDigest:
        made = LinkDigest(self.proposal.id(), 1, sender.address, recipient.address, 7, 4096, secrets.token_bytes(32))
        return replace(made, **changes)

    def signed_link(self, actor: Actor, link: LinkDigest) -> tuple[Any, str, bytes]:
        digest = link_digest(self.world.domain("Disputes"), link)
        return link.as_tuple(), actor.address, actor.signer.sign_digest(digest)

    def two_digests(self, one: tuple[Actor, LinkDigest], other: tuple[Actor, LinkDigest]) -> Receipt:
        return self.world.stranger.send(
            "Disputes", "proveTwoDigests", *self.terms, self.signed_link(*one), self.signed_link(*other)
        )

    def lateness(self) -> Receipt:
        return self.world.stranger.send("Disputes", "proveLateness", *self.terms)

    def expire(self) -> None:
        self.world.stranger.send("TaskLedger", "expire", self.proposal.as_tuple())

    def verdict(self) -> dict[str, Any]:
        return dict(self.world.call("Disputes", "verdictOf", self.proposal.id()))


def fresh_account() -> str:
    """An account that nobody has, with no coins yet."""
    return "0x" + secrets.token_hex(20)
