"""wfcelery through its public surface, in an ordinary Celery worker; no result backend."""

from __future__ import annotations

import os

from celery import Celery

import wfcelery
from benchmarks.sides.contract import CHAIN_LENGTH
from wfcelery import Run, start_workflow, step, workflow

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


@workflow
def ten_in_a_row(value: int) -> int:
    for _ in range(CHAIN_LENGTH):
        value = add_one(value)
    return value


@workflow
def out_and_in(width: int) -> int:
    return total(add_one.map(spread(width)))


def start_chain(value: int) -> Run[int]:
    return start_workflow(ten_in_a_row.bind(value))


def start_fan(width: int) -> Run[int]:
    return start_workflow(out_and_in.bind(width))
