"""Runs that a step of another run begins: what they are given, how they end, and what becomes of them with their parents."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.family import Family
from tests.engine.machine import Machine
from tests.store.rows import look
from wfcelery.definition.values import loads
from wfcelery.engine.dispatching import drain
from wfcelery.engine.ports import Call, Outcome, Raised, Returned
from wfcelery.store.database import Database

CHILD = """
name: pack
parameters: {order: {type: integer, required: true}}
tasks:
  - {name: fetch, action: fetch, input: {order: "{{ parameters.order }}"}}
  - {name: wrap, action: wrap, after: [fetch]}
output: "{{ task.wrap.result }}"
"""
PARENT = """
name: order
tasks:
  - {name: pay, action: pay}
  - {name: pack, type: workflow, workflow: pack, after: [pay], input: {order: 7}%s}
  - {name: ship, action: ship, needs: [pack], input: {what: "{{ task.pack.result }}"}}
output: "{{ task.ship.result }}"
"""
BROKE = {"type": "Broke", "code": "E7", "message": "no paper"}


def _parent(**more: Any) -> str:
    return PARENT % "".join(f", {name}: {value}" for name, value in more.items())


def _failing(at: str, times: int = 100, then: str | None = None) -> Any:
    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        if call.name == at and machine.calls[at] <= times:
            return Raised(dict(BROKE), final=True)
        return None if then is None else Returned(then)

    return meanwhile


def _asking(during: str, workflow: str, fact: str) -> Any:
    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        if call.name == during and machine.calls[during] == 1:
            assert isinstance(machine, Family)
            machine.tell(workflow, fact)
            drain(machine.runtime, machine.newest(workflow))
        return None

    return meanwhile


@pytest.mark.parametrize("keeps", [True, False], ids=["steps are kept", "steps are rung"])
def test_a_call_waits_for_its_child_without_a_worker_and_is_worth_what_that_returns(database: Database, keeps: bool) -> None:
    machine = Family(database, _parent(), CHILD)
    machine.keeps = keeps
    assert machine.work() == "succeeded"
    assert machine.calls == {"pay": 1, "fetch": 1, "wrap": 1, "ship": 1}
    assert machine.runs() == [("order", "succeeded", 0), ("pack", "succeeded", 1)]
    assert look(database, "select status, kind, outcome from wf_wait") == [("met", "child", "succeeded")]
    assert look(database, "select output from wf_step where name = 'pack'") == [('"wrap"',)]
    assert machine.all_problems() == []


def test_the_parent_waits_while_its_child_works(database: Database) -> None:
    seen: list[tuple[str, str]] = []

    def meanwhile(machine: Machine, call: Call) -> None:
        if call.name == "wrap":
            seen.extend(
                look(machine.database, "select r.status, s.status from wf_run r join wf_step s on s.run = r.id and s.name = 'pack'")
            )

    machine = Family(database, _parent(), CHILD, meanwhile=meanwhile)
    assert machine.work() == "succeeded"
    assert seen == [("waiting", "waiting")]


def test_a_child_that_fails_fails_its_call_which_a_retry_of_its_letter_begins_anew(database: Database) -> None:
    machine = Family(database, _parent(), CHILD, meanwhile=_failing("wrap", times=1))
    assert machine.work() == "failed"
    ((text,),) = look(database, "select error from wf_step where name = 'pack'")
    error = loads(text)
    assert (error["type"], error["code"]) == ("ChildFailed", "E7")
    assert "in step wrap: Broke: no paper" in error["message"]
    assert machine.all_problems() == []
    ((step,),) = look(database, "select id from wf_step where name = 'pack'")
    machine.put("retry", step=str(step), by=None)
    machine.rest()
    assert machine.work() == "succeeded"
    assert machine.runs() == [("order", "succeeded", 0), ("pack", "failed", 1), ("pack", "succeeded", 1)]
    assert machine.all_problems() == []


def test_a_retry_policy_begins_another_child(database: Database) -> None:
    machine = Family(database, _parent(retry="{count: 2, delay: 0.05s}"), CHILD, meanwhile=_failing("wrap", times=2))
    assert machine.work() == "succeeded"
    assert [status for _, status, depth in machine.runs() if depth] == ["failed", "failed", "succeeded"]
    assert machine.all_problems() == []


def test_a_child_whose_end_was_told_is_not_tried_again_by_itself(database: Database) -> None:
    machine = Family(database, _parent(), CHILD, meanwhile=_failing("wrap", times=1))
    assert machine.work() == "failed"
    ((step,),) = look(database, "select id from wf_step where name = 'wrap'")
    machine.tell("pack", "retry", step=str(step))
    machine.rest()
    assert machine.runs() == [("order", "failed", 0), ("pack", "failed", 1)]
    assert machine.all_problems() == []


def test_a_failure_of_a_child_can_be_handled_like_that_of_any_step(database: Database) -> None:
    text = _parent(on_error="continue").replace("needs: [pack]", "after: [pack]").replace("task.pack.result", "task.pack.error.type")
    machine = Family(database, text, CHILD, meanwhile=_failing("fetch"))
    assert machine.work() == "succeeded"
    assert machine.steps("order") == {"pay": "succeeded", "pack": "failed", "ship": "succeeded"}
    assert machine.all_problems() == []


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("workflow: nobody", "no definition of workflow nobody is published"),
        ("workflow: pack, input: {order: seven}", "order: it is of type integer"),
        ("workflow: pack, input: {ordr: 7}", "there is no such parameter"),
    ],
)
def test_a_call_that_cannot_begin_fails_as_a_start_would(database: Database, call: str, said: str) -> None:
    text = f"name: order\ntasks:\n  - {{name: pack, type: workflow, {call}}}\n"
    machine = Family(database, text, CHILD)
    assert machine.work() == "failed"
    ((error,),) = look(database, "select error from wf_run")
    assert said in loads(error)["message"]
    assert machine.runs() == [("order", "failed", 0)]
    assert machine.all_problems() == []


@pytest.mark.parametrize(
    ("policy", "ends", "ship"), [("request_cancel", "cancelled", False), ("terminate", "cancelled", False), ("abandon", "succeeded", True)]
)
def test_what_becomes_of_a_child_when_its_parent_is_cancelled(database: Database, policy: str, ends: str, ship: bool) -> None:
    machine = Family(database, _parent(parent_close=policy), CHILD, meanwhile=_asking("fetch", "order", "cancel"))
    machine.keeps = False
    machine.end_all()
    assert machine.runs() == [("order", "cancelled", 0), ("pack", ends, 1)]
    assert ("wrap" in machine.calls) is ship
    assert machine.all_problems() == []


def test_a_parent_that_is_cancelled_waits_until_its_child_has_ended(database: Database) -> None:
    seen: list[str] = []

    def meanwhile(machine: Machine, call: Call) -> None:
        if call.name == "fetch":
            _asking("fetch", "order", "cancel")(machine, call)
            seen.append(machine.status())

    machine = Family(database, _parent(), CHILD, meanwhile=meanwhile)
    machine.end_all()
    assert seen == ["cancelling"]
    assert machine.runs() == [("order", "cancelled", 0), ("pack", "cancelled", 1)]
    assert machine.all_problems() == []


def test_a_parent_that_is_terminated_ends_at_once_and_so_does_its_child(database: Database) -> None:
    machine = Family(database, _parent(), CHILD, meanwhile=_asking("fetch", "order", "terminate"))
    machine.end_all()
    assert machine.runs() == [("order", "cancelled", 0), ("pack", "cancelled", 1)]
    assert machine.calls == {"pay": 1, "fetch": 1}
    assert machine.all_problems() == []


def test_a_child_that_somebody_cancels_fails_the_call_unless_that_is_handled(database: Database) -> None:
    machine = Family(database, _parent(), CHILD, meanwhile=_asking("fetch", "pack", "cancel"))
    assert machine.work() == "failed"
    assert machine.all_problems() == []


def test_a_cancelled_child_leads_on_where_the_call_says_so(database: Database) -> None:
    text = _parent(on_cancel="note") + "\n"
    text = text.replace("output:", "  - {name: note, action: note}\noutput:")
    machine = Family(database, text, CHILD, meanwhile=_asking("fetch", "pack", "cancel"))
    assert machine.work() == "succeeded"
    assert machine.steps("order") == {"pay": "succeeded", "pack": "cancelled", "ship": "skipped", "note": "succeeded"}
    assert machine.all_problems() == []


def test_a_pause_goes_down_to_the_children_and_so_does_a_resume(database: Database) -> None:
    machine = Family(database, _parent(), CHILD, meanwhile=_asking("fetch", "order", "pause"))
    machine.keeps = False
    machine.rest()
    assert machine.runs() == [("order", "paused", 0), ("pack", "paused", 1)]
    assert "wrap" not in machine.calls
    assert machine.all_problems() == []
    machine.tell("order", "resume")
    machine.end_all()
    assert machine.runs() == [("order", "succeeded", 0), ("pack", "succeeded", 1)]
    assert machine.all_problems() == []


def test_a_child_of_a_paused_run_is_born_paused(database: Database) -> None:
    text = _parent().replace("{name: pay, action: pay}", "{name: pay, type: sleep, duration: 0.05s}")
    other = Family(database, text, CHILD)
    other.rest()
    other.tell("order", "pause")
    other.rest()
    other.work(seconds=0.5)
    assert [run for run in other.runs() if run[0] == "pack"] == [("pack", "paused", 1)]
    assert other.all_problems() == []
    other.tell("order", "resume")
    other.work()
    assert other.runs()[-1] == ("pack", "succeeded", 1)


def test_a_child_that_nobody_waits_for_outlives_the_call_and_ends_with_its_parent_unless_it_is_abandoned(database: Database) -> None:
    text = """
