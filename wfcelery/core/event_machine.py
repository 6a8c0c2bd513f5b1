"""Events from outside, and the waits that they meet.

An event meets a wait of its name and key that was open by its deadline when the event came; of several the one that opened first. It is
applied in the order of the events' own times, and with the times of other waits, so that of two things which come to pass in
one commit the earlier counts. What no wait of this run takes is somebody else's.
"""

from __future__ import annotations

from wfcelery.core.draft import Draft
from wfcelery.core.events import EventCame
from wfcelery.core.rows import StepRow, WaitRow
from wfcelery.core.states import StepStatus
from wfcelery.core.wait_machine import meet, open_wait
from wfcelery.definition.inputs import schema_faults
from wfcelery.definition.plan import Node
from wfcelery.definition.values import as_text
from wfcelery.errors import ExpressionError

LONGEST_KEY = 1_024  # bytes
ANY_KEY = ""  # of a wait without a key, and of an event without one


def open_event_wait(draft: Draft, node: Node, row: StepRow) -> None:
    """Wait for an event, whatever has come before: what is kept of that is looked for in the commit that opens the wait."""
    key = ANY_KEY
    if node.key is not None:
        key = as_text(node.key.render(draft.scope(node.key.tasks)))
        if not key or "\x00" in key or len(key.encode(errors="replace")) > LONGEST_KEY:
            raise ExpressionError(f"{node.name}.key", f"a key is a text of 1 to {LONGEST_KEY} bytes without a NUL")
    open_wait(draft, row, "event", node.timeout, name=node.event, key=key, keep=node.keep)


def on_event_came(draft: Draft, fact: EventCame) -> None:
    """The wait that it meets is over, and worth the event's data; an event that does not fit it is refused, and the wait goes on."""
    for wait in draft.open_waits():
        if not is_for(wait, fact):
            continue
        row = draft.by_id(wait.step)
        if row is None or row.status is not StepStatus.WAITING:  # closed by what was decided before
            continue
        why = _refusal(draft.plan.nodes[row.name], fact)
        if why is None:
            meet(draft, row, "event", "event", fact.data, event=str(fact.event), by=fact.actor)
            draft.decision.events_taken.append((fact.event, row.id))
        else:
            draft.note("event_refused", row, event=str(fact.event), why=why, by=fact.actor)
            draft.decision.events_refused.append((fact.event, why))
        if not fact.to_all:
            return


def is_for(wait: WaitRow, fact: EventCame) -> bool:
    """Whether an event meets a wait. `store.events` asks the same of rows."""
    if wait.kind != "event" or wait.name != fact.name:
        return False
    if wait.key != fact.key and not (fact.key == ANY_KEY and (fact.to_run or fact.to_all)):
        return False
    if wait.due_at is not None and fact.at > wait.due_at:
        return False
    return (wait.keep and not fact.to_all) or wait.opened_at is None or fact.at >= wait.opened_at


def _refusal(node: Node, fact: EventCame) -> str | None:
    if node.roles and fact.role not in node.roles:
        return f"it takes the role of {' or '.join(node.roles)}, not {fact.role or 'nobody'}"
    faults = schema_faults("data", fact.data, node.data) if node.data else []
    return "; ".join(f"{where}: {what}" for where, what in faults[:5])[:500] or None
