"""A sleep that is over is ended by a worker that was rung for it, and by the sweep where no worker comes."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.engine.machine import Cut, Machine
from tests.store.rows import look
from tests.store.test_timers import all_due
from wfcelery.core.decision import RingRun
from wfcelery.engine import executing, waking
from wfcelery.engine.runtime import Budget
from wfcelery.store.database import Database
from wfcelery.store.failures import CommitUnknown

NAP = """
name: order
tasks:
  - {name: nap, type: sleep, duration: 0.01s}
  - {name: say, action: say, after: [nap]}
"""


@pytest.fixture(autouse=True)
def _plenty_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due is the workers' for as long as a test takes; what is the sweep's is put far back by `all_due`."""
    monkeypatch.setattr(waking, "OURS", 3600.0)
    monkeypatch.setattr(executing, "ALONG", 3600.0)


def asleep(machine: Machine) -> Machine:
    """Its run has begun to sleep, and its time has come."""
    executing.dispatch(machine.runtime, "default", machine.run)
    all_due(machine.database)
    machine.rings.clear()
    return machine


def steps(machine: Machine) -> list[tuple[str, str, int, int]]:
    return [
        (str(name), str(status), int(attempt), int(lost))
        for name, status, attempt, lost in look(
            machine.database, "select name, status, attempt, lost from wf_step where run = :run order by name", run=machine.run
        )
    ]


def test_a_sweep_rings_for_it_and_the_worker_goes_on_with_the_step_behind_it(database: Database) -> None:
    machine = asleep(Machine(database, NAP))
    assert machine.sweep().waits == 0
    assert machine.rings == [RingRun("default", machine.run)]
    assert steps(machine) == [("nap", "waiting", 0, 0)]
    machine.answer()
    assert machine.status() == "succeeded"
    assert (steps(machine), machine.calls) == ([("nap", "succeeded", 0, 0), ("say", "succeeded", 1, 0)], {"say": 1})
    assert not machine.tokens
    assert not machine.problems()


def test_one_ring_ends_all_that_are_over(database: Database) -> None:
    machines = [asleep(Machine(database, NAP)) for _ in range(20)]
    first = machines[0]
    first.sweep()
    assert 0 < len(first.rings) <= len(machines) // 2
    first.rings = first.rings[:1]
    first.answer()
    assert {each.status() for each in machines} == {"succeeded"}
    assert first.calls == {"say": 20}


def test_no_more_workers_are_rung_while_those_before_are_at_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "AT_IT", 3600.0)
    machines = [asleep(Machine(database, NAP)) for _ in range(8)]
    first = machines[0]
    first.sweep()
    assert len(first.rings) == 4
    first.sweep()
    assert len(first.rings) == 4
    machines += [asleep(Machine(database, NAP)) for _ in range(4)]
    first.sweep()
    assert len(first.rings) == 6
    first.answer()
    machines.append(asleep(Machine(database, NAP)))
    first.sweep()
    assert len(first.rings) == 1, "all that was there before is over, and so are the workers that ended it"
    first.answer()
    assert {each.status() for each in machines} == {"succeeded"}


def test_workers_are_rung_again_where_those_before_did_not_come(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "AT_IT", 0.0)
    machine = asleep(Machine(database, NAP))
    machine.sweep()
    machine.rings.clear()
    machine.sweep()
    assert machine.rings == [RingRun("default", machine.run)]


def test_a_sweep_ends_it_where_no_worker_comes(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = asleep(Machine(database, NAP))
    monkeypatch.setattr(waking, "OURS", 5.0)
    assert machine.sweep().waits == 1
    assert steps(machine) == [("nap", "succeeded", 0, 0), ("say", "ready", 0, 0)]


def test_a_sweep_does_not_leave_to_the_workers_what_is_too_much_for_them(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = [asleep(Machine(database, NAP)) for _ in range(8)]
    monkeypatch.setattr(waking, "MOST", 8)
    assert machines[0].sweep().waits == 8
    monkeypatch.setattr(waking, "MOST", 64)
    assert {each.status() for each in machines} == {"running"}


def test_the_step_behind_it_is_rung_for_where_this_message_may_not_carry_it(database: Database) -> None:
    machine = asleep(Machine(database, NAP))
    machine.keeps = False
    executing.dispatch(machine.runtime, "default", machine.run)
    assert steps(machine) == [("nap", "succeeded", 0, 0), ("say", "ready", 0, 0)]
    assert len(machine.rings) == 1
    machine.answer()
    assert machine.status() == "succeeded"


def test_who_was_brought_a_step_ends_sleeps_of_others(database: Database) -> None:
    other, machine = asleep(Machine(database, NAP)), asleep(Machine(database, NAP))
    machine.keeps = False
    executing.end_sleeps(machine.runtime, Budget(600.0))
    assert [steps(each)[0] for each in (machine, other)] == [("nap", "succeeded", 0, 0)] * 2
    machine.keeps = True
    assert len(machine.rings) == 2
    machine.answer()
    assert {machine.status(), other.status()} == {"succeeded"}


def test_of_two_workers_that_choose_the_same_one_ends_it(database: Database) -> None:
    machine = asleep(Machine(database, NAP))
    first = waking.one_that_is_due(machine.runtime, 0)
    second = waking.one_that_is_due(machine.runtime, 0)
    assert first is not None
    assert second is not None
    assert waking.tell(machine.runtime, *first) is not None
    before = look(database, "select version from wf_run")
    assert waking.tell(machine.runtime, *second) is None
    assert look(database, "select version from wf_run") == before


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "not landed"])
def test_a_step_behind_a_sleep_whose_commit_got_no_answer_is_gone_on_with(
    database: Database, monkeypatch: pytest.MonkeyPatch, landed: bool
) -> None:
    for at in range(20):
        machine, cut = asleep(Machine(database, NAP)), Cut(at, landed)
        with cut.on(monkeypatch), suppress(CommitUnknown):
            executing.dispatch(machine.runtime, "default", machine.run)
        assert not machine.tokens, f"cut at commit {at}"
        assert machine.status() == "succeeded" or machine.work() == "succeeded", f"cut at commit {at}"
        assert steps(machine) == [("nap", "succeeded", 0, 0), ("say", "succeeded", 1, 0)], f"cut at commit {at}"
        assert machine.calls == {"say": 1}, f"cut at commit {at}"
        assert not machine.problems()
        if not cut.happened:
            break
    assert at > 2


def test_a_run_that_was_cancelled_meanwhile_is_not_gone_on_with(database: Database) -> None:
    machine = asleep(Machine(database, NAP))
    machine.put("cancel", reason="changed her mind", by=None)
    executing.end_sleeps(machine.runtime, Budget(600.0))
    assert steps(machine) == [("nap", "waiting", 0, 0)], "a sleep of a run that is about to be cancelled is left alone"
    machine.work()
    assert machine.calls == {}
    assert machine.status() == "cancelled"
    assert not machine.problems()
