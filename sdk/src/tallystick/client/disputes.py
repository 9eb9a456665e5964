"""Breaches and disputes over one chain connection: what was said of a task, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tallystick.chain.connection import Chain, Receipt
from tallystick.chain.contract import Event
from tallystick.client.settlement import Deal
from tallystick.protocol import canonical, typed
from tallystick.protocol.agreement import (
    BREACHES,
    COIN,
    CONTRADICTION,
    Demand,
    LinkDigest,
    Opening,
    link_digest,
    opening_digest,
)
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.proof.subject import result_of
from tallystick.protocol.reasons import reason_words
from tallystick.protocol.statement import Envelope, Statement


@dataclass(frozen=True)
class DisputeRecord:
    """One dispute as the chain's events tell it. ``accused`` is empty for the statement itself."""

    dispute: str
    task: str
    challenger: str
    accused: str
    reason: str
    evidence: str
    rule_by: int
    outcome: str
    by_default: bool
    opinions: dict[str, bool]


def challenge(chain: Chain, deal: Deal, accused: str, reason: int, evidence: bytes) -> Receipt:
    """Challenge a party, or the statement itself with an empty ``accused``. ``evidence``: 32 bytes, the digest of what the arbiters
    will be shown."""
    return chain.disputes.challenge(*deal.terms, accused or COIN, reason, evidence)


def demand_opening(chain: Chain, deal: Deal, demand: Demand) -> Receipt:
    """Demand that the owner of a dataset shows where a row stands in it: a dispute that its answer ends."""
    return chain.disputes.demand_opening(*deal.terms, demand)


def answer_opening(chain: Chain, deal: Deal, dispute: bytes, opening: Opening) -> Receipt:
    """Answer a demand by an opening that holds (anyone, until the dispute's deadline)."""
    return chain.disputes.answer_opening(*deal.terms, dispute, opening)


def judge(chain: Chain, deal: Deal, dispute: bytes, *, uphold: bool, reasons: bytes) -> Receipt:
    """Give an arbiter's opinion; ``reasons``: a digest of its grounds."""
    return chain.disputes.rule(*deal.terms, dispute, uphold, reasons)


def conclude(chain: Chain, deal: Deal, dispute: bytes) -> Receipt:
    """Decide by the agreement's default what the arbiters left open (anyone, after the deadline)."""
    return chain.disputes.conclude(*deal.terms, dispute)


def prove_two_statements(chain: Chain, deal: Deal, accused: str, one: bytes, other: bytes) -> Receipt:
    """Show two DSSE envelopes with statements of one attempt that ``accused`` signed both. Raises MalformedDocument when one of
    them lacks its signature."""
    return chain.disputes.prove_two_statements(*deal.terms, accused, signed_result(one, accused), signed_result(other, accused))


def prove_two_digests(chain: Chain, deal: Deal, one: tuple[Any, ...], other: tuple[Any, ...]) -> Receipt:
    """Show two signed digests (:func:`sign_link`) of the same messages that differ."""
    return chain.disputes.prove_two_digests(*deal.terms, one, other)


def prove_false_opening(chain: Chain, deal: Deal, opening: Opening, signature: bytes) -> Receipt:
    """Show a signed opening that does not lead to the commitment which it names."""
    return chain.disputes.prove_false_opening(*deal.terms, opening, signature)


def prove_lateness(chain: Chain, deal: Deal) -> Receipt:
    """Find at fault who staked a bond and missed a deadline of an expired task."""
    return chain.disputes.prove_lateness(*deal.terms)


def tender_acceptance(chain: Chain, deal: Deal) -> Receipt:
    """Record in time that the own account accepts the first attempt, when the ledger refuses it for another's fault, or before the
    task is proposed, so that a requester that proposes too late makes nobody late."""
    digest = typed.acceptance_digest(chain.domain("TaskLedger"), deal.task, deal.proposal.spec, 1)
    return chain.disputes.tender_acceptance(deal.proposal, chain.own().address, chain.own().sign_digest(digest))


def tender_result(chain: Chain, deal: Deal, envelope: bytes) -> Receipt:
    """Record in time that the own account signed a result of the running attempt, when another withholds its signature.
    ``envelope``: the DSSE envelope with the own signature."""
    account = chain.own().address
    return chain.disputes.tender_result(deal.proposal, account, signed_result(envelope, account))


def signed_result(envelope: bytes, account: str) -> tuple[Any, ...]:
    """The on-chain result of an envelope's statement with ``account``'s signature. Raises MalformedDocument."""
    read = Envelope.parse(envelope)
    if account not in read.signatures:
        raise MalformedDocument("the statement does not bear this account's signature", party=account)
    return result_of(Statement.parse(read.payload)).as_tuple(), read.signatures[account]


def sign_link(chain: Chain, link: LinkDigest) -> tuple[Any, ...]:
    """A link's digest, its signer and its signature, as the contract takes them. Sign a direction once, when the run is over."""
    signer = chain.own()
    return link.as_tuple(), signer.address, signer.sign_digest(link_digest(chain.domain("Disputes"), link))


def sign_opening(chain: Chain, opening: Opening) -> bytes:
    """The own signature of an opening."""
    return bytes(chain.own().sign_digest(opening_digest(chain.domain("Disputes"), opening)))


def disputes_of(chain: Chain, deal: Deal) -> list[DisputeRecord]:
    """Every dispute about a task, in the order of the chain."""
    found: dict[bytes, DisputeRecord] = {}
    for event in chain.events(0, chain.head()):
        if event.contract != "Disputes" or event.arguments.get("task") != deal.task:
            continue
        if event.name == "DisputeRaised":
            found[event["dispute"]] = _raised(event)
        elif event.name == "OpinionGiven":
            found[event["dispute"]].opinions[event["arbiter"]] = event["uphold"]
        elif event.name == "DisputeDecided":
            outcome = "upheld" if event["upheld"] else "dismissed"
            found[event["dispute"]] = replace(found[event["dispute"]], outcome=outcome, by_default=event["byDefault"])
    return list(found.values())


def breaches_of(chain: Chain, deal: Deal) -> list[dict[str, Any]]:
    """Every breach that the contract saw in a task, and every link whose ends contradict one another: one of the two lies."""
    found = []
    for event in chain.events(0, chain.head()):
        if event.arguments.get("task") != deal.task:
            continue
        if event.name == "BreachProved":
            found.append({"accused": event["accused"], "breach": BREACHES[event["breach"]], "block": event.block})
        elif event.name == "LinkContradicted":
            ends = f"{event['from']} or {event['to']}"
            said = {"accused": ends, "breach": f"{CONTRADICTION} in attempt {event['attempt']}", "block": event.block}
            if all((said["accused"], said["breach"]) != (each["accused"], each["breach"]) for each in found):
                found.append(said)  # anybody may show a contradiction again: it says no more the second time
    return found


def _raised(event: Event) -> DisputeRecord:
    return DisputeRecord(
        dispute=canonical.hex32(event["dispute"]),
        task=canonical.hex32(event["task"]),
        challenger=event["challenger"],
        accused="" if event["accused"] == COIN else event["accused"],
        reason=reason_words(event["reason"]),
        evidence=canonical.hex32(event["evidence"]),
        rule_by=event["ruleBy"],
        outcome="pending",
        by_default=False,
        opinions={},
    )
