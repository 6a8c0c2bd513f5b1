"""Absurd: durable tasks whose steps are checkpoints in PostgreSQL, from its Python SDK.

A fan-out's items are tasks of a second queue, as it demands of a task that waits for others. Two worker processes, each with
one thread for either queue.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import absurdctl
import psycopg
from absurd_sdk import Absurd, TaskContext

from benchmarks.sides.contract import CHAIN_LENGTH
from benchmarks.sides.peers.given import POLLING, database, wait_until

RUNS, ITEMS = "runs", "items"


def ten_in_a_row(value: int, context: TaskContext) -> int:
    for place in range(CHAIN_LENGTH):
        value = context.step(f"add-{place}", lambda value=value: value + 1)
    return value


def add_one(value: int, context: TaskContext) -> int:
    return value + 1


def out_and_in(width: int, context: TaskContext) -> int:
    numbers: list[int] = context.step("spread", lambda: list(range(width)))
    # With a key each: one that is asked for again after a crash is not there twice.
    asked = [app().spawn("add_one", number, queue=ITEMS, idempotency_key=f"{context.task_id}-{number}") for number in numbers]
    values = [context.await_task_result(item["task_id"], queue_name=ITEMS).result for item in asked]
    answer: int = context.step("total", lambda: sum(values))
    return answer


def asleep(seconds: float, context: TaskContext) -> list[float]:
    begun = context.step("begun", time.time)
    context.sleep_for("sleep", seconds)
    return [begun, context.step("woken", time.time)]


_TASKS: dict[str, Any] = {"ten_in_a_row": ten_in_a_row, "out_and_in": out_and_in, "asleep": asleep}


def _client(queue: str) -> Absurd:
    """On a connection of its own: one is not for two threads."""
    client = Absurd(database(), queue_name=queue)
    for name, task in _TASKS.items():
        client.register_task(name, queue=RUNS)(task)
    client.register_task("add_one", queue=ITEMS)(add_one)
    return client


_of_thread = threading.local()


def app() -> Absurd:
    """This thread's client, for what it starts and waits for."""
    if not hasattr(_of_thread, "client"):
        _of_thread.client = _client(RUNS)
    return _of_thread.client


def prepare() -> None:
    with psycopg.connect(database(), autocommit=True) as connection:
        connection.execute(absurdctl.BUNDLED_SCHEMA_SQL)
    for queue in (RUNS, ITEMS):
        app().create_queue(queue)


def work() -> None:
    threading.Thread(target=_client(ITEMS).start_worker, kwargs={"poll_interval": POLLING}, daemon=True).start()
    _client(RUNS).start_worker(poll_interval=POLLING)


@dataclass(frozen=True, slots=True)
class Pending:
    task: str

    def result(self, timeout: float) -> Any:
        wait_until(self._over, timeout, f"task {self.task} has not ended")
        found = app().fetch_task_result(self.task)
        assert found is not None
        if found.state != "completed":
            raise RuntimeError(f"the task is {found.state}: {found.failure}")
        return found.result

    def _over(self) -> bool:
        found = app().fetch_task_result(self.task)
        return found is not None and found.state in ("completed", "failed", "cancelled")


def start_chain(value: int) -> Pending:
    return Pending(app().spawn("ten_in_a_row", value)["task_id"])


def start_fan(width: int) -> Pending:
    return Pending(app().spawn("out_and_in", width)["task_id"])


def start_sleep(seconds: float) -> Pending:
    return Pending(app().spawn("asleep", seconds)["task_id"])
