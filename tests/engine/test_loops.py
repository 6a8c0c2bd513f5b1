"""Loops: one child run after the other, each with records of its own, until something holds of what they return."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from tests.engine.family import Family
from tests.engine.machine import Machine
from tests.store.rows import look
from wfcelery.definition.values import loads
from wfcelery.engine.dispatching import drain
from wfcelery.engine.ports import Call, Outcome, Raised, Returned
from wfcelery.store.database import Database

LOOP = """
name: order
tasks:
  - name: poll
    type: loop
    %s
    input: {round: "{{ round }}", before: "{{ last }}"}
    tasks: [{name: poll, action: poll, input: {round: "{{ parameters.round }}", before: "{{ parameters.before }}"}}]
    output: "{{ task.poll.result }}"
  - {name: ship, action: ship, needs: [poll]}
output: "{{ task.poll.result }}"
"""


def _counting(machine: Machine, call: Call) -> Outcome | None:
    return Returned({"round": call.input["round"], "done": call.input["round"] == 4}) if call.name == "poll" else None


def _error(database: Database) -> dict[str, Any]:
    ((text,),) = look(database, "select error from wf_run where depth = 0")
    error: dict[str, Any] = loads(text)
    return error


@pytest.mark.parametrize("condition", ['until: "{{ last.done }}"', 'while: "{{ not last.done }}"', 'until: "{{ round == 4 }}"'])
def test_a_loop_goes_on_until_what_a_round_returned_says_so(database: Database, condition: str) -> None:
    given: list[Any] = []

    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        given.append(call.input)
        return _counting(machine, call)

    machine = Family(database, LOOP % condition, meanwhile=meanwhile)
    assert machine.work() == "succeeded"
    assert [each.get("round") for each in given] == [1, 2, 3, 4, None]
    assert [(each["before"] or {}).get("round") for each in given[:4]] == [None, 1, 2, 3]
    assert look(database, "select output from wf_run where depth = 0") == [('{"round":4,"done":true}',)]
    assert [run[0] for run in machine.runs()] == ["order", *["order.poll"] * 4]
    assert machine.all_problems() == []


def test_a_loop_over_a_list_takes_its_items_one_after_the_other_and_hands_on_what_it_has_so_far(database: Database) -> None:
    text = """
name: total
tasks:
  - name: add
    type: loop
    with_items: [3, 4, 5]
    input: {one: "{{ item }}", number: "{{ index }}", so_far: "{{ last or 0 }}"}
    tasks: [{name: add, action: add, input: {a: "{{ parameters.one }}", b: "{{ parameters.so_far }}", n: "{{ parameters.number }}"}}]
    output: "{{ task.add.result }}"
output: "{{ task.add.result }}"
"""
    machine = Family(database, text, meanwhile=lambda _, call: Returned(call.input["a"] + call.input["b"] + 10 * call.input["n"]))
    assert machine.work() == "succeeded"
    assert look(database, "select output from wf_run where depth = 0") == [("42",)]
    assert machine.all_problems() == []


def test_a_loop_over_nothing_is_over_at_once(database: Database) -> None:
    machine = Family(database, LOOP % "with_items: []")
    assert machine.work() == "succeeded"
    assert machine.calls == {"ship": 1}
    assert machine.all_problems() == []


def test_a_loop_that_does_not_end_fails_after_as_many_rounds_as_it_may_have(database: Database) -> None:
    machine = Family(database, LOOP % 'until: "{{ last.done }}"\n    max_rounds: 3', meanwhile=_counting)
    assert machine.work() == "failed"
    assert machine.calls == {"poll": 3}
    assert _error(database)["type"] == "TooManyRounds"
    assert machine.all_problems() == []


def test_a_round_that_fails_is_tried_again_and_the_rounds_before_it_are_not(database: Database) -> None:
    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        if call.name == "poll" and call.input["round"] == 3 and machine.calls["poll"] < 6:
            return Raised({"type": "Broke", "code": None, "message": ""}, final=True)
        return _counting(machine, call)

    text = LOOP % 'until: "{{ last.done }}"\n    retry: {count: 1, delay: 0.01s}'
    machine = Family(database, text, meanwhile=meanwhile)
    assert machine.work() == "failed"
    assert machine.calls == {"poll": 4}  # 1, 2, 3 and 3 again
    ((step,),) = look(database, "select id from wf_step where name = 'poll' and status = 'failed' and items_left is null and token is null")
    machine.put("retry", step=str(step), by=None)
    machine.rest()
    assert machine.work() == "succeeded"
    assert machine.calls == {"poll": 7, "ship": 1}
    assert machine.all_problems() == []


def test_the_next_round_of_a_loop_waits_for_as_long_as_it_is_to(database: Database) -> None:
    began: list[float] = []

    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        began.append(time.monotonic())
        return _counting(machine, call)

    machine = Family(database, LOOP % 'until: "{{ last.done }}"\n    every: 0.2s', meanwhile=meanwhile)
    assert machine.work() == "succeeded"
    assert all(after - before >= 0.19 for before, after in pairwise(began[:4]))
    assert machine.all_problems() == []


def test_a_cancelled_loop_begins_no_round_any_more_and_a_retried_run_goes_on_with_it(database: Database) -> None:
    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        if call.name == "poll" and call.input["round"] == 2 and machine.calls["poll"] == 2:
            assert isinstance(machine, Family)
            machine.tell("order", "cancel")
            drain(machine.runtime, machine.run)
        return _counting(machine, call)

    machine = Family(database, LOOP % 'until: "{{ last.done }}"', meanwhile=meanwhile)
    machine.end_all()
    assert machine.status() == "cancelled"
    assert machine.calls == {"poll": 2}
    assert machine.all_problems() == []


def test_a_loop_that_was_stopped_by_the_failure_of_another_step_goes_on_when_that_is_retried(database: Database) -> None:
    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        if call.name == "bad" and machine.calls["bad"] == 1:
            return Raised({"type": "Broke", "code": None, "message": ""}, final=True)
        return _counting(machine, call)

    text = (LOOP % 'until: "{{ last.done }}"\n    every: 0.05s').replace(
        "  - {name: ship", "  - {name: s, type: sleep, duration: 0.1s}\n  - {name: bad, action: bad, after: [s]}\n  - {name: ship"
    )
    machine = Family(database, text, meanwhile=meanwhile)
    assert machine.work() == "failed"
    ((step,),) = look(database, "select id from wf_step where name = 'bad'")
    machine.put("retry", step=str(step), by=None)
    machine.rest()
    assert machine.work() == "succeeded"
    assert machine.all_problems() == []


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_thousand_rounds_leave_a_thousand_sets_of_records_and_no_commit_of_a_second(sqlite: Database) -> None:
    longest = 0.0

    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        return Returned({"round": call.input["round"], "done": call.input["round"] == 1_000}) if call.name == "poll" else None

    machine = Family(sqlite, LOOP % 'until: "{{ last.done }}"', meanwhile=meanwhile)
    plain = Database.transaction

    @contextmanager
    def timed(database: Database, *given: Any) -> Iterator[Any]:
        nonlocal longest
        began = time.monotonic()
        with plain(database, *given) as tx:
            yield tx
        longest = max(longest, time.monotonic() - began)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Database, "transaction", timed)
        assert machine.work(seconds=240.0) == "succeeded"
    assert machine.calls == {"poll": 1_000, "ship": 1}
    assert look(sqlite, "select count(*), count(distinct run) from wf_step where name = 'poll' and token is not null") == [(1_000, 1_000)]
    assert longest < 1.0
    assert machine.problems() == []
