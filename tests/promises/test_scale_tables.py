"""Very many finished runs: no statement by which a run begins, goes on and ends touches a row of theirs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from tests.engine.machine import Machine
from tests.store.rows import CHILD, WORKER, change, look, ready, run_of, succeeded
from tests.store.sleepers import copy, nth
from tests.store.test_touches import _HOT, FEW, Crowd, _crowd, _plans, _touched
from wfcelery.core.decision import Decision
from wfcelery.core.events import note
from wfcelery.core.rows import RunRow, StepRow
from wfcelery.core.states import StepStatus
from wfcelery.store.database import Database, Tx
from wfcelery.store.hot import is_hot, save_fast
from wfcelery.store.loading import load_mine, see
from wfcelery.store.payloads import PLAIN

FINISHED = """
name: order
tasks:
  - {name: pick, action: pick}
  - {name: pack, action: pack, after: [pick]}
  - {name: send, action: send, after: [pack]}
"""
Acts = dict[str, Callable[[Crowd, Tx], Any]]


def finished_like(database: Database, many: int, run: UUID) -> None:
    """So many copies of a finished run with its steps and history, all older than it, on tables that nobody analyzes."""
    if database.dialect == "postgresql":
        for table in ("wf_run", "wf_step", "wf_history"):
            change(database, f"alter table {table} set (autovacuum_enabled = off)")
    runs = nth(database, 1)
    copy(database, many, "wf_run", run, id=runs)
    copy(
        database,
        many,
        "wf_step",
        run,
        run=runs,
        id="gen_random_uuid()" if database.dialect == "postgresql" else "lower(hex(randomblob(16)))",
    )
    copy(database, many, "wf_history", run, run=runs)


# ---- what a begin, a step and a group say to the database ----------------------------------------------------------------


class _Within:
    """The database as `save_fast` knows it, inside a transaction that somebody else holds open."""

    def __init__(self, tx: Tx) -> None:
        self._tx, self.dialect, self.payloads = tx, tx.dialect, PLAIN

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        yield self._tx

    single = transaction


def _saves(crowd: Crowd, tx: Tx, run: RunRow, steps: list[StepRow]) -> None:
    decision = Decision(run, run.version, steps=steps, facts=[note("step_succeeded", "b")])
    assert is_hot(decision)
    save_fast(cast(Database, _Within(tx)), decision)


def _kept() -> StepRow:
    return ready("d", status=StepStatus.RUNNING, attempt=1, token=uuid4(), claimed_by=WORKER, child=CHILD)


def _begins(crowd: Crowd, tx: Tx) -> None:
    """A pending run, of which the crowd has thousands, is looked at and begun."""
    [(found, *_)] = look(crowd.database, "select id from wf_run where status = 'pending' limit 1")
    seen = see(tx, UUID(str(found)))
    assert seen is not None
    _saves(crowd, tx, replace(seen.run, status="running", open_steps=1), [_kept()])  # type: ignore[arg-type]


def _still_mine(crowd: Crowd, tx: Tx) -> None:
    items = [UUID(str(found)) for (found,) in look(crowd.database, "select id from wf_step where token = :it", it=crowd.item_token)]
    assert load_mine(tx, crowd.item_token, items) == set(items) != set()


_MORE: Acts = {
    "look at a run": lambda crowd, tx: see(tx, crowd.run),
    "begin": _begins,
    "a step's end and the next one's birth": lambda crowd, tx: _saves(
        crowd, tx, run_of(crowd.database, crowd.run), [succeeded(crowd.executing, 1), _kept()]
    ),
    "the last step's end": lambda crowd, tx: _saves(crowd, tx, run_of(crowd.database, crowd.run), [succeeded(crowd.executing, 1)]),
    "which items are still mine": _still_mine,
}


def _too_much(crowd: Crowd, acts: Acts) -> dict[str, Any]:
    """The kinds of work that touch more than their rows, or read a whole table, with what they touch."""
    wrong: dict[str, Any] = {}
    for name, act in acts.items():
        for text, plan in _plans(crowd, act):
            if crowd.database.dialect == "sqlite":
                scans = [
                    step for step in plan if step.startswith(("SCAN wf_step", "SCAN wf_run", "SCAN wf_history")) and "USING" not in step
                ]
                wrong |= {name: (scans, text)} if scans else {}
            elif _touched(plan) > FEW:
                wrong[name] = (_touched(plan), text, json.dumps(plan)[:2000])
    return wrong


@pytest.mark.promise("C12")
@pytest.mark.parametrize("many", [5_000, pytest.param(1_000_000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
@pytest.mark.parametrize("analyzed", [False, True])
def test_among_very_many_finished_runs_each_statement_touches_only_its_own_rows(
    fresh_database: Database, many: int, analyzed: bool
) -> None:
    machine = Machine(fresh_database, FINISHED)
    assert machine.work() == "succeeded"
    finished_like(fresh_database, many, machine.run)
    counted = "select (select count(*) from wf_run), (select count(*) from wf_step), (select count(*) from wf_history)"
    assert look(fresh_database, counted)[0] == (many + 1, 3 * (many + 1), 4 * (many + 1))

    crowd = _crowd(fresh_database)
    if analyzed:  # before: the planner knows nothing of the tables
        change(fresh_database, "analyze")
    assert _too_much(crowd, _HOT | _MORE) == {}
