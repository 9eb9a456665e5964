"""`tally algorithm`: register code, and review that of others before owners let it run over their data."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick.chain import algorithms
from tallystick.chain.connection import Receipt
from tallystick.cli.enclave import KINDS
from tallystick.cli.session import Session, of, read, write
from tallystick.protocol import canonical
from tallystick.protocol.algorithm import AlgorithmCard, ReadTable, code_digest, verdict_word
from tallystick.protocol.errors import MalformedDocument

app = typer.Typer(name="algorithm", help="Register code, and review that of others.", no_args_is_help=True)
Code = Annotated[Path, typer.Argument(help="The code: NAME.sql, NAME.json of a fit, NAME.wasm, or NAME.py.")]
Digest = Annotated[str, typer.Argument(help="The digest of the code, sha256:….")]
CARD = ".card.json"


class Verdict(StrEnum):
    """What a reviewer says."""

    APPROVED = "approved"
    REJECTED = "rejected"


@app.command("register")
def register(
    context: typer.Context,
    code: Code,
    name: Annotated[str, typer.Option(help="What the algorithm is called. It goes into the card, not on chain.")],
    release: Annotated[str, typer.Option(help="Its version.")],
    table: Annotated[list[str], typer.Option(help="A table that it reads, NAME=COLUMN,COLUMN; repeatable.")],
    gives: Annotated[str, typer.Option(help="What it gives out, in words.")],
    out: Annotated[Path | None, typer.Option(help="Where the card goes (default CODE.card.json).")] = None,
) -> None:
    """Write the card of an algorithm, and register the digests of code and card as the own account's (an algorithm provider)."""
    session = of(context)
    digest = canonical.text(code_digest(read(code)))
    card = AlgorithmCard(name, release, _kind(code), digest, tuple(map(_table, table)), gives)
    path = out or code.with_name(code.name + CARD)
    # The file first: the same words give the same card, so what the chain does not take now is sent again later.
    if not path.exists() or read(path) != card.to_bytes():
        write(path, card.to_bytes())
    sent = algorithms.register(session.chain(signing=True), card)
    _done(session, sent, {"algorithm": digest, "grant": f"enclave:{digest}", "card": str(path)})


@app.command("show")
def show(
    context: typer.Context,
    digest: Digest,
    card: Annotated[Path | None, typer.Option(help="Its card, to be held against the chain and shown.")] = None,
) -> None:
    """Show what the chain holds of an algorithm, and how many approve and reject it."""
    session = of(context)
    chain, code = session.chain(), canonical.untext(digest)
    found = algorithms.algorithm_of(chain, code)
    said = algorithms.reviews_of(chain, code)
    counted = (0, 0) if found.withdrawn else algorithms.approvals(chain, code, [each.reviewer for each in said])
    shown: dict[str, Any] = {
        "algorithm": digest,
        "author": found.author,
        "kind": found.kind,
        "card": canonical.text(found.card),
        "registered_at": found.registered_at,
        "withdrawn": found.withdrawn,
        "approved": counted[0],
        "rejected": counted[1],
    }
    if card is not None:
        described = AlgorithmCard.parse(read(card))
        algorithms.require_card(found, described)
        reads = [f"{each.name}: {', '.join(each.columns)}" for each in described.tables]
        shown |= {"name": described.name, "version": described.version, "reads": reads, "gives": described.gives}
    session.terminal.record(shown)


@app.command("review")
def review(
    context: typer.Context,
    code: Code,
    verdict: Annotated[Verdict, typer.Argument(help="approved or rejected: what the own account says after reading it.")],
    card: Annotated[Path, typer.Option(help="Its card, as its author gave it.")],
    reason: Annotated[Path, typer.Option(help="The written reason; its digest alone goes on chain. Keep the file.")],
) -> None:
    """Approve or reject code of another participant, in the place of the opposite that was said before (any active participant)."""
    session = of(context)
    content = read(code)
    chain = session.chain(signing=True)
    described = AlgorithmCard.parse(read(card))
    sent = algorithms.review(chain, content, described, read(reason), approved=verdict is Verdict.APPROVED)
    said = sent.event("AlgorithmReviewed")
    digests = {"algorithm": canonical.text(said["code"]), "reason": canonical.text(said["reason"])}
    _done(session, sent, {**digests, "verdict": verdict.value, "reviewer": said["reviewer"]})


@app.command("withdraw")
def withdraw(context: typer.Context, digest: Digest) -> None:
    """End an algorithm's registration, for good (its author)."""
    session = of(context)
    sent = session.chain(signing=True).algorithms.withdraw(canonical.untext(digest))
    _done(session, sent, {"algorithm": digest})


@app.command("reviews")
def reviews(context: typer.Context, digest: Digest) -> None:
    """List everything that reviewers said of an algorithm, in the order of the chain, and what of it stands."""
    session = of(context)
    chain, code = session.chain(), canonical.untext(digest)
    algorithms.algorithm_of(chain, code)
    with session.index(chain) as index:
        events = index.events("AlgorithmReviewed", about=code)
        times = index.times({event.block for event in events})
    last = {event["reviewer"]: event for event in events}
    rows = [
        {
            "reviewer": event["reviewer"],
            "verdict": verdict_word(event["approved"]),
            "stands": last[event["reviewer"]] is event,
            "reason": canonical.text(event["reason"]),
            "at": times[event.block],
            "block": event.block,
        }
        for event in events
    ]
    session.terminal.table(("reviewer", "verdict", "stands", "reason", "at", "block"), rows)


def _kind(code: Path) -> str:
    kind = KINDS.get(code.suffix)
    if kind is None:
        raise MalformedDocument(
            f"the code's name ends in none of {', '.join(KINDS)}", party=str(code), remedy="give the file the name of its kind"
        )
    return kind


def _table(text: str) -> ReadTable:
    name, _, columns = text.partition("=")
    named = tuple(filter(None, columns.split(",")))
    if not name or not named:
        raise MalformedDocument(
            f"{text[:80]!r} is not NAME=COLUMN,COLUMN", remedy="name a table as the code does, and what it reads"
        )
    return ReadTable(name, named)


def _done(session: Session, sent: Receipt, more: dict[str, Any]) -> None:
    session.terminal.record({**more, "block": sent.block, "transaction": sent.transaction})
