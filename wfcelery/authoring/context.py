"""What a step can ask about the attempt it runs in."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, Protocol
from uuid import UUID, uuid4

from wfcelery.authoring.run_data import DetachedData, RunData
from wfcelery.errors import AttemptCancelled, NotAllowedNow


class Attendant(Protocol):
    """Whoever runs the attempt, as the step may ask of it."""

    def heartbeat(self, details: Any) -> None:
        """The step is alive; `details` is what it wants shown."""

    def cancelled(self) -> str | None:
        """Why the attempt shall end, or None: it goes on."""

    def connection(self) -> Any:
        """The connection whose commit records this step's result; None where the step is not transactional."""

    def data(self) -> RunData:
        """What is kept beside the run."""


@dataclass(slots=True)
class StepContext:
    """One attempt of a step.

    `key` is its idempotency key, the same for all attempts: hand it to whatever must happen once.
    """

    key: str
    attempt: int = 1
    run_id: str | None = None
    organization_id: str = "default"
    deadline: datetime | None = None
    name: str | None = None
    attendant: Attendant | None = field(default=None, repr=False)
    token: UUID | None = field(default=None, repr=False)  # under which this attempt was claimed
    _detached: DetachedData = field(default_factory=DetachedData, repr=False)
    _starts: Iterator[int] = field(default_factory=lambda: count(1), repr=False)

    @property
    def connection(self) -> Any:
        """The connection of a transactional step: what is written there commits with the step's result."""
        found = None if self.attendant is None else self.attendant.connection()
        if found is None:
            raise NotAllowedNow(
                f"{self.name or 'this call'} has no connection of its own: write @step(transactional=True), and run it in a workflow"
            )
        return found

    @property
    def data(self) -> RunData:
        """What is kept beside the run, by name; in a transactional step it is written by the commit of its result."""
        return self._detached if self.attendant is None else self.attendant.data()

    def heartbeat(self, details: object = None) -> None:
        """Say that the step is alive, and learn of a cancel: raises `AttemptCancelled` as `check_cancelled` does."""
        if self.attendant is not None:
            self.attendant.heartbeat(details)
        self.check_cancelled()

    def check_cancelled(self) -> None:
        """Raise `AttemptCancelled` if the run is being cancelled or the attempt is no longer this process's."""
        reason = None if self.attendant is None else self.attendant.cancelled()
        if reason is not None:
            raise AttemptCancelled(reason)

    def next_start_key(self) -> str:
        """The key of the next run this attempt starts without one: the same on every attempt, in the order of the calls."""
        return f"{self.key}:{next(self._starts)}"


_current: ContextVar[StepContext | None] = ContextVar("wfcelery_step", default=None)


def current_step() -> StepContext:
    """The attempt this code runs in. Never None: in a plain call (a test, a shell, `.delay`) a detached one."""
    return _current.get() or StepContext(key=str(uuid4()))


def running_step() -> StepContext | None:
    """The attempt this code runs in, or None outside of a run."""
    found = _current.get()
    return found if found is not None and found.run_id is not None else None


class step_context:  # noqa: N801  reads as where one is
    """Make `context` the current one; without one, a detached one, unless there is one already."""

    __slots__ = ("_before", "_context")

    def __init__(self, context: StepContext | None = None) -> None:
        self._context = context

    def __enter__(self) -> StepContext:
        made = self._context or _current.get() or StepContext(key=str(uuid4()))
        self._before = _current.set(made)
        return made

    def __exit__(self, *_: object) -> None:
        _current.reset(self._before)
