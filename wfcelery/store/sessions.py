"""Transactions of SQLAlchemy that the app has opened, and what is to be done when they have committed.

Their `tx` is None where they are not transactions of the database of our tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event

from wfcelery.errors import AuthoringError
from wfcelery.store.database import Database, SQLAlchemyTx, Tx, same_database

if TYPE_CHECKING:  # whoever gives a session has loaded the ORM; nobody else needs its time and memory
    from sqlalchemy.orm import Session, SessionTransaction

_WAITING = "wfcelery_waiting"


class JoinedSession:
    """A SQLAlchemy session's transaction. What waits for its commit waits for the outermost: releasing a savepoint is none."""

    def __init__(self, database: Database, session: Any) -> None:
        self._session = _plain(session)
        self.tx = _tx(database, self._session.connection())

    def after_commit(self, act: Callable[[], None]) -> None:
        """Keep `act` with the session until its outermost transaction, or a savepoint around it, ends."""
        if _WAITING not in self._session.info:
            self._session.info[_WAITING] = []
            event.listen(self._session, "after_commit", _committed)
            event.listen(self._session, "after_soft_rollback", _rolled_back)
            event.listen(self._session, "after_transaction_end", _ended)
        inside = self._session.get_nested_transaction() or self._session.get_transaction()
        self._session.info[_WAITING].append(_Waiting(act, inside))


@dataclass(frozen=True, slots=True)
class _Waiting:
    act: Callable[[], None]
    inside: SessionTransaction | None

    def is_within(self, transaction: SessionTransaction) -> bool:
        """Whether the act was asked for in this transaction, or in a savepoint of it."""
        around = self.inside
        while around is not None and around is not transaction:
            around = around.parent
        return around is transaction


def _committed(session: Session) -> None:
    if session.in_nested_transaction():
        return
    waiting, session.info[_WAITING] = session.info[_WAITING], []
    for each in waiting:
        each.act()


def _rolled_back(session: Session, previous: SessionTransaction) -> None:
    session.info[_WAITING] = [each for each in session.info[_WAITING] if not each.is_within(previous)]


def _ended(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:  # closed without a commit
        session.info[_WAITING] = []


class JoinedConnection:
    """A given SQLAlchemy connection. It has no event after its commit, so its ring is left to the sweep."""

    def __init__(self, database: Database, connection: Any) -> None:
        found = getattr(connection, "sync_connection", connection)
        if not isinstance(found, sa.Connection):
            raise AuthoringError(f"connection= takes a SQLAlchemy connection, not {type(connection).__name__}")
        self.tx = _tx(database, found)

    def after_commit(self, act: Callable[[], None]) -> None:
        """Nothing to hang on: the sweep finds the run within its interval."""


def _plain(session: Any) -> Session:
    """The session itself: a scoped one stands for that of this thread, an async one wraps a plain one."""
    orm = import_module("sqlalchemy.orm")
    found = session() if isinstance(session, orm.scoped_session) else getattr(session, "sync_session", session)
    if not isinstance(found, orm.Session):
        raise AuthoringError(f"session= takes a SQLAlchemy session, not {type(session).__name__}")
    plain: Session = found
    return plain


def _tx(database: Database, connection: sa.Connection) -> Tx | None:
    return SQLAlchemyTx(connection, database.payloads) if same_database(database, connection) else None
