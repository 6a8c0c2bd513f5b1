"""What a run has done is undone in the reverse order of its ends, each once, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from tests.engine.machine import Cut, Machine
from tests.store.rows import change, look
from wfcelery import Compensate, step, workflow
from wfcelery.authoring.yaml import load_yaml
from wfcelery.core.decision import RingRun
from wfcelery.definition.model import signature
from wfcelery.definition.values import loads
from wfcelery.engine import executing
from wfcelery.engine.ports import Call, Outcome, Raised
from wfcelery.errors import NotAllowedNow
from wfcelery.service import dead_letters
from wfcelery.service.context import Context
from wfcelery.settings import Settings
from wfcelery.store.database import Database

ORDER = """
name: order
tasks:
  - {name: reserve, action: reserve, input: {sku: 7}, compensate: release}
  - {name: charge, action: charge, after: reserve, input: {amount: 9}, compensate: refund}
  - {name: label, action: label, after: reserve, with_items: [a, b, c], input: {line: "{{ item }}"}, compensate: unlabel}
  - {name: ship, action: ship, after: [charge, label]}
"""
UNKNOWN = """
name: order
tasks:
  - {name: reserve, action: reserve, compensate: release}
  - {name: charge, action: charge, after: reserve, compensate: {action: refund, even_if_unknown: true}}
"""
FATAL = Raised({"type": "Full", "code": None, "message": "no room"}, final=True)


PAGE = Path(__file__).parents[2] / "docs" / "reference" / "compensation.md"


class Ledger:
    """What was executed, in its order, and with which arguments; some actions fail."""

    def __init__(self, *failing: str, then: Callable[[Machine, Call], Outcome | None] | None = None) -> None:
        self.failing, self.then = set(failing), then
        self.said: list[tuple[str, object, object]] = []

    def __call__(self, machine: Machine, call: Call) -> Outcome | None:
        self.said.append((call.action, call.input, dict(call.offered)))
        found = None if self.then is None else self.then(machine, call)
        return found or (FATAL if call.action in self.failing else None)

    @property
    def undone(self) -> list[str]:
        names = [action for action, _, _ in self.said]
        return names[names.index("ship") + 1 :] if "ship" in names else names


def _error(database: Database) -> dict[str, object]:
    [(error,)] = look(database, "select error from wf_run")
    return dict(loads(error))


def _statuses(database: Database) -> dict[str, str]:
    return {str(name): str(status) for name, status in look(database, "select name, status from wf_step where item = -1")}


def test_a_failure_undoes_what_was_done_the_last_first(database: Database) -> None:
    ledger = Ledger("ship")
    machine = Machine(database, ORDER, ledger)
    assert machine.work() == "failed"
    assert sorted(ledger.undone) == ["refund", "release", "unlabel", "unlabel", "unlabel"]
    assert ledger.undone[-1] == "release", "it ended first"
    by_name = {action: (given, offered) for action, given, offered in ledger.said}
    assert by_name["refund"] == ({"amount": 9}, {"result": "charge"})
    assert by_name["release"] == ({"sku": 7}, {"result": "reserve"})
    assert [given for action, given, _ in ledger.said if action == "unlabel"] == [{"line": "c"}, {"line": "b"}, {"line": "a"}]
    statuses = _statuses(database)
    assert {statuses[name] for name in ("reserve", "charge", "label")} == {"compensated"}
    assert statuses["ship"] == "failed"
    assert _error(database)["message"] == "no room"
    assert not machine.problems()


def test_what_ended_last_is_undone_first(database: Database) -> None:
    ledger = Ledger("ship")
    machine = Machine(database, ORDER, ledger)
    assert machine.work() == "failed"
    forward = [action for action, _, _ in ledger.said[: -len(ledger.undone)]]
    last = "label" if forward.index("charge") < forward.index("label") else "charge"
    assert ledger.undone[0] == {"label": "unlabel", "charge": "refund"}[last]


def test_a_compensation_that_fails_leaves_a_letter_and_the_others_still_run(database: Database) -> None:
    ledger = Ledger("ship", "refund")
    machine = Machine(database, ORDER, ledger)
    assert machine.work() == "failed"
    assert sorted(ledger.undone) == ["refund", "release", "unlabel", "unlabel", "unlabel"]
    assert _error(database)["message"] == "no room; compensation incomplete: charge"
    assert look(database, "select name, status from wf_dead_letter order by name") == [("charge:compensate", "open"), ("ship", "open")]
    assert _statuses(database)["charge"] == "succeeded"
    assert not machine.problems()

    ledger.failing.clear()
    assert _retried(machine, "charge:compensate") == "failed"
    assert _error(database)["message"] == "no room"
    assert _statuses(database)["charge"] == "compensated"
    assert ledger.undone.count("refund") == 2
    assert not machine.problems()


def _retried(machine: Machine, letter: str) -> str:
    """Try the step of this dead letter once more, and work until its run has ended again."""
    [(step,)] = look(machine.database, "select step from wf_dead_letter where name = :letter", letter=letter)
    machine.put("retry", step=str(UUID(str(step))), by="ada")
    executing.dispatch(machine.runtime, "default", machine.run)
    return machine.work()


@pytest.mark.parametrize("known", [False, True], ids=["known", "even if unknown"])
def test_an_attempt_of_unknown_outcome_is_undone_where_asked(database: Database, known: bool) -> None:
    ledger = Ledger("charge")
    text = UNKNOWN if known else UNKNOWN.replace(", even_if_unknown: true", "")
    machine = Machine(database, text, ledger)
    assert machine.work() == "failed"
    undone = [action for action, _, _ in ledger.said[2:]]
    assert undone == (["refund", "release"] if known else ["release"])
    assert not machine.problems()


def test_a_letter_that_cannot_be_tried_again_now_is_refused_before_anything_is_written(database: Database) -> None:
    ledger = Ledger("ship", "refund")
    machine = Machine(database, ORDER, ledger)
    assert machine.work() == "failed"
    context = Context(database, Settings())
    letters = {str(name): str(UUID(str(id_))) for name, id_ in look(database, "select name, id from wf_dead_letter")}
    with pytest.raises(NotAllowedNow, match="what it had done was undone"):
        dead_letters.retry(context, [letters["ship"]])
    for status in ("paused", "compensating"):
        change(database, f"update wf_run set status = '{status}', ended_at = null")
        for letter in letters.values():
            with pytest.raises(NotAllowedNow, match="is paused; resume it" if status == "paused" else "is undoing what it has done"):
                dead_letters.retry(context, [letter])
    assert look(database, "select count(*) from wf_inbox") == [(0,)]


@step
def reserve(sku: int) -> str:
    return str(sku)


@step
def release(sku: int, result: str | None = None) -> None:
    """Give it back."""


def test_python_and_yaml_say_a_compensation_alike() -> None:
    @workflow(name="undone")
    def undone() -> None:
        reserve.options(compensate=Compensate(release, even_if_unknown=True, timeout="30s"))(7)

    text = f"""
