"""`tally operator`: keys that act for a participant, so that its node does not hold the participant's own."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from tallystick.chain import operators
from tallystick.chain.connection import Receipt
from tallystick.cli.session import Session, address, of, read_json, write
from tallystick.protocol.errors import MalformedDocument
from tallystick.protocol.fields import Fields
from tallystick.protocol.operators import NODE, Scope, scope_names, scopes_named

app = typer.Typer(name="operator", help="Let a node's key act for a participant, and take that back.", no_args_is_help=True)
MAX_SIGNATURE = 4096  # bytes: a contract account's may be longer than a key's
Operator = Annotated[str, typer.Argument(help="The operator's account, 0x….")]
Scopes = Annotated[
    list[str] | None, typer.Option("--scope", help="accept, sign, report or stake; repeatable. The first three without any.")
]
Days = Annotated[float, typer.Option(min=0.01, max=3650, help="Days after which it ends.")]


@app.command("authorise")
def authorise(context: typer.Context, operator: Operator, scope: Scopes = None, days: Days = 90) -> None:
    """Let an operator act for the own account, in the place of what it might do before (participant)."""
    session = of(context)
    chain = session.chain(signing=True)
    ends = chain.now() + int(timedelta(days=days).total_seconds())
    _done(session, operators.authorise(chain, address(operator), _scopes(scope), ends))


@app.command("revoke")
def revoke(context: typer.Context, operator: Operator) -> None:
    """Take back, at once, what an operator may do for the own account, and what was signed and not relayed yet (participant)."""
    session = of(context)
    _done(session, operators.authorise(session.chain(signing=True), address(operator), Scope(0), 0))


@app.command("sign")
def sign(
    context: typer.Context,
    operator: Operator,
    out: Annotated[Path, typer.Option(help="Where the signed authorisation goes: anyone relays it.")],
    scope: Scopes = None,
    days: Days = 90,
) -> None:
    """Sign an authorisation instead of sending it: a key that holds no coins can authorise too (participant)."""
    session = of(context)
    chain = session.chain(signing=True)
    ends, scopes = chain.now() + int(timedelta(days=days).total_seconds()), _scopes(scope)
    signature = operators.sign_authorisation(chain, address(operator), scopes, ends)
    signed = {
        "account": chain.own().address,
        "operator": address(operator),
        "scopes": list(scope_names(scopes)),
        "not_after": ends,
        "signature": "0x" + signature.hex(),
    }
    write(out, json.dumps(signed, sort_keys=True).encode())
    session.terminal.record({**signed, "file": str(out)})


@app.command("relay")
def relay(context: typer.Context, signed: Annotated[Path, typer.Argument(help="A signed authorisation.")]) -> None:
    """Bring a signed authorisation to the chain (anyone)."""
    session = of(context)
    fields = Fields(read_json(signed), ("account", "operator", "scopes", "not_after", "signature"), "authorisation")
    names = fields.items("scopes", 0, len(Scope), lambda each, where: Fields({"it": each}, ("it",), where).string("it", 16))
    chain = session.chain(signing=True)
    sent = chain.participants.authorise_signed(
        fields.address("account"),
        fields.address("operator"),
        int(scopes_named(names)),
        fields.seconds("not_after"),
        fields.hexbytes("signature", MAX_SIGNATURE),
    )
    _done(session, sent)


@app.command("resign")
def resign(context: typer.Context, account: Annotated[str, typer.Argument(help="The participant, 0x….")]) -> None:
    """Act no more for a participant (its operator): for a key that may be stolen."""
    session = of(context)
    _done(session, session.chain(signing=True).participants.resign(address(account)))


@app.command("list")
def listing(context: typer.Context, account: Annotated[str, typer.Argument(help="The participant, 0x….")]) -> None:
    """List every operator that a participant ever had, and what each may do."""
    session = of(context)
    rows = [vars(each) for each in operators.operators_of(session.chain(), address(account))]
    session.terminal.table(("operator", "scopes", "not_after"), rows)


def _scopes(names: list[str] | None) -> Scope:
    scopes = scopes_named(names) if names else NODE
    if not scopes:
        raise MalformedDocument("an operator without scopes may do nothing", remedy="`tally operator revoke` takes everything back")
    return scopes


def _done(session: Session, sent: Receipt) -> None:
    said = sent.event("OperatorChanged")
    session.terminal.record(
        {
            "account": said["account"],
            "operator": said["operator"],
            "scopes": list(scope_names(said["scopes"])),
            "not_after": said["notAfter"],
            "block": sent.block,
            "transaction": sent.transaction,
        }
    )
