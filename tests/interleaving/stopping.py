"""Transactions in threads of their own, each of which stops before every statement until it is let go.

A thread that waits for a lock is told from one that works by the database's own word, never by the time it takes:
PostgreSQL says who blocks whom, and on SQLite a BEGIN that finds the file locked says so at once and is tried again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Any, Literal
from uuid import UUID

import psycopg
import pytest

from tests.interleaving.footprints import NOTHING, Footprint, Step, footprint
from wfcelery.store import database as store

LOOK_EVERY = 0.002  # seconds that a statement gets before the server is asked whether it waits
LOOK_RARELY = 0.5  # and where its footprint says that it cannot
MOST_SECONDS = 60.0  # for one statement that neither ends nor waits for the other

Stand = Literal["stopped", "waits", "ended"]
_here = threading.local()


class Actor:
    """One transaction under way: a thread that goes from statement to statement when it is told to."""

    def __init__(self, what: Callable[[], object], runs: Mapping[UUID, UUID]) -> None:
        self._what, self._runs = what, runs
        self._go: SimpleQueue[None] = SimpleQueue()
        self._came: SimpleQueue[Stand] = SimpleQueue()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._free = False
        self.stand: Stand | None = None
        self.statements: list[str] = []  # what it has executed, or is about to
        self.steps: list[Step] = []  # the same, as footprints
        self.held = NOTHING  # the locks it has now
        self._open: Footprint | None = None  # all of the transaction that is open
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

    @property
    def done(self) -> int:
        """How many statements it has executed; one more is under way, or comes next."""
        return len(self.steps) - 1

    def settle(self, blocked: Callable[[], bool], held: Footprint = NOTHING) -> None:
        """Until it stands still: before its next statement, at its end, or at a lock, of which `blocked` tells.

        Only a lock that its footprint needs and the other has (`held`) is expected; to wait for another is a mistake in the footprints.
        """
        deadline = monotonic() + MOST_SECONDS
        may_wait = self.steps[-1].own.waits_for(held)
        while self.stand is None:
            try:
                self.stand = self._came.get(timeout=LOOK_EVERY if may_wait else LOOK_RARELY)
            except Empty:
                if blocked():
                    assert may_wait, f"it waits for a lock that is not in its footprint: {self.statements[-1]}"
                    self.stand = "waits"
                elif monotonic() > deadline:
                    raise AssertionError(f"neither done nor blocked by the other: {self.statements[-1]}") from None
        if self.stand == "waits":
            self.waited = True
        elif self.stand == "ended":
            self._thread.join(MOST_SECONDS)

    def look_again(self, blocked: Callable[[], bool], held: Footprint) -> None:
        """It waited, and the other has gone on: on SQLite it must try again itself, on PostgreSQL it may be on its way."""
        if self.pid is None:
            self._go.put(None)
        elif blocked():
            return
        self.stand = None
        self.settle(blocked, held)

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
        self.held = NOTHING
        self._came.put("ended")

    def stop(self, text: str, parameters: Sequence[Any] = (), dialect: str = "") -> None:
        """Before a statement, until it is let go."""
        self.held = self._open or NOTHING
        self.statements.append(text)
        self.steps.append(self._as_step(text, parameters, dialect))
        if not self._free:
            self._came.put("stopped")
            self._go.get()
        self.begun += text.startswith("BEGIN")

    def _as_step(self, text: str, parameters: Sequence[Any], dialect: str) -> Step:
        own = footprint(text, parameters, dialect, self._open is None, self._runs)
        if text.startswith("BEGIN"):
            self._open = own
            return Step(own)
        if self._open is None:
            return Step(own, released=own)
        self._open |= own
        if not text.startswith(("COMMIT", "ROLLBACK")):
            return Step(own)
        released, self._open = self._open, None
        return Step(own, released)

    def stand_and_wait(self) -> None:
        """At a lock that is not to be had now, until the other has gone on."""
        if self._free:
            sleep(LOOK_EVERY)
            return
        self._came.put("waits")
        self._go.get()


class StoppingCursor:
    """A driver's cursor whose statements, BEGIN and COMMIT and each of an `executemany` included, wait to be let go."""

    def __init__(self, cursor: Any, actor: Actor, driver: Any) -> None:
        self._cursor, self._actor = cursor, actor
        self._dialect = "sqlite" if isinstance(cursor, sqlite3.Cursor) else "postgresql"
        self._count: int | None = None  # rows of an `executemany`
        if isinstance(driver, psycopg.Connection):
            actor.pid = driver.info.backend_pid

    def execute(self, text: str, *parameters: Any) -> Any:
        self._count = None
        self._actor.stop(text, parameters[0] if parameters else (), self._dialect)
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

    def stops(plain: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
        def cursor(connection: Any, dialect: str) -> Any:
            actor = getattr(_here, "actor", None)
            made = plain(connection, dialect)
            return made if actor is None else StoppingCursor(made, actor, getattr(connection, "driver_connection", connection))

        return cursor

    roll_back = store.Database._roll_back

    def stop_and_roll_back(database: store.Database, connection: Any) -> None:
        actor = getattr(_here, "actor", None)
        if actor is not None:
            actor.stop("ROLLBACK", dialect=database.dialect)
        roll_back(database, connection)

    with monkeypatch.context() as patched:
        patched.setattr(store, "cursor_of", stops(store.cursor_of))
        patched.setattr(store, "cursor_on", stops(store.cursor_on))
        patched.setattr(store.Database, "_roll_back", stop_and_roll_back)
        patched.setattr(store, "LOCK_TIMEOUT", MOST_SECONDS)
        patched.setattr(store, "BUSY", 0.0)
        yield
