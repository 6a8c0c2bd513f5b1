"""What a decision says: rows to write, facts for the history, and wishes for after the commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from wfcelery.core.rows import ApprovalRow, RunRow, StepRow, WaitRow
from wfcelery.definition.plan import Plan


@dataclass(frozen=True, slots=True)
class RingStep:
    """Tell the workers of `queue` that this step, or fan-out, is ready."""

    organization_id: str
    run: UUID
    step: UUID
    queue: str | None
    priority: int | None = None
    name: str = ""  # the author's task, for Flower and for the app's routes


@dataclass(frozen=True, slots=True)
class RingRun:
    """Tell the dispatchers that this run shall begin, or has something in its inbox."""

    organization_id: str
    run: UUID
    queue: str | None = None


Ring = RingStep | RingRun


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A step that will not be tried again by itself. `handled`: a transition or `on_error` took care of it."""

    step: UUID
    name: str
    item: int
    reason: str  # exhausted | non_retryable | lost | timed_out | parked
    error: dict[str, Any] | None
    attempts: int
    handled: bool


@dataclass(frozen=True, slots=True)
class NextRun:
    """The run that goes on for one that has ended: what is not said here is as it was there."""

    id: UUID
    input: dict[str, Any]
    deadline_in: float | None  # seconds from its start; None: the moment at which the first one would have had to end
    paused: bool  # whether it is to be paused as it begins


@dataclass(frozen=True, slots=True)
class ApprovalNotice:
    """What people are asked, for whoever tells them (the setting `on_approval`). It goes out after the commit, once or not at all."""

    what: Literal["opened", "reminded", "escalated", "assigned"]
    organization_id: str
    run: UUID
    workflow: str
    step: str
    title: str
    assignees: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewChild:
    """A run that is born in this commit. `input` is checked; `timeout` counts from its begin, to the parent's deadline at most."""

    id: UUID
    step: UUID
    workflow: str
    definition: str  # signature
    input: dict[str, Any]
    tags: tuple[str, ...] = ()
    waited: bool = True
    delay: float | None = None
    timeout: float | None = None
    queue: str | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A fact for another run, for its inbox. With an `id` it is put once, however often it is said."""

    run: UUID
    fact: str
    data: Mapping[str, Any]
    id: UUID | None = None


@dataclass(slots=True)
class Decision:
    """Everything one commit writes. `seen_version` is the version the run was read with.

    `steps` with `seen is None` are inserted, the others are written over (status, token) as seen;
    rows alike in everything but their id may be written by one statement. `waits` are opened.
    `retried` are steps whose open dead letter becomes `retried`.
    """

    run: RunRow
    seen_version: int
    steps: list[StepRow] = field(default_factory=list)
    waits: list[WaitRow] = field(default_factory=list)
    waits_came: list[UUID] = field(default_factory=list)  # wait ids: open -> due
    waits_met: list[tuple[UUID, str]] = field(default_factory=list)  # step ids: their open waits -> met, with this outcome
    events_taken: list[tuple[UUID, UUID]] = field(default_factory=list)  # event -> the step that it was for
    events_refused: list[tuple[UUID, str]] = field(default_factory=list)  # event, and why no wait of this run wants it
    waits_closed: list[UUID] = field(default_factory=list)  # step ids: their open waits -> cancelled
    waits_reopened: list[UUID] = field(default_factory=list)  # step ids: their cancelled waits -> open, with the same time
    approvals: list[ApprovalRow] = field(default_factory=list)  # of waits that are opened
    approvals_changed: list[ApprovalRow] = field(default_factory=list)  # and the time of their waits
    notices: list[ApprovalNotice] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    retried: list[UUID] = field(default_factory=list)
    children: list[NewChild] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)
    rings: list[Ring] = field(default_factory=list)
    inbox_done: list[UUID] = field(default_factory=list)
    gated: dict[UUID, StepRow] = field(default_factory=dict)  # rows that have changed and have gates, for whoever keeps the gates
    left: list[UUID] = field(default_factory=list)  # of these: gates of sections that are over
    failing: list[UUID] = field(default_factory=list)  # of these: steps of which an attempt has failed
    grace: float | None = None  # seconds after which a cancelling run is ended by force: wf_run.due_at
    next_run: NextRun | None = None  # which is started in the same commit
    moved: Plan | None = None  # the plan that the run goes by from this commit on
    kept: StepRow | None = None
    resumes: tuple[float | None, datetime | None] | None = None  # a pause's own end: after so many seconds, or at a time; or none
    ended: bool = False  # the run reached its end in this commit
    ignored: str | None = None  # nothing to write: late and repeated facts are normal life

    @classmethod
    def ignore(cls, run: RunRow, reason: str) -> Decision:
        """Nothing to write, and why."""
        return cls(run, run.version, ignored=reason)


@dataclass(frozen=True, slots=True)
class Missing:
    """The slice is too small: load these and ask again. Never more than the decision really looks at."""

    steps: frozenset[str] = frozenset()
    results: frozenset[str] = frozenset()
    ids: frozenset[UUID] = frozenset()
    open_rows: bool = False
    stopped: bool = False
    called: frozenset[tuple[str, str | None]] = frozenset()  # definitions by name and signature
    loose: bool = False
    waits: bool = False  # the open waits of the run
    approvals: bool = False  # its open approvals
    items: frozenset[str] = frozenset()
    story: bool = False
    line: int = 0
