"""What waits for a limit, a lock or a breaker, what people hold, and which runs are paused: read for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.store.database import Tx
from wfcelery.store.schema import hold, limit, limit_use, run, step
from wfcelery.store.statements import Statement, clock, one


@dataclass(frozen=True, slots=True)
class LimitFound:
    """One limit that is in use, or remembers something."""

    organization_id: str
    kind: str
    key: str
    slots: int | None
    every: float | None
    burst: int | None
    failures: int | None
    open_until: datetime | None
    used: int
    waiting: int
    since: datetime | None  # of the first that waits
    runs: int  # that wait


@dataclass(frozen=True, slots=True)
class UserFound:
    """Who uses a limit, or waits for it."""

    kind: str
    key: str
    run: UUID
    step: UUID
    name: str | None
    granted: int
    asked_at: datetime
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class HoldFound:
    """A hold, with what it holds."""

    organization_id: str
    scope: str
    status: str
    reason: str | None
    actor: str | None
    held_at: datetime
    until: datetime | None
    steps: int
    runs: int


def _count(what: Any) -> Any:
    return sa.func.coalesce(sa.func.sum(what), 0)


_of_it = sa.and_(limit_use.c.organization_id == limit.c.organization_id, limit_use.c.kind == limit.c.kind, limit_use.c.key == limit.c.key)
_waits = limit_use.c.wanted > 0
_place = (limit.c.organization_id, limit.c.kind, limit.c.key)
_terms = (limit.c.slots, limit.c.every, limit.c.burst, limit.c.failures, limit.c.open_until)
_LIMITS = Statement(
    sa.select(
        *_place,
        *_terms,
        _count(limit_use.c.granted),
        _count(limit_use.c.wanted),
        sa.func.min(sa.case((_waits, limit_use.c.asked_at), else_=sa.null())),
        sa.func.count(sa.distinct(sa.case((_waits, limit_use.c.run), else_=sa.null()))),
    )
    .select_from(limit.outerjoin(limit_use, _of_it))
    .group_by(*_place, *_terms)
    .order_by(*_place)
    .limit(one("many", sa.Integer))
)
_USERS = Statement(
    sa.select(
        limit_use.c.kind,
        limit_use.c.key,
        limit_use.c.run,
        limit_use.c.step,
        step.c.name,
        limit_use.c.granted,
        limit_use.c.asked_at,
        limit_use.c.due_at,
    )
    .select_from(limit_use.outerjoin(step, step.c.id == limit_use.c.step))
    .where(limit_use.c.key == one("key", sa.Text))
    .order_by(limit_use.c.kind, limit_use.c.granted.desc(), limit_use.c.priority, limit_use.c.id)
    .limit(one("many", sa.Integer))
)
_held = sa.and_(
    step.c.status == "held", step.c.why >= "hold:", step.c.why < "hold;", step.c.why == sa.literal("hold:", sa.Text) + hold.c.scope
)
_HOLDS = Statement(
    sa.select(
        hold.c.organization_id,
        hold.c.scope,
        hold.c.status,
        hold.c.reason,
        hold.c.actor,
        hold.c.held_at,
        hold.c.until,
        sa.select(sa.func.count()).select_from(step).where(_held).scalar_subquery(),
        sa.select(sa.func.count(sa.distinct(step.c.run))).where(_held).scalar_subquery(),
    ).order_by(hold.c.held_at)
)
_PAUSED = Statement(sa.select(run.c.reason, sa.func.count()).where(run.c.status == "paused").group_by(run.c.reason).order_by(run.c.reason))
_NOW = Statement(sa.select(clock()))


def limits(tx: Tx, many: int) -> list[LimitFound]:
    """Every limit, lock, rate and breaker that there is now."""
    return [LimitFound(*row) for row in tx.execute(_LIMITS, {"many": many}).rows]


def users(tx: Tx, key: str, many: int) -> list[UserFound]:
    """Who uses the limits of a key, and who waits for them, in their order."""
    return [UserFound(*row) for row in tx.execute(_USERS, {"key": key, "many": many}).rows]


def holds(tx: Tx) -> list[HoldFound]:
    """Every hold, with how many steps of how many runs it holds."""
    return [HoldFound(*row) for row in tx.execute(_HOLDS).rows]


def paused(tx: Tx) -> list[tuple[str | None, int]]:
    """Why runs are paused, and how many."""
    return [(row[0], row[1]) for row in tx.execute(_PAUSED).rows]


def now(tx: Tx) -> datetime:
    """The database's time."""
    moment: datetime = tx.execute(_NOW).rows[0][0]
    return moment
