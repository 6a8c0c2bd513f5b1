"""Who is lost, by leases, by tokens, by the word of a parent or a neighbour; and when nobody may be judged."""

from __future__ import annotations

from uuid import UUID, uuid4

from tests.store.rows import CHILD, WORKER, ago, begun, change, claimed, look, ready, working
from wfcelery.store import leases
from wfcelery.store.database import Database
from wfcelery.store.due import Attempt
from wfcelery.store.leases import Place


def _lost(database: Database) -> list[Attempt]:
    with database.transaction() as tx:
        return list(leases.lost(tx, 30.0, 100))


def _renew(database: Database, *tokens: UUID) -> dict[UUID, str] | None:
    with database.transaction() as tx:
        renewed = leases.renew(tx, WORKER, tokens, 30.0)
    return None if renewed is None else renewed.known


def _executing(database: Database) -> tuple[UUID, UUID, UUID]:
    row, token = ready("a"), uuid4()
    run = begun(database, row)
    claimed(database, row, token)
    return run, row.id, token


def test_a_step_whose_worker_has_no_row_is_lost(database: Database) -> None:
    run, step, token = _executing(database)
    assert _lost(database) == [Attempt(run, step, token, "a")]


def test_a_step_whose_worker_lives_is_not(database: Database) -> None:
    working(database)
    _, _, token = _executing(database)
    assert _renew(database, token) == {token: "running"}
    assert _lost(database) == []


def test_a_step_is_lost_when_the_lease_of_its_worker_is_over(database: Database) -> None:
    working(database)
    run, step, token = _executing(database)
    change(database, f"update wf_worker set lease_until = {ago(database, 1)}")
    assert _lost(database) == [Attempt(run, step, token, "a")]


def test_a_claim_that_nobody_executes_is_lost_after_a_lease(database: Database) -> None:
    """An answer that never came, or a kept step whose commit landed after its child was killed."""
    working(database)
    run, step, token = _executing(database)
    _renew(database, uuid4())
    assert _lost(database) == []
    change(database, f"update wf_step set claimed_at = {ago(database, 31)}")
    assert _lost(database) == [Attempt(run, step, token, "a")]
    _renew(database, uuid4(), token)
    assert _lost(database) == []


def test_a_worker_that_was_declared_lost_learns_it(database: Database) -> None:
    assert _renew(database) is None
    working(database)
    assert _renew(database) == {}
    with database.transaction() as tx:
        leases.retire(tx, WORKER)
    assert _renew(database) is None


def test_a_worker_learns_what_its_runs_have_come_to(database: Database) -> None:
    working(database)
    run, _, token = _executing(database)
    change(database, "update wf_run set status = 'cancelling', ending = 'cancelled' where id = :id", id=run)
    assert _renew(database, token) == {token: "cancelling"}


def test_time_without_a_sweep_counts_against_nobody(database: Database) -> None:
    _executing(database)
    with database.transaction() as tx:
        leases.stamp(tx, 30.0)
    assert _lost(database) == []
    change(database, f"update wf_meta set judge_from = {ago(database, 1)}")
    with database.transaction() as tx:
        leases.stamp(tx, 30.0)
    assert len(_lost(database)) == 1
    change(database, f"update wf_meta set swept_at = {ago(database, 16)}")
    with database.transaction() as tx:
        leases.stamp(tx, 30.0)
    assert _lost(database) == []


def test_the_parents_word_for_its_dead_child_waits_for_no_lease(database: Database) -> None:
    working(database)
    run, step, token = _executing(database)
    with database.transaction() as tx:
        leases.stamp(tx, 30.0)
        assert leases.of_child(tx, WORKER, "200:1", 10) == []
        assert leases.of_child(tx, uuid4(), CHILD, 10) == []
        assert leases.of_child(tx, WORKER, CHILD, 10) == [Attempt(run, step, token, "a")]


def test_a_host_knows_what_its_processes_have_left_behind(database: Database) -> None:
    working(database)
    run, step, token = _executing(database)
    with database.transaction() as tx:
        assert leases.children_of_host(tx, "here") == [CHILD]
        assert leases.children_of_host(tx, "there") == []
        assert leases.of_child_on(tx, "here", CHILD, 10) == [Attempt(run, step, token, "a")]


def test_two_processes_sweep_and_a_third_does_not(database: Database) -> None:
    with database.transaction() as tx:
        taken = [leases.take_place(tx, who, 5.0) for who in ("a", "b", "c", "a", "b")]
    assert taken == [Place(1, shared=False), Place(2, shared=True), None, Place(1, shared=True), Place(2, shared=True)]
    assert [place and place.half for place in taken] == [None, 0, None, 1, 0], "each takes a half of what is due, and one alone all of it"
    assert sorted(look(database, "select owner from wf_sweeper")) == [("a",), ("b",)]
    change(database, f"update wf_sweeper set until = {ago(database, 1)} where owner = 'b'")
    with database.transaction() as tx:
        assert leases.take_place(tx, "a", 5.0) == Place(1, shared=False)
        assert leases.take_place(tx, "c", 5.0) == Place(2, shared=True)
        assert leases.take_place(tx, "b", 5.0) is None
    assert sorted(look(database, "select owner from wf_sweeper")) == [("a",), ("c",)]


def test_a_renewal_brings_along_whether_somebody_is_wanted_to_sweep(database: Database) -> None:
    working(database)

    def wanted() -> bool:
        with database.transaction() as tx:
            renewed = leases.renew(tx, WORKER, (), 30.0)
        assert renewed is not None
        return renewed.free_place

    assert wanted()
    with database.transaction() as tx:
        leases.take_place(tx, "a", 5.0)
    assert wanted(), "the other place is nobody's"
    with database.transaction() as tx:
        leases.take_place(tx, "b", 5.0)
    assert not wanted()
    change(database, f"update wf_sweeper set until = {ago(database, 1)} where owner = 'a'")
    assert wanted(), "its time is over"


def test_rows_of_workers_are_forgotten_when_nothing_of_theirs_is_under_way(database: Database) -> None:
    working(database)
    _executing(database)
    idle = working(database, id_=uuid4())
    change(database, f"update wf_worker set lease_until = {ago(database, 100)}")
    with database.transaction() as tx:
        assert leases.forget(tx, 60.0) == 1
    assert [row[0] if isinstance(row[0], UUID) else UUID(row[0]) for row in look(database, "select id from wf_worker")] == [WORKER]
    assert idle != WORKER
