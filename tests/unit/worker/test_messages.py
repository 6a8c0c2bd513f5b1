"""The messages of the bell: what Celery itself would have written, in as few commands as the broker takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from celery import Celery
from kombu.transport.redis import PublishBatch

from wfcelery.worker import messages
from wfcelery.worker.messages import DISPATCH, STEP, SWEEP, Note, Writer
from wfcelery.worker.publisher import BrokerPost, broker_of
from wfcelery.worker.transports import mended, register
from wfcelery.worker.transports import redis as transport

BODY = {"v": 1, "ns": "n", "org": "default", "run": "018f0000-0000-7000-8000-000000000001", "step": None}
NOTES = {
    "a wish to begin a run": Note(DISPATCH, "celery", BODY),
    "a step": Note(STEP, "payments", BODY, "shop.charge"),
    "a step with limits": Note(STEP, "payments", BODY, "shop.charge", 3, (30.0, None)),
    "what expires": Note(SWEEP, "celery", BODY, expires=5.0),
}


@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES)
def test_a_message_is_what_celery_would_write_less_what_is_empty(note: Note) -> None:
    written = Writer().write(note)
    hard, soft = note.limits
    headers, properties, body, _ = Celery("shop", set_as_current=False).amqp.as_task_v2(
        written.headers["id"],
        note.task,
        (),
        note.body,
        shadow=note.shadow,
        time_limit=hard,
        soft_time_limit=soft,
        expires=note.expires,
        argsrepr="()",
        kwargsrepr="{}",
        ignore_result=True,
    )
    told = {name: value for name, value in headers.items() if value not in (None, {}, [])} | {"wf_queue": note.queue}
    times = [datetime.fromisoformat(found.pop("expires")) for found in (told, written.headers) if "expires" in found]
    assert written.headers == told
    assert not any(body[2].values())
    assert json.loads(written.body) == [list(body[0]), body[1], {}]
    more = {name: value for name, value in (("priority", note.priority), ("expiration", note.expires)) if value is not None}
    assert written.properties == properties | more
    if note.expires is not None:
        assert abs(times[0] - times[1]) < timedelta(seconds=1)
        assert times[1] > datetime.now(UTC)


def test_each_message_has_an_id_of_its_own_and_shares_nothing_with_the_next() -> None:
    writer = Writer()
    first, second = writer.write(NOTES["a step"]), writer.write(NOTES["a step"])
    assert first.headers["id"] == first.headers["root_id"] == first.properties["correlation_id"] != second.headers["id"]
    first.headers["shadow"] = "another"
    assert writer.write(NOTES["a step"]).headers["shadow"] == second.headers["shadow"] == "shop.charge"


def test_names_that_come_and_go_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MOST_KINDS", 3)
    writer = Writer()
    shadows = [writer.write(replace(NOTES["a step"], shadow=f"step-{number}")).headers["shadow"] for number in range(10)]
    assert shadows == [f"step-{number}" for number in range(10)]
    assert len(writer._fixed) <= 3


@pytest.fixture
def post(redis_url: str) -> Iterator[BrokerPost]:
    register()
    with Celery("sender", broker=redis_url, set_as_current=False) as app:
        app.conf.broker_transport = mended([redis_url])
        made = BrokerPost(app, lambda: broker_of(app))
        yield made
        made.hang_up()


def commands(client: redis.Redis[Any]) -> dict[str, int]:
    return {name.removeprefix("cmdstat_"): told["calls"] for name, told in client.info("commandstats").items()}


def test_a_message_of_long_names_is_under_one_kib(post: BrokerPost, redis_url: str) -> None:
    body = BODY | {"org": "o" * 40, "step": BODY["run"]}
    post.send([Note(STEP, "q" * 20, body, "a_long_package.and_a_long_module.and_a_function_of_a_long_name", 3, (3600.0, 3600.0))])
    with redis.Redis.from_url(redis_url) as client:
        assert max(len(raw) for key in client.keys("q*") for raw in client.lrange(key, 0, -1)) <= 1024


def waiting(client: redis.Redis[Any], queue: str) -> list[str]:
    """Whose messages wait there, the oldest first."""
    return [json.loads(raw)["headers"].get("shadow", "") for raw in reversed(client.lrange(queue, 0, -1))]


def test_many_messages_for_one_queue_are_one_command_and_keep_their_order(post: BrokerPost, redis_url: str) -> None:
    notes = [Note(STEP, "celery", BODY, f"step-{number}") for number in range(40)]
    post.send(notes[:1])  # a connection, and the queue declared
    with redis.Redis.from_url(redis_url) as client:
        before = commands(client)
        post.send(notes[1:])
        assert commands(client)["lpush"] - before["lpush"] == 1
        assert waiting(client, "celery") == [note.shadow for note in notes]


def test_messages_of_many_queues_and_priorities_go_where_celery_looks_for_them(post: BrokerPost, redis_url: str) -> None:
    post.send([Note(STEP, queue, BODY, f"{queue}-{priority}", priority) for priority in (None, 0, 3, 9) for queue in ("a", "b")])
    with redis.Redis.from_url(redis_url) as client:
        for queue in ("a", "b"):
            assert waiting(client, queue) == [f"{queue}-None", f"{queue}-0"]
            assert waiting(client, f"{queue}\x06\x163") == [f"{queue}-3"]
            assert waiting(client, f"{queue}\x06\x169") == [f"{queue}-9"]


def test_a_batch_that_is_full_is_sent_and_one_that_failed_is_not_sent_later(post: BrokerPost, redis_url: str) -> None:
    post.send([NOTES["a step"]])
    producer = post._line().producer
    with redis.Redis.from_url(redis_url) as client:
        with producer.batch(max_size=2):
            for _ in range(5):
                producer.publish({}, routing_key="full", exchange="", serializer="json")
            assert client.llen("full") == 4
        assert client.llen("full") == 5
        with pytest.raises(RuntimeError), producer.batch(max_size=100):
            producer.publish({}, routing_key="none", exchange="", serializer="json")
            raise RuntimeError
        assert client.llen("none") == 0


def test_with_another_kombu_its_own_batch_is_used(post: BrokerPost, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(post._line().producer.channel.create_publish_batch(10), transport.Batch), "this kombu's way is known"
    monkeypatch.setattr(transport, "BATCHES_KNOWN", False)
    batch = post._line().producer.channel.create_publish_batch(10)
    assert isinstance(batch, PublishBatch)
    batch.close()
    post.send([Note(STEP, "celery", BODY, f"step-{number}") for number in range(3)])
    with redis.Redis.from_url(redis_url) as client:
        assert waiting(client, "celery") == ["step-0", "step-1", "step-2"]
