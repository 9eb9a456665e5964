"""`tally provenance`: who used what, asked in six ways, answered in four forms."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.session import Session, of
from tallystick.client import result_files
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.errors import MalformedDocument, NotFound
from tallystick.provenance import Graph, Kind, Node, build, prov_json, query, svg, table

app = typer.Typer(name="provenance", help="Trace data, tasks and results.", no_args_is_help=True)


class Form(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"
    PROV = "prov"
    SVG = "svg"


Format = Annotated[Form, typer.Option("--format", help="table, json, prov (W3C PROV-JSON) or svg.")]
Bundles = Annotated[list[Path] | None, typer.Option("--bundle", help="A bundle that adds its documents; repeatable.")]


@app.command("dataset")
def dataset(context: typer.Context, dataset: str, format: Format = Form.TABLE, bundle: Bundles = None) -> None:
    """Every use of a dataset, forward to the results."""
    session = of(context)
    answer(session, query.by_dataset(graph_of(session, bundle), dataset), format, f"Uses of dataset {dataset[:10]}…")


@app.command("participant")
def participant(context: typer.Context, account: str, format: Format = Form.TABLE, bundle: Bundles = None) -> None:
    """Everything an account did or was asked for."""
    session = of(context)
    answer(session, query.by_participant(graph_of(session, bundle), account), format, f"Participant {account[:10]}…")


@app.command("task")
def task(context: typer.Context, task: str, format: Format = Form.TABLE, bundle: Bundles = None) -> None:
    """A task, with what led to it and what came of it."""
    session = of(context)
    answer(session, query.by_task(graph_of(session, bundle), task), format, f"Task {task[:10]}…")


@app.command("file")
def file(context: typer.Context, file: Path, format: Format = Form.TABLE, bundle: Bundles = None) -> None:
    """From a result file, or a model or other file that came with one, back to the certificates. A changed file is refused."""
    session = of(context)
    bundled = [content for path in bundle or () for content in read_bundle(path).results.values()]
    source = result_files.source_of(file, bundled)
    graph = query.by_file(graph_of(session, bundle, [source]), result_files.digest_of(file))
    if format is Form.TABLE and not session.terminal.json_output:
        for statement in graph.of(Kind.STATEMENT):
            session.terminal.record(_origin(graph, statement), title=f"Where {file.name} comes from")
    answer(session, graph, format, f"Origin of {file.name}")


@app.command("purpose")
def purpose(context: typer.Context, purpose: str, format: Format = Form.TABLE, bundle: Bundles = None) -> None:
    """The tasks for a purpose, where the bundles say it."""
    session = of(context)
    answer(session, query.by_purpose(graph_of(session, bundle), purpose), format, f"Purpose: {purpose}")


@app.command("period")
def period(context: typer.Context, first: str, last: str, format: Format = Form.TABLE, bundle: Bundles = None) -> None:
    """The tasks that something happened to between two times (ISO 8601, UTC where no zone is given; inclusive)."""
    session = of(context)
    found = query.by_period(graph_of(session, bundle), _seconds(first), _seconds(last))
    answer(session, found, format, f"From {first} to {last}")


def graph_of(session: Session, bundles: list[Path] | None, results: Sequence[bytes] = ()) -> Graph:
    """The graph of the configured chain at its head, with the documents of the bundles and of result files."""
    chain = session.chain()
    with session.index(chain) as index:
        events, head = index.events(), index.last
        times = index.times({event.block for event in events})
    return build(
        events,
        chain_id=chain.deployment.chain_id,
        block=head,
        block_hash=str(chain.block(head)["hash"]),
        times=times,
        bundles=[read_bundle(path) for path in bundles or ()],
        results=results,
    )


def read_bundle(path: Path) -> Bundle:
    """A bundle. Raises NotFound or MalformedDocument."""
    try:
        return Bundle.read(path)
    except OSError as error:
        raise NotFound(f"the bundle cannot be read: {error.strerror}", party=str(path), remedy="check the path") from None


def answer(session: Session, graph: Graph, form: Form, title: str) -> None:
    """Print an answer in one form; ``--json`` turns the table into JSON."""
    if form is Form.SVG:
        session.terminal.raw(svg.draw(graph, title))
    elif form is Form.PROV:
        session.terminal.raw(json.dumps(prov_json.document(graph), indent=2, sort_keys=True))
    elif form is Form.JSON or session.terminal.json_output:
        session.terminal.json(graph.to_json())
    else:
        rows = [dict(zip(table.COLUMNS, row, strict=True)) for row in table.rows(graph)]
        session.terminal.table(table.COLUMNS, rows, caption=table.caption(graph))
        for finding in table.findings(graph):
            session.terminal.line(f"finding: {finding}")
        for file in table.unread(graph):
            session.terminal.line(f"unread: {file}")


def _origin(whole: Graph, statement: Node) -> dict[str, object]:
    """What led to a statement, in a few lines."""
    graph = whole.within(whole.ancestors([statement.id]))
    task = graph.nodes[f"{Kind.TASK}:{statement.attributes['task']}"].attributes
    proved = next(edge.source for edge in graph.edges if (edge.relation, edge.target) == ("is proved by", statement.id))
    attempt = graph.nodes[proved].attributes
    parties = {graph.nodes[edge.source].label: None for edge in graph.edges if edge.relation == "accepted"}
    return {
        "task": task["task"],
        **{name: task[name] for name in ("workload", "aggregation") if name in task},  # of a spec that can be read
        **({"code_reviews": attempt["reviews"]} if "reviews" in attempt else {}),
        **({"purpose": task["purpose"]} if "purpose" in task else {}),
        "parties": list(parties),
        "datasets": [f"{each.attributes['dataset']} version {each.attributes['version']}" for each in graph.of(Kind.DATASET)],
        "grants": [each.attributes["grant"] for each in graph.of(Kind.GRANT)],
        "proof": statement.attributes["proof"],
        **{name: statement.attributes[name] for name in ("void", "finding", "unread") if name in statement.attributes},
        "proved_at_block": statement.block,
    }


def _seconds(text: str) -> int:
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise MalformedDocument("not a time in ISO 8601", party=text[:40], remedy="write 2026-11-23 or 2026-11-23T20:00") from None
    return int((time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp())
