"""What a task calls off: nothing of it is open after the commit that does."""

from __future__ import annotations

from collections.abc import Iterator

from wfcelery.core.folding import fold
from wfcelery.core.rows import NO_ITEM
from wfcelery.core.states import STEP_ENDED
from wfcelery.service.invariants.case import Case
from wfcelery.service.invariants.chronicle import Chronicle, Told
from wfcelery.service.invariants.registry import invariant

_SUCCEEDS = ("step_succeeded", "wait_met", "wait_came")


@invariant(60, "regions", "When the task that calls a region off has succeeded, nothing of the region is open after that commit.")
def what_is_called_off_is_over(case: Case) -> Iterator[str]:
    if case.story is None or case.plan is None:
        return
    plans = [case.plan, *(plan for _, plan in case.moves if plan is not None)]
    calling = {name for plan in plans for name, node in plan.nodes.items() if node.cancels}
    for told in case.story.facts if calling else ():
        if told.place in {(name, NO_ITEM) for name in calling} and told.what in _SUCCEEDS and "then" not in told.fact:
            yield from _left_open(case, case.story, told)


def _left_open(case: Case, story: Chronicle, told: Told) -> Iterator[str]:
    """What a fan-out executes in transactions of its own may report later, and a step that has reported is only waited for."""
    name = told.fact["step"]
    together = {
        each.what for each in story.facts if each.version == told.version and (each.what == "run_moved" or each.place == told.place)
    }
    state = fold((row.version, row.facts) for row in case.found.history if row.version <= told.version)
    node = case.node(name, told.version)
    if node is None or state.ending is not None or together & {"run_moved", "step_unadvanced"}:
        return
    for other in node.cancels:
        status = state.steps.get((other, NO_ITEM))
        if status is not None and status in STEP_ENDED:
            continue
        target = case.node(other, told.version)
        if status is None:
            yield f"step {name} called {other} off in version {told.version}, and nobody closed it"
        elif target is not None and not target.fans_out and not _had_reported(story, other, told.version):
            yield f"step {name} called {other} off in version {told.version}, and it is {status} after that"


def _had_reported(story: Chronicle, name: str, version: int) -> bool:
    later = next((each for each in story.of[name, NO_ITEM] if each.version > version), None)
    return later is None or bool(later.fact.get("reported"))
