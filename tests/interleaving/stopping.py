"""Transactions in threads of their own, each of which stops before every statement until it is let go.

A thread that waits for a lock is told from one that works by the database's own word, never by the time it takes:
PostgreSQL says who blocks whom, and on SQLite a BEGIN that finds the file locked says so at once and is tried again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Any, Literal

import psycopg
import pytest

from wfcelery.store import database as store

LOOK_EVERY = 0.002  # seconds that a statement gets before the server is asked whether it waits
MOST_SECONDS = 60.0  # for one statement that neither ends nor waits for the other

Stand = Literal["stopped", "waits", "ended"]
_here = threading.local()


class Actor:
    """One transaction under way: a thread that goes from statement to statement when it is told to."""

    def __init__(self, what: Callable[[], object]) -> None:
        self._what = what
        self._go: SimpleQueue[None] = SimpleQueue()
        self._came: SimpleQueue[Stand] = SimpleQueue()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._free = False
        self.stand: Stand | None = None
        self.statements: list[str] = []  # what it has executed, or is about to
        self.waited = False
        self.begun = 0  # transactions, those that were repeated included
        self.pid: int | None = None  # of its connection to PostgreSQL
        self.answer: object = None
        self.error: BaseException | None = None

    # ---- for whoever drives it ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Up to its first statement."""
        self._thread.start()
        self.stand = self._came.get(timeout=MOST_SECONDS)

    def let_go(self) -> None:
        """One statement; where it stands then is to be asked with `settle`."""
        self.stand = None
        self._go.put(None)

    def settle(self, blocked: Callable[[], bool]) -> None:
        """Until it stands still: before its next statement, at its end, or at a lock, of which `blocked` tells."""
        deadline = monotonic() + MOST_SECONDS
        while self.stand is None:
            try:
                self.stand = self._came.get(timeout=LOOK_EVERY)
            except Empty:
                if blocked():
                    self.stand = "waits"
                elif monotonic() > deadline:
                    raise AssertionError(f"neither done nor blocked by the other: {self.statements[-1]}") from None
        if self.stand == "waits":
            self.waited = True
        elif self.stand == "ended":
            self._thread.join(MOST_SECONDS)

    def look_again(self, blocked: Callable[[], bool]) -> None:
        """It waited, and the other has gone on: on SQLite it must try again itself, on PostgreSQL it may be on its way."""
        if self.pid is None:
            self._go.put(None)
        elif blocked():
            return
        self.stand = None
        self.settle(blocked)

    def set_free(self) -> None:
        """Nobody drives it any more: whatever comes, it goes on to its end."""
        self._free = True
        self._go.put(None)

    # ---- in its thread -----------------------------------------------------------------------------------------------

    def _live(self) -> None:
        _here.actor = self
        try:
            self.answer = self._what()
        except BaseException as problem:
            self.error = problem
        self._came.put("ended")

    def stop(self, text: str) -> None:
        """Before a statement, until it is let go."""
        self.statements.append(text)
        if not self._free:
            self._came.put("stopped")
            self._go.get()
        self.begun += text.startswith("BEGIN")

    def stand_and_wait(self) -> None:
        """At a lock that is not to be had now, until the other has gone on."""
        if self._free:
            sleep(LOOK_EVERY)
            return
        self._came.put("waits")
        self._go.get()


class StoppingCursor:
    """A driver's cursor whose statements, BEGIN and COMMIT and each of an `executemany` included, wait to be let go."""

    def __init__(self, cursor: Any, actor: Actor) -> None:
        self._cursor, self._actor = cursor, actor
        self._count: int | None = None  # rows of an `executemany`
        if isinstance(cursor, psycopg.Cursor):
            actor.pid = cursor.connection.info.backend_pid

    def execute(self, text: str, *parameters: Any) -> Any:
        self._count = None
        self._actor.stop(text)
        while True:
            try:
                return self._cursor.execute(text, *parameters)
            except sqlite3.OperationalError as problem:
                if "locked" not in str(problem) or not text.startswith("BEGIN"):
                    raise
                self._actor.stand_and_wait()

    def executemany(self, text: str, many: Sequence[Any]) -> None:
        count = 0
        for parameters in many:
            self.execute(text, parameters)
            count += self._cursor.rowcount
        self._count = count

    @property
    def rowcount(self) -> int:
        return int(self._cursor.rowcount if self._count is None else self._count)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@contextmanager
def stopping(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """From here on every statement of an actor is a step. Nobody gives up on a lock; on SQLite a lock is told at once."""
    plain = store.cursor_of

    def cursor_of(driver: Any, dialect: str) -> Any:
        actor = getattr(_here, "actor", None)
        cursor = plain(driver, dialect)
        return cursor if actor is None else StoppingCursor(cursor, actor)

    with monkeypatch.context() as patched:
        patched.setattr(store, "cursor_of", cursor_of)
        patched.setattr(store, "LOCK_TIMEOUT", MOST_SECONDS)
        patched.setattr(store, "BUSY", 0.0)
        yield
