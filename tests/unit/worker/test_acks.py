"""Who holds a message: Redis is told it of an app's tasks, and not of the engine's bells, which nobody needs twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Consumer, Queue

from wfcelery.worker.messages import STEP, Note
from wfcelery.worker.publisher import BrokerPost, broker_of
from wfcelery.worker.transports import mended, register

BODY = {"v": 1, "ns": "n", "org": "default", "run": "018f0000-0000-7000-8000-000000000001", "step": None}


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis[Any]]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    register()
    with Celery("shop", broker=redis_url, set_as_current=False) as app:
        app.conf.broker_transport = mended([redis_url])
        post = BrokerPost(app, lambda: broker_of(app))
        post.send([Note(STEP, "celery", BODY, "a bell")])
        app.send_task("shop.mail", shadow="a task of the app")
        yield app
        post.hang_up()


def taken(connection: Connection) -> list[Any]:
    """The two messages, taken by a consumer and not acknowledged."""
    found: list[Any] = []
    consumer = Consumer(connection, [Queue("celery", routing_key="celery")], accept=["json"], on_message=found.append)
    consumer.consume()
    while len(found) < 2:
        connection.drain_events(timeout=5)
    return sorted(found, key=lambda message: message.headers["task"], reverse=True)


def names(raw: list[bytes]) -> list[str]:
    return [json.loads(each)["headers"]["shadow"] for each in raw]


def forgets(client: redis.Redis[Any]) -> int:
    return int(client.info("commandstats").get("cmdstat_zrem", {"calls": 0})["calls"])


def test_of_a_bell_that_is_taken_redis_is_told_nothing(app: Celery, client: redis.Redis[Any]) -> None:
    with app.connection_for_read() as connection:
        bell, mail = taken(connection)
        assert [json.loads(raw)[0]["headers"]["shadow"] for raw in client.hvals("unacked")] == ["a task of the app"]
        before = forgets(client)
        bell.ack()
        assert forgets(client) == before
        mail.ack()
        assert client.hlen("unacked") == 0
    assert client.llen("celery") == 0


def test_who_ends_in_peace_puts_back_what_he_did_not_pass_on(app: Celery, client: redis.Redis[Any]) -> None:
    with app.connection_for_read() as connection, closing(connection.default_channel):
        assert len(taken(connection)) == 2
    assert sorted(names(client.lrange("celery", 0, -1))) == ["a bell", "a task of the app"]
    assert client.hlen("unacked") == 0


def test_a_bell_can_be_given_back(app: Celery, client: redis.Redis[Any]) -> None:
    with app.connection_for_read() as connection:
        bell, mail = taken(connection)
        mail.ack()
        bell.requeue()
        assert names(client.lrange("celery", 0, -1)) == ["a bell"]


def test_a_bell_that_is_refused_is_gone(app: Celery, client: redis.Redis[Any]) -> None:
    with app.connection_for_read() as connection:
        for message in taken(connection):
            message.reject()
    assert (client.llen("celery"), client.hlen("unacked")) == (0, 0)
