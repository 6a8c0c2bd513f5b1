"""A sleep that begins or ends on the hot path leaves the rows that the plain one would, and waits for nobody."""

from __future__ import annotations

from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.store.rows import change, look
from tests.store.test_timers import all_due, napping, runtime_on
from wfcelery.engine import apply as applying
from wfcelery.engine.waking import Waking
from wfcelery.store import due
from wfcelery.store.database import Database
from wfcelery.store.loading import lock_run

ROWS = {
    "wf_run": "status, version, variables, output, error, open_steps, open_waits, due_at is null, ring_at is null, ended_at is null",
    "wf_step": "name, item, status, why, attempt, token is null, queue, priority, input, output, error, due_at is null, ring_at is null, "
    "first_at is null, claimed_at is null, deadline_at is null, ended_at is null",
    "wf_wait": "kind, status, due_at > opened_at, ended_at is null",
    "wf_history": "version, facts",
}


def rows(database: Database, run: UUID) -> dict[str, list[Any]]:
    """What all rows of a run say, without times and ids."""
    keys = {table: "id" if table == "wf_run" else "run" for table in ROWS}
    said = {table: look(database, f"select {columns} from {table} where {keys[table]} = :run", run=run) for table, columns in ROWS.items()}
    return {table: sorted(found, key=repr) for table, found in said.items()}


def woken(database: Database, run: UUID) -> bool:
    """End the one sleep of a run as a sweep does."""
    waking = Waking(runtime_on(database))
    with database.single() as tx:
        [wait] = [wait for wait in waking.find(tx, 100) if wait.run == run]
    return waking.wake(wait)


def test_a_sleep_leaves_the_same_rows_in_one_statement_and_under_the_lock(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, asked = napping(runtime_on(database)), list[bool]()
    with monkeypatch.context() as patched:
        patched.setattr(applying, "is_hot", lambda _: bool(asked.append(True)))
        plain = napping(runtime_on(database))
    assert asked, "the one of them went the other way"
    assert rows(database, quick) == rows(database, plain)
    all_due(database)
    assert woken(database, quick)
    with monkeypatch.context() as patched:
        patched.setattr(applying, "is_hot", lambda _: False)
        assert woken(database, plain)
    assert rows(database, quick) == rows(database, plain)
    assert [row[:3] for row in rows(database, quick)["wf_step"]] == [("nap", -1, "succeeded"), ("say", -1, "ready")]


def test_a_timer_does_not_wait_for_a_run_that_somebody_holds(postgres: Database) -> None:
    held, free = napping(runtime_on(postgres)), napping(runtime_on(postgres))
    all_due(postgres)
    with postgres.transaction() as tx:
        assert lock_run(tx, held) is not None
        began = monotonic()
        assert not woken(postgres, held)
        assert woken(postgres, free)
        assert monotonic() - began < 2.0, "seconds that a lock would be waited for"
    assert woken(postgres, held)


def test_a_wait_that_another_has_ended_leaves_no_version_behind(database: Database) -> None:
    """Nobody may write it without the run's version: but if somebody did, all of the commit is taken back, and the wait is over."""
    run = napping(runtime_on(database))
    all_due(database)
    waking = Waking(runtime_on(database))
    with database.single() as tx:
        [wait] = waking.find(tx, 100)
    change(database, "update wf_wait set status = 'cancelled', ended_at = due_at")
    before = rows(database, run)
    assert not waking.wake(wait)
    assert {table: said for table, said in rows(database, run).items() if table != "wf_run"} == {
        table: said for table, said in before.items() if table != "wf_run"
    }
    assert rows(database, run)["wf_run"][0][1] == before["wf_run"][0][1], "its version"


def test_a_timer_that_has_come_already_changes_nothing(database: Database) -> None:
    run = napping(runtime_on(database))
    all_due(database)
    first, second = Waking(runtime_on(database)), Waking(runtime_on(database))
    for waking in (first, second):
        with database.single() as tx:
            found = waking.find(tx, 100)
    assert first.wake(found[0])
    after = rows(database, run)
    assert not second.wake(found[0])
    assert not second.wake(due.Wait(run, found[0].step, uuid4()))
    assert rows(database, run) == after
