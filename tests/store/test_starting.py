"""Starts: one insert, one run for a key, whoever was first."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from uuid import UUID

import pytest

from tests.store.rows import begun, change, column, commit, look, run_of, started
from wfcelery.clock import uuid7
from wfcelery.core.states import RunStatus
from wfcelery.store.database import Database
from wfcelery.store.starting import NewRun, find_by_key, free_key, insert_run


def _new(**given: object) -> NewRun:
    values = {"id": uuid7(), "organization_id": "default", "workflow": "order", "definition": "s", "input": "{}", "input_digest": "d"}
    return NewRun(**{**values, **given})  # type: ignore[arg-type]


def test_a_start_writes_the_runs_row_and_nothing_else(database: Database) -> None:
    started(database, tags=["vip"])
    assert look(database, "select status, version, tags, due_at is not null from wf_run") == [("pending", 0, '["vip"]', True)]
    for table in ("wf_step", "wf_history", "wf_inbox", "wf_wait"):
        assert look(database, f"select count(*) from {table}") == [(0,)]


def test_one_key_is_one_run(database: Database) -> None:
    run = started(database, key="k", input_digest="d1")
    with database.transaction() as tx:
        assert not insert_run(tx, _new(key="k"))
        found = find_by_key(tx, "default", "order", "k")
        assert found is not None
        assert (found.id, found.input_digest, found.ended) == (run, "d1", False)
        assert insert_run(tx, _new(key="k", workflow="other"))
        assert insert_run(tx, _new(key="k", organization_id="other"))
        assert insert_run(tx, _new())
        assert insert_run(tx, _new())
        assert find_by_key(tx, "default", "order", "nobody") is None


def test_of_many_starts_of_one_key_at_once_one_wins(database: Database) -> None:
    won: list[UUID] = []
    together = threading.Barrier(6)

    def start() -> None:
        new = _new(key="k")
        together.wait()
        with database.transaction() as tx:
            if insert_run(tx, new):
                won.append(new.id)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with database.transaction() as tx:
        found = find_by_key(tx, "default", "order", "k")
    assert found is not None
    assert [found.id] == won


def test_an_ended_run_gives_up_its_key_and_a_running_one_does_not(database: Database) -> None:
    run = started(database, key="k")
    with database.transaction() as tx:
        assert not free_key(tx, run)
    commit(database, run, row={"status": RunStatus.SUCCEEDED, "open_steps": 0})
    with database.transaction() as tx:
        assert free_key(tx, run)
        assert insert_run(tx, _new(key="k"))
    assert run_of(database, run).key == "k"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({"deadline": datetime(2031, 1, 2, tzinfo=UTC)}, datetime(2031, 1, 2, tzinfo=UTC)), ({}, None)],
    ids=["a moment", "none"],
)
def test_a_deadline_is_kept(database: Database, given: dict[str, object], expected: datetime | None) -> None:
    run = started(database, **given)
    assert run_of(database, run).deadline == expected


def test_a_deadline_may_be_a_span(database: Database) -> None:
    run = started(database, deadline_in=60.0)
    found = run_of(database, run)
    assert found.deadline is not None
    assert found.created_at is not None
    assert (found.deadline - found.created_at).total_seconds() == pytest.approx(60.0, abs=1.0)
    commit(database, run)
    assert column(database, "wf_run", "due_at", run) == column(database, "wf_run", "deadline", run)


@pytest.mark.parametrize(
    "wrong",
    [
        "update wf_run set status = 'sideways'",
        "update wf_run set status = 'running', version = 0",
        "update wf_run set status = 'succeeded'",
        "update wf_run set status = 'cancelling'",
        "update wf_step set status = 'running'",
        "update wf_step set status = 'held'",
        "update wf_step set status = 'blocked'",
        "update wf_step set due_at = null",
        "update wf_step set status = 'succeeded'",
    ],
)
def test_rows_that_contradict_themselves_are_refused(database: Database, wrong: str) -> None:
    from tests.store.rows import ready  # noqa: PLC0415

    begun(database, ready("a"))
    with pytest.raises(Exception, match=r"(?i)check|violates"):
        change(database, wrong)
