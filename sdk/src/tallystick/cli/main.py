"""The entry point `tally`: global options, the nouns, and the one place where errors become words and exit codes."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tallystick.cli import (
    algorithm,
    audit,
    ca,
    chain,
    circuit,
    dataset,
    dispute,
    doctor,
    enclave,
    grant,
    node,
    operator,
    participant,
    platform,
    provenance,
    quorum,
    result,
    settlement,
    task,
    verify,
)
from tallystick.cli.session import Session
from tallystick.cli.terminal import Terminal
from tallystick.protocol.errors import TallystickError, exit_code

_FLAGS = ("--json", "--no-color", "--version")
_VALUES = ("--config", "--password-file")


class Root(TyperGroup):
    """The root command: takes global options in any place, and turns errors into three lines and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Bring the global options to the front."""
        return list(super().parse_args(ctx, hoist(args)))

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (TallystickError, OSError, ValueError, LookupError, TypeError, AttributeError, ImportError) as error:
            if os.environ.get("TALLY_DEBUG") == "1":
                raise
            terminal = ctx.obj.terminal if isinstance(ctx.obj, Session) else Terminal()
            terminal.error(error)
            raise typer.Exit(exit_code(error)) from None


def hoist(args: list[str]) -> list[str]:
    """The arguments with the global options first; nothing after ``--`` is touched."""
    front: list[str] = []
    rest: list[str] = []
    index = 0
    while index < len(args):
        name = args[index]
        if name == "--":
            rest += args[index:]
            break
        if name in _VALUES and index + 1 < len(args):
            front += args[index : index + 2]
            index += 1
        elif name in _FLAGS or name.startswith(tuple(f"{each}=" for each in _VALUES)):
            front.append(name)
        else:
            rest.append(name)
        index += 1
    return front + rest


app = typer.Typer(
    cls=Root,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Tallystick: authorise, compute, prove and trace joint computations over private data.",
)
_NOUNS = (
    ca,
    participant,
    operator,
    dataset,
    grant,
    algorithm,
    enclave,
    task,
    settlement,
    dispute,
    result,
    provenance,
    audit,
    platform,
    quorum,
    circuit,
    chain,
    node,
)
for module in _NOUNS:
    app.add_typer(module.app)
app.command("verify")(verify.verify)
app.command("doctor")(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tally {metadata.version('tallystick')}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Settings file (default tally.toml, or TALLY_CONFIG).")] = None,
    password_file: Annotated[Path | None, typer.Option(help="File with the password, mode 0600.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON, errors too.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print without colours.")] = False,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Tallystick: authorise, compute, prove and trace joint computations over private data."""
    context.obj = Session(Terminal(json_output=json_output, colour=not no_color), config, password_file)


def main() -> None:
    """Run `tally`."""
    app()
