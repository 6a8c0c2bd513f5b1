"""A run that continues as a new one: the end of the one and the start of the other are one commit, on both databases."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.engine.family import Family
from tests.engine.machine import Cut, Machine
from tests.store.rows import change, look
from wfcelery.core.decision import RingRun
from wfcelery.definition.values import loads
from wfcelery.engine.dispatching import drain
from wfcelery.engine.ports import Call, Outcome, Returned
from wfcelery.service.verifying import problems_of
from wfcelery.store.database import Database
from wfcelery.store.verifying import evidence

COUNTING = """
name: counting
parameters: {n: {type: integer, default: 0}, most: {type: integer, default: 3}}
tasks:
  - {name: count, action: a}
  - {name: next, type: continue_as_new, needs: [count], when: "parameters.n < parameters.most",
     input: {n: "{{ parameters.n + 1 }}", most: "{{ parameters.most }}"}}
output: "{{ parameters.n }}"
"""


def counted(machine: Machine, call: Call) -> Outcome:
    del machine, call
    return Returned(1)


def machine_of(database: Database, text: str = COUNTING, **given: Any) -> Machine:
    machine = Machine(database, text, counted)
    for column, value in {"input": '{"n":0,"most":3}', **given}.items():
        change(database, f"update wf_run set {column} = :value where id = :run", value=value, run=machine.run)
    return machine


def runs(machine: Machine) -> list[tuple[Any, ...]]:
    columns = "id, status, input, output, continued_as, active_key, key, tags, queue, priority, input_digest, version"
    return [tuple(row) for row in look(machine.database, f"select {columns} from wf_run order by id")]


def worked_off(machine: Machine, most: int = 100) -> None:
    """Until no run is left that has not ended."""
    machine.rings.append(RingRun("default", machine.run, "celery"))
    for _ in range(most):
        machine.answer()
        machine.sweep()
        if not machine.rings and not look(machine.database, "select id from wf_run where ended_at is null"):
            return
    raise AssertionError(runs(machine))


def no_problems(machine: Machine) -> None:
    for row in runs(machine):
        found = evidence(machine.database, UUID(str(row[0])))
        assert found is not None
        assert list(problems_of(found)) == []


def test_each_run_ends_in_the_commit_that_starts_the_next(database: Database) -> None:
    machine = machine_of(database, key="poll", active_key="poll", tags='["blue"]', queue="celery", priority=3)
    worked_off(machine)
    found = runs(machine)
    assert [(row[1], loads(row[2]).get("n", 0)) for row in found] == [("succeeded", n) for n in range(4)]
    assert [row[4] for row in found] == [*(row[0] for row in found[1:]), None], "each says which is the next"
    assert [row[5] for row in found] == [None, None, None, "poll"], "the key leads to the newest"
    assert len({row[6:11] for row in found}) == 1, "key, tags, queue, priority and what it was started with are the same"
    assert [row[3] for row in found] == ["null", "null", "null", "3"]
    assert len({row[11] for row in found}) == 1, "none has more history than another"
    no_problems(machine)


def test_the_next_run_waits_until_what_is_under_way_has_ended(database: Database) -> None:
    text = COUNTING.replace("output:", "  - {name: beside, action: a}\noutput:")
    machine = machine_of(database, text)
    machine.keeps = False
    drain(machine.runtime, machine.run)
    seen: list[tuple[int, str]] = []

    def meanwhile(machine: Machine, call: Call) -> Outcome:
        if call.name == "beside" and not seen:
            machine.meanwhile = counted
            machine.answer()
            seen.append((len(runs(machine)), machine.status()))
            machine.meanwhile = meanwhile
        return Returned(1)

    machine.meanwhile = meanwhile
    beside = UUID(str(look(database, "select id from wf_step where name = 'beside'")[0][0]))
    machine.rings.sort(key=lambda ring: getattr(ring, "step", None) != beside)
    machine.answer()
    assert seen == [(1, "cancelling")]
    worked_off(machine)
    assert len(runs(machine)) == 4
    no_problems(machine)


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
def test_who_cancels_a_run_that_is_about_to_continue_means_the_next_one_too(database: Database, verb: str) -> None:
    text = COUNTING.replace("output:", "  - {name: beside, action: a}\noutput:")
    machine = machine_of(database, text)
    machine.keeps = False
    drain(machine.runtime, machine.run)

    def meanwhile(machine: Machine, call: Call) -> Outcome:
        if call.name == "beside":
            machine.meanwhile = counted
            machine.answer()
            assert machine.status() == "cancelling"
            machine.put(verb, reason="enough", by="ada")
            drain(machine.runtime, machine.run)
        return Returned(1)

    machine.meanwhile = meanwhile
    beside = UUID(str(look(database, "select id from wf_step where name = 'beside'")[0][0]))
    machine.rings.sort(key=lambda ring: getattr(ring, "step", None) != beside)
    machine.answer()
    assert [(row[1], row[4]) for row in runs(machine)] == [("cancelled", None)]
    no_problems(machine)


def test_a_cancel_that_comes_with_the_last_result_cancels_the_next_run(database: Database) -> None:
    """It was put before the end, and nobody had read it."""

    def meanwhile(machine: Machine, call: Call) -> Outcome:
        del call
        machine.put("cancel", reason="enough", by="ada")
        return Returned(1)

    machine = machine_of(database)
    machine.meanwhile = meanwhile
    worked_off(machine)
    found = runs(machine)
    assert found[-1][1] == "cancelled"
    assert len(found) <= 2
    no_problems(machine)


def test_a_paused_run_goes_on_as_a_paused_one(database: Database) -> None:
    def meanwhile(machine: Machine, call: Call) -> Outcome:
        del call
        machine.put("pause", reason="month end", by="ada")
        drain(machine.runtime, machine.run)
        return Returned(1)

    machine = machine_of(database)
    machine.meanwhile = meanwhile
    machine.rings.append(RingRun("default", machine.run, "celery"))
    machine.answer()
    found = runs(machine)
    assert [row[1] for row in found] == ["succeeded", "paused"]
    machine.run, machine.meanwhile = UUID(str(found[1][0])), counted
    machine.put("resume", by="ada")
    worked_off(machine)
    assert len(runs(machine)) == 4
    no_problems(machine)


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("at", range(6))
def test_a_lost_answer_starts_no_run_twice(database: Database, monkeypatch: pytest.MonkeyPatch, at: int, landed: bool) -> None:
    machine = machine_of(database)
    cut = Cut(at, landed)
    with cut.on(monkeypatch):
        machine.work()
    worked_off(machine)
    assert [loads(row[2]).get("n", 0) for row in runs(machine)] == [0, 1, 2, 3]
    no_problems(machine)


def test_a_thousand_runs_one_after_the_other_leave_each_as_small_as_the_first(database: Database) -> None:
    machine = machine_of(database, input='{"n":0,"most":999}')
    worked_off(machine, 3_000)
    found = runs(machine)
    assert len(found) == 1_000
    assert loads(found[-1][3]) == 999
    rows = look(machine.database, "select count(*), max(length(facts)) from wf_history group by run")
    assert len(set(rows)) <= 3, "the first, the last, and all between them"
    no_problems(machine)


def test_the_deadline_of_the_start_holds_for_all_and_that_of_the_workflow_for_each(database: Database) -> None:
    machine = machine_of(database)
    at = "9e9" if database.dialect == "sqlite" else "timestamptz '2300-01-01'"
    change(database, f"update wf_run set deadline = {at} where id = :run", run=machine.run)
    worked_off(machine)
    assert len({str(deadline) for (deadline,) in look(database, "select deadline from wf_run")}) == 1
    other = machine_of(database, COUNTING.replace("counting", "timed") + "timeout: 1h\n")
    worked_off(other)
    deadlines = [deadline for (deadline,) in look(database, "select deadline from wf_run order by id")][4:]
    assert len(set(map(str, deadlines[1:]))) == 3


PARENT = """
name: above
tasks:
  - {name: counted, type: workflow, workflow: counting, input: {n: 0, most: 3}}
  - {name: told, action: a, needs: [counted], input: {n: "{{ task.counted.result }}"}}
