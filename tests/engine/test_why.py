"""`runs why`: for each thing that can hold a run up, the cause and the command that helps."""

from __future__ import annotations

import pytest

from tests.engine.machine import Machine
from tests.store.rows import ago, change, look
from wfcelery.engine import executing
from wfcelery.engine.dispatching import drain
from wfcelery.engine.ports import Call, CannotBegin, Outcome, Raised
from wfcelery.errors import NotFound
from wfcelery.service.context import Context
from wfcelery.service.explaining import Explanation, explained
from wfcelery.store.database import Database

ORDER = """
name: order
tasks:
  - {name: pay, action: shop.pay, retry: {count: 1, delay: 2h, jitter: false, max_delay: null}}
  - {name: rest, type: sleep, duration: 2d}
  - {name: pack, action: shop.pay, with_items: [0, 1, 2, 3], concurrency: 1, input: {x: "{{ item }}"}}
  - {name: ship, action: shop.pay, after: [pay, rest, pack]}
"""
PAY = "name: order\ntasks: [{name: pay, action: shop.pay}]"
OOPS = {"type": "Oops", "code": None, "message": "no luck"}


def _why(machine: Machine) -> Explanation:
    return explained(Context(machine.database, machine.runtime.settings), machine.run)


def _kinds(machine: Machine) -> list[tuple[str, str | None]]:
    return [(cause.kind, cause.step) for cause in _why(machine).causes]


def _dispatched(machine: Machine) -> Machine:
    """Begun, by a worker whose short lease is not over while we look."""
    change(machine.database, f"update wf_worker set lease_until = {ago(machine.database, -600)}")
    executing.dispatch(machine.runtime, "default", machine.run)
    return machine


def test_a_run_that_nobody_has_begun_says_when_it_will_or_who_is_missing(database: Database) -> None:
    machine = Machine(database, PAY)
    assert _kinds(machine) == [("queued", None)]
    change(database, "update wf_worker set lease_until = started_at")
    assert [(cause.kind, cause.remedy) for cause in _why(machine).causes] == [("nobody_begins", "wfcelery worker")]
    later = "clock_timestamp() + interval '2 hours'" if database.dialect == "postgresql" else "unixepoch() + 7200"
    change(database, f"update wf_run set due_at = {later}")
    assert _kinds(machine) == [("begins_later", None)]
    assert "until 20" in _why(machine).sentences[0]
    with pytest.raises(NotFound):
        explained(Context(database, machine.runtime.settings), machine.worker)


def test_waits_retries_items_and_attempts_are_told_each_with_its_time(database: Database) -> None:
    during: list[list[tuple[str, str | None]]] = []

    def pay(machine: Machine, call: Call) -> Outcome | None:
        during.append(_kinds(machine))
        return Raised(OOPS) if call.name == "pay" else None

    machine = Machine(database, ORDER, pay)
    machine.keeps = False
    _dispatched(machine).answer()
    assert ("executing", "pay") in during[0]
    assert ("items", "pack") in during[0]
    told = {cause.kind: cause for cause in _why(machine).causes}
    assert told.keys() == {"retry", "sleep"}
    assert told["retry"].until is not None
    assert "Oops: no luck" in told["retry"].what
    assert told["sleep"].remedy == f"wfcelery runs skip {machine.run} rest"
    assert any("sleeps" in sentence and "(in 48 h)" in sentence for sentence in _why(machine).sentences)


def test_a_ready_step_says_whether_its_queue_or_its_code_is_missing(database: Database) -> None:
    machine = Machine(database, PAY)
    machine.keeps = False
    _dispatched(machine)
    assert _kinds(machine) == [("queued", "pay")]
    change(database, "update wf_worker set tasks = '[\"shop.ship\"]'")
    assert _kinds(machine) == [("no_code", "pay")]
    change(database, "update wf_worker set queues = '[\"other\"]'")
    assert [cause.remedy for cause in _why(machine).causes] == ["celery -A APP worker -Q celery"]


@pytest.mark.parametrize(("why", "kind"), [("hold:step:pay", "hold"), ("limit:bank", "limit"), ("other", "held")])
def test_a_held_step_says_whether_a_person_or_a_limit_holds_it(database: Database, why: str, kind: str) -> None:
    machine = Machine(database, PAY)
    machine.keeps = False
    _dispatched(machine)
    change(database, "update wf_step set status = 'held', why = :why", why=why)
    assert _kinds(machine) == [(kind, "pay")]


def test_a_parked_call_names_the_workers_that_lack_its_code(database: Database) -> None:
    machine = Machine(database, PAY, lambda *_: CannotBegin("no such step"))
    change(database, "update wf_worker set tasks = '[\"shop.ship\"]'")
    machine.keeps = False
    _dispatched(machine).answer()
    [cause] = _why(machine).causes
    assert (cause.kind, cause.step) == ("parked", "pay")
    assert "w@here lacks it" in cause.what


def test_a_pause_an_ending_and_a_lost_worker_are_told(database: Database) -> None:
    found: list[Explanation] = []

    def meanwhile(machine: Machine, call: Call) -> None:
        change(database, "update wf_worker set lease_until = started_at")
        found.append(_why(machine))
        machine.put("cancel", reason="enough", by="ada")
        drain(machine.runtime, machine.run)
        found.append(_why(machine))

    machine = Machine(database, PAY, meanwhile)
    machine.put("pause", reason="month end", by="ada")
    drain(machine.runtime, machine.run)
    [cause] = _why(machine).causes
    assert (cause.kind, cause.what, cause.remedy) == ("paused", "it is paused: month end", f"wfcelery runs resume {machine.run}")
    machine.put("resume", reason=None, by="ada")
    machine.work()
    assert [cause.kind for cause in found[0].causes] == ["lost"]
    assert [cause.kind for cause in found[1].causes] == ["ending", "lost"]
    assert [(cause.kind, cause.what) for cause in _why(machine).causes] == [("ended", "it was cancelled: enough")]


def test_a_failed_run_names_its_dead_letters_and_what_takes_it_up_again(database: Database) -> None:
    machine = Machine(database, PAY, lambda *_: Raised(OOPS, final=True))
    assert machine.work() == "failed"
    [cause] = _why(machine).causes
    assert cause.what == "step pay failed for good after 1 attempt (non_retryable): Oops: no luck"
    assert cause.remedy == f"wfcelery runs retry {machine.run}"
    machine.put("skip", task="pay", reason="no need", by=None)
    old = look(database, f"select {_long_ago(database)}")[0][0]
    change(database, "update wf_inbox set at = :old", old=old)
    assert [cause.kind for cause in _why(machine).causes] == ["dead_letter", "asked"]
    drain(machine.runtime, machine.run)
    assert _why(machine).causes == []


def _long_ago(database: Database) -> str:
    return "clock_timestamp() - interval '1 hour'" if database.dialect == "postgresql" else "unixepoch() - 3600"