name: undone
tasks:
  - name: reserve
    action: {reserve.name}
    input: {{sku: 7}}
    compensate: {{action: {release.name}, even_if_unknown: true, timeout: 30s}}
"""
    assert signature(undone.definition) == signature(load_yaml(text))


def test_the_workflow_of_the_page_undoes_and_calls_its_hooks(database: Database) -> None:
    text = PAGE.read_text().split("```yaml\n")[1].split("```")[0]
    ledger = Ledger("shop.ship")
    machine = Machine(database, text, ledger)
    assert machine.work() == "failed"
    names = [action for action, _, _ in ledger.said]
    assert names[2:] == ["shop.ship", "shop.refund", "shop.release", "shop.tell", "shop.close"]
    assert ledger.said[-2][1] == {"what": "no room", "how": "failed"}
    _, given, offered = ledger.said[-1]
    assert given == {}
    assert isinstance(offered, dict)
    assert offered["ending"] == "failed"
    assert not machine.problems()


def test_a_pause_holds_the_next_compensation_and_terminate_ends_at_once(database: Database) -> None:
    def asked(machine: Machine, call: Call) -> Outcome | None:
        if call.action == "refund":
            machine.put("pause", reason="look", by="ada")
        return None

    ledger = Ledger("ship", then=asked)
    machine = Machine(database, ORDER, ledger)
    machine.rings.append(RingRun("default", machine.run, "celery"))
    machine.answer()
    executing.dispatch(machine.runtime, "default", machine.run)
    machine.answer()
    assert machine.status() == "paused"
    assert "release" not in ledger.undone
    machine.put("terminate", reason="enough", by="ada")
    assert machine.work() == "failed"
    assert "release" not in ledger.undone
    assert "compensation incomplete" in str(_error(database)["message"])
    assert not machine.problems()


@pytest.mark.parametrize("landed", [False, True], ids=["before it landed", "after it landed"])
@pytest.mark.parametrize("at", [9, 15, 21, 27])
def test_a_lost_answer_changes_neither_order_nor_count(database: Database, monkeypatch: pytest.MonkeyPatch, at: int, landed: bool) -> None:
    ledger = Ledger("ship")
    machine = Machine(database, ORDER, ledger)
    with Cut(at, landed).on(monkeypatch):
        assert machine.work() == "failed"
    undone = list(dict.fromkeys(ledger.undone))
    assert undone[-1] == "release"
    assert {status for name, status in _statuses(database).items() if name.endswith(":compensate")} == {"succeeded"}
    assert not machine.problems()
