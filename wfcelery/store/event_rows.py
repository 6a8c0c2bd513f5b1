"""What people see of stored events, what they put back, and what is kept no longer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.store.database import Tx
from wfcelery.store.schema import event
from wfcelery.store.statements import Ids, Statement, Words, among, clock, fixed, is_one_of, later, one
from wfcelery.store.waits import LOOK_AGAIN


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event, without its data."""

    id: UUID
    organization_id: str
    name: str
    key: str
    run: UUID | None
    status: str
    actor: str | None
    role: str | None
    at: datetime
    consumed_by: UUID | None
    why: str | None


_ALL = (
    *(event.c.id, event.c.organization_id, event.c.name, event.c.key, event.c.run, event.c.status, event.c.actor, event.c.role),
    *(event.c.at, event.c.consumed_by, event.c.why),
)
_FIND = Statement(sa.select(*_ALL).where(event.c.id == one("event", sa.Uuid)))
_AGAIN = Statement(
    sa.update(event)
    .where(event.c.id == one("event", sa.Uuid), is_one_of(event.c.status, ("consumed", "refused")))
    .values(
        status="stored",
        at=clock(),
        consumed_by=sa.null(),
        consumed_at=sa.null(),
        why=sa.null(),
        match_at=later(sa.literal(LOOK_AGAIN, sa.Float)),
    )
)
_PURGE = Statement(
    sa.delete(event).where(
        event.c.id.in_(
            sa.select(event.c.id)
            .where(event.c.consumed_at <= fixed(later(-one("kept_for", sa.Float))))
            .order_by(event.c.consumed_at)
            .limit(one("many", sa.Integer))
        )
    )
)
_OF_RUNS = Statement(sa.delete(event).where(among(event.c.run, one("runs", Ids))))


def find(tx: Tx, id_: UUID) -> EventRecord | None:
    """One event by its id."""
    rows = tx.execute(_FIND, {"event": id_}).rows
    return EventRecord(*rows[0]) if rows else None


def listed(tx: Tx, statuses: Sequence[str], name: str | None, run: UUID | None, limit: int) -> list[EventRecord]:
    """The newest events, of these statuses, this name and this run where they are given."""
    given: dict[str, Any] = {"statuses": list(statuses) or None, "name": name, "run": run}
    asked = {word: value for word, value in given.items() if value is not None}
    return [EventRecord(*row) for row in tx.execute(_listing(frozenset(asked)), {**asked, "limit": limit}).rows]


def store_again(tx: Tx, id_: UUID) -> bool:
    """Let a consumed or refused event count once more, as if it were sent now; False where it is neither."""
    return tx.execute(_AGAIN, {"event": id_}).count == 1


def purge(tx: Tx, kept_for: float, many: int) -> int:
    """Delete so many events that were consumed more than `kept_for` seconds ago; how many there were. No other is deleted."""
    return tx.execute(_PURGE, {"kept_for": kept_for, "many": many}).count


def delete_of_runs(tx: Tx, runs: Sequence[UUID]) -> None:
    """Those that were sent to runs which are deleted: nobody can take them any more."""
    tx.execute(_OF_RUNS, {"runs": list(runs)})


_LISTINGS: dict[frozenset[str], Statement] = {}


def _listing(asked: frozenset[str]) -> Statement:
    if asked not in _LISTINGS:
        conditions: dict[str, Any] = {
            "statuses": among(event.c.status, one("statuses", Words)),
            "name": event.c.name == one("name", sa.Text),
            "run": event.c.run == one("run", sa.Uuid),
        }
        where = [condition for word, condition in conditions.items() if word in asked]
        _LISTINGS[asked] = Statement(sa.select(*_ALL).where(*where).order_by(event.c.at.desc(), event.c.id).limit(one("limit", sa.Integer)))
    return _LISTINGS[asked]
