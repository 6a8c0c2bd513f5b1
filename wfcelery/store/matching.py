"""Runs and dead letters by what is asked of them. What people type comes as terms, never as SQL, and goes in as parameters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa

from wfcelery.definition.values import dumps
from wfcelery.store.database import Tx
from wfcelery.store.dead_letters import _ALL as _LETTER
from wfcelery.store.dead_letters import Letter, _letter
from wfcelery.store.reading import _RUN, RunRecord, _run_record
from wfcelery.store.schema import Instant, dead_letter, definition, inbox, run, step
from wfcelery.store.statements import Statement, Words, among, later, one


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `values` are alternatives; a time is an age in seconds, or a moment."""

    field: str
    op: Literal["=", "!=", "<", ">"]
    values: tuple[str, ...] = ()
    age: float | None = None
    moment: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many rows of one workflow and status match."""

    workflow: str
    status: str
    count: int


# How a field is looked for: the parameter that holds one of its values -> a condition.
Test = Callable[[Any, str], Any]


def _is(column: Any) -> Test:
    """Equal, or beginning with what stands before a `*`."""

    def test(value: Any, _: str) -> Any:
        starts = sa.func.substr(column, 1, sa.func.length(value) - 1) == sa.func.substr(value, 1, sa.func.length(value) - 1)
        last = sa.func.substr(value, sa.func.length(value), 1)
        return sa.or_(column == value, sa.and_(last == sa.literal_column("'*'"), starts))

    return test


def _holds(column: Any) -> Test:
    """A JSON text that holds this piece: within one of its texts a quote is never bare, so it is not found there."""

    def test(value: Any, dialect: str) -> Any:
        at = sa.func.strpos(column, value) if dialect == "postgresql" else sa.func.instr(column, value)
        return sa.func.coalesce(at, 0) > 0

    return test


def _stands_at(value: Any, _: str) -> Any:
    """A step of this name is open, or has stopped the run."""
    found: Any = sa.select(sa.literal_column("1")).where(
        step.c.run == run.c.id, step.c.name == value, sa.or_(step.c.ended_at.is_(None), step.c.why == "unhandled")
    )
    return sa.exists(found)


def _labelled(value: Any, _: str) -> Any:
    found: Any = sa.select(sa.literal_column("1")).where(definition.c.signature == run.c.definition, definition.c.version == value)
    return sa.exists(found)


def _piece(name: str) -> Callable[[str], str]:
    return lambda value: f'"{name}":{dumps(value)}'


RUN_TIMES: Mapping[str, Any] = {"created": run.c.created_at, "started": run.c.started_at, "ended": run.c.ended_at}
LETTER_TIMES: Mapping[str, Any] = {"created": dead_letter.c.created_at}
_RUN_TESTS: Mapping[str, Test] = {
    "status": _is(run.c.status),
    "workflow": _is(run.c.workflow),
    "version": _labelled,
    "key": _is(run.c.key),
    "org": _is(run.c.organization_id),
    "queue": _is(run.c.queue),
    "reason": _is(run.c.reason),
    "tag": _holds(run.c.tags),
    "error.type": _holds(run.c.error),
    "error.code": _holds(run.c.error),
    "step": _stands_at,
}
_LETTER_TESTS: Mapping[str, Test] = {
    "status": _is(dead_letter.c.status),
    "workflow": _is(dead_letter.c.workflow),
    "org": _is(dead_letter.c.organization_id),
    "reason": _is(dead_letter.c.reason),
    "error.type": _holds(dead_letter.c.error),
    "error.code": _holds(dead_letter.c.error),
    "step": _is(dead_letter.c.name),
}
RUN_FIELDS, LETTER_FIELDS = (*_RUN_TESTS, *RUN_TIMES), (*_LETTER_TESTS, *LETTER_TIMES)
# What stands in the JSON text of a row where the field has this value.
_PIECES: Mapping[str, Callable[[str], str]] = {"tag": dumps, "error.type": _piece("type"), "error.code": _piece("code")}


def _conditions(terms: Sequence[Term], tests: Mapping[str, Test], times: Mapping[str, Any], dialect: str) -> list[Any]:
    found = []
    for number, term in enumerate(terms):
        if term.field in times:
            bound = later(-one(f"t{number}", sa.Float)) if term.moment is None else one(f"t{number}", Instant)
            column = times[term.field]
            # Older than a span is earlier than the moment so long ago.
            before = (term.op == ">") is (term.moment is None)
            found.append(column < bound if before else column > bound)
        else:
            any_of = sa.or_(*(tests[term.field](one(f"t{number}_{at}", sa.Text), dialect) for at in range(len(term.values))))
            found.append(sa.not_(sa.func.coalesce(any_of, sa.false())) if term.op == "!=" else any_of)
    return found


def _given(terms: Sequence[Term]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for number, term in enumerate(terms):
        if term.values:
            piece = _PIECES.get(term.field, str)
            given |= {f"t{number}_{at}": piece(value) for at, value in enumerate(term.values)}
        else:
            given[f"t{number}"] = term.age if term.moment is None else term.moment
    return given


def runs(tx: Tx, terms: Sequence[Term], limit: int) -> list[RunRecord]:
    """The newest runs of which all terms are true."""
    chosen = Statement(
        lambda dialect: (
            sa.select(*_RUN)
            .where(*_conditions(terms, _RUN_TESTS, RUN_TIMES, dialect))
            .order_by(run.c.id.desc())
            .limit(one("many", sa.Integer))
        )
    )
    return [_run_record(row) for row in tx.execute(chosen, {**_given(terms), "many": limit}).rows]


def runs_to_ask(tx: Tx, terms: Sequence[Term], fact: str, able: Collection[str], after: UUID, limit: int) -> list[RunRecord]:
    """The next of these, by their ids, that stand where they can be asked for `fact` and have not been yet."""
    asked: Any = sa.select(sa.literal_column("1")).where(inbox.c.run == run.c.id, inbox.c.fact == one("fact", sa.Text))
    chosen = Statement(
        lambda dialect: (
            sa.select(*_RUN)
            .where(run.c.id > one("after", sa.Uuid), among(run.c.status, one("able", Words)), sa.not_(sa.exists(asked)))
            .where(*_conditions(terms, _RUN_TESTS, RUN_TIMES, dialect))
            .order_by(run.c.id)
            .limit(one("many", sa.Integer))
        )
    )
    given = {**_given(terms), "fact": fact, "able": sorted(able), "after": after, "many": limit}
    return [_run_record(row) for row in tx.execute(chosen, given).rows]


def run_tallies(tx: Tx, terms: Sequence[Term]) -> list[Tally]:
    """How many runs match, by workflow and status."""
    counted = Statement(
        lambda dialect: (
            sa.select(run.c.workflow, run.c.status, sa.func.count())
            .where(*_conditions(terms, _RUN_TESTS, RUN_TIMES, dialect))
            .group_by(run.c.workflow, run.c.status)
            .order_by(run.c.workflow, run.c.status)
        )
    )
    return [Tally(*row) for row in tx.execute(counted, _given(terms)).rows]


def letters(tx: Tx, terms: Sequence[Term], limit: int) -> list[Letter]:
    """The newest dead letters of which all terms are true."""
    chosen = Statement(
        lambda dialect: (
            sa.select(*_LETTER)
            .where(*_conditions(terms, _LETTER_TESTS, LETTER_TIMES, dialect))
            .order_by(dead_letter.c.created_at.desc(), dead_letter.c.id.desc())
            .limit(one("many", sa.Integer))
        )
    )
    return [_letter(row) for row in tx.execute(chosen, {**_given(terms), "many": limit}).rows]


def letter_tallies(tx: Tx, terms: Sequence[Term]) -> list[Tally]:
    """How many dead letters match, by workflow and status."""
    counted = Statement(
        lambda dialect: (
            sa.select(dead_letter.c.workflow, dead_letter.c.status, sa.func.count())
            .where(*_conditions(terms, _LETTER_TESTS, LETTER_TIMES, dialect))
            .group_by(dead_letter.c.workflow, dead_letter.c.status)
            .order_by(dead_letter.c.workflow, dead_letter.c.status)
        )
    )
    return [Tally(*row) for row in tx.execute(counted, _given(terms)).rows]
