"""Prefect: its server on PostgreSQL, and flows that two processes run as background tasks, results kept.

A deployment would start a process for each run, at seconds of CPU apiece; a served task that runs the flow is the quickest that
it has with workers of their own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from benchmarks.sides.contract import CHAIN_LENGTH
from benchmarks.sides.peers.given import become, beside, database, folder, port, wait_for_port

# It reads them when it is imported.
os.environ |= {
    "PREFECT_HOME": str(folder()),
    "PREFECT_API_URL": f"http://127.0.0.1:{port(0)}/api",
    "PREFECT_API_DATABASE_CONNECTION_URL": database().replace("postgresql://", "postgresql+asyncpg://"),
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}

from prefect import flow, task
from prefect.task_worker import serve as serve_tasks


@task
def add_one(value: int) -> int:
    return value + 1


@task
def spread(width: int) -> list[int]:
    return list(range(width))


@task
def total(values: list[int]) -> int:
    return sum(values)


@flow
def ten_in_a_row(value: int) -> int:
    for _ in range(CHAIN_LENGTH):
        value = add_one(value)
    return value


@flow
def out_and_in(width: int) -> int:
    answer: int = total(add_one.map(spread(width)).result())
    return answer


@task
def run_chain(value: int) -> int:
    answer: int = ten_in_a_row(value)
    return answer


@task
def run_fan(width: int) -> int:
    answer: int = out_and_in(width)
    return answer


def serve() -> None:
    words = ("server", "start", "--host", "127.0.0.1", "--port", port(0), "--no-ui", "--analytics-off", "--log-level", "WARNING")
    become(beside("prefect"), *words)


def prepare() -> None:
    wait_for_port(port(0), 150)


def work() -> None:
    serve_tasks(run_chain, run_fan)


@dataclass(frozen=True, slots=True)
class Pending:
    future: Any

    def result(self, timeout: float) -> Any:
        return self.future.result(timeout=timeout)


def start_chain(value: int) -> Pending:
    return Pending(run_chain.delay(value))


def start_fan(width: int) -> Pending:
    return Pending(run_fan.delay(width))
