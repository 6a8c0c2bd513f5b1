"""How a step records its own result, without the run's lock: its row, and a fact for the run."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa

from wfcelery.errors import RowChanged
from wfcelery.store import inbox
from wfcelery.store.database import Tx
from wfcelery.store.schema import Value, step
from wfcelery.store.statements import Statement, by_the_way, one

_REPORT = Statement(
    sa.update(step)
    .where(step.c.id == one("step", sa.Uuid), step.c.token == one("mine", sa.Uuid), by_the_way(step.c.status) == "running")
    .values(status="reported", output=one("output", Value("output")), deadline_at=sa.null(), error=sa.null())
)


def report(tx: Tx, organization_id: str, run: UUID, step_id: UUID, token: UUID, output: str) -> None:
    """Record the result and tell the run, in the transaction that carries the step's effect.

    The write of the step's own row is the last statement: until then nothing of the engine is locked. Raises
    RowChanged where the attempt is no longer this one's; the effect must then be rolled back.
    """
    place = {"organization_id": organization_id, "run": run}
    inbox.put(tx, organization_id, run, "reported", {"step": str(step_id), "token": str(token)})
    if tx.execute(_REPORT, {**place, "step": step_id, "mine": token, "output": output}).count != 1:
        raise RowChanged(f"step {step_id}", "another attempt, or its end")


_RECORDED = Statement(
    sa.select(step.c.id).where(step.c.id == one("step", sa.Uuid), step.c.token == one("mine", sa.Uuid), step.c.status != "running")
)


def recorded(tx: Tx, step_id: UUID, token: UUID) -> bool:
    """Whether a report under this token has landed: the token stays on a row that is over."""
    return bool(tx.execute(_RECORDED, {"step": step_id, "mine": token}).rows)
