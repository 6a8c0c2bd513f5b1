"""What may begin only before something else, and has not begun when that comes."""

from __future__ import annotations

from tests.engine.machine import Machine
from tests.store.rows import look
from wfcelery.core.decision import RingRun, RingStep
from wfcelery.store.database import Database

TRAIN = """
name: train
tasks:
  - {name: change, action: change, unless_reached: leave}
  - {name: leave, action: leave}
"""


def test_a_step_that_is_ready_is_withdrawn_when_its_milestone_is_reached_and_nothing_is_wrong_with_that(database: Database) -> None:
    machine = Machine(database, TRAIN)
    machine.keeps = False
    machine.ring([RingRun("default", machine.run, "celery")])
    machine.answer_one()
    machine.rings.sort(key=lambda ring: isinstance(ring, RingStep) and ring.name != "leave")
    machine.answer()
    assert machine.status() == "succeeded"
    assert look(database, "select name, status from wf_step order by name") == [("change", "skipped"), ("leave", "succeeded")]
    assert machine.calls == {"leave": 1}
    assert not machine.problems()
