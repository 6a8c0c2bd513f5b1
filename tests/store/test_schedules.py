"""Slots as the sweep finds them: each is started once, by however many sweeps, and a crash at any statement changes nothing of that."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.store.counted import CountedDatabase, counted
from tests.store.rows import ago, change, look, started
from tests.store.scheduled import DAILY, context_on, made, row_of, set_back, set_to_now
from tests.store.test_looking import seen
from tests.store.test_timers import runtime_on
from wfcelery.authoring.yaml import load_yaml
from wfcelery.definition.values import decode
from wfcelery.engine import scheduling
from wfcelery.engine.sweeping import Sweep
from wfcelery.errors import InvalidSchedule, NotAllowedNow, NotFound
from wfcelery.service import definitions, fleet, schedules, verifying
from wfcelery.service.context import Context
from wfcelery.store import schedules as stored
from wfcelery.store.database import CursorTx, Database

__all__ = ["counted"]

END = (
    "update wf_run set status = 'succeeded', version = 1, due_at = null, ring_at = null, ended_at = created_at where status <> 'succeeded'"
)


class Crash(BaseException):
    """Here everything ends: nothing that only survives an `Exception` goes on."""


def keys(database: Database) -> list[str]:
    return [row[0] for row in look(database, "select key from wf_run order by key")]


def fates(database: Database, name: str = "nightly") -> list[str]:
    [(recent,)] = look(database, f"select recent from wf_schedule where name = '{name}'")
    return [fate["fate"] for fate in json.loads(recent)]


def test_a_slot_that_is_due_is_a_run_with_its_input_and_its_slot_in_the_key(database: Database) -> None:
    context = context_on(database)
    made(context, slot_as="at", queue="reports", priority=3, tags=["a"], deadline="1h")
    slot = set_back(context, 1)
    assert seen(database).overdue >= {"schedules"}
    assert Sweep(runtime_on(database))().schedules == 1
    assert keys(database) == [f"schedule:nightly:{slot:%Y-%m-%dT%H:%M:%SZ}"]
    told = look(database, "select workflow, status, version, queue, priority, tags, deadline is not null from wf_run")
    assert told == [("report", "pending", 0, "reports", 3, '["a"]', True)]
    [(input_,)] = look(database, "select input from wf_run")
    assert decode(json.loads(input_)) == {"region": "eu", "at": slot}
    row = row_of(context)
    assert (row.next_slot, row.due_at, row.started, len(row.runs)) == (slot + timedelta(hours=1), slot + timedelta(hours=1), 1, 1)
    assert "schedules" not in seen(database).overdue
    assert Sweep(runtime_on(database))().schedules == 0


def test_a_look_ahead_tells_when_the_next_slot_comes(database: Database) -> None:
    made(context_on(database), every="7s")
    ahead = seen(database, 10.0).next_in
    assert ahead is not None
    assert 0 < ahead <= 7


def test_the_newest_definition_first_stored_is_started(database: Database) -> None:
    context = context_on(database)
    made(context)
    newer = load_yaml(
        "name: report\nversion: '2'\nparameters: {region: {required: true}, size: {default: 7}}\ntasks: [{name: a, action: x}]"
    )
    signed = definitions.store(context, newer).signature
    set_back(context, 1)
    Sweep(runtime_on(database))()
    assert look(database, "select definition, input from wf_run") == [(signed, '{"region":"eu","size":7}')]


@pytest.mark.parametrize(("overlap", "started", "skipped"), [("skip", 1, 2), ("buffer", 1, 1), ("allow", 3, 0), ("cancel", 1, 2)])
def test_what_the_policy_says_of_three_slots_that_come_at_once(database: Database, overlap: str, started: int, skipped: int) -> None:
    context = context_on(database)
    made(context, overlap=overlap)
    set_back(context, 3)
    Sweep(runtime_on(database))()
    row = row_of(context)
    assert (row.started, row.skipped, len(keys(database))) == (started, skipped, started)
    assert (row.waiting is not None) == (overlap == "buffer")


def test_a_buffered_slot_starts_when_the_earlier_run_has_ended_and_the_sweep_looks(database: Database) -> None:
    context = context_on(database)
    made(context, overlap="buffer")
    first = set_back(context, 2)
    sweep = Sweep(runtime_on(database))
    sweep()
    assert row_of(context).waiting == first + timedelta(hours=1)
    change(database, f"update wf_schedule set due_at = {ago(database, 1)}")
    sweep()
    assert len(keys(database)) == 1, "it is still going"
    change(database, END)
    change(database, f"update wf_schedule set due_at = {ago(database, 1)}")
    sweep()
    assert len(keys(database)) == 2
    assert (row_of(context).waiting, row_of(context).started) == (None, 2)


def test_cancel_asks_the_earlier_run_to_end_and_starts_when_it_has(database: Database) -> None:
    context = context_on(database)
    made(context, overlap="cancel")
    set_back(context, 1)
    sweep = Sweep(runtime_on(database))
    sweep()
    set_to_now(context)
    sweep()
    [(fact, data)] = look(database, "select fact, data from wf_inbox")
    assert (fact, json.loads(data)["reason"]) == ("cancel", "the next slot of schedule nightly has come")
    change(database, "delete from wf_inbox")
    change(database, END)
    change(database, f"update wf_schedule set due_at = {ago(database, 1)}")
    sweep()
    assert (row_of(context).started, look(database, "select count(*) from wf_inbox")) == (2, [(0,)])


def test_slots_older_than_the_window_are_missed_and_told(database: Database) -> None:
    context = context_on(database)
    made(context, catch_up="90m", overlap="allow")
    set_back(context, 30)
    Sweep(runtime_on(database))()
    row = row_of(context)
    assert row.missed + row.started == 30
    assert row.started in (1, 2)
    assert fates(database)[0] == "missed"


def test_of_three_sweeps_at_once_one_starts_each_slot(database: Database) -> None:
    context = context_on(database)
    made(context, overlap="allow")
    set_back(context, 12)
    together = threading.Barrier(3)
    errors: list[BaseException] = []

    def sweep() -> None:
        one = Sweep(runtime_on(database))
        together.wait()
        try:
            for _ in range(3):
                one()
        except BaseException as problem:
            errors.append(problem)

    threads = [threading.Thread(target=sweep) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    row = row_of(context)
    assert (row.started, len(keys(database)), len(set(keys(database)))) == (12, 12, 12)


def test_a_crash_at_any_statement_starts_a_slot_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    context, plain, crashes = context_on(database), CursorTx.execute, 0
    runtime = runtime_on(database)
    for fatal in range(1, 40):
        name, count = f"n{fatal}", 0
        made(context, name, overlap="cancel")
        set_back(context, 1, name)
        Sweep(runtime)()
        slot = set_to_now(context, name)
        change(database, f"update wf_schedule set next_slot = null, due_at = null where name <> '{name}'")

        def cut(self: CursorTx, *given: Any, fatal: int = fatal) -> Any:
            nonlocal count
            count += 1
            if count == fatal:
                raise Crash
            return plain(self, *given)

        change(database, END)
        with monkeypatch.context() as patched:
            patched.setattr(CursorTx, "execute", cut)
            with suppress(Crash):
                Sweep(runtime)()
        crashes += count >= fatal
        change(database, f"update wf_schedule set due_at = {ago(database, 0)} where name = '{name}' and next_slot <= {ago(database, 0)}")
        Sweep(runtime)()
        assert keys(database).count(f"schedule:{name}:{slot:%Y-%m-%dT%H:%M:%SZ}") == 1
        if count < fatal:
            break
    assert crashes > 5


def test_a_slot_that_somebody_has_started_by_its_key_is_not_started_again(database: Database) -> None:
    context = context_on(database)
    made(context)
    slot = set_back(context, 1)
    by_hand = schedules.backfill(context, "nightly", slot, slot)
    assert [view.new for view in by_hand] == [True]
    Sweep(runtime_on(database))()
    assert len(keys(database)) == 1
    assert row_of(context).recent[-1]["run"] == by_hand[0].run
    assert row_of(context).started == 1
    change(database, "update wf_run set active_key = null, workflow = 'other'")
    assert [view.new for view in schedules.backfill(context, "nightly", slot, slot)] == [False], "also where it gave up its key"


def test_two_runs_under_the_key_of_one_slot_are_found_by_the_checker(database: Database) -> None:
    context = context_on(database)
    made(context)
    set_back(context, 1)
    Sweep(runtime_on(database))()
    assert across(context) == []
    change(database, "update wf_run set key = 'schedule:nightly:x', active_key = 'schedule:nightly:x'")
    started(database, workflow="another", key="schedule:nightly:x")
    assert across(context) == ["23 slots: schedule:nightly:x is the key of several runs"]


def across(context: Context) -> list[str]:
    """What the checker says of all runs together."""
    return [problem for verdict in verifying.verify(context, None) if verdict.run == verifying.ACROSS for problem in verdict.problems]


def test_a_schedule_that_cannot_be_started_keeps_its_error_and_holds_up_no_other(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    context = context_on(database)
    made(context, "bad")
    definitions.store(context, load_yaml("name: other\ntasks: [{name: a, action: x}]"))
    schedules.put(context, "good", "other", {}, {"every": "1h"})
    for name in ("bad", "good"):
        set_back(context, 1, name)
    change(database, "update wf_definition set status = 'archived' where name = 'report'")
    sweep = Sweep(runtime_on(database))
    this = sweep()
    assert (this.schedules, this.bad) == (1, 1)
    assert "schedule bad: there is no published definition report" in caplog.text
    view = schedules.shown(context, "bad")
    assert view.error is not None
    assert view.error.message == "there is no published definition report"
    found = [finding.what for finding in fleet.examine(context) if finding.level == "error"]
    assert "schedule bad cannot be started: there is no published definition report" in found
    assert sweep().bad == 0, "it is tried again later"
    change(database, "update wf_definition set status = 'published'")
    change(database, f"update wf_schedule set due_at = {ago(database, 1)} where name = 'bad'")
    assert sweep().schedules == 1
    assert schedules.shown(context, "bad").error is None


def test_a_row_that_nobody_can_read_is_told_and_left_for_later(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    context = context_on(database)
    made(context)
    set_back(context, 1)
    change(database, "update wf_schedule set runs = 'no JSON'")
    sweep = Sweep(runtime_on(database))
    assert sweep().bad == 1
    assert "schedule nightly could not be handled" in caplog.text
    assert sweep().bad == 0
    [(error, failures)] = look(database, "select error, failures from wf_schedule")
    assert "see the log" in error
    assert failures == 1


def test_a_new_input_that_does_not_fit_is_told_without_its_values(database: Database) -> None:
    context = context_on(database)
    made(context, given={"region": "secret-region"})
    definitions.store(context, load_yaml("name: report\nversion: '2'\nparameters: {area: {required: true}}\ntasks: [{name: a, action: x}]"))
    set_back(context, 1)
    assert Sweep(runtime_on(database))().bad == 1
    [(error,)] = look(database, "select error from wf_schedule")
    assert json.loads(error)["code"] == "invalid_input"
    assert "secret" not in error


def test_the_same_terms_change_nothing_and_new_times_begin_now(database: Database) -> None:
    context = context_on(database)
    before = made(context, **{"every": None, **DAILY})
    assert made(context, **{"every": None, **DAILY}).version == before.version
    made(context, **{"every": None, **DAILY, "overlap": "allow"})
    assert (row_of(context).version, row_of(context).next_slot) == (2, before.next_slot)
    slot = set_back(context, 50)
    made(context, **{"every": None, **DAILY, "overlap": "buffer"})
    assert row_of(context).next_slot == slot, "what is due stays due"
    made(context, every="1h")
    row = row_of(context)
    assert row.next_slot is not None
    assert row.now < row.next_slot <= row.now + timedelta(hours=1)
    assert row.version == 4


def test_a_paused_schedule_starts_nothing_and_goes_on_from_now(database: Database) -> None:
    context = context_on(database)
    made(context)
    set_back(context, 3)
    schedules.pause(context, "nightly", "the shop is closed")
    assert Sweep(runtime_on(database))().schedules == 0
    view = schedules.shown(context, "nightly")
    assert (view.paused, view.reason, view.next) == (True, "the shop is closed", None)
    made(context, every="2h")
    assert row_of(context).paused, "new terms do not wake it"
    schedules.resume(context, "nightly")
    row = row_of(context)
    assert row.next_slot is not None
    assert (row.paused, row.reason, row.next_slot > row.now) == (False, None, True)
    assert schedules.resume(context, "nightly").next == row.next_slot
    schedules.delete(context, "nightly")
    for ask in (schedules.shown, schedules.pause, schedules.resume, schedules.delete):
        with pytest.raises(NotFound):
            ask(context, "nightly")


def test_a_write_over_a_row_that_has_changed_writes_nothing(database: Database) -> None:
    context = context_on(database)
    seen_before = made(context)
    schedules.pause(context, "nightly")
    with context.transaction() as tx:
        assert not stored.resume(tx, seen_before, None)
        assert not stored.edit(tx, seen_before, seen_before.terms, next_slot=None, due_at=None, published=None)


def test_a_turn_over_a_row_that_has_changed_starts_nothing(database: Database) -> None:
    context = context_on(database)
    made(context)
    set_back(context, 1)
    before = row_of(context)
    schedules.pause(context, "nightly")
    assert scheduling._take(runtime_on(database), before) is False
    assert keys(database) == []


def test_a_backfill_starts_what_is_missing_with_a_cap_and_may_be_repeated(database: Database) -> None:
    context = context_on(database)
    made(context, **{"every": None, **DAILY})
    march = ("2024-03-28", "2024-04-01T12:00")
    tried = schedules.backfill(context, "nightly", *march, dry_run=True)
    assert [f"{view.slot:%d %H:%M}" for view in tried] == ["28 02:00", "29 02:00", "30 02:00", "31 01:00", "01 01:00"], "in Berlin's time"
    assert keys(database) == []
    assert all(view.new for view in schedules.backfill(context, "nightly", *march))
    assert not any(view.new for view in schedules.backfill(context, "nightly", *march))
    assert (len(keys(database)), row_of(context).started) == (5, 5)
    for wrong in (("2024-03-27", "2024-03-26"), ("2024-03-27", datetime(2199, 1, 1, tzinfo=UTC)), ("soon", "later"), march):
        with pytest.raises(InvalidSchedule):
            schedules.backfill(context, "nightly", *wrong, limit=4)
    assert len(keys(database)) == 5


def test_a_backfill_stops_where_the_schedule_is_changed_meanwhile(database: Database) -> None:
    context = context_on(database)
    found = made(context)
    made(context, every="2h")
    with pytest.raises(NotAllowedNow, match="changed meanwhile"):
        schedules._make_up(context, found, [datetime(2024, 1, 1, tzinfo=UTC)])


def test_a_due_slot_costs_few_statements(counted: CountedDatabase) -> None:
    context = context_on(counted.database)
    made(context)
    set_back(context, 1)
    sweep = Sweep(runtime_on(counted.database))
    before = counted.statements()
    assert sweep().schedules == 1
    around = {"looks": 2, "stamp": 1, "forgetting workers": 1, "which are due": 2, "the row, and once more": 2}
    turn = {"BEGIN and COMMIT": 2, "definition": 1, "whether its key is taken": 1, "row": 1, "run": 1}
    assert counted.statements() - before == sum(around.values()) + sum(turn.values())
