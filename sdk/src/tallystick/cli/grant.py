"""`tally grant`: authorisations to use data, and what was used of them."""

from __future__ import annotations

import secrets
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick.cli.session import address, hex32, of, read, read_toml, write
from tallystick.client import GrantFile
from tallystick.protocol import canonical, typed
from tallystick.protocol.errors import MalformedDocument, NotFound
from tallystick.protocol.fields import order
from tallystick.protocol.grant import Grant, GrantTerms, Salts
from tallystick.protocol.narrowing import Narrowing

app = typer.Typer(name="grant", help="Allow and end the use of data.", no_args_is_help=True)
GrantId = Annotated[str, typer.Argument(help="A grant's id, 0x….")]
DAY = 86400


@app.command("issue")
def issue(
    context: typer.Context,
    terms: Annotated[Path, typer.Argument(help="TOML: dataset, grantee, purpose, algorithms, columns, receivers.")],
    out: Annotated[Path, typer.Option(help="The grant file: hand it to the grantee.")],
    uses: Annotated[int, typer.Option(min=1, max=2**32 - 1, help="How many attempts it allows.")] = 1,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Validity in days.")] = 30,
    epsilon: Annotated[str, typer.Option(help="Privacy budget, a decimal number.")] = "0",
) -> None:
    """Sign a grant as the dataset's owner and record it on chain. The file with its terms stays with you and the grantee."""
    session = of(context)
    stated = terms_of(read_toml(terms))
    chain = session.chain(signing=True)
    now = chain.now()
    given = Grant(
        canonical.unhex32(stated.dataset), stated.grantee, stated.root(), uses, _micros(epsilon), now - 60,
        max(now, int(time.time())) + days * DAY, secrets.token_bytes(32),
    )  # fmt: skip
    signature = chain.own().sign_digest(typed.grant_digest(chain.domain("GrantLedger"), given.id()))
    # The file first: a grant whose terms are lost can never be used.
    write(out, GrantFile(given, stated).to_bytes(), private=True)
    sent = chain.grants.issue(given, signature)
    session.terminal.record(
        {"grant": given.id(), "terms": given.terms, "file": str(out), "block": sent.block, "transaction": sent.transaction}
    )


@app.command("show")
def show(context: typer.Context, grant: GrantId) -> None:
    """Show a grant's counters."""
    session = of(context)
    found = session.chain().grants.account_of(hex32(grant))
    if not any(found["binding"]):
        raise NotFound("the chain knows no such grant", party=grant, remedy="`tally grant list` shows those it knows")
    session.terminal.record({"grant": grant.lower(), **found})


@app.command("list")
def listing(
    context: typer.Context,
    dataset: Annotated[str, typer.Option(help="Only for this dataset.")] = "",
    grantee: Annotated[str, typer.Option(help="Only to this account.")] = "",
) -> None:
    """List the grants with what was used of each."""
    session = of(context)
    rows: dict[bytes, dict[str, Any]] = {}
    for event in session.events(session.chain(), "Granted", "GrantNarrowed", "GrantRevoked", "Debited"):
        if event.name == "Granted":
            rows[event["grant"]] = {**event.arguments, "used": 0, "revoked": False}
        elif event["grant"] not in rows:  # revoked before anybody issued it
            continue
        elif event.name == "Debited":
            rows[event["grant"]]["used"] = event["used"]
        elif event.name == "GrantNarrowed":
            rows[event["grant"]] |= {name: event[name] for name in ("uses", "epsilonMicros", "notAfter")}
        else:
            rows[event["grant"]]["revoked"] = True
    found = [
        row
        for row in rows.values()
        if (not dataset or row["dataset"] == hex32(dataset)) and (not grantee or row["grantee"] == address(grantee))
    ]
    session.terminal.table(("grant", "dataset", "grantee", "used", "uses", "revoked"), found)


@app.command("revoke")
def revoke(context: typer.Context, grant: Annotated[Path, typer.Argument(help="The grant file.")]) -> None:
    """End a grant at once (the dataset's owner). One that is not on chain yet can never be issued afterwards."""
    session = of(context)
    given = GrantFile.parse(read(grant)).grant
    sent = session.chain(signing=True).grants.revoke(given)
    session.terminal.record({"grant": given.id(), "transaction": sent.transaction, "block": sent.block})


@app.command("narrow")
def narrow(
    context: typer.Context,
    grant: Annotated[Path, typer.Argument(help="The grant file.")],
    uses: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Uses in all, those made included.")] = None,
    epsilon: Annotated[str | None, typer.Option(help="Privacy budget in all, what was spent included.")] = None,
    days: Annotated[int | None, typer.Option(min=0, max=3650, help="Days from now that it is still valid.")] = None,
) -> None:
    """Lower what a grant still allows (the dataset's owner). To allow more, issue a new one."""
    session = of(context)
    given = GrantFile.parse(read(grant)).grant
    chain = session.chain(signing=True)
    found = chain.grants.account_of(given.id())
    limits = Narrowing(
        given.id(),
        found["uses"] if uses is None else uses,
        found["epsilonMicros"] if epsilon is None else _micros(epsilon),
        found["notAfter"] if days is None else chain.now() + days * DAY,
    )
    sent = chain.grants.narrow(given, limits, b"")
    narrowed = {name: sent.event("GrantNarrowed")[name] for name in ("uses", "epsilonMicros", "notAfter")}
    session.terminal.record({"grant": given.id(), **narrowed, "transaction": sent.transaction, "block": sent.block})


@app.command("inspect")
def inspect(context: typer.Context, grant: Annotated[Path, typer.Argument(help="A grant file.")]) -> None:
    """Show what a grant file allows, and the ids that stand on chain for it. Nothing is asked of the chain."""
    found = GrantFile.parse(read(grant))
    given, stated = found.grant, found.terms
    of(context).terminal.record(
        {
            "grant": given.id(),
            "terms": stated.root(),
            "dataset": stated.dataset,
            "grantee": stated.grantee,
            "purpose": stated.purpose,
            "algorithms": list(stated.algorithms),
            "columns": list(stated.columns),
            "receivers": list(stated.receivers),
            "uses": given.uses,
            "epsilon": str(Decimal(given.epsilon_micros) / 1_000_000),
            "not_before": given.not_before,
            "not_after": given.not_after,
        }
    )


def terms_of(value: dict[str, Any]) -> GrantTerms:
    """Terms from a TOML file, with fresh salts. Raises MalformedDocument."""
    keys = {"dataset", "grantee", "purpose", "algorithms", "columns", "receivers"}
    if value.keys() != keys or not all(isinstance(value[name], list) for name in ("algorithms", "columns", "receivers")):
        raise MalformedDocument("grant terms: other or missing names", remedy=f"write exactly {', '.join(sorted(keys))}")
    stated = GrantTerms(
        str(value["dataset"]).lower(),
        address(str(value["grantee"])),
        value["purpose"],
        tuple(sorted(value["algorithms"])),
        tuple(sorted(value["columns"])),
        tuple(sorted((address(str(each)) for each in value["receivers"]), key=order)),
        Salts(*("0x" + secrets.token_hex(32) for _ in range(4))),
    )
    return GrantTerms.parse(stated.to_bytes())


def _micros(text: str) -> int:
    try:
        micros = Decimal(text) * 1_000_000
    except InvalidOperation:
        micros = Decimal(-1)
    if not micros.is_finite() or micros != int(micros) or not 0 <= micros < 2**64:
        raise MalformedDocument("epsilon is a decimal number with at most six digits after the point", party=text[:40])
    return int(micros)
