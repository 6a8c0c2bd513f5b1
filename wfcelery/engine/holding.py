"""What people hold, as a process knows it: read when a claim says that something is held, and no older than a second.

A step that becomes ready is held in the same commit; one that was ready before is turned away when it is claimed, before
its code is called. A sweep tells the runs when a hold is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from wfcelery.clock import monotonic
from wfcelery.core.decision import Decision, Ring, RingRun
from wfcelery.core.gating import hold_back
from wfcelery.core.rows import NO_ITEM, RunRow
from wfcelery.core.states import StepStatus
from wfcelery.definition.plan import Node, Plan
from wfcelery.store import holds, inbox
from wfcelery.store.database import Database
from wfcelery.store.holds import Hold

FRESH = 1.0  # seconds for which what was read holds
MOST_RUNS = 500  # that one commit tells of a release


@dataclass(slots=True)
class Holds:
    """The holds that this process heeds."""

    database: Database
    found: Sequence[Hold] = ()
    _read: float = field(default=float("-inf"))

    def learn(self, standing: int) -> None:
        """So many holds stood at the latest claim."""
        if standing == 0:
            self.found = ()
        elif standing != len(self.found) or monotonic() - self._read > FRESH:
            with self.database.single() as tx:
                self.found = holds.standing(tx)
            self._read = monotonic()

    def why(self, run: RunRow, node: Node, queue: str | None) -> str | None:
        """What holds a step, if anything does, as its row says it."""
        for each in self.found:
            if each.organization_id in (holds.EVERY_ORGANIZATION, run.organization_id) and _meets(each.scope, run, node, queue):
                return f"hold:{each.scope}"
        return None

    def apply(self, plan: Plan, decision: Decision) -> None:
        """Hold what this decision makes ready."""
        for row in decision.steps:
            node = plan.nodes.get(row.name)
            if row.status is StepStatus.READY and row.item == NO_ITEM and node is not None:
                why = self.why(decision.run, node, row.queue)
                if why is not None:
                    hold_back(decision, row, why)


def _meets(scope: str, run: RunRow, node: Node, queue: str | None) -> bool:
    kind, _, name = scope.partition(":")
    match kind:
        case "step":
            return name in (node.action, node.name, node.action.rpartition(".")[2])
        case "workflow":
            return name == run.workflow
        case "queue":
            return name == queue
        case _:
            return name == run.organization_id


def end_holds(database: Database) -> list[Ring]:
    """Tell the runs whose steps are held by what is held no longer; as long as somebody may not have heard of it."""
    rings: list[Ring] = []
    with database.single() as tx:
        found = holds.due(tx, MOST_RUNS)
    for each in found:
        with database.transaction() as tx:
            releasing = holds.begin_release(tx, each)
            if releasing is None:
                continue
            every, old = releasing
            runs = holds.held_runs(tx, each, MOST_RUNS)
            turn = 0.0
            for run in runs:
                inbox.put(tx, run.organization_id, run.id, "hold_over", {"scope": each.scope, "delay": turn, "every": every or 0.0})
                rings.append(RingRun(run.organization_id, run.id, run.queue))
                turn += run.steps * (every or 0.0)
            holds.go_on(tx, each, runs, old=old)
    return rings
