"""`tally audit`: logs of accesses and refusals, and their check against the heads anchored on chain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.session import Session, address, hex32, of, read, write
from tallystick.client import audit
from tallystick.client.audit import Listed
from tallystick.protocol import canonical
from tallystick.protocol.audit import AuditRecord
from tallystick.protocol.errors import NotFound

app = typer.Typer(name="audit", help="Read and check audit logs.", no_args_is_help=True)
Account = Annotated[str, typer.Argument(help="The account whose node keeps the log.")]
Folder = Annotated[Path | None, typer.Option(help="Read saved records from this folder instead of asking the node.")]
COLUMNS = ("index", "at", "kind", "rule", "message", "party", "task", "dataset")


@app.command("refusals")
def refusals(context: typer.Context) -> None:
    """Show what was refused and by which rule, at every node in the settings, as far as this account may see it."""
    session = of(context)
    nodes = session.nodes()
    found = [(account, each) for account in nodes.accounts for each in audit.listed(nodes, account, kind="refusal")]
    _show(session, found, ("node", "index", "at", "rule", "message", "party"))


@app.command("log")
def log(
    context: typer.Context,
    account: Account,
    kind: Annotated[str, typer.Option(help="Only this kind: refusal, access, run or statement.")] = "",
    task: Annotated[str, typer.Option(help="Only about this task.")] = "",
    dataset: Annotated[str, typer.Option(help="Only about this dataset.")] = "",
    folder: Folder = None,
    save: Annotated[Path | None, typer.Option(help="Also write each record into this folder.")] = None,
) -> None:
    """Show the records of a node's log that this account may see. `tally audit check` checks them."""
    session = of(context)
    owner = address(account)
    about = {"task": canonical.hex32(hex32(task)) if task else "", "dataset": canonical.hex32(hex32(dataset)) if dataset else ""}
    if folder is None:
        found = list(audit.listed(session.nodes(), owner, kind=kind, **about))
    else:
        found = [each for each in saved(folder) if _asked(each, {"kind": kind, **about})]
    for each in found if save else ():
        assert save is not None
        write(save / f"{each.index:08}.json", each.record, private=True)
    _show(session, [(owner, each) for each in found], COLUMNS[:-1])


@app.command("check")
def check(context: typer.Context, account: Account, folder: Folder = None) -> None:
    """Check a log: signatures, inclusion proofs against the anchored heads and, for whom may see all, that none is missing."""
    session = of(context)
    owner, chain = address(account), session.chain()
    if folder is None:
        verdict = audit.examine(session.nodes(), chain, owner, session.account())
    else:
        heads = audit.heads_of(chain, owner)
        due = max((size for size, _ in heads), default=0)
        verdict = audit.check(saved(folder), chain_id=chain.deployment.chain_id, account=owner, heads=heads, due=due)
    session.terminal.record({**vars(verdict), "verdict": "ok"})


def saved(folder: Path) -> list[Listed]:
    """The records of a folder, by their own index. Raises NotFound."""
    found = sorted(folder.glob("*.json"))
    if not found:
        raise NotFound("there are no records in this folder", party=str(folder), remedy="check the folder's name")
    records = [read(path) for path in found]
    return sorted((Listed(AuditRecord.parse(each).index, each) for each in records), key=lambda each: each.index)


def _asked(each: Listed, about: dict[str, str]) -> bool:
    record = AuditRecord.parse(each.record)
    return all(wanted in ("", getattr(record, name)) for name, wanted in about.items())


def _show(session: Session, found: Sequence[tuple[str, Listed]], columns: Sequence[str]) -> None:
    rows = []
    for account, each in found:
        record = AuditRecord.parse(each.record)
        row = {name: getattr(record, name) for name in COLUMNS}
        rows.append({"node": account, **row, "detail": dict(record.detail), "anchored": each.size > 0})
    session.terminal.table(columns, rows)
