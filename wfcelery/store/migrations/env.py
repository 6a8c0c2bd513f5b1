"""Alembic's entry: it migrates over the connection it is given, inside that connection's transaction."""

from __future__ import annotations

from alembic import context

from wfcelery.store.migrations import VERSION_TABLE
from wfcelery.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # SQLite's driver runs without transactions of its own; ours is open already.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
