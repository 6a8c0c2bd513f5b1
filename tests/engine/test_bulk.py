"""A verb for many runs: what a query means is the same on both databases, and what is asked twice is asked once."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.engine.machine import Machine
from tests.store.rows import ago, change, look, started
from wfcelery.engine.dispatching import drain
from wfcelery.engine.ports import Call, Outcome, Raised
from wfcelery.errors import InvalidInput
from wfcelery.service import bulk, queries, runs
from wfcelery.service.context import Context
from wfcelery.settings import Settings
from wfcelery.store import matching
from wfcelery.store.database import Database

PAY = "name: order\ntasks: [{name: pay, action: pay}]"


def _context(database: Database) -> Context:
    return Context(database, Settings())


def _found(database: Database, where: str) -> set[UUID]:
    with database.transaction() as tx:
        return {run.id for run in matching.runs(tx, queries.of_runs(where), 100)}


def test_each_term_means_what_it_says(database: Database) -> None:
    vip = started(database, tags=["vip", "eu"], key="order-1")
    old = started(database, workflow="refund", queue="slow", key="order-2")
    plain = started(database, organization_id="acme")
    change(database, f"update wf_run set created_at = {ago(database, 7200)} where id = :old", old=old)
    error = '{"type":"Timeout","code":"gateway","message":"a \\"quoted\\" word","step":"pay"}'
    change(
        database,
        "update wf_run set status = 'failed', version = 1, due_at = null, error = :error, ended_at = created_at where id = :run",
        error=error,
        run=plain,
    )
    everyone = {vip, old, plain}
    for where, expected in {
        "tag=vip": {vip},
        "tag!=vip": {old, plain},
        "status=pending,failed": everyone,
        "status!=failed workflow=order": {vip},
        "workflow=ref*": {old},
        "key='order-1',\"order-2\"": {vip, old},
        "org=acme": {plain},
        "queue=slow": {old},
        "created>1h": {old},
        "created<1h": {vip, plain},
        "created>2020-01-01": everyone,
        "ended<1h": {plain},
        "error.type=Timeout error.code=gateway": {plain},
        "error.type=quoted": set(),
        "error.type!=Timeout": {vip, old},
        'workflow="order\' or 1=1 --"': set(),
    }.items():
        assert _found(database, where) == expected, where
    assert [run.id for run in runs.listed(_context(database), where="created<1h", workflow="order", statuses=["pending"])] == [str(vip)]


def test_everything_wrong_with_a_query_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as wrong:
        queries.of_runs("stauts=failed created=2h ended>soon queue<3 status=open reason")
    assert [where for where, _ in wrong.value.errors] == ["stauts", "created", "ended", "queue", "status", "'reason'"]
    assert "status" in wrong.value.errors[0][1]
    for nothing in ("", "   ", "a" * 5_000, "\x00", "workflow=", "status=failed' or 1=1"):
        with pytest.raises(InvalidInput):
            queries.of_runs(nothing)


def test_failed_runs_are_counted_asked_once_and_retried(database: Database) -> None:
    bad = [True]

    def pay(machine: Machine, call: Call) -> Outcome | None:
        return Raised({"type": "Timeout", "code": None, "message": ""}, final=True) if bad else None

    machine = Machine(database, PAY, pay)
    others = [started(database, definition=_definition(database)) for _ in range(4)]
    for run in (*others, machine.run):
        machine.run = run
        assert machine.work() == "failed"
    bad.clear()
    context, where = _context(database), "status=failed error.type=Timeout workflow=order step=pay"
    dry = bulk.of_runs(context, "retry", where, by="ada")
    assert (dry.matching, dry.able, dry.asked, len(dry.sample)) == (5, 5, None, 5)
    assert [(tally.workflow, tally.status, tally.count) for tally in dry.per] == [("order", "failed", 5)]
    assert look(database, "select count(*) from wf_inbox") == [(0,)]
    with database.transaction() as tx:
        batch = matching.runs_to_ask(tx, queries.of_runs(where), "retry", ["failed"], UUID(int=0), 2)
    assert len(batch) == 2, "in batches, by their ids"
    assert bulk.of_runs(context, "retry", where, by="ada", yes=True).asked == 5
    again = bulk.of_runs(context, "retry", where, by="ada", yes=True)
    assert (again.asked, again.moved_on) == (0, 5), "who has been asked is not asked again"
    assert look(database, "select count(*), count(distinct run) from wf_audit where verb = 'retry' and actor = 'ada'") == [(5, 5)]
    for run in (*others, machine.run):
        machine.run = run
        drain(machine.runtime, run)
        assert machine.work() == "succeeded"
        assert not machine.problems()
    assert bulk.of_runs(context, "retry", where, yes=True).matching == 0


def test_a_verb_passes_over_runs_that_cannot_take_it(database: Database) -> None:
    started(database)
    context = _context(database)
    found = bulk.of_runs(context, "pause", "workflow=order", yes=True)
    assert (found.matching, found.able, found.asked) == (1, 0, 0)
    assert bulk.of_runs(context, "cancel", "workflow=order", reason="wrong", yes=True).asked == 1


def test_dead_letters_are_retried_by_a_query(database: Database) -> None:
    machine = Machine(database, PAY, lambda *_: Raised({"type": "Timeout", "code": "t", "message": ""}, final=True))
    assert machine.work() == "failed"
    context = _context(database)
    assert bulk.of_letters(context, "error.type=Other", yes=True).asked == 0
    assert bulk.of_letters(context, "step=pay created<1h reason=non_retryable").able == 1
    machine.meanwhile = None
    assert bulk.of_letters(context, "error.type=Timeout workflow=order", yes=True).asked == 1
    drain(machine.runtime, machine.run)
    assert machine.work() == "succeeded"


def _definition(database: Database) -> str:
    [(signature,)] = look(database, "select signature from wf_definition")
    return str(signature)
