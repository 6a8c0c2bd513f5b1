"""One database and its transactions: short ones of our own, and those of an app that we become part of.

Every function of the store takes a `Tx`. Engines are made per process, so that a fork never shares a socket.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from wfcelery.errors import Misconfigured, RowChanged, Unavailable
from wfcelery.store import forking
from wfcelery.store.failures import DRIVER_ERRORS, translated
from wfcelery.store.statements import Parameters, Result, Statement

try:
    import psycopg
    from psycopg import errors as pg
except ImportError:  # SQLite alone needs no PostgreSQL driver
    psycopg = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

BUSY = 30.0  # seconds that a SQLite writer waits for another
LOCK_TIMEOUT = 2.0  # seconds that a PostgreSQL transaction waits for a row's lock
IDLE = 15.0  # seconds after which a transaction of a process that hangs is ended by the server, and lets go of its run
# A server that is gone without a word is noticed, from either side, long before TCP gives up by itself.
UNHEARD = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}


class Tx(Protocol):
    """An open transaction."""

    @property
    def dialect(self) -> str:
        """`postgresql` or `sqlite`."""

    def execute(self, statement: Statement, parameters: Parameters | None = None) -> Result:
        """Run one statement."""

    def many(self, statement: Statement, parameters: list[Parameters]) -> int:
        """Run one statement for each of these, in as few round trips as the driver can; rows touched in all."""


class CursorTx:
    """A transaction on the driver's own cursor."""

    def __init__(self, cursor: Any, dialect: str, style: str | None = None) -> None:
        self._cursor, self.dialect, self._style = cursor, dialect, style or dialect

    def execute(self, statement: Statement, parameters: Parameters | None = None) -> Result:
        """Run one statement."""
        compiled = statement.on(self._style)
        self._cursor.execute(compiled.text, compiled.parameters(parameters))
        rows = compiled.rows(self._cursor.fetchall()) if compiled.returns else []
        return Result(rows, len(rows) if compiled.returns else self._cursor.rowcount)

    def many(self, statement: Statement, parameters: list[Parameters]) -> int:
        """Run one statement for each of these."""
        if not parameters:
            return 0
        compiled = statement.on(self._style)
        self._cursor.executemany(compiled.text, [compiled.parameters(each) for each in parameters])
        return int(self._cursor.rowcount)


_JOINED = ("psycopg", "psycopg2", "pysqlite")  # SQLAlchemy's names for drivers


class SQLAlchemyTx(CursorTx):
    """The transaction of a SQLAlchemy connection or session: on its driver's connection where that is ours, else on its cursor."""

    def __init__(self, connection: sa.Connection) -> None:
        if not connection.in_transaction():
            connection.begin()
        dialect = connection.dialect.name
        if dialect not in ("postgresql", "sqlite"):
            raise Misconfigured(f"wfcelery speaks PostgreSQL and SQLite, not {dialect}")
        name = connection.dialect.driver
        if name not in _JOINED:
            raise Misconfigured(f"wfcelery joins transactions of {', '.join(_JOINED)}, not of {name}; write join=False")
        if name == "psycopg2" or connection.dialect.is_async:
            super().__init__(connection.connection.cursor(), dialect, "postgresql+format")
            return
        driver = connection.connection.driver_connection
        assert driver is not None
        if dialect == "sqlite" and not driver.in_transaction:
            driver.execute("BEGIN IMMEDIATE")
        super().__init__(cursor_of(driver, dialect), dialect)


class DjangoTx:
    """The transaction of Django's connection, through Django's own cursor (its wrappers and logs stay)."""

    def __init__(self, connection: Any) -> None:
        if connection.vendor not in ("postgresql", "sqlite"):
            raise Misconfigured(f"wfcelery speaks PostgreSQL and SQLite, not {connection.vendor}")
        self._connection, self.dialect = connection, str(connection.vendor)

    def execute(self, statement: Statement, parameters: Parameters | None = None) -> Result:
        """Run one statement."""
        with self._connection.cursor() as cursor:
            return CursorTx(cursor, self.dialect, f"{self.dialect}+format").execute(statement, parameters)

    def many(self, statement: Statement, parameters: list[Parameters]) -> int:
        """Run one statement for each of these."""
        with self._connection.cursor() as cursor:
            return CursorTx(cursor, self.dialect, f"{self.dialect}+format").many(statement, parameters)


