"""What somebody holds: nothing of it begins, nothing fails, and a release lets it go."""

from __future__ import annotations

import time

import pytest

from tests.engine.machine import Machine
from tests.store.rows import change, look
from wfcelery.engine import executing
from wfcelery.engine.dispatching import drain
from wfcelery.store import holds
from wfcelery.store.database import Database

FLOW = """
name: order
tasks:
  - {name: pay, action: shop.pay}
  - {name: charge, action: shop.charge, after: [pay]}
  - {name: send, action: shop.send, after: [charge]}
"""
ITEMS = """
name: order
tasks:
  - {name: pack, action: pack, with_items: [0, 1, 2, 3, 4, 5, 6, 7], concurrency: 4, input: {x: "{{ item }}"}}
"""


def hold(database: Database, scope: str, lasts: float | None = None, organization_id: str = "") -> None:
    with database.transaction() as tx:
        holds.put(tx, organization_id, scope, "it is broken", "ada", None, lasts)


def release(database: Database, scope: str, every: float | None = None) -> None:
    with database.transaction() as tx:
        assert holds.release(tx, "", scope, every)


def until_it_rests(machine: Machine) -> None:
    executing.dispatch(machine.runtime, "default", machine.run)
    for _ in range(3):
        machine._turn()


@pytest.mark.parametrize("keeps", [True, False], ids=["steps are kept", "steps are rung"])
@pytest.mark.parametrize("scope", ["step:charge", "step:shop.charge"])
def test_a_held_step_is_held_from_birth_and_the_run_goes_on_when_it_is_released(database: Database, scope: str, keeps: bool) -> None:
    machine = Machine(database, FLOW)
    machine.keeps = keeps
    hold(database, scope)
    until_it_rests(machine)
    assert look(database, "select name, status, why, attempt from wf_step order by name") == [
        ("charge", "held", f"hold:{scope}", 0),
        ("pay", "succeeded", None, 1),
    ]
    assert machine.calls == {"pay": 1}
    assert not machine.problems()
    release(database, scope)
    assert machine.work() == "succeeded"
    assert machine.calls == {"pay": 1, "charge": 1, "send": 1}
    assert not machine.problems()


@pytest.mark.parametrize("scope", ["workflow:order", "queue:celery", "org:default"])
def test_a_step_that_was_ready_before_is_turned_away_before_its_code_is_called(database: Database, scope: str) -> None:
    machine = Machine(database, FLOW)
    machine.keeps = False
    executing.dispatch(machine.runtime, "default", machine.run)
    assert look(database, "select name, status from wf_step") == [("pay", "ready")]
    hold(database, scope)
    machine.answer()
    assert look(database, "select name, status, why, attempt from wf_step") == [("pay", "held", f"hold:{scope}", 0)]
    assert not machine.calls
    assert not machine.tokens
    assert not machine.problems()
    release(database, scope)
    assert machine.work() == "succeeded"
    assert not machine.problems()


def test_the_items_of_a_fan_out_are_held_and_released_together(database: Database) -> None:
    machine = Machine(database, ITEMS)
    hold(database, "step:pack")
    until_it_rests(machine)
    assert not machine.calls
    assert look(database, "select status, why, count(*) from wf_step where item >= 0 group by status, why order by why") == [
        ("held", "concurrency", 4),
        ("held", "hold:step:pack", 4),
    ]
    assert not machine.problems()
    release(database, "step:pack")
    assert machine.work() == "succeeded"
    assert machine.calls.total() == 8
    assert not machine.problems()


def test_what_is_released_at_a_rate_comes_one_by_one(database: Database) -> None:
    times: list[float] = []
    machine = Machine(database, ITEMS.replace("concurrency: 4, ", ""), lambda *_: times.append(time.monotonic()))
    hold(database, "step:pack")
    until_it_rests(machine)
    release(database, "step:pack", every=0.05)
    assert machine.work() == "succeeded"
    assert len(times) == 8
    assert times[-1] - times[0] >= 7 * 0.05 - 0.02
    assert not machine.problems()


def test_a_hold_that_is_over_by_its_time_lets_go_by_itself_and_is_forgotten(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(database, FLOW)
    hold(database, "step:charge", lasts=0.2)
    until_it_rests(machine)
    assert machine.work() == "succeeded"
    assert look(database, "select status from wf_hold") == [("releasing",)], "somebody may not have heard of it yet"
    change(
        database,
        "update wf_hold set released_at = {}, ring_at = {}".format(
            *(["now() - interval '1 hour'"] * 2 if database.dialect == "postgresql" else ["0"] * 2)
        ),
    )
    machine.sweep()
    assert not look(database, "select id from wf_hold")


def test_a_held_step_of_a_paused_run_waits_for_both(database: Database) -> None:
    machine = Machine(database, FLOW)
    hold(database, "step:charge")
    until_it_rests(machine)
    machine.put("pause", reason="month end", by=None)
    drain(machine.runtime, machine.run)
    release(database, "step:charge")
    until_it_rests(machine)
    assert look(database, "select name, status, why from wf_step where name = 'charge'") == [("charge", "held", "paused")]
    assert not machine.problems()
    machine.put("resume", reason=None, by=None)
    assert machine.work() == "succeeded"


def test_a_hold_of_another_organization_holds_nothing_here(database: Database) -> None:
    machine = Machine(database, FLOW)
    hold(database, "step:charge", organization_id="acme")
    assert machine.work() == "succeeded"


def test_a_cancelled_run_does_not_wait_for_a_release(database: Database) -> None:
    machine = Machine(database, FLOW)
    hold(database, "step:charge")
    until_it_rests(machine)
    machine.put("cancel", reason="enough", by=None)
    assert machine.work() == "cancelled"
    assert not machine.problems()
