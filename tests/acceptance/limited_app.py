"""The app of the tests of limits: steps that say when they were at it, behind limits, rates and breakers."""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import Celery

import wfcelery
from wfcelery import Breaker, Limit, Retry, adopt, step, workflow

app = Celery("limited", broker=os.environ["WFCELERY_TEST_BROKER_URL"])
app.conf.update(broker_connection_retry_on_startup=True, broker_connection_max_retries=None, result_backend=None)
wfcelery.install(app)

BROKEN = Path(os.environ["WFCELERY_TEST_EFFECTS"]).with_name("broken")
Span = tuple[float, float]


@step(limit=Limit("gateway", slots=3))
def call(seconds: float) -> list[float]:
    began = time.time()
    time.sleep(seconds)
    return [began, time.time()]


@workflow
def calls(seconds: float) -> list[list[float]]:
    return [call.options(name=f"call{number}")(seconds) for number in range(5)]


@app.task(name="shop.paced", rate_limit="10/s")
def paced() -> float:
    return time.time()


old_paced = adopt("shop.paced", returns=float)


@workflow
def at_a_rate() -> list[float]:
    return [old_paced.options(name=f"paced{number}")() for number in range(5)]


@step(retry=Retry(count=50, delay="0.1s", backoff="constant", jitter=False))
def fragile(number: int) -> int:
    if BROKEN.exists():
        with BROKEN.open("a") as tried:
            tried.write(f"{number}\n")
        raise ConnectionError("the gateway is down")
    return number


@workflow
def behind_a_breaker(many: int) -> list[int]:
    careful = fragile.options(breaker=Breaker("gateway", failures=5, within="1m", open_for="1s"))
    return [careful.options(name=f"fragile{number}")(number) for number in range(10)]


@step
def plain(word: str) -> str:
    return word


@workflow
def two_words(word: str) -> str:
    return plain.options(name="second")(plain.options(name="first")(word))
