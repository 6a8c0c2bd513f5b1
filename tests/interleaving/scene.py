"""One run with everything under way at once, which is put back in a moment, and told from every other by its rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from tests.engine.machine import Machine
from tests.interleaving.footprints import Place
from tests.interleaving.stopping import Actor, stopping
from tests.store.rows import change, look, run_of, working
from wfcelery.authoring.yaml import load_yaml
from wfcelery.core import births
from wfcelery.core.events import Expanded
from wfcelery.core.rows import StepRow
from wfcelery.definition.bodies import bodies_of
from wfcelery.definition.model import canonical_json, signature
from wfcelery.engine import executing
from wfcelery.engine.apply import Known, apply
from wfcelery.engine.runtime import Runtime
from wfcelery.service.verifying import problems_of
from wfcelery.store import definitions, due
from wfcelery.store.approval_table import approval
from wfcelery.store.claims import Claimed, claim, claim_group
from wfcelery.store.database import Database
from wfcelery.store.schema import Instant, dead_letter, event, history, inbox, limit, limit_use, run, schedule, step, wait, worker
from wfcelery.store.verifying import evidence

TEXT = """
name: order
tasks:
  - {name: left, action: x, publish: {left: "{{ task.left.result }}"}, on_success: [joined]}
  - {name: right, action: x, publish: {right: "{{ task.right.result }}"}, on_success: [joined]}
  - {name: joined, action: x}
  - {name: fast, action: x, on_success: [after_fast]}
  - {name: after_fast, action: x}
  - {name: quick, action: x, on_success: [after_quick]}
  - {name: after_quick, action: x}
  - {name: idle, action: x, on_error: continue}
  - {name: flaky, action: x, timeout: 10, retry: {count: 9, delay: 0, jitter: false}}
  - {name: fatal, action: x}
  - {name: asleep, type: sleep, duration: 1h, on_success: [awake]}
  - {name: awake, action: x}
  - {name: pay, action: x}
  - {name: paid, action: x}
  - {name: pack, action: x, with_items: [0, 1, 2, 3, 4, 5, 6, 7], concurrency: 6, input: {x: "{{ item }}"}}
  - {name: crates, action: x, with_items: [0, 1, 2, 3, 4], input: {x: "{{ item }}"}}
"""
SMALL = """
name: small
tasks:
  - {name: only, action: x}
"""
LISTENING = """
name: listening
tasks:
  - {name: news, type: wait, event: news, timeout: 1h}
  - {name: only, action: x, after: news}
"""
LOCKED = """
name: locked
tasks:
  - {name: only, action: x, lock: till}
"""
BESIDE = (
    """
name: asking
tasks:
  - {name: ask, type: approval, title: May it, assignees: [ada], remind: 30s, timeout: 50s}
  - {name: only, action: x, after: {ask: [succeeded, failed, timed_out]}}
""",
    """
name: calling
tasks:
  - {name: child, type: workflow, tasks: [{name: only, action: x}]}
  - {name: behind, action: x, after: child}
""",
    """
name: undone
tasks:
  - {name: charge, action: x, compensate: refund}
  - {name: ship, action: x, after: charge}
""",
)
NEW, FAILED = UUID(int=2**128 - 2), UUID(int=2**128 - 1)  # runs beside it: one that nobody has begun, one that has failed
LISTENER = UUID(int=2**128 - 5)  # and one that waits for an event
CHUNK = 2  # items born in one commit, so that `crates` has not all of its own yet
ENDED = ("succeeded", "failed", "cancelled", "timed_out")
CLAIMED = ("left", "right", "fast", "quick", "flaky", "fatal", "pay", "paid")
ORDERED_BY = {
    run: "x.key, x.id",  # two that are born in one millisecond have their ids in any order
    step: "x.run, x.name, x.item",
    history: "x.run, x.version",
    inbox: "x.run, x.fact, x.data",
    wait: "x.step",
    approval: "x.name",
    dead_letter: "x.run, x.name, x.item, x.episode",
    worker: "x.name, x.id",
    schedule: "x.name",
    limit: "x.kind, x.key",
    limit_use: "x.run",
    event: "x.name, x.data",
}
TABLES = tuple(ORDERED_BY)  # those that others point at come first
ID = re.compile(r"\b(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")
TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d:?\d\d|Z)?")


class Hand:
    """A worker beside the machine's own: who it is, and what it keeps."""

    def __init__(self, machine: Machine, worker_id: UUID) -> None:
        self.worker = worker_id
        given = machine.runtime
        self.runtime = Runtime(given.database, given.settings, machine, machine, machine, self, given.plans)

    def take(self, token: UUID) -> None: ...

    def drop(self, token: UUID) -> None: ...

    def identity(self) -> tuple[UUID, str]:
        return self.worker, "100:1"


