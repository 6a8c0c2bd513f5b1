"""One step is cancelled by somebody, a region by a task: what executes it is fenced, and the run goes on as it says."""

from __future__ import annotations

import pytest

from tests.engine.machine import Machine
from tests.store.rows import look
from wfcelery.engine.dispatching import drain
from wfcelery.store.database import Database

READ = """
name: order
tasks:
  - {name: rest, type: sleep, duration: 2d %s}
  - {name: ship, action: ship, after: {rest: [%s]}}
  - {name: pay, action: pay}
"""
ITEMS = """
name: order
tasks:
  - {name: pack, action: pack, with_items: [0, 1, 2, 3], concurrency: 1, on_error: continue, input: {x: "{{ item }}"}}
  - {name: ship, action: ship, on_error: continue, after: pack}
  - {name: mail, action: mail, after: {pack: cancelled}}
"""
REGION = """
name: order
tasks:
  - {name: rest, type: sleep, duration: 2d, region: slow}
  - {name: pack, action: pack, with_items: [0, 1, 2], concurrency: 1, region: slow, input: {x: "{{ item }}"}}
  - {name: hurry, action: hurry, after: pack, region: slow}
  - {name: later, action: later, after: rest, region: slow, on_cancel: never}
  - {name: never, action: never}
  - {name: pay, action: pay, cancels: slow}
  - {name: told, action: told, after: {rest: cancelled}}
"""


def _statuses(database: Database) -> dict[str, str]:
    return {str(name): str(status) for name, status in look(database, "select name, status from wf_step where item < 0")}


@pytest.mark.parametrize(
    ("more", "accepts", "ends", "ship"),
    [
        ("", "succeeded, cancelled", "succeeded", "succeeded"),
        (", on_error: continue", "succeeded", "succeeded", "skipped"),
        ("", "succeeded", "failed", None),
    ],
)
def test_a_cancelled_step_leads_on_as_the_definition_says(database: Database, more: str, accepts: str, ends: str, ship: str | None) -> None:
    machine = Machine(database, READ % (more, accepts))
    drain(machine.runtime, machine.run)
    machine.answer()
    machine.put("cancel_step", task="rest", reason="in a hurry", by="ada")
    drain(machine.runtime, machine.run)

    assert machine.work() == ends
    assert _statuses(database).get("ship") == ship
    assert _statuses(database)["rest"] == "cancelled"
    if ends == "failed":
        [(error,)] = look(database, "select error from wf_run")
        assert '"type":"Cancelled"' in error
        assert '"message":"in a hurry"' in error
        assert look(database, "select count(*) from wf_dead_letter") == [(0,)]
    assert not machine.problems()


def test_what_has_ended_or_was_not_reached_cannot_be_cancelled(database: Database) -> None:
    machine = Machine(database, READ % ("", "succeeded"))
    drain(machine.runtime, machine.run)
    machine.answer()
    for step in ("pay", "ship", "nobody"):
        machine.put("cancel_step", task=step, reason="in a hurry", by="ada")
    drain(machine.runtime, machine.run)

    assert _statuses(database) == {"rest": "waiting", "pay": "succeeded"}
    [(facts,)] = look(database, "select facts from wf_history order by version desc limit 1")
    assert facts.count("step_cancel_refused") == 3
    assert not machine.problems()


def test_a_fan_out_is_cancelled_with_its_items(database: Database) -> None:
    machine = Machine(database, ITEMS)
    drain(machine.runtime, machine.run)
    machine.put("cancel_step", task="pack", reason="enough", by="ada")
    drain(machine.runtime, machine.run)

    assert machine.work() == "succeeded"
    assert _statuses(database) == {"pack": "cancelled", "ship": "skipped", "mail": "succeeded"}
    assert look(database, "select distinct status from wf_step where item >= 0") == [("cancelled",)]
    assert not machine.problems()


def test_a_region_is_closed_in_the_commit_of_its_canceller(database: Database) -> None:
    machine = Machine(database, REGION)

    assert machine.work() == "succeeded"
    found = _statuses(database)
    assert (found["rest"], found["hurry"], found["later"], found["never"], found["told"]) == (
        "cancelled",
        "skipped",
        "skipped",
        "skipped",
        "succeeded",
    )
    assert not machine.problems()
