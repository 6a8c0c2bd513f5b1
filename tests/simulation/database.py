"""The store's own SQL on a SQLite database in memory, whose time is virtual and whose commits can go wrong.

Transactions follow each other here (the interleaver is for what happens between their statements); what can go wrong
is all around them: a clash, a server that is away, a commit without an answer that did not land, did land, or lands
when somebody else next wants to write, and a crash that takes back claims of the last moment.
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.simulation.actors import SimProcess
from tests.simulation.world import START, Violation, World
from wfcelery.codecs import ValueContext
from wfcelery.engine import executing, grouping
from wfcelery.errors import Unavailable
from wfcelery.store import claims, loading, migrations
from wfcelery.store.database import CursorTx, Database, Tx
from wfcelery.store.failures import CommitUnknown, SerializationClash
from wfcelery.store.payloads import MARKED, Payloads
from wfcelery.store.statements import Parameters, Result, Statement

EPOCH = 2440587.5  # as a Julian day
WRITES = re.compile(r"\b(?:insert(?: or \w+)? into|update|delete from)\s+(\w+)", re.IGNORECASE)
EFFECTS = "create table effects (key text not null, step text not null, token text not null)"  # of transactional steps: an app's own table
ASYNCHRONOUS = 0.3  # seconds for which a claim may not have reached the disk
TAKE_BACK = """
update wf_step set status = 'ready', attempt = attempt - 1, token = null, claimed_by = null, child = null, claimed_at = null,
  deadline_at = null, ring_at = case when item = -1 then due_at end
where id = ? and token = ? and status = 'running'
"""


@cache
def template() -> bytes:
    """An empty database as the migrations make it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "template.db")
        database = Database(f"sqlite:///{path}")
        migrations.upgrade(database)
        database.close()
        with closing(sqlite3.connect(path)) as made:
            made.execute(EFFECTS)
            made.commit()
            made.execute("pragma wal_checkpoint(truncate)")
            made.execute("pragma journal_mode=delete")
            return made.serialize()


class Memory:
    """One database in memory that a process uses for one world after the other: its statements stay prepared."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = lambda: 0.0
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, cached_statements=512)
        self.connection.deserialize(template())
        self.connection.create_function("julianday", 1, lambda _: (START + self.now()) / 86400.0 + EPOCH)
        self.connection.execute("pragma foreign_keys=on")
        tables = [name for (name,) in self.connection.execute("select name from sqlite_master where type = 'table' order by name")]
        self._tables = self._children_first(tables)
        self._first = {name: self.connection.execute(f"select * from {name}").fetchall() for name in self._tables}

    def _children_first(self, tables: list[str]) -> list[str]:
        parents = {name: {row[2] for row in self.connection.execute(f"pragma foreign_key_list({name})")} - {name} for name in tables}
        found: list[str] = []
        while len(found) < len(tables):
            left = [name for name in tables if name not in found]
            found += [name for name in left if not any(name in parents[other] for other in left)]
        return found

    def clear(self) -> None:
        """As the migrations left it."""
        execute = self.connection.execute
        execute("BEGIN")
        for name in self._tables:
            execute(f"delete from {name}")
        for name in reversed(self._tables):
            for row in self._first[name]:
                execute(f"insert into {name} values ({', '.join('?' * len(row))})", row)
        execute("COMMIT")


_kept: list[Memory] = []


def memory() -> Memory:
    """An empty one: of a world that has ended, or a new one."""
    if not _kept:
        return Memory()
    found = _kept.pop()
    found.clear()
    return found


@dataclass
class Claimed:
    """A claim that a crash can still take back."""

    at: float
    step: UUID
    token: UUID


@cache
def written_by(text: str) -> str | None:
    """The table that a statement writes; None where it only reads."""
    found = WRITES.search(text)
    return found[1].lower() if found is not None else None


class WatchedTx(CursorTx):
    """Keeps what is executed, so that it can land later; others' late commits land before this one writes."""

    def __init__(self, database: SimDatabase) -> None:
        super().__init__(database.cursor, "sqlite", payloads=database.payloads)
        self._database = database
        self.done: list[tuple[str, Any]] = []
        self.changed: set[str] = set()  # tables of which rows were written

    @property
    def wrote(self) -> bool:
        """Whether it has tried to."""
        return bool(self.done)

    def execute(self, statement: Statement, parameters: Parameters | None = None) -> Result:
        compiled = statement.on("sqlite")
        if compiled.written and parameters:
            parameters = self.payloads.going_in(self, compiled, parameters)
        bound = compiled.parameters(parameters)
        table = written_by(compiled.text)
        if table is not None:
            self._note(compiled.text, bound)
        cursor = self._database.cursor
        cursor.execute(compiled.text, bound)
        rows = compiled.rows(cursor.fetchall()) if compiled.returns else []
        if compiled.read and rows:
            rows = self.payloads.coming_out(self, compiled, rows, parameters)
        count = len(rows) if compiled.returns else cursor.rowcount
        if table is not None and count:
            self.changed.add(table)
        return Result(rows, count)

    def many(self, statement: Statement, parameters: list[Parameters]) -> int:
        return sum(self.execute(statement, each).count for each in parameters)

    def plain(self, text: str, bound: Any = ()) -> None:
        """A statement of an app's own."""
        self._note(text, bound)
        self._database.cursor.execute(text, bound)
        self.changed.add("effects")

    def _note(self, text: str, bound: Any) -> None:
        if not self.done:  # until now it has read, and nobody else had a turn
            self._database.land()
            self._database.cursor.execute("BEGIN")
        self.done.append((text, bound))


