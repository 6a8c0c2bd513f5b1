"""Rows alike in everything but their id and value, thousands in one statement: items of a fan-out, and what a pause holds.

PostgreSQL takes them as arrays; SQLite, where a statement costs no round trip, one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.core.decision import Decision
from wfcelery.core.draft import LATE
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import StepStatus
from wfcelery.definition.values import dumps, loads
from wfcelery.errors import RowChanged
from wfcelery.store.database import Tx
from wfcelery.store.schema import Value, step
from wfcelery.store.statements import Ids, Numbers, Parameters, Statement, Values, among, by_the_way, clock, is_one_of, later, one

FEW = 3  # rows that are no crowd

_CLOSED = (StepStatus.CANCELLED, StepStatus.SKIPPED)
_IDLE = (StepStatus.READY, StepStatus.HELD, StepStatus.BLOCKED)
_TURNED = ((StepStatus.READY, StepStatus.HELD), (StepStatus.HELD, StepStatus.READY))  # their due time stays as it is
_WRONG = frozenset({StepStatus.FAILED, StepStatus.TIMED_OUT})
Alike = tuple[Any, ...]


def save_alike(tx: Tx, decision: Decision, ring_in: float) -> list[StepRow]:
    """Write the crowds among the rows of a decision; the rest is the caller's to write one by one.

    `ring_in`: seconds after which the sweep rings for a step that is let go now.

    Raises RowChanged where a row is no longer what it was read as.
    """
    crowds: dict[Alike, list[StepRow]] = {}
    rest: list[StepRow] = []
    for row in decision.steps:
        alike = _alike(row)
        if alike is None:
            rest.append(row)
        else:
            crowds.setdefault(alike, []).append(row)
    for alike, rows in crowds.items():
        if alike[0] == "turned":
            _turn(tx, decision, rows, ring_in)
        elif len(rows) < FEW:
            rest.extend(rows)
        elif alike[0] == "born":
            _bear(tx, decision, rows)
        elif alike[0] == "succeeded":
            _succeed(tx, decision, rows)
        elif alike[0] == "skipped":
            _skip(tx, decision, rows)
        else:
            _close(tx, decision, rows)
    return rest


def _alike(row: StepRow) -> Alike | None:
    """What rows of one crowd have in common; None: the row goes alone."""
    if row.seen is not None and (row.seen[0], row.status) in _TURNED and not row.delay:
        return "turned", row.seen[0], row.why
    if row.item == NO_ITEM:
        return None
    if row.seen is None:
        waits = row.status in (StepStatus.READY, StepStatus.HELD) and not row.delay and row.due_at is None
        return ("born", row.name, row.fan_out, row.status, row.why, row.queue, row.priority, row.timeout) if waits else None
    if row.status is StepStatus.SUCCEEDED and row.seen[0] is StepStatus.RUNNING:
        return "succeeded", row.seen, row.why
    if row.status is StepStatus.SKIPPED and row.seen[0] is StepStatus.RUNNING:
        return "skipped", row.seen, row.why
    if row.status in _CLOSED and row.seen[0] in _IDLE:
        return "closed", row.seen, row.why, row.status
    return None


# -- births -------------------------------------------------------------------------------------------------------------

_SAME: dict[str, Any] = {
    "organization_id": one("organization_id", sa.Text),
    "run": one("run", sa.Uuid),
    "name": one("name", sa.Text),
    "round": one("round", sa.Integer),
    "fan_out": one("fan_out", sa.Uuid),
    "status": one("status", sa.Text),
    "why": one("why", sa.Text),
    "queue": one("queue", sa.Text),
    "priority": one("priority", sa.Integer),
    "timeout": one("timeout", sa.Float),
    # One moment for all, so that they are claimed in the order of their numbers.
    "due_at": sa.case((one("status", sa.Text) == "ready", one("now", step.c.due_at.type)), else_=sa.null()),
}


def _bear_many(dialect: str) -> Any:
    if dialect != "postgresql":
        own = {"id": one("id", sa.Uuid), "item": one("item", sa.Integer), "input": one("input", Value("input"))}
        return sa.insert(step).values(**own, **_SAME)
    born = (
        sa.func.unnest(one("ids", Ids), one("items", Numbers), one("inputs", Values))
        .table_valued("id", "item", "input", name="born")
        .render_derived()
    )
    values: dict[str, Any] = {"id": born.c.id, "item": born.c.item, "input": born.c.input, **_SAME}
    given = sa.select(*(value.label(name) for name, value in values.items()))
    return sa.insert(step).from_select(list(values), given, include_defaults=False)


_BEAR = Statement(_bear_many)
_NOW = Statement(sa.select(clock()))


def _bear(tx: Tx, decision: Decision, rows: list[StepRow]) -> None:
    first, run = rows[0], decision.run
    same: Parameters = {
        "organization_id": run.organization_id,
        "run": run.id,
        "name": first.name,
        "round": first.round,
        "fan_out": first.fan_out,
        "status": str(first.status),
        "why": first.why,
        "queue": first.queue,
        "priority": first.priority,
        "timeout": first.timeout,
        "now": tx.execute(_NOW).rows[0][0],
    }
    inputs = [_text(row.input) for row in rows]
    if tx.dialect == "postgresql":
        tx.execute(_BEAR, {**same, "ids": [row.id for row in rows], "items": [row.item for row in rows], "inputs": inputs})
    else:
        tx.many(_BEAR, [{**same, "id": row.id, "item": row.item, "input": text} for row, text in zip(rows, inputs, strict=True)])


# -- ends ---------------------------------------------------------------------------------------------------------------

_OVER: dict[str, Any] = {
    "why": one("new_why", sa.Text),
    "ring_at": sa.null(),
    "due_at": sa.null(),
    "deadline_at": sa.null(),
    "ended_at": clock(),
}
_MINE = sa.and_(by_the_way(step.c.status) == "running", step.c.token == one("mine", sa.Uuid))


def _succeed_many(dialect: str) -> Any:
    if dialect != "postgresql":
        change = sa.update(step).where(step.c.id == one("step", sa.Uuid), _MINE)
        return change.values(status="succeeded", output=one("value", Value("output")), error=sa.null(), **_OVER)
    ended = (
        sa.func.unnest(one("ids", Ids), one("values_", Values))
        .table_valued(sa.column("id", sa.Uuid), sa.column("value", sa.Text), name="ended")
        .render_derived()
    )
    # By the ids as one array too: a planner that knows nothing of the join would read the whole table.
    change = sa.update(step).where(among(step.c.id, one("ids", Ids)), step.c.id == ended.c.id, _MINE)
    return change.values(status="succeeded", output=ended.c.value, error=sa.null(), **_OVER)


_SUCCEED = Statement(_succeed_many)
_CLOSE = Statement(
    sa.update(step)
    .where(among(step.c.id, one("ids", Ids)), by_the_way(step.c.status) == one("seen_status", sa.Text), step.c.token.is_(None))
    .values(status=one("status", sa.Text), **_OVER)
)
_SKIP = Statement(sa.update(step).where(among(step.c.id, one("ids", Ids)), _MINE).values(status="skipped", error=sa.null(), **_OVER))


def _succeed(tx: Tx, decision: Decision, rows: list[StepRow]) -> None:
    assert rows[0].seen is not None
    place: Parameters = {"organization_id": decision.run.organization_id, "run": decision.run.id}
    same: Parameters = {**place, "mine": rows[0].seen[1], "new_why": rows[0].why}
    if tx.dialect == "postgresql":
        count = tx.execute(_SUCCEED, {**same, "ids": _ids(rows), "values_": [dumps(row.output) for row in rows]}).count
    else:
        count = tx.many(_SUCCEED, [{**same, "step": row.id, "value": dumps(row.output)} for row in rows])
    _all_met(count, decision, rows)


def _skip(tx: Tx, decision: Decision, rows: list[StepRow]) -> None:
    assert rows[0].seen is not None
    given = {"ids": _ids(rows), "mine": rows[0].seen[1], "new_why": rows[0].why}
    _all_met(tx.execute(_SKIP, given).count, decision, rows)


def _close(tx: Tx, decision: Decision, rows: list[StepRow]) -> None:
    assert rows[0].seen is not None
    given = {"ids": _ids(rows), "seen_status": str(rows[0].seen[0]), "status": str(rows[0].status), "new_why": rows[0].why}
    _all_met(tx.execute(_CLOSE, given).count, decision, rows)


# -- held and let go ----------------------------------------------------------------------------------------------------

_HOLD = Statement(
    sa.update(step)
    .where(among(step.c.id, one("ids", Ids)), by_the_way(step.c.status) == "ready", step.c.token.is_(None))
    .values(status="held", why=one("new_why", sa.Text), ring_at=sa.null())
)
_soon = later(one("ring_in", sa.Float))
_RELEASE = Statement(
    sa.update(step)
    .where(among(step.c.id, one("ids", Ids)), by_the_way(step.c.status) == "held")
    .values(
        status="ready",
        why=sa.null(),
        due_at=sa.func.coalesce(step.c.due_at, clock()),
        ring_at=sa.case((step.c.item != NO_ITEM, sa.null()), (step.c.due_at > _soon, step.c.due_at), else_=_soon),
    )
)


def _turn(tx: Tx, decision: Decision, rows: list[StepRow], ring_in: float) -> None:
    if rows[0].status is StepStatus.HELD:
        count = tx.execute(_HOLD, {"ids": _ids(rows), "new_why": rows[0].why}).count
    else:
        count = tx.execute(_RELEASE, {"ids": _ids(rows), "ring_in": ring_in}).count
    _all_met(count, decision, rows)


# -- results ------------------------------------------------------------------------------------------------------------

PAGE = 5_000  # items read at a time: beside their results, only so many rows are in memory

_PAGE = Statement(
    sa.select(
        step.c.item,
        step.c.status,
        # What was given counts only where an item failed.
        sa.case((is_one_of(step.c.status, _WRONG), step.c.input), else_=sa.null()),
        step.c.output,
        step.c.error,
        step.c.why,
        step.c.organization_id,
    )
    .where(
        step.c.run == one("run", sa.Uuid),
        step.c.name == one("name", sa.Text),
        step.c.item > one("after", sa.Integer),
    )
    .order_by(step.c.item)
    .limit(one("many", sa.Integer))
)


def results_of(tx: Tx, run: UUID, name: str, wants: int) -> tuple[list[Any], tuple[int, ...]]:
    """What the items of a fan-out came to, in their order, and which of them failed; nothing where one was skipped, closed or late."""
    results: list[Any] = [None] * wants
    failed: list[int] = []
    after = NO_ITEM
    while True:
        page = tx.execute(_PAGE, {"run": run, "name": name, "after": after, "many": PAGE}).rows
        for item, status, given, output, error, why, _ in page:
            if why == LATE:
                continue
            if status == StepStatus.SUCCEEDED:
                results[item] = _value(output)
            elif status in _WRONG:
                failed.append(item)
                results[item] = {"$wf": ["failed", {"index": item, "item": _value(given), "error": _value(error)}]}
        if len(page) < PAGE:
            return results, tuple(failed)
        after = page[-1][0]


def _ids(rows: Iterable[StepRow]) -> list[UUID]:
    return [row.id for row in rows]


def _all_met(count: int, decision: Decision, rows: list[StepRow]) -> None:
    if count != len(rows):
        raise RowChanged(f"{len(rows) - count} steps of run {decision.run.id}")


def _text(value: Any) -> str | None:
    return None if value is None else dumps(value)


def _value(text: str | None) -> Any:
    return None if text is None else loads(text)
