"""The store's schema, by Alembic revisions that ship with the release (``migrations/versions``)."""

from __future__ import annotations

from importlib import resources
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from tallystick.protocol.errors import Configuration


def require_current(engine: Engine) -> None:
    """Give an empty database its tables; raise Configuration when a filled one is not at this release's revision."""
    try:
        found, empty = revision(engine), not inspect(engine).get_table_names()
    except DBAPIError as error:
        raise Configuration(
            f"the store cannot be opened ({type(error.orig).__name__})",
            party=engine.url.render_as_string(hide_password=True),
            remedy="check that the database runs, the folder exists, and this user may write there",
        ) from None
    if empty:
        upgrade(engine)
    elif found is None or found not in _revisions():
        raise Configuration(
            "the store is not one of this release, or of an earlier one",
            party=engine.url.render_as_string(hide_password=True),
            remedy="use the release that wrote it last, or another store",
        )
    elif found != _revisions()[0]:
        raise Configuration(
            f"the store is at revision {found}, this release needs {_revisions()[0]}",
            party=engine.url.render_as_string(hide_password=True),
            remedy="make a backup, then run `tallystick-node migrate`",
        )


def revision(engine: Engine) -> str | None:
    """The revision that the database is at; None when it has none."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine) -> str:
    """Bring the database to this release's revision, all or nothing; the revision."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # its driver opens no transaction for table definitions
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return _revisions()[0]


def _revisions() -> list[str]:
    """Newest first."""
    script: Any = ScriptDirectory.from_config(_config())
    return [each.revision for each in script.walk_revisions()]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(resources.files("tallystick_node.store") / "migrations"))
    return config
