"""What is put into a run's inbox while its worker works: it is seen with the next commit, without a ring and without a sweep."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.engine.machine import LEASE, Machine
from tests.store.rows import change, look
from wfcelery.core.decision import RingStep
from wfcelery.engine import executing
from wfcelery.engine.dispatching import drain
from wfcelery.engine.ports import Call
from wfcelery.engine.runtime import Runtime
from wfcelery.engine.sweeping import Sweep
from wfcelery.store import leases
from wfcelery.store.database import Database
from wfcelery.store.transactional import report

GRAPH = """
name: order
tasks:
  - {name: a, action: a}
  - {name: b, action: b, after: [a]}
  - {name: pack, action: pack, after: [b], with_items: [1, 2, 3], input: {x: "{{ item }}"}}
"""
PAY = """
name: order
tasks:
  - {name: pay, action: pay}
  - {name: ship, action: ship, after: [pay]}
"""


class Died(Exception):
    """A worker that goes no further."""


@pytest.mark.parametrize("keeps", [True, False], ids=["steps are kept", "steps are rung"])
@pytest.mark.parametrize("during", ["a", "b", "pack[0]"])
def test_a_cancel_is_applied_by_whoever_commits_next(database: Database, during: str, keeps: bool) -> None:
    def cancel(machine: Machine, call: Call) -> None:
        if machine.calls[during]:
            machine.put("cancel", reason="changed her mind", by=None)

    machine = Machine(database, GRAPH, cancel)
    machine.keeps = keeps
    executing.dispatch(machine.runtime, "default", machine.run)
    while not machine.calls[during]:
        ring = machine.rings.pop(0)
        assert isinstance(ring, RingStep)
        executing.execute(machine.runtime, "default", ring.step)
    assert machine.status() == "cancelled"
    assert list(machine.calls)[-1] == during, "nothing begins after the cancel"
    assert not look(database, "select id from wf_inbox")
    assert not machine.tokens
    assert not machine.problems()


def test_a_kept_step_goes_back_where_another_has_applied_the_cancel_before(database: Database) -> None:
    def cancel(machine: Machine, call: Call) -> None:
        machine.put("cancel", reason="changed her mind", by=None)

    machine = Machine(database, PAY, cancel)
    plain = executing._still_wanted

    def after_another(runtime: Runtime, run: UUID, kept: tuple[UUID, UUID]) -> object:
        drain(runtime, run)
        assert look(database, "select status from wf_step where name = 'ship'") == [("running",)]
        return plain(runtime, run, kept)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(executing, "_still_wanted", after_another)
        executing.dispatch(machine.runtime, "default", machine.run)
    assert machine.status() == "cancelled"
    assert look(database, "select status, attempt from wf_step where name = 'ship'") == [("cancelled", 0)]
    assert machine.calls == {"pay": 1}
    assert not machine.tokens
    assert not machine.problems()


def test_a_step_that_has_reported_itself_is_nobodys_to_lose(database: Database) -> None:
    def report_and_die(machine: Machine, call: Call) -> None:
        if call.name == "pay":
            with database.transaction() as tx:
                report(tx, "default", call.run, call.step, call.token, '"paid"')
            raise Died

    machine = Machine(database, PAY, report_and_die)
    with pytest.raises(Died):
        executing.dispatch(machine.runtime, "default", machine.run)
    worker, child = machine.identity()
    assert Sweep(machine.runtime).child_died(worker, child) == 0
    change(database, "delete from wf_worker")
    with database.transaction() as tx:
        assert not leases.lost(tx, LEASE, 10)
    executing.dispatch(machine.runtime, "default", machine.run)  # as the sweep, or whoever is rung for the inbox
    assert machine.status() == "succeeded"
    assert look(database, "select status, output, attempt, lost from wf_step where name = 'pay'") == [("succeeded", '"paid"', 1, 0)]
    assert machine.calls == {"pay": 1, "ship": 1}
    assert not machine.problems()
