"""A fleet that has nothing to do asks the database for next to nothing, counted on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import cycle
from time import monotonic, sleep
from uuid import UUID, uuid4

from tests.store.counted import CountedDatabase, counted
from tests.store.test_timers import runtime_on
from wfcelery.engine.process import Process
from wfcelery.settings import Settings
from wfcelery.worker.engine import WorkerFacts

__all__ = ["counted"]

POLL = 0.1  # seconds: a tenth of the default, and so are the lease and the looks of those who do not sweep


def test_an_idle_fleet_of_forty_workers_asks_ten_times_a_second_at_most(counted: CountedDatabase) -> None:
    """Ten times as fast as by default, so per tenth of a second: two sweep, the others learn with their renewals that none is wanted."""
    quick = {"poll": POLL, "idle_poll": 10 * POLL, "lease": 30 * POLL}
    runtime = runtime_on(counted.database)
    runtime.settings = Settings(**quick)
    fleet = [Idle(Process(replace(runtime), f"worker {number}", lambda _: True)) for number in range(40)]
    beats = [Process(replace(runtime), f"child {number}", lambda _: True) for number in range(80)]
    live(fleet, beats, polls=20)
    before = counted.statements()
    live(fleet, beats, polls=50)
    asked = counted.statements() - before
    assert asked / 50 <= 10


def live(fleet: list[Idle], beats: list[Process], polls: int) -> None:
    """So many intervals; in each, beat asks one child of a worker to sweep."""
    until = monotonic() + polls * POLL
    for beat in cycle(beats):
        for worker in fleet:
            worker.turn()
        beat.sweep()
        wait = until - monotonic()
        if wait <= 0:
            return
        sleep(min(wait, POLL))


@dataclass
class Idle:
    """A worker's parent: its keeper, and its sweeping thread."""

    process: Process
    id: UUID = field(default_factory=uuid4)
    renewed: float | None = None
    sweeps_at: float = 0.0

    def turn(self) -> None:
        """Whatever it is time for."""
        now, process = monotonic(), self.process
        if self.renewed is None:
            process.register_worker(WorkerFacts(self.id, "w", f"host of {self.id}", "1:1", ["celery"], [], "1"))
        if self.renewed is None or now - self.renewed >= process.runtime.settings.lease / 3:
            assert process.renew(self.id, ()) is not None
            self.renewed = now
        if now >= self.sweeps_at:
            self.sweeps_at = now + process.sweep()
