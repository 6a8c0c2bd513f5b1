"""The same workflows on each of the three pools, on a worker and with a lease that make renewals quick."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast, get_args

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet, Pool
from tests.acceptance.shell import ShellError

LEASE = 3.0
MANY = {"prefork": 6, "threads": 8, "solo": 1}


def always_on(*pools: Pool) -> pytest.MarkDecorator:
    """On these pools in every check, on the others in the long one: what the engine does, whoever lends it hands."""
    each = [pytest.param(pool, marks=() if pool in pools else pytest.mark.long) for pool in get_args(Pool)]
    return pytest.mark.parametrize("pool", each, indirect=True, scope="module")


@pytest.fixture(scope="module", params=get_args(Pool))
def pool(request: pytest.FixtureRequest) -> Pool:
    return cast(Pool, request.param)


@pytest.fixture(scope="module")
def here(pool: Pool, make_shared_fleet: Callable[..., Fleet]) -> Fleet:
    fleet = make_shared_fleet(environment={"WFCELERY_LEASE": f"{LEASE:g}", "WFCELERY_POLL": "0.5"})
    return fleet.ready(fleet.worker(pool=pool, concurrency=MANY[pool]))


@pytest.mark.promise("E34", "D2")
def test_a_chain_gives_its_result(here: Fleet) -> None:
    run = here.start("chain.bind('a')")
    assert here.result(run) == "a-1-2-3"
    assert here.shell(f"import pickle\npickle.loads(pickle.dumps(get_run({run!r}))).result(timeout=1)") == "a-1-2-3"
    assert here.faults() == {}


@pytest.mark.promise("C17", "A14")
@always_on("prefork", "threads")
def test_two_hundred_items_are_never_more_than_five_in_flight(here: Fleet) -> None:
    run, most = here.start("five_at_a_time.bind(200)"), 0
    while here.status(run) not in ("succeeded", "failed"):
        ((under_way,),) = here.query(
            "select count(*) from wf_step where run = cast(:run as uuid) and item >= 0 and status = 'running'", run=run
        )
        most = max(most, under_way)
    assert here.result(run) == sum(range(200))
    assert 1 <= most <= 5
    assert at_once(here) <= 5
    assert sorted(int(effect.note) for effect in here.effects.all("comes")) == list(range(200))
    assert here.faults() == {}


def at_once(fleet: Fleet) -> int:
    """How many items were inside the step's body at the same time, at most."""
    inside, most = 0, 0
    for effect in fleet.effects.all():
        inside += {"comes": 1, "goes": -1}.get(effect.step, 0)
        most = max(most, inside)
    return most


@pytest.mark.promise("D13", "E19")
@always_on("prefork")
def test_a_failing_step_is_tried_again_as_often_as_its_policy_says(here: Fleet) -> None:
    run = here.start("retried.bind(2)")
    assert here.result(run) == 3
    retried, succeeded = here.facts(run, "step_retried"), here.facts(run, "step_succeeded")
    assert [(fact["attempt"], fact["delay"], fact["error"]["type"]) for fact in retried] == [
        (1, 0.2, "ConnectionError"),
        (2, 0.2, "ConnectionError"),
    ]
    assert [(fact["attempt"], "worker" in fact, "started" in fact) for fact in succeeded] == [(3, True, True)]
    assert here.faults() == {}


@pytest.mark.promise("C2", "C5")
@always_on("prefork")
def test_a_sleep_holds_no_worker_and_ends_in_time(here: Fleet) -> None:
    far = "app_module.datetime(2099, 1, 1, tzinfo=app_module.UTC)"
    sleepers = here.shell(f"[start_workflow(alarm.bind({far})).id for _ in range(12)]")
    runs = [here.start("nap.bind('a')") for _ in range(12)]
    eventually(lambda: here.query("select count(*) from wf_wait where status = 'open' and due_at > '2098-01-01'") == [(12,)])
    assert here.result(here.start("chain.bind('a')")) == "a-1-2-3"  # there are more sleepers than anybody could hold
    assert {here.result(run) for run in runs} == {"a-1-2"}
    late = "select extract(epoch from min(ended_at - due_at)), extract(epoch from max(ended_at - due_at)) from wf_wait where status = 'due'"
    ((least, most),) = here.query(late)
    assert 0 <= float(least) <= float(most) < 2
    assert here.shell(f"[get_run(run).cancel() for run in {sleepers!r}] and 1") == 1
    assert here.faults() == {}


