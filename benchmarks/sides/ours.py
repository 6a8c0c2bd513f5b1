"""wfcelery through its public surface, in an ordinary Celery worker; no result backend."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

from celery import Celery

import wfcelery
from benchmarks.sides.contract import CHAIN_LENGTH
from benchmarks.sides.counted import count_round_trips
from wfcelery import Run, Workflow, sleep, start_workflow, step, workflow

count_round_trips()
app = Celery("ours", broker=os.environ["BENCH_BROKER"])
app.conf.broker_connection_retry_on_startup = True
wfcelery.install(app)


@step
def add_one(value: int) -> int:
    return value + 1


@step
def total(values: list[int]) -> int:
    return sum(values)


@step
def spread(width: int) -> list[int]:
    return list(range(width))


@step
def clock() -> float:
    return time.time()


@workflow
def ten_in_a_row(value: int) -> int:
    for _ in range(CHAIN_LENGTH):
        value = add_one(value)
    return value


@workflow
def out_and_in(width: int) -> int:
    return total(add_one.map(spread(width)))


@workflow
def asleep(seconds: float) -> list[float]:
    begun = clock()
    woken = clock.options(after=sleep(seconds, after=begun))()
    return [begun, woken]


@cache
def in_a_row(length: int) -> Workflow[Any, int]:
    """A workflow of so many steps, traced once in each process that asks."""

    @workflow(name=f"in_a_row_{length}")
    def one_by_one(value: int) -> int:
        for _ in range(length):
            value = add_one(value)
        return value

    return one_by_one


def start_chain(value: int) -> Run[int]:
    return start_workflow(ten_in_a_row.bind(value))


def start_fan(width: int) -> Run[int]:
    return start_workflow(out_and_in.bind(width))


def start_long_chain(length: int) -> Run[int]:
    return start_workflow(in_a_row(length).bind(0))


def start_sleep(seconds: float) -> Run[list[float]]:
    return start_workflow(asleep.bind(seconds))
