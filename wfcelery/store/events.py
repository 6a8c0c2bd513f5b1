"""Events from outside: stored by an insert, led to the runs whose waits they meet, and consumed in the commit that moves the run.

Whoever sends looks for a wait, and whoever opens a wait looks for an event, each by a statement behind its own insert. Under
READ COMMITTED neither need see the other where both commit at the same time: each transaction may have looked before the
other's commit. So each row says when a sweep looks once more (`match_at`), which is after its own commit. Of the two commits one
is the later, and the look that comes after it finds what was committed before. Nothing is locked meanwhile, and what was found
twice is consumed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from wfcelery.core.decision import Decision, RingRun
from wfcelery.core.events import EventCame
from wfcelery.core.rows import WaitRow
from wfcelery.definition.values import loads
from wfcelery.errors import RowChanged
from wfcelery.store import inbox as inboxes
from wfcelery.store.database import Tx
from wfcelery.store.schema import Instant, Value, event, inbox, run, wait
from wfcelery.store.statements import Ids, Row, Statement, among, by_the_way, clock, fixed, later, one
from wfcelery.store.waits import LOOK_AGAIN

_STORED = by_the_way(event.c.status) == "stored"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event as it is sent. `data` is JSON text, `key` empty for none."""

    id: UUID
    organization_id: str
    name: str
    key: str
    data: str
    run: UUID | None = None
    to_all: bool = False
    dedup: str | None = None
    actor: str | None = None
    role: str | None = None


# -- sending ------------------------------------------------------------------------------------------------------------


def _insert(dialect: str) -> Any:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    to_all = one("to_all", sa.Boolean)
    return (
        insert(event)
        .values(
            id=one("id", sa.Uuid),
            organization_id=one("organization_id", sa.Text),
            name=one("name", sa.Text),
            key=one("key", sa.Text),
            run=one("to_run", sa.Uuid),
            to_all=to_all,
            data=one("data", Value("event")),
            dedup=one("dedup", sa.Text),
            actor=one("actor", sa.Text),
            role=one("role", sa.Text),
            at=clock(),
            status=sa.case((to_all, "sent"), else_="stored"),
            match_at=sa.case((to_all, sa.null()), else_=later(sa.literal(LOOK_AGAIN, sa.Float))),
            consumed_at=sa.case((to_all, clock()), else_=sa.null()),
        )
        .on_conflict_do_nothing(index_elements=["organization_id", "name", "dedup"])
    )


_INSERT = Statement(_insert)
_BY_DEDUP = Statement(
    sa.select(event.c.id).where(
        event.c.organization_id == one("organization_id", sa.Text),
        event.c.name == one("name", sa.Text),
        event.c.dedup == one("dedup", sa.Text),
    )
)


def insert(tx: Tx, new: NewEvent) -> UUID | None:
    """Store the event; where its dedup key was used before, the id of the first (None: nobody can see that one yet)."""
    given = {name: getattr(new, name) for name in NewEvent.__slots__} | {"to_run": new.run}
    if tx.execute(_INSERT, given).count == 1:
        return new.id
    rows = tx.execute(_BY_DEDUP, {"organization_id": new.organization_id, "name": new.name, "dedup": new.dedup}).rows
    return rows[0][0] if rows else None


# -- which runs an event is for -----------------------------------------------------------------------------------------

_FOR_IT = (
    wait.c.organization_id == event.c.organization_id,
    wait.c.name == event.c.name,
    wait.c.status == "open",
    wait.c.kind == "event",
    sa.or_(wait.c.due_at.is_(None), wait.c.due_at >= event.c.at),
    sa.or_(sa.and_(wait.c.keep, ~event.c.to_all), wait.c.opened_at <= event.c.at),
)
# Row by row, as `is null` wants it: as a join it would read every inbox.
_has_one: Any = sa.select(sa.literal_column("1")).where(inbox.c.run == wait.c.run, by_the_way(inbox.c.fact) == "event").limit(1)
_IS_FREE = _has_one.correlate(wait).scalar_subquery().is_(None)
_OF_KEY = (event.c.run.is_(None), wait.c.key == event.c.key)
_OF_RUN = (wait.c.run == event.c.run, sa.or_(event.c.key == "", wait.c.key == event.c.key))


def _oldest(*which: Any) -> Any:
    """The run of the wait that opened first, of those for the event's key, or in its run."""
    found = [
        sa.select(wait.c.run).where(*_FOR_IT, *whose, *which).order_by(wait.c.opened_at, wait.c.id).limit(1).correlate(event)
        for whose in (_OF_KEY, _OF_RUN)
    ]
    return sa.func.coalesce(*(each.scalar_subquery() for each in found))


