"""What people and programs read: the models behind `--json`. Times are UTC, spans seconds; no payload unless asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    """A frozen model with a stable form."""

    model_config = ConfigDict(frozen=True)


class ErrorView(View):
    """A sanitized error."""

    type: str
    code: str | None = None
    message: str = ""
    step: str | None = None


class AttemptView(View):
    """One attempt of a step, as the history tells it."""

    number: int
    outcome: str
    started: datetime | None = None
    ended: datetime
    worker: str | None = None
    child: str | None = None
    error: ErrorView | None = None


class ChildView(View):
    """A run that a step has begun."""

    id: str
    workflow: str
    status: str


class StepView(View):
    """One step of a run, or one item of a fan-out."""

    id: str
    name: str
    item: int | None = None
    status: str
    why: str | None = None
    attempt: int
    failures: int
    lost: int
    queue: str | None = None
    worker: str | None = None  # the id of the one that executes it, or did last
    key: str
    claimed: datetime | None = None
    ended: datetime | None = None
    due: datetime | None = None
    items: int | None = None
    items_left: int | None = None
    error: ErrorView | None = None
    attempts: Sequence[AttemptView] = ()
    children: Sequence[ChildView] = ()  # the newest first, of a loop not all
    allowed_actions: Sequence[str] = ()


class RunSummary(View):
    """A run in a list."""

    id: str
    workflow: str
    status: str
    organization_id: str
    key: str | None = None
    tags: Sequence[str] = ()
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    due: datetime | None = None
    resumes: datetime | None = None  # when a pause ends by itself
    reason: str | None = None
    error: ErrorView | None = None


class EventView(View):
    """An event from outside, without its data."""

    id: str
    name: str
    key: str | None = None
    run: str | None = None
    status: str
    actor: str | None = None
    role: str | None = None
    at: datetime
    consumed_by: str | None = None
    why: str | None = None


class DeedView(View):
    """What somebody asked of a run."""

    at: datetime
    actor: str | None = None
    verb: str
    reason: str | None = None


class RunView(RunSummary):
    """A run with all its steps: which have ended how, which are open, and why it goes no further."""

    version: int
    definition: str
    version_label: str
    deadline: datetime | None = None
    counts: Mapping[str, int]
    executing: Sequence[str]
    steps: Sequence[StepView]
    has_output: bool = False
    parent: str | None = None  # the run whose step has begun this one
    continued_as: str | None = None  # the run that goes on for it
    allowed_actions: Sequence[str] = ()
    audit: Sequence[DeedView] = ()


class CommitView(View):
    """What one commit recorded of a run."""

    version: int
    at: datetime
    facts: Sequence[Mapping[str, Any]]


class DeadLetterView(View):
    """A step that will not be tried again by itself."""

    id: str
    run: str
    workflow: str
    step: str
    item: int | None = None
    reason: str
    status: str
    attempts: int
    episode: int
    created: datetime
    ended: datetime | None = None
    error: ErrorView | None = None


class WorkerView(View):
    """A worker of the fleet."""

    id: str
    name: str
    host: str
    process: str
    alive: bool
    lease_until: datetime
    started: datetime
    executing: int
    queues: Sequence[str]
    tasks: int
    build: str


class SlotView(View):
    """What became of a slot of a schedule."""

    slot: datetime
    fate: str  # started | skipped | missed
    run: str | None = None


class ScheduleView(View):
    """A schedule: its terms, where it stands, and what became of its latest slots."""

    name: str
    workflow: str
    organization_id: str
    cron: str | None = None
    every: float | None = None
    timezone: str
    overlap: str
    catch_up: float
    slot_as: str | None = None
    queue: str | None = None
    priority: int | None = None
    tags: Sequence[str] = ()
    deadline: float | None = None
    paused: bool
    reason: str | None = None
    next: datetime | None = None
    waiting: datetime | None = None  # a slot that is started when earlier runs have ended
    started: int
    skipped: int
    missed: int
    error: ErrorView | None = None  # why the next slot could not be started
    recent: Sequence[SlotView] = ()
    created: datetime
    changed: datetime


class UpcomingView(View):
    """A slot to come: the moment, and what a clock in the schedule's time zone shows then."""

    slot: datetime
    local: str


class BackfillView(View):
    """A slot that was asked for after its time, and its run; `new` where that was started now."""

    slot: datetime
    run: str | None = None
    new: bool


class Finding(View):
    """One thing that a check found."""

    level: str  # ok | warning | error
    what: str
    remedy: str | None = None


class Verdict(View):
    """What verifying a run found; no problems means that its history folds to its rows."""

    run: str
    problems: Sequence[str]


class MoveView(View):
    """What a move to another version comes to: what becomes of tasks in the commit that moves the run, or all that forbids it."""

    run: str
    to: str
    signature: str
    problems: Sequence[str]
    changes: Sequence[str]


def error_view(stored: Mapping[str, Any] | None) -> ErrorView | None:
    """The error of a row or a history fact."""
    if not stored:
        return None
    code = stored.get("code")
    return ErrorView(
        type=str(stored.get("type", "Unknown")),
        code=None if code is None else str(code),
        message=str(stored.get("message", "")),
        step=stored.get("step"),
    )


_ENDS = {
    "step_succeeded": "succeeded",
    "step_failed": "failed",
    "step_timed_out": "timed_out",
    "step_retried": "failed",
    "step_lost": "lost",
    "step_parked": "parked",
    "step_put_off": "put_off",
}


def attempts_of(history: Iterable[Any]) -> dict[tuple[str, int], list[AttemptView]]:
    """The attempts of every step and item, read off the history. Items that succeeded in groups are one attempt each."""
    found: dict[tuple[str, int], list[AttemptView]] = {}
    kept: dict[str, datetime] = {}
    for row in history:
        for fact in row.facts:
            what, step = fact["fact"], fact.get("step")
            if what == "step_ready" and step is not None:
                kept[step] = row.at
            if what in _ENDS and "attempt" in fact:
                started = fact.get("started")
                attempt = AttemptView(
                    number=fact["attempt"],
                    outcome="timed_out" if fact.get("end") == "timed_out" else _ENDS[what],
                    started=datetime.fromisoformat(started) if started else kept.get(step),
                    ended=row.at,
                    worker=fact.get("worker"),
                    child=fact.get("child"),
                    error=error_view(fact.get("error")),
                )
                found.setdefault((step, fact.get("item", -1)), []).append(attempt)
    return found


class HeldUpView(View):
    """Something that holds steps up: a hold, a limit, a lock, a breaker, or a pause."""

    what: str
    status: str
    steps: int | None = None
    runs: int
    since: datetime | None = None
    until: datetime | None = None
    reason: str | None = None
    by: str | None = None
    remedy: str


class LimitView(View):
    """A limit, lock, rate or breaker that is in use."""

    organization_id: str
    kind: str
    key: str
    slots: int | None = None
    every: float | None = None  # seconds between two
    burst: int | None = None
    failures: int | None = None
    status: str
    used: int
    waiting: int
    since: datetime | None = None  # of the first that waits


class LimitUserView(View):
    """Who uses a limit, or waits for it."""

    kind: str
    status: str
    run: str
    step: str | None = None
    since: datetime
    due: datetime | None = None
