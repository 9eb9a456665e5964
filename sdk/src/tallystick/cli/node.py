"""`tally node`: the nodes in the settings."""

from __future__ import annotations

import socket
from typing import Annotated, Any

import typer

from tallystick.cli.session import Session, of
from tallystick.protocol.errors import Configuration, PeerFailed

app = typer.Typer(name="node", help="Look at nodes.", no_args_is_help=True)
SECONDS = 3.0


@app.command("info")
def info(context: typer.Context) -> None:
    """Show the nodes that the settings name."""
    session = of(context)
    session.terminal.table(("account", "address"), [{"account": a, "address": b} for a, b in nodes(session).items()])


@app.command("check")
def check(
    context: typer.Context,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to wait for each.")] = SECONDS,
) -> None:
    """Try to reach every node that the settings name."""
    session = of(context)
    rows = [
        {
            "account": account,
            "address": where,
            "reachable": (fault := unreachable(where, seconds)) == "",
            "fault": fault,
        }
        for account, where in nodes(session).items()
    ]
    session.terminal.table(("account", "address", "reachable", "fault"), rows)
    lost = [row for row in rows if not row["reachable"]]
    if lost:
        raise PeerFailed(
            f"{len(lost)} of {len(rows)} nodes cannot be reached",
            party=str(lost[0]["account"]),
            remedy="check the address, and ask whoever runs it",
        )


def nodes(session: Session) -> dict[str, str]:
    """The nodes in the settings: account to host:port. Raises Configuration."""
    found: Any = session.settings.get("nodes", {})
    if not isinstance(found, dict) or not all(isinstance(where, str) for where in found.values()):
        raise Configuration("the setting 'nodes' is not a table of account = \"host:port\"")
    return dict(found)


def unreachable(where: str, seconds: float) -> str:
    """Why a TCP connection to host:port fails; empty when it does not."""
    host, _, port = where.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=seconds):
            return ""
    except (OSError, ValueError, OverflowError) as error:
        return type(error).__name__
