"""What the engine asks of the world: somebody to ring, to route, to call the author's code, to say what runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from wfcelery.core.decision import Ring
from wfcelery.definition.plan import RetryPolicy


@dataclass(frozen=True, slots=True)
class Policy:
    """What the code says of a step, where the definition says nothing."""

    retry: RetryPolicy | None = None
    timeout: float | None = None
    soft_timeout: float | None = None
    hard_limit: float | None = None  # an adopted task's own Celery time limit
    queue: str | None = None
    priority: int | None = None
    transactional: bool = False
    isolation: str | None = None
    commit: Literal["group", "each"] = "group"
    gates: tuple[Mapping[str, Any], ...] = ()  # what it passes before each attempt, where the definition says nothing of that kind


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt, claimed and ready to be executed.

    `input` is in stored form without references: keyword arguments by name, positional ones under "*".
    `key` is the idempotency key, the same for all attempts. `timeout` counts from now, in seconds.
    """

    organization_id: str
    run: UUID
    workflow: str
    step: UUID
    name: str
    action: str
    item: int
    attempt: int
    failures: int
    token: UUID
    key: str
    input: Any
    queue: str | None
    deadline: datetime | None
    timeout: float | None
    soft_timeout: float | None
    retry: RetryPolicy | None = None  # what the definition says; None: the code's own policy holds
    secrets: tuple[str, ...] = field(default=(), repr=False)  # texts of the input that no log and no error may show
    offered: Mapping[str, Any] = field(default_factory=dict)  # arguments, in stored form, for parameters of these names, if it has them


@dataclass(frozen=True, slots=True)
class Returned:
    """The author's code returned; `value` in stored form."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """The author's code raised, or returned what cannot be carried. `error`: sanitized type, code, message."""

    error: dict[str, Any]
    retry_in: float | None = None
    final: bool = False
    end: Literal["failed", "timed_out"] = "failed"
    quota: float | None = None  # seconds for which the code may not go on; then it is no failure


@dataclass(frozen=True, slots=True)
class CannotBegin:
    """This process lacks the step, or its arguments no longer fit the code."""

    reason: str


@dataclass(frozen=True, slots=True)
class UnknownStep(CannotBegin):
    """This process lacks the step altogether: another worker may have it."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The item's own condition is false: the author's code was not called."""


@dataclass(frozen=True, slots=True)
class Calls:
    """The item is to wait for a run of its own, which is given this, in stored form: no author's code was called."""

    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReportedItself:
    """A transactional step has committed its effect and its result; only the run has yet to advance."""


@dataclass(frozen=True, slots=True)
class Fenced:
    """The attempt was not this one's any more; whatever it did inside its transaction was rolled back."""


Outcome = Returned | Raised | CannotBegin | LeftOut | Calls | ReportedItself | Fenced


class Caller(Protocol):
    """Runs the author's code, in Celery's tracer, and says what came of it. Never raises for the author's errors."""

    def policy(self, action: str) -> Policy | None:
        """What the code says of a step; None where this process does not know it."""

    def call(self, call: Call) -> Outcome:
        """Execute one attempt."""


class Bell(Protocol):
    """Rings after the commit. A ring may be lost; it never raises."""

    def ring(self, rings: Sequence[Ring]) -> None:
        """Ring all of these in one batch."""

    def ring_again(self, rings: Sequence[Ring]) -> None:
        """Ring for what should have been taken by now, but not into a queue that holds as many messages already."""


class Router(Protocol):
    """Which queue a step's message goes to."""

    def queue_for(self, action: str, queue: str | None) -> str:
        """`queue` is what the definition or the run says; else the step's own default; else the app's routes."""

    def may_keep(self, action: str, queue: str, hard_limit: float | None) -> bool:
        """Whether the message that is being worked off may carry this step too."""


class Slots(Protocol):
    """Where a process writes which attempts it executes, before it commits their claim."""

    def take(self, token: UUID) -> None:
        """From now on this token is renewed."""

    def drop(self, token: UUID) -> None:
        """The attempt is over."""

    def identity(self) -> tuple[UUID, str]:
        """The worker's id in wf_worker, and this child as "pid:birth"."""
