"""`tally enclave`: authorities, what is refused before anything runs, and what the node's software answers."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tallystick.attestation.simulation.authority import ProvisioningAuthority
from tallystick.cli import enclave
from tallystick.cli.main import app
from typer.testing import CliRunner

ACCOUNT = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
FOUND = {
    "algorithm": "sha256:aa",
    "conditions": "sha256:dd",
    "identity": "sha256:bb",
    "measurement": "cc",
    "in_force": ["seccomp"],
    "seconds": 1.5,
}


def tally(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["--json", *map(str, arguments)])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The requests that reach the node's software, which answers as a trial does."""
    requests: list[dict[str, Any]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        requests.append(json.loads(options["input"]))
        answer = FOUND | ({"output": base64.b64encode(b"n\n1\n").decode()} if "tables" in requests[-1] else {})
        return subprocess.CompletedProcess(command, 0, json.dumps(answer).encode())

    monkeypatch.setattr(enclave.subprocess, "run", run)
    return requests


@pytest.fixture
def query(tmp_path: Path) -> Path:
    path = tmp_path / "q.sql"
    path.write_text("SELECT 1 AS group_size")
    return path


def test_an_authority_is_written_for_its_owner_alone_and_says_that_it_is_simulated(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("word")
    (tmp_path / "word").chmod(0o600)
    made = tally("--password-file", tmp_path / "word", "enclave", "authority", "--out", tmp_path / "a.json")
    assert made.exit_code == 0, made.output
    said, path = json.loads(made.stdout), tmp_path / "a.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert said["strength"] == "attested, simulated"
    assert said["authority"] == "0x" + ProvisioningAuthority.restore(path.read_bytes(), b"word").fingerprint.hex()


def test_code_is_tried_on_tables_under_limits(asked: list[dict[str, Any]], query: Path, tmp_path: Path) -> None:
    (tmp_path / "north.csv").write_text("n\n1\n")
    out = tmp_path / "out.csv"
    made = tally("enclave", "try", query, "--data", f"north={tmp_path / 'north.csv'}", "--out", out, "--memory-mib", 64)
    assert made.exit_code == 0, made.output
    assert out.read_bytes() == b"n\n1\n"
    assert asked[0]["tables"] == [{"name": "north", "csv": "n\n1\n"}]
    assert asked[0]["limits"] == {"memory_mib": 64, "seconds": 60, "fuel": 0, "output_bytes": 1 << 20}
    assert json.loads(made.stdout)["strength"] == "attested, simulated"


def test_parameters_are_written_for_a_draft(asked: list[dict[str, Any]], query: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.json"
    made = tally("enclave", "describe", query, "--authority", "0x" + "11" * 32, "--table", f"north={ACCOUNT}", "--out", out)
    assert made.exit_code == 0, made.output
    written = json.loads(out.read_text())
    assert written["algorithm"] == {"kind": "sql", "content": query.read_text()}
    assert written["enclave"] == {"algorithm": "sha256:aa", "identities": ["sha256:bb"]}
    assert written["tables"] == [{"party": ACCOUNT, "name": "north"}]
    assert json.loads(made.stdout)["grant"] == "enclave:sha256:aa"


def test_code_that_is_no_text_is_named(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "latin.sql").write_bytes("SELECT 'é'".encode("latin-1"))
    made = tally(
        "enclave", "describe", tmp_path / "latin.sql", "--authority", "0x" + "11" * 32, "--table", f"north={ACCOUNT}",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert made.exit_code and "latin.sql" in made.output and "not UTF-8" in made.output


def test_what_cannot_be_tried_is_said_before_anything_runs(asked: list[dict[str, Any]], query: Path, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("SELECT 1")
    for arguments, words in (
        ((tmp_path / "q.txt", "--data", "north=x.csv"), "neither .sql"),
        ((query, "--data", "north"), "NAME=FILE.csv"),
        ((query, "--data", "north=absent.csv"), "absent.csv"),
    ):
        made = tally("enclave", "try", *arguments)
        assert made.exit_code != 0
        assert words in made.stderr + made.stdout
    assert asked == []


def test_what_the_nodes_software_refuses_is_told_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, query: Path, tmp_path: Path
) -> None:
    (tmp_path / "north.csv").write_text("n\n1\n")
    told = json.dumps({"error": "a sample is another one each time", "remedy": "leave it out"}).encode()
    monkeypatch.setattr(enclave.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, told))
    made = tally("enclave", "try", query, "--data", f"north={tmp_path / 'north.csv'}")
    assert made.exit_code != 0
    assert "a sample is another one" in made.stderr + made.stdout and "leave it out" in made.stderr + made.stdout
    monkeypatch.setattr(enclave, "find_spec", lambda _: None)
    made = tally("enclave", "try", query, "--data", f"north={tmp_path / 'north.csv'}")
    assert "tallystick-node[enclave]" in made.stderr + made.stdout
