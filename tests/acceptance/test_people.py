"""People answer what runs ask, and events carry who sent them, through real workers: in Python and on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet
from tests.acceptance.shell import ShellError

SHORT = {"WFCELERY_POLL": "0.3", "WFCELERY_LEASE": "3", "WFCELERY_ON_APPROVAL": "tests.acceptance.desk.tell"}
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "approvals.md"
PUBLISH = "from pathlib import Path\nfrom wfcelery.service import publishing\nfrom wfcelery.service.context import current\n"
STEPS = "select name, status from wf_step where run = cast(:run as uuid) order by name"


@pytest.fixture(scope="module")
def here(make_shared_fleet: Callable[..., Fleet]) -> Fleet:
    fleet = make_shared_fleet(app="tests.acceptance.desk", environment=SHORT)
    return fleet.ready(fleet.worker(concurrency=2))


def asked(fleet: Fleet, run: str) -> dict[str, Any]:
    """What the run asks, once it does."""
    found = eventually(lambda: fleet.run("approvals", "list", "--run", run, "--json"), within=20, what="somebody is asked")
    return dict(json.loads(found))


def steps(fleet: Fleet, run: str) -> dict[str, str]:
    return {str(name): str(status) for name, status in fleet.query(STEPS, run=run)}


@pytest.mark.promise("E25")
def test_an_approval_in_python_is_reminded_of_escalated_refused_to_the_wrong_role_and_given_once(here: Fleet) -> None:
    run = here.start("asked_in_python.bind({'id': 7, 'total': 900})")
    assert asked(here, run)["title"] == "Order 7 over 900.0"
    with pytest.raises(ShellError, match="eve is none of those who are asked: role:finance"):
        here.shell(f"approve({run!r}, 'approve', actor='eve', roles=['sales'], form={{'reason': 'mine'}})")
    with pytest.raises(ShellError, match=r"form.reason: it is missing; form.discount: .*"):
        here.shell(f"approve({run!r}, 'approve', actor='ada', roles=['finance'], form={{'discount': 50}})")
    eventually(lambda: here.facts(run, "answer_refused"), within=10, what="the refusal is recorded")
    assert steps(here, run) == {"approve": "waiting"}
    eventually(lambda: here.facts(run, "approval_escalated"), within=10, what="others are asked")
    assert here.facts(run, "approval_reminded")[0]["number"] == 1

    here.shell(f"approve({run!r}, 'approve', actor='cleo', roles=['cfo'], form=app_module.Note(reason='fine'), comment='go on')")

    assert here.result(run) == "7: fine, says cleo"
    with pytest.raises(ShellError, match="it is succeeded"):
        here.shell(f"reject({run!r}, 'approve', actor='ada', roles=['finance'])")
    deeds = here.query("select actor, verb, reason from wf_audit where run = cast(:run as uuid) order by at", run=run)
    assert deeds == [("eve", "approve", None), ("cleo", "approve", "go on")]
    told = [json.loads(line) for line in (here.effects.path.with_name("notices.jsonl")).read_text(encoding="utf-8").splitlines()]
    assert [what for of, what, *_ in told if of == run][:1] == ["opened"]
    assert ["role:finance", "role:cfo"] in [assignees for of, what, _, assignees in told if (of, what) == (run, "escalated")]
    assert here.faults() == {}


@pytest.mark.promise("E25")
def test_an_approval_of_the_page_on_the_command_line(here: Fleet, tmp_path: Path) -> None:
    [definition] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    file = tmp_path / "large_order.yaml"
    file.write_text(definition, encoding="utf-8")
    here.shell(f"{PUBLISH}publishing.publish(current(), [Path({str(file)!r})])[0].definition.name")
    first, second = (here.start(f"'large_order', {{'order': {{'id': {number}, 'total': 900}}}}") for number in (1, 2))
    for run in (first, second):
        asked(here, run)
    assert "role:finance" in here.run("approvals", "show", first, "approve")
    assert first not in here.run("approvals", "list", "--assignee", "role:sales")
    here.run("approvals", "approve", first, "approve", "--role", "sales", "--form", '{"reason": "no"}', code=4)
    here.run("approvals", "approve", first, "approve", "--role", "finance", "--form", '{"discount": 50}', code=1)

    [shown] = json.loads(here.run("runs", "show", first, "--json"))["steps"]
    assert shown["allowed_actions"] == ["approve", "reject", "assign", "skip", "complete", "cancel_step"]
    given = '{"reason": "good customer", "discount": 5}'
    here.run("approvals", "approve", first, "approve", "--role", "finance", "--by", "ada", "--form", given, "--comment", "go on")
    here.run("approvals", "assign", second, "approve", "role:legal")
    eventually(lambda: asked(here, second)["assignees"] == ["role:legal"], within=10, what="others are asked")
    here.run("approvals", "reject", second, "approve", "--role", "legal", "--comment", "too dear")

    assert here.result(first) == "1: good customer, says ada"
    assert here.ended(second) == "succeeded"
    assert steps(here, second) == {"approve": "failed", "charge": "skipped", "refuse": "succeeded"}
    assert here.query("select count(*) from wf_dead_letter") == [(0,)]
    here.run("approvals", "approve", first, "approve", "--role", "finance", code=4)
    here.run("approvals", "approve", first, "charge", code=3)
    assert here.faults() == {}


@pytest.mark.promise("D18")
def test_an_event_moves_a_run_only_in_the_role_that_its_wait_asks_for(here: Fleet) -> None:
    run = here.start("invoice.bind('A-7')")
    eventually(lambda: steps(here, run).get("created") == "waiting", within=20)
    here.shell("send_event('CreateInvoice', {'number': 'A-7'}, key='A-7', actor='mallory', role='manager')")
    eventually(lambda: here.facts(run, "event_refused"), within=10, what="the manager's is refused")
    assert steps(here, run) == {"created": "waiting"}

    here.shell("send_event('CreateInvoice', {'number': 'A-7'}, key='A-7', actor='ada', role='admin')")
    eventually(lambda: steps(here, run).get("approved") == "waiting", within=20)
    here.run("runs", "send-event", "ApproveInvoice", '{"amount": 1}', "--key", "A-7", "--role", "admin", "--by", "ada")
    eventually(lambda: len(here.facts(run, "event_refused")) == 2, within=10, what="the admin's is refused")
    here.run("runs", "send-event", "ApproveInvoice", '{"amount": 900}', "--key", "A-7", "--role", "manager", "--by", "bob")

    assert here.result(run) == "A-7 over 900"
    assert [fact["by"] for fact in here.facts(run, "event_refused")] == ["mallory", "ada"]
    assert [fact.get("by") for fact in here.facts(run, "wait_met")] == ["ada", "bob"]
    refused = here.query("select status, count(*) from wf_event group by status order by status")
    assert refused == [("consumed", 2), ("refused", 2)]
    assert here.faults() == {}
