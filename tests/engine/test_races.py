"""The first of an event, a timer and a step: the others are closed in the commit that it wins in, and their times decide."""

from __future__ import annotations

import pytest

from tests.engine.outside import Outside
from tests.store.rows import change
from wfcelery.store.database import Database

RACE = """
name: order
parameters: {order: {type: integer, default: 7}}
tasks:
  - name: first
    type: race
    tasks:
      - {name: paid, type: wait, event: payment, key: "{{ parameters.order }}"}
      - {name: late, type: sleep, duration: 1h}
      - {name: called, type: parallel, tasks: [{name: refusal, type: wait, event: refusal}, {name: note, action: note, after: refusal}]}
  - {name: ship, action: ship, needs: [first], when: "{{ task.first.result.won == 'paid' }}", input: {of: "{{ task.paid.result }}"}}
  - {name: remind, action: remind, needs: [first], when: "{{ task.first.result.won == 'late' }}"}
"""


def branches(machine: Outside) -> tuple[str, ...]:
    steps = machine.steps()
    return tuple(steps.get(name, "") for name in ("paid", "late", "refusal", "ship", "remind"))


def test_the_first_branch_wins_and_the_others_are_closed_in_its_commit(database: Database) -> None:
    machine = Outside(database, RACE)
    machine.send("payment", 5, key="7")
    machine.answer()
    assert branches(machine) == ("succeeded", "cancelled", "cancelled", "succeeded", "skipped")
    assert (machine.worth("first"), machine.status()) == ({"won": "paid"}, "succeeded")
    assert not machine.problems()


def test_a_branch_of_several_steps_wins_when_all_of_it_has_ended(database: Database) -> None:
    machine = Outside(database, RACE)
    machine.send("refusal")
    machine.answer()
    assert (machine.worth("first"), machine.calls) == ({"won": "called"}, {"note": 1})
    assert branches(machine) == ("cancelled", "cancelled", "succeeded", "skipped", "skipped")
    assert not machine.problems()


@pytest.mark.parametrize("by", ["the sweep", "the inbox"])
@pytest.mark.parametrize(("earlier", "winner"), [(1.0, "paid"), (-1.0, "late")], ids=["event first", "timer first"])
def test_of_two_that_both_came_while_nobody_looked_the_earlier_wins(database: Database, earlier: float, winner: str, by: str) -> None:
    machine = Outside(database, RACE)
    event = machine.send("payment", 5, key="7")
    rings = list(machine.rings)
    machine.rings.clear()
    machine.shift("wf_wait", machine.step_id("late"), "due_at", -7200.0)
    machine.shift("wf_event", event, "at", -3600.0 - earlier)
    change(
        database,
        "update wf_wait set opened_at = opened_at - 7200.0"
        if database.dialect == "sqlite"
        else "update wf_wait set opened_at = opened_at - interval '2 hours'",
    )
    if by == "the inbox":
        machine.rings = rings
        machine.answer()
    else:
        change(database, "delete from wf_inbox")
    machine.settle()
    assert machine.worth("first") == {"won": winner}
    assert machine.event(event) == ("consumed" if winner == "paid" else "stored")
    assert not machine.problems()


def test_an_event_for_a_race_that_is_over_is_left_to_others(database: Database) -> None:
    machine = Outside(database, RACE)
    other = machine.another(order=7)
    machine.send("refusal", run=str(machine.run))
    event = machine.send("payment", 5, key="7")  # to the race that opened first, which is over by then
    machine.settle()
    assert (machine.worth("first"), machine.worth("first", other)) == ({"won": "called"}, {"won": "paid"})
    assert machine.event(event) == "consumed"
