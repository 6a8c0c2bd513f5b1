"""Schedules as rows. Each is written over the version it was read with: of two that are at it at once one writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from wfcelery.core.schedules import Turn
from wfcelery.core.states import RUN_ENDED, RunStatus
from wfcelery.definition.document import Overlap
from wfcelery.definition.timetables import Cron, Every, Timetable
from wfcelery.definition.values import dumps, loads
from wfcelery.store.database import Tx
from wfcelery.store.schema import Instant, run, schedule
from wfcelery.store.statements import Ids, Row, Statement, among, clock, fixed, later, one

MOST_RECENT = 20  # slots whose fate is told
MOST_GOING = 100  # runs of which is asked whether they have ended
PAUSE, MOST_PAUSES = 5, 60  # seconds until a slot that could not be started is tried again, longer each time; how often longer


@dataclass(frozen=True, slots=True)
class Terms:
    """What people say of a schedule. `input` is JSON text of values in stored form; spans are seconds."""

    workflow: str
    input: str
    cron: str | None
    every: int | None
    time_zone: str
    overlap: Overlap
    catch_up: float
    slot_as: str | None = None
    queue: str | None = None
    priority: int | None = None
    tags: tuple[str, ...] = ()
    deadline: float | None = None

    @property
    def timetable(self) -> Timetable:
        """When its slots are."""
        return Every(self.every) if self.every is not None else Cron(self.cron or "", self.time_zone)


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """One row, and the database's time when it was read."""

    id: UUID
    organization_id: str
    name: str
    terms: Terms
    published: str | None
    paused: bool
    reason: str | None
    next_slot: datetime | None
    waiting: datetime | None
    due_at: datetime | None
    runs: tuple[UUID, ...]
    recent: Sequence[Mapping[str, Any]]
    started: int
    skipped: int
    missed: int
    failures: int
    error: Mapping[str, Any] | None
    version: int
    created_at: datetime
    changed_at: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class Going:
    """A run of an earlier slot that has not ended."""

    id: UUID
    queue: str | None


_TERMS = ("workflow", "input", "cron", "every", "time_zone", "overlap", "catch_up", "slot_as", "queue", "priority", "tags", "deadline")
_REST = ("published", "paused", "reason", "next_slot", "waiting", "due_at", "runs", "recent", "started", "skipped", "missed", "failures")
_COLUMNS = ("id", "organization_id", "name", *_TERMS, *_REST, "error", "version", "created_at", "changed_at")
_ROW = (*(schedule.c[name] for name in _COLUMNS), clock())
_NAMED = sa.and_(schedule.c.organization_id == one("organization_id", sa.Text), schedule.c.name == one("name", sa.Text))
_SEEN = sa.and_(schedule.c.id == one("id", sa.Uuid), schedule.c.version == one("seen", sa.Integer))
_NEXT = {"version": schedule.c.version + 1}


def _given(*names: str) -> dict[str, Any]:
    """Columns that are written from parameters of their own names."""
    return {name: one(name, type(schedule.c[name].type)) for name in names}


def _insert(dialect: str) -> Any:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    times = {"due_at": one("next_slot", Instant), "created_at": clock(), "changed_at": clock()}
    rest = {"paused": sa.false(), "runs": "[]", "recent": "[]", "version": 1}
    given = _given("id", "organization_id", "name", *_TERMS, "published", "next_slot")
    return insert(schedule).values(**given, **times, **rest).on_conflict_do_nothing(index_elements=["organization_id", "name"])


