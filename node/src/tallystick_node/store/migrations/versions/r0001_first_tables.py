"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Documents, datasets, runs and their blobs, audit records, outbox, cursor."""
    op.create_table(
        "documents",
        sa.Column("digest", sa.String(66), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "datasets",
        sa.Column("digest", sa.String(66), primary_key=True),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("descriptor", sa.LargeBinary, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("modified_ns", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("task", sa.String(66), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("progress", sa.Double, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("spec", sa.LargeBinary, nullable=False),
        sa.Column("updated", sa.Double, nullable=False),
    )
    op.create_table(
        "run_blobs",
        sa.Column("task", sa.String(66), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "audit_records",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(160), nullable=False, unique=True),
        sa.Column("contract", sa.String(32), nullable=False),
        sa.Column("function", sa.String(32), nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.String(8), nullable=False, index=True),
        sa.Column("transaction", sa.String(66), nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
    )
    op.create_table(
        "cursor",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("block_hash", sa.String(66), nullable=False),
    )
