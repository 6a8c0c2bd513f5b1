"""Procrastinate: a queue of jobs in PostgreSQL. It has no workflows, results or joins: this is what bare jobs cost.

A chain is a job that defers the next; the last writes the answer into a table of this module's own. A fan-out counts down in
one row of that table, and whoever comes last sums up. Nothing here protects that from a job that runs twice.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from benchmarks.sides.contract import CHAIN_LENGTH
from benchmarks.sides.peers.given import POLLING, database, wait_until

app = App(connector=PsycopgConnector(conninfo=database()))
_pool: list[AsyncConnectionPool] = []

_TABLE = "create table answer (run text primary key, left_ int not null, total bigint not null default 0, answer jsonb)"
_ANSWER = "insert into answer (run, left_, answer) values (%s, 0, %s)"
_SPREAD = "insert into answer (run, left_) values (%s, %s)"
_ADD = "update answer set total = total + %s, left_ = left_ - 1 where run = %s returning left_"
_TOTAL = "update answer set answer = to_jsonb(total) where run = %s"


async def _write(statement: str, *values: Any) -> Any:
    async with _pool[0].connection() as connection:
        cursor = await connection.execute(statement.encode(), values)
        return await cursor.fetchone() if cursor.description else None


@app.task(name="add_in_a_row")
async def add_in_a_row(run: str, value: int, left: int) -> None:
    if left > 1:
        await add_in_a_row.defer_async(run=run, value=value + 1, left=left - 1)
    else:
        await _write(_ANSWER, run, Jsonb(value + 1))


@app.task(name="spread")
async def spread(run: str, width: int) -> None:
    await _write(_SPREAD, run, width)
    await add_one.batch_defer_async(*({"run": run, "value": number} for number in range(width)))


@app.task(name="add_one")
async def add_one(run: str, value: int) -> None:
    (left,) = await _write(_ADD, value + 1, run)
    if left == 0:
        await total.defer_async(run=run)


@app.task(name="total")
async def total(run: str) -> None:
    await _write(_TOTAL, run)


@app.task(name="woken")
async def woken(run: str, begun: float) -> None:
    await _write(_ANSWER, run, Jsonb([begun, time.time()]))


def prepare() -> None:
    with app.open():
        app.schema_manager.apply_schema()
    with psycopg.connect(database(), autocommit=True) as connection:
        connection.execute(_TABLE)


def work() -> None:
    asyncio.run(_work())


async def _work() -> None:
    async with AsyncConnectionPool(database(), kwargs={"autocommit": True}, min_size=1, max_size=2) as pool, app.open_async():
        _pool.append(pool)
        # A scheduled job is found by asking alone.
        await app.run_worker_async(concurrency=1, fetch_job_polling_interval=POLLING)


@cache
def _starting() -> tuple[App, psycopg.Connection[Any]]:
    return app.open(), psycopg.connect(database(), autocommit=True)


_runs = itertools.count()


@dataclass(frozen=True, slots=True)
class Pending:
    run: str

    def result(self, timeout: float) -> Any:
        found: list[Any] = []

        def answered() -> bool:
            row = _starting()[1].execute("select answer from answer where run = %s and answer is not null", (self.run,)).fetchone()
            found.extend(row or ())
            return row is not None

        wait_until(answered, timeout, f"run {self.run} has not ended")
        return found[0]


def _start(task: str, seconds: float = 0, **arguments: Any) -> Pending:
    run = f"{os.getpid()}-{next(_runs)}"
    options = {"schedule_in": {"seconds": seconds}} if seconds else {}
    _starting()[0].configure_task(task, **options).defer(run=run, **arguments)
    return Pending(run)


def start_chain(value: int) -> Pending:
    return _start("add_in_a_row", value=value, left=CHAIN_LENGTH)


def start_fan(width: int) -> Pending:
    return _start("spread", width=width)


def start_sleep(seconds: float) -> Pending:
    return _start("woken", seconds, begun=time.time())
