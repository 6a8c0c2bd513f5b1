"""Events: each was consumed once at most, by the wait that the history says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from wfcelery.service.invariants.case import Case
from wfcelery.service.invariants.registry import invariant


@invariant(
    20,
    "events",
    "An event is consumed once at most, by a wait of its run, name and key, in the commit that its history names the event in.",
)
def events_are_consumed_by_their_waits(case: Case) -> Iterator[str]:
    if case.story is None:
        return
    names = {row.id: row.name for row in case.found.steps}
    told = Counter(
        (each.fact.get("event"), each.fact["step"]) for each in case.story.facts if each.what == "wait_met" and "event" in each.fact
    )
    waits = {wait.step: wait for wait in case.found.waits}
    for event in case.found.events:
        name = names.get(event.consumed_by)
        if told[str(event.id), name or ""] != 1:
            yield f"event {event.id} says that step {name} has consumed it, and the history says so {told[str(event.id), name or '']} times"
        wait = waits.get(event.consumed_by)
        if wait is not None and wait.status != "met":
            yield f"event {event.id} was consumed by step {name}, whose wait is {wait.status}"
        elif wait is not None and (wait.name, wait.key) != (event.name, event.key or wait.key):
            yield f"event {event.id} is no {wait.name} of the key that step {name} waited for"
        if event.run is not None and event.run != case.run.id:
            yield f"event {event.id} was sent to run {event.run}, and consumed by another"
