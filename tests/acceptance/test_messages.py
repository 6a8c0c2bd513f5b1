"""What is sent over the broker: how often, of which kind, and with what in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis
from kombu import Connection

from tests.acceptance.eventually import eventually
from tests.acceptance.monitor import Monitor
from tests.acceptance.processes import Fleet

CANARY = "canary-7f3a"


@pytest.fixture(scope="module", params=["60", "0"], ids=["run-ahead", "no run-ahead"])
def ahead(request: pytest.FixtureRequest, make_shared_fleet: Callable[..., Fleet]) -> Fleet:
    """It has all the time in the world to run ahead, and no sweep rings again for what is rung already."""
    fleet = make_shared_fleet(environment={"WFCELERY_RUN_AHEAD": request.param, "WFCELERY_RING_AGAIN": "60"})
    return fleet.ready(fleet.worker("one", pool="threads"), fleet.worker("two", pool="threads", queues="other"))


@pytest.fixture
def monitor(ahead: Fleet) -> Iterator[Monitor]:
    watching = Monitor(ahead.broker_url)
    yield watching
    watching.close()


def goes_ahead(fleet: Fleet) -> bool:
    return fleet.environment["WFCELERY_RUN_AHEAD"] != "0"


@pytest.mark.promise("E22", "B17")
def test_a_chain_on_one_queue_is_one_message_or_one_for_each_attempt(ahead: Fleet, monitor: Monitor) -> None:
    assert ahead.result(ahead.start("chain.bind('a')")) == "a-1-2-3"
    begin, step = ("celery", "wfcelery.dispatch"), ("celery", "wfcelery.step")
    assert monitor.hops() == ([begin] if goes_ahead(ahead) else [begin, step, step, step])


def test_a_chain_whose_second_step_is_on_another_queue_hops_twice(ahead: Fleet, monitor: Monitor) -> None:
    assert ahead.result(ahead.start("over_two_queues.bind('a')")) == "a-1-2-3"
    there_and_back = [("other", "wfcelery.step"), ("celery", "wfcelery.step")]
    first = [] if goes_ahead(ahead) else [("celery", "wfcelery.step")]
    assert monitor.hops() == [("celery", "wfcelery.dispatch"), *first, *there_and_back]


def test_a_retry_is_a_message_of_its_own(ahead: Fleet, monitor: Monitor) -> None:
    assert ahead.result(ahead.start("retried.bind(2)")) == 3
    assert [task for _, task in monitor.hops()].count("wfcelery.step") == (2 if goes_ahead(ahead) else 3)


@pytest.mark.promise("A15", "D3", "A17")
def test_a_message_holds_five_keys_and_nothing_of_the_application(ahead: Fleet, monitor: Monitor) -> None:
    runs = [
        ahead.start(f"chain.bind('{CANARY}')", "organization_id='acme'"),
        ahead.start(f"over_two_queues.bind('{CANARY}')"),
        ahead.start(f"doomed.bind('{CANARY}')"),
        ahead.start("adopted.bind(EPOCH)"),
        ahead.start("sum_of_squares.bind([1, 2, 3, 4, 5, 6])"),
    ]
    for run in runs:
        ahead.ended(run)
    messages = monitor.messages(sweeps=True)
    assert {message.task for message in messages} <= {"wfcelery.step", "wfcelery.dispatch", "wfcelery.sweep"}
    assert {tuple(message.body) for message in messages} == {("v", "ns", "org", "run", "step")}
    assert {message.body["v"] for message in messages} == {1}
    assert {message.body["org"] for message in messages if message.body["run"] == runs[0]} == {"acme"}
    assert max(len(message.raw) for message in messages) < 1024
    assert [command for command in monitor.commands if CANARY in command] == []
    assert ahead.faults() == {}


def test_a_message_of_another_shape_ends_no_worker(ahead: Fleet) -> None:
    bodies: list[object] = [{"v": 1}, [], [1, 2], "text", 7, None, [{}, [], {}], [[], "no mapping", {}]]
    with Connection(ahead.broker_url) as connection:
        producer = connection.Producer()
        for task in ("wfcelery.step", "wfcelery.dispatch", "wfcelery.sweep", "wfcelery.expire"):
            for body in bodies:
                headers = {"task": task, "id": "no id", "lang": "py", "expires": "never" if body == [] else None}
                producer.publish(body, headers=headers, routing_key="celery", serializer="json")
            producer.publish({"v": 1}, headers={"task": task}, routing_key="celery", serializer="json")
    with redis.Redis.from_url(ahead.broker_url) as client:
        eventually(lambda: client.llen("celery") == 0, what="every message was taken")

    assert ahead.result(ahead.start("chain.bind('a')")) == "a-1-2-3"
    assert all(process.alive for process in ahead.processes)
    assert all("Unrecoverable error" not in process.said() for process in ahead.processes)
