"""Every hot statement touches only its rows: in a fan-out of 10,000 items, on tables that nobody has analyzed.

On PostgreSQL the rows that each node of the executed plan read are counted; on SQLite no step of the plan may
scan a table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.store.rows import CHILD, WORKER, ago, begun, change, claimed, ready, run_of, started, succeeded, working
from wfcelery.clock import uuid7
from wfcelery.core.decision import Decision
from wfcelery.core.events import note
from wfcelery.core.rows import StepRow, WaitRow
from wfcelery.core.states import StepStatus
from wfcelery.store import dead_letters, due, idempotency, inbox, leases, reading, schema, transactional
from wfcelery.store.claims import claim, claim_group, set_deadline
from wfcelery.store.database import CursorTx, Database, Tx, cursor_of
from wfcelery.store.hot import save_fast
from wfcelery.store.loading import load_kept, load_results, load_steps, lock_run
from wfcelery.store.looking import look
from wfcelery.store.saving import save
from wfcelery.store.starting import NewRun, find_by_key, insert_run
from wfcelery.store.statements import Parameters, Result, Statement

ITEMS = 10_000
RUNS = 3_000
FEW = 500  # rows: a batch of 100, what leads to it, and the dead versions that looking at it here leaves


class Watched(CursorTx):
    """A transaction that looks at the plan of each statement it executes."""

    def __init__(self, cursor: Any, dialect: str, style: str | None = None) -> None:
        super().__init__(cursor, dialect, style)
        self.seen: list[tuple[str, Any]] = []

    def execute(self, statement: Statement, parameters: Parameters | None = None) -> Result:
        self._look(statement, parameters)
        return super().execute(statement, parameters)

    def many(self, statement: Statement, parameters: list[Parameters]) -> int:
        if parameters:
            self._look(statement, parameters[0])
        return super().many(statement, parameters)

    def _look(self, statement: Statement, parameters: Parameters | None) -> None:
        compiled = statement.on(self.dialect)
        given = compiled.parameters(parameters)
        if self.dialect == "sqlite":
            self._cursor.execute("explain query plan " + compiled.text, given)
            self.seen.append((compiled.text, [row[3] for row in self._cursor.fetchall()]))
            return
        # The generic plan is the one a prepared statement may end up with; the other is what it begins with.
        for mode in ("force_custom_plan", "force_generic_plan"):
            self._cursor.execute("savepoint looked")
            self._cursor.execute(f"set local plan_cache_mode = {mode}")
            self._cursor.execute("explain (analyze, format json) " + compiled.text, given, prepare=True)
            self.seen.append((compiled.text, self._cursor.fetchone()[0][0]["Plan"]))
            self._cursor.execute("rollback to savepoint looked")


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _touched(plan: dict[str, Any]) -> int:
    """The most rows that any one node read, those it threw away included."""
    most = 0
    for node in _nodes(plan):
        if "Relation Name" in node or node["Node Type"] == "Bitmap Index Scan":
            removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            most = max(most, int((node["Actual Rows"] + removed) * node["Actual Loops"]))
    return most


@dataclass(slots=True)
class Crowd:
    """A fan-out of 10,000 items, some under way, a step beside it, a wait, and 300 other runs."""

    database: Database
    run: UUID
    fan_out: StepRow
    step: StepRow
    executing: StepRow
    item_token: UUID
    wait: UUID


def _copies(database: Database, run: UUID) -> None:
    """Many pending runs like this one."""
    names = [column.name for column in schema.run.columns if column.name not in ("id", "active_key")]
    if database.dialect == "postgresql":
        fresh, numbers = "gen_random_uuid()", f"generate_series(1, {RUNS}) as numbers(n)"
    else:
        fresh = "lower(hex(randomblob(16)))"
        numbers = f"(with recursive up(n) as (select 1 union all select n + 1 from up where n < {RUNS}) select n from up) as numbers"
    columns = ", ".join(names)
    change(
        database,
        f"insert into wf_run (id, active_key, {columns}) select {fresh}, 'k' || n, {columns} from wf_run, {numbers} where id = :id",
        id=run,
    )


def _sleepers(database: Database, wait: UUID) -> None:
    """Many open waits like this one, an hour from now."""
    names = ", ".join(column.name for column in schema.wait.columns if column.name != "id")
    fresh = "gen_random_uuid()" if database.dialect == "postgresql" else "lower(hex(randomblob(16)))"
    change(
        database,
        f"insert into wf_wait (id, {names}) select {fresh}, {names} from wf_wait, (select id from wf_run) r where wf_wait.id = :id".replace(
            "select id from wf_run", "select workflow from wf_run"
        ),
        id=wait,
    )


def _crowd(database: Database) -> Crowd:
    _copies(database, started(database, key="k", delay=3600.0))
    row = ready("each", status=StepStatus.WAITING, items_left=ITEMS, expanded=ITEMS, wants=ITEMS, fired=ITEMS)
    step, executing, sleeping = ready("a"), ready("b", timeout=60.0), ready("c", status=StepStatus.WAITING)
    items = [StepRow(uuid7(), "each", number, fan_out=row.id, input=number, queue="celery") for number in range(ITEMS)]
    run = started(database, key="mine")
    wait = WaitRow(uuid7(), sleeping.id, "sleep", delay=3600.0)
    facts = [note("run_begun")]
    seen = run_of(database, run)
    with database.transaction() as tx:
        if database.dialect == "postgresql":
            tx._cursor.execute("alter table wf_step set (autovacuum_enabled = off)")  # type: ignore[attr-defined]
        begun_run = replace(seen, status="running", open_steps=4)  # type: ignore[arg-type]
        save(tx, Decision(begun_run, 0, steps=[row, step, executing, sleeping, *items], waits=[wait], facts=facts))
        inbox.put(tx, "default", run, "cancel", {})
    _sleepers(database, wait.id)
    change(database, f"update wf_step set ring_at = {ago(database, 1)} where id = :id", id=row.id)
    working(database)
    executing = claimed(database, executing)
    token = uuid4()
    with database.transaction() as tx:
        assert claim_group(tx, "default", row.id, 64, token, WORKER, CHILD) is not None
    return Crowd(database, run, replace(row, seen=(StepStatus.WAITING, None)), step, executing, token, wait.id)


@pytest.fixture
def crowd(fresh_database: Database) -> Crowd:
    return _crowd(fresh_database)


def _end_items(crowd: Crowd, tx: Tx) -> None:
    group = claim_group(tx, "default", crowd.fan_out.id, 64, token := uuid4(), WORKER, CHILD)
    assert group is not None
    assert group.items[0].token == token
    seen = lock_run(tx, crowd.run)
    assert seen is not None
    ends = [succeeded(item, item.item) for item in group.items]
    counted = replace(crowd.fan_out, items_left=ITEMS - 64)
    save(tx, Decision(seen, seen.version, steps=[*ends, counted], facts=[note("items_succeeded", "each")]))


def _end_step(crowd: Crowd, tx: Tx) -> None:
    seen = lock_run(tx, crowd.run)
    assert seen is not None
    ended, born = succeeded(crowd.executing, 1), ready("d")
    save(tx, Decision(seen, seen.version, steps=[ended, born], facts=[note("step_succeeded", "b")], inbox_done=[uuid4()]))


_HOT: dict[str, Callable[[Crowd, Tx], Any]] = {
    "claim": lambda crowd, tx: claim(tx, "default", crowd.step.id, uuid4(), WORKER, CHILD, 1.0),
    "claim of a group": lambda crowd, tx: claim_group(tx, "default", crowd.fan_out.id, 64, uuid4(), WORKER, CHILD),
    "end of a group": _end_items,
    "end of a step": _end_step,
    "deadline": lambda crowd, tx: set_deadline(tx, crowd.executing.id, crowd.executing.token or uuid4(), 9.0),
    "report": lambda crowd, tx: transactional.report(tx, "default", crowd.run, crowd.executing.id, crowd.executing.token or uuid4(), "1"),
    "slice by name": lambda crowd, tx: load_steps(tx, crowd.run, names=["a", "b", "nobody"]),
    "slice by id": lambda crowd, tx: load_steps(tx, crowd.run, ids=[crowd.step.id, crowd.fan_out.id]),
    "results": lambda crowd, tx: load_results(tx, crowd.run, ["a", "b"]),
    "inbox": lambda crowd, tx: (
        inbox.look(tx, crowd.run),
        inbox.read(tx, crowd.run, 500),
        inbox.put(tx, "default", crowd.run, "cancel", {}),
    ),
    "start": lambda crowd, tx: insert_run(tx, NewRun(uuid7(), "default", "order", "s", "{}", "d", key="new")),
    "key": lambda crowd, tx: find_by_key(tx, "default", "order", "k"),
    "rings": lambda crowd, tx: (due.ring_steps(tx, 100, 5.0), due.ring_runs(tx, 100, 5.0)),
    "time": lambda crowd, tx: (due.attempts(tx, 100), due.waits(tx, 100), due.runs(tx, 100), look(tx, 30.0, 1.0, 3.0)),
    "kept": lambda crowd, tx: load_kept(tx, crowd.executing.token or uuid4()),
    "lease": lambda crowd, tx: leases.renew(tx, WORKER, [crowd.item_token], 30.0),
    "lost": lambda crowd, tx: (leases.lost(tx, 30.0, 100), leases.of_child(tx, WORKER, CHILD, 100), leases.children_of_host(tx, "here")),
    "stamp": lambda crowd, tx: (leases.stamp(tx, 30.0), leases.take_place(tx, "me", 2.0)),
    "once": lambda crowd, tx: [idempotency.begin(tx, "default", "f", "k", uuid4(), 60.0, attempt=True) for _ in range(2)],
    "outcome": lambda crowd, tx: (reading.outcome(tx, crowd.run), reading.history(tx, crowd.run), dead_letters.of_run(tx, crowd.run)),
}


@pytest.mark.promise("C12")
def test_every_hot_statement_touches_only_its_rows(crowd: Crowd) -> None:
    wrong: dict[str, Any] = {}
    for name, act in _HOT.items():
        for text, plan in _plans(crowd, act):
            if crowd.database.dialect == "sqlite":
                scans = [step for step in plan if step.startswith(("SCAN wf_step", "SCAN wf_run", "SCAN wf_history"))]
                partial = [step for step in scans if "USING" not in step]
                if partial:
                    wrong[name] = (partial, text)
            elif _touched(plan) > FEW:
                wrong[name] = (_touched(plan), text, json.dumps(plan)[:3000])
    assert wrong == {}


def _plans(crowd: Crowd, act: Callable[[Crowd, Tx], Any]) -> list[tuple[str, Any]]:
    connection = crowd.database.engine.raw_connection()
    try:
        cursor = cursor_of(connection.driver_connection, crowd.database.dialect)
        cursor.execute("BEGIN")
        watched = Watched(cursor, crowd.database.dialect)
        act(crowd, watched)
        cursor.execute("ROLLBACK")
        return watched.seen
    finally:
        connection.close()


def test_the_hot_statement_itself_touches_four_rows(fresh_database: Database) -> None:
    crowd = _crowd(fresh_database)
    seen = run_of(fresh_database, crowd.run)
    hot = Decision(seen, seen.version, steps=[succeeded(crowd.executing), ready("d")], facts=[note("step_succeeded", "b")])
    before = _reads(fresh_database)
    save_fast(fresh_database, hot)
    if fresh_database.dialect == "postgresql":
        assert _reads(fresh_database) - before < FEW
    assert run_of(fresh_database, crowd.run).version == 2


def _reads(database: Database) -> int:
    if database.dialect == "sqlite":
        return 0
    with database.engine.connect() as connection:
        connection.exec_driver_sql("select pg_stat_force_next_flush()")
        connection.exec_driver_sql("select pg_stat_clear_snapshot()")
        found = connection.exec_driver_sql(
            "select sum(seq_tup_read) + sum(idx_tup_fetch) from pg_stat_user_tables where relname like 'wf%%'"
        ).scalar()
    return int(found or 0)


def test_a_group_claims_as_many_as_it_was_asked_for(fresh_database: Database) -> None:
    crowd = _crowd(fresh_database)
    with fresh_database.transaction() as tx:
        group = claim_group(tx, "default", crowd.fan_out.id, 50, uuid4(), WORKER, CHILD)
    assert group is not None
    assert [item.item for item in group.items] == list(range(64, 114))
    assert begun(fresh_database) is not None
