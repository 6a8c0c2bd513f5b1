"""A run that has failed and is retried: its deadline counts where it is still to come, and not a second time."""

from __future__ import annotations

import pytest

from tests.engine.machine import Machine
from tests.store.rows import change, look
from wfcelery.engine import executing
from wfcelery.engine.ports import Call, Outcome, Raised
from wfcelery.store.database import Database

GRAPH = """
name: order
tasks:
  - {name: pay, action: pay, on_success: rest}
  - {name: rest, type: sleep, duration: 1s, on_success: ship}
  - {name: ship, action: ship}
"""
NO_LUCK = Raised({"type": "Oops", "code": None, "message": "no luck"}, final=True)


@pytest.mark.parametrize(("left", "counts"), [(-60.0, False), (3600.0, True)], ids=["is over", "is to come"])
def test_a_deadline_counts_once(database: Database, left: float, counts: bool) -> None:
    lucky: list[bool] = []

    def pay(machine: Machine, call: Call) -> Outcome | None:
        return NO_LUCK if call.name == "pay" and not lucky else None

    machine = Machine(database, GRAPH, pay)
    assert machine.work() == "failed"
    clock = (
        "clock_timestamp() + make_interval(secs => :left)"
        if database.dialect == "postgresql"
        else "(julianday('now') - 2440587.5) * 86400 + :left"
    )
    change(database, f"update wf_run set deadline = {clock} where id = :run", left=left, run=machine.run)
    lucky.append(True)
    [(letter,)] = look(database, "select step from wf_dead_letter where status = 'open'")
    machine.put("retry", step=str(letter), by=None)
    executing.dispatch(machine.runtime, "default", machine.run)
    assert look(database, "select coalesce(due_at = deadline, false) from wf_run") == [(counts,)]
    assert machine.work() == "succeeded"
    assert not machine.problems()
