"""Limits, locks, breakers and rates by key: one row each, which is locked behind a run's lock, and a row for who uses or wants it.

A slot is a row that names its step. It is written and deleted in the commits that write the step, so nothing is held by
what is over; what is left behind all the same a sweep takes away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from wfcelery.clock import uuid7
from wfcelery.core.states import RUN_ENDED, STEP_ENDED
from wfcelery.store.database import Tx
from wfcelery.store.schema import limit, limit_use, run, step
from wfcelery.store.statements import Ids, Row, Statement, among, clock, fixed, is_one_of, later, one, seconds_until

LOOK_AFTER = 30.0  # seconds after which a sweep looks whether who uses a limit is still there

Place = tuple[str, str]  # kind, key


@dataclass(slots=True)
class LimitRow:
    """One limit, under its lock."""

    kind: str
    key: str
    slots: int | None
    every: float | None
    burst: int | None
    failures: int | None
    open_for: float | None
    failed: int  # within its span
    opens_in: float | None  # seconds until an open breaker lets one through; None: it is closed
    probe: UUID | None
    used: int


@dataclass(slots=True)
class Use:
    """Who uses a limit, or waits for it."""

    id: UUID
    kind: str
    key: str
    run: UUID
    step: UUID
    granted: int
    wanted: int
    queue: str | None = None  # of the run


_TERMS = {"slots": sa.Integer, "every": sa.Float, "burst": sa.Integer, "failures": sa.Integer, "within": sa.Float, "open_for": sa.Float}
_HERE = (
    limit.c.organization_id == one("organization_id", sa.Text),
    limit.c.kind == one("kind", sa.Text),
    limit.c.key == one("key", sa.Text),
)
_OF_IT = (
    limit_use.c.organization_id == one("organization_id", sa.Text),
    limit_use.c.kind == one("kind", sa.Text),
    limit_use.c.key == one("key", sa.Text),
)
_recent = sa.case((limit.c.failed_since > later(-limit.c.within), limit.c.failed), else_=0)
_ROW = (
    limit.c.kind,
    limit.c.key,
    limit.c.slots,
    limit.c.every,
    limit.c.burst,
    limit.c.failures,
    limit.c.open_for,
    _recent,
    seconds_until(limit.c.open_until),
    limit.c.probe,
)


def _lock(dialect: str) -> Any:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    said = {name: one(name, kind) for name, kind in _TERMS.items()}
    watched = sa.func.coalesce(limit.c.ring_at, later(one("after", sa.Float)))
    return (
        insert(limit)
        .values(
            organization_id=one("organization_id", sa.Text),
            kind=one("kind", sa.Text),
            key=one("key", sa.Text),
            ring_at=later(one("after", sa.Float)),
            **said,
        )
        .on_conflict_do_update(index_elements=["organization_id", "kind", "key"], set_=said | {"ring_at": watched})
        .returning(*_ROW)
    )


_LOCK = Statement(_lock)
_LOCK_KNOWN = Statement(sa.select(*_ROW).where(*_HERE).with_for_update(key_share=True))
_USED = Statement(sa.select(sa.func.coalesce(sa.func.sum(limit_use.c.granted), 0)).where(*_OF_IT, limit_use.c.granted > 0))
_USE = (limit_use.c.id, limit_use.c.kind, limit_use.c.key, limit_use.c.run, limit_use.c.step, limit_use.c.granted, limit_use.c.wanted)
_OF_STEPS = Statement(sa.select(*_USE).where(among(limit_use.c.step, one("ids", Ids))))
_WAITING = Statement(
    sa.select(*_USE, run.c.queue)
    .select_from(limit_use.join(run, run.c.id == limit_use.c.run))
    .where(*_OF_IT, limit_use.c.wanted > 0, sa.or_(limit_use.c.due_at.is_(None), limit_use.c.due_at <= fixed(clock())))
    .order_by(limit_use.c.priority, limit_use.c.id)
    .limit(one("many", sa.Integer))
)
_EVERYBODY = Statement(
    sa.select(*_USE, run.c.queue).select_from(limit_use.join(run, run.c.id == limit_use.c.run)).where(*_OF_IT).order_by(limit_use.c.id)
)
_ASK = Statement(
    sa.insert(limit_use).values(
        id=one("id", sa.Uuid),
        organization_id=one("organization_id", sa.Text),
        kind=one("kind", sa.Text),
        key=one("key", sa.Text),
        run=one("run", sa.Uuid),
        step=one("step", sa.Uuid),
        granted=one("granted", sa.Integer),
        wanted=one("wanted", sa.Integer),
        priority=one("priority", sa.Integer),
        asked_at=clock(),
        due_at=later(one("delay", sa.Float)),
    )
)
_GRANT = Statement(sa.update(limit_use).where(among(limit_use.c.id, one("ids", Ids))).values(granted=1, wanted=0, due_at=sa.null()))
_DELETE = Statement(sa.delete(limit_use).where(among(limit_use.c.id, one("ids", Ids))))
_SOONER = Statement(
    sa.update(limit)
    .where(*_HERE, sa.or_(limit.c.ring_at.is_(None), limit.c.ring_at > later(one("delay", sa.Float))))
    .values(ring_at=later(one("delay", sa.Float)))
)


def lock(tx: Tx, organization_id: str, gate: Mapping[str, Any]) -> LimitRow:
    """Take the lock of a limit, which is made where there is none; what the gate says of it holds from now on."""
    said = {name: gate.get(name) for name in _TERMS}
    given = {"organization_id": organization_id, "kind": gate["kind"], "key": gate["key"], "after": LOOK_AFTER, **said}
    return _row(tx.execute(_LOCK, given).rows[0], _used(tx, organization_id, (gate["kind"], gate["key"])))


def lock_known(tx: Tx, organization_id: str, place: Place) -> LimitRow | None:
    """As `lock`, of one that is there."""
    rows = tx.execute(_LOCK_KNOWN, {"organization_id": organization_id, "kind": place[0], "key": place[1]}).rows
    return _row(rows[0], _used(tx, organization_id, place)) if rows else None


def _row(row: Row, used: int) -> LimitRow:
    return LimitRow(*(*row, used))


def _used(tx: Tx, organization_id: str, place: Place) -> int:
    """By a statement of its own: the one that waits for a lock sees the rows as they were before it waited."""
    return int(tx.execute(_USED, {"organization_id": organization_id, "kind": place[0], "key": place[1]}).rows[0][0])


def uses_of(tx: Tx, steps: Sequence[UUID]) -> list[Use]:
    """What these steps use or wait for."""
    return [Use(*row) for row in tx.execute(_OF_STEPS, {"ids": list(steps)}).rows]


def everybody(tx: Tx, organization_id: str, place: Place) -> list[Use]:
    """Who uses it, and who waits."""
    return [Use(*row) for row in tx.execute(_EVERYBODY, {"organization_id": organization_id, "kind": place[0], "key": place[1]}).rows]


def waiting(tx: Tx, organization_id: str, place: Place, many: int) -> list[Use]:
    """Who waits and could begin now, in their order."""
    given = {"organization_id": organization_id, "kind": place[0], "key": place[1], "many": many}
    return [Use(*row) for row in tx.execute(_WAITING, given).rows]


def ask(tx: Tx, organization_id: str, place: Place, who: tuple[UUID, UUID], *, granted: bool, priority: int, delay: float | None) -> Use:
    """Give a step (run, step) a slot, or a place in the queue: the higher its priority the further in front."""
    kind, key = place
    use = Use(uuid7(), kind, key, *who, int(granted), int(not granted))
    given = {"kind": kind, "key": key, "run": use.run, "step": use.step, "granted": use.granted, "wanted": use.wanted}
    tx.execute(_ASK, {"id": use.id, "organization_id": organization_id, **given, "priority": -priority, "delay": delay})
    return use


def grant(tx: Tx, uses: Sequence[Use]) -> None:
    """They have their slots now."""
    if uses:
        tx.execute(_GRANT, {"ids": [use.id for use in uses]})


def give_back(tx: Tx, uses: Sequence[Use]) -> None:
    """They want nothing more, and have nothing."""
    if uses:
        tx.execute(_DELETE, {"ids": [use.id for use in uses]})


def look_in(tx: Tx, organization_id: str, place: Place, delay: float) -> None:
    """A sweep shall look after it in so many seconds, if not before."""
    tx.execute(_SOONER, {"organization_id": organization_id, "kind": place[0], "key": place[1], "delay": delay})


# -- rates --------------------------------------------------------------------------------------------------------------

# A turn that has passed is lost, but for as many as may come at once.
_missed = later(-limit.c.every * (limit.c.burst - 1))
_first = sa.case((limit.c.turn_at > _missed, limit.c.turn_at), else_=_missed)
_TAKE_TURN = Statement(sa.update(limit).where(*_HERE).values(turn_at=_first).returning(seconds_until(limit.c.turn_at)))
_PASS_TURN = Statement(sa.update(limit).where(*_HERE).values(turn_at=later(one("turn", sa.Float))))


def take_turn(tx: Tx, organization_id: str, row: LimitRow) -> float:
    """The next turn of a rate, under its lock: in how many seconds."""
    here = {"organization_id": organization_id, "kind": row.kind, "key": row.key}
    assert row.every is not None
    turn = float(tx.execute(_TAKE_TURN, here).rows[0][0])
    tx.execute(_PASS_TURN, {**here, "turn": turn + row.every})
    return max(turn, 0.0)


_TAKE_NOW = Statement(
    sa.update(limit)
    .where(*_HERE, sa.or_(limit.c.turn_at.is_(None), limit.c.turn_at <= later(limit.c.every * (limit.c.burst - 1))))
    .values(turn_at=sa.case((limit.c.turn_at > clock(), limit.c.turn_at), else_=clock()))
    .returning(seconds_until(limit.c.turn_at), limit.c.every)
)
_LATE = Statement(sa.select(-seconds_until(step.c.due_at)).where(step.c.id == one("step", sa.Uuid)))


def take_turn_now(tx: Tx, organization_id: str, key: str) -> bool:
    """A turn of a rate at this moment, or none."""
    here = {"organization_id": organization_id, "kind": "rate", "key": key}
    rows = tx.execute(_TAKE_NOW, here).rows
    if not rows:
        return False
    tx.execute(_PASS_TURN, {**here, "turn": rows[0][0] + rows[0][1]})
    return True


def late(tx: Tx, step_id: UUID) -> float:
    """For how many seconds a step could have been claimed."""
    rows = tx.execute(_LATE, {"step": step_id}).rows
    return float(rows[0][0] or 0.0) if rows else 0.0


# -- breakers -----------------------------------------------------------------------------------------------------------

_SHUT = Statement(sa.select(limit.c.probe).where(*_HERE, limit.c.open_until.is_not(None)))


def lets_through(tx: Tx, organization_id: str, key: str, step_id: UUID) -> bool:
    """Whether a breaker is closed, or open to try with this very step; as it was a moment ago."""
    rows = tx.execute(_SHUT, {"organization_id": organization_id, "kind": "breaker", "key": key}).rows
    return not rows or rows[0][0] == step_id


_COUNT = Statement(
    sa.update(limit)
    .where(*_HERE)
    .values(failed=_recent + 1, failed_since=sa.case((limit.c.failed_since > later(-limit.c.within), limit.c.failed_since), else_=clock()))
)
_OPEN = Statement(
    sa.update(limit)
    .where(*_HERE)
    .values(open_until=later(limit.c.open_for), ring_at=later(limit.c.open_for), probe=sa.null(), failed=0, failed_since=sa.null())
)
_CLOSE = Statement(
    sa.update(limit).where(*_HERE).values(open_until=sa.null(), probe=sa.null(), failed=0, failed_since=sa.null(), ring_at=clock())
)
_PROBE = Statement(sa.update(limit).where(*_HERE).values(probe=one("probe", sa.Uuid)))


def count_failure(tx: Tx, organization_id: str, row: LimitRow) -> None:
    """One more attempt has failed; the breaker opens with the last of those that it bears, and again where its probe has failed."""
    here = {"organization_id": organization_id, "kind": row.kind, "key": row.key}
    row.failed += 1
    if row.opens_in is not None or row.failed >= (row.failures or 1):
        tx.execute(_OPEN, here)
        row.opens_in, row.probe, row.failed = row.open_for, None, 0
    else:
        tx.execute(_COUNT, here)


def close(tx: Tx, organization_id: str, row: LimitRow) -> None:
    """The probe has succeeded: all may begin."""
    tx.execute(_CLOSE, {"organization_id": organization_id, "kind": row.kind, "key": row.key})
    row.opens_in, row.probe, row.failed = None, None, 0


def set_probe(tx: Tx, organization_id: str, row: LimitRow, probe: UUID | None) -> None:
    """This step, or none any more, is the one that is let through to see."""
    tx.execute(_PROBE, {"organization_id": organization_id, "kind": row.kind, "key": row.key, "probe": probe})
    row.probe = probe


# -- what a sweep looks after -------------------------------------------------------------------------------------------

_DUE = Statement(
    sa.select(limit.c.organization_id, limit.c.kind, limit.c.key)
    .where(limit.c.ring_at <= fixed(clock()))
    .order_by(limit.c.ring_at)
    .limit(one("many", sa.Integer))
)
# The gate of a section has succeeded while its run is inside.
_open_step = sa.exists(
    sa.select(sa.literal_column("1"))
    .select_from(step.join(run, run.c.id == step.c.run))
    .where(
        step.c.id == limit_use.c.step,
        sa.or_(
            sa.not_(is_one_of(step.c.status, STEP_ENDED)),
            sa.and_(step.c.status == "succeeded", step.c.gates.like('%"section":true%'), sa.not_(is_one_of(run.c.status, RUN_ENDED))),
        ),
    )
)
_STALE = Statement(sa.select(*_USE).where(*_OF_IT, sa.not_(_open_step)))
_NEXT = Statement(
    sa.select(seconds_until(sa.func.min(limit_use.c.due_at))).where(*_OF_IT, limit_use.c.wanted > 0, limit_use.c.due_at > clock())
)
_ANY = Statement(sa.select(limit_use.c.id).where(*_OF_IT).limit(1))
_IDLE = Statement(
    sa.delete(limit).where(
        *_HERE,
        limit.c.open_until.is_(None),
        sa.or_(limit.c.turn_at.is_(None), limit.c.turn_at < clock()),
        _recent == 0,
    )
)
_AGAIN = Statement(sa.update(limit).where(*_HERE).values(ring_at=later(one("delay", sa.Float))))


def due(tx: Tx, many: int) -> list[tuple[str, Place]]:
    """Limits that a sweep shall look after, with their organizations."""
    return [(row[0], (row[1], row[2])) for row in tx.execute(_DUE, {"many": many}).rows]


def stale(tx: Tx, organization_id: str, place: Place) -> list[Use]:
    """Uses whose step is over, or gone."""
    return [Use(*row) for row in tx.execute(_STALE, {"organization_id": organization_id, "kind": place[0], "key": place[1]}).rows]


def looked_after(tx: Tx, organization_id: str, row: LimitRow) -> None:
    """Under its lock: when to look again; a limit that nobody uses and that remembers nothing goes."""
    here = {"organization_id": organization_id, "kind": row.kind, "key": row.key}
    used = bool(tx.execute(_ANY, here).rows)
    if not used and tx.execute(_IDLE, here).count:
        return
    until = tx.execute(_NEXT, here).rows[0][0]
    spans = [LOOK_AFTER, *(span for span in (until, row.opens_in) if span is not None and span > 0)]
    tx.execute(_AGAIN, {**here, "delay": min(spans)})
