"""The tables of one release, made and brought up to date by Alembic; their version stands in `wf_alembic_version`.

Alembic is loaded by `upgrade` alone: a worker, an app and a verb that only look at the version need neither its time nor its memory.
"""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa

from wfcelery.errors import Misconfigured, Unavailable, WfceleryError
from wfcelery.store.database import Database
from wfcelery.store.failures import named_error

VERSION_TABLE = "wf_alembic_version"
NEWEST = "0023"  # of the revisions in `versions/`; a test compares them
_VERSION = sa.text(f"select version_num from {VERSION_TABLE}")  # noqa: S608 - a word of our own
_TURN = 0x77666365  # "wfce": the advisory lock of those who migrate


def upgrade(database: Database) -> tuple[str | None, str]:
    """Create the tables or bring them up to this release, in one transaction; the versions before and after.

    Any number of processes may do it at once: they take turns.
    """
    with _connected(database) as connection:
        if database.dialect == "postgresql":
            connection.execute(sa.text("set local lock_timeout = 0"))
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURN)))
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        before = _found(connection)
        import_module("wfcelery.store.migrations.running").run(connection)
        after = _found(connection)
        connection.commit()
    assert after is not None
    return before, after


def versions(database: Database) -> tuple[str | None, str]:
    """The version of the tables that are there (None: none are), and the one that this release wants."""
    with _connected(database) as connection:
        return _found(connection), wanted()


def check(database: Database) -> None:
    """Raise Misconfigured unless the tables are those of this release."""
    found, asked = versions(database)
    if found != asked:
        raise Misconfigured(f"the tables are at {found or 'nothing'}, this release wants {asked}: run wfcelery db upgrade")


def wanted() -> str:
    """The newest version this release knows."""
    return NEWEST


def _found(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(_VERSION)
    return found


class _connected:  # noqa: N801  reads as a function
    """A connection of its own, outside the pool: a migration may wait for long, and sets what others must not inherit."""

    def __init__(self, database: Database) -> None:
        self._engine = database.apart()

    def __enter__(self) -> sa.Connection:
        try:
            self._connection = self._engine.connect()
        except sa.exc.DBAPIError as problem:
            away = Unavailable("database", str(problem.orig).splitlines()[0]) if isinstance(problem, sa.exc.OperationalError) else problem
            raise _in_our_words(problem) or away from problem
        return self._connection

    def __exit__(self, _: object, problem: BaseException | None, __: object) -> None:
        self._connection.close()
        self._engine.dispose()
        ours = _in_our_words(problem) if isinstance(problem, sa.exc.DBAPIError) else None
        if ours is not None:
            raise ours from problem


def _in_our_words(problem: sa.exc.DBAPIError) -> WfceleryError | None:
    named = named_error(problem.orig or problem)
    return named if isinstance(named, WfceleryError) else None
