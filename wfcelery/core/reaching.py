"""All that a node waited for has come: what it becomes."""

from __future__ import annotations

from typing import Any

from wfcelery.core import approval_machine, births, calls, event_machine, regions, sections, wait_machine
from wfcelery.core.draft import Draft, digest
from wfcelery.core.gating import gates_of
from wfcelery.core.rows import StepRow
from wfcelery.core.states import StepStatus
from wfcelery.core.step_machine import bury, end, offer, skip
from wfcelery.core.taking_over import take_over
from wfcelery.definition.plan import Node
from wfcelery.errors import ValueProblem


def reach(draft: Draft, node: Node, row: StepRow | None) -> None:
    """All that the node waited for has come: start it, or skip it by its own `when`, or because it comes too late."""
    if draft.taken is not None and node.name in draft.taken.found:
        take_over(draft, node, row, draft.taken.run, draft.taken.found)
        return
    late = regions.passed(draft, node) if node.unless_reached else None
    if late is not None:
        skip(draft, node, row, "when", by=late)
        return
    try:
        if node.when is not None and not node.when.holds(draft.scope(node.when.tasks)):
            skip(draft, node, row, "when")
            return
        _begin(draft, node, row or draft.new_row(node))
    except ValueProblem as problem:
        _stillborn(draft, node, draft.step(node.name) or draft.new_row(node), problem)


def _begin(draft: Draft, node: Node, row: StepRow) -> None:
    if node.fans_out:
        births.open_fan_out(draft, node, row)
    elif node.kind == "approval":
        approval_machine.open_approval(draft, node, row)
    elif node.kind == "call":
        calls.open_call(draft, node, row)
    elif node.kind == "sleep":
        wait_machine.open_sleep(draft, node, row)
    elif node.kind == "wait":
        event_machine.open_event_wait(draft, node, row)
    elif node.kind == "gate" and node.gates:
        sections.enter(draft, node, row)
    elif node.kind == "gate" or node.ends_run:
        row.output = None if node.result is None else node.result.render(draft.scope(node.result.tasks))
        draft.run.open_steps += 1
        draft.move(row, StepStatus.SUCCEEDED)
        draft.note("step_succeeded", row, value=digest(row.output))
        end(draft, row, "succeeded")
    else:
        if node.input is not None:
            scope = {} if node.input.only_refers else draft.scope(node.input.copies, **_of_end(draft, node))
            row.input = node.input.render(scope, references=True)
        row.queue, row.priority = node.queue, node.priority
        row.delay = None
        row.gates = gates_of(draft, node) if node.gates else None
        draft.run.open_steps += 1
        offer(draft, row)


def _of_end(draft: Draft, node: Node) -> dict[str, Any]:
    """What a hook sees beside what every step sees: how the run will end, and its error."""
    if node.hook is None:
        return {}
    system = {**draft.scope(())["system"], "ending": str(draft.run.ending)}
    error = {name: (draft.run.error or {}).get(name) for name in ("type", "code", "message", "step")}
    return {"system": system, "error": error}


def _stillborn(draft: Draft, node: Node, row: StepRow, problem: ValueProblem) -> None:
    """A template of the definition failed on this run's data: no attempt can mend that."""
    draft.run.open_steps += 1
    row.input = None
    row.error = {"type": "ExpressionError", "code": None, "message": str(problem)[:500]}
    if isinstance(problem, calls.CannotCall):
        row.error = dict(problem.error)
    draft.move(row, StepStatus.FAILED)
    draft.note("step_failed", row, error=row.error)
    bury(draft, row, "non_retryable", handled=node.takes_care_of("failed"))
    end(draft, row, "failed")
