"""A commit whose answer is lost, at every commit of a run in turn: whether it landed or not, nothing hangs and nothing leaks."""

from __future__ import annotations

import pytest

from tests.engine.machine import Cut, Machine
from tests.store.rows import look
from wfcelery.engine.ports import Call, Raised
from wfcelery.store import saving
from wfcelery.store.database import Database

GRAPH = """
name: order
tasks:
  - {name: a, action: a}
  - {name: b, action: b, after: [a]}
  - {name: c, action: c, after: [a]}
  - {name: d, action: d, after: [b, c]}
  - {name: pack, action: pack, after: [d], with_items: [1, 2, 3], input: {x: "{{ item }}"}}
  - {name: e, action: e, after: [pack]}
"""

TWICE = """
name: order
tasks:
  - {name: a, action: a}
  - {name: b, action: b, after: [a], retry: {count: 1, delay: 0, jitter: false}}
"""


@pytest.fixture(autouse=True)
def _rings_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cut keeps from being rung is rung by the sweep after some seconds, and here at once."""
    monkeypatch.setattr(saving, "RING_AFTER", 0.05)


def _cancel_during_a(machine: Machine, call: Call) -> None:
    if call.name == "a":
        machine.put("cancel", reason="changed her mind", by=None)


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "not landed"])
def test_a_lost_answer_never_leaves_a_step_to_nobody(database: Database, monkeypatch: pytest.MonkeyPatch, landed: bool) -> None:
    for at in range(200):
        machine, cut = Machine(database, GRAPH), Cut(at, landed)
        with cut.on(monkeypatch):
            assert machine.work() == "succeeded", f"cut at commit {at}"
        assert not machine.tokens, f"cut at commit {at}: a token of a step that nobody executes is renewed"
        repeated = {name for name, times in machine.calls.items() if times > 1}
        assert not repeated, f"cut at commit {at}: the results of {repeated} were lost"
        assert not machine.problems()
        if not cut.happened:
            break
    assert at > 15


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "not landed"])
def test_a_lost_answer_while_a_cancel_is_applied_still_hands_the_kept_step_back(
    database: Database, monkeypatch: pytest.MonkeyPatch, landed: bool
) -> None:
    for at in range(60):
        machine, cut = Machine(database, GRAPH, _cancel_during_a), Cut(at, landed)
        with cut.on(monkeypatch):
            assert machine.work() == "cancelled", f"cut at commit {at}"
        assert not machine.tokens
        assert machine.calls == {"a": 1}, f"cut at commit {at}"
        assert not look(database, "select name from wf_step where run = :run and status in ('running', 'ready')", run=machine.run)
        assert not machine.problems()
        if not cut.happened:
            break
    assert at > 4


def _fail_once(machine: Machine, call: Call) -> Raised | None:
    return Raised({"type": "Refused", "code": None, "message": "not today"}) if call.name == "b" and call.failures == 0 else None


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "not landed"])
def test_a_failure_whose_answer_was_lost_is_counted_once(database: Database, monkeypatch: pytest.MonkeyPatch, landed: bool) -> None:
    for at in range(60):
        machine, cut = Machine(database, TWICE, _fail_once), Cut(at, landed)
        with cut.on(monkeypatch):
            assert machine.work() == "succeeded", f"cut at commit {at}"
        failures = "select failures, status from wf_step where run = :run and name = 'b'"
        assert look(database, failures, run=machine.run) == [(1, "succeeded")], f"cut at commit {at}"
        assert machine.calls == {"a": 1, "b": 2}, f"cut at commit {at}"
        assert not machine.problems()
        if not cut.happened:
            break
    assert at > 4
