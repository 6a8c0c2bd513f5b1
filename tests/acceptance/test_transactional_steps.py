"""A step's effect in the database and its result are one commit."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet

BOOKINGS = "create table bookings (key text, attempt int, amount int, isolation text default current_setting('transaction_isolation'))"


@pytest.fixture(scope="module")
def here(make_shared_fleet: Callable[..., Fleet]) -> Fleet:
    fleet = make_shared_fleet(environment={"WFCELERY_POLL": "0.3"})
    fleet.query(BOOKINGS)
    return fleet.ready(fleet.worker(pool="threads", concurrency=4, name="threads"), fleet.worker(queues="killed", concurrency=1))


@pytest.mark.promise("D10")
def test_effects_and_results_are_one_commit_at_each_level_of_isolation(here: Fleet) -> None:
    run = here.start("booked.bind(list(range(20)))")
    assert here.result(run) == list(range(20))
    booked = here.query("select isolation, count(*), count(distinct key), sum(amount) from bookings group by isolation order by isolation")
    assert booked == [("read committed", 20, 20, 190), ("repeatable read", 20, 20, 190), ("serializable", 20, 20, 190)]
    assert here.faults() == {}


@pytest.mark.promise("D10", "E24")
def test_a_crash_in_a_transactional_step_leaves_neither_effect_nor_result(here: Fleet) -> None:
    run = here.start("booked_slowly.bind(777, 60)", "queue='killed'")
    mine = "select attempt, amount from bookings where key = :key"
    (effect,) = eventually(lambda: [effect for effect in here.effects.all("book") if effect.note == "777"])
    assert here.query(mine, key=effect.key) == []
    os.kill(effect.pid, signal.SIGKILL)

    assert here.result(run) == 777
    assert here.query(mine, key=effect.key) == [(2, 777)]
    assert [again.attempt for again in here.effects.all("book") if again.key == effect.key] == [1, 2]
    assert here.faults() == {}


def test_a_failed_attempt_rolls_its_effect_back(here: Fleet) -> None:
    run = here.start("booked_after_a_failure.bind(1000)")
    assert here.result(run) == 1000
    assert here.query("select attempt from bookings where amount = 1000") == [(2,)]
    assert here.faults() == {}


@pytest.mark.promise("D10")
def test_a_level_that_the_database_has_not_stops_the_worker_at_its_start(make_fleet: Callable[..., Fleet], sqlite_url: str) -> None:
    fleet = make_fleet(database_url=sqlite_url, broker_url="memory://localhost//").upgrade()
    worker = fleet.worker(pool="solo", environment={"WFCELERY_TEST_EVERY_LEVEL": "1"})
    assert worker.wait_ended() != 0
    assert "book_read_committed asks for read committed, which sqlite has not (it has serializable)" in worker.said()


@pytest.mark.promise("D5")
def test_what_runs_under_a_key_runs_once_whatever_becomes_of_its_step(here: Fleet) -> None:
    runs = [here.start("called_once.bind('corner', 2)"), here.start("called_once.bind('corner', 1)")]
    assert [here.result(run) for run in runs] == ["corner answers"] * 2
    assert [effect.note for effect in here.effects.all("ring_up")] == ["corner"]
    assert here.faults() == {}
