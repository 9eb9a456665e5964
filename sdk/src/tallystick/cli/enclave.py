"""`tally enclave`: simulated authorities, and code for enclaves: try it on mock data, and describe it for a task.

What runs code needs the node's software on this machine; it runs in a process of its own, in the enclave that a task would have.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.cli.session import address, hex32, of, read, write
from tallystick.protocol import canonical
from tallystick.protocol.errors import Configuration, InvalidData, InvalidTask, MalformedDocument

app = typer.Typer(name="enclave", help="Try code for enclaves, and describe it for a task.", no_args_is_help=True)
DAY, YEAR = 86_400, 365 * 86_400
RUNNER = "tallystick_node.workloads.enclave.trial"
KINDS = {".sql": "sql", ".json": "learn", ".wasm": "wasm", ".py": "python"}
PLATFORM = "platform.secret"  # in a node's folder
DEADLINE = 120  # seconds beyond the code's own
Code = Annotated[
    Path, typer.Argument(help="NAME.sql, one SELECT statement; NAME.json, what to fit or predict; NAME.wasm; or NAME.py.")
]
Memory = Annotated[int, typer.Option(min=16, max=4096, help="MiB that the code works in.")]
Seconds = Annotated[int, typer.Option(min=5, max=3600, help="Processor time, with the enclave's start.")]
Fuel = Annotated[int, typer.Option(min=1, help="Instructions that a module may execute.")]
Output = Annotated[int, typer.Option(min=1, max=32 << 20, help="Bytes of output.")]
Group = Annotated[int, typer.Option(min=2, max=1000, help="The fewest rows of an input, and of a group that a query shows.")]


@app.command("authority")
def authority(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Where the authority goes; its keys are encrypted with the password.")],
    years: Annotated[int, typer.Option(min=1, max=20, help="Validity in years.")] = 5,
) -> None:
    """Make a SIMULATED authority of enclaves, one for a network: nothing under it protects data from the host's operator."""
    session = of(context)
    now = int(time.time())
    made = ProvisioningAuthority((now - DAY, now + years * YEAR))
    write(out, made.export(session.password(confirm=True).encode()), private=True)
    session.terminal.record({"authority": canonical.hex32(made.fingerprint), "strength": "attested, simulated", "file": str(out)})


@app.command("try")
def attempt(
    context: typer.Context,
    code: Code,
    data: Annotated[list[str], typer.Option(help="A table of mock data, NAME=FILE.csv; repeatable, in the order of the inputs.")],
    out: Annotated[Path, typer.Option(help="Where the output goes.")] = Path("output"),
    memory_mib: Memory = 256,
    seconds: Seconds = 60,
    fuel: Fuel = 1_000_000_000,
    output_bytes: Output = 1 << 20,
    minimum_group: Group = 10,
) -> None:
    """Run code in an enclave on mock data, under the limits of a task, before anybody is asked for approval."""
    session = of(context)
    request = _request(code, memory_mib, seconds, fuel, output_bytes, minimum_group)
    tables = [{"name": name, "csv": _text(Path(file))} for name, file in (_pair(each, "FILE.csv") for each in data)]
    found = _answer({**request, "tables": tables})
    content = base64.b64decode(found["output"])
    write(out, content)
    session.terminal.record(
        {
            "algorithm": found["algorithm"],
            "identity": found["identity"],
            "strength": "attested, simulated",
            "seconds": found["seconds"],
            "bytes": len(content),
            "output": str(out),
        }
    )


