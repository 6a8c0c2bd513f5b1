"""Items of a group report themselves, one by one: each drains its run's inbox, and the group goes on."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from tests.engine.machine import Machine
from tests.store.rows import look, working
from wfcelery.engine import executing, grouping
from wfcelery.engine.ports import Call, Outcome, ReportedItself
from wfcelery.store.claims import Claimed, claim
from wfcelery.store.database import Database
from wfcelery.store.transactional import report

BESIDE = """
name: order
tasks:
  - {name: pack, action: pack, with_items: [0, 1, 2, 3, 4, 5, 6], input: {x: "{{ item }}"}}
  - {name: pay, action: pay}
  - {name: say, action: say, after: [pay]}
"""


@pytest.fixture(autouse=True)
def _groups_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is."""
    monkeypatch.setattr(grouping, "GROUP_SECONDS", 3_600.0)


def _step(machine: Machine, name: str, item: int = -1) -> UUID:
    [(found,)] = look(machine.database, "select id from wf_step where name = :name and item = :item", name=name, item=item)
    return UUID(str(found))


def test_a_step_that_becomes_ready_beside_a_group_is_not_kept_before_the_group_is_over(database: Database) -> None:
    """Nobody would go on with it: it hung for as long as the child lived, which renewed it."""
    theirs = uuid4()

    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        if call.name != "pack":
            return None
        with machine.database.transaction() as tx:
            report(tx, "default", call.run, call.step, call.token, '"packed"')
            if call.item == 3:
                report(tx, "default", call.run, _step(machine, "pay"), theirs, '"paid"')
        return ReportedItself()

    machine = Machine(database, BESIDE, meanwhile)
    machine.keeps = False
    executing.dispatch(machine.runtime, "default", machine.run)
    other = working(database, uuid4())
    with database.transaction() as tx:
        assert isinstance(claim(tx, "default", _step(machine, "pay"), theirs, other, "200:1", 0.1), Claimed)
    machine.keeps = True

    assert machine.work(10.0) == "succeeded"
    assert machine.calls["say"] == 1
    assert not machine.tokens
    assert not machine.problems()
