"""A commit whose answer is lost, at every commit of a run in turn: whether it landed or not, nothing hangs and nothing leaks."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

import pytest

from tests.engine.machine import Cut, Machine
from tests.store.rows import look
from wfcelery.core.rows import StepRow
from wfcelery.engine import apply as applying
from wfcelery.engine import executing, patience
from wfcelery.engine.ports import Call, Raised
from wfcelery.errors import Unavailable
from wfcelery.store import saving
from wfcelery.store.database import Database, Tx
from wfcelery.store.failures import CommitUnknown
from wfcelery.store.loading import load_kept

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

CHAIN = """
name: order
tasks:
  - {name: a, action: a}
  - {name: b, action: b, after: [a]}
  - {name: c, action: c, after: [b]}
"""
TWICE = """
name: order
tasks:
  - {name: a, action: a}
  - {name: b, action: b, after: [a], retry: {count: 1, delay: 0, jitter: false}}
"""


@pytest.fixture(autouse=True)
def _no_time_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cut keeps from being rung is rung by the sweep at once, and nobody gives up because this machine is slow."""
    monkeypatch.setattr(saving, "RING_AFTER", 0.05)
    monkeypatch.setattr(patience, "monotonic", lambda: 0.0)


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


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "not landed"])
def test_a_step_that_was_kept_by_a_commit_without_an_answer_is_gone_on_with(
    database: Database, monkeypatch: pytest.MonkeyPatch, landed: bool
) -> None:
    for at in range(60):
        machine, cut = Machine(database, CHAIN), Cut(at, landed)
        with cut.on(monkeypatch), suppress(CommitUnknown):
            executing.dispatch(machine.runtime, "default", machine.run)
            machine.answer()
        assert machine.work() == "succeeded", f"cut at commit {at}"
        attempts = look(database, "select name, attempt, lost from wf_step where run = :run order by name", run=machine.run)
        assert attempts == [("a", 1, 0), ("b", 1, 0), ("c", 1, 0)], f"cut at commit {at}"
        if not cut.happened:
            break
    assert at > 2


def _fail_once(machine: Machine, call: Call) -> Raised | None:
    return Raised({"type": "Refused", "code": None, "message": "not today"}) if call.name == "b" and call.failures == 0 else None


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "not landed"])
def test_a_failure_whose_answer_was_lost_is_counted_once(database: Database, monkeypatch: pytest.MonkeyPatch, landed: bool) -> None:
    for at in range(60):
        machine, cut = Machine(database, TWICE, _fail_once), Cut(at, landed)
        with cut.on(monkeypatch), suppress(CommitUnknown):
            executing.dispatch(machine.runtime, "default", machine.run)
            machine.answer()
        assert machine.work() == "succeeded", f"cut at commit {at}"
        failures = "select failures, status from wf_step where run = :run and name = 'b'"
        assert look(database, failures, run=machine.run) == [(1, "succeeded")], f"cut at commit {at}"
        assert machine.calls == {"a": 1, "b": 2}, f"cut at commit {at}"
        assert not machine.problems()
        if not cut.happened:
            break
    assert at > 4


THEN_ASLEEP = """
name: order
tasks:
  - {name: a, action: a}
  - {name: nap, type: sleep, duration: 0.01s, after: [a]}
  - {name: b, action: b, after: [nap]}
"""


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "not landed"])
def test_what_was_answered_is_not_done_again_because_the_database_is_away_a_moment_later(
    database: Database, monkeypatch: pytest.MonkeyPatch, landed: bool
) -> None:
    """Found by the simulation, seed 300005727: a result was recorded, and then again over the version that it had made."""
    for at in range(20):
        machine, cut, asked = Machine(database, THEN_ASLEEP), Cut(at, landed), list[UUID]()

        def away_at_first(tx: Tx, token: UUID, asked: list[UUID] = asked) -> StepRow | None:
            asked.append(token)
            if len(asked) == 1:
                raise Unavailable("database", "simulated")
            return load_kept(tx, token)

        with cut.on(monkeypatch), monkeypatch.context() as patched, suppress(CommitUnknown):
            patched.setattr(applying, "load_kept", away_at_first)
            executing.dispatch(machine.runtime, "default", machine.run)
        assert machine.work() == "succeeded", f"cut at commit {at}"
        assert machine.calls == {"a": 1, "b": 1}, f"cut at commit {at}"
        assert not machine.tokens, f"cut at commit {at}"
        assert not machine.problems()
        if not cut.happened:
            break
    assert at > 2
