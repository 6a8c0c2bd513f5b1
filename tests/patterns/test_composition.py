"""Patterns that are made of child runs: 10, 12, 21, 22 and 28."""

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


@pytest.mark.pattern(28)
def test_the_first_of_two_leads_on_and_the_next_round_waits_for_both(pattern: Pattern) -> None:
    run = pattern.start(patients=["Ann", "Ben"])

    assert pattern.fleet.result(run) == "Ben is treated"
    rounds = "select s.name, s.claimed_at, s.ended_at from wf_run r join wf_step p on p.id = r.parent_step join wf_step s on s.run = r.id"
    rows = pattern.fleet.query(f"{rounds} where p.run = :run order by r.created_at, s.name", run=UUID(run).hex)
    ann, ben = ({name: (claimed, ended) for name, claimed, ended in rows[at : at + 3]} for at in (0, 3))
    assert ann["treat"][1] < ann["professor"][1], "nobody waits for the professor"
    assert ben["doctor"][0] > ann["professor"][1], "but the next patient does"
