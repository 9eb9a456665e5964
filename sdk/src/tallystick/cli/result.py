"""`tally result`: fetch and read result files, and find the task behind one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.provenance import Bundles, graph_of
from tallystick.cli.session import address, hex32, of, read, write
from tallystick.client import learning_curve
from tallystick.protocol import canonical
from tallystick.protocol.result import ResultFile, file_digest
from tallystick.provenance import Kind, query

app = typer.Typer(name="result", help="Fetch results and find where they come from.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="A result file.")]


@app.command("fetch")
def fetch(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="A task's id, 0x….")],
    folder: Annotated[Path, typer.Option(help="Where the files go.")] = Path("result"),
) -> None:
    """Fetch this account's result of a task from its own node."""
    session = of(context)
    files = session.nodes().files(session.account(), "GetResult", canonical.hex32(hex32(task)), folder)
    session.terminal.record({"task": task, "files": [str(path) for path in files]})


@app.command("bundle")
def bundle(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="A task's id, 0x….")],
    party: Annotated[str, typer.Option(help="The party whose node is asked (default: the own node).")] = "",
    folder: Annotated[Path, typer.Option(help="Where the bundle goes.")] = Path("evidence"),
) -> None:
    """Fetch the evidence bundle of a task from a party's node."""
    session = of(context)
    asked = address(party) if party else session.account()
    files = session.nodes().files(asked, "GetBundle", canonical.hex32(hex32(task)), folder)
    session.terminal.record({"task": task, "bundle": ", ".join(map(str, files))})


@app.command("show")
def show(context: typer.Context, file: File) -> None:
    """Show a result file's values. Nothing is verified: `tally verify BUNDLE --result FILE` does that."""
    data = read(file)
    found = ResultFile.parse(data)
    terminal = of(context).terminal
    terminal.record(
        {
            "task": found.task,
            "attempt": found.attempt,
            "receiver": found.receiver,
            "workload": found.workload,
            "sha256": file_digest(data),
            **({"values": dict(found.values)} if terminal.json_output else {}),
        }
    )
    for line in [] if terminal.json_output else json.dumps(dict(found.values), indent=2, ensure_ascii=False).splitlines():
        terminal.line(line)


@app.command("curve")
def curve(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The result file of a training.")],
    out: Annotated[Path, typer.Option(help="Where the picture goes, an SVG.")],
) -> None:
    """Draw the learning curves of a training: losses and scores over its rounds. Nothing is verified."""
    found = ResultFile.parse(read(file))
    write(out, learning_curve.draw(found.values, f"Learning curves of task {found.task[:10]}…").encode())
    of(context).terminal.record({"task": found.task, "picture": str(out)})


@app.command("whence")
def whence(context: typer.Context, file: File, bundle: Bundles = None) -> None:
    """Find the task that a file is a result of, by its hash."""
    session = of(context)
    digest = file_digest(read(file))
    graph = query.by_file(graph_of(session, bundle), digest)
    result = graph.nodes[f"{Kind.RESULT}:{digest}"]
    session.terminal.record({"sha256": digest, **result.attributes, "true_at_block": graph.block, "block_hash": graph.block_hash})