class Scene:
    """The run, its two workers, and its rows as they are kept."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(births, "CHUNK", CHUNK)
        self.database = database
        self._own = database.engine.raw_connection()
        self.machine = Machine(database, TEXT)
        self.small = self._store_another(SMALL)
        self.locked = self._store_another(LOCKED)
        self.listening = self._store_another(LISTENING)
        self.beside = {text.split()[1]: self._store_another(text) for text in BESIDE}
        self.machine.runtime.settings = self.machine.runtime.settings.model_copy(update={"lease": 3600.0})
        self.machine.keeps = False
        self.run = self.machine.run
        self.hands = [Hand(self.machine, working(database, UUID(int=number), lease=3600.0)) for number in (1, 2)]
        self.ids: dict[str, UUID] = {}
        self.tokens: dict[str, UUID] = {}
        self.groups: list[tuple[UUID, list[StepRow]]] = []
        self.rows: dict[str, StepRow] = {}
        self.runs: dict[UUID, UUID] = {}  # of each row that is there before the two begin
        self._set()
        self.machine.keeps = True
        self._known = run_of(database, self.run)
        with database.transaction() as tx:
            self._plan = self.machine.runtime.plans.get(tx, self._known.definition)
        self._kept: set[str] = set()
        self._names: dict[str, str] = {}
        self.keep("base")
        self._name_everything()

    def another_version(self, more: str) -> str:
        """The signature of the run's definition with these tasks besides."""
        return self._store_another(TEXT.replace("name: order\n", "name: order\nversion: moved\n", 1) + more)

    def _store_another(self, text: str) -> str:
        definition = load_yaml(text)
        with self.database.transaction() as tx:
            for each in (*bodies_of(definition), definition):
                definitions.store(tx, signature(each), each.name, each.version, canonical_json(each), strict=False)
        return signature(definition)

    def _set(self) -> None:
        """Everything under way: claimed, in groups, asleep and due, ready, held, not born yet."""
        executing.dispatch(self.machine.runtime, "default", self.run)
        self.machine.sweep()
        self.machine.rings.clear()
        for name, item, id_ in look(self.database, "select name, item, id from wf_step"):
            self.ids[name if item < 0 else f"{name}[{item}]"] = UUID(str(id_))
        for number, name in enumerate(CLAIMED):
            self.tokens[name] = uuid4()
            with self.database.transaction() as tx:
                found = claim(tx, "default", self.ids[name], self.tokens[name], self.hands[number % 2].worker, "100:1", 0.0)
            assert isinstance(found, Claimed)
            self.rows[name] = found.step
        for name in ("pack",) * 4 + ("crates",):  # all items of the one, some of the other
            assert apply(self.machine.runtime, self.run, (Expanded(self.ids[name]),)) is not None
        for hand in self.hands:
            token = uuid4()
            with self.database.transaction() as tx:
                group = claim_group(tx, "default", self.ids["pack"], 2, token, hand.worker, "100:1")
            assert group is not None
            assert len(group.items) == 2
            self.groups.append((token, group.items))
        assert look(self.database, "select status, count(*) from wf_step where name = 'crates' and item >= 0 group by status") == [
            ("ready", 2)
        ]
        self.past("wf_step", "ring_at", "ring_at is not null")
        for column in ("claimed_at", "first_at", "deadline_at"):  # `flaky` has had its ten seconds
            self.past("wf_step", column, "deadline_at is not null")
        self.past("wf_wait", "due_at")
        [(step_id, wait_id)] = look(self.database, "select step, id from wf_wait")
        self.wait = due.Wait(self.run, UUID(str(step_id)), UUID(str(wait_id)))
        self.machine.rings.clear()

    def past(self, table: str, column: str, where: str = "true") -> None:
        change(self.database, f"update {table} set {column} = {self._clock('- 60')} where {where}")

    def _clock(self, more: str = "") -> str:
        if self.database.dialect == "postgresql":
            return f"(clock_timestamp() + interval '{more or 0} seconds')" if more else "clock_timestamp()"
        return f"((julianday('now') - 2440587.5) * 86400.0 {more})"

    def known(self) -> Known:
        """What the worker that wrote the run last knows of it, and nobody else."""
        return Known(self._plan, deepcopy(self._known))

    # ---- rows kept and put back --------------------------------------------------------------------------------------

    def keep(self, name: str) -> None:
        """Remember the rows as they are."""
        script = []
        for table in TABLES:
            kept = f"kept_{name}_{table.name}"
            script += [f"delete from {kept}", f"insert into {kept} select * from {table.name}"]
            if name not in self._kept:
                self._script([f"create table {kept} as select * from {table.name}"])
        self._kept.add(name)
        self._script(script)

    def put_back(self, name: str) -> None:
        """The rows as they were kept."""
        script = [f"delete from {table.name}" for table in reversed(TABLES)]
        script += [f"insert into {table.name} select * from kept_{name}_{table.name}" for table in TABLES]
        self._script(script)
        self.machine.rings.clear()

    def _script(self, statements: Iterable[str]) -> None:
        text = ";".join(["begin", *statements, "commit"])
        driver: Any = self._own.driver_connection
        if self.database.dialect == "sqlite":
            driver.executescript(text)
        else:
            driver.execute(text)

    def arrange(self, *prepare: Callable[[Scene], None]) -> None:
        """The base, and what two transactions need besides, kept as `now`."""
        self.put_back("base")
        for each in dict.fromkeys(prepare):
            each(self)
        self.past("wf_inbox", "ring_at")  # due already: nothing may fall due between two executions
        self.keep("now")
        rows = " union all ".join(f"select id, run from {table.name}" for table in (step, wait, inbox, dead_letter))
        self.runs = {UUID(str(row)): UUID(str(run_id)) for row, run_id in look(self.database, rows)}

    # ---- what the rows say -------------------------------------------------------------------------------------------

    def state(self) -> tuple[str, ...]:
        """All rows, without what differs between two executions: new ids by the order in which they appear, times as set or not."""
        return self._as_seen(self._said(), dict(self._names))

    def _name_everything(self) -> None:
        self.keep("now")
        self._as_seen(self._said(), self._names)

    def _as_seen(self, rows: Sequence[str], names: dict[str, str]) -> tuple[str, ...]:
        def name(found: re.Match[str]) -> str:
            return names.setdefault(found[0].replace("-", ""), f"#{len(names)}")

        return tuple(ID.sub(name, TIME.sub("T", row)) for row in rows)

    def _said(self) -> list[str]:
        cursor: Any = self._own.driver_connection.cursor()  # type: ignore[union-attr]
        said = []
        for text in LOOKS:
            cursor.execute(text)
            said += [repr(tuple(str(value) if isinstance(value, UUID) else value for value in row)) for row in cursor.fetchall()]
        return said

    # ---- to the end --------------------------------------------------------------------------------------------------

    def end(self) -> str:
        """Time passes, workers die, the sweep rings, a worker works it off: how the run has ended."""
        for _ in range(40):
            if all(status in ENDED for (status,) in look(self.database, "select status from wf_run where active_key is null")):
                break
            self._let_time_pass()
            if self.machine.status() == "paused":
                self.machine.put("resume")
            self.machine.sweep()
            self.machine.answer()
        return self.machine.status()

    def _let_time_pass(self) -> None:
        past = self._clock("- 60")
        script = [
            f"update wf_step set ring_at = {past} where ring_at is not null",
            f"update wf_step set due_at = {past} where due_at is not null",
            f"update wf_inbox set ring_at = {past}",
            f"update wf_wait set due_at = {past}, opened_at = {past} where status = 'open'",
            f"update wf_worker set lease_until = {past}",
            f"update wf_meta set judge_from = null, swept_at = {self._clock()}",
        ]
        self._script(script)

    def problems(self) -> list[str]:
        """What the invariants say of each run."""
        found: list[str] = []
        for (run_id,) in look(self.database, "select id from wf_run"):
            known = evidence(self.database, UUID(str(run_id)))
            assert known is not None
            found += problems_of(known)
        return found

    def id_as_text(self, id_: UUID) -> str:
        """As its database keeps it."""
        return id_.hex if self.database.dialect == "sqlite" else str(id_)

    # ---- locks -------------------------------------------------------------------------------------------------------

    def blocked(self, one: Actor, other: Actor) -> bool:
        """Whether one waits for a lock of the other, which stands still."""
        if self.database.dialect == "sqlite" or one.pid is None or other.pid is None:
            return False
        driver: Any = self._own.driver_connection
        [(found,)] = driver.execute("select %s = any(pg_blocking_pids(%s))", (other.pid, one.pid)).fetchall()
        return bool(found)

    def lockers(self) -> dict[Place, str]:
        """On PostgreSQL: for each row the transaction that locked or changed it last."""
        driver: Any = self._own.driver_connection
        found: dict[Place, str] = {}
        for table in TABLES:
            key = "id" if "id" in table.columns else "null"
            for row, by in driver.execute(f"select {key}, xmax::text from {table.name}").fetchall():
                found[table.name, None, row] = by
        return found

    def close(self) -> None:
        self._own.close()


