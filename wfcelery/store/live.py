"""What the runs that have not ended go by, and what of it they have behind them."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from wfcelery.core.rows import NO_ITEM
from wfcelery.store.database import Tx
from wfcelery.store.schema import definition, run, step
from wfcelery.store.statements import Statement


@dataclass(frozen=True, slots=True)
class LiveDefinition:
    """A definition that some runs go by, and how many."""

    signature: str
    name: str
    version: str
    body: str
    runs: int


_MANY = sa.select(run.c.definition, sa.func.count().label("many")).where(run.c.ended_at.is_(None))
_COUNTED = _MANY.group_by(run.c.definition).subquery("counted")
_LIVE = Statement(
    sa.select(definition.c.signature, definition.c.name, definition.c.version, definition.c.body, _COUNTED.c.many)
    .join(_COUNTED, _COUNTED.c.definition == definition.c.signature)
    .order_by(definition.c.name, definition.c.stored_at)
)
_ENDED = Statement(
    sa.select(run.c.definition, step.c.name, sa.func.count())
    .join(step, step.c.run == run.c.id)
    .where(run.c.ended_at.is_(None), step.c.item == NO_ITEM, step.c.ended_at.is_not(None))
    .group_by(run.c.definition, step.c.name)
)


def definitions(tx: Tx) -> list[LiveDefinition]:
    """Every definition that a run goes by which has not ended."""
    return [LiveDefinition(*row) for row in tx.execute(_LIVE).rows]


def ended_tasks(tx: Tx) -> dict[tuple[str, str], int]:
    """In how many of these runs a task has ended, by the definition's signature and the task's name."""
    return {(row[0], row[1]): row[2] for row in tx.execute(_ENDED).rows}
