"""`tally dispute`: breaches that the contract sees, and challenges that arbiters judge."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from tallystick.chain.connection import Chain, Receipt
from tallystick.cli.session import Session, address, hex32, of, read_pieces
from tallystick.cli.settlement import Spec, given, task_id
from tallystick.cli.task import Task
from tallystick.client import disputes, settlement
from tallystick.client.settlement import Deal
from tallystick.protocol import canonical
from tallystick.protocol.agreement import Demand
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.reasons import Reason
from tallystick.protocol.statement import Envelope, Statement

app = typer.Typer(name="dispute", help="Prove breaches, challenge statements and judge.", no_args_is_help=True)
DisputeId = Annotated[str, typer.Argument(help="A dispute's id, 0x….")]
Evidence = Annotated[
    Path, typer.Argument(help="The file to show the arbiters: its SHA-256 goes on chain, the file stays with you.")
]


@app.command("challenge")
def challenge(
    context: typer.Context,
    task: Task,
    evidence: Evidence,
    accused: Annotated[str, typer.Option(help="The party at fault; without it the statement itself.")] = "",
    reason: Annotated[int, typer.Option(min=1, max=65535, help="A reason code of docs/spec/task.md.")] = int(
        Reason.STATEMENT_MISMATCH
    ),
) -> None:
    """Challenge a party or the statement of a task that is over (a participant with a bond at stake, where bonds are asked)."""
    session, chain, deal = _opened(context, task)
    sent = disputes.challenge(chain, deal, address(accused) if accused else "", reason, digest_of(evidence))
    raised = sent.event("DisputeRaised")
    _done(session, sent, dispute=raised["dispute"], evidence=raised["evidence"], rule_by=raised["ruleBy"])


@app.command("demand")
def demand(
    context: typer.Context,
    task: Task,
    bundle: Annotated[Path, typer.Argument(help="The task's bundle, whose statement names the commitments to the rows.")],
    owner: Annotated[str, typer.Option(help="The party whose dataset it is.")],
    row: Annotated[int, typer.Option(min=0, help="The row's number, from 0.")],
    rows: Annotated[int, typer.Option(min=1, help="How many rows the dataset has, as its descriptor says.")],
) -> None:
    """Demand that an owner shows where a row stands in its dataset (as a challenge; its node answers by itself)."""
    session, chain, deal = _opened(context, task)
    statement = Statement.parse(Envelope.parse(Bundle.read(bundle).statement).payload)
    named = {each.party: each for each in statement.inputs}
    if statement.task != task_id(task) or address(owner) not in named:
        raise MalformedDocument("the bundle is of another task, or the owner has no dataset in it", party=str(bundle))
    part = named[address(owner)]
    asked = Demand(canonical.unhex32(part.dataset), canonical.untext(part.rows), row, rows)
    sent = disputes.demand_opening(chain, deal, asked)
    raised = sent.event("DisputeRaised")
    _done(session, sent, dispute=raised["dispute"], accused=raised["accused"], rule_by=raised["ruleBy"])


@app.command("judge")
def judge(
    context: typer.Context,
    task: Task,
    dispute: DisputeId,
    reasons: Evidence,
    uphold: Annotated[bool, typer.Option("--uphold/--dismiss", help="The opinion.")],
) -> None:
    """Give an arbiter's opinion, with the digest of its written reasons."""
    session, chain, deal = _opened(context, task)
    sent = disputes.judge(chain, deal, hex32(dispute), uphold=uphold, reasons=digest_of(reasons))
    _done(session, sent, dispute=dispute, decided=any(event.name == "DisputeDecided" for event in sent.events))


@app.command("conclude")
def conclude(context: typer.Context, task: Task, dispute: DisputeId) -> None:
    """Decide by default what the arbiters left open after the deadline (anyone)."""
    session, chain, deal = _opened(context, task)
    sent = disputes.conclude(chain, deal, hex32(dispute))
    _done(session, sent, dispute=dispute, upheld=sent.event("DisputeDecided")["upheld"])


@app.command("statements")
def statements(
    context: typer.Context,
    task: Task,
    accused: Annotated[str, typer.Argument(help="The account that signed both.")],
    one: Annotated[Path, typer.Argument(help="A bundle with one statement.")],
    other: Annotated[Path, typer.Argument(help="A bundle with the other.")],
) -> None:
    """Prove that a party signed two different statements of one attempt (anyone)."""
    session, chain, deal = _opened(context, task)
    sent = disputes.prove_two_statements(chain, deal, address(accused), Bundle.read(one).statement, Bundle.read(other).statement)
    _done(session, sent, accused=sent.event("BreachProved")["accused"])


@app.command("late")
def late(context: typer.Context, task: Task) -> None:
    """Find at fault who staked a bond and missed a deadline of an expired task (anyone)."""
    session, chain, deal = _opened(context, task)
    sent = disputes.prove_lateness(chain, deal)
    accused = [event["accused"] for event in sent.events if event.name == "BreachProved"]
    _done(session, sent, accused=accused)


@app.command("tender")
def tender(context: typer.Context, task: Task, spec: Spec = None) -> None:
    """Record in time that the own account accepts a task, when the ledger refuses its acceptance or a late proposal may (party)."""
    session = of(context)
    chain = session.chain(signing=True)
    deal = settlement.deal_of(chain, task_id(task), given(spec))
    _done(session, disputes.tender_acceptance(chain, deal), party=chain.own().address)


@app.command("list")
def listing(context: typer.Context, task: Task) -> None:
    """List what was disputed about a task and what came of it, and the breaches that the contract saw."""
    session = of(context)
    chain = session.chain()
    deal = settlement.deal_of(chain, task_id(task))
    found = [vars(each) for each in disputes.disputes_of(chain, deal)]
    breaches = disputes.breaches_of(chain, deal)
    if session.terminal.json_output:
        session.terminal.json({"disputes": found, "breaches": breaches})
        return
    session.terminal.table(("dispute", "challenger", "accused", "reason", "outcome", "by_default", "rule_by"), found)
    session.terminal.table(("accused", "breach", "block"), breaches)


def digest_of(path: Path) -> bytes:
    """The plain SHA-256 of a file. Raises NotFound."""
    found = hashlib.sha256()
    for piece in read_pieces(path):
        found.update(piece)
    return found.digest()


def _opened(context: typer.Context, task: str) -> tuple[Session, Chain, Deal]:
    session = of(context)
    chain = session.chain(signing=True)
    return session, chain, settlement.deal_of(chain, task_id(task))


def _done(session: Session, sent: Receipt, **what: object) -> None:
    session.terminal.record({**what, "block": sent.block, "transaction": sent.transaction})