def _look_at(table: sa.Table) -> str:
    columns = []
    for column in table.columns:
        if table is step and column.name == "ring_at":
            columns.append("case when x.ring_at is null then 'none' when x.ring_at = k.ring_at then 'same' else 'moved' end")
        elif isinstance(column.type, Instant):
            columns.append(f"case when x.{column.name} is null then 'none' else 'set' end")
        else:
            columns.append(f"x.{column.name}")
    before = " left join kept_now_wf_step k on k.id = x.id" if table is step else ""
    return f"select '{table.name}', {', '.join(columns)} from {table.name} x{before} order by {ORDERED_BY[table]}"


LOOKS = tuple(_look_at(table) for table in TABLES)


@contextmanager
def scene_on(url: str) -> Iterator[Scene]:
    """A scene on a database of its own that has our tables. It is quick rather than safe: no power fails here."""
    with pytest.MonkeyPatch.context() as monkeypatch, stopping(monkeypatch):
        database = Database(url)
        if database.dialect == "sqlite":
            sa.event.listen(database.engine, "connect", lambda connection, _: connection.execute("pragma synchronous = off"))
        else:
            change(database, f'alter database "{sa.make_url(url).database}" set synchronous_commit = off')
            database.close()
        scene = Scene(database, monkeypatch)
        yield scene
        scene.close()
        database.close()
