"""Which queue the messages of a decision's steps go to, how long their attempts may take, and what gates the code gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from wfcelery.core.decision import Decision, RingStep
from wfcelery.core.rows import RunRow, StepRow
from wfcelery.core.states import StepStatus
from wfcelery.definition.plan import Node, Plan
from wfcelery.engine.gating import add_gates
from wfcelery.engine.runtime import Runtime


def route(runtime: Runtime, plan: Plan, decision: Decision) -> None:
    """Give ready steps their queue and time limit."""
    run, plan = decision.run, decision.moved or plan
    ways: dict[str, tuple[str, float | None, tuple[Mapping[str, Any], ...]]] = {}
    for row in decision.steps:
        if reached(row) and row.status in (StepStatus.READY, StepStatus.HELD, StepStatus.WAITING):
            node = plan.nodes[row.name]
            if node.kind == "action" or node.fans_out:
                if row.name not in ways:
                    ways[row.name] = _way(runtime, node, run)
                row.queue, row.timeout, gates = ways[row.name]
                if gates:
                    add_gates(decision, row, gates)
                row.priority = row.priority if row.priority is not None else run.priority
    if decision.rings:
        queues = {row.id: row.queue for row in decision.steps}
        decision.rings = [_routed(ring, queues) if isinstance(ring, RingStep) else ring for ring in decision.rings]


def _way(runtime: Runtime, node: Node, run: RunRow) -> tuple[str, float | None, tuple[Mapping[str, Any], ...]]:
    """The queue of a step's messages, its time limit and its gates. What items call a workflow is done by whoever dispatches."""
    if node.kind == "call":
        return run.queue or runtime.settings.dispatch_queue or runtime.router.queue_for("wfcelery.dispatch", None), None, ()
    return runtime.router.queue_for(node.action, node.queue or run.queue), runtime.timeout(node), runtime.policy(node).gates


def reached(row: StepRow) -> bool:
    """Whether a row is reached in this commit: born, or no longer blocked."""
    return row.seen is None or row.seen[0] is StepStatus.BLOCKED


def _routed(ring: RingStep, queues: dict[UUID, str | None]) -> RingStep:
    queue = queues.get(ring.step)
    if queue is None or queue == ring.queue:
        return ring
    return RingStep(ring.organization_id, ring.run, ring.step, queue, ring.priority, ring.name)
