"""The tables (SQLAlchemy 2). SQLite by default, PostgreSQL by URL. A change here needs a revision in ``migrations/versions``."""

from __future__ import annotations

from sqlalchemy import BigInteger, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables of a node."""


class DocumentRow(Base):
    """Canonical bytes by their digest."""

    __tablename__ = "documents"
    digest: Mapped[str] = mapped_column(String(66), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    content: Mapped[bytes] = mapped_column(LargeBinary)


class DatasetRow(Base):
    """A data file of this institution that was committed to, by the digest of its descriptor: one for each version of a dataset.

    ``secret`` salts its rows: it never leaves this table.
    """

    __tablename__ = "datasets"
    digest: Mapped[str] = mapped_column(String(66), primary_key=True)
    path: Mapped[str] = mapped_column(Text)
    descriptor: Mapped[bytes] = mapped_column(LargeBinary)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    size: Mapped[int] = mapped_column(BigInteger)
    modified_ns: Mapped[int] = mapped_column(BigInteger)


class RunRow(Base):
    """One task as this node sees it."""

    __tablename__ = "runs"
    task: Mapped[str] = mapped_column(String(66), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    attempt: Mapped[int] = mapped_column(default=1)
    phase: Mapped[str] = mapped_column(Text, default="")
    progress: Mapped[float] = mapped_column(default=0.0)
    problem: Mapped[str] = mapped_column(Text, default="")
    spec: Mapped[bytes] = mapped_column(LargeBinary)
    updated: Mapped[float]


class BlobRow(Base):
    """A named result of a run's step, kept until the task is final and after."""

    __tablename__ = "run_blobs"
    task: Mapped[str] = mapped_column(String(66), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class AuditRow(Base):
    """One signed record of the append-only log; ``number`` counts from 0 without gaps."""

    __tablename__ = "audit_records"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    record: Mapped[bytes] = mapped_column(LargeBinary)


class OutboxRow(Base):
    """A chain write that must happen once. ``status``: pending, done, refused; again, where a re-organisation took it away."""

    __tablename__ = "outbox"
    __table_args__ = (UniqueConstraint("key"),)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    key: Mapped[str] = mapped_column(String(160))
    contract: Mapped[str] = mapped_column(String(32))
    function: Mapped[str] = mapped_column(String(32))
    data: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[str] = mapped_column(String(8), index=True)
    transaction: Mapped[str] = mapped_column(String(66), default="")
    problem: Mapped[str] = mapped_column(Text, default="")
    not_before: Mapped[float] = mapped_column(default=0.0)


class CursorRow(Base):
    """Blocks that this node relies on, by number and hash: the last one whose events were handled, some before it, and those
    that show writes of the outbox."""

    __tablename__ = "cursor"
    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    block: Mapped[int] = mapped_column(BigInteger)
    block_hash: Mapped[str] = mapped_column(String(66))
