"""Every command over a real network: what it answers, as JSON and for people, and with which exit code it refuses."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from integration.cli.conftest import PURPOSE, Proved, Town
from tallystick.chain.facts import OnlineFacts
from tallystick.protocol import events
from tallystick.protocol.bundle import Bundle
from tallystick.protocol.facts import BundleFacts, ChainEvidence
from tallystick.protocol.task import TaskSpec, proposal_of


def test_the_plan_says_who_learns_what_who_approves_and_what_is_left(town: Town, proved: Proved) -> None:
    plan = town.tally(town.alder, "task", "plan", proved.spec).value
    assert plan["task"] == proved.task
    assert {each["party"] for each in plan["parties"]} == {town.alder.account, town.birch.account}
    for each in plan["parties"]:
        assert each["active"]
        assert each["approves_as"] == "data-provider"
        assert each["reads"] == ["kind", "radius"]
        assert each["grant"]["left"] == each["grant"]["uses"] - each["grant"]["used"] < 9
    assert [each["receives"] for each in plan["parties"] if each["party"] == town.alder.account] == [True]
    assert "radius" in plan["reveals"]["receivers"]
    assert plan["obstacles"] == []
    assert "owner: " in plan["reveals"]["protocol"]
    for word in plan["words"]:
        assert word["security"]["adversary"] == "semi-honest"
        assert word["cost"]["bytes_sent"] > 0
    words = town.tally(town.alder, "task", "plan", proved.spec, as_json=False).stdout
    assert PURPOSE in words
    assert "uses left" in words
    assert "that are semi-honest" in words
    assert max(map(len, words.splitlines())) < 200  # nothing is a wall of text


def test_the_plan_names_what_stands_in_the_way(town: Town, proved: Proved, tmp_path: Path) -> None:
    spent = town.grant(town.alder, proved.datasets[0], tmp_path / "revoked.json", uses=1)
    town.tally(town.alder, "grant", "revoke", spent)
    spec = town.draft([spent, proved.grants[1]], tmp_path / "spec.json")
    obstacles = town.tally(town.alder, "task", "plan", spec).value["obstacles"]
    assert obstacles == [f"the grant of {town.alder.account} is revoked"]
    # What the nodes say of another task: each its own cost and, as its policy has it, its own refusal.
    small = town.draft(proved.grants, tmp_path / "small.json", minimum=3)
    for said in town.tally(town.alder, "task", "plan", small).value["words"]:
        assert said["fault"] == ""
        assert said["cost"]["rounds"] > 0
    other = town.draft(proved.grants, tmp_path / "other.json", purpose="marketing")
    # The chain does not know the terms, and a node knows only those that were handed to it.
    assert town.tally(town.regulator, "task", "plan", other, "--no-ask").value["obstacles"] == []
    files = [word for path in proved.grants for word in ("--grant", path)]
    obstacles = town.tally(town.alder, "task", "plan", other, "--no-ask", *files).value["obstacles"]
    assert len(obstacles) == 2
    assert all("'marketing' is not" in each for each in obstacles)
    refused = town.tally(town.alder, "task", "submit", spec, "--grant", spent, "--grant", proved.grants[1], code=20)
    assert refused.error["code"] == "TS-2101"


def test_task_list_show_and_watch(town: Town, proved: Proved) -> None:
    listed = town.tally(town.alder, "task", "list").value
    assert [row["state"] for row in listed if row["task"] == proved.task] == ["proved"]
    shown = town.tally(town.birch, "task", "show", proved.task).value
    assert set(shown["accepted"]) == {town.alder.account, town.birch.account}
    assert shown["state"] == "proved"
    assert shown["failures"] == []
    assert shown["proved_in"].startswith("0x")
    # A stranger to the task watches it from the chain alone, without any key.
    assert town.tally(town.regulator, "task", "watch", proved.task).value["task"] == proved.task


def test_json_is_stable(town: Town, proved: Proved) -> None:
    for command in (["task", "show", proved.task], ["dataset", "list"], ["grant", "list"], ["participant", "list"]):
        first, second = (town.tally(town.alder, *command).stdout for _ in range(2))
        assert first == second
        assert json.dumps(json.loads(first), indent=2, sort_keys=True, ensure_ascii=False) + "\n" == first


def test_cancel_and_what_watch_says_of_it(town: Town, proved: Proved, tmp_path: Path) -> None:
    spec = TaskSpec.parse(town.draft(proved.grants, tmp_path / "spec.json").read_bytes())
    task = "0x" + proposal_of(spec).id().hex()
    alder = town.network.client(town.alder)
    alder.chain.send("TaskLedger", "propose", proposal_of(spec).as_tuple())
    assert town.tally(town.birch, "task", "cancel", task, code=42).error["message"].count("NotTheRequester")
    town.tally(town.alder, "task", "cancel", task)
    ended = town.tally(town.alder, "task", "watch", task, code=20)
    assert ended.value["state"] == "cancelled"
    assert "cancelled" in ended.error["message"]
    assert town.tally(town.alder, "task", "cancel", task, code=42).error["code"] == "TS-4103"


def test_expire_names_the_late(town: Town, proved: Proved, tmp_path: Path) -> None:
    path = town.draft(proved.grants, tmp_path / "spec.json", hours=0.03)
    proposal = proposal_of(TaskSpec.parse(path.read_bytes()))
    task = "0x" + proposal.id().hex()
    chain = town.network.client(town.alder).chain
    chain.send("TaskLedger", "propose", proposal.as_tuple())
    assert "TooEarly" in town.tally(town.birch, "task", "expire", task, code=42).error["message"]
    assert "still proposed" in town.tally(town.birch, "task", "watch", task, "--seconds", 0.3, code=61).error["message"]
    assert town.tally(town.birch, "task", "show", task).value["waiting_for"] == list(proposal.accounts)
    town.network.local.rpc("evm_increaseTime", proposal.accept_by - chain.now() + 1)
    town.network.local.rpc("evm_mine")
    town.tally(town.birch, "task", "expire", task)
    ended = town.tally(town.alder, "task", "watch", task, code=61)
    assert ended.value["state"] == "expired"
    assert "late" in ended.error["message"]
    assert set(town.tally(town.birch, "task", "show", task).value["late"]) == {town.alder.account, town.birch.account}


def test_a_failed_task_ends_the_watch_with_its_reason(town: Town, proved: Proved, tmp_path: Path) -> None:
    few = {"column": "radius", "op": ">", "value": "48"}
    spec = town.draft(proved.grants, tmp_path / "spec.json", where=(few,))
    options = [word for path in proved.grants for word in ("--grant", path)]
    task = town.tally(town.alder, "task", "submit", spec, *options).value["task"]
    ended = town.tally(town.alder, "task", "watch", task, "--seconds", 300, code=60)
    assert ended.value["state"] == "failed"
    assert "output policy" in ended.error["message"]
    assert town.tally(town.alder, "result", "fetch", task, "--folder", tmp_path / "r", code=70).error["code"] == "TS-7101"
    assert not (tmp_path / "r").exists()


def test_result_fetch_show_whence_and_bundle(town: Town, proved: Proved, tmp_path: Path) -> None:
    assert proved.result.stat().st_mode & 0o777 == 0o600
    shown = town.tally(None, "result", "show", proved.result).value
    assert shown["task"] == proved.task
    assert sum(group["count"] for group in shown["values"]["groups"]) == 120
    whence = town.tally(town.birch, "result", "whence", proved.result, "--bundle", proved.bundle).value
    assert whence["task"] == proved.task
    assert town.tally(town.birch, "result", "fetch", proved.task, "--folder", tmp_path / "b", code=70).error["code"] == "TS-7101"
    other = town.tally(
        town.regulator, "result", "bundle", proved.task, "--party", town.birch.account, "--folder", tmp_path / "e"
    ).value
    assert Path(other["bundle"]).read_bytes()[:2] == b"PK"
    unknown = "0x" + "12" * 32
    assert town.tally(town.alder, "result", "bundle", unknown, "--folder", tmp_path / "u", code=70).error["code"] == "TS-7101"
    assert town.tally(town.alder, "result", "fetch", "nonsense", code=11).error["code"] == "TS-1101"


def test_verify_offline_and_against_the_chain(town: Town, proved: Proved) -> None:
    anchor = town.tally(None, "task", "show", proved.task, code=None)  # no settings: no deployment to ask by
    assert anchor.code != 0
    block = town.tally(town.alder, "task", "show", proved.task).value["proved_in"]
    offline = ["verify", proved.bundle, "--deployment", town.network.deployment_file, "--trusted-block", block]
    report = town.tally(None, *offline, "--result", proved.result).value
    assert report["ok"]
    assert [rule["verdict"] for rule in report["rules"]] == ["ok"] * 20
    online = town.tally(town.regulator, "verify", proved.bundle, "--rpc", town.network.local.url).value
    assert online["ok"]
    assert [rule["detail"] for rule in online["rules"]][-1].startswith("the node at ")


def test_online_facts_are_the_same_however_small_the_pages(town: Town, proved: Proved) -> None:
    bundle = Bundle.read(proved.bundle)
    offline = BundleFacts(ChainEvidence.parse(bundle.chain))
    whole = OnlineFacts(town.network.connect())
    small = town.network.connect()
    small.profile = replace(small.profile, log_page=1)
    paged = OnlineFacts(small)
    for kind in (events.PROPOSED, events.RESULT_PROVED, events.GRANTED, events.ENROLLED):
        assert events.find(whole, kind) == events.find(paged, kind)
    task = bytes.fromhex(proved.task[2:])
    for kind in (events.PROPOSED, events.ACCEPTED, events.DEBITED, events.STARTED, events.RESULT_PROVED):
        told = [each.log for each in events.find(whole, kind, task=task)]
        assert told
        # What is encoded again from decoded events is, byte by byte, what the receipts hold.
        assert [(each.topics, each.data, each.block, each.timestamp) for each in told] == [
            (each.log.topics, each.log.data, each.log.block, each.log.timestamp) for each in events.find(offline, kind, task=task)
        ]


@pytest.mark.parametrize("question", ["dataset", "participant", "task", "file", "purpose", "period"])
def test_provenance_in_every_form(town: Town, proved: Proved, question: str) -> None:
    asked = {
        "dataset": [proved.datasets[0]],
        "participant": [town.birch.account],
        "task": [proved.task],
        "file": [proved.result],
        "purpose": [PURPOSE],
        "period": ["2020-01-01", "2100-01-01"],
    }[question]
    command = ["provenance", question, *asked, "--bundle", proved.bundle]
    graph = town.tally(town.regulator, *command).value
    assert graph["true_at"]["chain_id"] == 31337
    names = {node["id"] for node in graph["nodes"]}
    assert all(edge["source"] in names and edge["target"] in names for edge in graph["edges"])
    assert proved.task in json.dumps(graph)
    assert "true at block" in town.tally(town.regulator, *command, as_json=False).stdout
    assert "entity" in json.loads(town.tally(town.regulator, *command, "--format", "prov").stdout)
    assert ET.fromstring(town.tally(town.regulator, *command, "--format", "svg").stdout).tag.endswith("svg")


def test_provenance_of_nothing_is_not_found(town: Town, proved: Proved) -> None:
    for command in (["dataset", "0x" + "00" * 32], ["task", "0x" + "00" * 32], ["purpose", "marketing"]):
        assert town.tally(town.alder, "provenance", *command, code=70).error["code"] == "TS-7101"
    assert town.tally(town.alder, "provenance", "period", "yesterday", "2026-01-01", code=11).error["code"] == "TS-1101"


def test_node_info(town: Town) -> None:
    rows = town.tally(town.alder, "node", "info", "--seconds", 60, code=60).value
    named = {row["account"]: row for row in rows}
    assert named[town.birch.account]["name"] == "Birch"
    assert named[town.birch.account]["chain_id"] == 31337
    assert "statistics" in named[town.birch.account]["workloads"]
    assert [row["account"] for row in rows if row["fault"]] == [town.regulator.account]  # it runs no node
    assert town.tally(town.alder, "node", "info", town.birch.account.lower()).value[0]["name"] == "Birch"


def test_dataset_publish_refuses_what_it_should(town: Town, tmp_path: Path) -> None:
    def publish(*options: object, file: str = "cells.csv", code: int) -> dict[str, str]:
        return town.tally(town.alder, "dataset", "publish", "x", file, *options, "--out", tmp_path / "x.json", code=code).error

    kind = ["--column", "kind:string"]
    assert publish("--column", "radius:decimal:2", "--column", "kind:int64", code=13)["code"] == "TS-1301"
    assert publish(*kind, file="../tls.key", code=13)["code"] == "TS-1301"
    assert publish(code=80)["code"] == "TS-8101"
    for wrong in ("radius", "radius:float", "radius:decimal", "radius:decimal:99", ":string"):
        assert "decimal" in publish("--column", wrong, code=11)["remedy"]
    (tmp_path / "columns.toml").write_text(
        '[[columns]]\nname = "radius"\ntype = "decimal"\nscale = 2\n[[columns]]\nname = "kind"\ntype = "string"\n'
    )
    made = town.tally(
        town.alder, "dataset", "publish", "y", "cells.csv", "--columns", tmp_path / "columns.toml", "--out", tmp_path / "y.json"
    )
    assert made.value["rows"] == 60
    # The descriptor is recorded once; the chain says so when somebody tries again.
    assert town.tally(town.alder, "dataset", "record", tmp_path / "y.json", code=42).error["code"] == "TS-4103"
    assert town.tally(town.alder, "dataset", "show", made.value["dataset"]).value["owner"] == town.alder.account
    assert town.tally(town.alder, "dataset", "show", "0x" + "00" * 32, code=70).error["code"] == "TS-7101"


def test_a_wrong_password_is_exit_50(town: Town, proved: Proved, tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("not the password")
    wrong.chmod(0o600)
    config = town.alder.folder / "tally.toml"
    ran = town.tally(None, "--config", config, "--password-file", wrong, "task", "cancel", proved.task, code=50)
    assert "does not open" in ran.error["message"]
    ran = town.tally(None, "--config", config, "task", "cancel", proved.task, code=50)  # nobody is there to type it
    assert "--password-file" in ran.error["remedy"]


def test_no_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, town: Town) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no such settings" in town.tally(None, "--config", tmp_path / "no.toml", "chain", "status", code=80).error["message"]
    assert town.tally(None, "chain", "status", code=70).error["code"] == "TS-7101"  # nor a deployment
    assert "certificate" in town.tally(None, "audit", "refusals", code=80).error["message"]
    (tmp_path / "tally.toml").write_text("rpc_ulr = 1\n")
    assert "rpc_ulr" in town.tally(None, "chain", "status", code=80).error["message"]
    (tmp_path / "tally.toml").write_text("not toml at all")
    assert town.tally(None, "chain", "status", code=80).error["code"] == "TS-8101"


def read_terminal(ours: int, until: bytes | None = None) -> bytes:
    """What is written to a terminal, until some text stands in it or all who write have gone."""
    shown = b""
    with suppress(OSError):  # the end of a terminal
        while (until is None or until not in shown) and (more := os.read(ours, 4096)):
            shown += more
    return shown


def test_interrupt_is_exit_130_and_says_nothing_wrong(town: Town, proved: Proved, tmp_path: Path) -> None:
    spec = TaskSpec.parse(town.draft(proved.grants, tmp_path / "spec.json").read_bytes())
    chain = town.network.client(town.alder).chain
    chain.send("TaskLedger", "propose", proposal_of(spec).as_tuple())
    task = "0x" + proposal_of(spec).id().hex()
    program = "from tallystick.cli.main import main; main()"
    command = [sys.executable, "-c", program, "--config", str(town.alder.folder / "tally.toml"), "task", "watch", task]
    ours, theirs = pty.openpty()  # somebody looks at standard error, so that it says when the command waits
    # Who runs the tests in the background may have them ignore the interrupt, and what ignores it passes that on.
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, preexec_fn=listen, env=environment)
    os.close(theirs)
    shown = read_terminal(ours, b"proposed, attempt 1")
    assert b"proposed, attempt 1" in shown  # else it ended by itself, and says why
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    shown += read_terminal(ours)
    os.close(ours)
    assert process.returncode == 130
    assert b"Traceback" not in shown
    assert out == ""
    town.tally(town.alder, "task", "cancel", task)


def test_an_unreachable_chain_is_exit_40(town: Town, proved: Proved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_RPC_URL", "http://127.0.0.1:9")
    for command in (
        ["task", "list"],
        ["task", "plan", proved.spec],
        ["provenance", "task", proved.task],
        ["audit", "check", town.alder.account],
    ):
        assert town.tally(town.alder, *command, code=40).error["code"] == "TS-4101"
