"""What a run undoes: what it had done, the last that ended first, each once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from wfcelery.core.rows import NO_ITEM
from wfcelery.core.states import StepStatus
from wfcelery.definition.plan import Plan
from wfcelery.service.invariants.case import Case
from wfcelery.service.invariants.chronicle import Chronicle
from wfcelery.service.invariants.registry import invariant

_BEGINS = ("step_ready", "fan_out_opened")
_ENDS = ("step_succeeded", "step_failed", "step_timed_out", "step_cancelled")


@invariant(
    16,
    "compensation",
    "Undone is what had succeeded and can be undone, each task once, in the reverse order of their ends; a hook comes after all of them.",
)
def what_was_done_is_undone_backwards(case: Case) -> Iterator[str]:
    if case.story is None or case.plan is None or not case.plan.closes:
        return
    first = next((told for told in case.story.facts if told.what == "run_compensating"), None)
    laid_out = [] if first is None else list(first.fact["steps"])
    if first is not None:
        yield from _wrong_line(case.plan, case.story, first.version, laid_out)
    begun = [told for told in case.story.facts if told.what in _BEGINS and case.closes(told.fact["step"]) and "item" not in told.fact]
    turns = list(dict.fromkeys(told.fact["step"] for told in begun))
    yield from (f"step {name} began, and was not to be done" for name in turns if name not in laid_out and first is None)
    for before, after in pairwise(begun):
        ended = [told for told in case.story.of[before.fact["step"], NO_ITEM] if told.what in _ENDS and told.version >= before.version]
        if before.fact["step"] != after.fact["step"] and (not ended or ended[0].version > after.version):
            yield f"step {after.fact['step']} began in version {after.version}, before {before.fact['step']} had ended"
    placed = [laid_out.index(name) for name in turns if name in laid_out]
    if placed != sorted(placed):
        yield f"what was to be done before the end was begun as {', '.join(turns)}"
    yield from _wrong_statuses(case, case.plan)


def _wrong_line(plan: Plan, story: Chronicle, version: int, laid_out: list[str]) -> Iterator[str]:
    last: dict[str, tuple[int, int]] = {}
    good: set[str] = set()
    for number, told in enumerate(story.facts):
        place = told.place
        if place is None or told.version > version or place[0] not in plan.undoable:
            continue
        if told.what in (*_ENDS, "wait_met", "items_succeeded") or told.fact.get("then") == "cancelled":
            last[place[0]] = told.version, number
        of_item = told.what == "items_succeeded" or "item" in told.fact
        if told.what in ("step_succeeded", "wait_met", "items_succeeded") and of_item is plan.nodes[place[0]].fans_out:
            good.add(place[0])
    undone = [str(plan.nodes[name].undoes) for name in laid_out if plan.nodes[name].undoes is not None]
    if len(set(undone)) != len(undone):
        yield f"a task is to be undone twice: {', '.join(undone)}"
    order = [last.get(name, (0, 0)) for name in undone]
    if order != sorted(order, reverse=True):
        yield f"the order of what is undone is not the reverse of the order of ends: {', '.join(undone)}"
    unknown = {name for name in plan.undoable if plan.nodes[str(plan.nodes[name].undone_by)].even_if_unknown}
    if undone:
        yield from (f"step {name} has succeeded, and is not to be undone" for name in sorted(good & last.keys() - set(undone)))
    yield from (f"step {name} is to be undone, and has not succeeded" for name in undone if name not in good | unknown)


def _wrong_statuses(case: Case, plan: Plan) -> Iterator[str]:
    for name in plan.undoable:
        row, undoing = case.rows.get((name, NO_ITEM)), case.rows.get((str(plan.nodes[name].undone_by), NO_ITEM))
        undone = undoing is not None and undoing.status is StepStatus.SUCCEEDED
        if row is not None and row.status is StepStatus.COMPENSATED and not undone:
            yield f"step {name} is compensated, and what undoes it has not succeeded"
        if row is not None and row.status is StepStatus.SUCCEEDED and undone:
            yield f"step {name} was undone, and its row does not say so"
