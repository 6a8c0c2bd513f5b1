"""The chain and the fan-out of the benchmarks, whose steps do next to nothing; the engine's clock goes slowly here.

How many items of a fan-out are taken at once goes by the time that they take. For a clock that goes a hundredth as
fast every group is a quick one, on a busy machine as on an idle one, so their number is always the same.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from wfcelery import clock

clock.monotonic = lambda: time.monotonic() / 100  # before anything of the engine is imported

from celery import Celery  # noqa: E402

import wfcelery  # noqa: E402
from tests.acceptance.effects import Effects  # noqa: E402
from wfcelery import step, workflow  # noqa: E402

app = Celery("counts", broker=os.environ["WFCELERY_TEST_BROKER_URL"])
app.conf.broker_connection_retry_on_startup = True
wfcelery.install(app)


@app.task
def mark(word: str) -> None:
    """An ordinary task: when the only child has come to it, all messages before it are worked off."""
    Effects(Path(os.environ["WFCELERY_TEST_EFFECTS"])).record(word, "mark", 1)


@step
def add_one(value: int) -> int:
    return value + 1


@step
def spread(width: int) -> list[int]:
    return list(range(width))


@step
def total(values: list[int]) -> int:
    return sum(values)


@workflow
def ten_in_a_row(value: int) -> int:
    for _ in range(10):
        value = add_one(value)
    return value


@workflow
def out_and_in(width: int) -> int:
    return total(add_one.map(spread(width)))
