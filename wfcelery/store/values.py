"""What the rows of a run hold of its data: inputs, results, variables. For people, who ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from wfcelery.definition.values import loads
from wfcelery.store.database import Tx
from wfcelery.store.schema import run, step
from wfcelery.store.statements import Statement, one


@dataclass(frozen=True, slots=True)
class StepValues:
    """What one step, or one item of a fan-out, was given, and what it was worth; in stored form."""

    name: str
    item: int
    input: Any
    output: Any


@dataclass(frozen=True, slots=True)
class RunValues:
    """What a run was given, what it has made, and which definition it goes by."""

    definition: str
    input: Any
    variables: Any
    output: Any
    steps: list[StepValues]


_RUN = Statement(
    sa.select(run.c.definition, run.c.input, run.c.variables, run.c.output, run.c.organization_id).where(run.c.id == one("run", sa.Uuid))
)
_STEPS = Statement(
    sa.select(step.c.name, step.c.item, step.c.input, step.c.output, step.c.organization_id)
    .where(step.c.run == one("run", sa.Uuid), sa.or_(step.c.input.is_not(None), step.c.output.is_not(None)))
    .order_by(step.c.id)
)


def values_of(tx: Tx, id: UUID, *, steps: bool = True) -> RunValues | None:  # noqa: A002
    """The data of one run, and of its steps where these are asked for; None where there is no such run."""
    rows = tx.execute(_RUN, {"run": id}).rows
    if not rows:
        return None
    signature, given, variables, output, _ = rows[0]
    rows = tx.execute(_STEPS, {"run": id}).rows if steps else []
    found = [StepValues(row[0], row[1], _value(row[2]), _value(row[3])) for row in rows]
    return RunValues(signature, _value(given), _value(variables), _value(output), found)


def _value(text: str | None) -> Any:
    return None if text is None else loads(text)
