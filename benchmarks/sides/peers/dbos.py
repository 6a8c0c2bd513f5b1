"""DBOS: workflows and steps in PostgreSQL, started by a client over a queue.

Two worker processes. A fan-out's items are workflows of a second queue, so that both processes have a part in them.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cache
from threading import Event
from typing import Any

from dbos import DBOS, DBOSClient, DBOSConfig

from benchmarks.sides.contract import CHAIN_LENGTH
from benchmarks.sides.peers.given import POLLING, database

RUNS, ITEMS = "runs", "items"


@DBOS.step()
def add_one(value: int) -> int:
    return value + 1


@DBOS.step()
def spread(width: int) -> list[int]:
    return list(range(width))


@DBOS.step()
def total(values: list[int]) -> int:
    return sum(values)


@DBOS.step()
def clock() -> float:
    return time.time()


@DBOS.workflow(name="ten_in_a_row")
def ten_in_a_row(value: int) -> int:
    for _ in range(CHAIN_LENGTH):
        value = add_one(value)
    return value


@DBOS.workflow(name="one_item")
def one_item(value: int) -> int:
    answer: int = add_one(value)
    return answer


@DBOS.workflow(name="out_and_in")
def out_and_in(width: int) -> int:
    asked = [DBOS.enqueue_workflow(ITEMS, one_item, number) for number in spread(width)]
    answer: int = total([handle.get_result(polling_interval_sec=POLLING) for handle in asked])
    return answer


@DBOS.workflow(name="asleep")
def asleep(seconds: float) -> list[float]:
    begun = clock()
    DBOS.sleep(seconds)
    return [begun, clock()]


def _launch(*queues: str) -> None:
    # Each process is an executor of its own, as a fleet's are.
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": database(),
        "executor_id": f"worker-{os.getpid()}",
        "log_level": "WARNING",
        "notification_listener_polling_interval_sec": POLLING,
    }
    DBOS(config=config)
    DBOS.listen_queues(queues)
    DBOS.launch()


def prepare() -> None:
    _launch()
    for queue in (RUNS, ITEMS):
        DBOS.register_queue(queue, polling_interval_sec=POLLING)
    DBOS.destroy()


def work() -> None:
    _launch(RUNS, ITEMS)
    Event().wait()


@cache
def _client() -> DBOSClient:
    return DBOSClient(system_database_url=database())


@dataclass(frozen=True, slots=True)
class Pending:
    handle: Any

    def result(self, timeout: float) -> Any:
        # Its wait has no limit; the benchmark has one for a whole cell.
        return self.handle.get_result(polling_interval_sec=POLLING)


def _start(workflow: str, value: float) -> Pending:
    return Pending(_client().enqueue({"workflow_name": workflow, "queue_name": RUNS}, value))


def start_chain(value: int) -> Pending:
    return _start("ten_in_a_row", value)


def start_fan(width: int) -> Pending:
    return _start("out_and_in", width)


def start_sleep(seconds: float) -> Pending:
    return _start("asleep", seconds)
