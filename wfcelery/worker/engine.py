"""What a worker asks of the engine. `engine.runtime` is behind it in a real one; tests give their own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a worker says of itself when it starts."""

    worker: UUID
    name: str
    host: str
    process: str  # the parent, as "pid:birth"
    queues: Sequence[str]
    tasks: Sequence[str]
    build: str


class Engine(Protocol):
    """One process's way to the database. Each method may raise `Unavailable`; callers log it and go on."""

    def ns(self) -> str:
        """The short random id of this database."""

    def execute(self, organization_id: str, run: UUID, step: UUID) -> None:
        """Claim and work off a step, or groups of a fan-out's items, and what they lead to."""

    def dispatch(self, organization_id: str, run: UUID) -> None:
        """Begin a run, or drain its inbox."""

    def sweep(self, queues: Collection[str] | None = None) -> float:
        """Look for due rows once, if it is this process's turn. Seconds until the next look.

        With `queues`: ring for nothing else than these, whoever else sweeps (a worker whose bell is the database).
        """

    def register_worker(self, facts: WorkerFacts) -> None:
        """A worker has started: write its row, and declare lost what dead processes of its host have left."""

    def renew(self, worker: UUID, tokens: Collection[UUID]) -> frozenset[UUID] | None:
        """These attempts are executed here. Which of them are cancelled; None: this worker was declared lost."""

    def child_died(self, worker: UUID, child: str) -> None:
        """The child of that identity is gone, and with it what it executed."""

    def retire(self, worker: UUID) -> None:
        """The worker has ended in peace and executes nothing."""
