"""Limits and locks: nobody has a slot too many, nobody keeps one that he does not use, and who waits is in the queue."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from wfcelery.core.gating import waits_at_a_gate, why_of
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import StepStatus
from wfcelery.service.invariants.case import Case, called
from wfcelery.service.invariants.registry import across_runs, invariant
from wfcelery.service.invariants.whole import Whole

_UNDER_WAY = (StepStatus.READY, StepStatus.RUNNING, StepStatus.REPORTED)


def waits_its_turn(case: Case, row: StepRow) -> bool:
    """Whether a step is held at a gate, and somebody will open it: it is in the queue there, or has been told."""
    if (row.why or "").startswith("hold:") and row.status is StepStatus.HELD:
        return row.why in case.found.holds
    if row.status is StepStatus.HELD and (row.why or "").startswith("section:"):
        gate = case.rows.get(((row.why or "").removeprefix("section:"), NO_ITEM))
        return gate is not None and waits_at_a_gate(gate)
    if not waits_at_a_gate(row):
        return False
    queued = any(use.step == row.id and use.wanted and why_of(use.kind, use.key) == row.why for use in case.found.uses)
    return queued or str(row.id) in _told(case)


def _is_gate(row: StepRow) -> bool:
    return any(gate.get("section") for gate in row.gates or ())


def _told(case: Case) -> set[str]:
    return {fact.data["step"] for fact in case.found.inbox if fact.fact == "gate_opened"}


@invariant(25, "limits", "A step that may be claimed has a slot of each of its limits and locks, and no other step has one.")
def slots_belong_to_steps_that_use_them(case: Case) -> Iterator[str]:
    rows, told = {row.id: row for row in case.found.steps}, _told(case)
    given = {(use.step, use.kind, use.key) for use in case.found.uses if use.granted}
    for use in case.found.uses:
        row = rows.get(use.step)
        inside = row is not None and row.status is StepStatus.SUCCEEDED and _is_gate(row) and not case.ended
        if row is None or (use.granted and row.status not in _UNDER_WAY and not inside and str(row.id) not in told):
            whose = "a step that is not there" if row is None else f"{called(row)}, which has no use for it"
            yield f"{use.kind} {use.key}: a slot belongs to {whose}"
    for row in case.found.steps:
        for gate in row.gates or () if row.status in _UNDER_WAY else ():
            if gate["kind"] in ("limit", "lock") and (row.id, gate["kind"], gate["key"]) not in given:
                yield f"step {called(row)} is {row.status} without a slot of {gate['kind']} {gate['key']}"


@across_runs(25, "limits", "No limit or lock has more slots given than there are.")
def no_limit_is_crowded(whole: Whole) -> Iterator[tuple[UUID | None, str]]:
    for name in whole.remains.crowded:
        yield None, f"{name} has more slots given than there are"
