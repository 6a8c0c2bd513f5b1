"""Patterns of how a run ends: 43."""

from __future__ import annotations

import json

import pytest

from tests.patterns.conftest import Pattern


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