class Database:
    """Where the tables are. Cheap to make; it connects when it is first used, once per process."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self._url = parsed(url)
        self.dialect = self._url.get_backend_name()
        self._pool_size = pool_size
        self._engine: tuple[int, sa.Engine] | None = None
        self._lent: tuple[int, sa.Engine] | None = None
        self._lock = threading.Lock()

    @staticmethod
    def place_of(url: str) -> tuple[str | None, ...]:
        """What tells one database from another: kind, host, port, name."""
        found = parsed(url)
        if found.get_backend_name() == "sqlite":
            return "sqlite", os.path.abspath(found.database or "")
        host = found.query.get("host") or found.host or "localhost"
        host = "localhost" if host in ("127.0.0.1", "::1") else host
        return "postgresql", str(host), str(found.query.get("port") or found.port or 5432), found.database

    @property
    def engine(self) -> sa.Engine:
        """This process's engine; a child forgets its parent's without closing its sockets."""
        pid = os.getpid()
        if self._engine is None or self._engine[0] != pid:
            with self._lock:
                if self._engine is None or self._engine[0] != pid:
                    if self._engine is not None:
                        self._engine[1].dispose(close=False)
                    self._engine = (pid, self._make())
        return self._engine[1]

    def _lending(self) -> sa.Engine:
        """This process's engine for authors: its connections begin transactions by themselves, and are reset."""
        if self.dialect == "sqlite":
            return self.engine
        pid = os.getpid()
        with self._lock:
            if self._lent is None or self._lent[0] != pid:
                if self._lent is not None:
                    self._lent[1].dispose(close=False)
                arguments = {"connect_timeout": 5, "application_name": "wfcelery step", "options": "-c timezone=UTC", **UNHEARD}
                self._lent = (pid, sa.create_engine(self._url, pool_pre_ping=True, max_overflow=50, connect_args=arguments))
            return self._lent[1]

    def apart(self) -> sa.Engine:
        """An engine without a pool or our time limits, for a migration; whoever asks disposes of it."""
        if self.dialect == "postgresql":
            return sa.create_engine(self._url, poolclass=sa.NullPool, connect_args={"connect_timeout": 5, "application_name": "wfcelery"})
        engine = sa.create_engine(self._url, poolclass=sa.NullPool, connect_args={"timeout": BUSY, "isolation_level": None})
        sa.event.listen(engine, "connect", _on_sqlite_connect)
        return engine

    def _make(self) -> sa.Engine:
        if self.dialect == "sqlite":
            engine = sa.create_engine(
                self._url,
                pool_size=self._pool_size,
                max_overflow=50,
                pool_reset_on_return=None,
                connect_args={"timeout": BUSY, "isolation_level": None, "check_same_thread": False},
            )
            sa.event.listen(engine, "connect", _on_sqlite_connect)
            forking.watch(engine)
        else:
            limits = {"lock_timeout": int(LOCK_TIMEOUT * 1000), "idle_in_transaction_session_timeout": int(IDLE * 1000), "timezone": "UTC"}
            engine = sa.create_engine(
                self._url,
                pool_size=self._pool_size,
                max_overflow=50,
                pool_reset_on_return=None,
                isolation_level="AUTOCOMMIT",
                connect_args={
                    "prepare_threshold": 1,
                    "connect_timeout": 5,
                    "application_name": "wfcelery",
                    "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
                    **UNHEARD,
                },
            )
        return engine

    @contextmanager
    def transaction(self, isolation: str | None = None) -> Iterator[Tx]:
        """One transaction, committed at the end of the block, rolled back if it raises.

        On SQLite it takes the write lock at once: two readers that want to write later would deadlock.
        Raises SerializationClash, LockTimeout, Unavailable before the commit, CommitUnknown during it.
        """
        connection, cursor = self._begin(isolation)
        try:
            with translated(during_commit=False):
                yield CursorTx(cursor, self.dialect)
        except BaseException:
            self._roll_back(connection)
            raise
        try:
            with translated(during_commit=True):
                cursor.execute("COMMIT")
        except BaseException:
            connection.invalidate()
            raise
        connection.close()

    @contextmanager
    def single(self) -> Iterator[Tx]:
        """For one statement, which is its own transaction: no BEGIN, no COMMIT.

        Raises as `transaction`, and RowChanged where a statement of several parts divided by zero to say that one met no row.
        """
        connection = self._connect()
        try:
            with translated(during_commit=True):
                yield CursorTx(cursor_of(connection.driver_connection, self.dialect), self.dialect)
        except BaseException as problem:
            if psycopg is not None and isinstance(problem, pg.DivisionByZero):
                connection.close()
                raise RowChanged("a row that one statement was to write with others") from problem
            connection.invalidate()
            raise
        connection.close()

    @contextmanager
    def lent(self, isolation: str | None, seconds: float) -> Iterator[tuple[sa.Connection, Tx]]:
        """A transaction for an author's code and ours: a SQLAlchemy connection, with limits on what it may wait for.

        Committed at the end of the block, rolled back if it raises; errors as of `transaction`.
        """
        with translated(during_commit=False):
            connection = self._lending().connect()
        try:
            if self.dialect == "postgresql":
                connection = connection.execution_options(isolation_level=(isolation or "read committed").upper())
                for name in ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout"):
                    connection.exec_driver_sql(f"set local {name} = {int(seconds * 1000)}")
            else:
                connection.begin()
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection, SQLAlchemyTx(connection)
            with translated(during_commit=True):
                connection.commit()
        except BaseException:
            connection.rollback()
            raise
        finally:
            connection.close()

    def close(self) -> None:
        """Close this process's connections."""
        if self._engine is not None and self._engine[0] == os.getpid():
            self._engine[1].dispose()
            self._engine = None
        if self._lent is not None and self._lent[0] == os.getpid():
            self._lent[1].dispose()
            self._lent = None

    def _connect(self) -> Any:
        """A connection of the pool that the server has not closed meanwhile."""
        with translated(during_commit=False):
            while True:
                connection = self.engine.raw_connection()
                if self.dialect == "sqlite" or not _has_been_closed(connection.driver_connection):
                    return connection
                connection.invalidate()

    def _begin(self, isolation: str | None) -> tuple[Any, Any]:
        """A connection with an open transaction; one that died in the pool is replaced once."""
        begin = "BEGIN IMMEDIATE" if self.dialect == "sqlite" else "BEGIN" + (f" ISOLATION LEVEL {isolation}" if isolation else "")
        for last in (False, True):
            connection = self._connect()
            cursor = cursor_of(connection.driver_connection, self.dialect)
            try:
                with translated(during_commit=False):
                    cursor.execute(begin)
            except Unavailable:
                connection.invalidate()
                if last:
                    raise
                continue
            except BaseException:
                connection.invalidate()
                raise
            return connection, cursor
        raise AssertionError

    def _roll_back(self, connection: Any) -> None:
        try:
            connection.driver_connection.rollback()
        except DRIVER_ERRORS as problem:  # the connection is gone, and the transaction with it
            log.debug("rollback: %s", problem)
            connection.invalidate()
            return
        connection.close()


