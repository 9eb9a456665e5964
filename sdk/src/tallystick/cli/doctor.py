"""`tally doctor`: what works here, and a remedy for what does not."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import typer

from tallystick.cli.node import SECONDS, nodes, unreachable
from tallystick.cli.session import Session, of, read, read_json
from tallystick.protocol.errors import Configuration, TallystickError
from tallystick.protocol.identity import Certificate
from tallystick.signing import require_private

SKEW = 300  # seconds that this machine's clock and the latest block's time may differ
PACKAGES = ("coincurve", "cryptography", "eth-account", "grpcio", "protobuf", "rfc8785", "rich", "typer", "web3")


def doctor(context: typer.Context) -> None:
    """Check this machine and its settings, line by line, each with a remedy."""
    session = of(context)
    checks: tuple[tuple[str, Callable[[Session], str]], ...] = (
        ("Python", _python),
        ("packages", _packages),
        ("Node.js", _nodejs),
        ("chain and contract code", _chain),
        ("clock", _clock),
        ("keystore", _keystore),
        ("certificate", _certificate),
        ("nodes", _nodes),
    )
    rows = []
    for name, check in checks:
        try:
            rows.append({"check": name, "ok": True, "finding": check(session), "remedy": ""})
        except TallystickError as error:
            rows.append({"check": name, "ok": False, "finding": error.message, "remedy": error.remedy})
    session.terminal.table(("check", "ok", "finding", "remedy"), rows)
    failed = [str(row["check"]) for row in rows if not row["ok"]]
    if failed:
        raise Configuration(f"not in order: {', '.join(failed)}", remedy="follow the remedies above")


def _python(_: Session) -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _packages(_: Session) -> str:
    for name in PACKAGES:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            raise Configuration(f"{name} is missing", remedy="install tallystick again") from None
    return f"{len(PACKAGES)} packages"


def _nodejs(_: Session) -> str:
    if shutil.which("node") is None:
        raise Configuration("Node.js is missing", remedy="install Node.js 20 or newer; only the local chain needs it")
    return "found"


def _chain(session: Session) -> str:
    chain = session.chain()
    return f"chain {chain.deployment.chain_id} at block {chain.head()}; the code is this release's"


def _clock(session: Session) -> str:
    skew = int(time.time()) - session.chain().now()
    if skew < -SKEW:
        raise Configuration(f"the chain is {-skew} s ahead of this clock", remedy="set this machine's clock")
    return f"the latest block is {skew} s old"


def _keystore(session: Session) -> str:
    scheme, _, rest = session.setting("signer").partition(":")
    if scheme != "keystore":
        return f"not a file ({scheme}:)"
    path = Path(rest).expanduser()
    read_json(path)
    require_private(path)
    return "readable, and by its owner alone"


def _certificate(session: Session) -> str:
    certificate = Certificate.parse(read(Path(session.setting("certificate"))))
    now = int(time.time())
    if not certificate.not_before <= now <= certificate.not_after:
        raise Configuration("the certificate is not valid now", remedy="ask the authority for a new one and enrol again")
    scheme, _, rest = session.setting("signer").partition(":")
    if scheme == "keystore":
        stored = str(read_json(Path(rest).expanduser()).get("address", "")).lower().removeprefix("0x")
        if stored and stored != certificate.account.lower().removeprefix("0x"):
            raise Configuration("certificate and keystore are of two accounts", remedy="use the pair that belongs together")
    return f"{certificate.common_name}, for {(certificate.not_after - now) // 86400} more days"


def _nodes(session: Session) -> str:
    found = nodes(session)
    for account, where in found.items():
        fault = unreachable(where, SECONDS)
        if fault:
            raise Configuration(f"{account} at {where} does not answer ({fault})", remedy="check the address and the node")
    return f"{len(found)} reachable" if found else "none configured"
