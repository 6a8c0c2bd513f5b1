"""What wfcelery adds to the memory of a worker, beside a bare Celery worker in the same run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet, Process
from tests.servers import caretaker
from tests.servers.valkey import Valkey

APP = "tests.promises.light"
AT_MOST = 1.5
WORKER = ("worker", "-P", "prefork", "-c", "2", "-l", "info")
pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="only Linux shares memory out among processes")


def _memory_mb(worker: Process) -> float:
    """PSS of the worker and its children: what they share counts once."""
    rolled_up = [Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() for pid in caretaker.session_members(worker.pid)]
    return sum(int(line.split()[1]) for lines in rolled_up for line in lines if line.startswith("Pss:")) / 1024


def test_a_worker_with_two_children_takes_at_most_half_as_much_memory_again_as_a_bare_one(
    make_fleet: Callable[..., Fleet], postgres_url: str, redis_server: Valkey
) -> None:
    ours = make_fleet(app=APP, database_url=postgres_url, broker_url=redis_server.fresh_url(), environment={"WITH_WFCELERY": "1"}).upgrade()
    bare = make_fleet(app=APP, database_url=postgres_url, broker_url=redis_server.fresh_url())
    with_us, without = ours.celery("with", *WORKER, ready=" ready."), bare.celery("without", *WORKER, ready=" ready.")
    ours.ready(with_us)
    without.wait_ready()
    bare.script("[add_one.delay(number) for number in range(200)]")
    runs = [ours.start(f"ten_more.bind({number})") for number in range(20)]
    assert [ours.result(run) for run in runs] == list(range(10, 30))
    eventually(lambda: without.said().count(" succeeded in ") >= 200, what="the bare worker has done as much")
    took, before = _memory_mb(with_us), _memory_mb(without)

    print(f"a worker and two children: {took:.0f} MB with wfcelery, {before:.0f} MB without, {took / before:.2f} times, {AT_MOST} at most")
    assert took <= AT_MOST * before
