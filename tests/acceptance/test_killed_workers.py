"""A worker, or the machine it ran on, is killed in the middle of a run: nothing that was recorded runs again."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet, Pool

ROWS = "select status, attempt, token, output, ended_at, (select count(*) from wf_history) from wf_step"
LONG = pytest.mark.long
SHORT_LEASE = {"WFCELERY_LEASE": "2", "WFCELERY_POLL": "0.3"}


@pytest.mark.promise("A3", "A5", "C31")
def test_a_chain_whose_worker_is_killed_in_the_middle_ends_rightly_after_a_restart(fleet: Fleet) -> None:
    worker = fleet.worker()
    fleet.ready(worker)
    run = fleet.start("slow_in_the_middle.bind('a', 60)")
    eventually(lambda: fleet.effects.all("slow"), what="the step in the middle has begun")

    worker.kill()
    worker.start().wait_ready()

    assert fleet.result(run) == "a-1-3"
    assert fleet.effects.steps() == ["first", "slow", "slow", "third"]
    assert fleet.effects.attempts("slow") == [1, 2]
    assert len(fleet.effects.keys("slow")) == 1
    assert [fact["fact"] for fact in fleet.facts(run) if fact.get("step") == "slow"] == ["step_ready", "step_lost", "step_succeeded"]
    assert fleet.faults() == {}


@pytest.mark.promise("A3", "E24", "E12")
def test_a_kill_after_the_second_step_starts_only_the_third_again(fleet: Fleet) -> None:
    worker = fleet.worker()
    fleet.ready(worker)
    run = fleet.start("slow_at_the_end.bind('a', 60)")
    eventually(lambda: fleet.effects.all("slow"), what="the third step has begun")
    assert fleet.query("select name, status, attempt from wf_step order by name") == [
        ("first", "succeeded", 1),
        ("second", "succeeded", 1),
        ("slow", "running", 1),
    ]

    worker.kill_all()
    worker.start().wait_ready()

    assert fleet.result(run) == 2
    assert fleet.effects.steps() == ["first", "second", "slow", "slow"]
    assert list(fleet.effects.repeated()) == [next(iter(fleet.effects.keys("slow")))]
    assert fleet.faults() == {}


@pytest.mark.promise("D6")
@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=LONG), pytest.param("solo", marks=LONG)])
def test_a_worker_that_was_stopped_for_two_leases_writes_nothing(fleet: Fleet, pool: Pool) -> None:
    hung = fleet.worker("hung", pool=pool, concurrency=1, environment=SHORT_LEASE)
    fleet.ready(hung)
    run = fleet.start("one_slow.bind(3)")
    eventually(lambda: fleet.effects.all("slow"))
    other = fleet.worker("other", concurrency=1, environment=SHORT_LEASE)
    with hung.stopped():
        stopped = time.monotonic()
        other.wait_ready()
        assert fleet.result(run) == 2
        eventually(lambda: time.monotonic() - stopped > 4)
    before = fleet.query(ROWS)

    hung.wait_says("was over before its outcome came")
    assert fleet.query(ROWS) == before
    assert len(fleet.facts(run, "step_succeeded")) == 1
    other.stop()
    assert fleet.result(fleet.start("chain.bind('a')")) == "a-1-2-3"  # the one that hung works on
    assert fleet.faults() == {}


@pytest.mark.promise("D6", "A13")
def test_a_killed_child_in_a_step_of_a_minute_is_replaced_within_five_seconds(fleet: Fleet) -> None:
    worker = fleet.worker(concurrency=2)
    fleet.ready(worker)
    run = fleet.start("one_slow.bind(60)")
    (effect,) = eventually(lambda: fleet.effects.all("slow"))
    assert effect.pid in worker.children()

    killed = time.time()
    os.kill(effect.pid, signal.SIGKILL)
    eventually(lambda: fleet.effects.attempts("slow") == [1, 2], within=20)

    assert fleet.effects.all("slow")[1].at - killed < 5
    assert fleet.result(run) == 2
    assert worker.alive
    assert fleet.faults() == {}


@pytest.mark.promise("C7")
def test_a_worker_that_is_asked_to_stop_finishes_what_it_has_begun(fleet: Fleet) -> None:
    worker = fleet.worker()
    fleet.ready(worker)
    run = fleet.start("slow_in_the_middle.bind('a', 2)")
    eventually(lambda: fleet.effects.all("slow"))

    assert worker.stop() == 0

    assert fleet.query("select name, status from wf_step order by name") == [
        ("first", "succeeded"),
        ("slow", "succeeded"),
        ("third", "ready"),
    ]
    worker.start().wait_ready()
    assert fleet.result(run) == "a-1-3"
    assert fleet.effects.repeated() == {}
    assert fleet.faults() == {}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
