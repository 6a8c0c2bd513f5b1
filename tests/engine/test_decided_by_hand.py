"""A step that a person skips or completes, and a run that is retried as a whole: what comes after them goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.engine.machine import Machine
from tests.store.rows import change, look
from wfcelery.engine import executing
from wfcelery.engine.dispatching import drain
from wfcelery.engine.ports import Call, Outcome, Raised
from wfcelery.store.database import Database

ORDER = """
name: order
tasks:
  - {name: pay, action: pay}
  - {name: mail, action: mail, after: [pay]}
  - {name: ship, action: ship, needs: [pay], input: {paid: "{{ task.pay.result }}"}}
output: "{{ task.pay.result }}"
"""
JOIN = """
name: order
tasks:
  - {name: rest, type: sleep, duration: 2d}
  - {name: pay, action: pay}
  - {name: ship, action: ship, after: [rest, pay]}
  - {name: mail, action: mail, after: [ship]}
"""
BOTH = """
name: order
tasks:
  - {name: pay, action: pay}
  - {name: pack, action: pack, with_items: [0, 1, 2, 3], concurrency: 1, input: {x: "{{ item }}"}}
  - {name: ship, action: ship, after: [pay, pack]}
"""
NO_LUCK = Raised({"type": "Oops", "code": None, "message": "no luck"}, final=True)


def _unlucky(*names: str) -> tuple[list[str], Any]:
    """What fails for as long as it is in the list."""
    bad = list(names)

    def outcome(_: Machine, call: Call) -> Outcome | None:
        return NO_LUCK if call.name in bad else None

    return bad, outcome


def _failed(database: Database, text: str = ORDER) -> Machine:
    _, outcome = _unlucky("pay")
    machine = Machine(database, text, outcome)
    assert machine.work() == "failed"
    return machine


def _goes_on(machine: Machine) -> str:
    drain(machine.runtime, machine.run)
    return machine.work()


def _statuses(database: Database) -> dict[str, str]:
    return {str(name): str(status) for name, status in look(database, "select name, status from wf_step where item < 0")}


def test_a_failed_step_that_is_skipped_lets_the_run_go_on_as_behind_a_false_when(database: Database) -> None:
    machine = _failed(database)
    machine.put("skip", task="pay", reason="paid in cash", by="ada")
    assert _goes_on(machine) == "succeeded"
    assert _statuses(database) == {"pay": "skipped", "mail": "succeeded", "ship": "skipped"}, "after is met, needs is not"
    assert look(database, "select status from wf_dead_letter") == [("retried",)]
    assert not machine.problems()


def test_a_failed_step_that_is_completed_is_worth_what_was_said(database: Database) -> None:
    machine = _failed(database)
    machine.put("complete", task="pay", value={"receipt": 7}, reason="seen at the bank", by="ada")
    assert _goes_on(machine) == "succeeded"
    assert _statuses(database) == {"pay": "succeeded", "mail": "succeeded", "ship": "succeeded"}
    [(output,)] = look(database, "select output from wf_run")
    assert json.loads(output) == {"receipt": 7}
    assert machine.calls["pay"] == 1
    assert not machine.problems()


@pytest.mark.parametrize(("verb", "becomes"), [("skip", "skipped"), ("complete", "succeeded")])
def test_a_sleep_and_a_join_that_waits_are_decided_before_their_time(database: Database, verb: str, becomes: str) -> None:
    machine = Machine(database, JOIN)
    executing.dispatch(machine.runtime, "default", machine.run)
    machine.answer()
    assert _statuses(database) == {"rest": "waiting", "pay": "succeeded", "ship": "blocked"}
    machine.put(verb, task="ship", value=None, reason="sent", by=None)
    drain(machine.runtime, machine.run)
    assert _statuses(database)["ship"] == becomes
    assert not machine.problems()
    machine.put(verb, task="rest", value=None, reason="sent", by=None)
    assert machine.work() == "succeeded"
    assert _statuses(database) == {"rest": becomes, "pay": "succeeded", "ship": becomes, "mail": "succeeded"}
    assert machine.calls["ship"] == 0
    assert not machine.problems()


def test_what_is_executed_is_not_decided(database: Database) -> None:
    def meanwhile(machine: Machine, call: Call) -> None:
        machine.put("skip", task=call.name, reason="too slow", by="ada")
        drain(machine.runtime, machine.run)

    machine = Machine(database, "name: order\ntasks: [{name: pay, action: pay}]", meanwhile)
    assert machine.work() == "succeeded"
    [(facts,)] = look(database, "select facts from wf_history where facts like '%skip_refused%'")
    assert "it is being executed" in facts
    assert not machine.problems()


def test_a_step_of_a_paused_run_is_skipped_and_what_it_leads_to_is_held(database: Database) -> None:
    machine = Machine(database, JOIN, lambda machine, call: machine.put("pause", reason="month end", by=None))
    executing.dispatch(machine.runtime, "default", machine.run)
    machine.answer()
    assert machine.status() == "paused"
    machine.put("skip", task="rest", reason="no need", by=None)
    drain(machine.runtime, machine.run)
    assert look(database, "select status, why from wf_step where name = 'ship'") == [("held", "paused")]
    assert not machine.problems()
    machine.meanwhile = None
    machine.put("resume", reason=None, by=None)
    assert machine.work() == "succeeded"


def test_everything_that_stopped_a_run_is_retried_at_once(database: Database) -> None:
    bad, outcome = _unlucky("pay", "pack")
    machine = Machine(database, BOTH, outcome)
    assert machine.work() == "failed"
    bad.clear()
    machine.put("retry", by="ada")
    assert _goes_on(machine) == "succeeded"
    assert look(database, "select count(*) from wf_dead_letter where status = 'open'") == [(0,)]
    assert not machine.problems()


def test_a_run_that_timed_out_is_retried_without_its_deadline(database: Database) -> None:
    machine = Machine(database, JOIN)
    executing.dispatch(machine.runtime, "default", machine.run)
    machine.answer()
    passed = "created_at"
    change(database, f"update wf_run set deadline = {passed}, due_at = {passed}")
    machine.sweep()
    assert machine.status() == "timed_out"
    machine.put("retry", by="ada")
    drain(machine.runtime, machine.run)
    assert machine.status() == "waiting"
    assert look(database, "select due_at from wf_run") == [(None,)]
    machine.put("skip", task="rest", reason="no need", by=None)
    assert machine.work() == "succeeded"
    assert not machine.problems()


def test_a_run_in_which_nothing_failed_is_not_retried(database: Database) -> None:
    machine = Machine(database, "name: order\noutput: '{{ task.pay.result.no }}'\ntasks: [{name: pay, action: pay}]")
    assert machine.work() == "failed"
    machine.put("retry", by="ada")
    drain(machine.runtime, machine.run)
    assert machine.status() == "failed"
    [(facts,)] = look(database, "select facts from wf_history where facts like '%retry_refused%'")
    assert "nothing of it has failed" in facts
    assert not machine.problems()
