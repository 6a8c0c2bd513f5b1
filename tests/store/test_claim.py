"""The claim: one compare-and-set on the step's row, and everything the attempt needs."""

from __future__ import annotations

import threading
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from tests.store.rows import CHILD, WORKER, begun, change, claimed, column, commit, look, ready, run_of, started
from wfcelery.clock import uuid7
from wfcelery.core.rows import StepRow
from wfcelery.core.states import StepStatus
from wfcelery.store.claims import Claimed, DueIn, claim, claim_group, set_deadline
from wfcelery.store.database import Database
from wfcelery.store.loading import load_steps, lock_run


def _claim(database: Database, step: UUID, within: float = 1.0, organization: str = "default") -> Claimed | DueIn | None:
    with database.transaction() as tx:
        return claim(tx, organization, step, uuid4(), WORKER, CHILD, within)


def test_a_claim_makes_a_ready_step_running_and_brings_its_run(database: Database) -> None:
    row, token = ready("a", input={"x": {"$wf": ["ref", "task", "b", "result"]}}, timeout=5.0), uuid4()
    run = begun(database, row)
    with database.transaction() as tx:
        found = claim(tx, "default", row.id, token, WORKER, CHILD, 0.0)
    assert isinstance(found, Claimed)
    assert (found.step.status, found.step.attempt, found.step.token) == (StepStatus.RUNNING, 1, token)
    assert (found.step.claimed_by, found.step.child, found.step.seen) == (WORKER, CHILD, (StepStatus.RUNNING, token))
    assert found.step.input == {"x": {"$wf": ["ref", "task", "b", "result"]}}
    assert (found.run.id, found.run.version, found.run.definition, found.run.input) == (run, 1, "s", {"n": 1})
    assert found.claimed_at.tzinfo is not None
    assert column(database, "wf_step", "ring_at", row.id) is None
    assert column(database, "wf_step", "deadline_at", row.id) is not None


def test_a_claim_leaves_the_run_and_its_history_alone(database: Database) -> None:
    row = ready("a")
    run = begun(database, row)
    assert isinstance(_claim(database, row.id), Claimed)
    assert run_of(database, run).version == 1
    assert look(database, "select count(*) from wf_history") == [(1,)]


def test_a_step_is_claimed_once(database: Database) -> None:
    row = ready("a")
    begun(database, row)
    claimed(database, row)
    assert _claim(database, row.id) is None


def test_of_many_who_claim_at_once_one_gets_the_step(database: Database) -> None:
    row = ready("a")
    begun(database, row)
    won: list[object] = []
    together = threading.Barrier(8)

    def take() -> None:
        together.wait()
        if isinstance(_claim(database, row.id), Claimed):
            won.append(1)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(won) == 1
    assert column(database, "wf_step", "attempt", row.id) == 1


def test_a_step_of_another_organization_is_not_claimed(database: Database) -> None:
    row = ready("a")
    begun(database, row)
    assert _claim(database, row.id, organization="other") is None
    assert isinstance(_claim(database, row.id), Claimed)


def test_a_step_due_soon_says_in_how_long(database: Database) -> None:
    row = ready("a", delay=0.8)
    begun(database, row)
    found = _claim(database, row.id, within=1.0)
    assert isinstance(found, DueIn)
    assert 0.0 <= found.seconds <= 0.8


def test_a_step_due_later_is_left_to_the_sweep(database: Database) -> None:
    row = ready("a", delay=60.0)
    begun(database, row)
    assert _claim(database, row.id, within=1.0) is None
    assert column(database, "wf_step", "status", row.id) == "ready"


@pytest.mark.parametrize("status", [StepStatus.HELD, StepStatus.BLOCKED, StepStatus.WAITING])
def test_what_is_not_ready_is_not_claimed(database: Database, status: StepStatus) -> None:
    row = ready("a", status=status, why="concurrency", blockers=1)
    begun(database, row)
    assert _claim(database, row.id) is None


def test_an_unknown_step_is_nobodys(database: Database) -> None:
    assert _claim(database, uuid4()) is None


def test_the_first_attempt_is_remembered_over_later_ones(database: Database) -> None:
    row = ready("a")
    run = begun(database, row)
    first = claimed(database, row)
    commit(database, run, replace(first, status=StepStatus.READY, token=None, claimed_by=None, child=None, failures=1))
    found = _claim(database, row.id)
    assert isinstance(found, Claimed)
    assert found.step.attempt == 2
    assert found.first_claimed_at is not None
    # One statement wrote both, by a clock that goes on within it.
    assert abs((found.first_claimed_at - first.claimed_at).total_seconds()) < 0.001  # type: ignore[operator]
    assert found.claimed_at > first.claimed_at  # type: ignore[operator]


def test_the_codes_own_time_limit_replaces_the_rows(database: Database) -> None:
    row = ready("a")
    begun(database, row)
    mine = claimed(database, row)
    assert column(database, "wf_step", "deadline_at", row.id) is None
    assert mine.token is not None
    with database.transaction() as tx:
        set_deadline(tx, row.id, mine.token, 5.0)
        set_deadline(tx, row.id, uuid4(), 50.0)
    assert look(database, "select timeout, deadline_at is not null from wf_step") == [(5.0, True)]
    with database.transaction() as tx:
        set_deadline(tx, row.id, mine.token, None)
    assert look(database, "select timeout, deadline_at from wf_step") == [(None, None)]


