"""`tally dataset`: what exists, whose it is, and what its rows were committed to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.session import hex32, of, read
from tallystick.protocol import canonical
from tallystick.protocol.dataset import DatasetDescriptor, schema_digest
from tallystick.protocol.errors import Configuration

app = typer.Typer(name="dataset", help="Publish and withdraw datasets.", no_args_is_help=True)
Dataset = Annotated[str, typer.Argument(help="A dataset's id, 0x….")]


@app.command("publish")
def publish(
    context: typer.Context,
    descriptor: Annotated[Path, typer.Argument(help="The descriptor (JSON) that committed to the rows.")],
    revise: Annotated[str, typer.Option(help="Publish it as a new version of this dataset.")] = "",
) -> None:
    """Publish a dataset's salted digests; its rows, names and columns stay where they are."""
    session = of(context)
    described = DatasetDescriptor.parse(read(descriptor))
    chain = session.chain(signing=True)
    assert chain.signer is not None
    if described.owner != chain.signer.address:
        raise Configuration("the descriptor names another owner", party=described.owner, remedy="sign as the owner")
    digests = (described.digest(), canonical.untext(described.root), schema_digest(described))
    if revise:
        sent = chain.send("DatasetRegistry", "revise", hex32(revise), *digests)
    else:
        sent = chain.send("DatasetRegistry", "publish", *digests)
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
    found = [row for row in rows.values() if not owner or str(row["owner"]).lower() == owner.lower()]
    session.terminal.table(("dataset", "owner", "version", "withdrawn", "block"), found)


@app.command("show")
def show(context: typer.Context, dataset: Dataset) -> None:
    """Show what the chain holds about a dataset."""
    session = of(context)
    found = session.chain().call("DatasetRegistry", "datasetAt", hex32(dataset))
    session.terminal.record({"dataset": dataset.lower(), **found})


@app.command("withdraw")
def withdraw(context: typer.Context, dataset: Dataset) -> None:
    """End all use of a dataset, for good (owner)."""
    session = of(context)
    sent = session.chain(signing=True).send("DatasetRegistry", "withdraw", hex32(dataset))
    session.terminal.record({"dataset": dataset.lower(), "transaction": sent.transaction, "block": sent.block})
