"""How events are sent: one insert, and a row in the inbox of each run that waits for it, in the app's own transaction where one is open.

No run is locked, and nothing of a workflow runs here. The rings go out after the commit; one that is lost costs a sweep's interval.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from wfcelery.authoring.context import running_step
from wfcelery.authoring.shape import stored_by_itself
from wfcelery.clock import uuid7
from wfcelery.core.decision import Ring
from wfcelery.core.states import RUN_ENDED
from wfcelery.definition.values import dumps
from wfcelery.errors import CannotCarry, InvalidInput, NotAllowedNow, NotFound
from wfcelery.service.asked import LONGEST_NAME, text_fault
from wfcelery.service.context import Context
from wfcelery.service.joining import joined_transaction
from wfcelery.service.triggering import Triggered, start_runs
from wfcelery.store import audit, event_rows, events, reading
from wfcelery.store.database import Tx

NO_KEY = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to send, and to whom: to one run, to one wait of its key, or to all of them."""

    name: str
    data: Any = None
    key: str | None = None
    run: str | None = None  # an id, a unique tail of one, or a key
    everyone: bool = False
    dedup: str | None = None
    actor: str | None = None
    role: str | None = None
    organization_id: str | None = None


def send(context: Context, wish: Wish, options: dict[str, Any]) -> UUID:
    """Store the event and lead it to the runs that wait for it; the id of the first one, where it was sent before (`dedup`).

    Raises `InvalidInput` with every fault, `NotFound`, and `NotAllowedNow` where the run that it is for has ended.
    """
    new = _checked(context, wish)
    joined = joined_transaction(context, options)
    if joined is None:
        with context.transaction() as tx:
            id_, rings = _put(context, tx, new, wish.run)
        context.bell.ring(rings)
    elif joined.tx is None:
        if wish.run is not None:
            with context.transaction() as tx:
                _of_run(tx, new, wish.run)
        joined.after_commit(lambda: _send_later(context, wish, new.dedup))
        id_ = new.id
    else:
        id_, rings = _put(context, joined.tx, new, wish.run)
        if rings:
            joined.after_commit(lambda: context.bell.ring(rings))
    return id_


def _send_later(context: Context, wish: Wish, dedup: str | None) -> None:
    send(context, replace(wish, dedup=dedup), {"join": False})


def _checked(context: Context, wish: Wish) -> events.NewEvent:
    wrong = [("name", fault)] if (fault := text_fault(wish.name, LONGEST_NAME)) is not None else []
    for name in ("key", "run", "dedup", "actor", "role", "organization_id"):
        given = getattr(wish, name)
        if given is not None and (fault := text_fault(given)) is not None:
            wrong.append((name, fault))
    if wish.run is not None and wish.everyone:
        wrong.append(("everyone", "an event for one run is not for all: leave out one of them"))
    text = ""
    try:
        text = dumps(stored_by_itself(wish.data))
    except CannotCarry as problem:
        path = problem.path if problem.path.startswith("[") or not problem.path else f".{problem.path}"
        wrong.append((f"data{path}", problem.why))
    if len(text) > context.settings.input_limit:
        wrong.append(("data", f"it has {len(text)} bytes, more than {context.settings.input_limit}"))
    if wrong:
        raise InvalidInput("send_event", wrong)
    step = running_step()
    organization = wish.organization_id or (step.organization_id if step is not None else context.settings.organization_id)
    dedup = wish.dedup if wish.dedup is not None or step is None else step.next_start_key()  # another attempt sends nothing twice
    return events.NewEvent(
        uuid7(), organization, wish.name, wish.key or NO_KEY, text, None, wish.everyone, dedup, wish.actor, wish.role
    )  # fmt: skip


def _put(context: Context, tx: Tx, new: events.NewEvent, run: str | None) -> tuple[UUID, list[Ring]]:
    if run is not None:
        new = _of_run(tx, new, run)
    id_ = events.insert(tx, new)
    if id_ != new.id:
        return id_ or new.id, []
    if new.run is not None:
        audit.tell(tx, new.organization_id, new.run, "send_event", new.actor, new.name)
    started = start_runs(context, tx, new) if new.run is None else Triggered()
    rings = started.rings
    led = events.Led((), ())
    if new.to_all and context.settings.events:
        rings.extend(events.lead_to_all(tx, new))
    elif context.settings.events:
        led = events.lead(tx, [id_])
        rings.extend(led.rings)
    if started.faults:
        events.say_why(tx, id_, "; ".join(started.faults)[:1_000])
    if started.runs and not new.to_all and not (led.rings or led.busy):
        events.consume_by_start(tx, id_, started.runs[0])  # it has done its work, and is kept for nobody
    return id_, rings


def _of_run(tx: Tx, new: events.NewEvent, run: str) -> events.NewEvent:
    found = reading.find_runs(tx, run, None, limit=2)
    if len(found) != 1:
        raise NotFound("run", run, [str(each.id) for each in found])
    if found[0].status in RUN_ENDED:
        raise NotAllowedNow(f"run {found[0].id} is {found[0].status}: no event moves it any more", found[0].status)
    return replace(new, run=found[0].id, organization_id=found[0].organization_id)


def requeue(context: Context, event: UUID, by: str | None = None) -> None:
    """Let an event that was consumed or refused count once more, for whoever waits for it now. Raises `NotFound`, `NotAllowedNow`."""
    with context.transaction() as tx:
        found = event_rows.find(tx, event)
        if found is None:
            raise NotFound("event", str(event))
        if not event_rows.store_again(tx, event):
            raise NotAllowedNow(f"event {event} is {found.status}: it is kept as it is", found.status)
        audit.tell(tx, found.organization_id, found.run, "requeue_event", by, f"{found.name} {event}")
        rings = events.lead(tx, [event]).rings if context.settings.events else ()
    context.bell.ring(rings)
