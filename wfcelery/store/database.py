"""One database and its transactions: short ones of our own, and those of an app that we become part of.

Every function of the store takes a `Tx`. Engines are made per process, so that a fork never shares a socket.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from time import sleep
from typing import Any

import sqlalchemy as sa

from wfcelery.clock import monotonic
from wfcelery.errors import Misconfigured, RowChanged, Unavailable
from wfcelery.store import forking
from wfcelery.store.addresses import parsed
from wfcelery.store.failures import DRIVER_ERRORS, translated
from wfcelery.store.lines import PLANNING, Lines
from wfcelery.store.outside import Outside
from wfcelery.store.payloads import PLAIN, Payloads
from wfcelery.store.transactions import CursorTx, DjangoTx, Tx

try:
    import psycopg
    from psycopg import errors as pg
except ImportError:  # SQLite alone needs no PostgreSQL driver
    psycopg = None  # type: ignore[assignment]

__all__ = ["CursorTx", "Database", "DjangoTx", "SQLAlchemyTx", "Tx", "cursor_of", "cursor_on", "same_database"]

log = logging.getLogger(__name__)

BUSY = 30.0  # seconds that a SQLite writer waits for another
LOCK_TIMEOUT = 2.0  # seconds that a PostgreSQL transaction waits for a row's lock
IDLE = 15.0  # seconds after which a transaction of a process that hangs is ended by the server, and lets go of its run
# A server that is gone without a word is noticed, from either side, long before TCP gives up by itself.
UNHEARD = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}


_JOINED = ("psycopg", "psycopg2", "pysqlite")  # SQLAlchemy's names for drivers


class SQLAlchemyTx(CursorTx):
    """The transaction of a SQLAlchemy connection or session: on its driver's connection where that is ours, else on its cursor."""

    def __init__(self, connection: sa.Connection, payloads: Payloads = PLAIN) -> None:
        if not connection.in_transaction():
            connection.begin()
        dialect = connection.dialect.name
        if dialect not in ("postgresql", "sqlite"):
            raise Misconfigured(f"wfcelery speaks PostgreSQL and SQLite, not {dialect}")
        name = connection.dialect.driver
        if name not in _JOINED:
            raise Misconfigured(f"wfcelery joins transactions of {', '.join(_JOINED)}, not of {name}; write join=False")
        if name == "psycopg2" or connection.dialect.is_async:
            super().__init__(connection.connection.cursor(), dialect, "postgresql+format", payloads)
            return
        driver = connection.connection.driver_connection
        assert driver is not None
        if dialect == "sqlite" and not driver.in_transaction:
            driver.execute("BEGIN IMMEDIATE")
        super().__init__(cursor_of(driver, dialect), dialect, payloads=payloads)


class Single:
    """A connection for one statement. A class of its own, because the hot path spends its time here."""

    __slots__ = ("_connection", "_database")

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Tx:
        self._connection = self._database.connect()
        database = self._database
        return CursorTx(cursor_on(self._connection, database.dialect), database.dialect, None, database.payloads)

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> None:
        if problem is None:
            self._connection.close()
            return
        if psycopg is not None and isinstance(problem, pg.DivisionByZero):
            self._connection.close()
            raise RowChanged("a row that one statement was to write with others") from problem
        self._connection.invalidate()
        with translated(during_commit=True):
            raise problem


