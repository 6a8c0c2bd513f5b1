"""What is measured: one figure for each workload, and no figure where an answer is wrong or missing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.sides.contract import CHAIN_LENGTH, Side, Started

PATIENCE = 300.0
SLEEP = 2.0


class WrongAnswerError(Exception):
    """Work was lost or done wrongly: there is no figure for it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure in the workload's own unit, how many answers were compared with the right one, and how many steps it took."""

    figure: float
    answers: int
    steps: int


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of the table that the benchmark prints."""

    name: str
    what: str
    unit: str
    more_is_better: bool
    measure: Callable[[Side, int], Measured]
    size: int
    quick_size: int
    once: bool = False
    """Measured in the first round only: it takes long, and says little more the second time."""
    warm_first: bool = False
    """Run once unmeasured before the first round: what happens once a definition would outweigh the figure."""


def expect(started: Started, right: int) -> None:
    answer = started.result(PATIENCE)
    if answer != right:
        raise WrongAnswerError(f"the answer is {answer!r} where it should be {right}")


def chains_one_at_a_time(side: Side, count: int) -> Measured:
    """Milliseconds from the start to the answer in the caller's hands; the median."""
    spans = []
    for value in range(count):
        began = time.perf_counter()
        expect(side.start_chain(value), value + CHAIN_LENGTH)
        spans.append(time.perf_counter() - began)
    return Measured(statistics.median(spans) * 1000, count, count * CHAIN_LENGTH)


def chains_at_once(side: Side, count: int) -> Measured:
    """Steps a second, from the first start to the last answer."""
    began = time.perf_counter()
    under_way = [(value, side.start_chain(value)) for value in range(count)]
    for value, started in under_way:
        expect(started, value + CHAIN_LENGTH)
    steps = count * CHAIN_LENGTH
    return Measured(steps / (time.perf_counter() - began), count, steps)


def out_and_in(side: Side, width: int) -> Measured:
    """Seconds from the start to the sum over all items."""
    began = time.perf_counter()
    expect(side.start_fan(width), width * (width + 1) // 2)
    return Measured(time.perf_counter() - began, 1, width + 2)


def start_call(side: Side, count: int) -> Measured:
    """Milliseconds that the caller is kept by a start, with nothing else under way; the median."""
    spans = []
    for value in range(count):
        began = time.perf_counter()
        started = side.start_chain(value)
        spans.append(time.perf_counter() - began)
        expect(started, value + CHAIN_LENGTH)
    return Measured(statistics.median(spans) * 1000, count, count * CHAIN_LENGTH)


def sleeps(side: Side, count: int) -> Measured:
    """Milliseconds by which the step after a sleep begins late; of all these sleeps the 95th percentile.

    From the clock that is read just before the sleep is asked for to the clock in the step after it, less the sleep: so
    the commit that records the sleep, and whatever brings the next step to a worker, count as lateness.
    """
    under_way = [side.start_sleep(SLEEP) for _ in range(count)]
    late = sorted(_lateness(started.result(PATIENCE)) for started in under_way)
    return Measured(late[min(count - 1, int(count * 0.95))] * 1000, count, count)


def _lateness(answer: Any) -> float:
    begun, woken = answer
    if woken - begun < SLEEP:
        raise WrongAnswerError(f"a sleep of {SLEEP:g} s was over after {woken - begun:.3f} s")
    return float(woken - begun - SLEEP)


def one_long_chain(side: Side, length: int) -> Measured:
    """Milliseconds a step, from the start to the answer, of one run of so many steps; the median where it is short."""
    spans = []
    for _ in range(max(1, min(5, 2000 // length))):
        began = time.perf_counter()
        expect(side.start_long_chain(length), length)
        spans.append(time.perf_counter() - began)
    return Measured(statistics.median(spans) / length * 1000, len(spans), len(spans) * length)


def warm_up(side: Side, count: int) -> Measured:
    """Whatever happens once: connections, imports, the first look at a definition. No figure."""
    for value in range(count):
        expect(side.start_chain(value), value + CHAIN_LENGTH)
        expect(side.start_fan(10), 55)
    return Measured(0.0, 2 * count, count * (CHAIN_LENGTH + 12))


WARM_UP = Workload("warm-up", "a few of each", "", False, warm_up, 5, 2)
_LONG = "one run of {size} steps in a row: a step"

WORKLOADS = (
    Workload("W1", "a chain of 10 steps, one at a time", "ms", False, chains_one_at_a_time, 40, 5),
    Workload("W2", "{size} such chains at once", "steps/s", True, chains_at_once, 200, 20),
    Workload("W3_100", "1 → {size} → 1", "s", False, out_and_in, 100, 20),
    Workload("W3_1000", "1 → {size} → 1", "s", False, out_and_in, 1_000, 50),
    Workload("W3_10000", "1 → {size} → 1", "s", False, out_and_in, 10_000, 100, once=True),
    Workload("W4", "the call that starts a chain", "ms", False, start_call, 40, 5),
    Workload("W5", "{size} sleeps of 2 s: how late, p95", "ms", False, sleeps, 200, 10),
    Workload("W6_100", _LONG, "ms", False, one_long_chain, 100, 10, warm_first=True),
    Workload("W6_1000", _LONG, "ms", False, one_long_chain, 1_000, 20, warm_first=True),
    Workload("W6_10000", _LONG, "ms", False, one_long_chain, 10_000, 40, warm_first=True),
)

BY_NAME = {workload.name: workload for workload in (WARM_UP, *WORKLOADS)}
