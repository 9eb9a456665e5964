"""The store's operations, each one transaction. SQLite runs in WAL mode with full synchronisation: what was committed stays.

One process owns a store. Its writers take turns, so that what a transaction reads first is still so when it writes.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import create_engine, event, func, select
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
BEGUN = "begun"  # the result of a run that is its last attempt that ran here
NODE = 0x74616C6C79  # what a node's claim is called among a PostgreSQL database's advisory locks
ACTIVE = ("received", "admitted", "running", "proving")


class IllegalTransition(Exception):  # noqa: N818 - a defect of the node, never an answer to anybody
    """A run was moved to a state that its present one does not lead to."""


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
    ) -> RunRecord:
        """Move a run and queue the chain write that belongs to the move: both or neither. Raises IllegalTransition."""
        with self._writing() as session:
            row = session.get_one(RunRow, task)
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
            query = select(OutboxRow).where(OutboxRow.status == "pending")
            return list(session.scalars(query.where(OutboxRow.not_before <= time.time()).order_by(OutboxRow.number)))

    def postpone_write(self, number: int, seconds: float, problem: str) -> None:
        """Try a write again later, and note why."""
        with self._writing() as session:
            row = session.get_one(OutboxRow, number)
            row.not_before, row.problem = time.time() + seconds, problem

    def mark_write(self, number: int, status: str, *, transaction: str = "", problem: str = "") -> None:
        """Note how a write ended."""
        with self._writing() as session:
            row = session.get_one(OutboxRow, number)
            row.status = status
            row.transaction = transaction or row.transaction
            row.problem = problem

    def withdraw_write(self, key: str) -> None:
        """Take back a write that has not gone out: what it was for is on the chain already."""
        with self._writing() as session:
            row = session.scalar(select(OutboxRow).where(OutboxRow.key == key, OutboxRow.status == "pending"))
            if row is not None:
                row.status = "done"

    def cursor(self) -> tuple[int, str] | None:
        """Number and hash of the last block that was handled."""
        with Session(self._engine) as session:
            row = session.get(CursorRow, "events")
            return (row.block, row.block_hash) if row else None

    def set_cursor(self, block: int, block_hash: str) -> None:
        """Note the last block that was handled."""
        with self._writing() as session:
            session.merge(CursorRow(name="events", block=block, block_hash=block_hash))


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
