"""Limits, rates and breakers over a whole fleet: two real workers, read by SQL while they work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet

SHORT = {"WFCELERY_POLL": "0.3", "WFCELERY_LEASE": "3"}
UNDER_WAY = "select count(*) from wf_step where name like 'call%' and status = 'running'"
GRANTED = "select coalesce(sum(granted), 0) from wf_limit_use where key = 'gateway' and kind = 'limit'"


@pytest.fixture(scope="module")
def here(make_shared_fleet: Callable[..., Fleet]) -> Fleet:
    fleet = make_shared_fleet(app="tests.acceptance.limited_app", environment=SHORT)
    return fleet.ready(fleet.worker("one", concurrency=4), fleet.worker("two", concurrency=4))


def test_two_workers_and_two_hundred_steps_are_never_more_than_three_at_once(here: Fleet) -> None:
    runs = [here.start("calls.bind(0.01)") for _ in range(40)]
    most = 0

    def ended() -> bool:
        nonlocal most
        for look in (UNDER_WAY, GRANTED):
            most = max(most, int(here.query(look)[0][0]))
        return here.query("select count(*) from wf_run where status = 'succeeded'") == [(len(runs),)]

    eventually(ended, within=60)
    assert 0 < most <= 3
    spans = [span for run in runs for span in here.result(run)]
    assert len(spans) == 200
    edges = sorted([(began, 1) for began, _ in spans] + [(ended_at, -1) for _, ended_at in spans])
    at_once = highest = 0
    for _, change in edges:
        at_once += change
        highest = max(highest, at_once)
    assert highest <= 3
    assert here.query("select count(*) from wf_limit_use") == [(0,)]
    assert here.faults() == {}


def test_the_rate_limit_of_an_adopted_task_holds_for_the_whole_fleet(here: Fleet) -> None:
    runs = [here.start("at_a_rate.bind()") for _ in range(2)]
    assert sum(len(here.result(run)) for run in runs) == 10
    began = [at for (at,) in here.query("select claimed_at from wf_step where name like 'paced%' order by claimed_at")]
    since = [(at - began[0]).total_seconds() for at in began]
    assert len(since) == 10
    assert all(seconds > number * 0.1 - 0.02 for number, seconds in enumerate(since)), "none begins before its turn"


@pytest.mark.promise("D24")
def test_a_breaker_stops_a_fleet_from_calling_what_is_down_and_lets_it_go_on_when_it_is_back(here: Fleet) -> None:
    broken = Path(here.environment["WFCELERY_TEST_EFFECTS"]).with_name("broken")
    broken.touch()
    run = here.start("behind_a_breaker.bind(10)")
    opened = "select count(*) from wf_limit where kind = 'breaker' and open_until is not null"
    eventually(lambda: here.query(opened) == [(1,)], within=20)
    held = "select count(*) from wf_step where run = cast(:run as uuid) and status = 'held' and why = 'breaker:gateway'"
    eventually(lambda: here.query(held, run=run)[0][0] >= 9, within=20)
    tried = len(broken.read_text().splitlines())
    assert tried <= 5 + 10 + 3, "what had begun before it opened, and a probe or two"
    broken.unlink()
    assert sorted(here.result(run)) == list(range(10))
    assert here.query(opened) == [(0,)]


def test_a_step_is_held_seen_and_released_from_the_command_line(here: Fleet) -> None:
    calm = here.start("two_words.bind('calm')")
    assert here.result(calm) == "calm"
    here.run("hold", "step:plain", "--reason", "the dictionary is wrong", "--until", "6h", "--by", "ada")
    runs = [here.start("two_words.bind('held')") for _ in range(3)]
    held = "select count(*) from wf_step where status = 'held' and why = 'hold:step:plain'"
    eventually(lambda: here.query(held) == [(3,)], within=20)
    [line] = [json.loads(line) for line in here.run("held-up", "--json").splitlines()]
    assert (line["what"], line["steps"], line["runs"], line["by"]) == ("hold:step:plain", 3, 3, "ada")
    assert line["remedy"] == "wfcelery release step:plain"
    assert "the dictionary is wrong" in here.run("held-up")
    here.shell("wfcelery.release('step:plain', rate='20/s', by='bob')")
    assert {here.result(run) for run in runs} == {"held"}
    here.run("release", "step:plain", code=3)
    here.run("hold", "plain", code=1)
    deeds = here.query("select actor, verb, reason from wf_audit order by at")
    assert deeds == [("ada", "hold", "step:plain: the dictionary is wrong"), ("bob", "release", "step:plain")]
    assert here.faults() == {}


def test_limits_are_listed_with_who_uses_and_who_waits(here: Fleet) -> None:
    runs = [here.start("calls.bind(1.0)") for _ in range(2)]
    eventually(lambda: here.query(GRANTED) == [(3,)], within=20)
    found = {line["key"]: line for line in map(json.loads, here.run("limits", "list", "--json").splitlines()) if line["kind"] == "limit"}
    assert (found["gateway"]["slots"], found["gateway"]["used"]) == (3, 3)
    users = [json.loads(line) for line in here.run("limits", "show", "gateway", "--json").splitlines()]
    assert {user["status"] for user in users} == {"using", "waiting"}
    assert {user["run"] for user in users} <= set(runs)
    here.run("limits", "show", "nobody", code=3)
    for run in runs:
        here.result(run)