def cursor_of(driver: Any, dialect: str) -> Any:
    """A cursor for our statements: of PostgreSQL's driver one that takes the server's own placeholders."""
    return driver.cursor() if dialect == "sqlite" else psycopg.RawCursor(driver)


def _has_been_closed(driver: Any) -> bool:
    """Whether something has come on a connection that nobody used: its end, as a rule. Costs no round trip."""
    if driver.closed:
        return True
    if not hasattr(select, "poll"):  # eventlet takes it away
        return bool(select.select([driver.fileno()], [], [], 0.0)[0])
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def parsed(url: str) -> URL:
    """The URL with our driver. Raises Misconfigured for databases we do not speak."""
    try:
        found = make_url(url)
    except (sa.exc.ArgumentError, ValueError) as problem:
        raise Misconfigured("the database's address cannot be read: write postgresql://user@host/name or sqlite:///path") from problem
    if found.get_backend_name() in ("postgres", "postgresql"):
        if psycopg is None:
            raise Misconfigured("PostgreSQL needs its driver: pip install 'wfcelery[postgres]'")
        return found.set(drivername="postgresql+psycopg")
    if found.get_backend_name() == "sqlite":
        if found.database in (None, "", ":memory:"):
            raise Misconfigured("SQLite needs a file: every process of a fleet must see the same rows")
        return found.set(drivername="sqlite")
    raise Misconfigured(f"wfcelery keeps its tables in PostgreSQL or SQLite, not in {found.get_backend_name()}")


def same_database(database: Database, connection: sa.Connection) -> bool:
    """Whether a SQLAlchemy connection points at the database of our tables."""
    return Database.place_of(database.url) == Database.place_of(connection.engine.url.render_as_string(hide_password=False))


def _on_sqlite_connect(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={int(BUSY * 1000)}", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
