"""`tally dataset`: what exists, whose it is, and what its rows were committed to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.session import address, hex32, of, read, read_toml, write
from tallystick.protocol import canonical
from tallystick.protocol.dataset import COLUMN_TYPES, Column, DatasetDescriptor, schema_digest
from tallystick.protocol.errors import Configuration, MalformedDocument, NotFound

app = typer.Typer(name="dataset", help="Publish and withdraw datasets.", no_args_is_help=True)
Dataset = Annotated[str, typer.Argument(help="A dataset's id, 0x….")]


@app.command("publish")
def publish(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The dataset's name. It goes into the descriptor, not on chain.")],
    file: Annotated[str, typer.Argument(help="The data file, as a path below the node's data folder.")],
    column: Annotated[
        list[str] | None,
        typer.Option(help="A column as NAME:TYPE, decimals as NAME:decimal:DIGITS; a ? at the end if it may be empty. Repeatable."),
    ] = None,
    columns: Annotated[
        Path | None, typer.Option(help="TOML with a [[columns]] table for each: name, type, scale, nullable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the descriptor goes (default NAME.descriptor.json).")] = None,
) -> None:
    """Let the own node commit to the rows of a file, and publish the salted digests. Rows, names and columns stay there."""
    session = of(context)
    declared = _declared(column or [], columns)
    client = session.client()
    descriptor = client.attach(name, file, declared)
    # The file first: when the chain does not take it now, `tally dataset record` ends what was begun.
    path = out or Path(f"{name}.descriptor.json")
    write(path, descriptor.to_bytes(), private=True)
    dataset = client.record(descriptor)
    session.terminal.record({"dataset": dataset, "name": name, "rows": descriptor.rows, "version": 1, "descriptor": str(path)})


@app.command("record")
def record(
    context: typer.Context,
    descriptor: Annotated[Path, typer.Argument(help="A descriptor that `tally dataset publish` wrote.")],
    revise: Annotated[str, typer.Option(help="Record it as a new version of this dataset.")] = "",
) -> None:
    """Publish the digests of a descriptor that the node made before: after a failure of the chain, or as a new version."""
    session = of(context)
    described = DatasetDescriptor.parse(read(descriptor))
    chain = session.chain(signing=True)
    assert chain.signer is not None
    if described.owner != chain.signer.address:
        raise Configuration("the descriptor names another owner", party=described.owner, remedy="sign as the owner")
    digests = (described.digest(), canonical.untext(described.root), schema_digest(described))
    sent = chain.datasets.revise(hex32(revise), *digests) if revise else chain.datasets.publish(*digests)
    event = sent.event("Published")
    session.terminal.record(
        {"dataset": event["dataset"], "version": event["version"], "block": sent.block, "transaction": sent.transaction}
    )


@app.command("list")
def listing(context: typer.Context, owner: Annotated[str, typer.Option(help="Only this account's.")] = "") -> None:
    """List the datasets, in order of publication, with their latest version."""
    session = of(context)
    chain = session.chain()
    rows: dict[bytes, dict[str, object]] = {}
    for event in session.events(chain, "Published", "Withdrawn"):
        if event.name == "Published":
            rows[event["dataset"]] = {
                "dataset": event["dataset"],
                "owner": event["owner"],
                "version": event["version"],
                "withdrawn": False,
                "block": event.block,
            }
        else:
            rows[event["dataset"]]["withdrawn"] = True
    found = [row for row in rows.values() if not owner or row["owner"] == address(owner)]
    session.terminal.table(("dataset", "owner", "version", "withdrawn", "block"), found)


@app.command("show")
def show(context: typer.Context, dataset: Dataset) -> None:
    """Show what the chain holds about a dataset."""
    session = of(context)
    found = session.chain().datasets.dataset_at(hex32(dataset))
    if not found["version"]:
        raise NotFound("the chain knows no such dataset", party=dataset, remedy="`tally dataset list` shows those it knows")
    session.terminal.record({"dataset": dataset.lower(), **found})


@app.command("withdraw")
def withdraw(context: typer.Context, dataset: Dataset) -> None:
    """End all use of a dataset, for good (owner)."""
    session = of(context)
    sent = session.chain(signing=True).datasets.withdraw(hex32(dataset))
    session.terminal.record({"dataset": dataset.lower(), "transaction": sent.transaction, "block": sent.block})


def column_of(text: str) -> Column:
    """A column from NAME:TYPE, NAME:decimal:DIGITS, with a ? at the end when it may be empty. Raises MalformedDocument."""
    remedy = f"write NAME:TYPE with a type of {', '.join(COLUMN_TYPES)}; for decimals NAME:decimal:DIGITS"
    nullable, body = text.endswith("?"), text.removesuffix("?")
    head, _, last = body.rpartition(":")
    scale = int(last) if head and last.isascii() and last.isdigit() and len(last) < 4 else None
    name, _, kind = (head if scale is not None else body).rpartition(":")
    try:
        made = Column(name, kind, scale, nullable)
        return Column.from_json(made.to_json(), f"column {text[:80]!r}")
    except MalformedDocument as error:
        raise MalformedDocument(error.message, party=text[:80], remedy=remedy) from None


def _declared(texts: list[str], path: Path | None) -> list[Column]:
    if bool(texts) == (path is not None):
        raise Configuration("the columns are needed once", remedy="give --column for each, or --columns FILE")
    if path is None:
        return [column_of(text) for text in texts]
    found = read_toml(path).get("columns")
    if not isinstance(found, list) or not found:
        raise MalformedDocument("no [[columns]] in the file", party=str(path))
    return [Column.from_json({"nullable": False, **each} if isinstance(each, dict) else each) for each in found]
