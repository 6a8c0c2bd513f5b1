"""Pauses that end by themselves: at a time that was asked for, or when there is quota again."""

from __future__ import annotations

import json

import pytest

from tests.engine.machine import Machine
from tests.store.rows import ago, change, look
from wfcelery.engine import executing, quota
from wfcelery.engine.dispatching import drain
from wfcelery.engine.ports import Call, Outcome, Raised
from wfcelery.errors import InvalidInput, Misconfigured
from wfcelery.service import asking, runs
from wfcelery.service.context import Context
from wfcelery.store.database import Database

PAY = "name: order\ntasks: [{name: pay, action: pay}, {name: ship, action: ship, after: [pay]}]"
ITEMS = """
name: order
tasks:
  - {name: pack, action: pack, with_items: [0, 1, 2, 3], concurrency: 2, input: {x: "{{ item }}"}}
"""
SPENT = {"type": "QuotaExceeded", "code": "quota", "message": "no quota for 1m"}
answers: list[object] = []
asked: list[tuple[str, str]] = []


def fake_quota(organization_id: str, workflow: str) -> object:
    """What the test says it says; after that, that there is quota."""
    asked.append((organization_id, workflow))
    answer = answers.pop(0) if answers else None
    if isinstance(answer, Exception):
        raise answer
    return answer


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    answers.clear()
    asked.clear()


def _with_a_hook(database: Database, text: str = PAY) -> Machine:
    machine = Machine(database, text)
    path = f"{__name__}:fake_quota"
    machine.runtime.settings = machine.runtime.settings.model_copy(update={"quota_hook": path})
    return machine


def _its_time_comes(machine: Machine) -> None:
    change(machine.database, f"update wf_run set resume_at = {ago(machine.database, 1)} where resume_at is not null")
    machine.sweep()


def test_a_pause_until_a_time_ends_by_itself_and_not_before(database: Database) -> None:
    machine = Machine(database, PAY, lambda machine, call: asking.pause(context, machine.run, "month end", "ada", "2h"))
    context = Context(database, machine.runtime.settings)
    executing.dispatch(machine.runtime, "default", machine.run)
    machine.answer()
    assert machine.status() == "paused"
    machine.sweep()
    assert machine.status() == "paused"
    view = runs.shown(context, str(machine.run))
    assert view.resumes is not None
    assert 7_000 < (view.resumes - view.created).total_seconds() < 7_300
    assert not machine.problems()
    machine.meanwhile = None
    _its_time_comes(machine)
    assert machine.work() == "succeeded"
    assert not machine.problems()
    with pytest.raises(InvalidInput):
        asking.pause(context, machine.run, "month end", None, "soon")


@pytest.mark.promise("B13")
def test_a_run_without_quota_is_paused_before_it_begins_anything_and_resumed_when_the_hook_says_yes(database: Database) -> None:
    machine = _with_a_hook(database)
    answers.extend([False, "5m"])
    executing.dispatch(machine.runtime, "default", machine.run)
    assert look(database, "select status, reason from wf_run") == [("paused", "quota")]
    assert not machine.calls
    _its_time_comes(machine)
    assert machine.status() == "paused", "the hook was asked again, and said five minutes"
    machine.sweep()
    assert asked == [("default", "order")] * 2, "and not once more before they are over"
    _its_time_comes(machine)
    assert machine.work() == "succeeded"
    assert machine.calls == {"pay": 1, "ship": 1}
    assert not machine.problems()


@pytest.mark.promise("B13")
def test_a_person_resumes_a_run_that_waits_for_quota(database: Database) -> None:
    machine = _with_a_hook(database)
    answers.append(3600)
    executing.dispatch(machine.runtime, "default", machine.run)
    machine.put("resume", reason=None, by="ada")
    drain(machine.runtime, machine.run)
    assert machine.work() == "succeeded"
    assert look(database, "select resume_at from wf_run") == [(None,)]


@pytest.mark.parametrize("text", [PAY, ITEMS], ids=["a step", "an item"])
def test_a_step_that_has_used_up_its_quota_pauses_its_run_and_spends_no_retry(database: Database, text: str) -> None:
    def spent(machine: Machine, call: Call) -> Outcome | None:
        return Raised(SPENT, quota=60.0) if machine.calls.total() == 1 else None

    machine = Machine(database, text, spent)
    executing.dispatch(machine.runtime, "default", machine.run)
    machine.answer()
    assert look(database, "select status, reason from wf_run") == [("paused", "quota")]
    assert look(database, "select attempt, failures from wf_step where attempt > 0 and error is not null") == [(1, 0)]
    assert not machine.problems()
    _its_time_comes(machine)
    assert machine.work() == "succeeded"
    assert look(database, "select count(*) from wf_dead_letter") == [(0,)]
    told = [fact["fact"] for (facts,) in look(database, "select facts from wf_history order by version") for fact in json.loads(facts)]
    assert told.count("step_put_off") == 1
    assert not machine.problems()


def test_a_hook_that_raises_lets_nothing_through_and_one_that_is_none_says_so(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    machine = _with_a_hook(database)
    answers.append(RuntimeError("the quota service is away"))
    executing.dispatch(machine.runtime, "default", machine.run)
    assert machine.status() == "paused"
    assert "quota: the hook raised" in caplog.text
    _its_time_comes(machine)
    assert machine.work() == "succeeded"
    for path in ("no.such.module:hook", f"{__name__}:nothing", f"{__name__}:PAY", "hook"):
        with pytest.raises(Misconfigured):
            quota.find_hook(path)
