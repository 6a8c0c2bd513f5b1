"""PyWorkflow: event-sourced workflows on Celery, Redis as its broker, PostgreSQL as its store.

Every step is a Celery task of its own, as its documents have it; one worker with two children, and the beat that they ask for.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from benchmarks.sides.contract import CHAIN_LENGTH
from benchmarks.sides.peers.given import POLLING, become, beside, database

_server = urlsplit(database())
# It reads them when it is imported, in its workers too.
os.environ |= {
    "PYWORKFLOW_RUNTIME": "celery",
    "PYWORKFLOW_DISCOVER": __name__,
    "PYWORKFLOW_LOG_LEVEL": "WARNING",
    "PYWORKFLOW_CELERY_BROKER": os.environ["BENCH_BROKER"],
    "PYWORKFLOW_CELERY_RESULT_BACKEND": os.environ["BENCH_RESULTS"],
    "PYWORKFLOW_STORAGE_TYPE": "postgres",
    "PYWORKFLOW_POSTGRES_HOST": str(_server.hostname),
    "PYWORKFLOW_POSTGRES_PORT": str(_server.port),
    "PYWORKFLOW_POSTGRES_USER": str(_server.username),
    "PYWORKFLOW_POSTGRES_DATABASE": _server.path.strip("/"),
}

from pyworkflow import RunStatus, configure_logging, get_storage, get_workflow_run, sleep, start, step, workflow  # noqa: E402
from pyworkflow.serialization.decoder import deserialize_args  # noqa: E402
from pyworkflow.storage.postgres import PostgresMigrationRunner  # noqa: E402

configure_logging(level="WARNING")

_ENDED = {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}


@step()
async def add_one(value: int) -> int:
    return value + 1


@step()
async def spread(width: int) -> list[int]:
    return list(range(width))


@step()
async def total(values: list[int]) -> int:
    return sum(values)


@step()
async def clock(_when: str) -> float:
    # Two calls with the same arguments would be one step to it.
    return time.time()


@workflow(durable=True)
async def ten_in_a_row(value: int) -> int:
    for _ in range(CHAIN_LENGTH):
        value = await add_one(value)
    return value


@workflow(durable=True)
async def out_and_in(width: int) -> int:
    numbers = await spread(width)
    answer: int = await total(list(await asyncio.gather(*(add_one(number) for number in numbers))))
    return answer


@workflow(durable=True)
async def asleep(seconds: float) -> list[float]:
    begun = await clock("begun")
    await sleep(seconds)
    return [begun, await clock("woken")]


def prepare() -> None:
    _wait_for(_prepared())


async def _prepared() -> None:
    # 0.4.0 cannot make its tables where there are none: its fifth migration alters one that only the code after all migrations
    # makes. So that code comes first, and the migrations find what they expect.
    migrate = PostgresMigrationRunner.run_migrations
    PostgresMigrationRunner.run_migrations = _no_migrations
    await get_storage().connect()
    await get_storage().disconnect()
    PostgresMigrationRunner.run_migrations = migrate
    await get_storage().connect()


async def _no_migrations(self: Any) -> None:
    return None


def work() -> None:
    become(beside("pyworkflow"), "--module", __name__, "worker", "run", "--beat", "-l", "warning", "--", "--concurrency=2")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _wait_for(what: Coroutine[Any, Any, Any]) -> Any:
    return _loop().run_until_complete(what)


@dataclass(frozen=True, slots=True)
class Pending:
    run: str

    def result(self, timeout: float) -> Any:
        return _wait_for(asyncio.wait_for(self._answer(), timeout))

    async def _answer(self) -> Any:
        while (run := await get_workflow_run(self.run)) is None or run.status not in _ENDED:
            await asyncio.sleep(POLLING)
        if run.status is not RunStatus.COMPLETED:
            raise RuntimeError(f"the run is {run.status.value}: {run.error}")
        (answer,) = deserialize_args(run.result)  # it keeps an answer as it keeps arguments
        return answer


def _start(what: Any, value: float) -> Pending:
    return Pending(_wait_for(start(what, value, runtime="celery", durable=True)))


def start_chain(value: int) -> Pending:
    return _start(ten_in_a_row, value)


def start_fan(width: int) -> Pending:
    return _start(out_and_in, width)


def start_sleep(seconds: float) -> Pending:
    return _start(asleep, seconds)
