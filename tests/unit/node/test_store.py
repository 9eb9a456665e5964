"""The store: its schema by revisions, its state machine, what is atomic, and what survives a restart."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import inspect, text
from tallystick.protocol.audit import AuditRecord, verify_log
from tallystick.protocol.errors import Configuration, MalformedDocument
from tallystick.signing import signer_from_uri
from tallystick_node.store import database, migrate
from tallystick_node.store.database import TRANSITIONS, IllegalTransition, Store, Write, arguments_of, open_engine
from tallystick_node.store.models import Base

TASK = "0x" + "11" * 32
SIGNER = signer_from_uri("mnemonic:0")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'node.db'}"


def write(key: str = "accept:x:1", **changes: object) -> Write:
    values = {"contract": "TaskLedger", "function": "accept", "arguments": [("0xab", 1, b"\1"), [2**255, -1], []], **changes}
    return Write(key, **values)  # type: ignore[arg-type]


# -- schema


def test_the_revisions_make_exactly_the_models(url: str) -> None:
    Store(url).close()
    with open_engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_store_of_another_kind_or_release_is_refused_and_left_alone(url: str) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text("create table other (x integer)"))
    with pytest.raises(Configuration, match="not one of this release"):
        Store(url)
    assert inspect(engine).get_table_names() == ["other"]


def test_a_store_of_a_later_release_is_refused(url: str) -> None:
    Store(url).close()
    with open_engine(url).begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(Configuration, match="not one of this release"):
        Store(url)


def test_a_store_of_an_earlier_release_waits_for_its_operator(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(url).close()
    monkeypatch.setattr(migrate, "_revisions", lambda: ["0002", "0001"])
    with pytest.raises(Configuration, match="revision 0001, this release needs 0002") as caught:
        Store(url)
    assert "tallystick-node migrate" in caught.value.remedy


def test_a_revision_that_fails_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import command

    def half(config: object, revision: str) -> None:
        config.attributes["connection"].execute(text("create table half (x integer)"))  # type: ignore[attr-defined]
        raise RuntimeError

    monkeypatch.setattr(command, "upgrade", half)
    engine = open_engine(url)
    with pytest.raises(RuntimeError):
        migrate.upgrade(engine)
    assert inspect(engine).get_table_names() == []


@pytest.mark.parametrize("bad", ["no url", "oracle9://x", "sqlite:////no/such/folder/node.db"])
def test_a_bad_url_is_named_without_its_password(bad: str) -> None:
    with pytest.raises(Configuration):
        Store(bad)


def test_a_database_that_cannot_be_used_shows_no_password() -> None:
    with pytest.raises(Configuration) as caught:
        Store("postgresql+psycopg://node:hunter22@127.0.0.1:1/x")
    assert "hunter22" not in str(caught.value) + str(caught.value.party)


def test_a_database_has_one_node(url: str) -> None:
    store, other = Store(url), Store(url)
    store.claim()
    with pytest.raises(Configuration, match="another process works as a node"):
        other.claim()
    store.close()
    other.claim()
    other.close()


def test_the_claim_of_a_killed_node_ends_with_it(url: str) -> None:
    store = Store(url)
    lines = (
        "import time",
        "from tallystick_node.store.database import Store",
        f"store = Store({url!r})",
        "store.claim()",
        "print(flush=True)",
        "time.sleep(60)",
    )
    with subprocess.Popen([sys.executable, "-c", "\n".join(lines)], stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        node.stdout.readline()
        with pytest.raises(Configuration):
            store.claim()
        node.kill()
    store.claim()
    store.close()


# -- runs


@given(moves=st.lists(st.sampled_from(sorted(TRANSITIONS)), max_size=12))
@settings(max_examples=25)
def test_only_the_listed_transitions_happen(moves: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('store') / 'node.db'}")
    state = store.create_run(TASK, b"spec").state
    for move in moves:
        if move in TRANSITIONS[state]:
            assert store.advance(TASK, move).state == move
            state = move
        else:
            with pytest.raises(IllegalTransition):
                store.advance(TASK, move)
        found = store.run(TASK)
        assert found is not None and found.state == state
    store.close()


def test_every_state_leads_to_an_end_and_ends_lead_nowhere() -> None:
    ends = {state for state, after in TRANSITIONS.items() if not after}
    assert ends == {"refused", "proved", "expired", "cancelled"}
    for state in TRANSITIONS:
        reached, before = {state}, set()
        while reached != before:
            before = set(reached)
            reached |= {after for each in before for after in TRANSITIONS[each]}
        assert reached & ends


def test_what_was_committed_is_there_after_a_restart(url: str) -> None:
    store = Store(url)
    store.create_run(TASK, b"spec")
    store.advance(TASK, "admitted", attempt=2, write=write())
    store.advance(TASK, "failed", problem={"message": "why"})
    store.remember(TASK, statement=b"1", proof=b"2", write=write("submit:x:2"))
    store.put_document("terms", b"\7" * 32, b"content")
    store.set_cursor(7, "0xab")
    store.close()
    store = Store(url)
    run = store.run(TASK)
    assert run is not None
    assert (run.state, run.attempt, run.problem, run.spec) == ("failed", 2, {"message": "why"}, b"spec")
    assert [row.key for row in store.due_writes()] == ["accept:x:1", "submit:x:2"]
    assert (store.recall(TASK, "statement"), store.recall(TASK, "proof"), store.recall(TASK, "none")) == (b"1", b"2", None)
    assert store.document(b"\7" * 32) == b"content"
    assert store.cursor() == (7, "0xab")


def test_creating_a_run_again_changes_nothing(url: str) -> None:
    store = Store(url)
    store.create_run(TASK, b"spec")
    store.advance(TASK, "admitted")
    assert store.create_run(TASK, b"other").state == "admitted"
    found = store.run(TASK)
    assert found is not None and found.spec == b"spec"


# -- outbox


def test_a_move_and_its_write_are_one(url: str) -> None:
    store = Store(url)
    store.create_run(TASK, b"spec")
    with pytest.raises(IllegalTransition):
        store.advance(TASK, "proved", write=write())
    assert store.due_writes() == []
    with pytest.raises(MalformedDocument):
        store.advance(TASK, "admitted", write=write(arguments=[object()]))
    found = store.run(TASK)
    assert found is not None and found.state == "received"


def test_a_write_is_queued_once_and_comes_back_as_it_was(url: str) -> None:
    store = Store(url)
    store.enqueue(write())
    store.enqueue(write(arguments=[]))
    (row,) = store.due_writes()
    assert arguments_of(row) == [["0xab", 1, b"\1"], [2**255, -1], []]
    store.finish_write(row.number, (1, "0xaa"), transaction="0x1")
    store.enqueue(write())
    assert store.due_writes() == []


def test_a_run_counts_until_it_is_over_however_long_it_stands_still(url: str) -> None:
    store = Store(url)
    store.create_run(TASK, b"spec")
    later = time.time() + 60
    assert [run.task for run in store.runs_since(later)] == [TASK]
    over = next(state for state in sorted(TRANSITIONS["received"]) if not TRANSITIONS[state])
    store.advance(TASK, over)
    assert store.runs_since(later) == []


def test_whoever_polls_sees_that_something_was_written_and_only_then(url: str) -> None:
    store = Store(url)
    before = store.changes
    assert (store.due_writes(), store.audit_size(), store.cursor()) == ([], 0, None)
    assert store.changes == before
    store.enqueue(write())
    assert store.changes == before + 1
    state = store.create_run(TASK, b"spec").state
    with pytest.raises(IllegalTransition):
        store.advance(TASK, next(each for each in sorted(TRANSITIONS) if each not in TRANSITIONS[state]))
    assert store.changes == before + 2


def test_a_write_waits_for_its_time(url: str) -> None:
    store = Store(url)
    store.enqueue(write(delay=60.0))
    assert store.due_writes() == []
    store.enqueue(write("b"))
    (row,) = store.due_writes()
    store.postpone_write(row.number, 60, "{}")
    assert store.due_writes() == []


def test_a_write_that_is_sent_again_is_due_until_it_is_finished_again(url: str) -> None:
    store = Store(url)
    for number in range(3):
        store.enqueue(write(str(number)))
    rows = store.due_writes()
    for row, height in zip(rows, (5, 7, 6), strict=True):
        store.finish_write(row.number, (height, f"0x{height}"))
    assert store.finished_writes() == [(2, (7, "0x7")), (3, (6, "0x6")), (1, (5, "0x5"))]
    store.reopen_writes([2, 3])
    store.close()
    store = Store(url)
    assert [(row.key, row.status) for row in store.due_writes()] == [("1", "again"), ("2", "again")]
    store.withdraw_write("1", (9, "0x9"))
    assert store.finished_writes() == [(2, (9, "0x9")), (1, (5, "0x5"))]


def test_of_finished_writes_the_last_ones_are_watched(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PLACES", 3)
    store = Store(url)
    for height in range(6):
        store.enqueue(write(str(height)))
        store.finish_write(store.due_writes()[0].number, (height, "0x"))
    assert [place[0] for _, place in store.finished_writes()] == [5, 4, 3]


# -- cursor


@given(steps=st.lists(st.integers(1, 40), min_size=1, max_size=60))
@settings(max_examples=15)
def test_past_cursors_reach_back_as_far_as_one_has_come_and_are_few(
    steps: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store, block, noted = Store(f"sqlite:///{tmp_path_factory.mktemp('store') / 'node.db'}"), 0, []
    for step in steps:
        noted.append(block)
        store.set_cursor(block, hex(block))
        block += step
    store.set_cursor(block, hex(block))
    kept = [number for number, known in store.past_cursors() if known == hex(number)]
    assert kept == sorted(set(kept) & set(noted), reverse=True) and kept[-1] == noted[0]
    octaves = [(block - number).bit_length() for number in kept]
    assert len(set(octaves)) == len(octaves)
    store.rewind(kept[-1])
    assert store.cursor() == (noted[0], hex(noted[0])) and store.past_cursors() == []
    store.rewind(-1)
    assert store.cursor() is None
    store.close()


# -- audit log


def test_records_of_many_threads_form_one_log(url: str) -> None:
    store = Store(url)

    def append() -> None:
        for _ in range(10):
            store.append_audit(SIGNER, 31337, 1, "run", "message", task=TASK, detail={"a": "b"})

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = [AuditRecord.parse(each) for each in store.audit_records()]
    assert [each.index for each in records] == list(range(40))
    root, size = store.audit_head()
    assert size == store.audit_size() == 40
    verify_log(store.audit_records(), chain_id=31337, account=SIGNER.address, heads=[(size, root)])


def test_a_store_knows_without_asking_whose_tasks_concern_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'node.db'}"
    store = Store(url)
    assert not store.concerns(TASK)
    store.create_run(TASK, b"spec")
    assert store.concerns(TASK) and not store.concerns("0x" + "ee" * 32)
    store.close()
    assert Store(url).concerns(TASK)
