"""One look tells what is overdue, of which kind, and when the next falls due; and a sweep that finds nothing has asked for no more."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.acceptance.eventually import eventually
from tests.store.counted import CountedDatabase, counted
from tests.store.rows import WORKER, ago, begun, change, claimed, commit, ready, started, working
from tests.store.sleepers import sleepers_like
from tests.store.test_timers import napping, runtime_on
from wfcelery.clock import uuid7
from wfcelery.core.rows import WaitRow
from wfcelery.core.states import StepStatus
from wfcelery.engine.sweeping import Sweep
from wfcelery.store import inbox, leases
from wfcelery.store.database import Database
from wfcelery.store.looking import Seen, look

__all__ = ["counted"]


def seen(database: Database, within: float = 1.0) -> Seen:
    with database.single() as tx:
        return look(tx, 30.0, within, 3.0)


def test_nothing_is_overdue_in_empty_tables(database: Database) -> None:
    assert seen(database) == Seen(frozenset(), None, stale=True)


def test_a_look_ahead_says_when_the_next_falls_due(database: Database) -> None:
    begun(database, ready("a", delay=60.0))
    assert seen(database).next_in is None
    assert seen(database, 90.0).next_in == pytest.approx(60.0, abs=3.0)


def test_what_is_overdue_does_not_hide_what_falls_due_next(database: Database) -> None:
    begun(database, ready("a", delay=60.0), ready("b"))
    found = seen(database, 90.0)
    assert found.overdue == {"rung"}
    assert found.next_in == pytest.approx(60.0, abs=3.0)


def test_each_kind_is_overdue_by_its_own_time(database: Database) -> None:
    nap, late, lost = ready("nap", status=StepStatus.WAITING), ready("late", timeout=60.0), ready("lost")
    run = begun(database, nap, late, lost)
    working(database)
    for row in (late, lost):
        claimed(database, row, uuid4())
    commit(database, run, waits=[WaitRow(uuid7(), nap.id, "sleep", delay=60.0)])
    waiting = started(database, rings=True, deadline_in=60.0)
    with database.transaction() as tx:
        leases.renew(tx, WORKER, (), 30.0)
        leases.stamp(tx, 30.0)
        inbox.put(tx, "default", run, "cancel", {})
    change(database, "update wf_meta set judge_from = null")
    assert seen(database) == Seen(frozenset(), pytest.approx(1.0, abs=1.0), stale=False)  # type: ignore[arg-type]

    past = ago(database, 31)
    change(database, f"update wf_wait set due_at = {past}")
    assert seen(database).overdue == {"waits"}
    change(database, f"update wf_step set deadline_at = {past} where name = 'late'")
    assert seen(database).overdue == {"waits", "timeouts"}
    change(database, f"update wf_step set claimed_at = {past} where name = 'lost'")
    assert seen(database).overdue == {"waits", "timeouts", "lost"}
    change(database, f"update wf_run set due_at = {past} where id = :run", run=run)
    assert seen(database).overdue == {"waits", "timeouts", "lost", "deadlines"}
    change(database, f"update wf_run set ring_at = {past} where id = :run", run=waiting)
    assert seen(database).overdue == {"waits", "timeouts", "lost", "deadlines", "rung"}
    change(database, f"update wf_inbox set ring_at = {past}")
    assert seen(database).overdue == {"waits", "timeouts", "lost", "deadlines", "rung", "inboxes"}


def test_a_stamp_is_stale_after_its_time_and_after_a_restart_of_the_server(database: Database) -> None:
    with database.transaction() as tx:
        leases.stamp(tx, 30.0)
    assert not seen(database).stale
    change(database, f"update wf_meta set swept_at = {ago(database, 4)}")
    assert seen(database).stale
    with database.transaction() as tx:
        leases.stamp(tx, 30.0)
    change(database, f"update wf_meta set server_started_at = {ago(database, 1_000_000)}")
    assert seen(database).stale


def test_no_lease_is_judged_by_a_look_from_before_an_outage(database: Database) -> None:
    """The look says that somebody is lost; but nobody has swept for so long that the stamp says: not yet."""
    row = ready("a")
    begun(database, row)
    working(database)
    claimed(database, row, uuid4())
    change(database, f"update wf_worker set lease_until = {ago(database, 1)}")
    change(database, f"update wf_meta set swept_at = {ago(database, 60)}, judge_from = {ago(database, 30)}")
    assert seen(database).overdue >= {"lost"}
    assert Sweep(runtime_on(database))().lost == 0


def test_a_sweep_that_finds_nothing_is_one_statement_however_many_runs_wait(counted: CountedDatabase) -> None:
    database = counted.database
    sleepers_like(database, 1_000, napping(runtime_on(database)), "one.due_at + interval '1 hour'")
    sweep = Sweep(runtime_on(database))
    assert eventually(lambda: sweep().waits) == 1
    before = counted.statements()
    assert sweep().found() == 0
    assert counted.statements() - before == 1


def test_what_cannot_be_moved_on_is_tried_again_later_each_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a run that somebody holds locked would keep a whole process busy."""
    begun(database, ready("a"))
    sweep = Sweep(runtime_on(database))
    monkeypatch.setattr(Sweep, "_ring", lambda _: 0)
    pauses = [sweep().next_due or 0.0 for _ in range(12)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.1
    assert pauses[-1] == sweep.runtime.settings.poll