name: order
tasks:
  - {name: one, type: workflow, workflow: slow, wait: false}
  - {name: two, type: workflow, workflow: slow, wait: false, parent_close: abandon}
output: "{{ task.two.result }}"
"""
    slow = "name: slow\ntasks:\n  - {name: a, type: sleep, duration: 0.1s}\n  - {name: b, action: b, after: [a]}\n"
    machine = Family(database, text, slow)
    machine.end_all()
    assert machine.status() == "succeeded"
    assert sorted(status for _, status, _ in machine.runs()[1:]) == ["cancelled", "succeeded"]
    assert machine.all_problems() == []


def test_recursion_goes_as_deep_as_it_may_and_fails_with_one_clear_error_below(database: Database) -> None:
    text = """
name: down
parameters: {n: {type: integer, default: 0}}
tasks:
  - {name: again, type: workflow, workflow: down, when: "{{ parameters.n < 99 }}", input: {n: "{{ parameters.n + 1 }}"}}
output: "{{ parameters.n }}"
"""
    machine = Family(database, "name: top\ntasks:\n  - {name: go, type: workflow, workflow: down}\n", text)
    assert machine.work() == "failed"
    runs = machine.runs()
    assert len(runs) == 17
    assert max(depth for _, _, depth in runs) == 16
    ((error,),) = look(database, "select error from wf_run where depth = 16")
    assert "no more than 16 may be above another" in loads(error)["message"]
    assert machine.all_problems() == []


def test_recursion_that_ends_gives_back_what_each_level_returned(database: Database) -> None:
    text = """
