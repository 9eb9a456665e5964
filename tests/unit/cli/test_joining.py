"""The commands that write, against a real chain: deploy, certify, enrol, publish, grant, trace, withdraw."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tallystick.cli.main import app
from tallystick.protocol.dataset import Column, DatasetDescriptor
from tallystick.testing.local_chain import LocalChain
from typer.testing import CliRunner


def tally(*arguments: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == code, (arguments, done.stdout, done.stderr)
    return json.loads(done.stdout if code == 0 else done.stderr)


def test_the_way_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse")
    password.chmod(0o600)
    monkeypatch.setenv("TALLY_PASSWORD_FILE", str(password))
    monkeypatch.setenv("TALLY_DEPLOYMENT", str(tmp_path / "deployment.json"))
    monkeypatch.setenv("TALLY_SIGNER", "mnemonic:0")
    with LocalChain(tmp_path / "chain") as chain:
        monkeypatch.setenv("TALLY_RPC_URL", chain.url)
        owner = tally("chain", "deploy")["governor"]
        assert tally("chain", "status")["chain_id"] == chain.chain_id
        tally("ca", "init", str(tmp_path / "ca"), "--name", "Consortium")
        number = tally("chain", "authority", "add", str(tmp_path / "ca" / "authority.pem"))["authority"]
        me = tmp_path / "me"
        tally("participant", "key", str(me))
        tally(
            "ca", "issue", str(tmp_path / "ca"), "--public-key", str(me / "node.pub"), "--account", owner,
            "--name", "North", "--out", str(me), "--role", "data-provider", "--role", "requester",
            "--authority-number", str(number),
        )  # fmt: skip
        tally("participant", "enrol", str(me))
        assert [row["status"] for row in tally("participant", "list")] == ["active"]
        assert tally("participant", "enrol", str(me), code=42)["error"]["code"] == "TS-4103"

        described = DatasetDescriptor(
            owner,
            "cells",
            (Column("radius", "decimal", 2),),
            5,
            "sha256:" + "11" * 32,
            "0x" + "22" * 32,
            int(time.time()),
        )
        (tmp_path / "descriptor.json").write_bytes(described.to_bytes())
        dataset = tally("dataset", "record", str(tmp_path / "descriptor.json"))["dataset"]
        assert dataset == "0x" + described.id().hex()
        (tmp_path / "terms.toml").write_text(
            f'dataset = "{dataset}"\ngrantee = "{owner}"\npurpose = "care"\nalgorithms = ["statistics"]\n'
            f'columns = ["radius"]\nreceivers = ["{owner}"]\n'
        )
        out = tmp_path / "grant.json"
        grant = tally("grant", "issue", str(tmp_path / "terms.toml"), "--out", str(out), "--uses", "3")["grant"]
        assert tally("grant", "show", grant)["uses"] == 3
        tally("grant", "revoke", str(out))
        assert tally("grant", "list")[0]["revoked"] is True

        graph = tally("provenance", "dataset", dataset)
        assert {node["kind"] for node in graph["nodes"]} >= {"participant", "dataset", "grant"}
        assert graph["true_at"]["chain_id"] == chain.chain_id
        tally("dataset", "withdraw", dataset)
        assert tally("dataset", "list")[0]["withdrawn"] is True
        assert tally("task", "show", "0x" + "00" * 32, code=70)["error"]["code"] == "TS-7101"
