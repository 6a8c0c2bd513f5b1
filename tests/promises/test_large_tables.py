"""A million sleeping runs: the sweep takes the oldest first, and no statement of the hot path touches more than its rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Process
from tests.promises.conftest import APP, Here
from tests.store.rows import change, look
from tests.store.sleepers import sleepers_like
from tests.store.test_timers import napping, runtime_on
from tests.store.test_touches import _HOT, FEW, Crowd, _crowd, _plans, _touched
from wfcelery.engine.sweeping import Sweep
from wfcelery.store import due
from wfcelery.store.database import CursorTx, Database, cursor_of

MANY = 1_000_000
OVERDUE = 150
TOGETHER = 10_000
COUNTED = 1_000  # instructions of SQLite's machine between two counts
MOST = 500  # such counts: reading a million rows takes several thousand

TABLES = ("wf_run", "wf_step", "wf_wait", "wf_history")


def due_times(database: Database) -> str:
    """SQL for the n-th sleeper's time: the first ones' has come, each a second after the last; the others wait an hour and more."""
    seconds = f"case when n <= {OVERDUE} then n - 1000 else 3600 + n * 0.001 end"
    if database.dialect == "postgresql":
        return f"clock_timestamp() + make_interval(secs => {seconds})"
    return f"(julianday('now') - 2440587.5) * 86400.0 + {seconds}"


def a_million_sleepers(database: Database) -> None:
    """Runs that look like one which the engine itself brought to sleep, on tables that nobody analyzes."""
    run = napping(runtime_on(database))
    if database.dialect == "postgresql":
        for table in TABLES:
            change(database, f"alter table {table} set (autovacuum_enabled = off)")
    sleepers_like(database, MANY, run, due_times(database))
    change(database, "update wf_wait set due_at = opened_at where run = :run", run=run)


def instructions(crowd: Crowd, name: str) -> int:
    """How many thousand instructions SQLite's machine needs for one kind of work, which is rolled back."""
    connection = crowd.database.engine.raw_connection()
    driver, count = connection.driver_connection, 0
    assert driver is not None

    def one_more() -> int:
        nonlocal count
        count += 1
        return 0

    cursor = cursor_of(driver, "sqlite")
    cursor.execute("BEGIN")
    driver.set_progress_handler(one_more, COUNTED)
    _HOT[name](crowd, CursorTx(cursor, "sqlite"))
    driver.set_progress_handler(None, 0)
    cursor.execute("ROLLBACK")
    connection.close()
    return count


def too_much(crowd: Crowd) -> dict[str, Any]:
    """The kinds of work that touch more than their rows, with what they touch."""
    if crowd.database.dialect == "sqlite":
        return {name: count for name in _HOT if (count := instructions(crowd, name)) > MOST}
    plans = ((name, text, _touched(plan)) for name, act in _HOT.items() for text, plan in _plans(crowd, act))
    return {name: (count, text) for name, text, count in plans if count > FEW}


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.promise("C12")
def test_among_a_million_sleepers_the_oldest_come_first_and_only_what_is_due_is_touched(fresh_database: Database) -> None:
    a_million_sleepers(fresh_database)
    with fresh_database.transaction() as tx:
        batch = [wait.wait for wait in due.waits(tx, 100)]
    order = "select id from wf_wait where status = 'open' order by due_at limit 100"
    assert batch == [row if isinstance(row, UUID) else UUID(row) for (row,) in look(fresh_database, order)]
    assert [int(str(wait)[-12:], 16) for wait in batch] == list(range(1, 101))

    this = Sweep(runtime_on(fresh_database))()
    assert (this.waits, this.bad) == (OVERDUE + 1, 0)
    assert look(fresh_database, "select count(*) from wf_wait where status = 'open'") == [(MANY - OVERDUE,)]

    crowd = _crowd(fresh_database)
    assert too_much(crowd) == {}
    change(fresh_database, "analyze")
    assert too_much(crowd) == {}, "nor when the planner knows the tables"


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.promise("C29")
def test_ten_thousand_timers_that_fall_due_together_are_drained_in_one_pass(fresh_database: Database) -> None:
    runtime = runtime_on(fresh_database)
    for _ in range(TOGETHER):
        napping(runtime)
    change(fresh_database, "update wf_wait set due_at = opened_at")
    this = Sweep(runtime)()
    assert (this.waits, this.bad) == (TOGETHER, 0)
    assert look(fresh_database, "select status, count(*) from wf_wait group by status") == [("due", TOGETHER)]
    ready = "select count(distinct run), count(*) from wf_step where name = 'say' and status = 'ready'"
    assert look(fresh_database, ready) == [(TOGETHER, TOGETHER)]
    last = look(fresh_database, "select max(ended_at), min(ended_at) from wf_wait")[0]
    assert last[0] > last[1], "one after another, each in a commit of its own"


def sweeping(made: Here, name: str) -> Process:
    """A stock worker that begins runs and sweeps, and whose children no step's queue leads to: they would take its cores."""
    return made.worker(name, concurrency=1, queues="elsewhere", environment={"WFCELERY_DISPATCH_QUEUE": "elsewhere"})


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.promise("C2", "C29")
def test_ten_thousand_timers_are_drained_by_two_workers_within_five_seconds(
    make_fleet: Callable[..., Here], postgres_url: str, redis_url: str
) -> None:
    made = make_fleet(kind=Here, app=APP, database_url=postgres_url, broker_url=redis_url)
    made.upgrade()
    workers = [sweeping(made, name) for name in ("one", "two")]
    made.ready(*workers)
    run = made.start("napping.bind('90d')")
    eventually(lambda: made.status(run) == "waiting")
    database = Database(made.database_url)
    sleepers_like(database, TOGETHER - 1, UUID(run), "one.due_at")
    eventually(lambda: made.query("select count(*) from wf_sweeper where until > clock_timestamp()") == [(2,)])

    made.query("update wf_wait set due_at = clock_timestamp() + interval '2 seconds'")
    eventually(lambda: made.query("select count(*) from wf_wait where status = 'open'") == [(0,)], within=120, every=0.2)
    ((first, last),) = made.query(
        "select extract(epoch from min(ended_at - due_at)), extract(epoch from max(ended_at - due_at)) from wf_wait"
    )
    ready = "select count(distinct run), count(*) from wf_step where name = 'double' and status = 'ready'"
    assert made.query(ready) == [(TOGETHER, TOGETHER)]

    def woken() -> list[int]:
        return [sum(map(int, re.findall(r"sweep: Pass\(.*waits=(\d+)", worker.said()))) for worker in workers]

    # The rest by children that were rung, which end one after the other as long as some are left that are young.
    assert TOGETHER * 0.9 < sum(eventually(lambda: woken() if sum(woken()) > TOGETHER * 0.9 else None)) <= TOGETHER
    print(f"ended by the sweeps: {woken()} of {TOGETHER}; late by {last:.2f} s at most")
    assert min(woken()) > TOGETHER / 10, "they share what is due"
    assert first >= 0, "none before its time"
    assert last <= 5, "seconds"
    database.close()
