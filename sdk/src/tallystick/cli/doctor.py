"""`tally doctor`: what works here, and a remedy for what does not."""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import typer

from tallystick.cli.node import SECONDS, described
from tallystick.cli.session import NAMES, Session, of, read, read_json
from tallystick.protocol.errors import Configuration, NotFound, TallystickError, VerificationFailed
from tallystick.protocol.identity import Certificate, verify_chain
from tallystick.signing import require_private

PYTHON = (3, 11)
SKEW = 300  # seconds that this machine's clock and the latest block's time may differ
SOON = 30 * 86400  # seconds before its end from which a certificate is worth a warning
STATUS = ("not enrolled", "active", "suspended", "revoked")
PACKAGES = ("coincurve", "cryptography", "eth-account", "grpcio", "protobuf", "rfc8785", "rich", "typer", "web3")
RENEW = "ask the authority for a new certificate (`tally ca issue`) and enrol it (`tally participant enrol`)"


def doctor(context: typer.Context) -> None:
    """Check this machine and its settings, line by line, each with a remedy. Exit code 80 when something is not in order."""
    session = of(context)
    checks: tuple[tuple[str, Callable[[Session], str]], ...] = (
        ("Python", _python),
        ("packages", _packages),
        ("settings", _settings),
        ("keystore", _keystore),
        ("chain", _chain),
        ("clock", _clock),
        ("certificate", _certificate),
        ("enrolment", _enrolment),
        ("node key", _node_key),
        ("nodes", _nodes),
    )
    rows = []
    for name, check in checks:
        try:
            rows.append({"check": name, "ok": True, "finding": check(session), "remedy": ""})
        except TallystickError as error:
            rows.append({"check": name, "ok": False, "finding": _words(error), "remedy": error.remedy})
    session.terminal.table(("check", "ok", "finding", "remedy"), rows)
    failed = [str(row["check"]) for row in rows if not row["ok"]]
    if failed:
        raise Configuration(f"not in order: {', '.join(failed)}", remedy="follow the remedies above")


def _words(error: TallystickError) -> str:
    return f"{error.message} ({error.party})" if error.party else error.message


def _python(_: Session) -> str:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON:
        raise Configuration(f"this is Python {found}", remedy="use Python 3.11 or newer")
    return found


def _packages(_: Session) -> str:
    for name in PACKAGES:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            raise Configuration(f"{name} is missing", remedy="install tallystick again") from None
    return f"all {len(PACKAGES)} there"


def _settings(session: Session) -> str:
    given = session.settings
    path = session.config_path
    named = sorted(name for name in NAMES if f"TALLY_{name.upper()}" in os.environ)
    missing = [name for name in ("signer", "certificate", "key", "authority") if not given.get(name)]
    if missing:
        where = str(path) if path.exists() else f"{path} is not there"
        raise Configuration(
            f"no {', '.join(missing)}", party=where, remedy=f"write them into {path.name}, or set TALLY_{missing[0].upper()}"
        )
    return (str(path) if path.exists() else "no file") + (f", and from the environment {', '.join(named)}" if named else "")


def _keystore(session: Session) -> str:
    scheme, _, rest = session.setting("signer").partition(":")
    if scheme != "keystore":
        return f"not a file ({scheme}:)"
    path = Path(rest).expanduser()
    stored = read_json(path)
    require_private(path)
    if not isinstance(stored, dict) or "crypto" not in {str(name).lower() for name in stored}:
        raise Configuration("this is no keystore", party=str(path), remedy="make one with `tally participant key`")
    return "readable, and by its owner alone"


def _chain(session: Session) -> str:
    chain = session.chain()
    return f"chain {chain.deployment.chain_id} at block {chain.head()}; the code is this release's"


def _clock(session: Session) -> str:
    skew = int(time.time()) - session.chain().now()
    if skew < -SKEW:
        raise Configuration(f"the chain's latest block is {-skew} s ahead of this clock", remedy="set this machine's clock")
    return f"the latest block is {max(0, skew)} s old"


def _certificate(session: Session) -> str:
    path = Path(session.setting("certificate"))
    certificate = Certificate.parse(read(path))
    now = int(time.time())
    if now < certificate.not_before:
        raise Configuration(
            f"the certificate is not valid before {_day(certificate.not_before)}",
            party=str(path),
            remedy="wait, or check the clock",
        )
    if now > certificate.not_after:
        raise Configuration(f"the certificate ended on {_day(certificate.not_after)}", party=str(path), remedy=RENEW)
    try:
        verify_chain(certificate, Certificate.parse(read(Path(session.setting("authority")))), now)
    except VerificationFailed as error:
        raise Configuration(
            error.message, party=str(path), remedy="use the certificate and the authority of one consortium"
        ) from None
    scheme, _, rest = session.setting("signer").partition(":")
    if scheme == "keystore":
        stored = str(read_json(Path(rest).expanduser()).get("address", "")).lower().removeprefix("0x")
        if stored and stored != certificate.account.lower().removeprefix("0x"):
            raise Configuration("certificate and keystore are of two accounts", remedy="use the pair that belongs together")
    left = certificate.not_after - now
    return f"{certificate.common_name}, until {_day(certificate.not_after)}" + (
        f": only {left // 86400} days left, {RENEW}" if left < SOON else ""
    )


def _enrolment(session: Session) -> str:
    certificate = Certificate.parse(read(Path(session.setting("certificate"))))
    found = session.chain().participants.participant(certificate.account)
    status = STATUS[found["status"]]
    if status == "not enrolled":
        raise NotFound("the account is not enrolled", party=certificate.account, remedy="`tally participant enrol`")
    if status != "active":
        raise Configuration(f"the account is {status}", party=certificate.account, remedy="ask the consortium's governor why")
    if found["fingerprint"] != certificate.fingerprint:
        raise Configuration(
            "the chain has another certificate for this account",
            party=certificate.account,
            remedy="use the certificate that was enrolled last, or enrol this one",
        )
    return f"active as {', '.join(certificate.roles)}"


def _node_key(session: Session) -> str:
    path = Path(session.setting("key"))
    data = read(path)
    require_private(path)
    return "encrypted" if b"ENCRYPTED" in data else "readable by its owner alone"


def _nodes(session: Session) -> str:
    if not session.addresses():
        return "none in the settings"
    asked = session.nodes()
    rows = [described(asked, account, SECONDS) for account in asked.accounts]
    lost = [row for row in rows if row["fault"]]
    if lost:
        first = lost[0]
        raise Configuration(
            f"{len(lost)} of {len(rows)}: {first['fault']}",
            party=first["account"],
            remedy=first["remedy"] or "check the address and the node",
        )
    expected = session.chain().deployment.chain_id
    foreign = [row for row in rows if row["chain_id"] != expected]
    if foreign:
        raise Configuration(
            f"it follows chain {foreign[0]['chain_id']}, not {expected}", party=foreign[0]["account"], remedy="ask whoever runs it"
        )
    return f"{len(rows)} answer"


def _day(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d")
