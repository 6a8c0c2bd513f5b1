"""A decision becomes rows, each over the status and token it was read with, or nothing does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from tests.store.rows import begun, change, claimed, column, commit, look, ready, run_of, started, succeeded
from wfcelery.clock import uuid7
from wfcelery.core.decision import DeadLetter, Decision
from wfcelery.core.events import note
from wfcelery.core.rows import StepRow, WaitRow
from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.errors import RowChanged
from wfcelery.store import inbox
from wfcelery.store.claims import claim_group
from wfcelery.store.database import Database
from wfcelery.store.loading import load_results, load_steps, lock_run
from wfcelery.store.saving import RING_AFTER, save


def _seconds_ahead(database: Database, name: str, id: object) -> float:
    text = (
        f"extract(epoch from {name} - clock_timestamp())"
        if database.dialect == "postgresql"
        else f"{name} - (julianday('now') - 2440587.5) * 86400.0"
    )
    [(value,)] = look(database, f"select {text} from wf_step where id = :id", id=id)
    return float(value)


def test_each_commit_is_one_version_and_one_row_of_history(database: Database) -> None:
    run = started(database)
    commit(database, run, ready("a"))
    commit(database, run, ready("b"))
    assert run_of(database, run).version == 2
    assert look(database, "select version, facts from wf_history order by version") == [
        (1, '[{"fact":"step_ready","step":"a"}]'),
        (2, '[{"fact":"step_ready","step":"b"}]'),
    ]


def test_a_row_comes_back_as_it_was_written(database: Database) -> None:
    row = ready(
        "a", status=StepStatus.BLOCKED, blockers=3, wants=2, fired=1, priority=4, timeout=2.5,
        input={"x": [1, "é\u0000", None, {"$wf": ["decimal", "9.50"]}]}, error={"type": "E", "code": None, "message": "m"},
    )  # fmt: skip
    run = begun(database, row)
    with database.transaction() as tx:
        [found] = load_steps(tx, run, names=["a"])
    assert found == replace(row, seen=(StepStatus.BLOCKED, None))


def test_the_run_is_written_with_what_the_decision_says(database: Database) -> None:
    run = started(database)
    row = ready("a", status=StepStatus.SKIPPED, why="when")
    changes = {"status": RunStatus.SUCCEEDED, "open_steps": 0, "output": [1, 2], "variables": {"v": "x"}}
    commit(database, run, row, row=changes, ended=True)
    found = run_of(database, run)
    assert (found.status, found.output, found.variables, found.version) == (RunStatus.SUCCEEDED, [1, 2], {"v": "x"}, 1)
    [(due, ring, ended)] = look(database, "select due_at, ring_at, ended_at from wf_run")
    assert (due, ring) == (None, None)
    assert ended is not None


def test_a_run_written_over_another_version_changes_nothing(database: Database) -> None:
    run = begun(database, ready("a"))
    seen = run_of(database, run)
    commit(database, run, ready("b"))
    late = Decision(replace(seen, open_steps=5), seen.version, steps=[ready("c")], facts=[note("step_ready", "c")])
    with pytest.raises(RowChanged), database.transaction() as tx:
        save(tx, late)
    assert look(database, "select name from wf_step order by name") == [("a",), ("b",)]
    assert run_of(database, run).version == 2


def test_a_step_that_is_no_longer_what_it_was_read_as_rolls_everything_back(database: Database) -> None:
    row = ready("a")
    run = begun(database, row)
    read = replace(row, seen=(StepStatus.READY, None))
    claimed(database, row)
    with pytest.raises(RowChanged):
        commit(database, run, replace(read, status=StepStatus.CANCELLED), ready("b"))
    assert run_of(database, run).version == 1
    assert look(database, "select name, status from wf_step") == [("a", "running")]


def test_a_late_attempt_cannot_write_over_a_newer_one(database: Database) -> None:
    row = ready("a")
    run = begun(database, row)
    old = claimed(database, row)
    again = replace(old, status=StepStatus.READY, token=None, claimed_by=None, child=None, lost=1)
    commit(database, run, again)
    claimed(database, row)
    with pytest.raises(RowChanged):
        commit(database, run, succeeded(old, "late"))
    assert look(database, "select status, attempt, output from wf_step") == [("running", 2, None)]


def test_the_token_stays_on_a_step_that_is_over(database: Database) -> None:
    row, token = ready("a"), uuid4()
    run = begun(database, row)
    commit(database, run, succeeded(claimed(database, row, token), {"x": 1}))
    with database.transaction() as tx:
        [found] = load_steps(tx, run, ids=[row.id])
    assert (found.status, found.token, found.output) == (StepStatus.SUCCEEDED, token, {"x": 1})


def test_a_second_row_for_one_place_is_refused(database: Database) -> None:
    run = begun(database, ready("a"))
    with pytest.raises(Exception, match=r"wf_step_place|UNIQUE"):
        commit(database, run, ready("a"))
    assert run_of(database, run).version == 1


@pytest.mark.parametrize(("ring", "delay", "ring_in"), [(True, None, RING_AFTER), (False, None, 0.0), (False, 60.0, 60.0)])
def test_a_ready_step_is_rung_by_the_sweep_when_nobody_took_it(database: Database, ring: bool, delay: float | None, ring_in: float) -> None:
    row = ready("a", ring=ring, delay=delay)
    begun(database, row)
    assert _seconds_ahead(database, "due_at", row.id) == pytest.approx(delay or 0.0, abs=2)
    assert _seconds_ahead(database, "ring_at", row.id) == pytest.approx(ring_in, abs=2)


def test_a_kept_step_is_born_running_and_never_rung(database: Database) -> None:
    row = ready("a", status=StepStatus.RUNNING, attempt=1, token=uuid4(), claimed_by=uuid4(), child="1:1", timeout=5.0)
    begun(database, row)
    assert column(database, "wf_step", "ring_at", row.id) is None
    assert column(database, "wf_step", "claimed_at", row.id) is not None
    assert _seconds_ahead(database, "deadline_at", row.id) == pytest.approx(5.0, abs=2)


def test_a_step_with_a_moment_is_due_then(database: Database) -> None:
    moment = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    row = ready("a", due_at=moment)
    begun(database, row)
    [(found,)] = look(database, "select due_at from wf_step")
    assert (found if isinstance(found, datetime) else datetime.fromtimestamp(found, UTC)) == moment


def _fan_out(items: int, let_go: int) -> list[StepRow]:
    row = ready("each", status=StepStatus.WAITING, items_left=items, expanded=items, wants=items, fired=let_go)
    born = []
    for number in range(items):
        held = number >= let_go
        status, why = (StepStatus.HELD, "concurrency") if held else (StepStatus.READY, None)
        born.append(StepRow(uuid7(), "each", number, status=status, why=why, fan_out=row.id, input=number, queue="celery"))
    return [row, *born]


def test_items_are_never_rung_and_their_fan_out_is(database: Database) -> None:
    row, *_ = rows = _fan_out(3, 2)
    begun(database, *rows)
    assert look(database, "select item, status, ring_at is not null from wf_step order by item") == [
        (-1, "waiting", True),
        (0, "ready", False),
        (1, "ready", False),
        (2, "held", False),
    ]
    assert _seconds_ahead(database, "ring_at", row.id) == pytest.approx(RING_AFTER, abs=2)


def test_an_item_that_is_tried_again_later_has_its_fan_out_rung_then(database: Database) -> None:
    row, item = rows = _fan_out(1, 1)
    run = begun(database, *rows)
    mine = replace(claimed_item(database, row), status=StepStatus.READY, token=None, claimed_by=None, child=None, failures=1, delay=2.0)
    commit(database, run, mine, replace(row, seen=(StepStatus.WAITING, None)))
    assert _seconds_ahead(database, "ring_at", row.id) == pytest.approx(2.0, abs=1.5)
    assert column(database, "wf_step", "failures", item.id) == 1


def claimed_items(database: Database, fan_out: StepRow, many: int) -> list[StepRow]:
    with database.transaction() as tx:
        found = claim_group(tx, "default", fan_out.id, many, uuid4(), uuid4(), "1:1")
    assert found is not None
    return found.items


def claimed_item(database: Database, fan_out: StepRow) -> StepRow:
    return claimed_items(database, fan_out, 1)[0]


def test_held_items_are_let_go_by_number(database: Database) -> None:
    row, *_ = rows = _fan_out(5, 2)
    run = begun(database, *rows)
    commit(database, run, replace(row, seen=(StepStatus.WAITING, None), fired=4, let_go=((2, 4),)))
    assert look(database, "select item, status, why from wf_step where item >= 0 order by item") == [
        (0, "ready", None),
        (1, "ready", None),
        (2, "ready", None),
        (3, "ready", None),
        (4, "held", "concurrency"),
    ]


def test_five_thousand_items_are_born_and_closed_in_one_commit_each(database: Database) -> None:
    row, *items = rows = _fan_out(5_000, 5_000)
    run = begun(database, *rows)
    closed = [replace(item, seen=(StepStatus.READY, None), status=StepStatus.CANCELLED, why="stopped:ready") for item in items]
    gone = replace(row, seen=(StepStatus.WAITING, None), status=StepStatus.CANCELLED, items_left=0)
    commit(database, run, gone, *closed)
    assert look(database, "select status, count(*) from wf_step group by status") == [("cancelled", 5_001)]


def test_closing_many_rows_notices_that_one_of_them_was_claimed(database: Database) -> None:
    row, *items = rows = _fan_out(2_000, 2_000)
    run = begun(database, *rows)
    claimed_item(database, row)
    closed = [replace(item, seen=(StepStatus.READY, None), status=StepStatus.CANCELLED, why="stopped:ready") for item in items]
    with pytest.raises(RowChanged):
        commit(database, run, *closed)
    assert look(database, "select count(*) from wf_step where status = 'ready'") == [(1_999,)]


def test_a_late_group_cannot_write_over_an_item_that_another_worker_has(database: Database) -> None:
    row, *_ = rows = _fan_out(4, 4)
    run = begun(database, *rows)
    mine = [succeeded(item, "mine") for item in claimed_items(database, row, 4)]
    change(database, "update wf_step set token = :theirs where item = 2", theirs=uuid4())
    with pytest.raises(RowChanged):
        commit(database, run, *mine)
    assert look(database, "select status, output, count(*) from wf_step where item >= 0 group by status, output") == [("running", None, 4)]
    commit(database, run, *(item for item in mine if item.item != 2))
    assert look(database, "select item from wf_step where status = 'running'") == [(2,)]


def test_results_of_a_fan_out_stand_in_the_order_of_its_items(database: Database) -> None:
    row, first, second, third = rows = _fan_out(3, 3)
    run = begun(database, *rows)
    for item, how, output, error in (
        (third, StepStatus.SUCCEEDED, "c", None),
        (second, StepStatus.FAILED, None, {"type": "E", "code": None, "message": "no"}),
        (first, StepStatus.SUCCEEDED, None, None),
    ):
        commit(database, run, replace(item, seen=(StepStatus.READY, None), status=how, output=output, error=error))
    commit(database, run, replace(row, seen=(StepStatus.WAITING, None), status=StepStatus.SUCCEEDED, items_left=0))
    with database.transaction() as tx:
        found = load_results(tx, run, ["each", "nobody"])
    assert found.keys() == {"each"}
    failed = {"$wf": ["failed", {"index": 1, "item": 1, "error": {"type": "E", "code": None, "message": "no"}}]}
    assert (found["each"].status, found["each"].result, found["each"].failed_items) == ("succeeded", [None, failed, "c"], (1,))


def test_waits_open_come_close_and_open_again(database: Database) -> None:
    first, second = ready("a", status=StepStatus.WAITING), ready("b", status=StepStatus.WAITING)
    run = begun(database)
    opened = [WaitRow(uuid7(), first.id, "sleep", delay=60.0), WaitRow(uuid7(), second.id, "sleep", delay=90.0)]
    commit(database, run, first, second, waits=opened)
    before = look(database, "select due_at from wf_wait order by due_at")
    commit(database, run, waits_came=[opened[0].id], waits_closed=[second.id])
    statuses = "select status, ended_at is not null from wf_wait order by due_at"
    assert look(database, statuses) == [("due", True), ("cancelled", True)]
    commit(database, run, waits_reopened=[second.id])
    assert look(database, statuses) == [("due", True), ("open", False)]
    assert look(database, "select due_at from wf_wait order by due_at") == before


def test_a_wait_that_has_come_cannot_come_again(database: Database) -> None:
    row = ready("a", status=StepStatus.WAITING)
    run = begun(database)
    wait = WaitRow(uuid7(), row.id, "sleep", delay=0.0)
    commit(database, run, row, waits=[wait])
    commit(database, run, waits_came=[wait.id])
    with pytest.raises(RowChanged):
        commit(database, run, waits_came=[wait.id])


def test_each_dead_letter_of_a_step_is_its_next_episode(database: Database) -> None:
    row = ready("a")
    run = begun(database, row)
    letter = DeadLetter(row.id, "a", -1, "exhausted", {"type": "E", "code": None, "message": "m"}, 3, handled=False)
    commit(database, run, dead_letters=[letter])
    commit(database, run, retried=[row.id])
    commit(database, run, dead_letters=[replace(letter, reason="lost", handled=True)])
    assert look(database, "select episode, status, reason, attempts from wf_dead_letter order by episode") == [
        (1, "retried", "exhausted", 3),
        (2, "handled", "lost", 3),
    ]


def test_exactly_the_facts_that_were_read_are_deleted(database: Database) -> None:
    run = begun(database, ready("a"))
    with database.transaction() as tx:
        inbox.put(tx, "default", run, "cancel", {"reason": "r"})
        read = inbox.read(tx, run, 500)
    with database.transaction() as tx:
        inbox.put(tx, "default", run, "cancel", {"reason": "later"})
    commit(database, run, inbox_done=[row.id for row in read])
    with database.transaction() as tx:
        assert [row.data for row in inbox.read(tx, run, 500)] == [{"reason": "later"}]
        assert inbox.look(tx, run)


def test_late_facts_of_an_ended_run_are_deleted_without_a_version(database: Database) -> None:
    run = begun(database, ready("a"))
    with database.transaction() as tx:
        inbox.put(tx, "default", run, "cancel", {})
        [late] = inbox.read(tx, run, 500)
        ignored = Decision.ignore(run_of(database, run) if database.dialect == "postgresql" else _locked(tx, run), "late")
        ignored.inbox_done = [late.id]
        save(tx, ignored)
    assert run_of(database, run).version == 1
    assert look(database, "select count(*) from wf_inbox") == [(0,)]


def _locked(tx: object, run: object) -> object:
    return lock_run(tx, run)  # type: ignore[arg-type]
