"""Brokers, databases and schedulers that fail in the middle of runs: each run ends, and rightly."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy.exc

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet, Pool
from tests.servers.postgres import Postgres
from tests.servers.valkey import Valkey

QUICK = {"WFCELERY_POLL": "0.5", "WFCELERY_RING_AGAIN": "2"}
LONG = pytest.mark.long
GONE = (sqlalchemy.exc.OperationalError,)


@pytest.fixture
def own_redis() -> Iterator[Valkey]:
    """A server of this test's own, which it may stop."""
    server = Valkey().start()
    yield server
    server.close()


@pytest.fixture
def apart(make_fleet: Callable[..., Fleet], postgres_url: str, own_redis: Valkey) -> Fleet:
    """A fleet whose broker is its own."""
    return make_fleet(database_url=postgres_url, broker_url=own_redis.url(), environment=QUICK).upgrade()


def begun(fleet: Fleet, step: str = "slow", many: int = 1) -> None:
    eventually(lambda: len(fleet.effects.all(step)) >= many, what=f"{many} of {step} have begun")


# ---- the broker -----------------------------------------------------------------------------------------------------------


@pytest.mark.promise("A1", "C18")
def test_a_broker_that_forgets_everything_changes_when_a_run_ends_not_how(apart: Fleet, own_redis: Valkey) -> None:
    worker = apart.worker(pool="threads", concurrency=1)
    apart.ready(worker)
    runs = [apart.start("slow_in_the_middle.bind('a', 2)"), *(apart.start("over_two_queues.bind('b')") for _ in range(5))]
    begun(apart)
    own_redis.flush()
    apart.worker("other", pool="threads", queues="other").wait_ready()
    own_redis.flush()

    assert [apart.result(run) for run in runs] == ["a-1-3", *["b-1-2-3"] * 5]
    assert apart.effects.repeated() == {}
    assert apart.faults() == {}


@pytest.mark.promise("A10")
@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=LONG)])
def test_workers_whose_bell_is_the_database_carry_runs_while_the_broker_is_away(apart: Fleet, own_redis: Valkey, pool: Pool) -> None:
    own_redis.stop()
    workers = [apart.database_worker(name, pool=pool, environment=QUICK) for name in ("one", "two")]
    apart.ready(*workers)
    started = time.monotonic()
    runs = [apart.start("slow_in_the_middle.bind('a', 0.2)"), apart.start("nap.bind('a')"), apart.start("retried.bind(1)")]
    assert time.monotonic() - started < 6, "a start without a broker takes no long"
    squares = apart.start("sum_of_squares.bind(list(range(60)))")

    assert [apart.result(run) for run in runs] == ["a-1-3", "a-1-2", 2]
    assert apart.result(squares) == sum(number * number for number in range(60))
    assert list(apart.effects.repeated()) == list(apart.effects.keys("flaky")), "nothing ran twice but what failed"
    assert apart.faults() == {}


@pytest.mark.promise("A1", "A13")
@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=LONG), pytest.param("solo", marks=LONG)])
def test_a_stock_worker_goes_on_when_its_broker_is_back(apart: Fleet, own_redis: Valkey, pool: Pool) -> None:
    worker = apart.worker(pool=pool, concurrency=1)
    apart.ready(worker)
    run = apart.start("slow_in_the_middle.bind('a', 2)")
    begun(apart)
    own_redis.stop()
    meanwhile = apart.start("chain.bind('b')")
    time.sleep(2.5)
    own_redis.start()

    assert apart.result(run) == "a-1-3"
    assert apart.result(meanwhile) == "b-1-2-3"
    assert apart.effects.repeated() == {}
    assert worker.alive
    assert apart.faults() == {}


@pytest.mark.parametrize("pool", [pytest.param("prefork", marks=LONG), "threads"])
def test_redis_restarts_with_work_in_flight(apart: Fleet, own_redis: Valkey, pool: Pool) -> None:
    worker = apart.worker(pool=pool, concurrency=2)
    apart.ready(worker)
    runs = [apart.start("slow_in_the_middle.bind('a', 2)") for _ in range(4)]
    begun(apart, many=2)
    own_redis.restart()

    assert [apart.result(run) for run in runs] == ["a-1-3"] * 4
    assert apart.result(apart.start("chain.bind('b')")) == "b-1-2-3"
    assert apart.effects.repeated() == {}
    assert worker.alive
    assert apart.faults() == {}


