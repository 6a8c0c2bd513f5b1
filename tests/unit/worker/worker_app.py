"""The app of the workers that the tests start: some steps of ours, some ordinary tasks, and an engine made of files."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from celery import Celery, Task

from tests.unit.worker.folder import FolderEngine
from wfcelery.authoring.context import current_step
from wfcelery.authoring.decorators import step
from wfcelery.worker.installation import Installation

app = Celery("worker_app", broker=os.environ.get("TEST_BROKER", "wfmem://localhost//"))
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
app.conf.worker_pool_start_method = os.environ.get("TEST_START", "fork")
if "TEST_PREFETCH" in os.environ:
    app.conf.worker_prefetch_multiplier = int(os.environ["TEST_PREFETCH"])

FOLDER = Path(os.environ.get("TEST_FOLDER", "."))


def connect(installation: Installation) -> FolderEngine:
    return FolderEngine(FOLDER, installation)


@step(name="shop.add")
def add(a: int, b: int) -> int:
    return a + b


@step(name="shop.nap")
def nap(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


@step(name="shop.poll")
def poll(seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        current_step().check_cancelled()
        time.sleep(0.02)
    return "nobody cancelled"


@step(name="shop.anap")
async def anap(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return current_step().key


class Base(Task):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return ["base", super().__call__(*args, **kwargs)]


@app.task(name="old.plain")
def plain(when: Any) -> Any:
    return [type(when).__name__, when]


@app.task(name="old.based", base=Base)
def based(value: int) -> int:
    return value + 1


@app.task(name="old.again", bind=True, max_retries=2, default_retry_delay=7)
def again(self: Any) -> str:
    if self.request.retries < 2:
        raise self.retry(countdown=3)
    return f"after {self.request.retries}"


@app.task(name="old.auto", autoretry_for=(ConnectionError,), max_retries=1, default_retry_delay=5, retry_backoff=False)
def auto(fault: str) -> None:
    raise {"connection": ConnectionError, "value": ValueError}[fault](fault)


@app.task(name="old.now")
def now() -> datetime:
    return datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001


@app.task(name="neighbour")
def neighbour(x: int) -> int:
    return x * 2


installation = Installation(app, connect, {"lease": 1.5, "poll": 0.2})
installation.put()
