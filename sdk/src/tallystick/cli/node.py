"""`tally node`: what the nodes in the settings say about themselves."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tallystick.cli.session import address, of
from tallystick.client import Nodes
from tallystick.protocol.errors import Configuration, PeerFailed, TallystickError
from tallystick.wire import node_pb2

app = typer.Typer(name="node", help="Look at nodes.", no_args_is_help=True)
SECONDS = 3.0
COLUMNS = ("account", "name", "workloads", "indexed_block", "release", "fault")


@app.command("info")
def info(
    context: typer.Context,
    account: Annotated[str, typer.Argument(help="Only this account's node.")] = "",
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to wait for each.")] = SECONDS,
) -> None:
    """Ask the nodes in the settings who they are and what they run; one that does not answer is a fault."""
    session = of(context)
    asked = session.nodes()
    accounts = [address(account)] if account else asked.accounts
    if not accounts:
        raise Configuration("the settings name no node", remedy='add [nodes] with account = "host:port" to tally.toml')
    rows = [described(asked, each, seconds) for each in accounts]
    shown = rows if session.terminal.json_output else [{**row, "release": row["release"][:17]} for row in rows]
    session.terminal.table(COLUMNS, shown)
    lost = [row for row in rows if row["fault"]]
    if lost:
        raise PeerFailed(
            f"{len(lost)} of {len(rows)} nodes did not answer as they should",
            party=lost[0]["account"],
            remedy=lost[0]["remedy"] or "check the address, and ask whoever runs it",
        )


def described(nodes: Nodes, account: str, seconds: float) -> dict[str, Any]:
    """What one node says about itself, or why it does not."""
    row: dict[str, Any] = {"account": account, "address": nodes.address(account)}
    try:
        said = nodes.call(account, "GetInfo", node_pb2.InfoRequest(), seconds)
    except TallystickError as error:
        empty: dict[str, Any] = {
            "name": "",
            "release": "",
            "protocol_versions": [],
            "chain_id": None,
            "head_block": None,
            "indexed_block": None,
        }
        return {**row, **empty, "workloads": [], "fault": error.message, "remedy": error.remedy}
    return {
        **row,
        "name": said.name,
        "release": said.release,
        "protocol_versions": list(said.protocol_versions),
        "chain_id": said.chain_id,
        "head_block": said.head_block,
        "indexed_block": said.indexed_block,
        "workloads": list(said.workloads),
        "fault": "" if said.account == account else f"it answers for {said.account}",
        "remedy": "",
    }
