"""A run that no decision can move is put aside: said in a dead letter, and not rung again until somebody asks."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa

from wfcelery.clock import uuid7
from wfcelery.core.rows import NO_ITEM
from wfcelery.definition.values import dumps
from wfcelery.store.database import Tx
from wfcelery.store.schema import dead_letter, inbox, run
from wfcelery.store.statements import Statement, clock, later, one

ASIDE = 365 * 86_400.0  # seconds for which nobody rings for it

_KNOWN = Statement(
    sa.select(dead_letter.c.id).where(
        dead_letter.c.run == one("run", sa.Uuid), dead_letter.c.step.is_(None), dead_letter.c.status == "open"
    )
)
_BURY = Statement(
    sa.insert(dead_letter).from_select(
        ["id", "organization_id", "run", "workflow", "name", "item", "reason", "error", "attempts", "episode", "status", "created_at"],
        sa.select(
            one("id", sa.Uuid),
            run.c.organization_id,
            run.c.id,
            run.c.workflow,
            sa.literal("", sa.Text),
            sa.literal(NO_ITEM, sa.Integer),
            sa.literal("quarantined", sa.Text),
            one("error", sa.Text),
            sa.literal(0, sa.Integer),
            sa.literal(1, sa.Integer),
            sa.literal("open", sa.Text),
            clock(),
        ).where(run.c.id == one("run", sa.Uuid)),
        include_defaults=False,
    )
)
_SILENCE = Statement(sa.update(inbox).where(inbox.c.run == one("run", sa.Uuid)).values(ring_at=later(one("pause", sa.Float))))
_SILENCE_RUN = Statement(
    sa.update(run).where(run.c.id == one("run", sa.Uuid), run.c.ring_at.is_not(None)).values(ring_at=later(one("pause", sa.Float)))
)
_RELEASE = Statement(
    sa.update(dead_letter)
    .where(dead_letter.c.id == one("letter", sa.Uuid), dead_letter.c.status == "open")
    .values(status="retried", ended_at=clock())
)


def put_aside(tx: Tx, run_id: UUID, error: dict[str, str | None]) -> bool:
    """Under the run's lock. False where it is put aside already."""
    if tx.execute(_KNOWN, {"run": run_id}).rows:
        return False
    tx.execute(_BURY, {"id": uuid7(), "run": run_id, "error": dumps(error)})
    _silence(tx, run_id, ASIDE)
    return True


def take_back(tx: Tx, run_id: UUID, letter: UUID) -> None:
    """Somebody wants it tried again: it is rung for at once."""
    tx.execute(_RELEASE, {"letter": letter})
    _silence(tx, run_id, 0.0)


def _silence(tx: Tx, run_id: UUID, pause: float) -> None:
    tx.execute(_SILENCE, {"run": run_id, "pause": pause})
    tx.execute(_SILENCE_RUN, {"run": run_id, "pause": pause})
