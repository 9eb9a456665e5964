"""`tally audit` over a real network: what an owner, a stranger and a regulator see, and a node that tampers with its log."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from integration.cli.conftest import Proved, Town


@pytest.fixture
def refused(town: Town, proved: Proved, tmp_path: Path) -> str:
    """A refusal on record at one of the nodes; both nodes' logs are anchored."""
    grant = town.grant(town.birch, proved.datasets[1], tmp_path / "g.json")
    spec = town.draft([proved.grants[0], grant], tmp_path / "spec.json", purpose="marketing")
    error = town.tally(town.alder, "task", "submit", spec, "--grant", proved.grants[0], "--grant", grant, code=20).error
    assert "marketing" in error["message"]
    give_up = time.monotonic() + 180
    for who in (town.alder, town.birch):
        while not (rows := town.tally(town.regulator, "audit", "log", who.account).value) or not all(
            row["anchored"] for row in rows
        ):
            assert time.monotonic() < give_up
            time.sleep(0.3)
    return str(error["party"])


def test_refusals_and_what_each_may_see(town: Town, proved: Proved, refused: str) -> None:
    rows = town.tally(town.alder, "audit", "refusals", code=None)
    assert rows.code == 60  # the settings also name the regulator, which runs no node
    # Which node is asked first follows from the accounts' numbers; it alone has the refusal.
    logs = [town.tally(who, "audit", "log", who.account, "--kind", "refusal").value for who in (town.alder, town.birch)]
    assert "grant.purpose" in {row["rule"] for row in logs[0] + logs[1]}
    everything = town.tally(town.regulator, "audit", "log", town.alder.account).value
    assert [row["index"] for row in everything] == list(range(len(everything)))
    about = town.tally(town.regulator, "audit", "log", town.alder.account, "--task", proved.task).value
    assert {row["task"] for row in about} == {proved.task}
    # Birch sees of Alder's log what names Birch, and that checks too.
    part = town.tally(town.birch, "audit", "log", town.alder.account).value
    assert len(part) < len(everything)
    assert town.tally(town.birch, "audit", "check", town.alder.account).value["complete"] is False


def test_a_whole_log_checks_for_owner_and_regulator(town: Town, proved: Proved, refused: str) -> None:
    for reader in (town.alder, town.regulator):
        verdict = town.tally(reader, "audit", "check", town.alder.account).value
        assert verdict["verdict"] == "ok"
        assert verdict["complete"] is True
        assert verdict["proved"] == verdict["anchored"] > 0


def test_saved_records_check_without_the_node(town: Town, refused: str, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    town.tally(town.regulator, "audit", "log", town.birch.account, "--save", folder)
    check = ["audit", "check", town.birch.account, "--folder", folder]
    assert town.tally(town.regulator, *check).value["complete"] is True
    shown = town.tally(town.regulator, "audit", "log", town.birch.account, "--folder", folder, "--kind", "run").value
    assert {row["kind"] for row in shown} == {"run"}
    first = folder / "00000000.json"
    kept = first.read_bytes()
    first.write_bytes(kept.replace(b"attempt 1", b"attempt 2"))
    assert first.read_bytes() != kept
    assert town.tally(town.regulator, *check, code=30).error["message"].startswith("record 0: ")
    first.unlink()
    assert "record 0 is missing" in town.tally(town.regulator, *check, code=30).error["message"]


@pytest.mark.slow
def test_a_node_that_rewrites_or_forgets_is_named(town: Town, proved: Proved, refused: str) -> None:
    """The operator of Birch's node edits the node's database, stopped; the regulator finds what was done."""
    database = town.birch.folder / "node.db"
    check = ["audit", "check", town.birch.account]
    town.network.halt(town.birch)
    with sqlite3.connect(database) as store:
        store.execute("pragma wal_checkpoint(truncate)")
    shutil.copy(database, database.with_suffix(".kept"))
    chain = town.network.governor.chain  # the tampered node may anchor what it wrote: the chain forgets that, too
    snapshot = chain.request("evm_snapshot")
    try:
        for change in ("rewrite", "forget"):
            with sqlite3.connect(database) as store:
                table, column = _audit_table(store)
                index, record = store.execute(f"select rowid, {column} from {table} order by rowid limit 1").fetchone()
                if change == "rewrite":
                    forged = json.loads(record)
                    forged["body"]["message"] = "nothing happened"
                    content = json.dumps(forged, separators=(",", ":"), sort_keys=True).encode()
                    store.execute(f"update {table} set {column} = ? where rowid = ?", (content, index))
                else:
                    last = store.execute(f"select max(rowid) from {table}").fetchone()[0]
                    store.execute(f"delete from {table} where rowid = ?", (last,))
            town.network.launch(town.birch)
            error = town.tally(town.regulator, *check, code=30).error
            town.network.halt(town.birch)
            _restore(database)
            assert error["party"] == town.birch.account
            # a record may also be proved against the head that the node has written anew, and that nobody saw anchored
            assert ("record 0" if change == "rewrite" else "missing") in error["message"] or "never anchored" in error["message"], (
                error
            )
    finally:
        town.network.halt(town.birch)
        _restore(database)
        chain.request("evm_revert", snapshot)
        town.network.launch(town.birch)
    assert town.tally(town.regulator, *check).value["verdict"] == "ok"


def _restore(database: Path) -> None:
    for ending in ("-wal", "-shm"):
        database.with_name(database.name + ending).unlink(missing_ok=True)
    shutil.copy(database.with_suffix(".kept"), database)


def _audit_table(store: sqlite3.Connection) -> tuple[str, str]:
    """The table of the records and the column with their bytes: the one table with 'audit' in its name."""
    (table,) = [name for (name,) in store.execute("select name from sqlite_master where type = 'table'") if "audit" in name]
    columns = [row[1] for row in store.execute(f"pragma table_info({table})")]
    return table, next(name for name in columns if name in ("record", "content", "data", "body"))
