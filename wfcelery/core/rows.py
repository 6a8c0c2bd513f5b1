"""What the core knows of a run: its row, some of its steps, and what some of them were worth.

The rows are plain mutable records. `decide` works on copies and hands back what became of them;
`seen` is the status and token under which a row was read, and the only state it may be written over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal
from uuid import UUID

from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.definition.document import Definition
from wfcelery.definition.plan import Plan

NO_ITEM = -1
WaitKind = Literal["sleep", "event", "approval", "child"]
WAIT_KINDS: tuple[WaitKind, ...] = ("sleep", "event", "approval", "child")


@dataclass(slots=True)
class RunRow:
    """One row of wf_run, as far as decisions look at it. `input` and `variables` are decoded JSON."""

    id: UUID
    organization_id: str
    workflow: str
    definition: str  # signature
    status: RunStatus
    version: int
    input: Mapping[str, Any]
    variables: dict[str, Any] = field(default_factory=dict)
    output: Any = None
    error: dict[str, Any] | None = None
    ending: RunStatus | None = None  # what a cancelling run shall be when nothing is under way
    reason: str | None = None
    open_steps: int = 0  # rows that are ready, held, running, reported or waiting (items: through their fan-out's row)
    open_waits: int = 0  # of these: those that hold no worker, but wait (`WaitRow`)
    queue: str | None = None
    priority: int | None = None
    deadline: datetime | None = None
    created_at: datetime | None = None
    parent_step: UUID | None = None
    key: str | None = None
    parent: UUID | None = None  # the run that waits for this one's end
    depth: int = 0  # how many runs are above it
    first_run: UUID | None = None  # of a run that goes on for others: the first of them, by whose id its parent knows it

    def copied(self) -> RunRow:
        """The same again, its variables too; a fifth of the price of `dataclasses.replace`."""
        same = RunRow(*_of_run(self))
        same.variables = dict(self.variables)
        return same


@dataclass(slots=True)
class StepRow:
    """One row of wf_step. `input` and `output` are stored values (`definition.values`), decoded from JSON."""

    id: UUID
    name: str
    item: int = NO_ITEM
    round: int = 0
    status: StepStatus = StepStatus.READY
    seen: tuple[StepStatus, UUID | None] | None = None  # None: not in the database yet
    fan_out: UUID | None = None
    why: str | None = None  # why held, skipped (`when`, `dead`), or what a retry must know (`core.reopening`)
    attempt: int = 0
    failures: int = 0
    lost: int = 0
    token: UUID | None = None
    claimed_by: UUID | None = None
    child: str | None = None
    claimed_at: datetime | None = None
    queue: str | None = None
    priority: int | None = None
    delay: float | None = None  # seconds from the commit; None: now. Written as due_at
    due_at: datetime | None = None  # only where a time, not a span, was asked for; or as read
    ring: bool = False  # whether this commit's own ring follows (ring_at = clock + R) or none (ring_at = due)
    timeout: float | None = None  # seconds; deadline_at = clock + timeout in the commit that claims
    input: Any = None
    output: Any = None
    error: dict[str, Any] | None = None
    blockers: int = 0  # inbound edges that have neither fired nor died; of a fan-out: items that failed for good
    wants: int = 0  # of these: required and not counted by the join; of a fan-out: how many items its list has
    fired: int = 0
    items_left: int | None = None  # of a fan-out: items that have not ended
    expanded: int | None = None  # of a fan-out: items that have rows; `fired` counts those let go so far
    skipped: int | None = None  # of a fan-out: items that their own condition has left out
    gates: list[dict[str, Any]] | None = None  # what it passes before each attempt: kind, key, and the numbers that the author said
    let_go: tuple[tuple[int, int], ...] = ()  # of a fan-out, written only: items a <= item < b turn from held to ready

    def copied(self) -> StepRow:
        """The same again."""
        return StepRow(*_of_step(self))


_of_run, _of_step = (attrgetter(*(field.name for field in fields(row))) for row in (RunRow, StepRow))


@dataclass(slots=True)
class WaitRow:
    """One row of wf_wait. Its time comes after `delay` seconds, or at `due_at`; without either it never does.

    `name` and `key` say what is waited for, where it has them. `keep`: whether what came before the wait opened meets it.
    """

    id: UUID
    step: UUID
    kind: WaitKind
    delay: float | None = None
    due_at: datetime | None = None
    name: str | None = None
    key: str | None = None
    keep: bool = True
    opened_at: datetime | None = None  # as read


@dataclass(slots=True)
class ApprovalRow:
    """One row of wf_approval: what is asked of people while the wait of this id is open. Spans count from its opening."""

    id: UUID
    step: UUID
    name: str
    title: str
    assignees: tuple[str, ...]  # `role:finance`, or the name of an actor; none: everybody
    form: Mapping[str, Any] | None
    remind: float | None  # every so many seconds
    escalate: tuple[tuple[float, tuple[str, ...]], ...]  # after so many seconds these are asked too
    timeout: float | None
    reminded: int = 0  # reminders that are over
    escalated: int = 0
    opened_at: datetime | None = None  # as read
    now: datetime | None = None  # the database's time when it was read


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended and what it was worth, as templates and references see it."""

    status: str
    result: Any = None  # stored form; of a fan-out the list of results
    error: Mapping[str, Any] | None = None
    failed_items: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Called:
    """A definition that a child run is to go by."""

    definition: Definition
    signature: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings allow to a child run: how deep it may be, and how many bytes its input may have."""

    deepest: int = 16
    input: int = 1_048_576


@dataclass(frozen=True, slots=True)
class ItemRow:
    """As much of one item of a fan-out as says whether it is to be undone."""

    item: int
    status: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Story:
    """What the history says of a run that has come to its end: its tasks in the order in which they ended."""

    ended: tuple[str, ...]
    terminated: bool = False  # somebody wanted it to end at once: nothing is done any more


@dataclass(slots=True)
class Slice:
    """What one decision needs. A step that is not in `steps` is unknown; one that maps to None has no row.

    `open_rows` are all rows of the run that are not over, locked; loaded only where a decision closes them.
    """

    plan: Plan
    run: RunRow
    plans: dict[str, Plan] = field(default_factory=dict)  # of other definitions that a fact names, by signature
    steps: dict[str, StepRow | None] = field(default_factory=dict)  # by name, item -1
    results: dict[str, Ended] = field(default_factory=dict)
    by_id: dict[UUID, StepRow | None] = field(default_factory=dict)  # rows named by a fact: items, waiting or reported steps
    open_rows: list[StepRow] | None = None
    stopped: list[StepRow] | None = None  # rows whose `why` matters to a retry (`core.reopening`)
    waits: list[WaitRow] | None = None  # the run's open waits, the oldest first
    approvals: list[ApprovalRow] | None = None  # the run's open ones
    called: dict[str, Called | None] = field(default_factory=dict)  # by signature, or else by name; None: there is none
    loose: list[tuple[UUID, str]] | None = None  # open children that no step waits for, each with the name of its task
    limits: Limits = Limits()
    items: dict[str, list[ItemRow]] = field(default_factory=dict)  # by task: how its items stand
    story: Story | None = None  # what the history says of the order of ends
    line: list[StepRow] | None = None  # the next of what is still to be done before the run ends (`core.closing`)
    line_asked: int = 0  # how many of them were asked for
