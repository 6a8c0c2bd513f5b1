"""What people hold, and how the steps that were held by it are found when it is released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from wfcelery.clock import uuid7
from wfcelery.store.database import Tx
from wfcelery.store.schema import Instant, hold, run, step
from wfcelery.store.statements import Statement, clock, fixed, later, one

EVERY_ORGANIZATION = ""
LINGERS = 30.0  # seconds for which processes that have not heard of a release may still hold steps
AGAIN = 1.0  # seconds between two looks for them


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold, as it stands."""

    id: UUID
    organization_id: str
    scope: str
    status: str
    reason: str | None
    actor: str | None
    held_at: datetime
    until: datetime | None
    every: float | None


_ROW = (
    hold.c.id,
    hold.c.organization_id,
    hold.c.scope,
    hold.c.status,
    hold.c.reason,
    hold.c.actor,
    hold.c.held_at,
    hold.c.until,
    hold.c.every,
)
# How many holds stand: read beside what a worker claims, so that whoever has none to heed asks for none.
STANDING = sa.select(sa.func.count()).select_from(hold).where(hold.c.status == "held").scalar_subquery()

_OF = (hold.c.organization_id == one("organization_id", sa.Text), hold.c.scope == one("scope", sa.Text))
_until = sa.case((one("until", Instant).is_not(None), one("until", Instant)), else_=later(one("lasts", sa.Float)))
_AGAIN_HELD = Statement(
    sa.update(hold)
    .where(*_OF)
    .values(
        status="held",
        reason=one("reason", sa.Text),
        actor=one("actor", sa.Text),
        until=_until,
        ring_at=_until,
        released_at=sa.null(),
        every=sa.null(),
        turn_at=sa.null(),
    )
)
_HOLD = Statement(
    sa.insert(hold).values(
        id=one("id", sa.Uuid),
        organization_id=one("organization_id", sa.Text),
        scope=one("scope", sa.Text),
        status="held",
        reason=one("reason", sa.Text),
        actor=one("actor", sa.Text),
        held_at=clock(),
        until=_until,
        ring_at=_until,
    )
)
_RELEASE = Statement(
    sa.update(hold)
    .where(*_OF, hold.c.status == "held")
    .values(status="releasing", released_at=clock(), ring_at=clock(), every=one("every", sa.Float), turn_at=clock())
)
_OVER = Statement(
    sa.update(hold)
    .where(hold.c.id == one("hold", sa.Uuid), hold.c.status == "held", hold.c.until <= clock())
    .values(status="releasing", released_at=clock(), turn_at=clock())
)
_STAND = Statement(sa.select(*_ROW).where(hold.c.status == "held").order_by(hold.c.held_at))
_ALL = Statement(sa.select(*_ROW).order_by(hold.c.held_at))
_DUE = Statement(sa.select(*_ROW).where(hold.c.ring_at <= fixed(clock())).order_by(hold.c.ring_at).limit(one("many", sa.Integer)))
_LOCK = Statement(
    sa.select(hold.c.status, hold.c.every, sa.func.coalesce(hold.c.released_at <= later(-LINGERS), sa.false()).label("old"))
    .where(hold.c.id == one("hold", sa.Uuid))
    .with_for_update(key_share=True)
)
_HELD_RUNS = Statement(
    sa.select(step.c.run, run.c.organization_id, run.c.queue, sa.func.count())
    .select_from(step.join(run, run.c.id == step.c.run))
    .where(
        *(step.c.status == "held", step.c.why >= "hold:", step.c.why < "hold;"),
        step.c.why == one("why", sa.Text),
        sa.or_(one("organization_id", sa.Text) == EVERY_ORGANIZATION, run.c.organization_id == one("organization_id", sa.Text)),
    )
    .group_by(step.c.run, run.c.organization_id, run.c.queue)
    .limit(one("many", sa.Integer))
)
_AGAIN = Statement(sa.update(hold).where(hold.c.id == one("hold", sa.Uuid)).values(ring_at=later(sa.literal(AGAIN, sa.Float))))
_GONE = Statement(sa.delete(hold).where(hold.c.id == one("hold", sa.Uuid)))


def put(
    tx: Tx, organization_id: str, scope: str, reason: str | None, actor: str | None, until: datetime | None, lasts: float | None
) -> None:
    """Hold it from now on, or on other terms; `until` a moment, or for so many seconds that it `lasts`."""
    given = {"organization_id": organization_id, "scope": scope, "reason": reason, "actor": actor, "until": until, "lasts": lasts}
    if not tx.execute(_AGAIN_HELD, given).count:
        tx.execute(_HOLD, {**given, "id": uuid7()})


def release(tx: Tx, organization_id: str, scope: str, every: float | None) -> bool:
    """Let it go, one step each so many seconds, or all at once; False where nobody holds it."""
    return tx.execute(_RELEASE, {"organization_id": organization_id, "scope": scope, "every": every}).count == 1


def standing(tx: Tx) -> list[Hold]:
    """Every hold that stands."""
    return [Hold(*row) for row in tx.execute(_STAND).rows]


def every(tx: Tx) -> list[Hold]:
    """Every hold, those that are being released too."""
    return [Hold(*row) for row in tx.execute(_ALL).rows]


def due(tx: Tx, many: int) -> list[Hold]:
    """Holds that a sweep has something to do about."""
    return [Hold(*row) for row in tx.execute(_DUE, {"many": many}).rows]


@dataclass(frozen=True, slots=True)
class HeldRun:
    """A run with steps that a hold holds."""

    id: UUID
    organization_id: str
    queue: str | None
    steps: int


def held_runs(tx: Tx, found: Hold, many: int) -> list[HeldRun]:
    """Runs that this hold holds steps of."""
    given = {"why": f"hold:{found.scope}", "organization_id": found.organization_id, "many": many}
    return [HeldRun(*row) for row in tx.execute(_HELD_RUNS, given).rows]


def begin_release(tx: Tx, found: Hold) -> tuple[float | None, bool] | None:
    """Under its lock: the pace, and whether nobody can hold by it any more; None where it stands, or is gone."""
    tx.execute(_OVER, {"hold": found.id})
    rows = tx.execute(_LOCK, {"hold": found.id}).rows
    return (rows[0][1], bool(rows[0][2])) if rows and rows[0][0] == "releasing" else None


def go_on(tx: Tx, found: Hold, runs: Sequence[HeldRun], *, old: bool) -> None:
    """Look again in a while, or forget it where nothing is left to release."""
    tx.execute(_GONE if not runs and old else _AGAIN, {"hold": found.id})
