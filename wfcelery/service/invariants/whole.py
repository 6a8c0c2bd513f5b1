"""The whole database before the checker: the rows that belong to no run, and of each run what a ledger is compared with.

Without a ledger nothing is kept of a run that has passed, so that what a check needs does not grow with their number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from wfcelery.clock import made_at
from wfcelery.service.invariants.ledgers import Ledgers
from wfcelery.store.evidence import Evidence
from wfcelery.store.verifying import Remains


@dataclass(frozen=True, slots=True)
class Brief:
    """What comparisons between runs look at."""

    organization_id: str
    workflow: str
    key: str | None
    status: str
    input_digest: str
    child: bool


@dataclass(slots=True)
class Whole:
    """All runs of a database together."""

    ledgers: Ledgers
    remains: Remains
    runs: dict[UUID, Brief] = field(default_factory=dict)
    unseen: set[UUID] = field(init=False)  # runs of the effects ledger that have not passed

    def __post_init__(self) -> None:
        self.unseen = set(self.ledgers.effects or ())

    def see(self, found: Evidence) -> None:
        """Keep what is needed of one run."""
        run = found.run
        self.unseen.discard(run.id)
        if self.ledgers.starts is None:
            return
        self.runs[run.id] = Brief(
            run.organization_id, run.workflow, run.key, str(run.status), found.input_digest, run.parent_step is not None
        )

    def may_have_expired(self, run: UUID) -> bool:
        """Whether a run that is not there can have ended so long ago that its rows were deleted."""
        made, kept_for = made_at(run), self.ledgers.retention
        return made is not None and kept_for is not None and made < self.remains.now - timedelta(seconds=kept_for)
