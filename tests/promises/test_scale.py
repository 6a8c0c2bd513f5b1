"""What stays flat and what grows: one run with very many items, and very many steps on more and more workers."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet, Process
from tests.engine.machine import Machine
from tests.servers import caretaker
from tests.store.rows import look
from wfcelery.core.decision import RingStep
from wfcelery.engine import executing, grouping
from wfcelery.engine.ports import Call, Returned
from wfcelery.store.database import Database

APP = "tests.promises.scale"
LONG = pytest.mark.long
CHILDREN = 2
GROWS_AT_MOST = 40  # MB, of a worker and two children together: the list, its results, and 5,000 rows on their way
LINEAR = 0.8
SPAN = 4.0  # seconds for which steps are counted


@pytest.fixture
def wide(make_fleet: Callable[..., Fleet], postgres_url: str, redis_url: str) -> Fleet:
    quick = {"WFCELERY_LEASE": "3", "WFCELERY_POLL": "0.5"}
    return make_fleet(app=APP, database_url=postgres_url, broker_url=redis_url, environment=quick).upgrade()


# ---- one run with very many items ----------------------------------------------------------------------------------------


def _peak_mb(worker: Process) -> float:
    """The most memory that the worker and its children ever had in use, since `_forget_peak`; what they share counts for each."""
    said = [Path(f"/proc/{pid}/status").read_text().splitlines() for pid in caretaker.session_members(worker.pid)]
    return sum(int(line.split()[1]) for lines in said for line in lines if line.startswith("VmHWM:")) / 1024


def _forget_peak(worker: Process) -> None:
    for pid in caretaker.session_members(worker.pid):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def _lines(fleet: Fleet) -> list[tuple[int, int]]:
    """Which process executed which item, in that order."""
    if not fleet.effects.path.exists():
        return []
    return [(int(pid), int(item)) for pid, item in map(str.split, fleet.effects.path.read_text().splitlines())]


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="only Linux tells and forgets a peak")
@pytest.mark.parametrize(("few", "many"), [(1_000, 12_000), pytest.param(10_000, 100_000, marks=[LONG, pytest.mark.timeout(900)])])
def test_one_run_with_very_many_items_takes_hardly_more_memory_than_one_with_a_tenth_of_them(wide: Fleet, few: int, many: int) -> None:
    worker = wide.worker(concurrency=CHILDREN)
    wide.ready(worker)
    peaks = []
    for width in (few, few, many):  # twice few: the first one loads what is loaded once
        _forget_peak(worker)
        assert wide.result(wide.start(f"out_and_in.bind({width})"), within=600) == width
        peaks.append(_peak_mb(worker))
    print(f"{few} items: {peaks[1]:.0f} MB at most, {many} items: {peaks[2]:.0f} MB")
    assert peaks[2] - peaks[1] < GROWS_AT_MOST


@pytest.mark.parametrize("width", [6_000, pytest.param(100_000, marks=[LONG, pytest.mark.timeout(900)])])
def test_a_kill_among_very_many_items_repeats_at_most_one_group_of_each_child_that_died(wide: Fleet, width: int) -> None:
    worker = wide.worker(concurrency=CHILDREN)
    wide.ready(worker)
    run = wide.start(f"out_and_in.bind({width})")
    eventually(lambda: len(_lines(wide)) > width / 4, within=300, every=0.2, what="a quarter is done")
    died = worker.children()[:1]
    os.kill(died[0], signal.SIGKILL)
    eventually(lambda: len(_lines(wide)) > width / 2, within=300, every=0.2, what="half is done")
    died += worker.children()
    worker.kill_all()
    before = len(_lines(wide))
    worker.start().wait_ready()

    assert wide.result(run, within=600) == width
    assert width / 4 < before < width, "it died in the middle"
    _repeated_at_most_one_group_each(_lines(wide), width, died)
    assert wide.faults() == {}


def _repeated_at_most_one_group_each(lines: list[tuple[int, int]], width: int, died: list[int]) -> None:
    first: dict[int, int] = {}
    repeated: Counter[int] = Counter()
    for pid, item in lines:
        if item in first:
            repeated[first[item]] += 1
        first.setdefault(item, pid)
    print(f"{len(lines)} executions of {width} items; repeated of those who died: {dict(repeated)}")
    assert sorted(first) == list(range(width))
    assert set(repeated) <= set(died)
    assert all(many <= grouping.MOST for many in repeated.values())


def test_a_group_that_waits_for_the_lock_of_its_run_is_no_smaller_next_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    record = grouping._record

    def waiting(*given: object) -> object:
        now[0] += 10 * grouping.GROUP_SECONDS
        return record(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(grouping, "monotonic", lambda: now[0])
    monkeypatch.setattr(grouping, "_record", waiting)
    groups: Counter[object] = Counter()

    def body(_: Machine, call: Call) -> Returned:
        groups[call.token] += 1
        return Returned(call.item)

    items = list(range(1 + 8 + 64 + 64))
    text = f"name: order\ntasks:\n  - {{name: pack, action: pack, with_items: {items}, input: {{x: '{{{{ item }}}}'}}}}\n"
    machine = Machine(database, text, body)
    executing.dispatch(machine.runtime, "default", machine.run)
    machine.answer()
    assert machine.status() == "succeeded"
    assert list(groups.values()) == [1, 8, 64, 64]
    assert look(database, "select count(*) from wf_step where item >= 0 and attempt <> 1") == [(0,)]


@pytest.mark.parametrize(("concurrency", "messages"), [(None, 16), (3, 3), (50, 50), (5_000, 1_000)])
def test_a_fan_out_rings_for_as_many_slots_as_it_may_occupy(sqlite: Database, concurrency: int | None, messages: int) -> None:
    limit = f", concurrency: {concurrency}" if concurrency else ""
    text = (
        f"name: order\ntasks:\n  - {{name: pack, action: pack, with_items: {list(range(1_500))}, input: {{x: '{{{{ item }}}}'}}{limit}}}\n"
    )
    machine = Machine(sqlite, text)
    executing.dispatch(machine.runtime, "default", machine.run)
    assert [type(ring) for ring in machine.rings] == [RingStep] * messages


# ---- very many steps on more and more workers ----------------------------------------------------------------------------

_NOW = "select extract(epoch from clock_timestamp())"
_ENDED = "select count(*) from wf_step where status = 'succeeded' and extract(epoch from ended_at) between :since and :until"
_WORKERS = "select count(distinct claimed_by) from wf_step where extract(epoch from claimed_at) > :since"


def _steps_a_second(fleet: Fleet) -> float:
    """By the database's clock."""
    since = fleet.query(_NOW)[0][0]
    eventually(lambda: fleet.query(_NOW)[0][0] > since + int(SPAN), what="the time is over")
    return float(fleet.query(_ENDED, since=since, until=since + int(SPAN))[0][0]) / SPAN


@pytest.mark.promise("D25")
def test_eight_workers_carry_out_at_least_six_times_the_waiting_steps_of_one(wide: Fleet) -> None:
    wide.ready(wide.worker("first", concurrency=1))
    wide.shell("[start_workflow(ten_pauses.bind(number)).id for number in range(150)][-1]")
    eventually(lambda: wide.query(_WORKERS, since=0) == [(1,)], what="the first works")
    alone = _steps_a_second(wide)

    others = [wide.worker(f"w{number}", concurrency=1) for number in range(2, 9)]
    wide.ready(*others)
    ready = wide.query(_NOW)[0][0]
    eventually(lambda: wide.query(_WORKERS, since=ready) == [(8,)], what="all eight work")
    together = _steps_a_second(wide)

    print(f"one worker: {alone:.2f} steps/s, eight: {together:.2f}, {together / alone / 8:.2f} of linear")
    assert together >= LINEAR * 8 * alone
