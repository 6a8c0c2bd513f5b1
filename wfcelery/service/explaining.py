"""Why a run, and what it waits for, stand where they stand: read at one moment each, told from the top down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from wfcelery.definition.model import Definition
from wfcelery.errors import NotFound
from wfcelery.service.context import Context
from wfcelery.service.why import Cause, causes, sentence
from wfcelery.store import circumstances, reading
from wfcelery.store.definitions import load_body

MOST_RUNS = 50  # of a tree of children


@dataclass(frozen=True, slots=True)
class Explanation:
    """The causes of a run and, behind them, those of the runs it waits for; and the words for them."""

    causes: Sequence[Cause]
    sentences: Sequence[str]


def explained(context: Context, run: UUID) -> Explanation:
    """Every cause, with those of the children that have not ended behind their parent's. Raises NotFound."""
    found: list[Cause] = []
    said: list[str] = []
    waiting, seen = [run], 0
    while waiting and seen < MOST_RUNS:
        own, now, children = _one(context, waiting.pop(0))
        seen += 1
        found += own
        said += [sentence(cause, now) for cause in own]
        waiting += children
    return Explanation(found, said)


def _one(context: Context, run: UUID) -> tuple[Sequence[Cause], datetime, Sequence[UUID]]:
    with context.transaction() as tx:
        records = reading.find_runs(tx, str(run), limit=1)
        if not records:
            raise NotFound("run", str(run))
        body = load_body(tx, records[0].definition) if records[0].ended_at is None else None
        tasks = [] if body is None else Definition.model_validate_json(body).every_task()
        around = circumstances.around(tx, records[0], {task.name: task.action for task, _ in tasks if task.action})
    return causes(around), around.now, [child for _, child in around.children]
