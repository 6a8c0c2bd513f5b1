"""The tables of one release, made and brought up to date by Alembic; their version stands in `wf_alembic_version`."""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from wfcelery.errors import Misconfigured, Unavailable, WfceleryError
from wfcelery.store.database import Database
from wfcelery.store.failures import named_error

log = logging.getLogger(__name__)

VERSION_TABLE = "wf_alembic_version"
logging.getLogger("alembic.runtime").setLevel(logging.WARNING)  # each look at the version would be two lines in a worker's log
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
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
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
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def _found(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


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
