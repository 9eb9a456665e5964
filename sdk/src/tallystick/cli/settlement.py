"""`tally settlement`: fees and bonds of tasks."""

from __future__ import annotations

import json
import re
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Annotated

import typer

from tallystick.chain.connection import Receipt
from tallystick.cli.session import Session, address, hex32, of, read, read_json, write
from tallystick.cli.task import Task
from tallystick.client import settlement
from tallystick.client.settlement import STAGES
from tallystick.protocol import canonical
from tallystick.protocol.agreement import COIN, WHOLE, Agreement
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields, order
from tallystick.protocol.task import Proposal, TaskSpec, proposal_of

app = typer.Typer(name="settlement", help="Pay for tasks, stake bonds, settle and claim.", no_args_is_help=True)
MAX_SIGNATURE = 4096  # bytes: a contract account's may be longer than a key's
UNITS = {"wei": 1, "gwei": 10**9, "ether": 10**18}
Spec = Annotated[Path | None, typer.Option(help="The task's spec, for a task that is not proposed yet.")]


@app.command("open")
def open_(
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(help="The task spec (JSON), drafted and not yet submitted.")],
    fee: Annotated[str, typer.Option(help="For the whole task: a number with wei, gwei or ether; plain units of a token.")] = "0",
    bond: Annotated[str, typer.Option(help="What each participant stakes; as the fee.")] = "0",
    price: Annotated[
        str, typer.Option(help="Of each use that is debited of a party's grant, in the place of shares; the fee is the most paid.")
    ] = "0",
    share: Annotated[list[str] | None, typer.Option(help="ACCOUNT=BASIS_POINTS, 10000 in all; equal shares without any.")] = None,
    token: Annotated[str, typer.Option(help="An ERC-20 that fee and bonds are in; without it the chain's own coin.")] = "",
    arbiter: Annotated[list[str] | None, typer.Option(help="Who judges challenges; repeatable. The governor without any.")] = None,
    dispute_hours: Annotated[float, typer.Option(min=0.0003, max=720, help="For evidence and challenges after the end.")] = 24,
    ruling_hours: Annotated[float, typer.Option(min=0.0003, max=720, help="For the arbiters after a challenge.")] = 72,
    measured: Annotated[bool, typer.Option("--measured", help="Contributions that all sign may replace the shares.")] = False,
    upheld_by_default: Annotated[
        bool, typer.Option("--upheld-by-default", help="When the arbiters are silent, challenges are upheld.")
    ] = False,
) -> None:
    """Declare fee, bonds, shares and arbiters of a task and deposit the fee (requester, before anybody accepts)."""
    session = of(context)
    proposal = proposal_of(TaskSpec.parse(read(spec)))
    if share and amount(price):
        raise MalformedDocument("a task has shares or a price for each use, not both", remedy="leave out --share or --price")
    agreement = Agreement(
        task=proposal.id(),
        token=address(token) if token else COIN,
        fee=amount(fee),
        bond=amount(bond),
        dispute_seconds=round(dispute_hours * 3600),
        ruling_seconds=round(ruling_hours * 3600),
        measured=measured,
        upheld_by_default=upheld_by_default,
        shares=() if amount(price) else _shares(share or [], proposal.accounts),
        arbiters=tuple(sorted({address(each) for each in arbiter or ()}, key=order)),
        price=amount(price),
    )
    sent = settlement.open_agreement(session.chain(signing=True), proposal, agreement)
    _done(
        session,
        sent,
        task=proposal.id(),
        agreement=agreement.id(),
        shares=dict(zip(proposal.accounts, agreement.shares, strict=False)),
    )


@app.command("post")
def post(context: typer.Context, task: Task, spec: Spec = None) -> None:
    """Stake the agreement's bond for the own account, before the task starts."""
    session = of(context)
    chain = session.chain(signing=True)
    deal = settlement.agreed_deal_of(chain, task_id(task), given(spec))
    _done(session, settlement.post_bond(chain, deal), task=deal.task, bond=deal.agreement.bond)


@app.command("show")
def show(context: typer.Context, task: Task, spec: Spec = None) -> None:
    """Show a task's agreement, who staked, until when it may be disputed, and who gets what."""
    session = of(context)
    chain = session.chain()
    deal = settlement.agreed_deal_of(chain, task_id(task), given(spec))
    agreement, stage = deal.agreement, STAGES[chain.settlement.escrow_of(deal.task)["stage"]]
    session.terminal.record(
        {
            "task": deal.task,
            "stage": stage,
            "token": "" if agreement.token == COIN else agreement.token,
            "fee": agreement.fee,
            "bond": agreement.bond,
            "price": agreement.price,
            "uses": {party.account: party.uses for party in deal.proposal.parties} if agreement.price else {},
            "shares": dict(zip(deal.proposal.accounts, agreement.shares, strict=False)),
            "measured": agreement.measured,
            "arbiters": list(agreement.arbiters) or [chain.participants.governor()],
            "upheld_by_default": agreement.upheld_by_default,
            "dispute_seconds": agreement.dispute_seconds,
            "ruling_seconds": agreement.ruling_seconds,
            "staked": settlement.posted_by(chain, deal),
            "closes_at": settlement.closes_at(chain, deal),
            "payouts": settlement.payouts_of(chain, deal) if stage in ("paid", "returned") else {},
        }
    )