_NOW = Statement(sa.select(clock()))
_DUE = Statement(
    sa.select(schedule.c.id, schedule.c.name)
    .where(schedule.c.due_at <= fixed(clock()))
    .order_by(schedule.c.due_at)
    .limit(one("many", sa.Integer))
)
_READ = Statement(sa.select(*_ROW).where(schedule.c.id == one("id", sa.Uuid)))
_LOCK = Statement(sa.select(*_ROW).where(_NAMED).with_for_update(key_share=True))
_FIND = Statement(sa.select(*_ROW).where(_NAMED))
_LISTED = Statement(sa.select(*_ROW).where(schedule.c.organization_id == one("organization_id", sa.Text)).order_by(schedule.c.name))
_FAILING = Statement(
    sa.select(schedule.c.name, schedule.c.error)
    .where(schedule.c.error.is_not(None))
    .order_by(schedule.c.name)
    .limit(one("many", sa.Integer))
)
_INSERT = Statement(_insert)
_EDIT = Statement(
    sa.update(schedule)
    .where(_SEEN)
    .values(**_given(*_TERMS, "published", "next_slot", "waiting", "due_at"), **_NEXT, failures=0, error=sa.null(), changed_at=clock())
)
_MOVE = Statement(
    sa.update(schedule)
    .where(_SEEN)
    .values(
        **_given("next_slot", "waiting", "due_at", "runs", "recent"),
        **_NEXT,
        **{name: schedule.c[name] + one(f"more_{name}", sa.Integer) for name in ("started", "skipped", "missed")},
        failures=sa.case((one("well", sa.Boolean), 0), else_=schedule.c.failures),
        error=sa.case((one("well", sa.Boolean), sa.null()), else_=schedule.c.error),
    )
)
_FAIL = Statement(
    sa.update(schedule)
    .where(schedule.c.id == one("id", sa.Uuid), schedule.c.due_at <= fixed(clock()))
    .values(
        **_given("error"),
        **_NEXT,
        failures=schedule.c.failures + 1,
        due_at=later(sa.case((schedule.c.failures < MOST_PAUSES, (schedule.c.failures + 1) * PAUSE), else_=MOST_PAUSES * PAUSE)),
    )
)
_PAUSE = Statement(
    sa.update(schedule)
    .where(_NAMED)
    .values(
        **_given("reason"),
        **_NEXT,
        paused=sa.true(),
        next_slot=sa.null(),
        waiting=sa.null(),
        due_at=sa.null(),
        skipped=schedule.c.skipped + sa.case((schedule.c.waiting.is_not(None), 1), else_=0),
        changed_at=clock(),
    )
)
_RESUME = Statement(
    sa.update(schedule)
    .where(_SEEN)
    .values(**_given("next_slot"), **_NEXT, due_at=one("next_slot", Instant), paused=sa.false(), reason=sa.null(), changed_at=clock())
)
_DELETE = Statement(sa.delete(schedule).where(_NAMED))
_COUNT = Statement(
    sa.update(schedule)
    .where(schedule.c.id == one("id", sa.Uuid))
    .values(**_NEXT, started=schedule.c.started + one("more_started", sa.Integer))
)
_STATUSES = Statement(sa.select(run.c.id, run.c.status, run.c.queue).where(among(run.c.id, one("runs", Ids))))
_OF_KEY = Statement(
    sa.select(run.c.id).where(run.c.organization_id == one("organization_id", sa.Text), run.c.key == one("key", sa.Text)).limit(1)
)


# ---- what a sweep asks and writes ------------------------------------------------------------------------------------


def due(tx: Tx, many: int) -> list[tuple[UUID, str]]:
    """Schedules about which there is something to do: (id, name), the one that has waited longest first."""
    return [(row[0], row[1]) for row in tx.execute(_DUE, {"many": many}).rows]


def read(tx: Tx, id: UUID) -> StoredSchedule | None:  # noqa: A002
    """One schedule as it stands."""
    return _first(tx.execute(_READ, {"id": id}).rows)


def going(tx: Tx, runs: Sequence[UUID]) -> list[Going]:
    """Those of these runs that have not ended."""
    if not runs:
        return []
    rows = tx.execute(_STATUSES, {"runs": list(runs)}).rows
    return [Going(row[0], row[2]) for row in rows if RunStatus(row[1]) not in RUN_ENDED]


def run_of_key(tx: Tx, organization_id: str, key: str) -> UUID | None:
    """A run that was started under this key, of whatever workflow, whether or not it still holds it."""
    rows = tx.execute(_OF_KEY, {"organization_id": organization_id, "key": key}).rows
    return rows[0][0] if rows else None


def move(tx: Tx, seen: StoredSchedule, turn: Turn, still: Sequence[UUID], started: UUID | None, *, held: bool = False) -> bool:
    """Write what a turn has decided; False where another has written the row since it was read, or it is gone.

    `still`: the runs that are going; `started`: the run of the slot that the turn starts; `held`: somebody else has started it.
    """
    fates = [{"slot": slot.isoformat(), "fate": "skipped"} for slot in turn.skipped[-MOST_RECENT:]]
    if turn.last_missed is not None:
        fates.insert(0, {"slot": turn.last_missed.isoformat(), "fate": "missed"})
    if turn.start is not None:
        fates.append({"slot": turn.start.isoformat(), "fate": "started", "run": str(started)})
    runs = [*still, *([] if started is None else [started])][-MOST_GOING:]
    given = {
        "id": seen.id,
        "seen": seen.version,
        "next_slot": turn.next_slot,
        "waiting": turn.waiting,
        "due_at": turn.look_at,
        "runs": dumps([str(each) for each in runs]),
        "recent": dumps([*seen.recent, *fates][-MOST_RECENT:]),
        "more_started": int(turn.start is not None and not held),
        "well": turn.start is not None,
        "more_skipped": len(turn.skipped),
        "more_missed": turn.missed,
    }
    return tx.execute(_MOVE, given).count == 1


