"""`tally doctor` with everything in order, and with each fault: the line that finds it, and what it tells one to do."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.cli.conftest import Town
from tallystick.protocol.identity import issue_certificate
from typer.testing import CliRunner


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node of a busy machine takes its time; one that is not there is not waited for."""
    monkeypatch.setattr("tallystick.cli.doctor.SECONDS", 60.0)


@pytest.fixture
def home(town: Town, tmp_path: Path) -> Path:
    """A copy of Alder's settings and keys that a test may break."""
    for name in ("tally.toml", "keystore.json", "tls.pem", "tls.key"):
        shutil.copy(town.alder.folder / name, tmp_path / name)
        (tmp_path / name).chmod(0o600)
    settings = tmp_path / "tally.toml"
    lines = settings.read_text().replace(f"keystore:{town.alder.folder / 'keystore.json'}", "keystore:keystore.json").splitlines()
    settings.write_text("\n".join(line for line in lines if town.regulator.account not in line) + "\n")
    return tmp_path


def doctor(town: Town, home: Path, code: int = 80) -> dict[str, dict[str, Any]]:
    ran = town.tally(None, "--config", home / "tally.toml", "doctor", code=code)
    return {row["check"]: row for row in ran.value}


def test_all_in_order(town: Town, home: Path) -> None:
    rows = doctor(town, home, code=0)
    assert all(row["ok"] and not row["remedy"] for row in rows.values())
    assert "2 answer" in rows["nodes"]["finding"]
    assert "active as" in rows["enrolment"]["finding"]
    assert "until" in rows["certificate"]["finding"]


def edit(home: Path, old: str, new: str) -> None:
    settings = home / "tally.toml"
    assert old in settings.read_text()
    settings.write_text(settings.read_text().replace(old, new))


def line(home: Path, name: str) -> str:
    return next(each for each in (home / "tally.toml").read_text().splitlines() if each.startswith(name))


FAULTS: dict[str, tuple[Callable[[Town, Path], Any], str, str]] = {
    "no settings file": (lambda _, home: (home / "tally.toml").unlink(), "settings", "no such settings file"),
    "an unknown setting": (lambda _, home: edit(home, "rpc_url", "rpc"), "settings", "unknown setting"),
    "a setting that is missing": (lambda _, home: edit(home, line(home, "key"), ""), "settings", "no key"),
    "a keystore that others may read": (lambda _, home: (home / "keystore.json").chmod(0o644), "keystore", "open to others"),
    "no keystore": (lambda _, home: (home / "keystore.json").unlink(), "keystore", "cannot be read"),
    "a keystore that is none": (lambda _, home: (home / "keystore.json").write_text("{}"), "keystore", "no keystore"),
    "a chain that does not answer": (
        lambda town, home: edit(home, town.network.local.url, "http://127.0.0.1:9"), "chain", "does not answer",
    ),
    "another chain": (lambda town, home: other_chain(town, home), "chain", "chain's id"),
    "no certificate": (lambda _, home: (home / "tls.pem").unlink(), "certificate", "cannot be read"),
    "an ended certificate": (lambda town, home: certificate(town, home, -400, -1), "certificate", "ended on"),
    "a certificate of another authority": (lambda town, home: foreign(town, home), "certificate", ""),
    "a certificate of somebody else": (
        lambda town, home: shutil.copy(town.birch.folder / "tls.pem", home / "tls.pem"), "certificate", "two accounts",
    ),
    "a certificate that was not enrolled": (
        lambda town, home: certificate(town, home, -1, 300), "enrolment", "another certificate",
    ),
    "a node key that others may read": (lambda _, home: (home / "tls.key").chmod(0o640), "node key", "open to others"),
    "a node that does not answer": (lambda town, home: edit(home, town.birch.address, "127.0.0.1:9"), "nodes", "does not answer"),
    "a node at another's address": (
        lambda town, home: edit(home, town.birch.address, town.alder.address), "nodes", "does not answer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_line_and_a_remedy(town: Town, home: Path, fault: str) -> None:
    make, check, words = FAULTS[fault]
    make(town, home)
    row = doctor(town, home)[check]
    assert row["ok"] is False
    assert words in row["finding"]
    assert row["remedy"]


def test_a_suspended_account_and_a_clock_that_is_behind(town: Town, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    governor = town.network.governor.chain
    governor.send("ParticipantRegistry", "suspend", town.alder.account, bytes(32))
    try:
        assert "suspended" in doctor(town, home)["enrolment"]["finding"]
    finally:
        governor.send("ParticipantRegistry", "reinstate", town.alder.account)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    assert "ahead of this clock" in doctor(town, home)["clock"]["finding"]


def test_a_certificate_near_its_end_is_said_but_is_no_fault(town: Town, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.cli.doctor.SOON", 500 * 86400)
    assert "days left" in doctor(town, home, code=0)["certificate"]["finding"]


def test_for_people(town: Town, home: Path) -> None:
    from tallystick.cli.main import app

    (home / "keystore.json").chmod(0o644)
    done = CliRunner().invoke(app, ["--config", str(home / "tally.toml"), "doctor"], env={"COLUMNS": "200"})
    assert done.exit_code == 80
    assert f"chmod 600 {home / 'keystore.json'}" in done.stdout
    assert "not in order: keystore" in done.stderr


def certificate(town: Town, home: Path, first: int, last: int) -> None:
    """A certificate for Alder's account, by the consortium's authority, from and until so many days from now."""
    now = int(time.time())
    validity = (max(now + first * 86400, town.network.authority.not_before), now + last * 86400)
    if last < 0:
        validity = (now + first * 86400, now + last * 86400)
    made = issue_certificate(
        town.network.authority, town.network._ca_key, town.alder.key.public_key(), town.alder.account, "Alder", ["localhost"],
        list(town.alder.certificate.roles), validity,
    )  # fmt: skip
    (home / "tls.pem").write_bytes(made.pem)


def foreign(town: Town, home: Path) -> None:
    from unit.protocol.world import certificates

    edit(home, f'authority = "{town.network.authority_file}"', 'authority = "authority.pem"')
    (home / "authority.pem").write_bytes(certificates()[1].pem)


def other_chain(town: Town, home: Path) -> None:
    text = town.network.deployment_file.read_text()
    (home / "other.json").write_text(text.replace("31337", "4242"))
    edit(home, f'deployment = "{town.network.deployment_file}"', 'deployment = "other.json"')
