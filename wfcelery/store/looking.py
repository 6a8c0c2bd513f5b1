"""One look for all that a sweep may find: which kinds of rows are overdue, and when the next falls due. One statement, which only reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from wfcelery.store.database import Tx
from wfcelery.store.leases import ANY_LOST, stale_stamp
from wfcelery.store.schema import event, hold, inbox, limit, run, schedule, step, wait
from wfcelery.store.statements import Statement, moment, one, seconds_until, soon
from wfcelery.store.waits import is_plain

# Of each kind the times, and which rows have one.
_TIMES: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("timeouts", step.c.deadline_at, (step.c.status == "running",)),
    ("waits", wait.c.due_at, (wait.c.status == "open", is_plain())),
    ("expired", wait.c.due_at, (wait.c.status == "open", sa.not_(is_plain()))),
    ("matches", event.c.match_at, ()),
    ("matches", wait.c.match_at, (wait.c.status == "open",)),
    ("deadlines", run.c.due_at, (run.c.status != "pending",)),
    ("resumes", run.c.resume_at, (run.c.status == "paused",)),
    ("schedules", schedule.c.due_at, ()),
    ("limits", limit.c.ring_at, ()),
    ("holds", hold.c.ring_at, ()),
    ("inboxes", inbox.c.ring_at, ()),
    ("rung", step.c.ring_at, ()),
    ("rung", run.c.ring_at, ()),
    ("rung", inbox.c.ring_at, ()),
]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look has seen."""

    overdue: frozenset[str]  # of lost, timeouts, waits, expired, matches, deadlines, resumes, schedules, limits, holds, inboxes, rung
    next_in: float | None  # seconds until the next row falls due, where that is within the span asked for
    stale: bool  # nobody has said for a while that somebody sweeps; to be said before any lease is judged
    waiting: float = field(default=0.0, compare=False)  # seconds since the time of the first open wait that is due


def _first(time: Any, *where: Any) -> Any:
    """By the smallest time and not by `exists`: a planner that expects many such rows would read the table for the first."""
    return seconds_until(sa.select(sa.func.min(time)).where(*where).scalar_subquery())


def _look(dialect: str) -> Any:
    found = [stale_stamp(dialect, one("fresh", sa.Float)), ANY_LOST]
    found += [_first(time, time <= moment(), *where) for _, time, where in _TIMES]
    found += [_first(time, time > moment(), time <= soon(one("within", sa.Float)), *where) for _, time, where in _TIMES]
    return sa.select(*(column.label(f"look_{number}") for number, column in enumerate(found)))


_LOOK = Statement(_look)


def look(tx: Tx, lease: float, within: float, fresh: float) -> Seen:
    """Look at everything that has a time. Leases are of `lease` seconds; `within`: how far ahead; `fresh`: how old the stamp may be."""
    stale, lost, *times = tx.execute(_LOOK, {"past": -lease, "within": within, "fresh": fresh}).rows[0]
    due = {kind: until for (kind, _, _), until in zip(_TIMES, times[: len(_TIMES)], strict=True) if until is not None}
    ahead = [seconds for seconds in times[len(_TIMES) :] if seconds is not None]
    overdue = frozenset({*due, "lost"} if lost else due)
    return Seen(overdue, min(ahead, default=None), bool(stale), -due.get("waits", 0.0))
