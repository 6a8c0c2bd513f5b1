"""Definitions, the registry of `once`, reports of transactional steps, dead letters."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from tests.store.rows import WORKER, ago, begun, change, claimed, commit, look, ready, run_of, started, succeeded, working
from wfcelery.core.decision import DeadLetter
from wfcelery.core.states import StepStatus
from wfcelery.errors import NotAllowedNow, RowChanged
from wfcelery.store import dead_letters, definitions, idempotency, inbox, leases, reading, transactional
from wfcelery.store.database import Database


def test_a_definition_is_stored_once(database: Database) -> None:
    with database.transaction() as tx:
        assert definitions.store(tx, "aaaa1", "order", "1", "{}") == definitions.Kept(True, 1)
        assert definitions.store(tx, "aaaa1", "order", "1", "{}") == definitions.Kept(False, 1)
        assert definitions.load_body(tx, "aaaa1") == "{}"
        assert definitions.load_body(tx, "none") is None


def test_another_body_under_a_used_label_is_its_next_revision(database: Database) -> None:
    with database.transaction() as tx:
        definitions.store(tx, "aaaa1", "order", "1", "{}")
        assert definitions.store(tx, "bbbb2", "order", "1", "[]").revision == 2
        assert definitions.store(tx, "cccc3", "order", "2", "[1]").revision == 1
        label = definitions.of_label(tx, "order", "1")
        assert label is not None
        assert label.signature == "bbbb2"
        with pytest.raises(NotAllowedNow, match="version 1 of order"):
            definitions.store(tx, "dddd4", "order", "1", "[2]", strict=True)


def test_the_newest_is_the_one_that_was_first_stored_last(database: Database) -> None:
    for signature in ("aaaa1", "bbbb2"):
        with database.transaction() as tx:
            definitions.store(tx, signature, "order", "1", "{}")
    with database.transaction() as tx:
        definitions.store(tx, "aaaa1", "order", "1", "{}")
        newest = definitions.newest(tx, "order")
        assert newest is not None
        assert newest.signature == "bbbb2"
        assert definitions.newest(tx, "other") is None
        assert definitions.names(tx) == ["order"]
        assert [found.signature for found in definitions.listed(tx)] == ["bbbb2", "aaaa1"]
        by_signature = definitions.by_signature(tx, "aaaa")
        assert by_signature is not None
        assert by_signature.name == "order"
        assert definitions.by_signature(tx, "%%%%") is None


def _begin(database: Database, token: object = None, expires: float = 60.0, attempt: bool = False) -> idempotency.Entry:
    with database.transaction() as tx:
        return idempotency.begin(tx, "default", "f", "k", token or uuid4(), expires, attempt=attempt)  # type: ignore[arg-type]


def test_the_first_caller_runs_and_the_others_get_its_result(database: Database) -> None:
    token = uuid4()
    assert _begin(database, token) == idempotency.Entry(True)
    assert _begin(database) == idempotency.Entry(False)
    with database.transaction() as tx:
        assert idempotency.keep(tx, "default", "f", "k", token, "42")
    assert _begin(database) == idempotency.Entry(False, "42")


def test_a_caller_that_raised_leaves_the_key_to_the_next(database: Database) -> None:
    token = uuid4()
    _begin(database, token)
    with database.transaction() as tx:
        idempotency.forget(tx, "default", "f", "k", token)
    assert _begin(database) == idempotency.Entry(True)


def test_a_key_that_expired_is_free_again(database: Database) -> None:
    token = uuid4()
    _begin(database, token, expires=0.0)
    assert _begin(database) == idempotency.Entry(True)
    with database.transaction() as tx:
        assert not idempotency.keep(tx, "default", "f", "k", token, "late")
        assert idempotency.purge(tx, 0.0) == 0
    change(database, f"update wf_idempotency set expires_at = {ago(database, 10)}")
    with database.transaction() as tx:
        assert idempotency.purge(tx, 5.0) == 1


def test_the_next_attempt_takes_over_from_one_that_died_in_it(database: Database) -> None:
    working(database)
    row, token = ready("a"), uuid4()
    run = begun(database, row)
    mine = claimed(database, row, token)
    assert _begin(database, token, attempt=True).mine
    assert not _begin(database, attempt=True).mine
    commit(database, run, replace(mine, status=StepStatus.READY, token=None, claimed_by=None, child=None, lost=1))
    assert _begin(database, attempt=True).mine


def test_a_report_closes_the_attempt_and_tells_the_run(database: Database) -> None:
    row, token = ready("a"), uuid4()
    run = begun(database, row)
    claimed(database, row, token)
    with database.transaction() as tx:
        transactional.report(tx, "default", run, row.id, token, '{"x":1}')
    assert look(database, "select status, output from wf_step") == [("reported", '{"x":1}')]
    assert run_of(database, run).version == 1
    with database.transaction() as tx:
        [told] = inbox.read(tx, run, 10)
        assert (told.fact, told.data) == ("reported", {"step": str(row.id), "token": str(token)})
        assert transactional.recorded(tx, row.id, token)
        assert leases.lost(tx, 30.0, 10) == []


def test_a_report_of_another_attempt_rolls_back_its_effect(database: Database) -> None:
    row = ready("a")
    run = begun(database, row)
    claimed(database, row)
    with pytest.raises(RowChanged), database.transaction() as tx:
        transactional.report(tx, "default", run, row.id, uuid4(), "1")
    assert look(database, "select count(*) from wf_inbox") == [(0,)]
    assert look(database, "select status from wf_step") == [("running",)]


def test_a_report_does_not_wait_for_the_runs_lock(postgres: Database) -> None:
    from wfcelery.store.loading import lock_run  # noqa: PLC0415

    row, token = ready("a"), uuid4()
    run = begun(postgres, row)
    claimed(postgres, row, token)
    with postgres.transaction() as holder:
        lock_run(holder, run)
        with postgres.transaction() as tx:
            transactional.report(tx, "default", run, row.id, token, "1")
    assert look(postgres, "select status from wf_step") == [("reported",)]


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_a_report_commits_at_every_isolation_level_though_a_sibling_committed(postgres: Database, isolation: str) -> None:
    a, b, token = ready("a"), ready("b"), uuid4()
    run = begun(postgres, a, b)
    claimed(postgres, a, token)
    sibling = claimed(postgres, b)
    with postgres.transaction(isolation) as tx:
        reading.ns(tx)
        commit(postgres, run, succeeded(sibling))
        transactional.report(tx, "default", run, a.id, token, "1")
    assert look(postgres, "select status from wf_step where name = 'a'") == [("reported",)]


def _letter(database: Database, workflow: str = "order") -> dead_letters.Letter:
    row = ready("a")
    run = begun(database, row, workflow=workflow)
    letter = DeadLetter(row.id, "a", -1, "exhausted", {"type": "E", "code": None, "message": "m"}, 3, handled=False)
    commit(database, run, dead_letters=[letter])
    with database.transaction() as tx:
        [found] = dead_letters.of_run(tx, run)
    return found


def test_dead_letters_are_found_by_status_workflow_id_and_tail(database: Database) -> None:
    first, second = _letter(database), _letter(database, "other")
    with database.transaction() as tx:
        assert [letter.id for letter in dead_letters.listed(tx, status="open")] == [second.id, first.id]
        assert [letter.id for letter in dead_letters.listed(tx, workflow="order")] == [first.id]
        assert dead_letters.listed(tx, status="retried") == []
        assert dead_letters.find(tx, str(first.id)) == [first]
        assert dead_letters.find(tx, str(first.id)[-8:]) == [first]
        assert dead_letters.find(tx, "x") == []
        assert first.error == {"type": "E", "code": None, "message": "m"}
        assert dead_letters.purge(tx, [first.id]) == 1
        assert dead_letters.purge(tx, None) == 1


def test_runs_are_found_by_id_by_key_and_by_the_tail_of_an_id(database: Database) -> None:
    first = started(database, key="k", tags=["t"])
    second = started(database, workflow="other", queue="q")
    with database.transaction() as tx:
        assert [run.id for run in reading.find_runs(tx, str(first))] == [first]
        assert [run.id for run in reading.find_runs(tx, "k")] == [first]
        assert [run.id for run in reading.find_runs(tx, str(second)[-10:])] == [second]
        assert reading.find_runs(tx, str(second)[-10:], "order") == []
        assert [run.id for run in reading.list_runs(tx)] == sorted([first, second], reverse=True)
        assert [run.id for run in reading.list_runs(tx, statuses=["pending"], workflow="order", organization_id="default")] == [first]
        assert reading.list_runs(tx, statuses=["failed"]) == []
        assert reading.counts(tx) == {"pending": 2}
        assert reading.find_runs(tx, "k")[0].tags == ["t"]


def test_a_run_is_shown_with_its_steps_its_history_and_its_outcome(database: Database) -> None:
    working(database)
    row = ready("a")
    run = begun(database, row)
    commit(database, run, succeeded(claimed(database, row), 1))
    with database.transaction() as tx:
        [step] = reading.steps(tx, run)
        assert (step.name, step.status, step.attempt, step.claimed_by) == ("a", "succeeded", 1, WORKER)
        assert [entry.version for entry in reading.history(tx, run)] == [1, 2]
        assert [entry.version for entry in reading.history(tx, run, after=1)] == [2]
        outcome = reading.outcome(tx, run)
        assert outcome is not None
        assert (outcome.workflow, outcome.status, outcome.output) == ("order", "running", None)
        assert reading.outcome(tx, uuid4()) is None
        assert reading.input_of(tx, run) == {"n": 1}
        [worker] = reading.workers(tx)
        assert (worker.name, worker.alive, worker.executing, worker.queues, worker.tasks) == ("w@here", True, 0, ["celery"], ["shop.pay"])
