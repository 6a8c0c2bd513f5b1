"""Steps that share a limit, a lock, a rate or a breaker: held while they wait, let go in the commit that makes room."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery import Celery

from tests.engine.machine import Machine
from tests.store.rows import ago, change, look
from wfcelery import adopt, step, workflow
from wfcelery.core.decision import RingRun
from wfcelery.engine import executing
from wfcelery.engine.dispatching import drain
from wfcelery.engine.gating import may_begin
from wfcelery.engine.ports import Call, Outcome, Policy, Raised
from wfcelery.errors import DefinitionProblems, Unavailable
from wfcelery.service.definitions import checked_signature
from wfcelery.store.database import Database
from wfcelery.store.failures import CommitUnknown

SIX = """
name: order
tasks:
{tasks}
"""
BROKE = Raised({"type": "Broke", "code": None, "message": ""})


def six(gate: str, many: int = 6) -> str:
    """So many tasks side by side behind one gate."""
    return SIX.format(tasks="\n".join(f"  - {{name: call{number}, action: call, {gate}}}" for number in range(many)))


def begun(machine: Machine) -> None:
    executing.dispatch(machine.runtime, "default", machine.run)


def statuses(machine: Machine) -> list[tuple[str, str | None, int]]:
    return [
        (str(row[0]), row[1], row[2])
        for row in look(machine.database, "select status, why, count(*) from wf_step group by status, why order by status, why")
    ]


def test_no_more_steps_than_slots_are_ready_and_each_that_ends_lets_the_next_go(database: Database) -> None:
    def watch(machine: Machine, call: Call) -> None:
        [(under_way,)] = look(database, "select count(*) from wf_step where status in ('ready', 'running')")
        assert under_way <= 2
        [(granted,)] = look(database, "select sum(granted) from wf_limit_use")
        assert granted <= 2

    machine = Machine(database, six('limit: {key: "gateway-{{ system.workflow }}", slots: 2}'), watch)
    machine.keeps = False
    begun(machine)
    assert statuses(machine) == [("held", "limit:gateway-order", 4), ("ready", None, 2)]
    assert not machine.problems()
    assert machine.work() == "succeeded"
    assert set(machine.calls.values()) == {1}
    assert not look(database, "select id from wf_limit_use")
    assert not machine.problems()


def test_a_kept_step_has_a_slot_too(database: Database) -> None:
    machine = Machine(database, six("lock: till"))
    begun(machine)
    assert machine.work() == "succeeded"
    assert machine.calls.total() == 6
    assert not look(database, "select id from wf_limit_use")


def test_a_cancelled_run_gives_up_its_slots_and_its_places(database: Database) -> None:
    machine = Machine(database, six("lock: till"))
    machine.keeps = False
    begun(machine)
    machine.rings.clear()
    machine.put("cancel", reason="enough", by=None)
    assert machine.work() == "cancelled"
    assert not look(database, "select id from wf_limit_use")
    assert not machine.calls


def test_a_paused_run_has_no_slot_and_asks_again_when_it_is_resumed(database: Database) -> None:
    machine = Machine(database, six("lock: till", 3))
    machine.keeps = False
    begun(machine)
    machine.put("pause", reason="month end", by=None)
    drain(machine.runtime, machine.run)
    drain(machine.runtime, machine.run)
    assert look(database, "select sum(granted) from wf_limit_use") in ([(None,)], [(0,)])
    assert statuses(machine) == [("held", "paused", 3)]
    machine.put("resume", reason=None, by=None)
    assert machine.work() == "succeeded"
    assert not look(database, "select id from wf_limit_use")


def test_a_retry_waits_for_its_time_without_a_slot(database: Database) -> None:
    def once(machine: Machine, call: Call) -> Outcome | None:
        return BROKE if call.name == "call0" and call.attempt == 1 else None

    machine = Machine(database, six("lock: till, retry: {count: 1, delay: 300ms, jitter: false}", 2), once)
    machine.keeps = False
    began = time.monotonic()
    assert machine.work() == "succeeded"
    assert time.monotonic() - began >= 0.3
    assert machine.calls == {"call0": 2, "call1": 1}
    assert list(machine.calls) == ["call0", "call1"]
    assert not machine.problems()


def test_a_slot_whose_step_is_no_more_is_taken_back_by_a_sweep(database: Database) -> None:
    machine = Machine(database, six("lock: till", 2))
    machine.keeps = False
    begun(machine)
    leak = "insert into wf_limit_use values ('{}', 'default', 'lock', 'till', '{}', '{}', 1, 0, 0, {}, null)"
    ids = [f"{number:032x}" for number in (1, 2, 3)]
    change(database, "update wf_limit_use set granted = 0, wanted = 1")
    change(database, leak.format(*ids, "now()" if database.dialect == "postgresql" else "0"))
    change(database, "update wf_step set status = 'held', why = 'lock:till', due_at = null, ring_at = null")
    change(database, "update wf_limit set ring_at = {}".format("now()" if database.dialect == "postgresql" else "0"))
    machine.sweep()
    assert look(database, "select count(*) from wf_limit_use") == [(2,)]
    assert machine.work() == "succeeded"


def test_a_rate_gives_each_step_a_time_of_its_own(database: Database) -> None:
    times: list[float] = []

    def note(machine: Machine, call: Call) -> None:
        times.append(time.monotonic())

    machine = Machine(database, six("rate: {limit: 5/s, burst: 2}", 5), note)
    assert machine.work() == "succeeded"
    assert len(times) == 5
    # Two at once, and then one each fifth of a second.
    assert times[-1] - times[0] >= 0.55
    assert all(later - earlier >= 0.35 for earlier, later in zip(times, times[3:], strict=False))


def test_a_breaker_opens_lets_one_through_and_closes(database: Database) -> None:
    broken = True

    def break_down(machine: Machine, call: Call) -> Outcome | None:
        return BROKE if broken else None

    retry = "retry: {count: 9, delay: 10ms, backoff: constant, jitter: false}"
    gate = f"breaker: {{key: gateway, failures: 2, within: 1m, open_for: 300ms}}, {retry}"
    machine = Machine(database, six(gate, 4), break_down)
    machine.keeps = False
    deadline = time.monotonic() + 5
    machine.rings.append(RingRun("default", machine.run, "celery"))
    while not look(database, "select open_until from wf_limit where open_until is not null"):
        machine._turn()
        assert time.monotonic() < deadline
    for _ in range(5):
        machine._turn()
    assert machine.calls.total() == 2, "those that were ready are turned away before their code is called"
    while look(database, "select count(*) from wf_step where status = 'held' and why = 'breaker:gateway'") != [(4,)]:
        machine._turn()
        assert time.monotonic() < deadline
    broken = False
    assert machine.work() == "succeeded"
    assert not look(database, "select id from wf_limit_use")
    assert look(database, "select count(*) from wf_limit where open_until is not null") == [(0,)]
    assert not machine.problems()


def test_two_runs_share_a_lock_and_the_second_is_told_by_the_commit_that_ends_the_first(database: Database) -> None:
    first = Machine(database, six("lock: till", 1))
    second = Machine(database, six("lock: till", 1))
    first.keeps = second.keeps = False
    begun(first)
    begun(second)
    second.rings.clear()
    assert look(database, "select status from wf_step where run = :run", run=second.run) == [("held",)]
    first.answer()
    assert (first.status(), second.status()) == ("succeeded", "succeeded"), "the worker of the first was rung for the second"
    assert first.calls == {"call0": 2}
    assert not look(database, "select id from wf_limit_use")


def test_turns_that_nobody_took_are_not_made_up_for_all_at_once(database: Database) -> None:
    times: list[float] = []
    machine = Machine(database, six("rate: 10/s", 5), lambda *_: times.append(time.monotonic()))
    machine.keeps = False
    begun(machine)
    change(database, f"update wf_step set due_at = {ago(database, 60)}, ring_at = {ago(database, 60)}")
    change(database, f"update wf_limit set turn_at = {ago(database, 60)}")
    assert machine.work() == "succeeded"
    assert len(times) == 5
    assert times[-1] - times[0] >= 0.35
    assert look(database, "select max(attempt) from wf_step") == [(1,)]
    assert not machine.problems()


def test_of_those_that_wait_the_highest_priority_is_first(database: Database) -> None:
    tasks = "".join(f"  - {{name: call{number}, action: call, lock: till, priority: {number % 3}}}\n" for number in range(6))
    machine = Machine(database, "name: order\ntasks:\n" + tasks)
    machine.keeps = False
    assert machine.work() == "succeeded"
    assert [int(name[-1]) % 3 for name in machine.calls] == [0, 2, 2, 1, 1, 0]


def test_items_of_a_step_whose_code_is_limited_are_parked_and_say_why(database: Database) -> None:
    machine = Machine(database, "name: order\ntasks: [{name: pack, action: shop.pack, with_items: [1, 2]}]")
    limited = Policy(gates=({"kind": "rate", "key": "shop.pack", "every": 60.0, "burst": 1},))
    machine.policy = lambda action: limited  # type: ignore[method-assign]
    begun(machine)
    machine.answer()
    assert not machine.calls
    [(status, error)] = look(database, "select distinct status, error from wf_step where item >= 0")
    assert status == "ready"
    assert "the code of shop.pack says rate, which does not hold for items" in error
    assert not machine.problems()
    machine.policy = lambda action: Policy()  # type: ignore[method-assign]
    change(database, "update wf_step set due_at = {0}, ring_at = {0} where status = 'ready'".format(ago(database, 1)))
    change(database, f"update wf_step set ring_at = {ago(database, 1)} where item < 0")
    assert machine.work() == "succeeded"
    assert machine.calls.total() == 2


def test_a_definition_that_calls_a_limited_step_for_items_is_refused_where_the_code_is_known() -> None:
    @step(name="limits.packed", lock="scales")
    def packed(number: int) -> int:
        return number

    @workflow(name="limits.one")
    def one(number: int) -> int:
        return packed(number)

    @workflow(name="limits.each")
    def each(numbers: list[int]) -> list[int]:
        return packed.map(numbers)

    @workflow(name="limits.runs")
    def runs(numbers: list[int]) -> list[int]:
        return one.map(numbers)

    with pytest.raises(DefinitionProblems, match=r"the code of limits\.packed says lock, which does not hold"):
        checked_signature(each.definition)
    assert checked_signature(runs.definition)


def test_a_step_whose_rate_is_asked_while_the_database_is_away_is_not_lost(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    away = [CommitUnknown("cut"), Unavailable("database", "away"), Unavailable("database", "away")]

    def asked(*given: Any) -> bool:
        if away:
            raise away.pop()
        return may_begin(*given)

    monkeypatch.setattr(executing, "may_begin", asked)
    machine = Machine(database, six("rate: 50/s", 2))
    machine.keeps = False
    assert machine.work() == "succeeded"
    assert not away
    assert look(database, "select distinct lost, attempt from wf_step") == [(0, 1)]
    assert not machine.problems()


def test_an_adopted_task_with_a_rate_limit_is_no_step_for_items() -> None:
    app = Celery("limits", set_as_current=False)

    @app.task(name="limits.paced", rate_limit="10/s")
    def old(number: int) -> int:
        return number

    paced = adopt(old, returns=int)

    @workflow(name="limits.adopted")
    def each(numbers: list[int]) -> list[int]:
        return paced.map(numbers)

    with pytest.raises(DefinitionProblems, match=r"the code of limits\.paced says rate_limit"):
        checked_signature(each.definition)
