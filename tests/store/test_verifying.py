"""A run whose history and rows agree has no problems; every way to make them differ is told."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from tests.store.rows import ago, change, claimed, column, ready, run_of, started
from wfcelery.authoring.yaml import load_yaml
from wfcelery.clock import uuid7
from wfcelery.core.decision import DeadLetter, Decision
from wfcelery.core.draft import digest
from wfcelery.core.events import note
from wfcelery.core.rows import RunRow, StepRow, WaitRow
from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.definition.model import canonical_json, signature
from wfcelery.service.verifying import problems_of
from wfcelery.store import definitions
from wfcelery.store.database import Database
from wfcelery.store.saving import save
from wfcelery.store.verifying import evidence, overdue

ORDER = """
name: order
vars: {v: 1}
tasks:
  - {name: a, action: a, on_success: [b, c]}
  - {name: b, action: b}
  - {name: c, type: sleep, duration: 60s, on_success: e}
  - {name: e, action: e}
  - {name: d, action: d, on_error: continue}
"""


def _defined(database: Database) -> str:
    definition = load_yaml(ORDER)
    with database.transaction() as tx:
        definitions.store(tx, signature(definition), definition.name, definition.version, canonical_json(definition), strict=False)
    return signature(definition)


def _commit(database: Database, run: RunRow, rows: list[StepRow], facts: list[dict[str, object]], **more: object) -> None:
    with database.transaction() as tx:
        save(tx, Decision(run, run.version, steps=rows, facts=facts, **more))  # type: ignore[arg-type]


def _clean(database: Database) -> UUID:
    """A run under way: one step ended, one running, one asleep, one failed and handled."""
    run, first, second, third, fourth = (
        started(database, definition=_defined(database)),
        ready("a"),
        ready("b"),
        ready("c", status=StepStatus.WAITING),
        ready("d"),
    )
    seen = replace(run_of(database, run), status=RunStatus.RUNNING, open_steps=2, variables={"v": 1})
    facts = [note("run_begun"), note("variables_set", values={"v": digest(1)}), note("step_ready", "a"), note("step_ready", "d")]
    _commit(database, seen, [first, fourth], facts)
    mine, failing = claimed(database, first), claimed(database, fourth)
    failed = replace(failing, status=StepStatus.FAILED, failures=1, error={"type": "E", "code": None, "message": "m"})
    letter = DeadLetter(fourth.id, "d", -1, "exhausted", failed.error, 1, handled=True)
    seen = replace(run_of(database, run), open_steps=1)
    _commit(database, seen, [failed], [note("step_failed", "d", attempt=1, error=failed.error)], dead_letters=[letter])
    seen = replace(run_of(database, run), open_steps=2, open_waits=1)
    ended = replace(mine, status=StepStatus.SUCCEEDED, output={"x": 1})
    facts = [note("step_succeeded", "a", attempt=1, value=digest({"x": 1})), note("step_ready", "b"), note("wait_opened", "c")]
    _commit(database, seen, [ended, second, third], facts, waits=[WaitRow(uuid7(), third.id, "sleep", delay=60.0)])
    claimed(database, second)
    return run


def _problems(database: Database, run: UUID) -> list[str]:
    found = evidence(database, run)
    assert found is not None
    return list(problems_of(found))


def test_a_run_under_way_has_no_problems(database: Database) -> None:
    assert _problems(database, _clean(database)) == []
    assert _problems(database, started(database, definition=_defined(database))) == []
    assert evidence(database, uuid4()) is None


@pytest.mark.parametrize(
    ("corruption", "told"),
    [
        ("delete from wf_history where version = 2", "version 2 is missing"),
        ("update wf_run set open_steps = 3", "open steps"),
        ("update wf_run set open_waits = 0", "open waits"),
        ("update wf_run set version = 4", "version"),
        ("update wf_run set variables = '{}'", "variables"),
        ("update wf_step set output = '{}' where name = 'a'", "step a: its result"),
        ("update wf_step set failures = 2 where name = 'b'", "step b: its history says failures"),
        ("update wf_step set lost = 1 where name = 'b'", "step b: its history says lost"),
        ("update wf_step set status = 'skipped', ended_at = claimed_at where name = 'b'", "step b: its history says status"),
        ("update wf_step set status = 'reported' where name = 'b'", "nothing in the inbox says so"),
        ("delete from wf_step where name = 'b'", "step b: its history knows it"),
        ("update wf_step set name = 'x' where name = 'b'", "step x: it has a row"),
        ("delete from wf_wait", "1 steps wait, and 0 waits are open"),
        ("update wf_dead_letter set step = (select id from wf_step where name = 'b')", "its step has not failed"),
        ("update wf_step set organization_id = 'other' where name = 'a'", "wf_step holds a row of this run for another organization"),
    ],
)
def test_a_corrupted_run_is_told(database: Database, corruption: str, told: str) -> None:
    run = _clean(database)
    change(database, corruption)
    found = _problems(database, run)
    assert any(told in problem for problem in found), found


def test_a_run_that_nothing_will_move_is_told(database: Database) -> None:
    run = _clean(database)
    change(database, "delete from wf_wait")
    change(database, "update wf_step set status = 'held', why = 'x', token = null where name = 'b'")
    assert any("nothing will ever move it" in problem for problem in _problems(database, run))


def test_what_is_long_overdue_is_told(database: Database) -> None:
    run = _clean(database)
    with database.transaction() as tx:
        assert overdue(tx, 60.0) == []
    change(database, f"update wf_step set ring_at = {ago(database, 100)} where name = 'c'")
    assert column(database, "wf_run", "version", run) == 3
    with database.transaction() as tx:
        assert overdue(tx, 60.0) == [(run, "step c")]
