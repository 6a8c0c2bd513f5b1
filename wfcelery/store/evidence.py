"""What was read of one run at one moment, for whoever compares it with its history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from wfcelery.core.rows import RunRow, StepRow
from wfcelery.store.children import Child
from wfcelery.store.dead_letters import Letter
from wfcelery.store.reading import HistoryRow


@dataclass(frozen=True, slots=True)
class Times:
    """What no decision looks at of a step's row."""

    due_at: datetime | None
    ring_at: datetime | None
    deadline_at: datetime | None
    ended_at: datetime | None
    has_output: bool


@dataclass(frozen=True, slots=True)
class WaitFound:
    """A row of wf_wait."""

    id: UUID
    step: UUID
    status: str
    due_at: datetime | None
    ended_at: datetime | None
    name: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class EventFound:
    """A row of wf_event that a step of the run says it has consumed."""

    id: UUID
    name: str
    key: str
    run: UUID | None  # that it was sent to
    consumed_by: UUID


@dataclass(frozen=True, slots=True)
class InboxFound:
    """A row of wf_inbox."""

    id: UUID
    fact: str
    data: dict[str, Any]
    at: datetime
    ring_at: datetime


@dataclass(frozen=True, slots=True)
class UseFound:
    """A row of wf_limit_use."""

    kind: str
    key: str
    step: UUID
    granted: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """One run: its row, its steps, its history, and what waits for it, all of it as of `now`, the database's clock."""

    now: datetime
    run: RunRow
    input_digest: str
    due_at: datetime | None  # of a run that has not begun, a deadline, or a grace
    ring_at: datetime | None
    ended_at: datetime | None
    continued_as: UUID | None
    resume_at: datetime | None  # of a paused run: when it goes on by itself
    body: str | None  # of its definition, as it is stored
    bodies: dict[str, str]  # of all definitions that it has gone by, by signature
    steps: list[StepRow]
    times: dict[UUID, Times]
    history: list[HistoryRow]
    waits: list[WaitFound]
    inbox: list[InboxFound]
    letters: list[Letter]
    uses: list[UseFound]
    holds: frozenset[str]  # what a step says that one of these holds
    children: list[Child]  # runs that steps of this one have begun
    strangers: list[str]  # tables that hold a row of this run for another organization
    events: Sequence[EventFound] = ()
    seal: Callable[[str], str] | None = None  # what has been done to the digests of the history

    @property
    def open_waits(self) -> list[UUID]:
        """The steps whose wait is open."""
        return [found.step for found in self.waits if found.status == "open"]
