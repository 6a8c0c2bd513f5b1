"""What people are asked and answer: the first answer that may be given counts, in time, and what does not count changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.engine.machine import Machine
from tests.store.rows import change, look
from wfcelery.core.decision import ApprovalNotice
from wfcelery.engine.dispatching import drain
from wfcelery.store.database import Database

ASK = """
name: order
vars: {id: 7}
tasks:
  - {name: ask, type: approval, title: "Order {{ vars.id }}", assignees: ["role:finance", ada], form: {reason: string}%s}
  - {name: ship, action: ship, needs: ask, input: {by: "{{ task.ask.result.by }}", why: "{{ task.ask.result.form.reason }}"}}
  - {name: sorry, action: sorry, after: {ask: [%s]}, input: {why: "{{ task.ask.error.message }}"}}
"""
TIMES = ", remind: 1h, escalate: [{after: 2h, to: role:cfo}, {after: 5h, to: [role:ceo, bob]}], timeout: 1d"
told: list[ApprovalNotice] = []


def listen(notice: ApprovalNotice) -> None:
    """What the setting `on_approval` names in these tests."""
    told.append(notice)


def _asked(database: Database, more: str = "", handles: str = "failed, timed_out") -> Machine:
    machine = Machine(database, ASK % (more, handles))
    drain(machine.runtime, machine.run)
    machine.answer()
    assert _status(database, "ask") == "waiting"
    return machine


def _answer(
    machine: Machine, verb: str = "approve", by: str = "ada", roles: tuple[str, ...] = (), form: Any = None, comment: Any = None
) -> None:
    machine.put(verb, task="ask", by=by, roles=list(roles), form=form, comment=comment, reason=comment)


def _status(database: Database, step: str) -> str | None:
    rows = look(database, f"select status from wf_step where name = '{step}'")
    return str(rows[0][0]) if rows else None


def _facts(database: Database) -> list[dict[str, Any]]:
    return [fact for (facts,) in look(database, "select facts from wf_history order by version") for fact in json.loads(facts)]


def _told(database: Database, *words: str) -> list[dict[str, Any]]:
    return [fact for fact in _facts(database) if fact["fact"] in words]


def _age(database: Database, hours: float) -> None:
    """The approval was opened so long ago."""
    span = f"make_interval(secs => {hours * 3600})" if database.dialect == "postgresql" else str(hours * 3600)
    change(database, f"update wf_wait set opened_at = opened_at - {span}, due_at = due_at - {span}")


def test_an_approval_is_worth_who_when_and_what(database: Database) -> None:
    machine = _asked(database)
    _answer(machine, by="bob", roles=("clerk", "finance"), form={"reason": "fine"}, comment="go on")

    assert machine.work() == "succeeded"
    [(output,)] = look(database, "select output from wf_step where name = 'ask'")
    found = json.loads(output)
    assert (found["by"], found["comment"], found["form"], found["at"]["$wf"][0]) == ("bob", "go on", {"reason": "fine"}, "datetime")
    assert _status(database, "sorry") == "skipped"
    assert look(database, "select status, outcome from wf_wait") == [("met", "approved")]
    assert not machine.problems()


@pytest.mark.parametrize(("handles", "ends"), [("failed", "succeeded"), ("timed_out", "failed")])
def test_a_rejection_is_a_failure_that_a_transition_handles_or_that_stops_the_run(database: Database, handles: str, ends: str) -> None:
    machine = _asked(database, handles=handles)
    _answer(machine, "reject", comment="too dear")

    assert machine.work() == ends
    [(error,)] = look(database, "select error from wf_step where name = 'ask'")
    assert json.loads(error) == {"type": "Rejected", "code": "rejected", "message": "too dear"}
    assert look(database, "select count(*) from wf_dead_letter") == [(0,)]
    assert look(database, "select status, outcome from wf_wait") == [("met", "rejected")]
    assert not machine.problems()


def test_who_is_not_asked_is_refused_and_the_run_stands(database: Database) -> None:
    machine = _asked(database)
    _answer(machine, by="eve", roles=("sales",), form={"reason": "me"})
    drain(machine.runtime, machine.run)

    [refused] = _told(database, "answer_refused")
    assert refused["by"] == "eve"
    assert "none of those who are asked: role:finance, ada" in refused["why"]
    assert _status(database, "ask") == "waiting"
    assert machine.status() == "waiting"
    assert not machine.problems()


def test_an_answer_that_does_not_say_what_is_asked_is_refused(database: Database) -> None:
    machine = _asked(database)
    _answer(machine, form={"reason": 5, "more": 1})
    drain(machine.runtime, machine.run)

    [refused] = _told(database, "answer_refused")
    assert refused["why"].startswith("form.reason: it is of type string, not integer; form.more: there is no such key")
    assert _status(database, "ask") == "waiting"


def test_the_first_answer_counts_and_the_second_is_told_so(database: Database) -> None:
    machine = _asked(database)
    _answer(machine, form={"reason": "first"})
    _answer(machine, "reject", comment="second")

    assert machine.work() == "succeeded"
    _answer(machine, "reject", comment="third")
    drain(machine.runtime, machine.run)
    assert [fact["why"] for fact in _told(database, "answer_refused")] == ["it is succeeded", "the run is succeeded"]
    assert not machine.problems()


@pytest.mark.parametrize(("hours", "ends"), [(23.999, "succeeded"), (24.001, "timed_out")])
def test_an_answer_counts_by_its_own_time_not_by_when_it_is_looked_at(database: Database, hours: float, ends: str) -> None:
    machine = _asked(database, TIMES)
    _answer(machine, form={"reason": "just"})
    _age(database, hours)  # nobody has looked at either of them until now
    machine.sweep()

    assert _status(database, "ask") == ends
    assert machine.work() == "succeeded"
    assert not machine.problems()


def test_people_are_reminded_and_others_are_asked_when_it_takes_long(database: Database) -> None:
    told.clear()
    machine = Machine(database, ASK % (TIMES, "timed_out"))
    machine.runtime.settings = machine.runtime.settings.model_copy(update={"on_approval": f"{__name__}.listen"})
    drain(machine.runtime, machine.run)
    machine.answer()
    for hours in (1, 2.5):  # 1 h and 3.5 h after it was opened: the second reminder is over when somebody looks, and so is the third
        _age(database, hours)
        machine.sweep()

    assert [fact["number"] for fact in _told(database, "approval_reminded")] == [1, 3]
    assert [fact["to"] for fact in _told(database, "approval_escalated")] == [["role:cfo"]]
    assert [notice.what for notice in told] == ["opened", "reminded", "escalated", "reminded"]
    assert (told[0].title, told[0].assignees, told[-1].assignees) == (
        "Order 7",
        ("role:finance", "ada"),
        ("role:finance", "ada", "role:cfo"),
    )
    _answer(machine, by="cleo", roles=("cfo",), form={"reason": "late"})
    assert machine.work() == "succeeded"
    assert not machine.problems()


def test_too_late_is_timed_out(database: Database) -> None:
    machine = _asked(database, TIMES)
    _age(database, 25)
    machine.sweep()

    assert _status(database, "ask") == "timed_out"
    assert machine.work() == "succeeded"
    assert _status(database, "sorry") == "succeeded"
    assert look(database, "select status from wf_wait") == [("due",)]
    assert not machine.problems()


def test_what_is_asked_can_be_put_before_others(database: Database) -> None:
    machine = _asked(database)
    machine.put("assign", task="ask", to=["role:legal"], by="ada")
    _answer(machine, form={"reason": "mine"})
    _answer(machine, by="dan", roles=("legal",), form={"reason": "ours"})

    assert machine.work() == "succeeded"
    assert [fact["by"] for fact in _told(database, "answer_refused")] == ["ada"]
    assert not machine.problems()


def test_a_listener_that_fails_changes_nothing(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(database, ASK % ("", "failed"))
    machine.runtime.settings = machine.runtime.settings.model_copy(update={"on_approval": "json.dumps"})
    drain(machine.runtime, machine.run)

    assert _status(database, "ask") == "waiting"
    assert "on_approval failed for step ask" in caplog.text
