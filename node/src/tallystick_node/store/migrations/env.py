"""Run by Alembic: the revisions, in the transaction of the caller's connection."""

from alembic import context

from tallystick_node.store.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
