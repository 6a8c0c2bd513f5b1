"""Events around one decision: those that its run takes, those that it leaves to others, and those that it may have missed.

An event is locked behind the run that looks at it, and passed over where another has locked it: nobody waits for an event.
"""

from __future__ import annotations

from collections.abc import Sequence

from wfcelery.core.decision import Decision, Ring, RingRun
from wfcelery.core.events import EventCame
from wfcelery.core.states import RUN_ENDED
from wfcelery.store import events
from wfcelery.store.database import Tx
from wfcelery.store.waits import load_waits


def follow_up(tx: Tx, decision: Decision, taken: Sequence[EventCame], on: bool) -> Sequence[Ring]:
    """In the commit of a decision: write what it says of events, lead those that it leaves to others, and look for what was there before.

    `on`: whether events wake anybody; otherwise what is stored waits for a sweep that may.
    """
    left = events.settle(tx, decision, taken) if taken else []
    run, rings = decision.run, list[Ring]()
    if left:
        led = events.lead(tx, left) if on else events.Led((), left)
        rings.extend(led.rings)
        events.look_later(tx, led.busy)
    opened = [wait for wait in decision.waits if wait.kind == "event"]
    again = bool(left or decision.events_refused or decision.waits_reopened)
    if not on or run.status in RUN_ENDED or not (opened or again):
        return rings
    waiting = [wait for wait in load_waits(tx, run.id) if wait.kind == "event"] if again else opened
    if events.lead_to(tx, run.organization_id, run.id, waiting):
        rings.append(RingRun(run.organization_id, run.id, run.queue))
    return rings
