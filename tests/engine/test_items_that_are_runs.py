"""Fan-outs whose items are runs of their own: let go, counted and closed like any other item, by whoever claims them."""

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

ITEMS = """
name: order
tasks:
  - {name: before, action: before}
  - name: pack
    type: workflow
    after: [before]
    with_items: [0, 1, 2, 3, 4, 5]
    %s
    input: {line: "{{ item }}", number: "{{ index }}"}
    tasks:
      - {name: fetch, action: fetch, input: {line: "{{ parameters.line }}"}}
      - {name: wrap, action: wrap, needs: [fetch], input: {what: "{{ task.fetch.result }}", line: "{{ parameters.line }}"}}
    output: "{{ task.wrap.result }}"
  - {name: ship, action: ship, needs: [pack]}
output: "{{ task.pack.results }}"
"""


def _packing(bad: set[int] | None = None, times: int = 100) -> Any:
    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        if call.name == "wrap":
            machine.calls[f"wrap {call.input['line']}"] += 1
            if call.input["line"] in (bad or ()) and machine.calls[f"wrap {call.input['line']}"] <= times:
                return Raised({"type": "Broke", "code": None, "message": ""}, final=True)
            return Returned(call.input["line"] * 10)
        return None

    return meanwhile


def _results(database: Database) -> Any:
    return loads(look(database, "select output from wf_run where depth = 0")[0][0])


def _items(database: Database) -> list[str]:
    return [status for (status,) in look(database, "select status from wf_step where item >= 0 order by item")]


@pytest.mark.parametrize("keeps", [True, False], ids=["steps are kept", "steps are rung"])
@pytest.mark.parametrize("more", ["concurrency: 2", "concurrency: 100", "batch_size: null"])
def test_each_item_is_a_run_and_their_results_are_in_the_order_of_the_list(database: Database, more: str, keeps: bool) -> None:
    most = 0

    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        nonlocal most
        most = max(most, look(machine.database, "select count(*) from wf_run where depth = 1 and ended_at is null")[0][0])
        return _packing()(machine, call)

    machine = Family(database, ITEMS % more, meanwhile=meanwhile)
    machine.keeps = keeps
    assert machine.work() == "succeeded"
    assert _results(database) == [0, 10, 20, 30, 40, 50]
    assert machine.calls["fetch"] == 6
    assert most <= (2 if more == "concurrency: 2" else 6)
    assert machine.all_problems() == []


def test_an_item_whose_own_condition_is_false_has_no_run(database: Database) -> None:
    machine = Family(database, ITEMS % 'when: "{{ item > 3 }}"', meanwhile=_packing())
    assert machine.work() == "succeeded"
    assert _results(database) == [None, None, None, None, 40, 50]
    assert len(machine.runs()) == 3
    assert machine.all_problems() == []


def test_an_item_whose_run_fails_fails_the_others_are_cancelled_and_a_rerun_takes_it_up(database: Database) -> None:
    machine = Family(database, ITEMS % "concurrency: 3", meanwhile=_packing({2}, times=1))
    assert machine.work() == "failed"
    assert _items(database)[2] == "failed"
    assert machine.all_problems() == []
    machine.put("rerun_failed", task="pack", by=None)
    machine.rest()
    assert machine.work() == "succeeded"
    assert _results(database) == [0, 10, 20, 30, 40, 50]
    assert machine.all_problems() == []


def test_failures_of_items_are_tolerated_tried_again_or_left_as_they_are(database: Database) -> None:
    machine = Family(database, ITEMS % "on_error: continue", meanwhile=_packing({1, 4}))
    assert machine.work() == "succeeded"
    assert _items(database) == ["succeeded", "failed", "succeeded", "succeeded", "failed", "succeeded"]
    assert machine.all_problems() == []


def test_an_item_is_tried_again_by_another_run(database: Database) -> None:
    machine = Family(database, ITEMS % "retry: {count: 2, delay: 0.05s}", meanwhile=_packing({1, 4}, times=2))
    assert machine.work() == "succeeded"
    assert _results(database) == [0, 10, 20, 30, 40, 50]
    assert len([run for run in machine.runs() if run[1] == "failed"]) == 4
    assert machine.all_problems() == []


def test_the_run_goes_on_with_enough_items_and_the_others_are_cancelled(database: Database) -> None:
    machine = Family(database, ITEMS % "success: 3\n    cancel_rest: true", meanwhile=_packing())
    machine.keeps = False
    machine.end_all()
    assert machine.status() == "succeeded"
    assert _items(database).count("succeeded") >= 3
    assert machine.all_problems() == []


@pytest.mark.parametrize("fact", ["cancel", "terminate", "pause"])
def test_what_stops_a_run_stops_the_runs_of_its_items(database: Database, fact: str) -> None:
    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        if call.name == "fetch" and machine.calls["fetch"] == 3:
            assert isinstance(machine, Family)
            machine.tell("order", fact)
            drain(machine.runtime, machine.run)
        return _packing()(machine, call)

    machine = Family(database, ITEMS % "concurrency: 4", meanwhile=meanwhile)
    machine.keeps = False
    if fact == "pause":
        machine.rest()
        assert machine.status() == "paused"
        assert {status for _, status, depth in machine.runs() if depth} <= {"paused", "succeeded"}
        assert machine.all_problems() == []
        machine.tell("order", "resume")
        machine.end_all()
        assert _results(database) == [0, 10, 20, 30, 40, 50]
    else:
        machine.end_all()
        assert machine.status() == "cancelled"
        assert {status for _, status, depth in machine.runs() if depth} <= {"cancelled", "succeeded"}
    assert machine.all_problems() == []
