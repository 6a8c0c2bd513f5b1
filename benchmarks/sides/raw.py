"""Raw Celery: chain and chord, Redis as broker and as result backend, every setting as Celery ships it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery import Celery, chain, chord

from benchmarks.sides.contract import CHAIN_LENGTH

app = Celery("raw", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_RESULTS"])
app.conf.broker_connection_retry_on_startup = True


@app.task
def add_one(value: int) -> int:
    return value + 1


@app.task
def total(values: list[int]) -> int:
    return sum(values)


@app.task(bind=True)
def spread(self: Any, width: int) -> Any:
    # The fastest of the three ways to write this in Celery: a group inside a chain, or a chord sent by the
    # caller, takes 1.5 times as long at a width of 1,000 and 3 times at 5,000.
    return self.replace(chord([add_one.s(number) for number in range(width)], total.s()))


@app.task
def woken(begun: float) -> list[float]:
    return [begun, time.time()]


@dataclass(frozen=True, slots=True)
class Pending:
    get: Callable[..., Any]

    def result(self, timeout: float) -> Any:
        return self.get(timeout=timeout)


def start_chain(value: int) -> Pending:
    return Pending(chain(add_one.s(value), *(add_one.s() for _ in range(CHAIN_LENGTH - 1))).apply_async().get)


def start_fan(width: int) -> Pending:
    return Pending(spread.delay(width).get)


def start_sleep(seconds: float) -> Pending:
    # A countdown is held in a worker's memory: the nearest that Celery has, and not durable.
    return Pending(woken.apply_async((time.time(),), countdown=seconds).get)
