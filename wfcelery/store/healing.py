"""What can be written over a row without deciding anything: a lost ring, a counter that a recount corrects, a lost report.

Each is written only over what was read. Who calls holds the run's lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.definition.values import dumps
from wfcelery.errors import RowChanged
from wfcelery.store.database import Tx
from wfcelery.store.schema import history, inbox, run, step
from wfcelery.store.statements import Statement, clock, later, one

_RUN = run.c.id == one("id_", sa.Uuid)
_STEP = sa.and_(step.c.id == one("id_", sa.Uuid), step.c.status == one("seen_status", sa.Text))

_BEGIN_RUN = Statement(
    sa.update(run)
    .where(_RUN, run.c.status == "pending")
    .values(due_at=sa.func.coalesce(run.c.due_at, clock()), ring_at=sa.func.coalesce(run.c.due_at, clock()))
)
_KEEP_DEADLINE = Statement(sa.update(run).where(_RUN, run.c.due_at.is_(None), run.c.deadline > clock()).values(due_at=run.c.deadline))
_SILENCE_RUN = Statement(sa.update(run).where(_RUN, run.c.status != "pending").values(ring_at=sa.null()))
_RING = Statement(sa.update(step).where(_STEP, step.c.ring_at.is_(None)).values(ring_at=clock()))
_UNRING = Statement(sa.update(step).where(_STEP, step.c.ring_at.is_not(None)).values(ring_at=sa.null()))
_NO_DEADLINE = Statement(sa.update(step).where(_STEP, step.c.status != "running").values(deadline_at=sa.null()))
_ITEMS_LEFT = Statement(
    sa.update(step).where(_STEP, step.c.items_left == one("seen", sa.Integer)).values(items_left=one("counted", sa.Integer))
)
_COUNTERS = Statement(
    sa.update(run)
    .where(_RUN, run.c.open_steps == one("seen", sa.Integer), run.c.open_waits == one("seen_waits", sa.Integer))
    .values(open_steps=one("counted", sa.Integer), open_waits=one("counted_waits", sa.Integer))
)
_RING_INBOX = Statement(
    sa.update(inbox).where(inbox.c.run == one("id_", sa.Uuid), inbox.c.ring_at > later(sa.literal(60.0, sa.Float))).values(ring_at=clock())
)

STATEMENTS: Mapping[str, Statement] = {
    "begin run": _BEGIN_RUN,
    "silence run": _SILENCE_RUN,
    "keep deadline": _KEEP_DEADLINE,
    "ring": _RING,
    "unring": _UNRING,
    "no deadline": _NO_DEADLINE,
    "items left": _ITEMS_LEFT,
    "counters": _COUNTERS,
    "ring inbox": _RING_INBOX,
}

_ADVANCE = Statement(
    sa.update(run).where(_RUN, run.c.version == one("seen", sa.Integer)).values(version=run.c.version + 1)
)  # fmt: skip
_TELL = Statement(
    sa.insert(history).values(
        run=one("run", sa.Uuid),
        version=one("version", sa.Integer),
        organization_id=one("organization_id", sa.Text),
        at=clock(),
        facts=one("facts", sa.Text),
    )
)


def write(tx: Tx, what: str, parameters: Mapping[str, Any]) -> None:
    """One of the cures of `STATEMENTS`. Raises RowChanged where the row is no longer what it was read as."""
    if tx.execute(STATEMENTS[what], parameters).count < 1:
        raise RowChanged(f"{what} of {parameters['id_']}")


def tell(tx: Tx, organization_id: str, run_id: UUID, seen: int, facts: Sequence[Mapping[str, Any]]) -> None:
    """One more version of a run that has begun, with the facts that say what was written. Raises RowChanged."""
    if tx.execute(_ADVANCE, {"id_": run_id, "seen": seen}).count != 1:
        raise RowChanged(f"run {run_id}", f"version {seen}")
    tx.execute(_TELL, {"run": run_id, "version": seen + 1, "organization_id": organization_id, "facts": dumps(list(facts))})
