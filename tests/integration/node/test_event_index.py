"""The event index over a real chain: every event once through restarts, kills, re-organisations, several readers, small pages."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.chain_records import world_on
from benchmarks.indexer import Filled, fill, measure
from contracts.conftest import World
from tallystick.chain.connection import Chain
from tallystick.chain.contract import Event
from tallystick.chain.index import EventIndex, index_path
from tallystick.protocol.errors import ChainUnreachable, Configuration
from tallystick.testing.local_chain import LocalChain

TASKS = 5


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with LocalChain(tmp_path_factory.mktemp("chain")) as local:
        yield fill(world_on(local), TASKS)


@pytest.fixture
def world(filled: Filled) -> Iterator[World]:
    """What a test does to the chain is undone after it."""
    snapshot = filled.world.chain.request("evm_snapshot")
    yield filled.world
    filled.world.chain.request("evm_revert", snapshot)


def places(events: list[Event]) -> list[tuple[int, int, str]]:
    return [(event.block, event.log_index, event.block_hash) for event in events]


def everything(chain: Chain) -> list[tuple[int, int, str]]:
    return places(list(chain.events(0, chain.head())))


def paged(chain: Chain, blocks: int) -> Chain:
    return Chain(chain.url, chain.deployment, signer=chain.signer, profile=replace(chain.profile, log_page=blocks))


def happen(world: World, size: int) -> None:
    world.parties[0].send("AuditLog", "anchor", b"\1" * 32, size)


@pytest.mark.slow
def test_the_benchmark_finds_every_event_once_also_after_a_kill(filled: Filled, tmp_path: Path) -> None:
    rows = {row["operation"]: row for row in measure(filled, tmp_path)["rows"]}
    events = rows["catch up"]["events"]
    assert rows["a node catches up"]["events"] == events
    for killed in (rows["killed and gone on"], rows["a node killed and gone on"]):
        assert killed["events_before"] + killed["events_after"] - killed.get("of_the_page_again", 0) == events
        assert (killed["lost"], killed["doubled"]) == (0, 0)


@pytest.mark.parametrize("blocks", [1, 3, 1000])
def test_every_event_once_whatever_the_page(world: World, tmp_path: Path, blocks: int) -> None:
    chain = paged(world.chain, blocks)
    with EventIndex(tmp_path / "index.db", chain) as index:
        assert index.catch_up() == len(everything(chain)) and index.catch_up() == 0
        happen(world, 1)
    with EventIndex(tmp_path / "index.db", chain) as index:
        assert index.catch_up() == 1
        assert places(index.events()) == everything(chain) and index.last == chain.head()


def test_questions_are_answered_as_a_scan_would(filled: Filled, tmp_path: Path) -> None:
    chain = filled.world.chain
    scanned = list(chain.events(0, chain.head()))
    task, party = filled.proposals[2].id(), filled.world.parties[1].address
    with EventIndex(tmp_path / "index.db", chain) as index:
        index.catch_up()
        assert index.events("Granted", "Proposed") == [event for event in scanned if event.name in ("Granted", "Proposed")]
        assert index.events(about=task) == [event for event in scanned if event.arguments.get("task") == task]
        mine = [event for event in scanned if event.name == "Accepted" and event["party"] == party]
        assert index.events("Accepted", about=party) == mine and len(mine) == TASKS
        assert index.events(about="0x" + "00" * 31 + "07") == []
        blocks = sorted({event.block for event in scanned})
        assert index.times(blocks) == index.times(blocks) == {block: int(chain.block(block)["timestamp"], 16) for block in blocks}


@pytest.mark.parametrize("blocks", [1, 2, 1000])
def test_a_reorganised_chain_is_read_anew_from_where_it_parted(world: World, tmp_path: Path, blocks: int) -> None:
    chain = paged(world.chain, blocks)
    happen(world, 1)
    kept = chain.request("evm_snapshot")
    for size in (2, 3, 4):
        happen(world, size)
    with EventIndex(tmp_path / "index.db", chain) as index:
        index.catch_up()
        chain.request("evm_revert", kept)
        assert index.catch_up() >= 0 and places(index.events()) == everything(chain)  # shorter than before
        for size in (12, 13, 14, 15):
            happen(world, size)
        index.catch_up()
        assert places(index.events()) == everything(chain)  # other blocks of the same numbers
        assert [event["size"] for event in index.events("Anchored")] == [1, 12, 13, 14, 15]


def test_a_reorganisation_between_a_page_and_its_check_is_seen(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = world.chain
    kept = chain.request("evm_snapshot")
    happen(world, 2)
    pages, pending = chain.log_pages, [True]

    def part(first: int, last: int) -> Iterator[tuple[int, list]]:
        for page in pages(first, last):
            if pending and pending.pop():
                chain.request("evm_revert", kept)
                happen(world, 9)
            yield page

    monkeypatch.setattr(chain, "log_pages", part)
    with EventIndex(tmp_path / "index.db", chain) as index:
        index.catch_up()
        assert not pending and places(index.events()) == everything(chain)
        assert [event["size"] for event in index.events("Anchored")] == [9]


def test_several_readers_of_one_file_write_each_event_once(world: World, tmp_path: Path) -> None:
    def read(_: int) -> list[tuple[int, int, str]]:
        with EventIndex(tmp_path / "index.db", paged(world.chain, 2)) as index:
            index.catch_up()
            return places(index.events())

    with ThreadPoolExecutor(4) as pool:
        assert all(found == everything(world.chain) for found in pool.map(read, range(4)))


def test_a_file_that_another_process_is_making_is_waited_for(world: World, tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    letting_go = threading.Timer(0.3, other.execute, ["commit"])
    letting_go.start()
    with EventIndex(path, world.chain) as index:
        assert index.catch_up() == len(everything(world.chain))
    letting_go.join()
    other.close()


def test_a_page_of_another_chain_that_another_process_kept_is_dropped(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read before a re-organisation, and written while this process read the same blocks after it."""
    for size in (1, 2, 3):
        happen(world, size)
    chain = paged(world.chain, 2)
    pages, pending = chain.log_pages, [True]
    with EventIndex(tmp_path / "index.db", chain) as index, EventIndex(tmp_path / "index.db", chain) as other:

        def overtaken(first: int, last: int) -> Iterator[tuple[int, list]]:
            for until, logs in pages(first, last):
                if pending and pending.pop():
                    with other._writing():
                        other._keep([], until, "0x" + "77" * 32)
                yield until, logs

        monkeypatch.setattr(chain, "log_pages", overtaken)
        index.catch_up()
        assert not pending and places(index.events()) == everything(chain)


