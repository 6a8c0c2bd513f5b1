"""Dead letters, as people look for them. They are written by the commit that fails the step, in `saving`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.definition.values import loads
from wfcelery.store.database import Tx
from wfcelery.store.schema import dead_letter, run, step
from wfcelery.store.statements import Ids, Row, Statement, among, one
from wfcelery.store.tails import fits, is_tail


@dataclass(frozen=True, slots=True)
class Letter:
    """A step, or item, that will not be tried again by itself. `status`: open, handled or retried."""

    id: UUID
    organization_id: str
    run: UUID
    workflow: str
    step: UUID | None
    name: str
    item: int
    reason: str
    error: dict[str, Any] | None
    attempts: int
    episode: int
    status: str
    created_at: datetime
    ended_at: datetime | None


_ALL = (
    dead_letter.c.id,
    dead_letter.c.organization_id,
    dead_letter.c.run,
    dead_letter.c.workflow,
    dead_letter.c.step,
    dead_letter.c.name,
    dead_letter.c.item,
    dead_letter.c.reason,
    dead_letter.c.error,
    dead_letter.c.attempts,
    dead_letter.c.episode,
    dead_letter.c.status,
    dead_letter.c.created_at,
    dead_letter.c.ended_at,
)
_STATUS, _WORKFLOW = one("status", sa.Text), one("workflow", sa.Text)
_NEWEST_FIRST = (dead_letter.c.created_at.desc(), dead_letter.c.id.desc())
_LISTED = Statement(
    sa.select(*_ALL)
    .where(sa.or_(_STATUS.is_(None), dead_letter.c.status == _STATUS), sa.or_(_WORKFLOW.is_(None), dead_letter.c.workflow == _WORKFLOW))
    .order_by(*_NEWEST_FIRST)
    .limit(one("many", sa.Integer))
)
_BY_ID = Statement(sa.select(*_ALL).where(dead_letter.c.id == one("id", sa.Uuid)))
_BY_TAIL = Statement(sa.select(*_ALL).where(fits(dead_letter.c.id)).order_by(*_NEWEST_FIRST).limit(one("many", sa.Integer)))
_OF_RUN = Statement(sa.select(*_ALL).where(dead_letter.c.run == one("run", sa.Uuid)).order_by(dead_letter.c.created_at, dead_letter.c.id))
_STANDING = Statement(
    sa.select(run.c.status, sa.exists().where(step.c.run == run.c.id, step.c.name.like("%:compensate"))).where(
        run.c.id == one("run", sa.Uuid)
    )
)
_PURGE = Statement(sa.delete(dead_letter).where(among(dead_letter.c.id, one("ids", Ids))))
_PURGE_ALL = Statement(sa.delete(dead_letter).where(dead_letter.c.status != "retried"))


def listed(tx: Tx, *, status: str | None = None, workflow: str | None = None, limit: int = 50) -> list[Letter]:
    """The newest ones; all statuses and workflows where none is named."""
    return [_letter(row) for row in tx.execute(_LISTED, {"status": status, "workflow": workflow, "many": limit}).rows]


def find(tx: Tx, id: str, limit: int = 2) -> list[Letter]:  # noqa: A002
    """Those of an id, or of the tail of one: four characters or more."""
    try:
        return [_letter(row) for row in tx.execute(_BY_ID, {"id": UUID(id)}).rows]
    except ValueError:
        if not is_tail(id):
            return []
    return [_letter(row) for row in tx.execute(_BY_TAIL, {"tail": id, "many": limit}).rows]


def of_run(tx: Tx, run: UUID) -> list[Letter]:
    """Those of one run, oldest first."""
    return [_letter(row) for row in tx.execute(_OF_RUN, {"run": run}).rows]


def standing(tx: Tx, run: UUID) -> tuple[str, bool] | None:
    """The status of a letter's run, and whether it has undone anything, or was to; None: the run is gone."""
    rows = tx.execute(_STANDING, {"run": run}).rows
    return (str(rows[0][0]), bool(rows[0][1])) if rows else None


def purge(tx: Tx, ids: Sequence[UUID] | None) -> int:
    """Delete these, or all that are not retried; how many are gone."""
    return tx.execute(_PURGE_ALL).count if ids is None else tx.execute(_PURGE, {"ids": list(ids)}).count


def _letter(row: Row) -> Letter:
    values = list(row)
    values[8] = None if row[8] is None else loads(row[8])
    return Letter(*values)
