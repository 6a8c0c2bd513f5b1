"""The whole database before the checker: what is kept of each run that has passed, and the rows that belong to none."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from wfcelery.service.invariants.ledgers import Ledgers
from wfcelery.store.verifying import Evidence, Remains


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
    owners: dict[UUID, tuple[UUID, UUID]] = field(default_factory=dict)  # token -> (run, step or fan-out)
    shared: list[tuple[UUID, UUID]] = field(default_factory=list)  # runs that hold a token which another one holds too

    def see(self, found: Evidence) -> None:
        """Keep what is needed of one run."""
        run = found.run
        self.runs[run.id] = Brief(
            run.organization_id, run.workflow, run.key, str(run.status), found.input_digest, run.parent_step is not None
        )
        for row in found.steps:
            if row.token is not None:
                owner = self.owners.setdefault(row.token, (run.id, row.fan_out or row.id))
                if owner[0] != run.id:
                    self.shared.append((owner[0], run.id))
