"""A run that comes to an `end` or a `fail`: it is over there, whatever else was to come."""

from __future__ import annotations

import pytest

from tests.engine.machine import Machine
from tests.store.rows import look
from wfcelery.core.decision import RingStep
from wfcelery.engine import executing
from wfcelery.engine.dispatching import drain
from wfcelery.engine.ports import Call, Outcome, Raised
from wfcelery.store.database import Database

GRAPH = """
name: order
tasks:
  - {name: a, action: a}
  - {name: b, action: b}
  - {name: nap, type: sleep, duration: 2d}
  - {name: c, action: c, after: [nap]}
  - {name: z, after: [a], %s}
output: never
"""
END = GRAPH % 'type: end, output: "{{ task.a.result }} is enough"'
FAIL = GRAPH % 'type: fail, message: "{{ task.a.result }} is too much", code: too_much'


def execute(machine: Machine, name: str) -> None:
    """Work off the message for this step."""
    [ring] = [ring for ring in machine.rings if isinstance(ring, RingStep) and ring.name == name]
    executing.execute(machine.runtime, "default", ring.step)


def test_an_end_returns_its_own_word_and_nothing_else_begins(database: Database) -> None:
    machine = Machine(database, END)
    machine.keeps = False
    executing.dispatch(machine.runtime, "default", machine.run)
    execute(machine, "a")
    assert machine.status() == "succeeded"
    assert look(database, "select output, error, reason from wf_run") == [('"a is enough"', None, "end z")]
    assert look(database, "select name, status from wf_step order by name") == [
        ("a", "succeeded"),
        ("b", "cancelled"),
        ("nap", "cancelled"),
        ("z", "succeeded"),
    ]
    assert not machine.problems()


@pytest.mark.parametrize("text", [END, FAIL], ids=["end", "fail"])
def test_what_is_under_way_ends_as_it_ends_and_leaves_nothing_to_try_again(database: Database, text: str) -> None:
    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        if call.name != "b":
            return None
        execute(machine, "a")
        assert machine.status() == "cancelling"
        return Raised({"type": "Broke", "code": None, "message": ""}, final=True)

    machine = Machine(database, text, meanwhile)
    machine.keeps = False
    executing.dispatch(machine.runtime, "default", machine.run)
    execute(machine, "b")
    assert machine.status() == ("succeeded" if text == END else "failed")
    assert look(database, "select name, status from wf_dead_letter") == [("b", "handled")]
    assert not machine.problems()


def test_a_run_that_failed_by_its_own_word_is_not_tried_again(database: Database) -> None:
    machine = Machine(database, FAIL)
    assert machine.work() == "failed"
    assert look(database, "select error from wf_run") == [
        ('{"type":"Failed","code":"too_much","message":"a is too much","step":"z"}',),
    ]
    assert not look(database, "select id from wf_dead_letter")
    [(step,)] = look(database, "select id from wf_step where name = 'a'")
    machine.put("retry", step=str(step), by=None)
    drain(machine.runtime, machine.run)
    assert machine.status() == "failed"
    assert not machine.problems()
