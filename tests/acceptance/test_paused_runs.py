"""Pause, resume and terminate, through real workers: in Python and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet

SHORT = {"WFCELERY_POLL": "0.3", "WFCELERY_LEASE": "3"}
MIDDLE = "slow_in_the_middle.bind('a', 1.0)"
EXECUTING = "select name from wf_step where run = cast(:run as uuid) and status = 'running'"
STEPS = "select name, status, why from wf_step where run = cast(:run as uuid) order by name"


@pytest.fixture(scope="module")
def here(make_shared_fleet: Callable[..., Fleet]) -> Fleet:
    fleet = make_shared_fleet(environment=SHORT)
    return fleet.ready(fleet.worker(concurrency=2))


def executing(fleet: Fleet, run: str, step: str) -> None:
    eventually(lambda: fleet.query(EXECUTING, run=run) == [(step,)], within=20)


@pytest.mark.promise("E20")
def test_six_verbs_in_python(here: Fleet) -> None:
    run = here.start(MIDDLE)
    executing(here, run, "slow")
    here.shell(f"get_run({run!r}).pause('month end', by='ada')")
    eventually(lambda: here.query(STEPS, run=run)[-1] == ("third", "held", "paused"), within=20)
    assert here.status(run) == "paused"
    assert here.query("select reason from wf_run where id = cast(:run as uuid)", run=run) == [("month end",)]
    here.shell(f"get_run({run!r}).resume(by='bob')")
    assert here.ended(run) == "succeeded"
    assert here.query("select actor, verb, reason from wf_audit where run = cast(:run as uuid) order by at", run=run) == [
        ("ada", "pause", "month end"),
        ("bob", "resume", None),
    ]
    other = here.start(MIDDLE)
    executing(here, other, "slow")
    here.shell(f"get_run({other!r}).cancel('enough')")
    assert here.ended(other) == "cancelled"
    assert here.faults() == {}


@pytest.mark.promise("E20")
def test_six_verbs_on_the_command_line(here: Fleet) -> None:
    given = json.dumps({"word": "a", "seconds": 6.0})
    run = json.loads(here.run("runs", "start", "slow_in_the_middle", given, "--json"))["id"]
    executing(here, run, "slow")
    assert json.loads(here.run("runs", "pause", run, "--reason", "month end", "--json"))["asked"] == "pause"
    eventually(lambda: here.query(STEPS, run=run)[-1] == ("third", "held", "paused"), within=20)
    shown = json.loads(here.run("runs", "show", run, "--json"))
    assert (shown["status"], shown["reason"], shown["allowed_actions"]) == (
        "paused",
        "month end",
        ["resume", "cancel", "terminate", "move", "send_event"],
    )
    assert [deed["verb"] for deed in shown["audit"]] == ["pause"]
    assert "month end" in here.run("runs", "show", run)
    here.run("runs", "pause", run, code=4)
    here.run("runs", "resume", run)
    assert here.ended(run) == "succeeded"
    here.run("runs", "resume", run, code=4)


def test_a_terminated_run_has_ended_at_once_and_what_was_under_way_changes_nothing(here: Fleet) -> None:
    run = here.start("slow_in_the_middle.bind('a', 8.0)")
    executing(here, run, "slow")
    here.run("runs", "terminate", run, "--reason", "wrong customer")
    eventually(lambda: here.status(run) == "cancelled", within=10)
    assert ("slow", "cancelled", "stopped:running") in here.query(STEPS, run=run)
    calm = here.start("chain.bind('b')")
    assert here.result(calm) == "b-1-2-3"
    assert here.faults() == {}
