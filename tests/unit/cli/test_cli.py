from __future__ import annotations

import json
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from tallystick.cli import main as cli
from tallystick.cli import task
from tallystick.client import GrantFile
from tallystick.client.plan import GrantUse, PartyPlan
from tallystick.commitments.projection import encode
from tallystick.protocol.errors import TABLE
from typer.testing import CliRunner
from unit.protocol.world import AGGREGATE, PARTIES, World, make

RUNNER = CliRunner()
NOUNS = (
    "ca",
    "participant",
    "dataset",
    "grant",
    "task",
    "settlement",
    "dispute",
    "result",
    "verify",
    "provenance",
    "audit",
    "chain",
    "node",
    "doctor",
)


@pytest.fixture
def bundle(tmp_path: Path) -> tuple[World, Path]:
    world = make()
    world.bundle().write(tmp_path / "bundle.zip")
    return world, tmp_path / "bundle.zip"


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_explains_itself(noun: str) -> None:
    done = RUNNER.invoke(cli.app, [noun, "--help"])
    assert done.exit_code == 0
    assert "Usage" in done.output


def test_the_version_is_the_distributions() -> None:
    assert RUNNER.invoke(cli.app, ["--version"]).output == f"tally {metadata.version('tallystick')}\n"


def test_verify_prints_every_rule(bundle: tuple[World, Path], tmp_path: Path) -> None:
    world, path = bundle
    result = tmp_path / "result.json"
    result.write_bytes(world.results[PARTIES[2]])
    trusted = ["--trusted-block", "0x" + world.head().hex()]
    done = RUNNER.invoke(cli.app, ["verify", str(path), "--result", str(result), *trusted, "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert [rule["rule"] for rule in report["rules"]] == list(range(1, 21))
    assert report["ok"] is True


def test_verify_reads_the_aggregate_of_projections(tmp_path: Path) -> None:
    world = make("projection-verified")
    bundle, result, aggregate = (tmp_path / name for name in ("bundle.zip", "result.json", "aggregate.bin"))
    world.bundle().write(bundle)
    result.write_bytes(world.results[PARTIES[2]])
    asked = ["--json", "verify", str(bundle), "--result", str(result), "--aggregate", str(aggregate)]
    assert RUNNER.invoke(cli.app, asked).exit_code == 70  # no such file
    for content, verdict in ((encode(AGGREGATE), "ok"), (encode(AGGREGATE[1:]), "failed")):
        aggregate.write_bytes(content)
        done = RUNNER.invoke(cli.app, asked)
        assert json.loads(done.stdout)["rules"][18]["verdict"] == verdict
        assert done.exit_code == (0 if verdict == "ok" else 30)


def test_verify_checks_the_files_beside_the_result(bundle: tuple[World, Path], tmp_path: Path) -> None:
    world, path = bundle
    result, model = tmp_path / "result.json", tmp_path / "model.bin"
    result.write_bytes(world.results[PARTIES[2]])
    for content, code in ((b"model", 0), (b"nodel", 30)):
        model.write_bytes(content)
        done = RUNNER.invoke(cli.app, ["--json", "verify", str(path), "--result", str(result)])
        assert done.exit_code == code
        assert "model.bin" in done.stderr or code == 0
        assert ("with 1 of the 1 files" in done.stdout) == (code == 0)


def test_verify_of_a_changed_result_names_the_rule_and_exits_30(bundle: tuple[World, Path], tmp_path: Path) -> None:
    world, path = bundle
    result = tmp_path / "result.json"
    result.write_bytes(world.results[PARTIES[2]].replace(b"3.5", b"9.5"))
    done = RUNNER.invoke(cli.app, ["--json", "verify", str(path), "--result", str(result)])
    assert done.exit_code == 30
    assert 18 in json.loads(done.stdout)["failed"]
    assert json.loads(done.stderr)["error"]["code"] == "TS-3101"


def test_an_error_is_three_lines_without_a_traceback(tmp_path: Path) -> None:
    done = RUNNER.invoke(cli.app, ["verify", str(tmp_path / "none.zip")])
    assert done.exit_code == 70
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "party", "next"]


def test_garbage_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\x00garbage")
    for command, code in ((["grant", "inspect"], 11), (["ca", "show"], 11), (["result", "show"], 11), (["verify"], 11)):
        done = RUNNER.invoke(cli.app, [*command, str(tmp_path / "x")])
        assert done.exit_code == code, (command, done.stderr)
        assert "Traceback" not in done.output


def test_grant_inspect_asks_nobody(bundle: tuple[World, Path], tmp_path: Path) -> None:
    world, _ = bundle
    (tmp_path / "grant.json").write_bytes(GrantFile(world.grants[0], world.terms[0]).to_bytes())
    shown = json.loads(RUNNER.invoke(cli.app, ["grant", "inspect", str(tmp_path / "grant.json"), "--json"]).stdout)
    assert shown["terms"] == "0x" + world.terms[0].root().hex()
    assert shown["grant"] == "0x" + world.grants[0].id().hex()
    assert shown["epsilon"] == "5"
    # The terms of another grant make it no grant file.
    (tmp_path / "mixed.json").write_bytes(GrantFile(world.grants[0], world.terms[1]).to_bytes())
    assert RUNNER.invoke(cli.app, ["grant", "inspect", str(tmp_path / "mixed.json")]).exit_code == 11


def test_global_options_go_anywhere_but_not_past_two_dashes() -> None:
    assert cli.hoist(["a", "--json", "--config", "c", "--", "--json"]) == [
        "--json",
        "--config",
        "c",
        "a",
        "--",
        "--json",
    ]


def test_no_chain_is_exit_40(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = {
        name: f"0x{number:040x}"
        for number, name in enumerate(
            ["ParticipantRegistry", "DatasetRegistry", "GrantLedger", "TaskLedger", "ProofRegistry", "AuditLog",
             "SignedByAllVerifier", "SumVerifier", "ProjectionVerifier"], start=1,
        )
    }  # fmt: skip
    body = {"chainId": 1, "block": 1, "deployer": PARTIES[0], "governor": PARTIES[0], "contracts": addresses}
    (tmp_path / "d.json").write_text(json.dumps(body))
    monkeypatch.setenv("TALLY_DEPLOYMENT", str(tmp_path / "d.json"))
    monkeypatch.setenv("TALLY_RPC_URL", "http://127.0.0.1:9")
    done = RUNNER.invoke(cli.app, ["chain", "status", "--json"])
    assert done.exit_code == 40, done.stderr
    assert json.loads(done.stderr)["exit"] == TABLE["TS-4101"].exit


def test_ca_init_and_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    open_to_all = RUNNER.invoke(cli.app, ["ca", "init", str(tmp_path / "a"), "--name", "C", "--password-file", str(password)])
    assert open_to_all.exit_code == 80
    password.chmod(0o600)
    folder = tmp_path / "ca"
    made = RUNNER.invoke(cli.app, ["ca", "init", str(folder), "--name", "Consortium", "--password-file", str(password)])
    assert made.exit_code == 0, made.output
    assert (folder / "authority.key").stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in (folder / "authority.key").read_bytes()
    shown = json.loads(RUNNER.invoke(cli.app, ["ca", "show", str(folder / "authority.pem"), "--json"]).stdout)
    assert (shown["common_name"], shown["authority"]) == ("Consortium", True)


def test_a_folder_without_records_is_no_clean_log(tmp_path: Path) -> None:
    done = RUNNER.invoke(cli.app, ["audit", "log", PARTIES[0], "--folder", str(tmp_path / "none")])
    assert done.exit_code == 70


def test_a_plan_shows_what_is_left_of_a_privacy_budget() -> None:
    use = GrantUse(
        "0x" + "ab" * 32, 5, 1, 4, revoked=False, not_before=0, not_after=0, epsilon_micros=4_000_000, spent_micros=2_500_000
    )
    party = PartyPlan(PARTIES[0], "data-provider", active=True, reads=(), dataset="", grant=use, receives=False)
    assert "4 of 5 uses left, 1.5 of epsilon 4 left, valid until" in task._brings(party)[0]
    assert "epsilon" not in task._brings(replace(party, grant=replace(use, epsilon_micros=0, spent_micros=0)))[0]
