"""A paused run: what is under way ends as it ends, nothing new begins, and a resume takes everything up where it stood."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from tests.engine.machine import Machine
from tests.engine.test_facts_from_outside import GRAPH, PAY
from tests.store.rows import change, look
from wfcelery.clock import uuid7
from wfcelery.engine import executing
from wfcelery.engine.dispatching import drain
from wfcelery.engine.ports import Call, Outcome, Raised, ReportedItself
from wfcelery.engine.runtime import Runtime
from wfcelery.store.database import Database
from wfcelery.store.transactional import report

ITEMS = """
name: order
tasks:
  - {name: pack, action: pack, with_items: [0, 1, 2, 3, 4, 5, 6, 7], concurrency: 2, input: {x: "{{ item }}"}}
  - {name: ship, action: ship, after: [pack]}
"""
RETRIED = """
name: order
tasks:
  - {name: pay, action: pay, retry: {count: 1, delay: 2d, jitter: false, max_delay: null}}
"""


def _pausing(during: str) -> Callable[[Machine, Call], Outcome | None]:
    """Pause the run while this step, or item, is executed for the first time."""

    def pause(machine: Machine, call: Call) -> None:
        executed = call.name if call.item < 0 else f"{call.name}[{call.item}]"
        if executed == during and machine.calls[during] == 1:
            machine.put("pause", reason="month end", by="ada")

    return pause


def _put_in_turn(machine: Machine, *facts: str) -> None:
    """Each a millisecond after the one before it: within one the inbox knows no order."""
    for fact in facts:
        machine.put(fact, reason="month end", by=None)
        put = uuid7()
        while uuid7().int >> 80 == put.int >> 80:
            pass


def _until_it_rests(machine: Machine) -> None:
    executing.dispatch(machine.runtime, "default", machine.run)
    machine.answer()


def _resumed(machine: Machine) -> str:
    machine.put("resume", reason=None, by="ada")
    return machine.work()


@pytest.mark.parametrize("keeps", [True, False], ids=["steps are kept", "steps are rung"])
@pytest.mark.parametrize("during", ["a", "b", "pack[0]"])
def test_a_pause_is_applied_by_whoever_commits_next(database: Database, during: str, keeps: bool) -> None:
    machine = Machine(database, GRAPH, _pausing(during))
    machine.keeps = keeps
    _until_it_rests(machine)
    assert machine.status() == "paused"
    assert list(machine.calls)[-1] == during, "nothing begins after the pause"
    assert look(database, "select count(*) from wf_step where status in ('ready', 'running')") == [(0,)]
    assert not machine.tokens
    assert not machine.rings
    assert not machine.problems()
    assert _resumed(machine) == "succeeded"
    assert set(machine.calls.values()) == {1}, "each once"
    assert not machine.problems()


def test_a_kept_step_goes_back_as_held_where_another_has_applied_the_pause_before(database: Database) -> None:
    machine = Machine(database, PAY, _pausing("pay"))
    plain = executing._still_wanted

    def after_another(runtime: Runtime, run: UUID, kept: tuple[UUID, UUID]) -> object:
        drain(runtime, run)
        assert look(database, "select status from wf_step where name = 'ship'") == [("running",)]
        return plain(runtime, run, kept)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(executing, "_still_wanted", after_another)
        executing.dispatch(machine.runtime, "default", machine.run)
    assert machine.status() == "paused"
    assert look(database, "select status, why, attempt from wf_step where name = 'ship'") == [("held", "paused", 0)]
    assert machine.calls == {"pay": 1}
    assert not machine.problems()
    assert _resumed(machine) == "succeeded"


def test_a_fan_out_takes_up_as_many_items_as_its_concurrency_allows(database: Database) -> None:
    machine = Machine(database, ITEMS, _pausing("pack[1]"))
    machine.keeps = False
    _until_it_rests(machine)
    assert machine.status() == "paused"
    done = sum(count for name, count in machine.calls.items() if name.startswith("pack"))
    assert 0 < done < 8
    machine.put("resume", reason=None, by=None)
    drain(machine.runtime, machine.run)
    assert look(database, "select count(*) from wf_step where item >= 0 and status = 'ready'") == [(min(2, 8 - done),)]
    assert not machine.problems()
    assert machine.work() == "succeeded"
    assert set(machine.calls.values()) == {1}


def test_a_retry_that_is_held_keeps_its_time(database: Database) -> None:
    def fail(machine: Machine, call: Call) -> Outcome | None:
        machine.put("pause", reason="month end", by=None)
        return Raised({"type": "Broke", "code": None, "message": ""})

    machine = Machine(database, RETRIED, fail)
    _until_it_rests(machine)
    in_a_day = "due_at > {}".format("clock_timestamp() + interval '1 day'" if database.dialect == "postgresql" else "unixepoch() + 86400")
    assert machine.status() == "paused"
    assert look(database, f"select status, why, {in_a_day} from wf_step") == [("held", "paused", 1)]
    machine.put("resume", reason=None, by=None)
    drain(machine.runtime, machine.run)
    assert look(database, f"select status, why, {in_a_day} from wf_step") == [("ready", None, 1)]
    assert machine.status() == "running"
    assert not machine.problems()


def test_a_paused_run_can_be_cancelled_and_a_terminated_one_fences_what_is_under_way(database: Database) -> None:
    machine = Machine(database, GRAPH, _pausing("a"))
    _until_it_rests(machine)
    machine.put("cancel", reason="enough", by=None)
    assert machine.work() == "cancelled"
    assert not machine.problems()

    def terminate(other: Machine, call: Call) -> None:
        other.put("terminate", reason="enough", by=None)
        drain(other.runtime, other.run)

    other = Machine(database, PAY, terminate)
    executing.dispatch(other.runtime, "default", other.run)
    assert other.status() == "cancelled"
    assert look(database, "select status, why from wf_step where run = :run", run=other.run) == [("cancelled", "stopped:running")]
    assert other.calls == {"pay": 1}
    assert not other.problems()


def test_what_cannot_be_paused_or_resumed_says_so_in_its_history(database: Database) -> None:
    machine = Machine(database, PAY)
    machine.put("resume", reason=None, by="ada")
    assert machine.work() == "succeeded"
    assert look(database, "select count(*) from wf_history where facts like '%resume_refused%'") == [(1,)]


def test_a_run_that_has_not_begun_is_not_paused_and_begins_when_its_time_comes(database: Database) -> None:
    """A refusal that was written into its history made version 1 of it, and a run without an open step has ended."""
    machine = Machine(database, PAY)
    later = "clock_timestamp() + interval '1 day'" if database.dialect == "postgresql" else "unixepoch() + 86400"
    change(database, f"update wf_run set due_at = {later}")
    machine.put("pause", reason="month end", by=None)
    drain(machine.runtime, machine.run)
    assert look(database, "select status, version from wf_run") == [("pending", 0)]
    assert not look(database, "select id from wf_inbox")
    change(database, "update wf_run set due_at = created_at")
    assert machine.work() == "succeeded"


def test_a_run_that_is_paused_as_it_begins_holds_its_first_steps(database: Database) -> None:
    machine = Machine(database, ITEMS)
    machine.put("pause", reason="month end", by=None)
    drain(machine.runtime, machine.run)
    assert look(database, "select status, why, count(*) from wf_step group by status, why order by status, why") == [
        ("held", "concurrency", 6),
        ("held", "paused", 2),
        ("waiting", None, 1),
    ]
    assert not machine.problems()
    assert _resumed(machine) == "succeeded"


def test_an_end_that_comes_with_the_pause_lets_no_held_item_go(database: Database) -> None:
    """Both were in the inbox: the item that the end let go was written ready behind the pause's back."""

    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        if machine.calls.total() > 1:
            return None
        with database.transaction() as tx:
            report(tx, "default", call.run, call.step, call.token, '"packed"')
        machine.put("pause", reason="month end", by=None)
        return ReportedItself()

    machine = Machine(database, ITEMS, meanwhile)
    machine.keeps = False
    _until_it_rests(machine)
    assert machine.status() == "paused"
    assert machine.calls == {"pack[0]": 1}
    assert look(database, "select count(*) from wf_step where status = 'ready'") == [(0,)]
    assert not machine.problems()
    assert _resumed(machine) == "succeeded"


def test_of_a_pause_and_a_resume_in_one_drain_the_last_is_meant(database: Database) -> None:
    machine = Machine(database, PAY, _pausing("pay"))
    _until_it_rests(machine)
    assert machine.status() == "paused"
    _put_in_turn(machine, "resume", "pause")
    drain(machine.runtime, machine.run)
    assert machine.status() == "paused"
    _put_in_turn(machine, "pause", "resume")
    assert machine.work() == "succeeded"
