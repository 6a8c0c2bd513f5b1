"""What goes wrong with a database, in our words: passing, in somebody's hands, not known, or for the operator to mend."""

from __future__ import annotations

import re
import sqlite3

import sqlalchemy as sa

from wfcelery.errors import Damaged, InternalError, InvalidText, Misconfigured, Unavailable

try:
    import psycopg
    from psycopg import errors as pg
except ImportError:  # SQLite alone needs no PostgreSQL driver
    psycopg = None  # type: ignore[assignment]

DRIVER_ERRORS: tuple[type[Exception], ...] = (sqlite3.Error,) if psycopg is None else (sqlite3.Error, psycopg.Error)


class SerializationClash(InternalError):  # noqa: N818  they say what happened
    """Two transactions clashed (40001, 40P01, SQLITE_BUSY): repeat the whole transaction."""

    code = "serialization_clash"


class LockTimeout(InternalError):  # noqa: N818
    """A row's lock was not to be had in time."""

    code = "lock_timeout"


class CommitUnknown(InternalError):  # noqa: N818
    """The connection was lost while the commit was under way; it may have landed, or land still."""

    code = "commit_unknown"


class translated:  # noqa: N801  reads as what is done inside it
    """Drivers' errors in our words. A class, because each statement enters it, and a generator costs four times as much."""

    __slots__ = ("_during_commit",)

    def __init__(self, during_commit: bool) -> None:
        self._during_commit = during_commit

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> None:
        if problem is None:
            return
        if isinstance(problem, sa.exc.DBAPIError):
            raise _named(problem.orig or problem, self._during_commit) from problem
        if isinstance(problem, DRIVER_ERRORS):
            raise _named(problem, self._during_commit) from problem
        if isinstance(problem, UnicodeEncodeError):
            raise InvalidText from problem


def named_error(problem: BaseException) -> BaseException:
    """A driver's error in our words, any other as it is."""
    return _named(problem, during_commit=False)


def _named(problem: BaseException, during_commit: bool) -> BaseException:
    text = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
    if re.search('no such table: wf_|relation "wf_.*does not exist|file is not a database', text):
        return Misconfigured(f"this database does not have wfcelery's tables ({text}): look at its address, then run `wfcelery db upgrade`")
    if isinstance(problem, sqlite3.DatabaseError) and "malformed" in text:
        return Damaged(text)
    if isinstance(problem, sqlite3.OperationalError):
        if "locked" in text or "busy" in text:
            return SerializationClash(text)
        return Unavailable("database", text) if "unable to open" in text or "disk" in text else problem
    if psycopg is None or not isinstance(problem, psycopg.Error):
        return problem
    if isinstance(problem, pg.SerializationFailure | pg.DeadlockDetected):
        return SerializationClash(text)
    if isinstance(problem, pg.LockNotAvailable):
        return LockTimeout(text)
    if isinstance(problem, psycopg.OperationalError | psycopg.InterfaceError | pg.IdleInTransactionSessionTimeout):
        return CommitUnknown(text) if during_commit else Unavailable("database", text)
    if isinstance(problem, psycopg.DataError) and "NUL" in text:
        return InvalidText()
    return problem