def fail(tx: Tx, id: UUID, error: Mapping[str, Any]) -> None:  # noqa: A002
    """Its slot could not be started: the error is kept until one is, and it is tried again after a pause, which grows to five minutes."""
    tx.execute(_FAIL, {"id": id, "error": dumps(dict(error))})


# ---- what people ask and write ---------------------------------------------------------------------------------------


def now(tx: Tx) -> datetime:
    """The database's time."""
    return cast(datetime, tx.execute(_NOW).rows[0][0]).astimezone(UTC)


def find(tx: Tx, organization_id: str, name: str) -> StoredSchedule | None:
    """The schedule of a name."""
    return _first(tx.execute(_FIND, {"organization_id": organization_id, "name": name}).rows)


def lock(tx: Tx, organization_id: str, name: str) -> StoredSchedule | None:
    """The schedule of a name, which nobody else can write until this transaction has ended."""
    return _first(tx.execute(_LOCK, {"organization_id": organization_id, "name": name}).rows)


def listed(tx: Tx, organization_id: str) -> list[StoredSchedule]:
    """Every schedule of an organization, by name."""
    return [_row(row) for row in tx.execute(_LISTED, {"organization_id": organization_id}).rows]


def failing(tx: Tx, many: int) -> list[tuple[str, Mapping[str, Any]]]:
    """Schedules whose latest slot could not be started, of all organizations: (name, error)."""
    return [(row[0], loads(row[1])) for row in tx.execute(_FAILING, {"many": many}).rows]


def insert(
    tx: Tx,
    id: UUID,  # noqa: A002
    organization_id: str,
    name: str,
    terms: Terms,
    next_slot: datetime | None,
    published: str | None,
) -> bool:
    """A new schedule; False where there is one of this name."""
    given = {"id": id, "organization_id": organization_id, "name": name, "next_slot": next_slot, "published": published}
    return tx.execute(_INSERT, given | _columns(terms)).count == 1


def edit(tx: Tx, seen: StoredSchedule, terms: Terms, *, next_slot: datetime | None, due_at: datetime | None, published: str | None) -> bool:
    """New terms for a schedule; False where another has written the row since it was read."""
    times = {"next_slot": next_slot, "due_at": due_at, "waiting": seen.waiting}
    given = {"organization_id": seen.organization_id, "id": seen.id, "seen": seen.version, "published": published, **times}
    return tx.execute(_EDIT, given | _columns(terms)).count == 1


def pause(tx: Tx, organization_id: str, name: str, reason: str | None) -> bool:
    """No slot of it is due from now on, and one that waits is skipped; False where there is none of this name."""
    return tx.execute(_PAUSE, {"organization_id": organization_id, "name": name, "reason": reason}).count == 1


def resume(tx: Tx, seen: StoredSchedule, next_slot: datetime | None) -> bool:
    """From this slot on it goes again; False where another has written the row since it was read."""
    return tx.execute(_RESUME, {"id": seen.id, "seen": seen.version, "next_slot": next_slot}).count == 1


def delete(tx: Tx, organization_id: str, name: str) -> bool:
    """Delete it; its runs go on. False where there is none of this name."""
    return tx.execute(_DELETE, {"organization_id": organization_id, "name": name}).count == 1


def count_started(tx: Tx, id: UUID, many: int) -> None:  # noqa: A002
    """So many slots more were started, by somebody who asked for them."""
    tx.execute(_COUNT, {"id": id, "more_started": many})


def _columns(terms: Terms) -> dict[str, Any]:
    return {name: getattr(terms, name) for name in _TERMS} | {"tags": dumps(list(terms.tags)) if terms.tags else None}


def _first(rows: list[Row]) -> StoredSchedule | None:
    return _row(rows[0]) if rows else None


def _row(row: Row) -> StoredSchedule:
    found = dict(zip((*_COLUMNS, "now"), row, strict=True))
    terms = {name: found.pop(name) for name in _TERMS}
    for name in ("next_slot", "waiting", "due_at", "now"):
        found[name] = None if found[name] is None else found[name].astimezone(UTC)
    found["runs"] = tuple(UUID(each) for each in loads(found["runs"]))
    found["recent"] = loads(found["recent"])
    found["error"] = None if found["error"] is None else loads(found["error"])
    return StoredSchedule(terms=Terms(**terms | {"tags": tuple(loads(terms["tags"] or "[]"))}), **found)