output: "{{ task.counted.result }}"
"""


def test_a_child_that_continues_answers_its_parent_when_the_last_run_has_ended(database: Database) -> None:
    family = Family(database, PARENT, COUNTING, meanwhile=counted)
    family.end_all()
    rows = look(database, "select workflow, status, output from wf_run order by depth, id")
    assert [tuple(row)[:2] for row in rows] == [("order", "succeeded"), *[("counting", "succeeded")] * 4]
    assert rows[0][2] == "3"
    assert family.all_problems() == []


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
def test_a_parent_that_is_cancelled_reaches_the_run_that_goes_on_for_its_child(database: Database, verb: str) -> None:
    """It knows its child by the id of the first; what comes to a run that has continued is handed on."""
    asked = False

    def meanwhile(machine: Machine, call: Call) -> Outcome:
        nonlocal asked
        assert isinstance(machine, Family)
        if call.workflow == "counting" and not asked and len(machine.runs()) == 3:
            asked = True
            machine.tell("order", verb)
            drain(machine.runtime, machine.newest("order"))
        return Returned(1)

    family = Family(database, PARENT.replace("most: 3", "most: 50"), COUNTING, meanwhile=meanwhile)
    family.end_all()
    statuses = [status for _, status, _ in family.runs()]
    assert statuses[0] == "cancelled"
    assert statuses.count("cancelled") == 2
    assert len(statuses) < 10
    assert family.all_problems() == []


def test_what_is_asked_of_a_run_that_has_continued_is_asked_of_the_one_that_goes_on(database: Database) -> None:
    machine = machine_of(database)
    machine.meanwhile = lambda machine, call: _cancel_the_first(machine) if len(runs(machine)) == 3 else Returned(1)
    worked_off(machine)
    assert [row[1] for row in runs(machine)][-1] == "cancelled"
    assert len(runs(machine)) == 3
    no_problems(machine)


def _cancel_the_first(machine: Machine) -> Outcome:
    machine.put("cancel", reason="enough", by="ada")
    drain(machine.runtime, machine.run)
    machine.sweep()
    for (run,) in look(machine.database, "select id from wf_run where ended_at is null"):
        drain(machine.runtime, UUID(str(run)))
    return Returned(1)