OUTAGE = 3.0, 12.0  # seconds, up to more than a lease


class Transaction:
    """One transaction of the engine, and what may become of it."""

    __slots__ = ("_database", "_tx")

    def __init__(self, database: SimDatabase) -> None:
        self._database = database

    def __enter__(self) -> WatchedTx:
        world = self._database.world
        world.pause(at="before a transaction")
        faults = world.story.faults
        if world.now >= self._database.back_at and world.strikes("outage", faults.outages):
            self._database.back_at = world.now + world.random.uniform(*OUTAGE)
        if world.now < self._database.back_at or world.strikes("away", faults.away):
            raise Unavailable("database", "simulated")
        self._tx = self._database.begin()
        return self._tx

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> None:
        database, tx = self._database, self._tx
        if kind is not None:
            database.roll_back(tx)
            return
        world, faults = database.world, database.world.story.faults
        if world.strikes("clash", faults.clashes):
            database.roll_back(tx)
            raise SerializationClash("simulated")
        if not tx.done:
            database.commit(tx)
            return
        if world.strikes("unknown, lost", faults.unknown_lost):
            database.roll_back(tx)
            database.unanswered(tx, landed=False)
            raise CommitUnknown("simulated: it did not land")
        if world.strikes("unknown, late", faults.unknown_late):
            database.roll_back(tx)
            database.unanswered(tx, landed=False)
            database.late.append(tx)
            raise CommitUnknown("simulated: it lands later")
        database.commit(tx)
        world.pause(at="between a commit and its answer")
        if world.strikes("unknown, landed", faults.unknown_landed):
            database.unanswered(tx, landed=True)
            raise CommitUnknown("simulated: it has landed")


OWNER = "default"


class Backwards:
    """A codec that is easy to see through, and knows whose value it reads."""

    def encode(self, data: bytes, context: ValueContext) -> bytes:
        return context.organization_id.encode() + b"\0" + data[::-1]

    def decode(self, data: bytes, context: ValueContext) -> bytes:
        owner, _, kept = data.partition(b"\0")
        if owner.decode() != context.organization_id:
            raise Violation(f"a value of {owner!r} was read for {context.organization_id}")
        return kept[::-1]

    def digest(self, data: bytes, organization_id: str) -> bytes:
        return sha256(organization_id.encode() + data).digest()


def stored_as(seed: int) -> Payloads:
    """Of five worlds one keeps nearly all values beside their rows, one encodes them, one does both."""
    return Payloads(12 if seed % 5 in (1, 3) else 65_536, Backwards() if seed % 5 in (2, 3) else None)


