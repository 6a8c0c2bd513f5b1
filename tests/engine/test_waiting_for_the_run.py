"""Two workers finish at once: the second waits for the run's lock, and then sees what the first has written.

Under READ COMMITTED a statement that waited sees the new row of what it locked, and everything else as it was before.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.acceptance.eventually import eventually
from tests.engine.machine import Machine
from tests.store.rows import look
from wfcelery.core.decision import Decision, Ring, RingStep
from wfcelery.engine import apply, executing
from wfcelery.store.database import Database, Tx
from wfcelery.store.saving import save

JOIN = """
name: order
tasks:
  - {name: a, action: a}
  - {name: b, action: b}
  - {name: c, action: c}
  - {name: d, action: d, after: [a, b, c]}
"""
TWO_ITEMS = """
name: order
tasks:
  - {name: pack, action: pack, with_items: [1, 2], input: {x: "{{ item }}"}}
"""


class Handover:
    """Holds back the first commit that it sees, with the run's lock, until somebody waits for it."""

    def __init__(self, database: Database) -> None:
        self.database, self.held = database, threading.Event()

    def __call__(self, tx: Tx, decision: Decision, rings: bool = True) -> None:
        save(tx, decision, rings)
        if not self.held.is_set():
            self.held.set()
            eventually(self._somebody_waits, every=0.01)

    def _somebody_waits(self) -> bool:
        waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        return look(self.database, waiting) != [(0,)]


def _at_once(machine: Machine, monkeypatch: pytest.MonkeyPatch, first: Ring, second: Ring) -> None:
    """Two workers, of whom the second comes to the run's lock while the first has it."""

    def work_off(ring: Ring) -> None:
        assert isinstance(ring, RingStep)
        executing.execute(machine.runtime, ring.organization_id, ring.step)

    handover = Handover(machine.database)
    monkeypatch.setattr(apply, "save", handover)
    with ThreadPoolExecutor(2) as workers:
        one = workers.submit(work_off, first)
        assert handover.held.wait(20)
        other = workers.submit(work_off, second)
        one.result(60)
        other.result(60)


def test_the_last_of_a_join_sees_those_that_came_while_it_waited(patient: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(patient, JOIN)
    machine.keeps = False
    executing.dispatch(machine.runtime, "default", machine.run)
    a, b, c = machine.rings
    machine.rings = [a]
    machine.answer()
    assert look(patient, "select status, blockers from wf_step where name = 'd'") == [("blocked", 2)]
    _at_once(machine, monkeypatch, b, c)
    assert look(patient, "select status, blockers from wf_step where name = 'd'") == [("ready", 0)]
    machine.answer()
    assert machine.status() == "succeeded"
    assert not machine.problems()


def test_the_last_item_counts_those_that_ended_while_it_waited(patient: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(patient, TWO_ITEMS)
    executing.dispatch(machine.runtime, "default", machine.run)
    first, second = machine.rings
    _at_once(machine, monkeypatch, first, second)
    assert look(patient, "select status, items_left from wf_step where item = -1") == [("succeeded", 0)]
    assert machine.status() == "succeeded"
    assert not machine.problems()
