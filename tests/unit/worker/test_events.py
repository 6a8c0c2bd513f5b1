"""What Flower hears of a worker: every step under its task's name, no message of ours, no value."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.unit.worker.folder import FolderEngine
from tests.unit.worker.processes import eventually, running


@pytest.mark.parametrize("pool", [("-P", "prefork", "-c", "1"), ("-P", "threads", "-c", "2")], ids=["prefork", "threads"])
def test_every_step_is_an_event_under_its_own_name(sender: FolderEngine, redis_url: str, tmp_path: Path, pool: tuple[str, ...]) -> None:
    assert sender.installation is not None
    app, heard = sender.installation.app, list[dict[str, Any]]()
    connection = app.connection_for_read()
    receiver = app.events.Receiver(connection, {"*": heard.append})
    listener = threading.Thread(target=lambda: receiver.capture(limit=None, timeout=None, wakeup=False), daemon=True)
    listener.start()
    with running(tmp_path, redis_url, *pool, "-E"):
        good, bad = sender.put("shop.add", {"a": 4711, "b": 4711}), sender.put("old.auto", {"fault": "value"})
        sender.installation.bell.ring([good, bad])
        eventually(lambda: {"task-succeeded", "task-failed"} <= {event["type"] for event in heard})
    receiver.should_stop = True
    listener.join(10)
    connection.release()
    steps = [event for event in heard if event["type"].startswith("task-")]
    assert {event["name"] for event in steps if event["type"] == "task-received"} == {"shop.add", "old.auto"}
    for event in steps:
        assert event["hostname"].startswith("celery@")
    assert "4711" not in json.dumps(steps)
    assert "9422" not in json.dumps(steps)