class Database:
    """Where the tables are. Cheap to make; it connects when it is first used, once per process."""

    def __init__(self, url: str, payloads: Payloads = PLAIN, *, pool_size: int = 10) -> None:
        self.url, self.payloads = url, payloads
        self._url = parsed(url)
        self.dialect = self._url.get_backend_name()
        self._pool_size = pool_size
        self._engine: tuple[int, sa.Engine] | None = None
        self._lines: list[tuple[int, Lines]] = []  # of this process, and before it of those it was forked from
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
            limits = {"lock_timeout": int(LOCK_TIMEOUT * 1000), "idle_in_transaction_session_timeout": int(IDLE * 1000)}
            engine = sa.create_engine(
                self._url,
                poolclass=sa.NullPool,
                pool_reset_on_return=None,
                isolation_level="AUTOCOMMIT",
                connect_args={
                    "prepare_threshold": 1,
                    "connect_timeout": 5,
                    "application_name": "wfcelery",
                    "options": " ".join(f"-c {name}={value}" for name, value in {**limits, **PLANNING, "timezone": "UTC"}.items()),
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
                tx = CursorTx(cursor, self.dialect, None, self.payloads)
                tx.waits = False
                yield tx
        except Outside as lacking:
            self._roll_back(connection)
            self.payloads.settle(lacking, self.transaction)
            raise
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

    def single(self) -> AbstractContextManager[Tx]:
        """For one statement, which is its own transaction: no BEGIN, no COMMIT.

        Raises as `transaction`, and RowChanged where a statement of several parts divided by zero to say that one met no row.
        """
        return Single(self)

    def writing(self) -> AbstractContextManager[Tx]:
        """For a write and what need not be of one transaction with it: `single`; on SQLite, where that costs nothing, a transaction."""
        return self.transaction() if self.dialect == "sqlite" else self.single()

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
            yield connection, SQLAlchemyTx(connection, self.payloads)
            with translated(during_commit=True):
                connection.commit()
        except BaseException:
            connection.rollback()
            raise
        finally:
            connection.close()

    def close(self) -> None:
        """Close this process's connections."""
        if self._lines and self._lines[-1][0] == os.getpid():
            self._lines.pop()[1].end()
        if self._engine is not None and self._engine[0] == os.getpid():
            self._engine[1].dispose()
            self._engine = None
        if self._lent is not None and self._lent[0] == os.getpid():
            self._lent[1].dispose()
            self._lent = None

    def connect(self) -> Any:
        """A connection of this process, in the caller's hands until he closes or invalidates it."""
        with translated(during_commit=False):
            return self.engine.raw_connection() if self.dialect == "sqlite" else self._own_lines().take()

    def _own_lines(self) -> Lines:
        """This process's connections. A parent's are kept and left alone: to close them here would end them there."""
        pid = os.getpid()
        if not self._lines or self._lines[-1][0] != pid:
            engine = self.engine
            with self._lock:
                if not self._lines or self._lines[-1][0] != pid:
                    self._lines.append((pid, Lines(engine, self._pool_size)))
        return self._lines[-1][1]

    def _begin(self, isolation: str | None) -> tuple[Any, Any]:
        """A connection with an open transaction; one that died in the pool is replaced once."""
        begin = "BEGIN IMMEDIATE" if self.dialect == "sqlite" else "BEGIN" + (f" ISOLATION LEVEL {isolation}" if isolation else "")
        for last in (False, True):
            connection = self.connect()
            cursor = cursor_on(connection, self.dialect)
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
            if self.dialect == "sqlite":
                connection.driver_connection.rollback()
            else:  # as a statement of ours: the driver's own would forget all that is prepared
                connection.cursor().execute("ROLLBACK")
        except DRIVER_ERRORS as problem:  # the connection is gone, and the transaction with it
            log.debug("rollback: %s", problem)
            connection.invalidate()
            return
        connection.close()


def cursor_of(driver: Any, dialect: str) -> Any:
    """A cursor for our statements: of PostgreSQL's driver one that takes the server's own placeholders."""
    return driver.cursor() if dialect == "sqlite" else psycopg.RawCursor(driver)


def cursor_on(connection: Any, dialect: str) -> Any:
    """A cursor for our statements on a connection of ours."""
    return connection.driver_connection.cursor() if dialect == "sqlite" else connection.cursor()


def same_database(database: Database, connection: sa.Connection) -> bool:
    """Whether a SQLAlchemy connection points at the database of our tables."""
    return Database.place_of(database.url) == Database.place_of(connection.engine.url.render_as_string(hide_password=False))


def _on_sqlite_connect(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={int(BUSY * 1000)}", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    _into_wal(cursor)
    cursor.close()


def _into_wal(cursor: Any) -> None:
    """Have the file kept with a log beside it. For this change SQLite does not wait where another is just making it."""
    end = monotonic() + BUSY
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as busy:
            if "locked" not in str(busy) or monotonic() >= end:
                raise
            sleep(0.01)
        else:
            return
