"""The periodic look for due rows: what nobody took, what time has made due, and who has died.

One look says what is overdue and when the next falls due; where nothing is, that was all. What is due it
selects without locks and then works run by run; a run that is busy is left for the next pass. It drains
until nothing is due, and one bad run never stops the others. It may run anywhere, any number of times at
once: correctness never depends on who sweeps.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from wfcelery.clock import monotonic
from wfcelery.core.decision import Ring
from wfcelery.core.events import DeadlinePassed, Fact, Failed, GracePassed, Lost, ResumeAsked
from wfcelery.core.pausing import QUOTA
from wfcelery.core.rows import RunRow
from wfcelery.core.states import RUN_ENDED, RunStatus
from wfcelery.engine.apply import apply, quarantine
from wfcelery.engine.deadlines import Deadlines
from wfcelery.engine.dispatching import inbox_of
from wfcelery.engine.gating import look_after
from wfcelery.engine.holding import end_holds
from wfcelery.engine.quota import not_yet
from wfcelery.engine.runtime import Runtime
from wfcelery.engine.scheduling import start_slots
from wfcelery.engine.waking import Called, Waking, call_workers, left_to_workers
from wfcelery.errors import Unavailable
from wfcelery.store import due, events, leases, limits
from wfcelery.store.database import Tx
from wfcelery.store.failures import CommitUnknown, LockTimeout
from wfcelery.store.loading import is_due
from wfcelery.store.looking import Seen, look

log = logging.getLogger(__name__)

ENOUGH = 5  # failures of one row, after which its run is put aside
LONGEST_REST = 300.0  # seconds for which such a row is let alone

T = TypeVar("T", due.Attempt, due.Wait, due.Run, due.Paused)
CLEAN_EVERY = 3_600.0  # seconds between two looks for workers that are long gone
FIRST_WAIT = 0.01  # seconds until what could not be moved on is tried again, doubled each time
Select = Callable[[Tx, int], Sequence[T]]


def _named(row: due.Attempt | due.Wait | due.Run) -> str:
    """A row by its ids."""
    return f"run {row.run}" if isinstance(row, due.Run) else f"run {row.run} step {row.step}"


_KINDS = (
    "lost",
    "timeouts",
    "waits",
    "expired",
    "matches",
    "deadlines",
    "resumes",
    "schedules",
    "limits",
    "holds",
    "inboxes",
    "rung",
)  # of due rows


@dataclass(slots=True)
class Pass:
    """What one pass of the sweep found: for the log, for tests, for operators."""

    lost: int = 0
    timeouts: int = 0
    waits: int = 0
    expired: int = 0  # runs with waits that came to their deadline
    matches: int = 0  # events and waits that were looked at once more
    deadlines: int = 0
    resumes: int = 0
    schedules: int = 0
    limits: int = 0
    holds: int = 0
    inboxes: int = 0
    rung: int = 0
    left: int = 0  # sleeps that are over, for which workers were rung
    bad: int = 0  # rows whose handling raised; each is in the log
    seconds: float = 0.0
    next_due: float | None = None  # seconds until something falls due within one interval

    def found(self) -> int:
        """How many due rows this pass handled."""
        return sum(getattr(self, kind) for kind in _KINDS)


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
    _called: Called = field(default_factory=Called)
    _stuck: int = 0  # passes in a row that left something overdue and could move nothing on

    def __call__(self, half: int | None = None) -> Pass:
        """One pass: everything that is due now, until nothing is; of waits first the half that is given (0, 1)."""
        began, this = monotonic(), Pass()
        seen = self._look()
        tried: set[str] = set()
        while new := seen.overdue - tried:
            for kind, drain in self._drains(this, seen, half).items():
                if kind in new:
                    setattr(this, kind, drain())
            tried |= new
            seen = self._look()
        this.next_due = self._next(this, seen)
        if began - self.cleaned >= CLEAN_EVERY:
            with self.runtime.database.single() as tx:
                leases.forget(tx, self.runtime.settings.lease * 10)
            self.cleaned = began
        this.seconds = monotonic() - began
        self._count(this)
        return this

    def _drains(self, this: Pass, seen: Seen, half: int | None) -> dict[str, Callable[[], int]]:
        """What is done about each kind of rows that are overdue, in this order."""
        lease = self.runtime.settings.lease
        return {
            "schedules": lambda: self._schedule(this),
            "lost": lambda: self._drain(this, lambda tx, n: leases.lost(tx, lease, n), self.declare_lost),
            "holds": self._end_holds,
            "limits": lambda: self._look_after(this),
            "timeouts": lambda: self._drain(this, due.attempts, self._time_out),
            "waits": lambda: self._wake_all(this, seen, half),
            "expired": lambda: self._drain(this, due.expired, self._expire),
            "matches": self._match,
            "deadlines": lambda: self._drain(this, due.runs, self._end),
            "resumes": lambda: self._drain(this, due.resumes, self._resume),
            "inboxes": lambda: self._drain(this, due.inboxes, self._apply_inbox),
            "rung": self._ring,
        }

    def _look(self) -> Seen:
        """What is overdue, and when the next falls due. Says now and then that somebody sweeps, before a lease is judged by it."""
        settings = self.runtime.settings
        # At the next look, one poll from now, the stamp must be younger than half a lease: that is what an outage looks like.
        fresh = min(3 * settings.poll, (settings.lease / 2 - settings.poll) / 2)
        with self.runtime.database.single() as tx:
            seen = look(tx, settings.lease, settings.poll, fresh)
        if seen.stale:
            with self.runtime.database.single() as tx:
                leases.stamp(tx, settings.lease)
        return seen

    def _next(self, this: Pass, seen: Seen) -> float | None:
        """Seconds until the next pass is worth it: at once where this one moved on what is still overdue, else later each time."""
        self._stuck = self._stuck + 1 if seen.overdue else 0
        if not seen.overdue:
            return seen.next_in
        moved = {kind for kind in seen.overdue if getattr(this, kind)}
        if not moved and self._called.moved:
            moved, self._called.moved = {"rung"}, False
        if moved:
            self._stuck = 0
            return FIRST_WAIT if moved == {"rung"} else 0.0  # rings are worth gathering
        again: float = min(self.runtime.settings.poll, FIRST_WAIT * 2 ** min(self._stuck, 16))
        return again if seen.next_in is None else min(again, seen.next_in)

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

    def _wake_all(self, this: Pass, seen: Seen, half: int | None) -> int:
        """Ring for what has just come due, and end what nobody has ended in time, or what is too much for those that are rung."""
        called = self._called
        call_workers(self.runtime, half, called)
        this.left = len(called.waits)
        if called.waits and called.moved:
            log.info("sweep: left to the workers are %s", ", ".join(map(_named, called.waits)))
        since = left_to_workers(this.left)
        if seen.waiting < since:
            return 0
        waking = Waking(self.runtime, half, since)
        try:
            return self._drain(this, waking.find, waking.wake)
        finally:
            waking.ring_all()

    def _schedule(self, this: Pass) -> int:
        """Start the runs of slots that are due; a schedule that cannot be is told on its row, and holds up no other."""
        scheduled = start_slots(self.runtime)
        this.bad += scheduled.bad
        return scheduled.turns

    def _end_holds(self) -> int:
        """Holds that are over, by their time or by a release."""
        rings = end_holds(self.runtime.database)
        self.runtime.bell.ring(rings)
        return len(rings)

    def _look_after(self, this: Pass) -> int:
        """Limits whose time has come: a retry wants its slot, a breaker lets one through, a slot's step is no more."""
        done = 0
        while True:
            with self.runtime.database.single() as tx:
                found = limits.due(tx, self.runtime.settings.batch)
            for organization_id, place in found:
                try:
                    with self.runtime.database.transaction() as tx:
                        rings = look_after(tx, organization_id, place)
                except LockTimeout:
                    this.bad += 1
                    continue
                self.runtime.bell.ring(rings)
                done += 1
            if len(found) < self.runtime.settings.batch or this.bad:
                return done

    def _end(self, run: due.Run) -> bool:
        """A run's own deadline, or the end of its grace; which of the two is read under its lock."""

        def facts(tx: Tx, row: RunRow) -> Sequence[Fact]:
            if row.status in RUN_ENDED or not is_due(tx, row.id):
                return ()
            return (GracePassed(),) if row.status is RunStatus.CANCELLING else (DeadlinePassed(),)

        applied = apply(self.runtime, run.run, facts, skip_locked=True)
        return applied is not None and not applied.decision.ignored

    def _resume(self, paused: due.Paused) -> bool:
        """A pause is over; one for quota, only where there is some again."""
        wait = not_yet(self.runtime, paused.organization_id, paused.workflow) if paused.reason == QUOTA else None
        if wait is not None:
            with self.runtime.database.transaction() as tx:
                due.put_off(tx, paused.run, wait)
            return True

        def facts(tx: Tx, row: RunRow) -> Sequence[Fact]:
            return (ResumeAsked(),) if due.is_over(tx, row.id) else ()

        applied = apply(self.runtime, paused.run, facts, skip_locked=True)
        return applied is not None and not applied.decision.ignored

    def _apply_inbox(self, run: due.Run) -> bool:
        """What was put into an inbox, though every worker that could be told of it is busy: a cancel is never behind a queue."""
        applied = apply(self.runtime, run.run, inbox_of(self.runtime, run.run), skip_locked=True)
        return applied is not None and not applied.decision.ignored

    def _expire(self, run: due.Run) -> bool:
        """Waits whose deadline has passed, beside everything that came for their run before or since."""
        applied = apply(self.runtime, run.run, Deadlines(), skip_locked=True)
        return applied is not None and not applied.decision.ignored

    def _match(self) -> int:
        """Events and waits that came to be at the same time: lead the ones to the others, as far as nobody has."""
        settings, looked = self.runtime.settings, 0
        for look_once_more in (events.lead_again, events.look_again) if settings.events else ():
            while True:
                with self.runtime.database.transaction() as tx:
                    found = look_once_more(tx, settings.batch)
                self.runtime.bell.ring(found.rings)
                looked += found.rows
                if found.rows < settings.batch:
                    break
        return looked

    def _tell(self, row: due.Attempt, fact: Fact) -> bool:
        applied = apply(self.runtime, row.run, (fact,), skip_locked=True)
        return applied is not None and not applied.decision.ignored

    def _ring(self) -> int:
        """Ring for what nobody took; the new ring times are committed before the rings go out.

        Nothing is rung twice in a pass: what is left when the first of them fall due again is for the next one.
        """
        settings, overdue = self.runtime.settings, list[Ring]()
        for select in (due.ring_steps, due.ring_runs):
            end = monotonic() + settings.ring_again
            while True:
                with self.runtime.database.transaction() as tx:
                    found = self.runtime.plans.with_tasks(tx, select(tx, settings.batch, settings.ring_again))
                overdue.extend(found)
                if not found or monotonic() >= end:
                    break
        self.runtime.bell.ring_again(overdue)
        return len(overdue)

    def _drain(self, this: Pass, select: Select[T], handle: Callable[[T], bool]) -> int:
        """Select a batch, handle each row, and again until a batch brings nothing new."""
        done, left = 0, self._troubles.resting()
        seen = set(left)
        while True:
            many = self.runtime.settings.batch + len(left)
            with self.runtime.database.single() as tx:
                found = select(tx, many)
            batch = [row for row in found if row not in seen]
            if batch:
                log.info("sweep: due are %s", ", ".join(map(_named, batch)))
            for row in batch:
                seen.add(row)
                try:
                    if handle(row):
                        done += 1
                    else:
                        left.add(row)
                    self._troubles.forget(row)
                except (Unavailable, CommitUnknown):
                    raise
                except Exception as problem:
                    left.add(row)
                    this.bad += 1
                    log.exception("sweep: %s could not be handled and is left for a later pass", _named(row))
                    if self._troubles.again(row) >= ENOUGH:
                        quarantine(self.runtime, row.run, problem)
            if not batch or len(found) < many:  # that was all; what has fallen due since is seen by the next look
                return done

    def _count(self, this: Pass) -> None:
        self.passes += 1
        for name in (*_KINDS, "left", "bad", "seconds"):
            setattr(self.total, name, getattr(self.total, name) + getattr(this, name))
        self.total.next_due = this.next_due
        fields = {"wf_sweep_seconds": round(this.seconds, 4), "wf_sweep_found": this.found(), "wf_sweep_bad": this.bad}
        log.log(logging.INFO if this.found() or this.left or this.bad else logging.DEBUG, "sweep: %s", this, extra=fields)
