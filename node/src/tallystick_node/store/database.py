"""The store's operations, each one transaction. SQLite runs in WAL mode with full synchronisation: what was committed stays.

One process owns a store. Its writers take turns, so that what a transaction reads first is still so when it writes.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import create_engine, delete, event, func, select
from sqlalchemy.engine import Engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.orm import Session
from tallystick.protocol import canonical, merkle
from tallystick.protocol.audit import AuditRecord
from tallystick.protocol.errors import Configuration
from tallystick.signing import Signer

from tallystick_node.store import migrate
from tallystick_node.store.models import (
    AuditRow,
    BlobRow,
    CursorRow,
    DatasetRow,
    DocumentRow,
    OutboxRow,
    RunRow,
)

#: From each state the states that may follow. `refused`, `proved`, `expired` and `cancelled` are final.
TRANSITIONS: Mapping[str, frozenset[str]] = {
    "received": frozenset({"admitted", "refused", "expired", "cancelled", "failed"}),
    "admitted": frozenset({"running", "expired", "cancelled", "failed"}),
    "running": frozenset({"proving", "failed", "expired"}),
    "proving": frozenset({"proved", "failed", "expired"}),
    "failed": frozenset({"admitted"}),
    "refused": frozenset(),
    "proved": frozenset(),
    "expired": frozenset(),
    "cancelled": frozenset(),
}
AGAIN = "again"  # the state of a write that was on the chain and is no longer
OPEN = ("pending", AGAIN)
CURSOR, PAST, WRITE = "events", "past:", "write:"  # what blocks that the node relies on are called in their table
PLACES = 1000
BEGUN = "begun"  # the result of a run that is its last attempt that ran here
NODE = 0x74616C6C79  # what a node's claim is called among a PostgreSQL database's advisory locks
ACTIVE = ("received", "admitted", "running", "proving")


class IllegalTransition(Exception):  # noqa: N818 - a defect of the node, never an answer to anybody
    """A run was moved to a state that its present one does not lead to."""


Place = tuple[int, str]  # a block, by number and hash


@dataclass(frozen=True)
class RunRecord:
    """A run at one moment."""

    task: str
    state: str
    attempt: int
    phase: str
    progress: float
    problem: Mapping[str, str]
    spec: bytes


@dataclass(frozen=True)
class Write:
    """A chain write to queue. The same ``key`` twice is one write; it is not tried before ``delay`` seconds from now."""

    key: str
    contract: str
    function: str
    arguments: Any
    delay: float = 0.0


class Store:
    """The database of one node. Safe to use from several threads.

    A new database gets its tables. Raises Configuration when the database cannot be opened, or its tables are those of another
    release: :func:`migrate.upgrade` is the operator's decision.
    """

    def __init__(self, url: str) -> None:
        self._engine: Engine = open_engine(url)
        self._lock = threading.Lock()
        self._claim = ExitStack()
        self.changes = 0  # grows with every transaction that writes: who would read again sees whether there can be news
        migrate.require_current(self._engine)
        with Session(self._engine) as session:
            self._tasks = set(session.scalars(select(RunRow.task)))

    def close(self) -> None:
        """Close every connection, and let another process claim the database."""
        self._claim.close()
        self._engine.dispose()

    def claim(self) -> None:
        """Be the only process that works as a node on this database, until the store is closed or the process ends: two would send
        the same writes twice. Raises Configuration when another has it.

        On PostgreSQL the claim is as good as one connection: where that is lost, another process can claim the database.
        """
        if self._engine.dialect.name == "postgresql":
            connection = self._claim.enter_context(self._engine.connect())
            claimed = bool(connection.scalar(select(func.pg_try_advisory_lock(NODE))))
            connection.commit()  # the lock is the session's: no transaction stays open with it
        else:
            held = os.open(f"{self._engine.url.database}.node", os.O_RDWR | os.O_CREAT, 0o600)
            self._claim.callback(os.close, held)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                claimed = False
            else:
                claimed = True
        if not claimed:
            self._claim.close()
            raise Configuration(
                "another process works as a node on this database",
                remedy="end it first: a database has one node process",
            )

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with self._lock:
            with Session(self._engine) as session, session.begin():
                yield session
            self.changes += 1

    # -- documents and datasets

    def put_document(self, kind: str, digest: bytes, content: bytes) -> None:
        """Keep a document; keeping it twice is keeping it once."""
        with self._writing() as session:
            session.merge(DocumentRow(digest="0x" + digest.hex(), kind=kind, content=content))

    def document(self, digest: bytes) -> bytes | None:
        """A document by its digest."""
        with Session(self._engine) as session:
            row = session.get(DocumentRow, "0x" + digest.hex())
            return row.content if row else None

    def put_dataset(self, row: DatasetRow) -> None:
        """Keep an attached dataset."""
        with self._writing() as session:
            session.merge(row)

    def dataset(self, digest: bytes) -> DatasetRow | None:
        """An attached dataset by the digest of its descriptor."""
        with Session(self._engine, expire_on_commit=False) as session:
            return session.get(DatasetRow, "0x" + digest.hex())

    def datasets(self) -> list[DatasetRow]:
        """Every attached dataset, in all its versions."""
        with Session(self._engine, expire_on_commit=False) as session:
            return list(session.scalars(select(DatasetRow)))

    # -- runs

    def create_run(self, task: str, spec: bytes) -> RunRecord:
        """The run of a task, new in state `received` or as it is."""
        with self._writing() as session:
            row = session.get(RunRow, task)
            if row is None:
                row = RunRow(task=task, state="received", attempt=1, phase="", spec=spec, updated=time.time())
                row.progress, row.problem = 0.0, ""
                session.add(row)
                self._tasks.add(task)
            return _record(row)

    def concerns(self, task: str) -> bool:
        """Whether a task has a run that was here when this store was opened, or that it made since. Asks no database: of a chain's
        events most are about the tasks of others."""
        return task in self._tasks

    def run(self, task: str) -> RunRecord | None:
        """The run of a task."""
        with Session(self._engine) as session:
            row = session.get(RunRow, task)
            return _record(row) if row else None

    def active_runs(self) -> list[RunRecord]:
        """Runs that are not final."""
        with Session(self._engine) as session:
            return [_record(row) for row in session.scalars(select(RunRow).where(RunRow.state.in_(ACTIVE)))]

    def runs_since(self, moment: float) -> list[RunRecord]:
        """Runs that moved since a time, in seconds since 1970, or are not final yet."""
        with Session(self._engine) as session:
            chosen = select(RunRow).where((RunRow.updated >= moment) | RunRow.state.in_(ACTIVE))
            return [_record(row) for row in session.scalars(chosen)]

    def advance(
        self,
        task: str,
        state: str,
        *,
        phase: str = "",
        problem: Mapping[str, str] | None = None,
        attempt: int | None = None,
        write: Write | None = None,
        of: int | None = None,
    ) -> RunRecord:
        """Move a run and queue the chain write that belongs to the move: both or neither. ``attempt``: the number of the attempt
        that it moves to; ``of``: of the only one that it moves from. Raises IllegalTransition."""
        with self._writing() as session:
            row = session.get_one(RunRow, task)
            if of is not None and row.attempt != of:
                raise IllegalTransition(f"attempt {of} is over, and attempt {row.attempt} is {row.state}")
            if state not in TRANSITIONS[row.state]:
                raise IllegalTransition(f"{row.state} does not lead to {state}")
            row.state, row.phase, row.updated, row.progress = state, phase, time.time(), 0.0
            row.problem = json.dumps(dict(problem)) if problem else ""
            row.attempt = attempt or row.attempt
            if state == "running":
                session.merge(BlobRow(task=task, key=BEGUN, content=str(row.attempt).encode()))
            if write is not None:
                _queue(session, write)
            return _record(row)

    def report(self, task: str, phase: str, progress: float) -> None:
        """Note what a run is doing; no transition."""
        with self._writing() as session:
            row = session.get_one(RunRow, task)
            row.phase, row.progress = phase, progress

    def note_problem(self, task: str, problem: Mapping[str, str]) -> None:
        """Note what keeps a run from going on; no transition."""
        with self._writing() as session:
            session.get_one(RunRow, task).problem = json.dumps(dict(problem))

    def remember(self, task: str, *, write: Write | None = None, **contents: bytes) -> None:
        """Keep named results of a run's step, and queue the chain write that follows from them: all or nothing."""
        with self._writing() as session:
            for key, content in contents.items():
                session.merge(BlobRow(task=task, key=key, content=content))
            if write is not None:
                _queue(session, write)

    def recall(self, task: str, key: str) -> bytes | None:
        """A named result of a run's step."""
        with Session(self._engine) as session:
            row = session.get(BlobRow, (task, key))
            return row.content if row else None

    def recalled(self, prefix: str) -> list[tuple[str, str, bytes]]:
        """Tasks, keys and contents of the named results whose keys begin with a prefix."""
        with Session(self._engine) as session:
            rows = session.scalars(select(BlobRow).where(BlobRow.key.startswith(prefix, autoescape=True)))
            return [(row.task, row.key, row.content) for row in rows]

    def forget(self, task: str, key: str) -> None:
        """Keep a named result no longer."""
        with self._writing() as session:
            session.execute(delete(BlobRow).where(BlobRow.task == task, BlobRow.key == key))

    def begun(self, task: str) -> int:
        """The number of the last attempt of a run that ran here, whatever became of it since; 0 where none did."""
        return int(self.recall(task, BEGUN) or b"0")

    # -- audit log

    def append_audit(self, signer: Signer, chain_id: int, at: int, kind: str, message: str, **fields: Any) -> int:
        """Sign and append a record; its number."""
        with self._writing() as session:
            number = session.scalar(select(func.count()).select_from(AuditRow)) or 0
            detail = fields.pop("detail", {})
            blank = {"task": "", "dataset": "", "party": "", "rule": ""}
            record = AuditRecord(
                chain_id=chain_id,
                account=signer.address,
                index=number,
                at=at,
                kind=kind,
                message=message[:1024],
                detail=detail,
                **{**blank, **fields},
            ).signed(signer.sign_digest)
            session.add(AuditRow(number=number, record=record.to_bytes()))
            return number

    def audit_records(self) -> list[bytes]:
        """The whole log, in order."""
        with Session(self._engine) as session:
            return list(session.scalars(select(AuditRow.record).order_by(AuditRow.number)))

    def audit_size(self) -> int:
        """The number of records."""
        with Session(self._engine) as session:
            return session.scalar(select(func.count()).select_from(AuditRow)) or 0

    def audit_head(self) -> tuple[bytes, int]:
        """Root and size of the log, which is not empty."""
        records = self.audit_records()
        return merkle.root(records), len(records)

    # -- outbox and cursor

    def enqueue(self, write: Write) -> None:
        """Queue a chain write."""
        with self._writing() as session:
            _queue(session, write)

    def due_writes(self) -> list[OutboxRow]:
        """Writes that are not finished and whose time has come, oldest first."""
        with Session(self._engine, expire_on_commit=False) as session:
            query = select(OutboxRow).where(OutboxRow.status.in_(OPEN), OutboxRow.not_before <= time.time())
            return list(session.scalars(query.order_by(OutboxRow.number)))

    def postpone_write(self, number: int, seconds: float, problem: str) -> None:
        """Try a write again later, and note why."""
        with self._writing() as session:
            row = session.get_one(OutboxRow, number)
            row.not_before, row.problem = time.time() + seconds, problem

    def refuse_write(self, number: int, problem: str) -> None:
        """Note that a contract refused a write for good."""
        with self._writing() as session:
            row = session.get_one(OutboxRow, number)
            row.status, row.problem = "refused", problem

    def finish_write(self, number: int, place: Place, *, transaction: str = "", problem: str = "") -> None:
        """Note that a write is on the chain, and a block that shows it. Of the blocks the latest ``PLACES`` are kept."""
        with self._writing() as session:
            row = session.get_one(OutboxRow, number)
            row.transaction, row.problem = transaction or row.transaction, problem
            _finish(session, row, place)

    def withdraw_write(self, key: str, place: Place) -> None:
        """Take back a write that has not gone out: what it was for is on the chain already, by a block that shows it."""
        with self._writing() as session:
            row = session.scalar(select(OutboxRow).where(OutboxRow.key == key, OutboxRow.status.in_(OPEN)))
            if row is not None:
                _finish(session, row, place)

    def finished_writes(self) -> list[tuple[int, Place]]:
        """The writes that were finished last, and the blocks that show it, the highest first."""
        query = select(CursorRow.name, CursorRow.block, CursorRow.block_hash).where(CursorRow.name.startswith(WRITE))
        with Session(self._engine) as session:
            rows = session.execute(query.order_by(CursorRow.block.desc()))
            return [(int(name.removeprefix(WRITE)), (block, block_hash)) for name, block, block_hash in rows]

    def reopen_writes(self, numbers: Sequence[int]) -> None:
        """Send writes again: the blocks that showed them are no longer on the chain."""
        with self._writing() as session:
            for number in numbers:
                row = session.get_one(OutboxRow, number)
                row.status, row.not_before = AGAIN, time.time()
                session.execute(delete(CursorRow).where(CursorRow.name == f"{WRITE}{number}"))

    def cursor(self) -> Place | None:
        """Number and hash of the last block that was handled."""
        with Session(self._engine) as session:
            row = session.get(CursorRow, CURSOR)
            return (row.block, row.block_hash) if row else None

    def set_cursor(self, block: int, block_hash: str) -> None:
        """Note the last block that was handled. Of those before it some are kept, the sparser the longer ago: of the blocks that
        are 2^n to 2^(n+1) back the oldest that was noted."""
        with self._writing() as session:
            row = session.get(CursorRow, CURSOR)
            if row is not None and row.block < block:
                session.merge(CursorRow(name=f"{PAST}{row.block}", block=row.block, block_hash=row.block_hash))
                session.flush()
                past = {(block - each.block).bit_length(): each for each in _past(session)}
                for each in _past(session):
                    if past[(block - each.block).bit_length()] is not each:
                        session.delete(each)
            session.merge(CursorRow(name=CURSOR, block=block, block_hash=block_hash))

    def past_cursors(self) -> list[Place]:
        """Some of the blocks that were the last one handled before, newest first."""
        with Session(self._engine) as session:
            return [(row.block, row.block_hash) for row in _past(session)]

    def rewind(self, block: int) -> None:
        """Make one of :meth:`past_cursors` the last block that was handled; -1 for none."""
        with self._writing() as session:
            rows = {row.block: row for row in _past(session) if row.block >= block}
            kept = rows.get(block)
            for row in rows.values():
                session.delete(row)
            if kept is None:
                session.execute(delete(CursorRow).where(CursorRow.name == CURSOR))
            else:
                session.merge(CursorRow(name=CURSOR, block=kept.block, block_hash=kept.block_hash))


