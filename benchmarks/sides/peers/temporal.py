"""Temporal: its development server with a file for its store (SQLite), two worker processes of the Python SDK.

Steps are local activities, which run in the worker that has the workflow: the quickest that it has. The file is what a laptop
keeps; a production cluster has a database and four services.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.sides.contract import CHAIN_LENGTH
from benchmarks.sides.peers.given import become, beside, folder, port, wait_for_port

QUEUE = "bench"
READY = 60.0
LIMIT = timedelta(seconds=60)


@activity.defn
async def add_one(value: int) -> int:
    return value + 1


@activity.defn
async def spread(width: int) -> list[int]:
    return list(range(width))


@activity.defn
async def total(values: list[int]) -> int:
    return sum(values)


@activity.defn
async def clock() -> float:
    return time.time()


@workflow.defn
class TenInARow:
    @workflow.run
    async def run(self, value: int) -> int:
        for _ in range(CHAIN_LENGTH):
            value = await workflow.execute_local_activity(add_one, value, start_to_close_timeout=LIMIT)
        return value


@workflow.defn
class OutAndIn:
    @workflow.run
    async def run(self, width: int) -> int:
        numbers = await workflow.execute_local_activity(spread, width, start_to_close_timeout=LIMIT)
        under_way = (workflow.execute_local_activity(add_one, number, start_to_close_timeout=LIMIT) for number in numbers)
        values = list(await asyncio.gather(*under_way))
        answer: int = await workflow.execute_local_activity(total, values, start_to_close_timeout=LIMIT)
        return answer


@workflow.defn
class Asleep:
    @workflow.run
    async def run(self, seconds: float) -> list[float]:
        begun = await workflow.execute_local_activity(clock, start_to_close_timeout=LIMIT)
        await asyncio.sleep(seconds)  # a durable timer within a workflow
        return [begun, await workflow.execute_local_activity(clock, start_to_close_timeout=LIMIT)]


def serve() -> None:
    store = folder() / "temporal.db"
    become(
        *(beside("temporal"), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", port(0), "--http-port", port(1)),
        *("--metrics-port", port(2), "--db-filename", store, "--log-level", "error"),
    )


def prepare() -> None:
    wait_for_port(port(0))


def work() -> None:
    asyncio.run(_work())


async def _work() -> None:
    client = await _connected()
    worker = Worker(client, task_queue=QUEUE, workflows=[TenInARow, OutAndIn, Asleep], activities=[add_one, spread, total, clock])
    await worker.run()


async def _connected() -> Client:
    """The server listens before it answers."""
    deadline = time.monotonic() + READY
    while True:
        try:
            return await Client.connect(f"127.0.0.1:{port(0)}")
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.5)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _wait_for(what: Coroutine[Any, Any, Any]) -> Any:
    return _loop().run_until_complete(what)


@cache
def _client() -> Client:
    return _wait_for(_connected())


@dataclass(frozen=True, slots=True)
class Pending:
    handle: Any

    def result(self, timeout: float) -> Any:
        return _wait_for(asyncio.wait_for(self.handle.result(), timeout))


def _start(what: Any, value: float) -> Pending:
    return Pending(_wait_for(_client().start_workflow(what, value, id=str(uuid4()), task_queue=QUEUE)))


def start_chain(value: int) -> Pending:
    return _start(TenInARow.run, value)


def start_fan(width: int) -> Pending:
    return _start(OutAndIn.run, width)


def start_sleep(seconds: float) -> Pending:
    return _start(Asleep.run, seconds)