_WAITING = Statement(
    sa.select(event.c.organization_id, _oldest(_IS_FREE).label("free"), _oldest().label("waits")).where(
        event.c.id == one("event", sa.Uuid), _STORED
    )
)
_QUEUES = Statement(sa.select(run.c.id, run.c.organization_id, run.c.queue).where(among(run.c.id, one("ids", Ids))))
_EVERY = Statement(
    sa.select(wait.c.run).where(
        wait.c.organization_id == one("organization_id", sa.Text),
        wait.c.name == one("name", sa.Text),
        wait.c.status == "open",
        wait.c.kind == "event",
        sa.or_(one("key", sa.Text) == "", wait.c.key == one("key", sa.Text)),
        sa.or_(wait.c.due_at.is_(None), wait.c.due_at >= fixed(clock())),
    )
)
_MATCHED = Statement(
    sa.update(event)
    .where(among(event.c.id, one("ids", Ids)), _STORED)
    .values(match_at=sa.case((one("again", sa.Boolean), later(sa.literal(LOOK_AGAIN, sa.Float))), else_=sa.null()))
)


@dataclass(frozen=True, slots=True)
class Led:
    """What became of some events: rings for the runs that have one in their inbox now, and events whose runs are busy with others."""

    rings: Sequence[RingRun]
    busy: Sequence[UUID]


def lead(tx: Tx, ids: Sequence[UUID]) -> Led:
    """Put each stored event into the inbox of the run whose wait for it opened first, one event a run."""
    runs: dict[UUID, None] = {}
    busy: list[UUID] = []
    for each in ids:  # one by one: what one has found the next must not
        for organization_id, free, waits in tx.execute(_WAITING, {"event": each}).rows:
            if free is not None:
                inboxes.put(tx, organization_id, free, "event", {"event": str(each)})
                runs[free] = None
            elif waits is not None:
                busy.append(each)
    return Led(_rings(tx, list(runs)), busy)


def look_later(tx: Tx, ids: Sequence[UUID]) -> None:
    """Let a sweep look once more at these."""
    if ids:
        tx.execute(_MATCHED, {"ids": ids, "again": True})


def lead_to_all(tx: Tx, new: NewEvent) -> Sequence[RingRun]:
    """Put an event into the inbox of every run with a wait for it."""
    given = {"organization_id": new.organization_id, "name": new.name, "key": new.key}
    runs = list(dict.fromkeys(row[0] for row in tx.execute(_EVERY, given).rows))
    for each in runs:
        inboxes.put(tx, new.organization_id, each, "event", {"event": str(new.id)})
    return _rings(tx, runs)


def _rings(tx: Tx, runs: Sequence[UUID]) -> Sequence[RingRun]:
    if not runs:
        return ()
    return [RingRun(organization_id, id_, queue) for id_, organization_id, queue in tx.execute(_QUEUES, {"ids": runs}).rows]


# -- which events a wait is for -----------------------------------------------------------------------------------------

_TIMES = (
    event.c.name == one("name", sa.Text),
    event.c.status == "stored",
    sa.or_(one("until", sa.Float).is_(None), event.c.at <= one("until_at", Instant)),
    sa.or_(one("since", sa.Float).is_(None), event.c.at >= one("since_at", Instant)),
)


def _first(*which: Any) -> Any:
    found = sa.select(event.c.id, event.c.at).where(*which, *_TIMES).order_by(event.c.at, event.c.id).limit(one("many", sa.Integer))
    return sa.select(found.subquery())


_of_key = event.c.organization_id == one("organization_id", sa.Text), event.c.key == one("key", sa.Text), event.c.run.is_(None)
_of_run = event.c.run == one("run", sa.Uuid), sa.or_(event.c.key == "", event.c.key == one("key", sa.Text))
_FIRST = Statement(sa.union_all(_first(*_of_key), _first(*_of_run)))


def first_for(tx: Tx, organization_id: str, run_id: UUID, opened: WaitRow, many: int = 1) -> list[UUID]:
    """The oldest stored events that are for a wait, of those sent to its key and of those sent to its run."""
    since = None if opened.keep else opened.opened_at
    given = {"organization_id": organization_id, "run": run_id, "name": opened.name, "key": opened.key, "many": many}
    times = {"until": _flag(opened.due_at), "until_at": opened.due_at, "since": _flag(since), "since_at": since}
    return [row[0] for row in tx.execute(_FIRST, given | times).rows]


def _flag(time: datetime | None) -> float | None:
    return None if time is None else 1.0


# -- what a run takes of them -------------------------------------------------------------------------------------------

_CAME = (
    *(event.c.id, event.c.name, event.c.key, event.c.at, event.c.data, event.c.run, event.c.to_all, event.c.actor, event.c.role),
    event.c.organization_id,
)
_named = among(event.c.id, one("ids", Ids))
_TAKE = Statement(sa.select(*_CAME).where(_named, _STORED).order_by(event.c.at, event.c.id).with_for_update(skip_locked=True))
_TAKE_TOO = Statement(sa.select(*_CAME).where(_named, event.c.to_all))  # of which there is enough for everybody: not locked
_CONSUME = Statement(
    sa.update(event)
    .where(event.c.id == one("event", sa.Uuid), _STORED)
    .values(status="consumed", consumed_by=one("step", sa.Uuid), consumed_at=clock(), match_at=sa.null())
)
_SAY_WHY = Statement(sa.update(event).where(event.c.id == one("event", sa.Uuid)).values(why=one("why", sa.Text)))
_REFUSE = Statement(
    sa.update(event)
    .where(event.c.id == one("event", sa.Uuid), _STORED)
    .values(status="refused", why=one("why", sa.Text), consumed_at=clock(), match_at=sa.null())
)


