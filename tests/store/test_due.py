"""What is due is found, the oldest first, by whoever sweeps; and rung again only after a pause."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from tests.store.rows import CHILD, WORKER, ago, begun, change, claimed, column, commit, ready, run_of, started
from wfcelery.clock import uuid7
from wfcelery.core.decision import RingRun, RingStep
from wfcelery.core.rows import StepRow, WaitRow
from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.store import due, inbox
from wfcelery.store.claims import claim_group
from wfcelery.store.database import Database
from wfcelery.store.loading import is_due, load_steps


def test_a_step_that_nobody_took_is_rung_once_per_pause(database: Database) -> None:
    row = ready("a", queue="mail", priority=3)
    run = begun(database, row)
    with database.transaction() as tx:
        assert due.ring_steps(tx, 10, 5.0) == [RingStep("default", run, row.id, "mail", 3, "a")]
    with database.transaction() as tx:
        assert due.ring_steps(tx, 10, 5.0) == []
    change(database, f"update wf_step set ring_at = {ago(database, 1)}")
    with database.transaction() as tx:
        assert len(due.ring_steps(tx, 10, 5.0)) == 1


def test_a_claimed_step_is_not_rung(database: Database) -> None:
    row = ready("a")
    begun(database, row)
    claimed(database, row)
    with database.transaction() as tx:
        assert due.ring_steps(tx, 10, 5.0) == []


@pytest.mark.promise("C12")
def test_a_batch_holds_the_oldest(database: Database) -> None:
    rows = [ready(name) for name in "abc"]
    begun(database, *rows)
    for row, seconds in zip(rows, (10, 30, 20), strict=True):
        change(database, f"update wf_step set ring_at = {ago(database, seconds)} where id = :id", id=row.id)
    with database.transaction() as tx:
        assert {ring.name for ring in due.ring_steps(tx, 2, 5.0) if isinstance(ring, RingStep)} == {"b", "c"}


def test_rows_that_another_sweep_holds_are_left_to_it(postgres: Database) -> None:
    begun(postgres, ready("a"), ready("b"))
    with postgres.transaction() as first:
        assert len(due.ring_steps(first, 1, 5.0)) == 1
        with postgres.transaction() as second:
            assert len(due.ring_steps(second, 10, 5.0)) == 1


def test_a_run_that_nobody_began_is_rung_when_it_is_due(database: Database) -> None:
    now, later = started(database, queue="q"), started(database, delay=60.0)
    with database.transaction() as tx:
        assert due.ring_runs(tx, 10, 5.0) == [RingRun("default", now, "q")]
        assert is_due(tx, now)
        assert not is_due(tx, later)
        assert due.ring_runs(tx, 10, 5.0) == []


def test_a_start_that_rings_itself_is_given_its_time(database: Database) -> None:
    started(database, rings=True)
    with database.transaction() as tx:
        assert due.ring_runs(tx, 10, 5.0) == []
    change(database, f"update wf_run set ring_at = {ago(database, 1)}")
    with database.transaction() as tx:
        assert len(due.ring_runs(tx, 10, 5.0)) == 1


def test_a_run_that_has_begun_is_not_rung_again(database: Database) -> None:
    begun(database, ready("a"))
    with database.transaction() as tx:
        assert due.ring_runs(tx, 10, 5.0) == []


def test_a_fact_that_nobody_drained_has_its_run_rung_once(database: Database) -> None:
    run = begun(database)
    with database.transaction() as tx:
        inbox.put(tx, "default", run, "cancel", {})
        inbox.put(tx, "default", run, "cancel", {})
    with database.transaction() as tx:
        assert due.ring_runs(tx, 10, 5.0) == []
    change(database, f"update wf_inbox set ring_at = {ago(database, 1)}")
    with database.transaction() as tx:
        assert due.ring_runs(tx, 10, 5.0) == [RingRun("default", run)]
        assert due.ring_runs(tx, 10, 5.0) == []


def test_a_wait_is_due_at_its_time_and_not_before(database: Database) -> None:
    rows = [ready("a", status=StepStatus.WAITING), ready("b", status=StepStatus.WAITING)]
    waits = [WaitRow(uuid7(), rows[0].id, "sleep", delay=0.0), WaitRow(uuid7(), rows[1].id, "sleep", delay=60.0)]
    run = begun(database)
    commit(database, run, *rows, waits=waits)
    with database.transaction() as tx:
        assert due.waits(tx, 10) == [due.Wait(run, rows[0].id, waits[0].id)]
    commit(database, run, waits_came=[waits[0].id])
    with database.transaction() as tx:
        assert due.waits(tx, 10) == []


def _due_waits(database: Database, many: int) -> UUID:
    rows = [ready(f"nap{number}", status=StepStatus.WAITING) for number in range(many)]
    run = begun(database, *rows)
    commit(database, run, waits=[WaitRow(uuid7(), row.id, "sleep", delay=0.0) for row in rows])
    return run


def test_a_wait_is_found_with_its_run_and_its_step_as_they_are(database: Database) -> None:
    run = _due_waits(database, 1)
    with database.single() as tx:
        [found] = due.waits(tx, 10)
        assert found.seen == (run_of(database, run), load_steps(tx, run, names=["nap0"])[0])


def test_two_sweeping_processes_take_a_half_each_and_what_nobody_took_in_time(database: Database) -> None:
    _due_waits(database, 40)
    with database.single() as tx:
        halves = [set(due.waits(tx, 100, half)) for half in (0, 1)]
        assert halves[0] | halves[1] == set(due.waits(tx, 100))
        assert due.waits_left(tx, 100, 0) == [], "the other may come to them yet"
        assert {len(half) for half in halves} & {0, 40} == set(), "about as many each"
        assert not halves[0] & halves[1]
    change(database, f"update wf_wait set due_at = {ago(database, due.OVERDUE + 1)}")
    with database.single() as tx:
        assert set(due.waits_left(tx, 100, 0)) == halves[1]
        assert set(due.waits(tx, 100, 0)) == halves[0]


def test_an_attempt_past_its_deadline_is_named_by_its_token(database: Database) -> None:
    row, token = ready("a", timeout=0.0), uuid4()
    run = begun(database, row, ready("b", timeout=60.0))
    claimed(database, row, token)
    with database.transaction() as tx:
        assert due.attempts(tx, 10) == [due.Attempt(run, row.id, token, "a")]
    mine = replace(row, seen=(StepStatus.RUNNING, token), status=StepStatus.TIMED_OUT, token=token)
    commit(database, run, mine)
    with database.transaction() as tx:
        assert due.attempts(tx, 10) == []


def test_a_run_is_due_at_its_deadline_once_it_has_begun(database: Database) -> None:
    run = started(database, deadline_in=0.0)
    with database.transaction() as tx:
        assert due.runs(tx, 10) == []
    commit(database, run, ready("a"))
    with database.transaction() as tx:
        assert due.runs(tx, 10) == [due.Run(run)]


def test_a_cancelling_run_is_due_when_its_grace_is_over(database: Database) -> None:
    run = begun(database, ready("a"))
    changes = {"status": RunStatus.CANCELLING, "ending": RunStatus.CANCELLED, "reason": "r"}
    commit(database, run, row=changes, grace=0.0)
    with database.transaction() as tx:
        assert due.runs(tx, 10) == [due.Run(run)]
    commit(database, run, row={"status": RunStatus.CANCELLED, "open_steps": 0})
    with database.transaction() as tx:
        assert due.runs(tx, 10) == []
    assert run_of(database, run).reason == "r"


def test_the_grace_of_a_cancel_outlives_the_commits_after_it(database: Database) -> None:
    run = begun(database, ready("a"))
    changes = {"status": RunStatus.CANCELLING, "ending": RunStatus.CANCELLED}
    commit(database, run, row=changes, grace=30.0)
    before = column(database, "wf_run", "due_at", run)
    commit(database, run, row={"status": RunStatus.CANCELLING})
    assert column(database, "wf_run", "due_at", run) == before


def test_a_worker_without_a_broker_sees_what_its_queues_hold(database: Database) -> None:
    mine, theirs, later = ready("a"), ready("b", queue="other"), ready("c", delay=60.0)
    run = begun(database, mine, theirs, later)
    waiting = started(database)
    with database.transaction() as tx:
        found = due.ringable(tx, ["celery"], 10)
    assert found == [RingStep("default", run, mine.id, "celery", None, "a"), RingRun("default", waiting, None)]


def _fan_out(database: Database, **given: float) -> tuple[StepRow, StepRow]:
    row = ready("each", status=StepStatus.WAITING, items_left=1, expanded=1, wants=1, fired=1)
    item = StepRow(uuid7(), "each", 0, fan_out=row.id, input=0, queue="celery", **given)  # type: ignore[arg-type]
    begun(database, row, item)
    change(database, f"update wf_step set ring_at = {ago(database, 1)} where item = -1")
    return row, item


def _rung(database: Database) -> list[str]:
    with database.transaction() as tx:
        return [ring.name for ring in due.ring_steps(tx, 10, 5.0) if isinstance(ring, RingStep)]


def test_a_fan_out_is_rung_while_an_item_of_it_can_be_taken(database: Database) -> None:
    row, _ = _fan_out(database)
    assert _rung(database) == ["each"]
    assert column(database, "wf_step", "ring_at", row.id) is not None


def test_a_fan_out_whose_items_are_all_under_way_is_not_rung_until_one_is_put_back(database: Database) -> None:
    row, _ = _fan_out(database)
    with database.transaction() as tx:
        group = claim_group(tx, "default", row.id, 10, uuid4(), WORKER, CHILD)
    assert group is not None
    assert _rung(database) == []
    assert column(database, "wf_step", "ring_at", row.id) is None
    back = replace(group.items[0], status=StepStatus.READY, token=None, claimed_by=None, child=None, lost=1)
    commit(database, group.run.id, back, replace(row, seen=(StepStatus.WAITING, None)))
    assert column(database, "wf_step", "ring_at", row.id) is not None


def test_a_fan_out_is_rung_again_when_its_next_item_is_due(database: Database) -> None:
    row, item = _fan_out(database, delay=60.0)
    assert _rung(database) == []
    assert column(database, "wf_step", "ring_at", row.id) == column(database, "wf_step", "due_at", item.id)


def test_a_fan_out_with_items_to_be_born_is_rung(database: Database) -> None:
    begun(database, ready("each", status=StepStatus.WAITING, items_left=5, expanded=0, wants=5, fired=5))
    change(database, f"update wf_step set ring_at = {ago(database, 1)}")
    assert _rung(database) == ["each"]


def test_a_worker_without_a_broker_takes_the_highest_priority_first(database: Database) -> None:
    low, high, none = ready("low", priority=1), ready("high", priority=9), ready("none")
    run = begun(database, low, none, high)
    with database.transaction() as tx:
        rings = [ring for ring in due.ringable(tx, ["celery"], 10) if isinstance(ring, RingStep)]
    assert [ring.step for ring in rings if ring.run == run] == [high.id, low.id, none.id]
