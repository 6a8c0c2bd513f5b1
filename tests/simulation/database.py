"""The store's own SQL on a SQLite database in memory, whose time is virtual and whose commits can go wrong.

Transactions follow each other here (the interleaver is for what happens between their statements); what can go wrong
is all around them: a clash, a server that is away, a commit without an answer that did not land, did land, or lands
when somebody else next wants to write, and a crash that takes back claims of the last moment.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.simulation.world import START, World
from wfcelery.engine import executing, grouping
from wfcelery.errors import Unavailable
from wfcelery.store import loading, migrations
from wfcelery.store.database import CommitUnknown, CursorTx, Database, SerializationClash, Tx
from wfcelery.store.statements import Parameters, Result, Statement

EPOCH = 2440587.5  # as a Julian day
EFFECTS = "create table effects (key text not null, step text not null, token text not null)"  # of transactional steps: an app's own table
ASYNCHRONOUS = 0.3  # seconds for which a claim may not have reached the disk
TAKE_BACK = """
update wf_step set status = 'ready', attempt = attempt - 1, token = null, claimed_by = null, child = null, claimed_at = null,
  deadline_at = null, ring_at = case when item = -1 then due_at end
where id = ? and token = ? and status = 'running'
"""


@cache
def _template() -> bytes:
    """An empty database as the migrations make it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "template.db")
        database = Database(f"sqlite:///{path}")
        migrations.upgrade(database)
        database.close()
        with sqlite3.connect(path) as made:
            made.execute(EFFECTS)
            made.commit()
            made.execute("pragma wal_checkpoint(truncate)")
            made.execute("pragma journal_mode=delete")
            return made.serialize()


@dataclass
class Claimed:
    """A claim that a crash can still take back."""

    at: float
    step: UUID
    token: UUID


class WatchedTx(CursorTx):
    """Keeps what is executed, so that it can land later; others' late commits land before this one writes."""

    def __init__(self, database: SimDatabase) -> None:
        super().__init__(database.cursor, "sqlite")
        self._database = database
        self.done: list[tuple[str, Any]] = []
        self.wrote = False

    def execute(self, statement: Statement, parameters: Parameters | None = None) -> Result:
        compiled = statement.on("sqlite")
        bound = compiled.parameters(parameters)
        self._note(compiled.text, bound)
        self._database.cursor.execute(compiled.text, bound)
        rows = compiled.rows(self._database.cursor.fetchall()) if compiled.returns else []
        return Result(rows, len(rows) if compiled.returns else self._database.cursor.rowcount)

    def many(self, statement: Statement, parameters: list[Parameters]) -> int:
        return sum(self.execute(statement, each).count for each in parameters)

    def plain(self, text: str, bound: Any = ()) -> None:
        """A statement of an app's own."""
        self._note(text, bound)
        self._database.cursor.execute(text, bound)

    def _note(self, text: str, bound: Any) -> None:
        writes = not text.lstrip().lower().startswith("select")
        if writes and not self.wrote:
            self.wrote = True
            self._database.land()
        if writes:
            self.done.append((text, bound))