@app.command("describe")
def describe(
    context: typer.Context,
    code: Code,
    authority: Annotated[str, typer.Option(help="The simulated authority, 0x….")],
    table: Annotated[list[str], typer.Option(help="An owner's table, NAME=ACCOUNT; once for each input.")],
    out: Annotated[Path, typer.Option(help="Where the parameters go, JSON for a task's draft.")],
    memory_mib: Memory = 256,
    seconds: Seconds = 60,
    fuel: Fuel = 1_000_000_000,
    output_bytes: Output = 1 << 20,
    minimum_group: Group = 10,
) -> None:
    """Write the parameters of a task from code: its digest, and the enclave that runs it under these limits on this machine."""
    session = of(context)
    request = _request(code, memory_mib, seconds, fuel, output_bytes, minimum_group)
    found = _answer(request)
    parameters = {
        "algorithm": {"kind": request["kind"], "content": request["code"] if request["kind"] == "wasm" else _text(code, "utf-8")},
        "enclave": {"algorithm": found["algorithm"], "identities": [found["identity"]]},
        "attestation": {"family": "simulated", "authority": canonical.hex32(hex32(authority))},
        "tables": [{"party": address(party), "name": name} for name, party in (_pair(each, "ACCOUNT") for each in table)],
        "limits": request["limits"],
        "minimum_group": minimum_group,
    }
    write(out, json.dumps(parameters, indent=2).encode())
    session.terminal.record(
        {
            "algorithm": found["algorithm"],
            "grant": f"enclave:{found['algorithm']}",
            "conditions": found["conditions"],
            "identity": found["identity"],
            "measurement": found["measurement"],
            "in_force": found["in_force"],
            "parameters": str(out),
        }
    )


@app.command("platform")
def platform(
    context: typer.Context,
    home: Annotated[Path, typer.Argument(help="The folder of the host's node, with its platform.secret.")],
    authority: Annotated[Path, typer.Option(help="The simulated authority's file.")],
    out: Annotated[Path, typer.Option(help="Where the certificates go, PEM for `tally platform register`.")],
) -> None:
    """Certify the SIMULATED platform of a node, as its enclaves' evidence does."""
    session = of(context)
    secret = home / PLATFORM
    if not secret.exists():
        write(secret, os.urandom(32), private=True)
    given = {"exported": read(authority).decode(), "password": session.password(), "secret": read(secret).hex()}
    chain = _answer({"platform": given})["chain"]
    write(out, chain.encode())
    session.terminal.record({"certificates": str(out), "strength": "attested, simulated"})


def _request(code: Path, memory: int, seconds: int, fuel: int, output: int, minimum: int) -> dict[str, Any]:
    kind = KINDS.get(code.suffix)
    if kind is None:
        raise MalformedDocument(
            "the code is neither .sql nor .json nor .wasm nor .py", party=str(code), remedy="give the file the name of its kind"
        )
    limits = {"memory_mib": memory, "seconds": seconds, "fuel": fuel if kind == "wasm" else 0, "output_bytes": output}
    return {"kind": kind, "code": base64.b64encode(read(code)).decode(), "limits": limits, "minimum_group": minimum}


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """What the node's software says. Raises InvalidTask with its words, Configuration where it is not there."""
    if find_spec("tallystick_node") is None:
        raise Configuration("the node's software is not on this machine", remedy="install tallystick-node[enclave]")
    try:
        ended = subprocess.run(
            [sys.executable, "-m", RUNNER],
            check=False,
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=4 * request.get("limits", {}).get("seconds", 0) + DEADLINE,
        )
    except subprocess.TimeoutExpired:
        raise InvalidData("the code does not end", remedy="allow fewer seconds or less fuel, and look at the code") from None
    if ended.returncode != 0:
        raise Configuration("enclaves do not run here", remedy="install tallystick-node[enclave]; see docs/how-to/attest.md")
    found: dict[str, Any] = json.loads(ended.stdout)
    if "error" in found:
        raise InvalidTask(found["error"], remedy=found["remedy"])
    return found


def _pair(text: str, second: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name or not value:
        raise MalformedDocument(f"{text!r} is not NAME={second}", remedy="name a table as the query does")
    return name, value


def _text(path: Path, encoding: str = "utf-8-sig") -> str:
    try:
        return read(path).decode(encoding)
    except UnicodeDecodeError:
        raise MalformedDocument("the file is not UTF-8", party=str(path), remedy="save it as UTF-8") from None
