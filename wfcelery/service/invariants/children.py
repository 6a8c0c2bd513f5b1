"""Runs and the runs that their steps have begun."""

from __future__ import annotations

from collections.abc import Iterator

from wfcelery.core.children import child_of
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import RUN_ENDED, StepStatus
from wfcelery.service.invariants.case import Case, called
from wfcelery.service.invariants.registry import invariant


@invariant(
    24,
    "children",
    "A call that waits has a child that will tell it of its end, or has told it; each child was begun once.",
)
def calls_wait_for_a_child(case: Case) -> Iterator[str]:
    found = {child.id: child for child in case.found.children}
    told = {fact.data.get("child") for fact in case.found.inbox if fact.fact == "child_ended"}
    for row in case.found.steps:
        if not _calls(case, row):
            continue
        own = child_of(row)
        if row.status is StepStatus.WAITING:
            if own not in found:
                yield f"step {called(row)} waits for a child that is not there"
            elif found[own].status in RUN_ENDED and str(own) not in told:
                yield f"step {called(row)} waits for a child that is {found[own].status}, and nobody will tell it"
        told_of = (case.story.of if case.story else {}).get((row.name, row.item), ())
        begun = [each.fact["child"] for each in told_of if each.what == "child_begun"]
        if case.story is not None and len(begun) != len(set(begun)):
            yield f"step {called(row)} has begun a child twice"
        if case.story is not None and row.status is not StepStatus.BLOCKED and len(begun) != row.fired:
            yield f"step {called(row)} counts {row.fired} children, its history tells of {len(begun)}"


def _calls(case: Case, row: StepRow) -> bool:
    node = case.plan.nodes.get(row.name) if case.plan is not None else None
    return node is not None and node.kind == "call" and (row.item != NO_ITEM or row.items_left is None)
