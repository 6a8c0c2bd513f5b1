"""A lock over several steps, or over whole runs: taken at the gate, given back at the end, whatever the end is."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.engine.machine import Machine
from tests.store.rows import change, look
from wfcelery.core.decision import RingRun
from wfcelery.engine import executing
from wfcelery.engine.dispatching import drain
from wfcelery.engine.ports import Call, Outcome, Raised
from wfcelery.store.database import Database

SECTION = """
name: order
tasks:
  - {name: before, action: before}
  - name: till
    type: parallel
    lock: till
    after: [before]
    tasks:
      - {name: open, action: open}
      - {name: count, action: count, after: [open]}
      - {name: pack, action: pack, with_items: [1, 2, 3], after: [open], input: {x: "{{ item }}"}}
  - {name: send, action: send, after: [till]}
"""
ONE_RUN = """
name: order
concurrency: {key: "shop-{{ system.organization_id }}", limit: 1, when_full: POLICY}
tasks:
  - {name: pay, action: pay}
  - {name: send, action: send, after: [pay]}
  - {name: thank, action: thank}
"""
BROKE = Raised({"type": "Broke", "code": None, "message": ""}, final=True)


def begun(machine: Machine) -> None:
    executing.dispatch(machine.runtime, "default", machine.run)


def given(database: Database) -> list[UUID]:
    return [row[0] for row in look(database, "select run from wf_limit_use where granted > 0")]


def is_of(database: Database, run: UUID) -> bool:
    return look(database, "select count(*) from wf_limit_use where granted > 0 and run = :run", run=run) == [(1,)]


def step(machine: Machine, name: str) -> tuple[str, str | None] | None:
    rows = look(
        machine.database, "select status, why from wf_step where run = :run and name = :name and item < 0", run=machine.run, name=name
    )
    return (str(rows[0][0]), rows[0][1]) if rows else None


@pytest.mark.parametrize("keeps", [True, False], ids=["steps are kept", "steps are rung"])
def test_one_run_is_inside_and_the_other_waits_at_the_gate(database: Database, keeps: bool) -> None:
    second: list[Machine] = []

    def meanwhile(machine: Machine, call: Call) -> None:
        if call.name in ("open", "count", "pack"):
            assert is_of(database, call.run)
        if call.name == "count" and not second:
            second.append(Machine(database, SECTION))
            second[0].keeps = False
            begun(second[0])
            second[0].answer()
            assert step(second[0], "till:fork") == ("held", "lock:till")
            assert not second[0].problems()
            assert not machine.problems()

    first = Machine(database, SECTION, meanwhile)
    first.keeps = keeps
    assert first.work() == "succeeded"
    assert second[0].work() == "succeeded"
    assert not given(database)
    assert not first.problems()
    assert not second[0].problems()


def test_a_run_that_ends_inside_gives_its_lock_back_and_takes_it_again_when_it_is_retried(database: Database) -> None:
    broken = True

    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        return BROKE if broken and call.name == "count" else None

    first = Machine(database, SECTION, meanwhile)
    assert first.work() == "failed"
    assert not given(database)
    assert not first.problems()
    second = Machine(database, SECTION)
    second.keeps = False
    begun(second)
    while step(second, "till:fork") != ("succeeded", None):
        second.answer() if second.rings else second._turn()
        if step(second, "open") is not None:
            break
    held_by_second = is_of(database, second.run)
    [(count,)] = look(database, "select id from wf_step where run = :run and name = 'count'", run=first.run)
    broken = False
    first.put("retry", step=str(count), by="ada")
    drain(first.runtime, first.run)
    if held_by_second:
        assert step(first, "till:fork") == ("held", "lock:till")
        assert step(first, "count") == ("held", "section:till:fork")
    assert not first.problems()
    assert second.work() == "succeeded"
    assert first.work() == "succeeded"
    assert first.calls["open"] == 1
    assert not given(database)
    assert not first.problems()


def test_a_sweep_leaves_a_run_that_is_inside_its_lock(database: Database) -> None:
    machine = Machine(database, SECTION)
    machine.keeps = False
    begun(machine)
    while step(machine, "open") is None:
        machine._turn()
    change(database, "update wf_limit set ring_at = {}".format("now()" if database.dialect == "postgresql" else "0"))
    machine.sweep()
    assert machine.work() == "succeeded"


def _two(database: Database, policy: str) -> tuple[Machine, Machine]:
    first, second = (Machine(database, ONE_RUN.replace("POLICY", policy)) for _ in range(2))
    first.keeps = second.keeps = False
    begun(first)
    drain(first.runtime, first.run)
    begun(second)
    drain(second.runtime, second.run)
    return first, second


def test_a_run_waits_until_the_one_before_it_has_ended(database: Database) -> None:
    first, second = _two(database, "queue")
    assert step(second, ":start") == ("held", "limit:order:shop-default")
    assert step(second, "pay") is None
    assert not second.problems()
    assert first.work() == "succeeded"
    assert second.work() == "succeeded"
    assert not given(database)
    assert not first.problems()
    assert not second.problems()


def test_a_run_is_refused_while_another_is_going(database: Database) -> None:
    first, second = _two(database, "reject")
    assert second.work() == "cancelled"
    assert look(database, "select reason from wf_run where id = :run", run=second.run) == [("order:shop-default is taken",)]
    assert first.work() == "succeeded"


def test_a_run_takes_the_place_of_the_one_before_it(database: Database) -> None:
    first, second = _two(database, "cancel_running")
    assert first.work() == "cancelled"
    assert second.work() == "succeeded"


def test_of_the_runs_that_wait_the_newest_is_kept(database: Database) -> None:
    first, second = _two(database, "keep_newest")
    third = Machine(database, ONE_RUN.replace("POLICY", "keep_newest"))
    begun(third)
    assert second.work() == "cancelled"
    assert first.work() == "succeeded"
    third.rings.append(RingRun("default", third.run, None))
    assert third.work() == "succeeded"
    assert first.calls + third.calls == {"pay": 2, "send": 2, "thank": 2}
