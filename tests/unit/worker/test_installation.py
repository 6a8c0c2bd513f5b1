"""What `install` changes on an app, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.servers.ports import free_port
from tests.servers.valkey import Valkey
from tests.unit.worker.folder import RUN, FolderEngine
from tests.unit.worker.processes import ROOT
from wfcelery.authoring.registry import Registry
from wfcelery.core.decision import RingRun
from wfcelery.worker.installation import Installation
from wfcelery.worker.transports import memory
from wfcelery.worker.transports import redis as mended


def put(app: Celery, folder: Path, **given: Any) -> Installation:
    made = Installation(app, lambda installation: FolderEngine(folder, installation), given, Registry())
    made.put()
    return made


def settings(app: Celery) -> dict[str, Any]:
    return {name: app.conf.get(name) for name in app.conf}


def test_only_the_transport_and_two_entries_of_beat_change(tmp_path: Path) -> None:
    app = Celery("app", broker="redis://localhost:1/7", set_as_current=False)
    app.conf.update(task_default_rate_limit="1/s", task_ignore_result=False, beat_schedule={"mine": {"task": "mine", "schedule": 60.0}})

    @app.task(name="neighbour", shared=False)
    def neighbour(x: int) -> int:
        return x

    before = settings(app)
    put(app, tmp_path)
    after = settings(app)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"broker_transport", "beat_schedule"}
    assert after["beat_schedule"] == before["beat_schedule"] | {
        "wfcelery-sweep": {"task": "wfcelery.sweep", "schedule": 1.0, "options": {"expires": 1.0}},
        "wfcelery-expire": {"task": "wfcelery.expire", "schedule": 60.0, "options": {"expires": 60.0}},
    }
    assert (neighbour.rate_limit, neighbour.ignore_result) == ("1/s", False)
    for name in ("wfcelery.step", "wfcelery.dispatch", "wfcelery.sweep", "wfcelery.expire"):
        task = app.tasks[name]
        assert (task.rate_limit, task.ignore_result, task.send_events, task.acks_late) == (0, True, False, False)


@pytest.mark.parametrize(
    ("url", "given", "transport"),
    [
        ("redis://h:1/0", {}, "wfredis"),
        ("rediss://h:1/0", {}, "wfrediss"),
        ("redis://h:1/0", {"mend_redis": False}, None),
        ("amqp://h//", {}, None),
    ],
)
def test_the_mended_transport_is_for_redis_alone(tmp_path: Path, url: str, given: dict[str, Any], transport: str | None) -> None:
    app = Celery("app", broker=url, set_as_current=False)
    put(app, tmp_path, **given)
    assert app.conf.broker_transport == transport


def test_the_url_keeps_its_meaning(tmp_path: Path) -> None:
    app = Celery("app", broker="redis://:pass@h:77/5", set_as_current=False)
    put(app, tmp_path)
    connection = app.connection_for_write()
    assert connection.get_transport_cls() is mended.Transport
    assert connection.as_uri(include_password=True) == "redis://:pass@h:77/5"


def test_tasks_belong_to_one_app_alone(tmp_path: Path) -> None:
    mine, other = Celery("mine", set_as_current=False), Celery("other", set_as_current=False)
    put(mine, tmp_path)
    assert "wfcelery.step" in mine.tasks
    assert "wfcelery.step" not in other.tasks


def test_a_web_process_that_has_been_patched_for_greenlets_can_install() -> None:
    """What eventlet takes out of `select` only a worker needs."""
    patched = (
        "import select; [delattr(select, name) for name in ('poll', 'epoll') if hasattr(select, name)]; import wfcelery.worker.installation"
    )
    subprocess.run([sys.executable, "-c", f"{patched}; import wfcelery.worker.installation"], cwd=ROOT, check=True, timeout=60)


def test_a_ring_without_a_broker_costs_its_caller_little_and_raises_nothing(tmp_path: Path) -> None:
    app = Celery("app", broker=f"redis://127.0.0.1:{free_port()}/0", set_as_current=False)
    made = put(app, tmp_path)
    began = time.monotonic()
    for _ in range(20):
        made.bell.ring([RingRun("default", RUN)])
    assert made.outbound.settle(10)
    assert time.monotonic() - began < 2.0
    assert (made.bell.broker.sent, made.bell.broker.unsent) == (0, 20)
    made.outbound.close()


def test_a_ring_to_a_broker_that_answers_nobody_gives_up_soon(tmp_path: Path, redis_server: Valkey, redis_url: str) -> None:
    app = Celery("app", broker=redis_url, set_as_current=False)
    made = put(app, tmp_path)
    with redis_server.paused():
        began = time.monotonic()
        made.bell.ring([RingRun("default", RUN)])
        assert made.outbound.settle(10)
        assert time.monotonic() - began < 5  # a second is its patience
    made.outbound.close()


def test_a_message_says_ids_and_nothing_else(tmp_path: Path, redis_server: Valkey, redis_url: str) -> None:
    app = Celery("app", broker=redis_url, set_as_current=False)
    made = put(app, tmp_path)
    made.bell.ring([FolderEngine(tmp_path).put("shop.charge", {"card": "4111"}, "payments")])
    made.outbound.close()
    with redis_server.client(int(redis_url.rpartition("/")[2])) as client:
        (message,) = client.lrange("payments", 0, -1)
    assert b"4111" not in message
    assert b'"shadow": "shop.charge"' in message
    assert len(message) < 2048


def test_an_app_that_runs_its_tasks_eagerly_rings_for_nobody(tmp_path: Path, redis_server: Valkey, redis_url: str) -> None:
    app = Celery("app", broker=redis_url, set_as_current=False)
    app.conf.task_always_eager = True
    made = put(app, tmp_path)
    made.bell.ring([RingRun("default", RUN)])
    assert made.outbound.settle(10)
    assert (made.bell.broker.sent, made.bell.broker.unsent, made.is_heard()) == (0, 0, False)
    with redis_server.client(int(redis_url.rpartition("/")[2])) as client:
        assert client.keys("*") == []
    made.outbound.close()


def test_in_the_memory_of_one_process_a_ring_waits_for_nobody(tmp_path: Path) -> None:
    made = put(Celery("app", broker="wfmem://localhost//", set_as_current=False), tmp_path)
    made.bell.ring([RingRun("default", RUN)])
    assert (made.bell.broker.sent, made.outbound.settle(0)) == (1, True)
    memory.forget()


def test_a_foreign_or_broken_message_touches_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = put(Celery("app", set_as_current=False), tmp_path)
    body = {"v": 1, "ns": "staging", "org": "default", "run": str(RUN), "step": None}
    made.postman.deliver("wfcelery.dispatch", body)
    made.postman.deliver("wfcelery.dispatch", {"v": 2})
    made.postman.deliver("wfcelery.dispatch", {**body, "ns": "folder", "run": "x"})
    assert (made.received.foreign, made.received.malformed, made.received.worked) == (1, 2, 0)
    assert "staging" in caplog.text
    made.postman.deliver("wfcelery.dispatch", {**body, "ns": "folder"})
    assert made.received.worked == 1
