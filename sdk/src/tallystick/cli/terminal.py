"""What the command line prints: tables for people, JSON for programs, three lines for an error. Never a traceback."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tallystick.protocol.errors import TallystickError, exit_code

TIMES = frozenset(
    (
        "at",
        "time",
        "not_before",
        "not_after",
        "notBefore",
        "notAfter",
        "accept_by",
        "run_by",
        "started_at",
        "anchoredAt",
        "closes_at",
        "rule_by",
        "effective_at",
    )
)
"""Names of values that are times in seconds since 1970: people get them in words, programs as they are."""


class Terminal:
    """Standard output and standard error of one command. With ``json_output``, both carry JSON alone."""

    def __init__(self, *, json_output: bool = False, colour: bool = True) -> None:
        self.json_output = json_output
        plain = not colour or bool(os.environ.get("NO_COLOR"))
        # Tables are folded where somebody looks at them; elsewhere each row is a line.
        width = None if sys.stdout.isatty() else 1000
        self._out = Console(no_color=plain, highlight=False, soft_wrap=True, width=width)
        self.progress = Console(no_color=plain, highlight=False, stderr=True)

    @property
    def interactive(self) -> bool:
        """Whether progress may be drawn: somebody looks at standard error and did not ask for JSON."""
        return not self.json_output and sys.stderr.isatty()

    def record(self, value: Mapping[str, Any], title: str = "") -> None:
        """Print one thing: names and values."""
        if self.json_output:
            self.json(value)
            return
        if title:
            self._out.print(Text(title, style="bold"))
        width = max((len(name) for name in value), default=0)
        for name, each in value.items():
            self._out.print(Text.assemble((name.replace("_", " ").ljust(width + 2), "cyan"), shown(each, name)))

    def table(self, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, caption: str = "") -> None:
        """Print many things of one kind. Every row has a value for each column; JSON gets all of a row."""
        found = list(rows)
        if self.json_output:
            self.json(found)
            return
        made = Table(*(column.replace("_", " ") for column in columns), box=None, header_style="bold cyan")
        for row in found:
            made.add_row(*(Text(shown(row[column], column), overflow="fold") for column in columns))
        if found:
            self._out.print(made, soft_wrap=False)
        self._out.print(Text(caption or ("" if found else "nothing found"), style="dim"))

    def line(self, text: str) -> None:
        """Print a line for people; programs do not get it."""
        if not self.json_output:
            self._out.print(Text(_one_line(text)))

    def step(self, text: str) -> None:
        """Print a line about work that goes on, on standard error, for people."""
        if not self.json_output:
            self.progress.print(Text(_one_line(text)))

    def raw(self, text: str) -> None:
        """Print a document as it is."""
        sys.stdout.write(text if text.endswith("\n") else text + "\n")

    def json(self, value: Any) -> None:
        """Print JSON: sorted keys, bytes as hex, one trailing newline."""
        self.raw(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=plain))

    def error(self, error: BaseException) -> int:
        """Print an error as three lines, or as JSON, on standard error; its exit code."""
        if isinstance(error, TallystickError):
            problem = error.problem()
        else:
            problem = {
                "code": "TS-1000",
                "message": f"an unexpected {type(error).__name__}",
                "party": "",
                "remedy": "run it again with TALLY_DEBUG=1 and report what it shows",
            }
        code = exit_code(error)
        if self.json_output:
            sys.stderr.write(json.dumps({"error": problem, "exit": code}, sort_keys=True) + "\n")
        else:
            for name, text in (
                ("error", f"{problem['message']} [{problem['code']}]"),
                ("party", problem["party"] or "this machine"),
                ("next", problem["remedy"] or "see docs/reference/exit-codes.md"),
            ):
                sys.stderr.write(f"{name}: {_one_line(text)}\n")
        return code


def shown(value: Any, name: str = "") -> str:
    """A value in words; ``name`` tells times from other numbers."""
    if value is None or value == "" or (isinstance(value, list | tuple) and not value):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in TIMES and isinstance(value, int):
        return moment(value)
    if isinstance(value, list | tuple):
        return ", ".join(shown(each) for each in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{inner}={shown(each, inner)}" for inner, each in value.items())
    return _one_line(str(plain(value)))


def moment(seconds: int) -> str:
    """A time in words, UTC; ``-`` for none."""
    if not 0 < seconds < 253402300800:  # year 10000
        return "-"
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def plain(value: Any) -> Any:
    """A value as JSON has it: bytes as ``0x…``, everything unknown as text."""
    return "0x" + value.hex() if isinstance(value, bytes) else value if isinstance(value, int) else str(value)


def _one_line(text: str) -> str:
    # What a peer or a certificate says must not move the cursor or forge further lines.
    return "".join(character if character.isprintable() else " " for character in text)
