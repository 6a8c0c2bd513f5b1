"""Steps that pass a gate before each attempt: a limit, a lock, a breaker, a rate. What they wait for is on their rows.

A decision says nothing of gates: it makes a step ready. Whoever keeps the gates (`engine.gating`) looks, under their locks,
at every row with gates that a decision has changed, and holds back in the same commit what has to wait. A step whose turn
has come is told by a fact, and passes its gates again.
"""

from __future__ import annotations

from typing import Any

from wfcelery.core.decision import Decision, RingStep
from wfcelery.core.draft import Draft
from wfcelery.core.events import GateOpened, note
from wfcelery.core.rows import StepRow
from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.core.step_machine import PAUSED
from wfcelery.definition.plan import Node
from wfcelery.definition.values import as_text
from wfcelery.errors import ExpressionError

LONGEST_KEY = 512
KINDS = ("limit", "lock", "breaker")


def gates_of(draft: Draft, node: Node) -> list[dict[str, Any]]:
    """The gates of a step that is reached, with their keys as they are now and stay for it."""
    found = []
    for gate in node.gates:
        key = as_text(gate.key.render(draft.scope(gate.key.tasks)))
        if not key or len(key.encode()) > LONGEST_KEY:
            said = "is empty" if not key else f"has more than {LONGEST_KEY} bytes"
            raise ExpressionError(f"{node.name}.{gate.kind}", f"its key {said}")
        found.append({"kind": gate.kind, "key": key, **gate.terms})
    return found


def why_of(kind: str, key: str) -> str:
    """What the row of a step says that waits for this gate."""
    return f"{kind}:{key}"


def waits_at_a_gate(row: StepRow) -> bool:
    """Whether a held row waits for its turn, and not for a pause to end."""
    return row.status is StepStatus.HELD and (row.why or "").partition(":")[0] in KINDS


def hold_back(decision: Decision, row: StepRow, why: str) -> None:
    """A step that this decision makes ready has to wait: it is held in the same commit, and nobody is told of it."""
    row.status, row.why, row.ring = StepStatus.HELD, why, False
    decision.rings = [ring for ring in decision.rings if not (isinstance(ring, RingStep) and ring.step == row.id)]
    decision.facts.append(note("step_held", row.name, row.item, why=why))


def put_off(decision: Decision, row: StepRow, seconds: float) -> None:
    """A step that this decision makes ready begins later: nobody is told of it before."""
    row.delay, row.ring = seconds, False
    decision.rings = [ring for ring in decision.rings if not (isinstance(ring, RingStep) and ring.step == row.id)]


def on_gate_opened(draft: Draft, fact: GateOpened) -> None:
    """Its turn has come: it is ready, unless it waits for something else by now, or its run is paused."""
    row = draft.by_id(fact.step)
    if row is None or row.status is not StepStatus.HELD or row.why != why_of(fact.kind, fact.key):
        return
    if draft.run.status is RunStatus.PAUSED:
        draft.move(row, StepStatus.HELD, PAUSED)
        draft.note("step_held", row, why=PAUSED)
        return
    row.delay, row.ring = None, True
    draft.move(row, StepStatus.READY)
    draft.note("step_released", row)
    draft.ring_step(row, draft.plan.nodes[row.name].action)