class SimDatabase(Database):
    """One database in memory, for every process of a world."""

    def __init__(self, world: World) -> None:
        super().__init__("sqlite:///simulated.db", stored_as(world.story.seed))
        self.world = world
        self._memory = memory()
        self._memory.now = lambda: world.now
        self._connection = self._memory.connection
        self.cursor = self._connection.cursor()
        self.commits = self.unknown = 0  # that would change rows, and those of them without an answer
        self.after_commit: Callable[[set[str]], None] = lambda changed: None  # what must hold then; gets the tables
        self.late: list[WatchedTx] = []
        self._open = False
        self._claims: list[Claimed] = []  # after which nothing else was committed
        self._fresh: list[Claimed] = []  # of the open transaction
        self.taken_back: set[UUID] = set()
        self.back_at = 0.0  # until then nobody reaches it

    def plain(self, text: str | None) -> str | None:
        """A value as its row would hold it, small and not encoded."""
        if text is None or not text.startswith(MARKED):
            return text
        return self.payloads.plain(WatchedTx(self), text, ValueContext(OWNER, None, "output"))

    # ---- transactions ------------------------------------------------------------------------------------------------

    def transaction(self, isolation: str | None = None) -> Transaction:  # type: ignore[override]
        return Transaction(self)

    def single(self) -> Transaction:
        return Transaction(self)

    @contextmanager
    def lent(self, isolation: str | None, seconds: float) -> Iterator[tuple[Any, Tx]]:
        with self.transaction() as tx:
            yield tx, tx

    @contextmanager
    def quietly(self) -> Iterator[Tx]:
        """A transaction in which nothing goes wrong, at once: for checks."""
        tx = self.begin()
        try:
            yield tx
        except BaseException:
            self.roll_back(tx)
            raise
        self._end(tx, "COMMIT")

    def begin(self) -> WatchedTx:
        """For reading; what writes first waits for what is under way."""
        assert not self._open, "a transaction inside of another"
        self._open = True
        self._fresh = []
        return WatchedTx(self)

    def roll_back(self, tx: WatchedTx) -> None:
        """As if it had never been."""
        self._end(tx, "ROLLBACK")

    def commit(self, tx: WatchedTx) -> None:
        """Commit, and look whether what must hold does."""
        self._end(tx, "COMMIT")
        if tx.changed:
            self.commits += 1
            self._claims = [*self._claims, *self._fresh] if self._fresh else []  # a log is flushed in order: what was before it stays
            self.after_commit(tx.changed)

    def unanswered(self, tx: WatchedTx, *, landed: bool) -> None:
        """Its commit got no answer."""
        self.unknown += bool(tx.changed)
        self.commits += bool(tx.changed) and not landed

    def _end(self, tx: WatchedTx, how: str) -> None:
        self._open = False
        if tx.done:
            self.cursor.execute(how)

    def close(self) -> None:
        """Leave the memory to the next world, unless something may still hold on to it."""
        if self._open or self._connection.in_transaction:
            self._connection.close()
        else:
            _kept.append(self._memory)

    # ---- what goes wrong ---------------------------------------------------------------------------------------------

    def land(self) -> None:
        """Commits that are under way land now: the one that writes next had to wait for them."""
        late, self.late = self.late, []
        was, self._open = self._open, False
        for tx in late:
            self.cursor.execute("BEGIN")
            for text, bound in tx.done:
                self.cursor.execute(text, bound)
                if self.cursor.description is not None:
                    self.cursor.fetchall()
            self.cursor.execute("COMMIT")
            self._claims = []
            self.world.sometimes["a commit landed late"] += 1
            self.after_commit(tx.changed)
        self._open = was

    def crash(self) -> None:
        """The server dies and comes back: claims of the last moment, whose commits were asynchronous, never were.

        Of the commits under way some have landed before it, and with them every claim before them; the others never will.
        """
        if self.late:
            self.late = self.late[: self.world.random.randint(0, len(self.late))]
            self.land()
        recent = [claim for claim in self._claims if claim.at > self.world.now - ASYNCHRONOUS]
        self._claims.clear()
        for claim in recent:
            self.cursor.execute(TAKE_BACK, (claim.step.hex, claim.token.hex))
            if self.cursor.rowcount:
                self.taken_back.add(claim.token)
                self.world.sometimes["a crash took a claim back"] += 1

    def _may_crash_soon(self) -> None:
        """While a claim may not have reached the disk."""
        if self.world.strikes("database crash", self.world.story.faults.crashes_at_claims):
            self.world.spawn(SimProcess("nemesis"), self.crash, self.world.random.expovariate(500.0))

    def noting(self) -> list[tuple[Any, str, Any]]:
        """The engine's two claims, which tell this database of themselves: (module, name, function)."""

        def claim(tx: Tx, organization_id: str, id: UUID, token: UUID, *more: Any) -> Any:
            found = claims.claim(tx, organization_id, id, token, *more)
            if isinstance(found, claims.Claimed):
                self._fresh.append(Claimed(self.world.now, found.step.id, token))
                self._may_crash_soon()
            return found

        def claim_group(tx: Tx, organization_id: str, fan_out: UUID, limit: int, token: UUID, *more: Any) -> Any:
            found = claims.claim_group(tx, organization_id, fan_out, limit, token, *more)
            if found is not None:
                self._fresh.extend(Claimed(self.world.now, row.id, token) for row in found.items)
                self._may_crash_soon()
            return found

        return [(executing, "claim", claim), (grouping, "claim_group", claim_group)]

    def exists(self, tx: Tx, run: UUID) -> bool:
        """Whether a run has been started."""
        return loading.load_run(tx, run) is not None

    def query(self, text: str, *bound: Any) -> list[tuple[Any, ...]]:
        """What stands in the tables, as committed."""
        assert not self._open
        return list(self._connection.execute(text, bound))