def consume_by_start(tx: Tx, id_: UUID, run_id: UUID) -> None:
    """An event that has started a run, and that nobody waits for."""
    tx.execute(_CONSUME, {"event": id_, "step": run_id})


def say_why(tx: Tx, id_: UUID, why: str) -> None:
    """What kept an event from starting something."""
    tx.execute(_SAY_WHY, {"event": id_, "why": why})


def take(tx: Tx, ids: Iterable[UUID]) -> list[EventCame]:
    """Those of them that nobody has consumed, and nobody is about to, locked, in the order of their times. Waits for nobody."""
    wanted = list(dict.fromkeys(ids))
    rows = tx.execute(_TAKE, {"ids": wanted}).rows if wanted else []
    if len(rows) < len(wanted):
        rows = [*rows, *tx.execute(_TAKE_TOO, {"ids": wanted}).rows]
    return sorted(map(_came, rows), key=lambda fact: (fact.at, fact.event))


def _came(row: Row) -> EventCame:
    id_, name, key, at, data, to_run, to_all, actor, role, _ = row
    return EventCame(id_, name, key, at, loads(data), to_run is not None, bool(to_all), actor, role)


def settle(tx: Tx, decision: Decision, taken: Sequence[EventCame]) -> list[UUID]:
    """Write what a decision says of the events that it was told of; those that it says nothing of are left to others."""
    kept = {fact.event for fact in taken if not fact.to_all}
    for id_, step in decision.events_taken:
        if id_ in kept and tx.execute(_CONSUME, {"event": id_, "step": step}).count != 1:
            raise RowChanged(f"event {id_}")
        kept.discard(id_)
    for id_, why in decision.events_refused:
        if id_ in kept and tx.execute(_REFUSE, {"event": id_, "why": why}).count != 1:
            raise RowChanged(f"event {id_}")
        kept.discard(id_)
    return [fact.event for fact in taken if fact.event in kept]


# -- the look of the sweep ----------------------------------------------------------------------------------------------

_many = one("many", sa.Integer)
_UNMATCHED = Statement(
    sa.select(event.c.id)
    .where(event.c.match_at <= fixed(clock()))
    .order_by(event.c.match_at)
    .limit(_many)
    .with_for_update(skip_locked=True)
)
_NEWLY_OPEN = Statement(
    sa.select(
        wait.c.organization_id, wait.c.run, wait.c.id, wait.c.step, wait.c.kind, wait.c.due_at, wait.c.name, wait.c.key, wait.c.keep,
        wait.c.opened_at,
    )
    .where(wait.c.status == "open", wait.c.match_at <= fixed(clock()))
    .order_by(wait.c.match_at)
    .limit(_many)
    .with_for_update(skip_locked=True)
)  # fmt: skip
_LOOKED = Statement(sa.update(wait).where(among(wait.c.id, one("ids", Ids))).values(match_at=sa.null()))


@dataclass(frozen=True, slots=True)
class Looked:
    """How many rows a look was about, and the rings that come of it."""

    rows: int
    rings: Sequence[RingRun]


def lead_again(tx: Tx, many: int) -> Looked:
    """Events that were stored a moment ago: who may have opened a wait for them meanwhile. One whose run is busy is looked at again."""
    ids = [row[0] for row in tx.execute(_UNMATCHED, {"many": many}).rows]
    if not ids:
        return Looked(0, ())
    led = lead(tx, ids)
    tx.execute(_MATCHED, {"ids": [id_ for id_ in ids if id_ not in led.busy], "again": False})
    look_later(tx, led.busy)
    return Looked(len(ids), led.rings)


def look_again(tx: Tx, many: int) -> Looked:
    """Waits that opened a moment ago: which events may have been stored for them meanwhile."""
    rows = tx.execute(_NEWLY_OPEN, {"many": many}).rows
    runs = [
        run_id
        for organization_id, run_id, *row in rows
        if lead_to(tx, organization_id, run_id, [WaitRow(row[0], row[1], row[2], None, row[3], row[4], row[5], bool(row[6]), row[7])])
    ]
    if rows:
        tx.execute(_LOOKED, {"ids": [row[2] for row in rows]})
    return Looked(len(rows), _rings(tx, runs))


def lead_to(tx: Tx, organization_id: str, run_id: UUID, waits: Iterable[WaitRow]) -> bool:
    """Put into a run's inbox the first stored event for each of its waits; whether there is any."""
    ids = dict.fromkeys(found for each in waits for found in first_for(tx, organization_id, run_id, each))
    for found in ids:
        inboxes.put(tx, organization_id, run_id, "event", {"event": str(found)})
    return bool(ids)
