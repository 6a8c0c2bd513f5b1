"""Patterns of how a run ends: 11, 20 and 43."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.eventually import eventually
from tests.patterns.conftest import Pattern


@pytest.mark.pattern(11)
def test_a_run_is_over_when_nothing_is_left_to_do(pattern: Pattern) -> None:
    run = pattern.start(degrees=20, rooms=3)

    assert pattern.fleet.result(run) is None
    assert (pattern.step(run, "heat"), pattern.step(run, "light")) == ("succeeded", "succeeded")


@pytest.mark.pattern(20)
def test_a_whole_run_is_withdrawn(pattern: Pattern) -> None:
    run = pattern.start(seconds=2)
    eventually(lambda: pattern.step(run, "examine") == "running", within=20, what="it is examined")

    pattern.fleet.run("runs", "cancel", run, "--reason", "changed their mind")

    assert pattern.fleet.ended(run) == "cancelled"
    assert pattern.step(run, "grant") is None


@pytest.mark.pattern(43)
def test_a_run_is_over_where_it_comes_to_an_end(pattern: Pattern) -> None:
    slow = pattern.start(debts=5, seconds=0)
    assert pattern.fleet.result(slow) == "admitted after an interview"

    quick = pattern.start(debts=0, seconds=2)
    assert pattern.fleet.result(quick) == "admitted without an interview"

    refused = pattern.start(debts=5000, seconds=2)
    assert pattern.fleet.ended(refused) == "failed"
    shown = json.loads(pattern.fleet.run("runs", "show", refused, "--json"))
    assert (shown["error"]["code"], shown["error"]["message"]) == ("in_debt", "debts of 5000.0")
    assert pattern.fleet.query("select count(*) from wf_dead_letter") == [(0,)]
