"""The periodic look for due rows: what nobody took, what time has made due, and who has died.

It selects without locks and then works run by run; a run that is busy is left for the next pass. It
drains until nothing is due, and one bad run never stops the others. It may run anywhere, any number
of times at once: correctness never depends on who sweeps.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from wfcelery.clock import monotonic
from wfcelery.core.decision import Ring
from wfcelery.core.events import DeadlinePassed, Fact, Failed, GracePassed, Lost, WaitCame
from wfcelery.core.rows import RunRow
from wfcelery.core.states import RUN_ENDED, RunStatus
from wfcelery.engine.apply import apply, quarantine
from wfcelery.engine.dispatching import Inbox
from wfcelery.engine.runtime import Runtime
from wfcelery.errors import Unavailable
from wfcelery.store import due, leases
from wfcelery.store.database import Tx
from wfcelery.store.failures import CommitUnknown
from wfcelery.store.loading import is_due

log = logging.getLogger(__name__)

ENOUGH = 5  # failures of one row, after which its run is put aside
LONGEST_REST = 300.0  # seconds for which such a row is let alone

T = TypeVar("T", due.Attempt, due.Wait, due.Run)
CLEAN_EVERY = 3_600.0  # seconds between two looks for workers that are long gone
Select = Callable[[Tx, int], Sequence[T]]


def _named(row: due.Attempt | due.Wait | due.Run) -> str:
    """A row by its ids."""
    return f"run {row.run}" if isinstance(row, due.Run) else f"run {row.run} step {row.step}"


@dataclass(slots=True)
class Pass:
    """What one pass of the sweep found: for the log, for tests, for operators."""

    lost: int = 0
    timeouts: int = 0
    waits: int = 0
    deadlines: int = 0
    inboxes: int = 0
    rung: int = 0
    bad: int = 0  # rows whose handling raised; each is in the log
    seconds: float = 0.0
    next_due: float | None = None  # seconds until something falls due within one interval

    def found(self) -> int:
        """How many due rows this pass handled."""
        return self.lost + self.timeouts + self.waits + self.deadlines + self.inboxes + self.rung


@dataclass(slots=True)
class Troubles:
    """Rows whose handling raised, with how often, and until when they are let alone: longer each time."""

    known: dict[object, tuple[int, float]] = field(default_factory=dict)

    def again(self, row: object) -> int:
        """It raised once more: how often by now."""
        often = self.known.get(row, (0, 0.0))[0] + 1
        self.known[row] = often, monotonic() + min(LONGEST_REST, 0.25 * 2**often)
        return often

    def forget(self, row: object) -> None:
        """It went well."""
        self.known.pop(row, None)

    def resting(self) -> set[object]:
        """The rows to leave out now."""
        now = monotonic()
        return {row for row, (_, until) in self.known.items() if until > now}


@dataclass(slots=True)
class Sweep:
    """Sweeps one database, and counts what its passes found."""

    runtime: Runtime
    _troubles: Troubles = field(default_factory=Troubles)
    passes: int = 0
    cleaned: float = float("-inf")
    total: Pass = field(default_factory=Pass)

    def __call__(self) -> Pass:
        """One pass: everything that is due now, until nothing is."""
        began, this = monotonic(), Pass()
        settings = self.runtime.settings
        with self.runtime.database.transaction() as tx:
            leases.stamp(tx, settings.lease)
        this.lost = self._drain(this, lambda tx, n: leases.lost(tx, settings.lease, n), self.declare_lost)
        this.timeouts = self._drain(this, due.attempts, self._time_out)
        this.waits = self._drain(this, due.waits, self._wake)
        this.deadlines = self._drain(this, due.runs, self._end)
        this.inboxes = self._drain(this, due.inboxes, self._apply_inbox)
        this.rung = self._ring()
        with self.runtime.database.transaction() as tx:
            this.next_due = due.next_due(tx, settings.poll)
            if began - self.cleaned >= CLEAN_EVERY:
                leases.forget(tx, settings.lease * 10)
                self.cleaned = began
        this.seconds = monotonic() - began
        self._count(this)
        return this

    def child_died(self, worker: leases.WorkerId, child: str) -> int:
        """The parent's word for its dead child: its attempts are lost now, not when the lease is over."""
        return self._drain(Pass(), lambda tx, n: leases.of_child(tx, worker, child, n), self.declare_lost)

    def left_behind(self, host: str, alive: Callable[[str], bool]) -> int:
        """What processes of this host left behind that are no more: a starting worker's word."""
        with self.runtime.database.transaction() as tx:
            gone = [child for child in leases.children_of_host(tx, host) if not alive(child)]
        return sum(self._left_by(host, child) for child in gone)

    def _left_by(self, host: str, child: str) -> int:
        return self._drain(Pass(), lambda tx, n: leases.of_child_on(tx, host, child, n), self.declare_lost)

    def declare_lost(self, lost: due.Attempt) -> bool:
        """One attempt whose worker or child is gone."""
        return self._tell(lost, Lost(lost.step, lost.token))

    def _time_out(self, late: due.Attempt) -> bool:
        """An attempt past its own deadline, found by its token: a later attempt is not meant."""
        error = {"type": "TimedOut", "code": "timeout", "message": "the attempt took longer than its timeout"}

        def facts(tx: Tx, run: RunRow) -> Sequence[Fact]:
            node = self.runtime.plans.get(tx, run.definition).nodes[late.name]
            return (Failed(late.step, late.token, error, "timed_out", policy=self.runtime.policy(node).retry),)

        applied = apply(self.runtime, late.run, facts, skip_locked=True)
        return applied is not None and not applied.decision.ignored

    def _wake(self, wait: due.Wait) -> bool:
        return self._tell(wait, WaitCame(wait.step, wait.wait))

    def _end(self, run: due.Run) -> bool:
        """A run's own deadline, or the end of its grace; which of the two is read under its lock."""

        def facts(tx: Tx, row: RunRow) -> Sequence[Fact]:
            if row.status in RUN_ENDED or not is_due(tx, row.id):
                return ()
            return (GracePassed(),) if row.status is RunStatus.CANCELLING else (DeadlinePassed(),)

        applied = apply(self.runtime, run.run, facts, skip_locked=True)
        return applied is not None and not applied.decision.ignored

    def _apply_inbox(self, run: due.Run) -> bool:
        """What was put into an inbox, though every worker that could be told of it is busy: a cancel is never behind a queue."""
        applied = apply(self.runtime, run.run, Inbox(), skip_locked=True)
        return applied is not None and not applied.decision.ignored

    def _tell(self, row: due.Attempt | due.Wait, fact: Fact) -> bool:
        applied = apply(self.runtime, row.run, (fact,), skip_locked=True)
        return applied is not None and not applied.decision.ignored

    def _ring(self) -> int:
        """Ring for what nobody took; the new ring times are committed before the rings go out."""
        settings, overdue = self.runtime.settings, list[Ring]()
        for select in (due.ring_steps, due.ring_runs):
            while True:
                with self.runtime.database.transaction() as tx:
                    found = self.runtime.plans.with_tasks(tx, select(tx, settings.batch, settings.ring_again))
                if not found:
                    break
                overdue.extend(found)
        self.runtime.bell.ring_again(overdue)
        return len(overdue)

    def _drain(self, this: Pass, select: Select[T], handle: Callable[[T], bool]) -> int:
        """Select a batch, handle each row, and again until a batch brings nothing new."""
        done, seen = 0, self._troubles.resting()
        while True:
            with self.runtime.database.transaction() as tx:
                batch = [row for row in select(tx, self.runtime.settings.batch + len(seen)) if row not in seen]
            if not batch:
                return done
            log.info("sweep: due are %s", ", ".join(map(_named, batch)))
            for row in batch:
                seen.add(row)
                try:
                    done += handle(row)
                    self._troubles.forget(row)
                except (Unavailable, CommitUnknown):
                    raise
                except Exception as problem:
                    this.bad += 1
                    log.exception("sweep: %s could not be handled and is left for a later pass", _named(row))
                    if self._troubles.again(row) >= ENOUGH:
                        quarantine(self.runtime, row.run, problem)

    def _count(self, this: Pass) -> None:
        self.passes += 1
        for name in ("lost", "timeouts", "waits", "deadlines", "inboxes", "rung", "bad", "seconds"):
            setattr(self.total, name, getattr(self.total, name) + getattr(this, name))
        self.total.next_due = this.next_due
        fields = {"wf_sweep_seconds": round(this.seconds, 4), "wf_sweep_found": this.found(), "wf_sweep_bad": this.bad}
        log.log(logging.INFO if this.found() or this.bad else logging.DEBUG, "sweep: %s", this, extra=fields)
