"""The store's operations, each one transaction. SQLite runs in WAL mode with full synchronisation: what was committed stays."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import create_engine, event, func, select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session
from tallystick.protocol import canonical, merkle
from tallystick.protocol.audit import AuditRecord
from tallystick.signing import Signer

from tallystick_node.store.models import (
    AuditRow,
    Base,
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


class Store:
    """The database of one node. Safe to use from several threads."""

    def __init__(self, url: str) -> None:
        self._engine: Engine = create_engine(url)
        if url.startswith("sqlite"):
            event.listen(self._engine, "connect", _durable)
        Base.metadata.create_all(self._engine)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    # -- documents and datasets

    def put_document(self, kind: str, digest: bytes, content: bytes) -> None:
        """Keep a document; keeping it twice is keeping it once."""
        with Session(self._engine) as session, session.begin():
            session.merge(DocumentRow(digest="0x" + digest.hex(), kind=kind, content=content))

    def document(self, digest: bytes) -> bytes | None:
        """A document by its digest."""
        with Session(self._engine) as session:
            row = session.get(DocumentRow, "0x" + digest.hex())
            return row.content if row else None

    def put_dataset(self, row: DatasetRow) -> None:
        """Keep an attached dataset."""
        with Session(self._engine) as session, session.begin():
            session.merge(row)

    def dataset(self, dataset: str) -> DatasetRow | None:
        """An attached dataset by its id."""
        with Session(self._engine, expire_on_commit=False) as session:
            return session.get(DatasetRow, dataset)

    # -- runs

    def create_run(self, task: str, spec: bytes) -> RunRecord:
        """The run of a task, new in state `received` or as it is."""
        with Session(self._engine) as session, session.begin():
            row = session.get(RunRow, task)
            if row is None:
                row = RunRow(task=task, state="received", attempt=1, phase="", spec=spec, updated=time.time())
                row.progress, row.problem = 0.0, ""
                session.add(row)
            return _record(row)

    def run(self, task: str) -> RunRecord | None:
        """The run of a task."""
        with Session(self._engine) as session:
            row = session.get(RunRow, task)
            return _record(row) if row else None

    def active_runs(self) -> list[RunRecord]:
        """Runs that are not final."""
        with Session(self._engine) as session:
            return [_record(row) for row in session.scalars(select(RunRow).where(RunRow.state.in_(ACTIVE)))]

    def advance(
        self,
        task: str,
        state: str,
        *,
        phase: str = "",
        problem: Mapping[str, str] | None = None,
        attempt: int | None = None,
    ) -> RunRecord:
        """Move a run. Raises IllegalTransition."""
        with Session(self._engine) as session, session.begin():
            row = session.get_one(RunRow, task)
            if state not in TRANSITIONS[row.state]:
                raise IllegalTransition(f"{row.state} does not lead to {state}")
            row.state, row.phase, row.updated, row.progress = state, phase, time.time(), 0.0
            row.problem = json.dumps(dict(problem)) if problem else ""
            row.attempt = attempt or row.attempt
            return _record(row)

    def report(self, task: str, phase: str, progress: float) -> None:
        """Note what a run is doing; no transition."""
        with Session(self._engine) as session, session.begin():
            row = session.get_one(RunRow, task)
            row.phase, row.progress = phase, progress

    def remember(self, task: str, key: str, content: bytes) -> None:
        """Keep a named result of a run's step."""
        with Session(self._engine) as session, session.begin():
            session.merge(BlobRow(task=task, key=key, content=content))

    def recall(self, task: str, key: str) -> bytes | None:
        """A named result of a run's step."""
        with Session(self._engine) as session:
            row = session.get(BlobRow, (task, key))
            return row.content if row else None

    # -- audit log

    def append_audit(self, signer: Signer, chain_id: int, at: int, kind: str, message: str, **fields: Any) -> int:
        """Sign and append a record; its number."""
        with Session(self._engine) as session, session.begin():
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

    def audit_head(self) -> tuple[bytes, int]:
        """Root and size of the log."""
        records = self.audit_records()
        return (merkle.root(records) if records else b"", len(records))

    # -- outbox and cursor

    def enqueue(self, key: str, contract: str, function: str, arguments: Any, delay: float = 0.0) -> None:
        """Queue a chain write; the same key twice is one write."""
        data = canonical.encode(_plain(arguments))
        with Session(self._engine) as session, session.begin():
            if session.scalar(select(OutboxRow.number).where(OutboxRow.key == key)) is None:
                row = OutboxRow(key=key, contract=contract, function=function, data=data, status="pending")
                row.transaction, row.problem, row.not_before = "", "", time.time() + delay
                session.add(row)

    def due_writes(self) -> list[OutboxRow]:
        """Writes that are not finished and whose time has come, oldest first."""
        with Session(self._engine, expire_on_commit=False) as session:
            query = select(OutboxRow).where(OutboxRow.status.in_(("pending", "sent")))
            return list(session.scalars(query.where(OutboxRow.not_before <= time.time()).order_by(OutboxRow.number)))

    def mark_write(self, number: int, status: str, *, transaction: str = "", problem: str = "") -> None:
        """Note how far a write came."""
        with Session(self._engine) as session, session.begin():
            row = session.get_one(OutboxRow, number)
            row.status = status
            row.transaction = transaction or row.transaction
            row.problem = problem

    def cursor(self) -> tuple[int, str] | None:
        """Number and hash of the last block that was handled."""
        with Session(self._engine) as session:
            row = session.get(CursorRow, "events")
            return (row.block, row.block_hash) if row else None

    def set_cursor(self, block: int, block_hash: str) -> None:
        """Note the last block that was handled."""
        with Session(self._engine) as session, session.begin():
            session.merge(CursorRow(name="events", block=block, block_hash=block_hash))


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
