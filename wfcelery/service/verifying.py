"""Does a run's history say what its rows say? Everything that differs, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

from wfcelery.core.draft import digest
from wfcelery.core.folding import Folded, fold
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import RUN_ENDED, STEP_ENDED, STEP_OPEN, UNDER_WAY, RunStatus, StepStatus
from wfcelery.errors import NotFound
from wfcelery.service import runs
from wfcelery.service.context import Context
from wfcelery.service.views import Verdict
from wfcelery.store import verifying as stored
from wfcelery.store.verifying import Evidence

PAGE = 200


def verify(context: Context, ids: Iterable[str] | None) -> Iterator[Verdict]:
    """A verdict for each of these runs, or for all. Each run is read at one moment, so a working fleet disturbs nothing.

    Raises NotFound for an id or key that leads to no run.
    """
    for id in _all(context) if ids is None else [_id(context, one) for one in ids]:  # noqa: A001
        found = stored.evidence(context.database, id)
        if found is not None:
            yield Verdict(run=str(id), problems=problems_of(found))


def problems_of(found: Evidence) -> Sequence[str]:
    """Everything that is wrong with one run; nothing, if the engine has kept its word."""
    try:
        folded = fold((row.version, row.facts) for row in found.history)
    except (ValueError, KeyError) as problem:
        return [f"the history cannot be folded: {problem}", *_rows(found)]
    return [*_run(found, folded), *_steps(found, folded), *_rows(found)]


def _all(context: Context) -> Iterator[UUID]:
    after = UUID(int=0)
    while True:
        with context.transaction() as tx:
            ids = stored.page(tx, after, PAGE)
        if not ids:
            return
        yield from ids
        after = ids[-1]


def _id(context: Context, id_or_key: str) -> UUID:
    found = runs.find(context, id_or_key)
    if found is None:
        raise NotFound("run", id_or_key)
    return found.id


def _run(found: Evidence, folded: Folded) -> Iterator[str]:
    run = found.run
    ending = None if run.ending is None else str(run.ending)
    for what, says, is_ in (
        ("status", folded.status, run.status),
        ("version", folded.version, run.version),
        ("ending", folded.ending, ending),
        ("open steps", folded.open_steps(), run.open_steps),
        ("open waits", len(folded.waits), run.open_waits),
        ("variables", folded.variables, {name: digest(value) for name, value in run.variables.items()}),
    ):
        if says != is_:
            yield f"run: its history says {what} {says}, its row {is_}"


def _steps(found: Evidence, folded: Folded) -> Iterator[str]:
    rows = {(row.name, row.item): row for row in found.steps}
    for place in sorted(folded.steps.keys() - rows.keys()):
        yield f"step {_named(*place)}: its history knows it, and it has no row"
    for place, row in rows.items():
        if place not in folded.steps:
            yield f"step {_named(*place)}: it has a row, and its history does not know it"
            continue
        # A claim and a step's own report write no history.
        status = StepStatus.READY if row.status in UNDER_WAY else row.status
        for what, says, is_ in (
            ("status", folded.steps[place], status),
            ("failures", folded.failures.get(place, 0), row.failures),
            ("lost workers", folded.lost.get(place, 0), row.lost),
            ("items left", folded.items_left(row.name) if row.name in folded.sizes and row.item == NO_ITEM else None, row.items_left),
        ):
            if says != is_:
                yield f"step {_named(*place)}: its history says {what} {says}, its row {is_}"
        if (
            row.status is StepStatus.SUCCEEDED
            and row.items_left is None
            and folded.values.get(place, digest(row.output)) != digest(row.output)
        ):
            yield f"step {_named(*place)}: its result is not the one of its history"


def _rows(found: Evidence) -> Iterator[str]:
    """What must hold between the rows themselves."""
    run, tasks = found.run, [row for row in found.steps if row.item == NO_ITEM]
    sleeping = sorted(row.id for row in tasks if row.status is StepStatus.WAITING and row.items_left is None)
    if sleeping != sorted(found.open_waits):
        yield f"{len(sleeping)} steps wait, and {len(found.open_waits)} waits are open"
    for row in tasks:
        if row.items_left is not None:
            yield from _items(row, [item for item in found.steps if item.fan_out == row.id])
    if any(row.status is StepStatus.REPORTED for row in found.steps) and "reported" not in found.inbox:
        yield "a step has reported, and nothing in the inbox says so"
    if run.status in RUN_ENDED:
        yield from (f"step {_named(row.name, row.item)} is {row.status}, and the run has ended" for row in found.steps if _is_open(row))
    elif not _has_a_cause(found):
        yield f"the run is {run.status}, and nothing will ever move it"
    closed = {row.id for row in found.steps if row.status in (StepStatus.FAILED, StepStatus.TIMED_OUT)}
    for letter in found.letters:
        if letter.status != "retried" and letter.step is not None and letter.step not in closed:
            yield f"dead letter {letter.id} is {letter.status}, and its step has not failed"
    yield from (f"{table} holds a row of this run for another organization" for table in found.strangers)


def _items(row: StepRow, items: Sequence[StepRow]) -> Iterator[str]:
    numbers = sorted(item.item for item in items)
    born = row.wants if row.expanded is None else row.expanded
    if numbers != list(range(born)):
        yield f"step {row.name} has born {born} items, and {len(numbers)} have rows"
    under_way = sum(item.status not in STEP_ENDED for item in items)
    if row.status in STEP_ENDED and under_way:
        yield f"step {row.name} has ended before {under_way} of its items"


def _is_open(row: StepRow) -> bool:
    return row.status in STEP_OPEN or row.status is StepStatus.BLOCKED


def _has_a_cause(found: Evidence) -> bool:
    if found.inbox or found.open_waits or (found.run.status is RunStatus.PENDING and found.has_due_time):
        return True
    moving = (StepStatus.READY, StepStatus.RUNNING, StepStatus.REPORTED)
    unborn = any(row.status is StepStatus.WAITING and row.items_left and (row.expanded or 0) < row.wants for row in found.steps)
    return unborn or any(row.status in moving for row in found.steps)


def _named(name: str, item: int) -> str:
    return name if item == NO_ITEM else f"{name}[{item}]"
