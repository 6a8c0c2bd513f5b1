"""A group of items is recorded late: some of it is no longer its worker's, the rest is worth as much as ever."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from tests.engine.machine import Machine
from tests.store.rows import look, working
from wfcelery.core.events import GroupEnded, ItemEnd
from wfcelery.engine import executing, grouping
from wfcelery.engine.apply import apply
from wfcelery.engine.ports import Call, Returned
from wfcelery.engine.sweeping import Sweep
from wfcelery.store import due
from wfcelery.store.claims import claim_group
from wfcelery.store.database import Database

# In groups of one, two and four: the last of them is items 3 to 6.
SEVEN = """
name: order
tasks:
  - {name: pack, action: pack, with_items: [0, 1, 2, 3, 4, 5, 6], input: {x: "{{ item }}"}}
"""
THEIRS = uuid4()


@pytest.fixture(autouse=True)
def _groups_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is."""
    monkeypatch.setattr(grouping, "GROUP_SECONDS", 3_600.0)


def _lose(machine: Machine, call: Call) -> UUID:
    """Item 5 of the group that is being executed is declared lost; gives its id."""
    [(step, token)] = look(machine.database, "select id, token from wf_step where item = 5")
    assert UUID(str(token)) == call.token, "it is of the same group"
    lost = UUID(str(step))
    assert Sweep(machine.runtime).declare_lost(due.Attempt(call.run, lost, call.token, "pack"))
    return lost


def _claim_for_another(machine: Machine) -> None:
    other = working(machine.database, uuid4())
    fan_out = _fan_out(machine)
    with machine.database.transaction() as tx:
        taken = claim_group(tx, "default", fan_out, 5, THEIRS, other, "200:1")
    assert taken is not None
    assert [item.item for item in taken.items] == [5]


def _fan_out(machine: Machine) -> UUID:
    [(found,)] = look(machine.database, "select id from wf_step where item = -1")
    return UUID(str(found))


def _executed(database: Database, claimed_by_another: bool) -> tuple[Machine, UUID]:
    """A machine that has worked its items off, though item 5 was taken from it while its group was under way."""
    lost: list[UUID] = []

    def meanwhile(machine: Machine, call: Call) -> Returned:
        if call.item == 3:
            lost.append(_lose(machine, call))
            if claimed_by_another:
                _claim_for_another(machine)
        return Returned(f"attempt {call.attempt}")

    machine = Machine(database, SEVEN, meanwhile)
    executing.dispatch(machine.runtime, "default", machine.run)
    machine.answer()
    return machine, lost[0]


def test_a_late_group_leaves_an_item_to_the_worker_that_has_claimed_it_since(database: Database) -> None:
    machine, lost = _executed(database, claimed_by_another=True)
    rows = look(database, "select item, status, output from wf_step where item >= 0 order by item")
    assert rows == [(item, "succeeded", '"attempt 1"') if item != 5 else (5, "running", None) for item in range(7)]
    assert look(database, "select status, items_left from wf_step where item = -1") == [("waiting", 1)]
    fact = GroupEnded(_fan_out(machine), THEIRS, (ItemEnd(lost, 5, value="theirs"),))
    assert apply(machine.runtime, machine.run, (fact,)) is not None
    assert machine.status() == "succeeded"
    assert look(database, "select output, attempt, lost from wf_step where item = 5") == [('"theirs"', 2, 1)]
    assert not machine.problems()


def test_an_item_that_a_late_group_has_lost_is_executed_again(database: Database) -> None:
    machine, _ = _executed(database, claimed_by_another=False)
    assert machine.status() == "succeeded"
    assert look(database, "select output, attempt, lost from wf_step where item = 5") == [('"attempt 2"', 2, 1)]
    assert machine.calls["pack[5]"] == 2
    assert all(machine.calls[f"pack[{item}]"] == 1 for item in (0, 1, 2, 3, 4, 6))
    assert not machine.problems()
