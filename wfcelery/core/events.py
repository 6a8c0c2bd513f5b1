"""Facts: what has happened to a run, in the past tense.

Facts come in two shapes. The frozen classes are what `decide` is told. The history keeps what came
of them: each row of wf_history holds the facts of one commit as a list of small dicts, made by
`note`, and folding all of them (`core.folding`) gives the stored state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from wfcelery.core.rows import Ended
from wfcelery.definition.plan import RetryPolicy


@dataclass(frozen=True, slots=True)
class Begun:
    """A dispatcher found a run of version 0 whose time has come."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """An attempt returned. `value` is the stored form of its result."""

    step: UUID
    token: UUID
    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt raised, or its deadline passed. `error` is sanitized: type, code, message.

    `retry_in`: seconds the code asked for (`RetryLater`, an adopted task's own retry). `final`: no
    further attempt, whatever the policy says. `policy`: what the code says, where the definition is silent. `quota`: seconds
    for which the code may not go on; that is no failure.
    """

    step: UUID
    token: UUID
    error: Mapping[str, Any]
    end: Literal["failed", "timed_out"] = "failed"
    retry_in: float | None = None
    final: bool = False
    policy: RetryPolicy | None = None
    elapsed: float | None = None  # seconds since the first attempt began
    quota: float | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker or child that executed an attempt is gone."""

    step: UUID
    token: UUID


@dataclass(frozen=True, slots=True)
class Parked:
    """A claimed call cannot begin here: its step is unknown, or the code has changed. No retry is spent."""

    step: UUID
    token: UUID
    reason: str
    since: str  # when it was first parked, ISO, UTC
    pause: float  # seconds until the next try
    dead: bool = False  # parked for longer than `park_for`


@dataclass(frozen=True, slots=True)
class ItemEnd:
    """How one item of a group ended: by its value, by its failure, or skipped by its own condition."""

    step: UUID
    item: int
    value: Any = None
    failure: Failed | Parked | None = None
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class GroupEnded:
    """A group of a fan-out's items was executed under one token; `unstarted` ones go back as if never claimed."""

    fan_out: UUID
    token: UUID
    ends: tuple[ItemEnd, ...]
    unstarted: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemsCalled:
    """Items that were claimed under one token are to wait for runs of their own: each with what its run is given."""

    fan_out: UUID
    token: UUID
    calls: tuple[tuple[UUID, Mapping[str, Any]], ...]


@dataclass(frozen=True, slots=True)
class Reported:
    """A step has recorded its own result without the run's lock; its row holds it."""

    step: UUID
    token: UUID


@dataclass(frozen=True, slots=True)
class WaitCame:
    """The time of a wait has come: a sleep is over, and what another waited for is too late."""

    step: UUID
    wait: UUID
    at: datetime | None = None  # when that was, where something else may have come before


@dataclass(frozen=True, slots=True)
class EventCame:
    """An event from outside is there for a run: nobody else takes it while this is decided."""

    event: UUID
    name: str
    key: str
    at: datetime
    data: Any  # stored form
    to_run: bool = False  # sent to this run alone
    to_all: bool = False  # every wait for it gets it, not one
    actor: str | None = None
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """Somebody has approved or rejected what an approval asks, at this time by the database's clock."""

    task: str
    approved: bool
    at: datetime
    by: str
    roles: tuple[str, ...] = ()
    comment: str | None = None
    form: Any = None  # stored form


@dataclass(frozen=True, slots=True)
class AssignAsked:
    """Others shall be asked than those who were."""

    task: str
    to: tuple[str, ...]
    by: str | None = None


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """A run that one of our steps has begun is over. `output` is in stored form."""

    step: UUID
    child: UUID
    status: str
    output: Any = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Expanded:
    """The next items of a large fan-out may be born."""

    fan_out: UUID


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Somebody wants the run to end."""

    reason: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class TerminateAsked:
    """Somebody wants the run to end now: what is under way is fenced."""

    reason: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """Nothing new shall begin until somebody resumes the run, or by itself until a time: after `delay` seconds, or at `until`."""

    reason: str
    by: str | None = None
    delay: float | None = None
    until: datetime | None = None
    down: bool = False  # by the run's parent, which is paused


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """A paused run shall go on."""

    by: str | None = None


@dataclass(frozen=True, slots=True)
class GateOpened:
    """A step that waits for a limit, a lock or a breaker has its turn."""

    step: UUID
    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A step was claimed that somebody holds (`why`), or that has to pass its gates once more; or, with `unstarted`, items of a fan-out.

    It goes back before its code is called.
    """

    step: UUID
    token: UUID
    why: str | None
    unstarted: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class HoldOver:
    """What held steps of this run holds them no longer: they begin after `delay` seconds, one each `every` seconds."""

    scope: str
    delay: float = 0.0
    every: float = 0.0


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The run's own deadline is over."""


@dataclass(frozen=True, slots=True)
class GracePassed:
    """A cancelling run has waited long enough for what was under way."""


@dataclass(frozen=True, slots=True)
class RetryAsked:
    """A dead letter's step shall be tried again, under a new episode."""

    step: UUID
    by: str | None = None


@dataclass(frozen=True, slots=True)
class RunRetryAsked:
    """Everything that stopped the run shall be tried again, under new episodes."""

    by: str | None = None


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What the run begins with: the ends of another run's steps, by their names."""

    run: UUID
    found: Mapping[str, Ended]


@dataclass(frozen=True, slots=True)
class SkipAsked:
    """A step shall not run, or no longer count as failed."""

    task: str
    reason: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class CompleteAsked:
    """A step shall be worth this, in stored form, without having run."""

    task: str
    value: Any
    reason: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class CancelStepAsked:
    """Somebody wants one step to end, and the run to go on without it."""

    task: str
    reason: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class RerunAsked:
    """The failed items of a fan-out, and no others, shall run again."""

    task: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class ItemsAdded:
    """A fan-out that runs gets more items, in stored form."""

    task: str
    items: Sequence[Any]
    by: str | None = None


@dataclass(frozen=True, slots=True)
class ItemsCompleted:
    """A fan-out shall end with what it has."""

    task: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class MoveAsked:
    """The run shall go on by the definition of this signature."""

    to: str
    by: str | None = None


Fact = (
    Begun
    | Succeeded
    | Failed
    | Lost
    | Parked
    | GroupEnded
    | ItemsCalled
    | Reported
    | WaitCame
    | EventCame
    | Answered
    | AssignAsked
    | ChildEnded
    | Expanded
    | CancelAsked
    | TerminateAsked
    | PauseAsked
    | ResumeAsked
    | GateOpened
    | TurnedAway
    | HoldOver
    | DeadlinePassed
    | GracePassed
    | RetryAsked
    | RunRetryAsked
    | TakenOver
    | SkipAsked
    | CancelStepAsked
    | CompleteAsked
    | RerunAsked
    | ItemsAdded
    | ItemsCompleted
    | MoveAsked
)


def note(what: str, step: str | None = None, item: int | None = None, **more: Any) -> dict[str, Any]:
    """One fact as the history keeps it: `{"fact": what, "step": name, "item": n, ...}` without empty fields."""
    fact: dict[str, Any] = {"fact": what}
    if step is not None:
        fact["step"] = step
    if item is not None and item >= 0:
        fact["item"] = item
    for key, value in more.items():
        if value is not None:
            fact[key] = value
    return fact
