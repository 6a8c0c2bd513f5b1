"""Patterns that are made of child runs: 10, 12, 21 and 22."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.acceptance.eventually import eventually
from tests.patterns.conftest import Pattern


@pytest.mark.pattern(10)
def test_work_goes_back_to_wherever_it_is_sent(pattern: Pattern) -> None:
    assert pattern.fleet.result(pattern.start(paper="p", from_step="draft")) == "p, draft: done"
    again = "select count(*) from wf_run where workflow = 'review_paper' and depth > 0"
    assert pattern.fleet.query(again)[0][0] >= 2


@pytest.mark.pattern(12)
def test_instances_that_nobody_waits_for_outlive_the_run_that_began_them(pattern: Pattern) -> None:
    begun = pattern.fleet.result(pattern.start(orders=[1, 2]))

    def sent() -> list[object]:
        return [pattern.fleet.query("select status, parent from wf_run where id = :run", run=UUID(run).hex)[0] for run in begun]

    eventually(lambda: sent() == [("succeeded", None)] * 2, within=20, what="both orders are sent")


@pytest.mark.pattern(21)
def test_a_loop_goes_on_while_its_condition_holds(pattern: Pattern) -> None:
    run = pattern.start(level=7)

    assert pattern.fleet.result(run) == "drained from 7"
    rounds = "select s.status from wf_run r join wf_step s on s.id = r.parent_step where s.run = :run order by r.created_at"
    assert len(pattern.fleet.query(rounds, run=UUID(run).hex)) == 3
    assert pattern.fleet.result(pattern.start(level=0)) == "drained from 0"


@pytest.mark.pattern(22)
def test_a_workflow_calls_itself(pattern: Pattern) -> None:
    assert pattern.fleet.result(pattern.start(n=6)) == 720
