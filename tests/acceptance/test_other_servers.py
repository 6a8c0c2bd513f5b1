"""The core on other brokers and databases: RabbitMQ, and SQLite without any broker. One engine behind all of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet, Process

QUICK = {"WFCELERY_POLL": "0.3"}


def carries_the_core(fleet: Fleet, worker: Process) -> dict[str, list[tuple[str, str | None]]]:
    """A chain, a fan-out, retries, a sleep, a cancel, a failure, and a killed child; the histories of three of them."""
    chain, nap = fleet.start("chain.bind('a')"), fleet.start("nap.bind('a')")
    squares, retried = fleet.start("sum_of_squares.bind(list(range(40)))"), fleet.start("retried.bind(2)")
    assert fleet.result(chain) == "a-1-2-3"
    assert fleet.result(squares) == 20540
    assert fleet.result(retried) == 3
    assert fleet.result(nap) == "a-1-2"
    assert fleet.ended(fleet.start("doomed.bind('no')")) == "failed"
    watched = fleet.start("one_watchful.bind(60)")
    fleet.shell(f"get_run({watched!r}).cancel()")
    assert fleet.ended(watched) == "cancelled"

    slow = fleet.start("slow_in_the_middle.bind('a', 60)")
    (effect,) = eventually(lambda: fleet.effects.all("slow"))
    os.kill(effect.pid, signal.SIGKILL)
    assert fleet.result(slow) == "a-1-3"
    assert fleet.effects.attempts("slow") == [1, 2]
    assert set(fleet.effects.repeated()) == fleet.effects.keys("slow") | fleet.effects.keys("flaky")
    assert worker.alive
    assert fleet.faults() == {}
    return {
        name: [(fact["fact"], fact.get("step")) for fact in fleet.facts(run)]
        for name, run in (("chain", chain), ("retried", retried), ("nap", nap))
    }


def test_rabbitmq_carries_the_core(make_fleet: Callable[..., Fleet], postgres_url: str, rabbitmq_url: str) -> None:
    fleet = make_fleet(database_url=postgres_url, broker_url=rabbitmq_url, environment={**QUICK, "WFCELERY_LEASE": "3"}).upgrade()
    worker, other = fleet.worker(), fleet.worker("other", pool="threads", queues="other")
    fleet.ready(worker, other)
    carries_the_core(fleet, worker)
    assert fleet.result(fleet.start("over_two_queues.bind('b')")) == "b-1-2-3"
    assert fleet.faults() == {}


@pytest.mark.promise("B1", "A2", "A10")
def test_sqlite_without_a_broker_and_postgresql_with_redis_tell_one_history(
    make_fleet: Callable[..., Fleet], sqlite_url: str, postgres_url: str, redis_url: str
) -> None:
    embedded = make_fleet(database_url=sqlite_url, broker_url="wfmem://localhost//", environment={**QUICK, "WFCELERY_LEASE": "3"}).upgrade()
    worker = embedded.database_worker()
    alone = carries_the_core(embedded.ready(worker), worker)

    without_run_ahead = {**QUICK, "WFCELERY_LEASE": "3", "WFCELERY_RUN_AHEAD": "0"}
    fleet = make_fleet(database_url=postgres_url, broker_url=redis_url, environment=without_run_ahead).upgrade()
    worker = fleet.worker()
    assert carries_the_core(fleet.ready(worker), worker) == alone
