"""The harness starts, watches and kills real processes, and leaves none."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from celery import Celery

from tests.acceptance.effects import Effects
from tests.acceptance.eventually import eventually, never
from tests.acceptance.processes import Fleet, Pool
from tests.servers import caretaker

LONG = pytest.mark.long


@pytest.fixture
def plain(make_fleet: Callable[..., Fleet], redis_url: str) -> Fleet:
    return make_fleet(app="tests.acceptance.plain", database_url="sqlite://", broker_url=redis_url)


@contextmanager
def sender(broker_url: str) -> Iterator[Celery]:
    app = Celery("sender", broker=broker_url, set_as_current=False)
    try:
        yield app
    finally:
        app.close()


@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=LONG), pytest.param("solo", marks=LONG)])
def test_a_stock_worker_of_each_pool_executes_what_is_sent(plain: Fleet, pool: Pool) -> None:
    plain.worker(pool=pool, concurrency=1).wait_ready()
    with sender(plain.broker_url) as app:
        app.send_task("note", ["sent"])
    eventually(lambda: plain.effects.keys("note") == {"sent"})


def test_beat_sends_by_its_own_schedule(plain: Fleet) -> None:
    plain.worker(pool="solo").wait_ready()
    plain.beat().wait_ready()
    eventually(lambda: len(plain.effects.all("note")) > 1)


@LONG
def test_a_worker_goes_through_rabbitmq(make_fleet: Callable[..., Fleet], rabbitmq_url: str) -> None:
    fleet = make_fleet(app="tests.acceptance.plain", database_url="sqlite://", broker_url=rabbitmq_url)
    fleet.worker(pool="solo").wait_ready()
    with sender(rabbitmq_url) as app:
        app.send_task("note", ["sent"])
    eventually(lambda: fleet.effects.keys("note") == {"sent"})


def test_a_killed_worker_leaves_its_children_and_the_fleet_ends_them(plain: Fleet) -> None:
    worker = plain.worker(concurrency=2).wait_ready()
    with sender(plain.broker_url) as app:
        app.send_task("stay", ["long"])
    eventually(lambda: plain.effects.all("stay"))
    children = worker.children()
    assert plain.effects.all("stay")[0].pid in children
    worker.kill(signal.SIGKILL)
    assert not worker.alive
    plain.close()
    eventually(lambda: caretaker.session_members(worker.pid) == [])  # a killed process takes a moment to go


def test_a_child_can_be_killed_alone(plain: Fleet) -> None:
    worker = plain.worker(concurrency=1).wait_ready()
    (child,) = worker.children()
    os.kill(child, signal.SIGKILL)
    eventually(lambda: worker.children() and worker.children() != [child])
    assert worker.alive


def test_a_stopped_worker_does_nothing_until_it_continues(plain: Fleet) -> None:
    worker = plain.worker(pool="solo").wait_ready()
    with worker.stopped(), sender(plain.broker_url) as app:
        app.send_task("note", ["late"])
        never(plain.effects.all, during=0.5)
    eventually(lambda: plain.effects.keys("note") == {"late"})


def test_a_worker_stops_in_peace_and_starts_again_under_its_name(plain: Fleet) -> None:
    worker = plain.worker(pool="threads").wait_ready()
    first = worker.pid
    assert worker.stop() == 0
    assert worker.start().wait_ready().pid != first


def test_waiting_for_a_process_that_ended_tells_its_log(plain: Fleet) -> None:
    process = plain.spawn("broken", [plain.python, "-c", "raise SystemExit('no such thing')"], ready="never said")
    with pytest.raises(AssertionError, match=r"broken ended with 1:\nno such thing"):
        process.wait_ready()


def test_a_script_sees_the_app_and_a_query_its_database(make_fleet: Callable[..., Fleet], database_url: str) -> None:
    fleet = make_fleet(app="tests.acceptance.plain", database_url=database_url, broker_url="memory://")
    assert fleet.script("print(note.name)") == "note\n"
    assert fleet.query("select 1 + :more", more=1) == [(2,)]


def test_a_fleet_runs_as_far_ahead_as_the_tests_are_told_unless_a_test_says_otherwise(
    make_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = {"app": "tests.acceptance.plain", "database_url": "sqlite://", "broker_url": "memory://"}
    monkeypatch.delenv("WFCELERY_TEST_RUN_AHEAD", raising=False)
    assert "WFCELERY_RUN_AHEAD" not in make_fleet(**nowhere).environment
    monkeypatch.setenv("WFCELERY_TEST_RUN_AHEAD", "0")
    assert make_fleet(**nowhere).environment["WFCELERY_RUN_AHEAD"] == "0"
    assert make_fleet(**nowhere, environment={"WFCELERY_RUN_AHEAD": "1"}).environment["WFCELERY_RUN_AHEAD"] == "1"


def test_eventually_says_what_it_saw_last() -> None:
    with pytest.raises(AssertionError, match=r"not within 0.1 s: three runs have ended; last seen: \[\]"):
        eventually(lambda: [], within=0.1, what="three runs have ended")


def test_the_ledger_tells_repeated_keys_from_others(tmp_path: Path) -> None:
    ledger = Effects(tmp_path / "effects.jsonl")
    for key, step, attempt in (("k1", "charge", 1), ("k2", "ship", 1), ("k1", "charge", 2)):
        ledger.record(key, step, attempt)
    assert ledger.steps() == ["charge", "ship", "charge"]
    assert ledger.attempts("charge") == [1, 2]
    assert list(ledger.repeated()) == ["k1"]