@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=LONG)])
def test_a_worker_outlives_a_redis_that_is_full(apart: Fleet, own_redis: Valkey, pool: Pool) -> None:
    worker = apart.worker(pool=pool, concurrency=1, environment=QUICK)
    apart.ready(worker)
    with own_redis.client() as client:
        with worker.stopped():
            run = apart.start("chain.bind('a')")
            apart.shell("ordinary.delay('of a task of the app Redis is told who holds it').id")
            client.config_set("maxmemory", "1")
        worker.wait_says("command not allowed when used memory")
        client.config_set("maxmemory", "0")

    assert apart.result(run) == "a-1-2-3"
    assert worker.alive
    assert "Unrecoverable error" not in worker.said()
    assert apart.faults() == {}


# ---- the database ---------------------------------------------------------------------------------------------------------


@pytest.mark.promise("A5", "E24")
@pytest.mark.parametrize("how", ["stop", pytest.param("kill", marks=LONG)])
def test_a_database_that_restarts_in_mid_run_loses_nothing(fleet: Fleet, postgres_server: Postgres, how: str) -> None:
    worker = fleet.worker(pool="threads", concurrency=4, environment=QUICK)
    fleet.ready(worker)
    runs = [fleet.start("slow_in_the_middle.bind('a', 2)"), fleet.start("nap.bind('b')")]
    begun(fleet)
    postgres_server.stop() if how == "stop" else postgres_server.kill()
    time.sleep(2.5)
    postgres_server.start()

    ends = "select count(*) from wf_run where status = 'succeeded'"
    eventually(lambda: fleet.query(ends) == [(2,)], within=60, ignoring=GONE)
    assert [fleet.result(run) for run in runs] == ["a-1-3", "b-1-2"]
    assert fleet.effects.attempts("slow") == [1], "what had been reached was kept until the database was back"
    assert fleet.result(fleet.start("chain.bind('c')")) == "c-1-2-3"
    assert worker.alive
    assert fleet.faults() == {}


def test_a_worker_that_starts_while_the_database_is_away_waits_for_it(fleet: Fleet, postgres_server: Postgres) -> None:
    postgres_server.stop()
    worker = fleet.worker(pool="threads", concurrency=1, environment=QUICK)
    worker.wait_says("the worker waits for it")
    postgres_server.start()
    fleet.ready(worker)
    assert fleet.result(fleet.start("chain.bind('a')")) == "a-1-2-3"


# ---- beat -----------------------------------------------------------------------------------------------------------------


@pytest.mark.promise("B9")
def test_a_stock_worker_and_a_stock_beat_are_enough_and_a_killed_beat_holds_nothing_up(fleet: Fleet) -> None:
    worker, beat = fleet.worker(), fleet.beat()
    fleet.ready(worker, beat)
    run = fleet.start("nap.bind('a')")
    begun(fleet, "first")
    beat.kill()

    assert fleet.result(run) == "a-1-2"
    beat.start().wait_ready()
    assert fleet.result(fleet.start("retried.bind(1)")) == 2
    assert fleet.faults() == {}


@pytest.mark.promise("A14", "C4")
def test_two_beats_and_four_sweeping_workers_do_nothing_twice(fleet: Fleet) -> None:
    quick = {"WFCELERY_POLL": "0.2", "WFCELERY_RING_AGAIN": "0.3", "WFCELERY_IDLE_POLL": "0.2"}
    workers = [fleet.worker(f"worker-{number}", pool="threads", concurrency=3, environment=quick) for number in range(4)]
    fleet.ready(*workers, fleet.beat("one", environment=quick), fleet.beat("two", environment=quick))
    runs = fleet.shell("[start_workflow(nap.bind('a')).id for _ in range(20)] + [start_workflow(chain.bind('b')).id for _ in range(20)]")
    squares = fleet.start("sum_of_squares.bind(list(range(100)))")

    assert [fleet.result(run) for run in runs] == ["a-1-2"] * 20 + ["b-1-2-3"] * 20
    assert fleet.result(squares) == 328350
    assert fleet.effects.repeated() == {}
    assert fleet.faults() == {}


# ---- children -------------------------------------------------------------------------------------------------------------


@pytest.mark.promise("D6", "E24")
def test_children_that_are_killed_again_and_again_change_no_result(fleet: Fleet) -> None:
    worker = fleet.worker(concurrency=3, environment=QUICK)
    fleet.ready(worker)
    runs = fleet.shell("[start_workflow(slow_in_the_middle.bind('a', 1.0)).id for _ in range(3)]")
    squares = fleet.start("sum_of_squares.bind(list(range(200)))")
    begun(fleet)
    for _ in range(2):
        for child in worker.children()[:2]:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.7)

    assert [fleet.result(run) for run in runs] == ["a-1-3"] * 3
    assert fleet.result(squares) == sum(number * number for number in range(200))
    recorded = dict(fleet.query("select name, count(*) from wf_step where item = -1 and status = 'succeeded' group by name"))
    assert (recorded["first"], recorded["slow"], recorded["third"], recorded["total"]) == (3, 3, 3, 1)
    assert worker.alive
    assert fleet.faults() == {}
