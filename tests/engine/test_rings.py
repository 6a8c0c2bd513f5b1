"""What is rung, and under which name."""

from __future__ import annotations

from dataclasses import replace

from tests.engine.machine import Machine
from tests.store.rows import ago, change
from wfcelery.core.decision import RingStep
from wfcelery.engine import executing
from wfcelery.engine.sweeping import Sweep
from wfcelery.store.database import Database

TWO = """
name: order
tasks:
  - {name: say, action: shop.greet}
  - {name: also, action: shop.wave}
"""


def test_a_step_that_the_sweep_rings_goes_under_the_name_of_its_authors_task(database: Database) -> None:
    machine = Machine(database, TWO)
    machine.keeps = False
    executing.dispatch(machine.runtime, "default", machine.run)
    first = {ring for ring in machine.rings if isinstance(ring, RingStep)}
    machine.rings.clear()
    change(database, f"update wf_step set ring_at = {ago(database, 1)}")
    Sweep(machine.runtime)()
    again = {ring for ring in machine.rings if isinstance(ring, RingStep)}
    assert {ring.name for ring in again} == {"shop.greet", "shop.wave"}
    assert again == first


def test_a_sweep_that_is_slower_than_rings_come_again_rings_each_once_and_ends(database: Database) -> None:
    machine = Machine(database, TWO)
    machine.keeps = False
    executing.dispatch(machine.runtime, "default", machine.run)
    machine.rings.clear()
    change(database, f"update wf_step set ring_at = {ago(database, 1)}")
    at_once = machine.runtime.settings.model_copy(update={"ring_again": 0.0})
    Sweep(replace(machine.runtime, settings=at_once))()
    assert len([ring for ring in machine.rings if isinstance(ring, RingStep)]) == 2
