"""An app for what scales: one wide fan-out whose items leave a line each, and chains of steps that only wait."""

from __future__ import annotations

import os
import time

from celery import Celery

import wfcelery
from wfcelery import step, workflow

app = Celery("scale", broker=os.environ["WFCELERY_TEST_BROKER_URL"])
app.conf.update(broker_connection_retry_on_startup=True, result_backend=None)
wfcelery.install(app)

WAIT = 0.1  # seconds
ledger = os.open(os.environ["WFCELERY_TEST_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)


@step
def spread(width: int) -> list[int]:
    return list(range(width))


@step
def mark(number: int) -> int:
    """Leaves its process and its number behind: one write, which outlives the process."""
    os.write(ledger, b"%d %d\n" % (os.getpid(), number))
    return number + 1


@step
def count_in_order(values: list[int]) -> int:
    """How many there are, if each stands in its place."""
    return len(values) if values == list(range(1, len(values) + 1)) else -1


@step
def linger(number: int) -> int:
    time.sleep(WAIT)
    return number + 1


@workflow
def out_and_in(width: int) -> int:
    return count_in_order(mark.map(spread(width)))


@workflow
def ten_pauses(number: int) -> int:
    for _ in range(10):
        number = linger(number)
    return number
