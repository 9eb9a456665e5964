"""`tally audit`: logs of accesses and refusals, and their check against the heads anchored on chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.participant import address
from tallystick.cli.session import of, read
from tallystick.protocol.audit import AuditRecord, verify_log
from tallystick.protocol.errors import NotFound

app = typer.Typer(name="audit", help="Read and check audit logs.", no_args_is_help=True)
Folder = Annotated[Path, typer.Argument(help="Folder with the records, one .json file each, in the order of the names.")]


@app.command("refusals")
def refusals(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(help="Folder of records; without it the nodes are asked.")] = None,
) -> None:
    """Show what was refused, by which rule."""
    _show(context, records_of(folder) if folder else of(context).client().refusals(), "refusal")


@app.command("log")
def log(context: typer.Context, folder: Folder) -> None:
    """Show the records of a log. Signatures are checked by `tally audit check`."""
    _show(context, records_of(folder), "")


@app.command("check")
def check(context: typer.Context, folder: Folder, account: Annotated[str, typer.Option(help="Whose log it is.")]) -> None:
    """Check a complete log: every signature, every index, and every head that the account anchored."""
    session = of(context)
    owner, chain = address(account), session.chain()
    heads = [(event["size"], event["root"]) for event in session.events(chain, "Anchored") if event["account"] == owner]
    records = records_of(folder)
    verify_log(records, chain_id=chain.deployment.chain_id, account=owner, heads=heads)
    anchored = heads[-1][0] if heads else 0
    session.terminal.record({"account": owner, "records": len(records), "anchored": anchored, "heads": len(heads), "verdict": "ok"})


def records_of(folder: Path) -> list[bytes]:
    """The records' bytes, in the order of their file names, shorter names first. Raises NotFound."""
    found = sorted(folder.glob("*.json"), key=lambda path: (len(path.name), path.name))
    if not found:
        raise NotFound("there are no records in this folder", party=str(folder), remedy="check the folder's name")
    return [read(path) for path in found]


def _show(context: typer.Context, records: list[bytes], kind: str) -> None:
    parsed = [AuditRecord.parse(record) for record in records]
    columns = ("index", "at", "kind", "account", "party", "rule", "message", "task", "dataset")
    rows = [{name: getattr(each, name) for name in columns} for each in parsed if not kind or each.kind == kind]
    of(context).terminal.table(columns, rows)