@app.command("sign")
def sign(
    context: typer.Context,
    task: Task,
    share: Annotated[list[str], typer.Option(help="ACCOUNT=BASIS_POINTS, as measured; 10000 in all.")],
    out: Annotated[Path, typer.Option(help="Where the signature goes: hand it to whoever relays them.")],
) -> None:
    """Sign the measured contributions of a proved task (party)."""
    session = of(context)
    chain = session.chain(signing=True)
    deal = settlement.agreed_deal_of(chain, task_id(task))
    shares = _shares(share, deal.proposal.accounts)
    signature = settlement.sign_contributions(chain, deal, shares)
    signed = {
        "task": canonical.hex32(deal.task),
        "account": chain.own().address,
        "shares": shares,
        "signature": "0x" + signature.hex(),
    }
    write(out, json.dumps(signed, sort_keys=True).encode())
    session.terminal.record({**signed, "file": str(out)})


@app.command("measure")
def measure(
    context: typer.Context,
    task: Task,
    signature: Annotated[list[Path], typer.Argument(help="The signatures of every party.")],
) -> None:
    """Record contributions that every party signed, in the place of the declared shares (anyone)."""
    session = of(context)
    chain = session.chain(signing=True)
    deal = settlement.agreed_deal_of(chain, task_id(task))
    given = [_signed(read_json(path), path, deal) for path in signature]
    if len({shares for _, shares, _ in given}) != 1:
        raise MalformedDocument("the signatures are over different shares", remedy="let every party sign the same shares")
    sent = settlement.measure(chain, deal, given[0][1], {account: signed for account, _, signed in given})
    _done(session, sent, task=deal.task, shares=dict(zip(deal.proposal.accounts, given[0][1], strict=True)))


@app.command("settle")
def settle(context: typer.Context, task: Task, spec: Spec = None) -> None:
    """Divide fee and bonds of a task that is over and not disputed (anyone)."""
    session = of(context)
    chain = session.chain(signing=True)
    deal = settlement.agreed_deal_of(chain, task_id(task), given(spec))
    sent = settlement.settle(chain, deal)
    _done(session, sent, task=deal.task, paid=sent.event("TaskSettled")["paid"], payouts=settlement.payouts_of(chain, deal))


@app.command("claim")
def claim(
    context: typer.Context,
    task: Task,
    to: Annotated[str, typer.Option(help="The account to pay to; without it the own.")] = "",
    spec: Spec = None,
) -> None:
    """Take what the own account is owed of a settled task."""
    session = of(context)
    chain = session.chain(signing=True)
    deal = settlement.agreed_deal_of(chain, task_id(task), given(spec))
    paid = settlement.claim(chain, deal, address(to) if to else None)
    event = paid.event("PaidOut")
    _done(session, paid, task=deal.task, amount=event["amount"], to=event["to"])


def task_id(text: str) -> str:
    """A task's id on the command line, in its one form. Raises MalformedDocument."""
    return canonical.hex32(hex32(text))


def amount(text: str) -> int:
    """An amount on the command line: `250`, `12wei`, `1.5 gwei`, `0.2ether`. Raises MalformedDocument."""
    found = re.fullmatch(r"(\d{1,40}(?:\.\d{1,18})?)\s*(wei|gwei|ether)?", text.strip())
    with localcontext(prec=80):  # more than the longest amount has digits: nothing is rounded
        exact = Decimal(found[1]) * UNITS[found[2] or "wei"] if found else Decimal(-1)
    if exact != int(exact) or not 0 <= exact < 2**128:
        raise MalformedDocument("not an amount such as 250, 1.5gwei or 0.2ether, in whole units", party=text[:60])
    return int(exact)


def _shares(given: list[str], accounts: tuple[str, ...]) -> tuple[int, ...]:
    if not given:
        part, rest = divmod(WHOLE, len(accounts))
        return tuple(part + (index < rest) for index in range(len(accounts)))
    found: dict[str, int] = {}
    for each in given:
        account, _, points = each.partition("=")
        if not re.fullmatch(r"\d{1,5}", points) or address(account) not in accounts or address(account) in found:
            raise MalformedDocument("a share is ACCOUNT=BASIS_POINTS, once for a party of the task", party=each[:80])
        found[address(account)] = int(points)
    return tuple(found.get(account, 0) for account in accounts)


def _signed(value: object, path: Path, deal: settlement.Deal) -> tuple[str, tuple[int, ...], bytes]:
    """Account, shares and signature in a file that a party handed over. Raises MalformedDocument."""
    count = len(deal.proposal.accounts)
    try:
        fields = Fields(value, ("task", "account", "shares", "signature"), "contributions")
        fields.constant("task", canonical.hex32(deal.task))
        shares = fields.items(
            "shares", count, count, lambda each, where: Fields({"it": each}, ("it",), where).integer("it", 0, WHOLE)
        )
        return fields.address("account"), shares, fields.hexbytes("signature", MAX_SIGNATURE)
    except MalformedDocument as error:
        raise MalformedDocument(error.message, party=str(path), remedy="ask the party to sign again") from None


def given(spec: Path | None) -> Proposal | None:
    """The proposal of a spec that is not proposed yet."""
    return proposal_of(TaskSpec.parse(read(spec))) if spec else None


def _done(session: Session, sent: Receipt, **what: object) -> None:
    session.terminal.record({**what, "block": sent.block, "transaction": sent.transaction})