name: sum
parameters: {n: {type: integer, default: 5}}
tasks:
  - {name: less, type: workflow, workflow: sum, when: "{{ parameters.n > 0 }}", input: {n: "{{ parameters.n - 1 }}"}}
output: "{{ parameters.n + (task.less.result or 0) }}"
"""
    top = "name: top\ntasks:\n  - {name: go, type: workflow, workflow: sum}\noutput: '{{ task.go.result }}'\n"
    machine = Family(database, top, text)
    assert machine.work() == "succeeded"
    assert look(database, "select output from wf_run where depth = 0") == [("15",)]
    assert machine.all_problems() == []


def test_a_child_has_no_later_deadline_than_its_parent_and_times_out_by_its_own(database: Database) -> None:
    slow = "name: slow\ntasks:\n  - {name: a, type: sleep, duration: 1h}\n  - {name: b, action: b, after: [a]}\n"
    text = "name: order\ntasks:\n  - {name: slow, type: workflow, workflow: slow, timeout: 0.1s}\n"
    machine = Family(database, text, slow)
    assert machine.work() == "failed"
    assert machine.runs() == [("order", "failed", 0), ("slow", "timed_out", 1)]
    assert machine.steps("order") == {"slow": "timed_out"}
    assert machine.all_problems() == []