class SimDatabase(Database):
    """One database in memory, for every process of a world."""

    def __init__(self, world: World) -> None:
        super().__init__("sqlite:///simulated.db")
        self.world = world
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._connection.deserialize(_template())
        self._connection.create_function("julianday", 1, lambda _: (START + world.now) / 86400.0 + EPOCH)
        self._connection.execute("pragma foreign_keys=on")
        self.cursor = self._connection.cursor()
        self.commits = self.unknown = 0
        self.after_commit: Callable[[], None] = lambda: None
        self._late: list[list[tuple[str, Any]]] = []
        self._open = False
        self._claims: list[Claimed] = []
        self.taken_back: set[UUID] = set()

    # ---- transactions ------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, isolation: str | None = None) -> Iterator[Tx]:
        world = self.world
        world.pause()
        faults = world.story.faults
        if world.strikes("away", faults.away):
            raise Unavailable("database", "simulated")
        with self._begun() as tx:
            yield tx
            if world.strikes("clash", faults.clashes):
                raise SerializationClash("simulated")
            if tx.wrote and world.strikes("unknown, lost", faults.unknown_lost):
                self.unknown += 1
                raise CommitUnknown("simulated: it did not land")
            if tx.wrote and world.strikes("unknown, late", faults.unknown_late):
                self.unknown += 1
                self._late.append(tx.done)
                raise CommitUnknown("simulated: it lands later")
        if tx.wrote:
            self.commits += 1
            self.after_commit()
            world.pause()
            if world.strikes("unknown, landed", faults.unknown_landed):
                self.unknown += 1
                raise CommitUnknown("simulated: it has landed")

    @contextmanager
    def lent(self, isolation: str | None, seconds: float) -> Iterator[tuple[Any, Tx]]:
        with self.transaction() as tx:
            yield tx, tx

    @contextmanager
    def quietly(self) -> Iterator[Tx]:
        """A transaction in which nothing goes wrong, at once: for checks."""
        with self._begun() as tx:
            yield tx

    @contextmanager
    def _begun(self) -> Iterator[WatchedTx]:
        assert not self._open, "a transaction inside of another"
        tx = WatchedTx(self)
        self.cursor.execute("BEGIN")
        self._open = True
        try:
            yield tx
        except BaseException:
            self._open = False
            self.cursor.execute("ROLLBACK")
            raise
        self._open = False
        self.cursor.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()

    # ---- what goes wrong ---------------------------------------------------------------------------------------------

    def land(self) -> None:
        """Commits that are under way land now: the one that writes next had to wait for them."""
        if not self._late:
            return
        late, self._late = self._late, []
        self.cursor.execute("ROLLBACK")
        for statements in late:
            self.cursor.execute("BEGIN")
            for text, bound in statements:
                self.cursor.execute(text, bound)
                if self.cursor.description is not None:
                    self.cursor.fetchall()
            self.cursor.execute("COMMIT")
            self.commits += 1
            self.world.sometimes["a commit landed late"] += 1
            self._open = False
            self.after_commit()
            self._open = True
        self.cursor.execute("BEGIN")

    def crash(self) -> None:
        """The server dies and comes back: claims of the last moment, whose commits were asynchronous, never were."""
        recent = [claim for claim in self._claims if claim.at > self.world.now - ASYNCHRONOUS]
        self._claims.clear()
        for claim in recent:
            self.cursor.execute(TAKE_BACK, (claim.step.hex, claim.token.hex))
            if self.cursor.rowcount:
                self.taken_back.add(claim.token)
                self.world.sometimes["a crash took a claim back"] += 1

    def noting(self) -> list[tuple[Any, str, Any]]:
        """The engine's two claims, which tell this database of themselves: (module, name, function)."""

        def claim(tx: Tx, organization_id: str, id: UUID, token: UUID, *more: Any) -> Any:
            found = loading.claim(tx, organization_id, id, token, *more)
            if isinstance(found, loading.Claimed):
                self._claims.append(Claimed(self.world.now, found.step.id, token))
            return found

        def claim_group(tx: Tx, organization_id: str, fan_out: UUID, limit: int, token: UUID, *more: Any) -> Any:
            found = loading.claim_group(tx, organization_id, fan_out, limit, token, *more)
            if found is not None:
                self._claims.extend(Claimed(self.world.now, row.id, token) for row in found.items)
            return found

        return [(executing, "claim", claim), (grouping, "claim_group", claim_group)]

    def exists(self, tx: Tx, run: UUID) -> bool:
        """Whether a run has been started."""
        return loading.load_run(tx, run) is not None

    def query(self, text: str, *bound: Any) -> list[tuple[Any, ...]]:
        """What stands in the tables, as committed."""
        assert not self._open
        return list(self._connection.execute(text, bound))
