"""Critical sections: a parallel block, or a whole workflow, behind a lock that the run holds from its gate to its end.

The gate is held until the lock is given, and has succeeded then; the lock is given back where the block ends, however it does,
and where the run ends. A run that is reopened inside a section passes the gate once more: until then what was reopened inside
is held.
"""

from __future__ import annotations

from wfcelery.core import fan_out, gating
from wfcelery.core.draft import Draft, digest, ranges
from wfcelery.core.events import GateOpened
from wfcelery.core.gating import gates_of, waits_at_a_gate, why_of
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.core.step_machine import PAUSED, end, leave
from wfcelery.definition.plan import Node

ENTERED = 1  # of a gate's `fired`: the run has been inside


def enter(draft: Draft, node: Node, row: StepRow) -> None:
    """The run has come to the gate: it waits there until the lock is given to it."""
    row.gates = [gate | {"section": True} for gate in gates_of(draft, node)]
    draft.run.open_steps += 1
    _wait(draft, row)
    draft.note("step_held", row, why=row.why)


def _wait(draft: Draft, row: StepRow) -> None:
    gate = (row.gates or [{}])[0]
    draft.move(row, StepStatus.HELD, why_of(gate["kind"], gate["key"]))


def on_gate_opened(draft: Draft, fact: GateOpened) -> None:
    """A lock is given: to a step, or to a section."""
    row = draft.by_id(fact.step)
    if row is None or draft.plan.nodes[row.name].kind != "gate":
        gating.on_gate_opened(draft, fact)
        return
    if row.status is not StepStatus.HELD or row.why != why_of(fact.kind, fact.key):
        return
    again = row.fired == ENTERED
    row.fired = ENTERED
    draft.move(row, StepStatus.SUCCEEDED)
    if again:
        draft.note("section_entered", row)
        draft.run.open_steps -= 1
        _let_in(draft, row)
    else:
        draft.note("step_succeeded", row, value=digest(row.output))
        end(draft, row, "succeeded")


def leave_all(draft: Draft) -> None:
    """The run is over, and with it every section."""
    for name in draft.plan.sections:
        leave(draft, name)


def reenter(draft: Draft) -> None:
    """A run that had ended goes on: the sections in which it stands want their locks again."""
    for name in draft.plan.sections:
        row = draft.step(name)
        join = draft.step(name.removesuffix(":fork")) if name.endswith(":fork") else None
        passed = join is not None and join.status in (StepStatus.SUCCEEDED, StepStatus.SKIPPED)
        if row is not None and row.status is StepStatus.SUCCEEDED and not passed:
            draft.run.open_steps += 1
            _wait(draft, row)
            draft.note("step_reopened", row, to="held")


def hold_inside(draft: Draft) -> None:
    """What this decision makes ready inside a section whose gate is closed has to wait until it opens."""
    ready = [row for row in draft.rows.values() if row.status is StepStatus.READY]
    for name, inside in draft.plan.sections.items() if ready else ():
        inner = [row for row in ready if row.name in inside]
        gate = draft.step(name) if inner else None
        if gate is None or not waits_at_a_gate(gate):
            continue
        items: dict[str, list[int]] = {}
        for row in inner:
            row.ring = False
            draft.move(row, StepStatus.HELD, _inside(name))
            draft.unring(row.id if row.fan_out is None else row.fan_out)
            if row.item == NO_ITEM:
                draft.note("step_held", row, why=row.why)
            else:
                items.setdefault(row.name, []).append(row.item)
        for step, numbers in items.items():
            draft.note("items_held", step=step, items=ranges(numbers))


def _let_in(draft: Draft, gate: StepRow) -> None:
    why, paused = _inside(gate.name), draft.run.status is RunStatus.PAUSED
    items: dict[str, list[int]] = {}
    for row in draft.open_rows():
        if row.status is not StepStatus.HELD or row.why != why:
            continue
        row.ring = row.item == NO_ITEM and not paused
        draft.move(row, *((StepStatus.HELD, PAUSED) if paused else (StepStatus.READY, None)))
        if row.item != NO_ITEM:
            items.setdefault(row.name, []).append(row.item)
            continue
        draft.note("step_held" if paused else "step_released", row, why=PAUSED if paused else None)
        if not paused:
            draft.ring_step(row, draft.plan.nodes[row.name].action)
    for name, numbers in items.items():
        draft.note("items_held" if paused else "items_released", step=name, items=ranges(numbers))
        own = draft.step(name)
        if own is not None:
            draft.write(own)
            fan_out.ring_for_all(draft, draft.plan.nodes[name], own, len(numbers))


def _inside(gate: str) -> str:
    return f"section:{gate}"
