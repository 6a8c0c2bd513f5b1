"""The floor's database: one connection per process, and what is done with it."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import psycopg
from pydantic_core import to_json

from benchmarks.sides.counted import count_round_trips
from benchmarks.sides.floor import statements

count_round_trips()

_connections: dict[int, psycopg.Connection[tuple[Any, ...]]] = {}


class StaleError(Exception):
    """Another writer came between."""


def connection() -> psycopg.Connection[tuple[Any, ...]]:
    """This process's: statements are prepared at their first use, and each is a transaction of its own."""
    pid = os.getpid()
    if pid not in _connections:
        _connections[pid] = psycopg.connect(os.environ["BENCH_DATABASE"], autocommit=True, prepare_threshold=1)
    return _connections[pid]


def new_id() -> UUID:
    """A UUID of version 7: ids of one moment lie beside each other in an index."""
    value = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)


def new_token() -> UUID:
    return uuid.uuid4()


def encoded(value: Any) -> str:
    return to_json(value).decode()


def one(statement: str, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
    return connection().execute(statement, values).fetchone()


def all_of(statement: str, values: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
    return connection().execute(statement, values).fetchall()


def over_the_version(statement: str, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Run a statement of several parts. Raises StaleError where the run is not at the version that this worker wrote."""
    row = one(statement, values)
    if row is None or row[0] != 1:
        raise StaleError(values["run"])
    return row


def start(workflow: str, value: int) -> UUID:
    run = new_id()
    connection().execute(statements.START, {"run": run, "workflow": workflow, "input": encoded(value)})
    return run


def result(run: UUID, timeout: float) -> int:
    """The run's output; asked for each millisecond, and later after a fiftieth of the time waited so far."""
    began = time.monotonic()
    while (row := one(statements.OUTCOME, {"run": run})) is None:
        waited = time.monotonic() - began
        if waited > timeout:
            raise TimeoutError(f"run {run} has not ended")
        time.sleep(max(0.001, waited / 50))
    return int(json.loads(row[0]))
