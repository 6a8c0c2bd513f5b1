"""Events from outside, as callers send them from any process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypedDict
from uuid import UUID

from typing_extensions import Unpack

from wfcelery.service import sending
from wfcelery.service.context import Context, current
from wfcelery.service.handles import Run
from wfcelery.service.views import EventView
from wfcelery.store import event_rows


class EventOptions(TypedDict, total=False):
    """What `send_event` takes beside the event itself: whose it is, and whose transaction it joins."""

    organization_id: str
    connection: object
    session: object
    using: str
    join: bool


def send_event(
    name: str,
    data: object = None,
    *,
    key: str | None = None,
    run: Run[Any] | str | None = None,
    everyone: bool = False,
    dedup: str | None = None,
    actor: str | None = None,
    role: str | None = None,
    **options: Unpack[EventOptions],
) -> str:
    """Send an event; its id.

    It meets one wait of its name: of the same `key` (of none, where it has none), the one that opened first; with `run` only a
    wait of that run; with `everyone` each wait that is open now. What no wait takes is kept for one that opens later, but for
    `everyone`. Under one `dedup` key an event of a name counts once. `actor` and `role` say who sends it.

    Inside an open transaction of the app it is sent if and only if that commits, as a run is started. In a step without
    `dedup` each call sends once, however many attempts the step takes. Raises `InvalidInput` with every fault, `NotFound`, and
    `NotAllowedNow` where the run has ended.
    """
    to = run.id if isinstance(run, Run) else run
    wish = sending.Wish(name, data, key, to, everyone, dedup, actor, role, options.get("organization_id"))
    return str(sending.send(current(), wish, dict(options)))


async def asend_event(
    name: str,
    data: object = None,
    *,
    key: str | None = None,
    run: Run[Any] | str | None = None,
    everyone: bool = False,
    dedup: str | None = None,
    actor: str | None = None,
    role: str | None = None,
    **options: Unpack[EventOptions],
) -> str:
    """`send_event` from a coroutine: the same promise, in a thread; it joins only what it is given."""

    def send(**given: Any) -> str:
        more = {**options, **given}
        return send_event(name, data, key=key, run=run, everyone=everyone, dedup=dedup, actor=actor, role=role, **more)

    for each in ("session", "connection"):
        run_sync = getattr(options.get(each), "run_sync", None)
        if run_sync is not None:
            sent: str = await run_sync(lambda given, each=each: send(**{each: given}))
            return sent
    return await asyncio.to_thread(send)


def listed(
    context: Context, *, statuses: Sequence[str] = (), name: str | None = None, run: UUID | None = None, limit: int = 50
) -> Sequence[EventView]:
    """The newest events, of these statuses, this name and this run where they are given."""
    with context.transaction() as tx:
        found = event_rows.listed(tx, statuses, name, run, limit)
    return [
        EventView(
            id=str(each.id), name=each.name, key=each.key or None, run=None if each.run is None else str(each.run), status=each.status,
            actor=each.actor, role=each.role, at=each.at, consumed_by=None if each.consumed_by is None else str(each.consumed_by),
            why=each.why,
        )
        for each in found
    ]  # fmt: skip
