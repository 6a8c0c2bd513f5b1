"""Everything the tables say of some runs, read at one moment, for whoever compares it with their histories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import sqlalchemy as sa

from wfcelery.definition.values import loads
from wfcelery.store.children import Child
from wfcelery.store.database import Tx
from wfcelery.store.dead_letters import _ALL, _letter
from wfcelery.store.evidence import EventFound, Evidence, InboxFound, Times, UseFound, WaitFound
from wfcelery.store.loading import RUN, STEP, run_row, step_row
from wfcelery.store.migrations import VERSION_TABLE, wanted
from wfcelery.store.outside import again
from wfcelery.store.reading import HistoryRow
from wfcelery.store.schema import (
    approval,
    dead_letter,
    definition,
    event,
    history,
    hold,
    inbox,
    limit,
    limit_use,
    meta,
    run,
    schedule,
    step,
    wait,
)
from wfcelery.store.statements import Ids, Row, Statement, Words, among, clock, fixed, is_one_of, later, one

MANY_RUNS = 100  # runs that are read at one moment,
MANY_STEPS = 20_000  # unless they have more steps than this together


class Readable(Protocol):
    """A database, as far as evidence needs one."""

    @property
    def dialect(self) -> str: ...

    def transaction(self, isolation: str | None = None) -> AbstractContextManager[Tx]: ...


_RUNS = one("runs", Ids)
_PAGE = Statement(sa.select(run.c.id).where(run.c.id > one("after", sa.Uuid)).order_by(run.c.id).limit(one("many", sa.Integer)))
_SIZES = Statement(sa.select(step.c.run, sa.func.count()).where(among(step.c.run, _RUNS)).group_by(step.c.run))
_NOW = Statement(sa.select(clock()))
_RUN_ROWS = Statement(
    sa.select(run.c.input_digest, run.c.due_at, run.c.ring_at, run.c.ended_at, run.c.continued_as, run.c.resume_at, *RUN)
    .where(among(run.c.id, _RUNS))
    .order_by(run.c.id)
)
_BODIES = Statement(
    sa.select(definition.c.signature, definition.c.body).where(
        definition.c.signature.in_(sa.select(run.c.definition).where(among(run.c.id, _RUNS)))
    )
)
_MORE_BODIES = Statement(
    sa.select(definition.c.signature, definition.c.body).where(among(definition.c.signature, one("signatures", Words)))
)
_STEPS = Statement(
    sa.select(
        step.c.run, step.c.due_at, step.c.ring_at, step.c.deadline_at, step.c.ended_at, step.c.output.is_not(None), *STEP
    )
    .where(among(step.c.run, _RUNS))
    .order_by(step.c.id)
)  # fmt: skip
_HISTORY = Statement(
    sa.select(history.c.run, history.c.version, history.c.at, history.c.facts)
    .where(among(history.c.run, _RUNS))
    .order_by(history.c.run, history.c.version)
)
_WAITS = Statement(
    sa.select(wait.c.run, wait.c.id, wait.c.step, wait.c.status, wait.c.due_at, wait.c.ended_at, wait.c.name, wait.c.key)
    .where(among(wait.c.run, _RUNS))
    .order_by(wait.c.id)
)
_EVENTS = Statement(
    sa.select(step.c.run, event.c.id, event.c.name, event.c.key, event.c.run, event.c.consumed_by)
    .select_from(event.join(step, step.c.id == event.c.consumed_by))
    .where(among(step.c.run, _RUNS), event.c.status == "consumed")
    .order_by(event.c.id)
)
_INBOX = Statement(
    sa.select(inbox.c.run, inbox.c.id, inbox.c.fact, inbox.c.data, inbox.c.at, inbox.c.ring_at, inbox.c.organization_id)
    .where(among(inbox.c.run, _RUNS))
    .order_by(inbox.c.id)
)
_USES = Statement(
    sa.select(
        limit_use.c.run, limit_use.c.kind, limit_use.c.key, limit_use.c.step, limit_use.c.granted, limit_use.c.wanted
    )
    .where(among(limit_use.c.run, _RUNS))
    .order_by(limit_use.c.id)
)  # fmt: skip
_HOLDS = Statement(sa.select(hold.c.scope))
_LETTERS = Statement(sa.select(*_ALL).where(among(dead_letter.c.run, _RUNS)).order_by(dead_letter.c.created_at, dead_letter.c.id))


def _strangers() -> Any:
    found = []
    for table in (step, history, inbox, wait, approval, dead_letter, limit_use):
        found.append(
            sa.select(table.c.run, sa.literal_column(f"'{table.name}'", sa.Text).label("what"))
            .join(run, run.c.id == table.c.run)
            .where(among(table.c.run, _RUNS), table.c.organization_id != run.c.organization_id)
            .distinct()
        )
    return sa.union_all(*found)


_CHILDREN = Statement(
    sa.select(step.c.run, step.c.id, run.c.id, run.c.workflow, run.c.status)
    .select_from(step.join(run, run.c.parent_step == step.c.id))
    .where(among(step.c.run, _RUNS))
    .order_by(run.c.id)
)
_STRANGERS = Statement(_strangers())
_OVERDUE_STEPS = Statement(
    sa.select(step.c.run, step.c.name).where(step.c.ring_at <= fixed(later(-one("bound", sa.Float)))).order_by(step.c.ring_at).limit(100)
)
_OVERDUE_INBOX = Statement(
    sa.select(inbox.c.run, inbox.c.fact).where(inbox.c.at <= fixed(later(-one("bound", sa.Float)))).order_by(inbox.c.at).limit(100)
)


def page(tx: Tx, after: UUID, many: int) -> list[UUID]:
    """The next runs in the order of their ids."""
    return [row[0] for row in tx.execute(_PAGE, {"after": after, "many": many}).rows]


def evidence(database: Readable, id: UUID) -> Evidence | None:  # noqa: A002
    """What the tables say of a run, all of it as of one moment; None where there is no such run."""
    return next(evidence_of(database, [id]), None)


def every_evidence(database: Readable) -> Iterator[Evidence]:
    """The evidence of every run, in the order of their ids; of each run as of one moment."""
    after = UUID(int=0)
    while True:
        with database.transaction() as tx:
            ids = page(tx, after, MANY_RUNS * 5)
        if not ids:
            return
        yield from evidence_of(database, ids)
        after = ids[-1]


def evidence_of(database: Readable, ids: Sequence[UUID]) -> Iterator[Evidence]:
    """The evidence of these runs, a crowd of them at one moment; nothing of those that are not there."""
    sizes: dict[UUID, int] = {}
    if len(ids) > 1:
        with database.transaction() as tx:
            sizes = {row[0]: row[1] for row in tx.execute(_SIZES, {"runs": list(ids)}).rows}
    for crowd in _crowds(ids, sizes):
        yield from again(partial(_at_one_moment, database, crowd)).evidence()  # decoded when the transaction is over


def _at_one_moment(database: Readable, crowd: Sequence[UUID]) -> _Found:
    with database.transaction("REPEATABLE READ" if database.dialect == "postgresql" else None) as tx:
        return _Found(tx, crowd)


def gather(tx: Tx, ids: Sequence[UUID]) -> list[Evidence]:
    """As `evidence_of`, in a transaction that is open."""
    return list(_Found(tx, ids).evidence())


def _crowds(ids: Iterable[UUID], sizes: dict[UUID, int]) -> Iterator[list[UUID]]:
    crowd: list[UUID] = []
    steps = 0
    for id in ids:  # noqa: A001
        size = sizes.get(id, 0)
        if crowd and (len(crowd) >= MANY_RUNS or steps + size > MANY_STEPS):
            yield crowd
            crowd, steps = [], 0
        crowd.append(id)
        steps += size
    if crowd:
        yield crowd


class _Found:
    """The rows of some runs, by run, not yet decoded."""

    def __init__(self, tx: Tx, ids: Sequence[UUID]) -> None:
        given = {"runs": list(ids)}
        self.payloads = tx.payloads
        self.now: datetime = tx.execute(_NOW).rows[0][0]
        self.runs = tx.execute(_RUN_ROWS, given).rows
        self.bodies: dict[str, str] = dict(tx.execute(_BODIES, given).rows)
        self.steps = _by_run(tx.execute(_STEPS, given).rows)
        self.history = _by_run(tx.execute(_HISTORY, given).rows)
        self.bodies |= dict(tx.execute(_MORE_BODIES, {"signatures": _left(self.history)}).rows)
        self.waits = _by_run(tx.execute(_WAITS, given).rows)
        self.events = _by_run(tx.execute(_EVENTS, given).rows)
        self.inbox = _by_run(tx.execute(_INBOX, given).rows)
        self.letters = [_letter(row) for row in tx.execute(_LETTERS, given).rows]
        self.uses = _by_run(tx.execute(_USES, given).rows)
        self.holds = frozenset(f"hold:{row[0]}" for row in tx.execute(_HOLDS).rows)
        self.children = _by_run(tx.execute(_CHILDREN, given).rows)
        self.strangers = _by_run(tx.execute(_STRANGERS, given).rows)

    def evidence(self) -> Iterator[Evidence]:
        for digest, due_at, ring_at, ended_at, continued_as, resume_at, *columns in self.runs:
            row = run_row(tuple(columns))
            steps = self.steps.get(row.id, [])
            yield Evidence(
                now=self.now,
                run=row,
                input_digest=digest,
                due_at=due_at,
                ring_at=ring_at,
                ended_at=ended_at,
                continued_as=continued_as,
                resume_at=resume_at,
                body=self.bodies.get(row.definition),
                bodies=self.bodies,
                steps=[step_row(found[6:]) for found in steps],
                times={found[6]: Times(found[1], found[2], found[3], found[4], bool(found[5])) for found in steps},
                history=[HistoryRow(found[1], found[2], loads(found[3])) for found in self.history.get(row.id, [])],
                waits=[WaitFound(*found[1:]) for found in self.waits.get(row.id, [])],
                inbox=[InboxFound(found[1], found[2], loads(found[3]), found[4], found[5]) for found in self.inbox.get(row.id, [])],
                letters=[letter for letter in self.letters if letter.run == row.id],
                seal=self.payloads.sealer(row.organization_id),
                uses=[UseFound(*found[1:]) for found in self.uses.get(row.id, [])],
                holds=self.holds,
                events=[EventFound(*found[1:]) for found in self.events.get(row.id, [])],
                children=[Child(*found[1:]) for found in self.children.get(row.id, [])],
                strangers=[found[1] for found in self.strangers.get(row.id, [])],
            )


def _left(histories: dict[UUID, list[Row]]) -> list[str]:
    """The definitions that runs went by before they were moved."""
    moves = [row[3] for rows in histories.values() for row in rows if '"run_moved"' in row[3]]
    return sorted({fact["was"] for facts in moves for fact in loads(facts) if fact["fact"] == "run_moved"})


def _by_run(rows: Iterable[Row]) -> dict[UUID, list[Row]]:
    found: dict[UUID, list[Row]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    return found


def overdue(tx: Tx, bound: float) -> list[tuple[UUID, str]]:
    """Rows that somebody should have rung for more than `bound` seconds ago: (run, which of its things), at most 100 of each kind."""
    steps = [(row[0], f"step {row[1]}") for row in tx.execute(_OVERDUE_STEPS, {"bound": bound}).rows]
    return steps + [(row[0], f"inbox: {row[1]}") for row in tx.execute(_OVERDUE_INBOX, {"bound": bound}).rows]


@dataclass(frozen=True, slots=True)
class Remains:
    """What stands in the tables beside the runs."""

    now: datetime
    orphans: dict[str, int]  # rows without a run, by table
    half_trees: int  # children whose parent is not there
    shared: list[tuple[UUID, UUID]]  # runs that have a token in common, a pair for each token; at most 100
    schemas: list[str]  # versions that the migrations have recorded
    wanted: str  # the version of this release
    homes: int  # rows of wf_meta
    fates: list[tuple[str, list[dict[str, Any]]]]  # of each schedule what became of its latest slots
    doubles: list[str]  # keys of slots that several runs hold; at most 100
    crowded: list[str]  # limits and locks with more slots given than there are
    asleep: list[str]  # schedules with a next slot, or one that waits, and no time at which a sweep finds them


_ORPHANS = [
    (
        table.name,
        Statement(sa.select(sa.func.count()).select_from(table).where(~sa.exists(sa.select(run.c.id).where(run.c.id == table.c.run)))),
    )
    for table in (step, history, inbox, wait, approval, dead_letter, limit_use)
]
_HALF_TREES = Statement(
    sa.select(sa.func.count())
    .select_from(run)
    .where(run.c.parent_step.is_not(None), ~sa.exists(sa.select(step.c.id).where(step.c.id == run.c.parent_step)))
)
_AS_TEXT = sa.cast(step.c.run, sa.Text)  # PostgreSQL orders ids, and has no least one of them
_SHARED = Statement(
    sa.select(sa.func.min(_AS_TEXT), sa.func.max(_AS_TEXT))
    .where(step.c.token.is_not(None))
    .group_by(step.c.token)
    .having(sa.func.min(_AS_TEXT) != sa.func.max(_AS_TEXT))
    .limit(100)
)
_FATES = Statement(sa.select(schedule.c.name, schedule.c.recent).order_by(schedule.c.name))
_DOUBLES = Statement(
    sa.select(run.c.active_key)
    .where(run.c.active_key.startswith("schedule:", autoescape=False))
    .group_by(run.c.organization_id, run.c.active_key)
    .having(sa.func.count() > 1)
    .order_by(run.c.active_key)
    .limit(100)
)
_ASLEEP = Statement(
    sa.select(schedule.c.name)
    .where(schedule.c.due_at.is_(None), sa.or_(schedule.c.next_slot.is_not(None), schedule.c.waiting.is_not(None)))
    .order_by(schedule.c.name)
)
_given = sa.select(limit_use.c.organization_id, limit_use.c.kind, limit_use.c.key, sa.func.sum(limit_use.c.granted).label("given"))
_uses = _given.group_by(limit_use.c.organization_id, limit_use.c.kind, limit_use.c.key).subquery("uses")
_same = (limit.c.organization_id == _uses.c.organization_id, limit.c.kind == _uses.c.kind, limit.c.key == _uses.c.key)
_CROWDED = Statement(
    sa.select(limit.c.kind, limit.c.key)
    .join(_uses, sa.and_(*_same))
    .where(is_one_of(limit.c.kind, ("limit", "lock")), _uses.c.given > limit.c.slots)
    .order_by(limit.c.kind, limit.c.key)
    .limit(100)
)
_versions = sa.table(VERSION_TABLE, sa.column("version_num", sa.Text))
_SCHEMAS = Statement(sa.select(_versions.c.version_num).order_by(_versions.c.version_num))
_HOMES = Statement(sa.select(sa.func.count()).select_from(meta))


def remains(tx: Tx) -> Remains:
    """What stands in the tables beside the runs."""
    orphans = {name: int(tx.execute(statement).rows[0][0]) for name, statement in _ORPHANS}
    half_trees = int(tx.execute(_HALF_TREES).rows[0][0])
    shared = [(UUID(row[0]), UUID(row[1])) for row in tx.execute(_SHARED).rows]
    schemas = [str(row[0]) for row in tx.execute(_SCHEMAS).rows]
    return Remains(
        now=tx.execute(_NOW).rows[0][0],
        orphans=orphans,
        half_trees=half_trees,
        shared=shared,
        schemas=schemas,
        wanted=wanted(),
        homes=int(tx.execute(_HOMES).rows[0][0]),
        fates=[(row[0], loads(row[1])) for row in tx.execute(_FATES).rows],
        doubles=[row[0] for row in tx.execute(_DOUBLES).rows],
        crowded=[f"{kind} {key}" for kind, key in tx.execute(_CROWDED).rows],
        asleep=[row[0] for row in tx.execute(_ASLEEP).rows],
    )