@pytest.mark.promise("C10", "C23")
def test_a_step_that_asks_ends_within_two_renewals_of_its_cancel(here: Fleet) -> None:
    run = here.start("one_watchful.bind(30)")
    before = len(here.effects.all("watchful"))
    eventually(lambda: here.query("select 1 from wf_step where status = 'running' and run = cast(:run as uuid)", run=run))
    cancelled = time.monotonic()
    here.shell(f"get_run({run!r}).cancel()")
    assert here.ended(run) == "cancelled"
    assert time.monotonic() - cancelled < 2 * LEASE / 3 + 5, "the step itself takes 30 s, and so long is the grace"
    with pytest.raises(ShellError, match=r"RunCancelled.*operator cancel"):
        here.result(run)
    assert len(here.effects.all("watchful")) <= before + 1
    assert here.faults() == {}


def test_an_async_step_is_awaited(here: Fleet) -> None:
    run = here.start("one_snooze.bind(0.1)")
    assert here.result(run) in here.effects.keys("snooze")
    assert here.faults() == {}


@pytest.mark.promise("A7", "E18")
@always_on("prefork", "threads")
def test_an_attempt_past_its_timeout_is_tried_again_and_then_a_dead_letter(here: Fleet) -> None:
    run = here.start("one_too_slow.bind(3)")
    with pytest.raises(ShellError, match=r"RunFailed|RunTimedOut"):
        here.result(run)
    letters = here.query("select reason, attempts, error from wf_dead_letter where run = cast(:run as uuid)", run=run)
    assert [(reason, attempts) for reason, attempts, _ in letters] == [("timed_out", 2)]
    assert "longer than its timeout" in letters[0][2]
    assert here.query("select status from wf_step where run = cast(:run as uuid)", run=run) == [("timed_out",)]
    assert here.faults() == {}


@pytest.mark.promise("E18")
@always_on("prefork")
def test_a_timeout_takes_its_own_way(here: Fleet) -> None:
    run = here.start("too_slow_and_handled.bind(3)")
    assert here.result(run) is None
    assert dict(here.query("select name, status from wf_step where run = cast(:run as uuid)", run=run)) == {
        "too_slow": "timed_out",
        "apologise": "succeeded",
    }
    assert here.faults() == {}


def test_a_soft_time_limit_ends_the_attempt_itself(here: Fleet) -> None:
    run = here.start("one_softly.bind(2)")
    assert here.ended(run) in ("failed", "timed_out")
    assert here.query("select status, error::json ->> 'type' from wf_step where run = cast(:run as uuid)", run=run) == [
        ("timed_out", "SoftTimeLimitExceeded")
    ]
    assert here.faults() == {}


@always_on("prefork")
def test_a_failure_that_is_handled_leads_on(here: Fleet) -> None:
    run = here.start("handled.bind('no paper')")
    assert here.result(run) is None
    assert here.query("select status from wf_dead_letter where run = cast(:run as uuid)", run=run) == [("handled",)]
    assert [fact["fact"] for fact in here.facts(run)][-1] == "run_succeeded"
    assert here.faults() == {}


@always_on("prefork")
def test_a_failed_item_is_a_value_where_the_workflow_goes_on(here: Fleet) -> None:
    assert here.result(here.start("squares_with_a_failure.bind([1, 2, 3, 4])")) == 1
    assert here.faults() == {}


def test_an_ordinary_task_of_the_app_runs_as_before(here: Fleet) -> None:
    here.shell("ordinary.delay('as ever').id")
    eventually(lambda: [effect for effect in here.effects.all("ordinary") if effect.note == "as ever"])
