"""Time: when things fall due, what they wait for, and what a cancel finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.acceptance.eventually import eventually, never
from tests.acceptance.monitor import Monitor
from tests.acceptance.processes import Fleet
from tests.promises.conftest import APP, Here

NEW = """
name: {name}
tasks:
  - name: it
    action: $app.hopeful
    input: {{reason: no}}
    retry: {{count: 4, delay: 30s, backoff: {backoff}, max_delay: 100s, jitter: {jitter}}}
"""
TABLE = [("constant", [30, 30, 30, 30]), ("linear", [30, 60, 90, 100]), ("exponential", [30, 60, 100, 100])]


def moment(stored: Any) -> datetime:
    return stored if isinstance(stored, datetime) else datetime.fromtimestamp(stored, UTC)


def next_due(here: Here, run: str, failures: int) -> float:
    """Seconds between the commit that recorded this failure and the next attempt's due time, both as stored."""
    stored = "select due_at from wf_step where run = :run and status = 'ready' and failures = :failures"
    ((due,),) = eventually(lambda: here.query(stored, run=here.id(run), failures=failures))
    ((at,),) = here.query("select max(at) from wf_history where run = :run", run=here.id(run))
    return (moment(due) - moment(at)).total_seconds()


@pytest.mark.promise("E16", "D13")
@pytest.mark.parametrize(("backoff", "delays"), TABLE)
def test_the_time_of_the_next_attempt_stands_in_its_row(here: Here, backoff: str, delays: list[float]) -> None:
    """Each wait is shortened by an UPDATE: nothing else keeps the time. The fifth failure is the last."""
    here.publish(NEW.format(name=f"patient_{backoff}", backoff=backoff, jitter="false"))
    run = here.named(f"patient_{backoff}")
    for failures, delay in enumerate(delays, 1):
        assert next_due(here, run, failures) == pytest.approx(delay, abs=0.1)
        assert [fact["delay"] for fact in here.facts(run, "step_retried")][-1] == delay
        here.query("update wf_step set due_at = first_at, ring_at = first_at where run = :run", run=here.id(run))
    assert here.ended(run) == "failed"
    tried = [effect.attempt for effect in here.effects.all("hopeful") if effect.key == effect_key(here, run)]
    assert tried == [1, 2, 3, 4, 5]
    letters = here.query("select reason, attempts from wf_dead_letter where run = :run", run=here.id(run))
    assert letters == [("exhausted", 5)]


def effect_key(here: Here, run: str) -> str:
    (key,) = here.shell(f"from wfcelery.service import context, runs\n[step.key for step in runs.shown(context.current(), {run!r}).steps]")
    return str(key)


@pytest.mark.promise("E16")
def test_jitter_spreads_what_failed_together_and_brings_nothing_early(here: Here) -> None:
    here.publish(NEW.format(name="spread", backoff="constant", jitter="true"))
    waits = [next_due(here, run, 1) for run in [here.named("spread") for _ in range(12)]]
    assert all(wait + 0.001 >= 30 and wait < 30 * 1.25 + 0.1 for wait in waits)
    assert max(waits) - min(waits) > 1


@pytest.mark.promise("C13", "C31")
def test_the_commit_that_moves_a_run_on_names_its_cause(here: Here) -> None:
    retried, timer, late, cancelled = (
        here.start("failing.bind('c31')"),
        here.start("napping.bind(0.3)"),
        here.start("napping.bind(60)", "deadline='0.5s'"),
        here.start("napping.bind(60)"),
    )
    eventually(lambda: here.status(cancelled) == "waiting")
    here.shell(f"get_run({cancelled!r}).cancel('because')")
    assert [here.ended(run) for run in (retried, timer, late, cancelled)] == ["failed", "succeeded", "timed_out", "cancelled"]
    assert [(fact["attempt"], fact["error"]["type"]) for fact in here.facts(retried, "step_retried")] == [
        (number, "ConnectionError") for number in (1, 2, 3)
    ]
    (commit,) = [facts for facts in commits(here, timer) if any(fact["fact"] == "wait_came" for fact in facts)]
    assert [(fact["fact"], fact.get("step")) for fact in commit] == [("wait_came", "sleep"), ("step_ready", "double")]
    assert [fact["reason"] for fact in here.facts(late, "run_ending")] == ["deadline"]
    assert [fact["reason"] for fact in here.facts(cancelled, "run_ending")] == ["because"]
    assert here.query("select kind, status from wf_wait where run = :run", run=here.id(cancelled)) == [("sleep", "cancelled")]


def commits(here: Here, run: str) -> list[list[dict[str, Any]]]:
    rows = here.query("select facts from wf_history where run = :run order by version", run=here.id(run))
    return [json.loads(facts) for (facts,) in rows]


@pytest.mark.promise("C10")
def test_a_run_that_has_not_begun_is_cancelled_at_once_and_says_who_asked(here: Here) -> None:
    run = here.start("double_twice.bind(1)", "delay='1h'")
    assert here.status(run) == "pending"
    here.shell(f"get_run({run!r}).cancel()")
    assert here.ended(run, within=5) == "cancelled"
    assert here.steps(run) == {}
    assert here.query("select reason from wf_run where id = :run", run=here.id(run)) == [("operator cancel",)]