def _finish(session: Session, row: OutboxRow, place: Place) -> None:
    row.status = "done"
    session.merge(CursorRow(name=f"{WRITE}{row.number}", block=place[0], block_hash=place[1]))
    session.flush()
    shown = select(CursorRow.block).where(CursorRow.name.startswith(WRITE)).order_by(CursorRow.block.desc())
    oldest = session.scalar(shown.offset(PLACES - 1).limit(1))
    if oldest is not None:
        session.execute(delete(CursorRow).where(CursorRow.name.startswith(WRITE), CursorRow.block < oldest))


def _past(session: Session) -> list[CursorRow]:
    query = select(CursorRow).where(CursorRow.name.startswith(PAST)).order_by(CursorRow.block.desc())
    return list(session.scalars(query))


def _queue(session: Session, write: Write) -> None:
    if session.scalar(select(OutboxRow.number).where(OutboxRow.key == write.key)) is None:
        data = canonical.encode(_plain(write.arguments))
        row = OutboxRow(key=write.key, contract=write.contract, function=write.function, data=data, status="pending")
        row.transaction, row.problem, row.not_before = "", "", time.time() + write.delay
        session.add(row)


def open_engine(url: str) -> Engine:
    """The engine of a database URL. Raises Configuration when it is no URL or names a driver that is not installed."""
    try:
        engine = create_engine(url)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise Configuration(
            f"the store's URL cannot be used ({type(error).__name__})",
            remedy="sqlite:///node.db, or postgresql+psycopg://... with the extra `postgresql` installed",
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable)
    return engine


def arguments_of(row: OutboxRow) -> list[Any]:
    """The arguments of a queued write."""
    value = _rich(canonical.decode(row.data, 1 << 24))
    return list(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b": value.hex()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {"i": str(value)} if isinstance(value, int) and not isinstance(value, bool) else value


def _rich(value: Any) -> Any:
    if isinstance(value, dict):
        return bytes.fromhex(value["b"]) if "b" in value else int(value["i"])
    return [_rich(item) for item in value] if isinstance(value, list) else value


def _record(row: RunRow) -> RunRecord:
    problem = json.loads(row.problem) if row.problem else {}
    return RunRecord(row.task, row.state, row.attempt, row.phase, row.progress, problem, row.spec)


def _durable(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
