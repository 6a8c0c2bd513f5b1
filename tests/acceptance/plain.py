"""A Celery app without workflows, for the tests of the harness itself."""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import Celery

from tests.acceptance.effects import Effects

app = Celery("plain", broker=os.environ["WFCELERY_TEST_BROKER_URL"])
app.conf.update(broker_connection_retry_on_startup=True, task_ignore_result=True, worker_hijack_root_logger=True)
app.conf.beat_schedule = {"note": {"task": "note", "schedule": 0.5, "args": ["beat"]}}


@app.task(name="note")
def note(key: str) -> None:
    Effects(Path(os.environ["WFCELERY_TEST_EFFECTS"])).record(key, "note", 1)


@app.task(name="stay")
def stay(key: str) -> None:
    Effects(Path(os.environ["WFCELERY_TEST_EFFECTS"])).record(key, "stay", 1)
    time.sleep(60)