@pytest.mark.promise("C11", "C23")
def test_a_cancel_is_kept_until_somebody_can_do_it(alone: Here) -> None:
    """No worker, no broker: nothing could be told, and nothing is forgotten."""
    runs = [alone.start("double_twice.bind(1)"), alone.start("double_twice.bind(2)")]
    alone.shell(f"get_run({runs[0]!r}).cancel('too late')")
    assert alone.status(runs[0]) == "pending"
    assert alone.query("select run, fact from wf_inbox") == [(alone.id(runs[0]), "cancel")]
    alone.late_worker()
    assert alone.ended(runs[0]) == "cancelled"
    assert alone.result(runs[1]) == 8
    assert {effect.note for effect in alone.effects.all("double")} == {"2", "4"}
    assert alone.query("select count(*) from wf_inbox") == [(0,)]
    assert alone.faults() == {}


@pytest.mark.promise("C2")
def test_what_falls_due_between_two_sweeps_fires_then_and_not_at_the_next(alone: Here) -> None:
    """A sweep each two seconds: half of all moments would be a second late or more."""
    alone.environment.update({"WFCELERY_POLL": "2", "WFCELERY_LEASE": "10", "WFCELERY_RING_AGAIN": "60"})
    alone.late_worker()
    naps = [alone.start(f"napping.bind({4 + number * 0.4})") for number in range(6)]
    late = [alone.start("napping.bind(60)", f"deadline='{4.1 + number * 0.4:.1f}s'") for number in range(3)]
    again = [alone.start(f"failing_once.bind('{4.2 + number * 0.4:.1f}s')") for number in range(3)]
    assert [alone.result(run) for run in [*naps, *again]] == [2] * 9
    assert [alone.ended(run) for run in late] == ["timed_out"] * 3

    waits = alone.query("select ended_at, due_at from wf_wait where status = 'due'")
    ends = alone.query("select at, deadline from wf_history join wf_run on wf_run.id = run where facts like '%\"deadline\"%'")
    lateness = [(moment(came) - moment(due)).total_seconds() for came, due in [*waits, *ends]]
    for run in again:
        (retried,) = alone.facts(run, "step_retried")
        (first, second) = (row["at"] for row in begun(alone, run))
        lateness.append(second - first - retried["delay"])
    assert len(lateness) == 12
    assert sorted(lateness)[0] >= -0.001
    assert sorted(lateness)[-2] < 0.5, lateness


def begun(here: Here, run: str) -> list[dict[str, float]]:
    return [{"at": effect.at} for effect in here.effects.all("fails_once") if effect.key == effect_key(here, run)]


@pytest.fixture(scope="module")
def on_redis(make_shared_fleet: Callable[..., Fleet]) -> Here:
    """Stock workers on PostgreSQL and Redis: one for orchestration, one with one thread for everything else."""
    made = make_shared_fleet(kind=Here, app=APP, environment={"WFCELERY_POLL": "0.3", "WFCELERY_DISPATCH_QUEUE": "orchestra"})
    assert isinstance(made, Here)
    made.worker("heavy", pool="threads", concurrency=1, queues="celery,by-route")
    made.worker("light", pool="threads", concurrency=2, queues="orchestra")
    made.ready(*made.processes)
    return made


@pytest.mark.promise("C18", "B3")
def test_orchestration_may_have_its_own_queue_and_steps_go_where_the_routes_say(on_redis: Here) -> None:
    monitor = Monitor(on_redis.broker_url)
    assert on_redis.result(on_redis.start("routed_once.bind('x')")) == "x"
    assert monitor.hops() == [("orchestra", "wfcelery.dispatch"), ("by-route", "wfcelery.step")]
    monitor.close()
    assert on_redis.query("select distinct queue from wf_step where name = 'routed'") == [("by-route",)]
    sleeper = on_redis.start("napping.bind(60)")
    eventually(lambda: on_redis.status(sleeper) == "waiting")
    heavy = on_redis.start("slow_one.bind(6.0)")
    eventually(lambda: on_redis.steps(heavy) == {"slow": "running"})
    on_redis.shell(f"get_run({sleeper!r}).cancel()")
    assert on_redis.ended(sleeper, within=4) == "cancelled"
    assert on_redis.steps(heavy) == {"slow": "running"}
    assert on_redis.result(heavy) == 6.0


@pytest.mark.promise("C5")
def test_a_sleep_of_ninety_days_needs_no_message_and_no_worker_that_remembers(on_redis: Here) -> None:
    run = on_redis.start("napping.bind('90d')")
    eventually(lambda: on_redis.status(run) == "waiting")
    ((due, began),) = on_redis.query("select due_at, opened_at from wf_wait where run = cast(:run as uuid)", run=run)
    assert due - began == pytest.approx(timedelta(days=90), abs=timedelta(seconds=1))
    monitor = Monitor(on_redis.broker_url)
    never(monitor.hops, during=1.0)
    monitor.close()
    for process in on_redis.processes:
        process.kill()
    on_redis.query("update wf_wait set due_at = clock_timestamp() where run = cast(:run as uuid)", run=run)  # ninety days later
    for process in on_redis.processes:
        process.start().wait_ready()
    assert on_redis.result(run) == 2
    assert on_redis.faults() == {}
