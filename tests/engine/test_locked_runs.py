"""Somebody else holds a run's lock for longer than anybody waits for it. What was done meanwhile is not lost, and not done again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from tests.engine.machine import Machine
from tests.store.rows import look
from wfcelery.engine.ports import Call, Outcome, Raised
from wfcelery.store.database import Database

FAN = """
name: order
tasks:
  - {name: pack, action: pack, with_items: [1, 2, 3], input: {x: "{{ item }}"}}
"""
FAILS = """
name: order
tasks:
  - {name: pay, action: pay, retry: {count: 1}}
"""


@contextmanager
def held(machine: Machine, seconds: float) -> Iterator[None]:
    """The run's lock in another's hands, for so long."""
    connection = machine.database.apart().connect()
    begun = connection.begin()
    connection.execute(sa.text("select id from wf_run where id = :run for no key update"), {"run": machine.run})
    letting_go = threading.Timer(seconds, begun.rollback)
    letting_go.start()
    yield
    letting_go.join()
    connection.close()


@pytest.mark.parametrize(
    ("text", "calls"), [(FAN, {"pack[0]": 1, "pack[1]": 1, "pack[2]": 1}), (FAILS, {"pay": 2})], ids=["group", "failure"]
)
def test_what_cannot_be_recorded_now_is_recorded_when_the_lock_is_let_go(hasty: Database, text: str, calls: dict[str, int]) -> None:
    holds = []

    def lock_it_once(machine: Machine, call: Call) -> Outcome | None:
        if holds:
            return None
        holds.append(holding := held(machine, 0.5))
        holding.__enter__()
        return Raised({"type": "Oops", "code": None, "message": "no luck"}, retry_in=0.0) if call.name == "pay" else None

    machine = Machine(hasty, text, lock_it_once)
    assert machine.work() == "succeeded"
    holds[0].__exit__(None, None, None)
    assert machine.calls == calls
    assert not look(hasty, "select id from wf_step where lost > 0")
    assert not machine.tokens
    assert not machine.problems()