def test_a_file_that_another_process_made_one_of_another_chain_answers_of_this_one(world: World, tmp_path: Path) -> None:
    """Chains of development that start in one second have the same first block, and with it one file."""
    chain, path = world.chain, tmp_path / "index.db"
    happen(world, 1)
    last = chain.head()
    with EventIndex(path, chain) as index, EventIndex(path, chain) as other:

        def read_another_chain() -> None:
            with other._writing():
                other._file.execute("delete from pages")
                other._cut(-1)
                other._keep([], last, "0x" + "77" * 32)
                other._file.execute("insert into blocks values (?, 7)", (last,))

        index.catch_up()
        read_another_chain()
        assert places(index.events()) == everything(chain)
        read_another_chain()
        assert len(index.events("Anchored", about=world.parties[0].address)) == 1
        read_another_chain()
        assert index.times([last]) == {last: int(chain.block(last)["timestamp"], 16)}


def test_a_contract_that_the_deployment_lacked_is_not_missed_in_blocks_that_were_read_without_it(
    world: World, tmp_path: Path
) -> None:
    happen(world, 1)
    fewer = {name: at for name, at in world.deployment.contracts.items() if name != "AuditLog"}
    older = Chain(world.chain.url, world.deployment, profile=world.chain.profile)
    older.contracts = {name: older.contracts[name] for name in fewer}  # as of a deployment file from before it
    older._by_address.pop(world.deployment.contracts["AuditLog"].lower())
    for chain, expected in ((older, []), (world.chain, [1])):
        with EventIndex(index_path(tmp_path, chain), chain) as index:
            index.catch_up()
            assert [event["size"] for event in index.events("Anchored")] == expected


def test_what_another_process_reads_meanwhile_is_not_part_of_an_answer(world: World, tmp_path: Path) -> None:
    """Who says at which block its answer is true must have all events up to there, and none from behind it."""
    chain, path = world.chain, tmp_path / "index.db"
    with EventIndex(path, chain) as index, EventIndex(path, chain) as other:
        index.catch_up()
        before, head = everything(chain), chain.head()
        happen(world, 1)
        assert other.catch_up() == 1
        assert (places(index.events()), index.last) == (before, head)
        assert index.catch_up() == 0 and (places(index.events()), index.last) == (everything(chain), chain.head())


@pytest.mark.parametrize("lacking", ["the last block", "the same chain twice"])
def test_a_chain_that_never_stays_the_same_is_left(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    """Such as endpoints behind one address, of which one names the last block and another answers for it."""
    chain, made = Chain(world.chain.url, world.deployment, profile=replace(world.chain.profile, poll_seconds=0)), []

    def hash_at(_: int) -> str:
        made.append(None)
        return "" if lacking == "the last block" else f"0x{len(made):064x}"

    with EventIndex(tmp_path / "index.db", chain) as index:
        with monkeypatch.context() as patch:
            patch.setattr(chain, "hash_at", hash_at)
            with pytest.raises(ChainUnreachable, match="did not stay the same"):
                index.catch_up()
        assert len(index) == 0 and index.catch_up() == len(everything(chain))


def test_only_final_blocks_are_kept(world: World, tmp_path: Path) -> None:
    chain = Chain(world.chain.url, world.deployment, profile=replace(world.chain.profile, confirmations=2))
    happen(world, 1)
    with EventIndex(tmp_path / "index.db", chain) as index:
        index.catch_up()
        assert index.events("Anchored") == []
        world.chain.request("evm_mine")
        world.chain.request("evm_mine")
        index.catch_up()
        assert len(index.events("Anchored")) == 1


def test_a_file_that_is_no_index_is_named(world: World, tmp_path: Path) -> None:
    path = index_path(tmp_path / "cache", world.chain)
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(Configuration, match="index"):
        EventIndex(path, world.chain)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("create table events (a)")
    with pytest.raises(Configuration, match="index"):
        EventIndex(tmp_path / "other.db", world.chain)