# -- groups -------------------------------------------------------------------------------------------------------------


def _fan_out(database: Database, many: int, **given: object) -> StepRow:
    row = ready("each", status=StepStatus.WAITING, items_left=many, expanded=many, wants=many, fired=many)
    items = [StepRow(uuid7(), "each", number, fan_out=row.id, input=number, **given) for number in range(many)]  # type: ignore[arg-type]
    begun(database, row, *items)
    return row


def _group(database: Database, fan_out: UUID, many: int, token: UUID | None = None) -> list[int] | None:
    with database.transaction() as tx:
        found = claim_group(tx, "default", fan_out, many, token or uuid4(), WORKER, CHILD)
    return None if found is None else [item.item for item in found.items]


def test_a_group_is_as_many_items_as_were_asked_for_in_their_order_under_one_token(database: Database) -> None:
    row, token = _fan_out(database, 10), uuid4()
    assert _group(database, row.id, 4, token) == [0, 1, 2, 3]
    assert look(database, "select count(*), min(attempt), max(attempt) from wf_step where status = 'running'") == [(4, 1, 1)]
    assert len(look(database, "select distinct token from wf_step where token is not null")) == 1
    assert _group(database, row.id, 100) == [4, 5, 6, 7, 8, 9]
    assert _group(database, row.id, 100) == []


def test_groups_that_are_claimed_at_once_share_no_item(database: Database) -> None:
    row = _fan_out(database, 60)
    found: list[int] = []
    together = threading.Barrier(6)

    def take() -> None:
        together.wait()
        found.extend(_group(database, row.id, 10) or [])

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == len(set(found))
    assert look(database, "select count(*) from wf_step where status = 'running'") == [(len(found),)]


def test_a_group_is_claimed_beside_one_whose_claim_is_not_committed_yet(postgres: Database) -> None:
    row = _fan_out(postgres, 5)
    with postgres.transaction() as tx:
        first = claim_group(tx, "default", row.id, 2, uuid4(), WORKER, CHILD)
        assert _group(postgres, row.id, 2) == [2, 3]
    assert first is not None
    assert [item.item for item in first.items] == [0, 1]


def test_items_that_are_not_due_stay(database: Database) -> None:
    row = _fan_out(database, 3)
    change(database, "update wf_step set due_at = (select max(due_at) from wf_step) + " + _hour(database) + " where item = 1")
    assert _group(database, row.id, 10) == [0, 2]


def _hour(database: Database) -> str:
    return "interval '1 hour'" if database.dialect == "postgresql" else "3600"


def test_an_item_cannot_be_claimed_as_a_step(database: Database) -> None:
    row = _fan_out(database, 1)
    [(item,)] = look(database, "select id from wf_step where item = 0")
    assert _claim(database, item if isinstance(item, UUID) else UUID(item)) is None
    assert _claim(database, row.id) is None


def test_what_is_no_open_fan_out_has_no_group(database: Database) -> None:
    row = ready("a")
    begun(database, row)
    assert _group(database, row.id, 10) is None
    assert _group(database, uuid4(), 10) is None


def test_a_fan_out_whose_items_are_not_all_born_says_so(database: Database) -> None:
    row = ready("each", status=StepStatus.WAITING, items_left=10, expanded=0, wants=10, fired=10)
    begun(database, row)
    with database.transaction() as tx:
        found = claim_group(tx, "default", row.id, 10, uuid4(), WORKER, CHILD)
    assert found is not None
    assert (found.items, found.unexpanded) == ([], True)


# -- the lock -----------------------------------------------------------------------------------------------------------


def test_a_locked_run_is_left_by_those_who_will_not_wait(postgres: Database) -> None:
    run = started(postgres)
    with postgres.transaction() as first:
        assert lock_run(first, run) is not None
        with postgres.transaction() as second:
            assert lock_run(second, run, skip_locked=True) is None


def test_no_lock_is_had_of_a_run_that_is_not_there(database: Database) -> None:
    with database.transaction() as tx:
        assert lock_run(tx, uuid4()) is None


def test_steps_are_loaded_by_name_by_id_and_all_that_are_open(database: Database) -> None:
    a, b, c = ready("a"), ready("b", status=StepStatus.BLOCKED, blockers=1), ready("c", status=StepStatus.SKIPPED, why="dead")
    stopped = ready("d", status=StepStatus.CANCELLED, why="stopped:ready")
    run = begun(database, a, b, c, stopped)
    begun(database, ready("a"))
    with database.transaction() as tx:
        assert [row.id for row in load_steps(tx, run, names=["a", "x"])] == [a.id]
        assert {row.id for row in load_steps(tx, run, ids=[a.id, c.id])} == {a.id, c.id}
        assert [row.id for row in load_steps(tx, run, open_locked=True)] == sorted([a.id, b.id])
        assert [row.id for row in load_steps(tx, run, stopped=True)] == [stopped.id]
