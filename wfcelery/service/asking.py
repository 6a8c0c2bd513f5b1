"""What people ask a run to do: a row in its inbox, and one of the audit beside it; a dispatcher does it under the run's lock.

Nothing but inserts, so a slow request holds up nobody; in the app's own transaction where one is open, and where that is
another database's, after its commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from wfcelery.core.decision import RingRun
from wfcelery.definition.spans import seconds
from wfcelery.errors import Duration, InvalidInput, InvalidSpan, NotAllowedNow, NotFound
from wfcelery.service.asked import check_text
from wfcelery.service.context import Context
from wfcelery.service.joining import joined_transaction
from wfcelery.store import audit, inbox, reading
from wfcelery.store.children import has_told
from wfcelery.store.database import Tx

# What a run can be asked for where it stands. What is asked of one that has moved on meanwhile changes nothing but its history.
_ACTIONS: Mapping[str, Sequence[str]] = {
    "pending": ("cancel", "terminate", "send_event"),
    "running": ("pause", "cancel", "terminate", "move", "send_event"),
    "waiting": ("pause", "cancel", "terminate", "move", "send_event"),
    "paused": ("resume", "cancel", "terminate", "move", "send_event"),
    "cancelling": ("terminate",),
    "compensating": ("pause", "terminate"),
    "succeeded": ("rerun", "replay"),
    "failed": ("retry", "rerun", "replay"),
    "cancelled": ("rerun", "replay"),
    "timed_out": ("retry", "rerun", "replay"),
}
_BY_STATUS = (
    "pause",
    "resume",
    "retry",
    "move",
)  # the others are asked for the end, which one that has ended has already, or look for themselves

_REOPENING = ("retry", "skip", "complete", "rerun_failed")  # what takes a run up again that has ended


def allowed_actions(status: str) -> Sequence[str]:
    """The verbs that a run of this status can take now."""
    return _ACTIONS.get(status, ())


def able(verb: str) -> Sequence[str]:
    """The statuses of the runs that can take this verb."""
    return [status for status, verbs in _ACTIONS.items() if verb in verbs]


def ask(
    context: Context, run: UUID, verb: str, reason: str | None = None, by: str | None = None, more: Mapping[str, Any] | None = None
) -> None:
    """Ask a run for one of its actions, and ring. `reason` and `by` are kept in its history and in the audit.

    Raises NotFound; NotAllowedNow where a run that stands as this one does cannot be paused, resumed or retried; InvalidInput where
    reason or actor is no text.
    """
    for name, given in (("reason", reason), ("by", by)):
        if given is not None:
            check_text(verb, name, given)
    tell(
        context,
        run,
        verb,
        {"reason": reason or (None if verb in ("resume", "retry") else f"operator {verb}"), "by": by, **(more or {})},
        {},
    )


def pause(context: Context, run: UUID, reason: str | None, by: str | None, until: datetime | Duration | None) -> None:
    """Ask a run to pause, until somebody resumes it or until a time. Raises as `ask`, and InvalidInput where `until` is none."""
    ask(context, run, "pause", reason, by, end_of_pause(until))


def end_of_pause(until: datetime | Duration | None) -> dict[str, Any]:
    """What the fact says of it. Raises InvalidInput."""
    if until is None:
        return {}
    if isinstance(until, datetime):
        return {"until": (until if until.tzinfo is not None else until.replace(tzinfo=UTC)).astimezone(UTC).isoformat()}
    try:
        return {"for": seconds(until)}
    except InvalidSpan as problem:
        raise InvalidInput("pause", [("until", str(problem))]) from None


def tell(context: Context, run: UUID, verb: str, data: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Put what is asked into the run's inbox, with a row of the audit, and ring. Raises as `ask`."""
    joined = joined_transaction(context, dict(options))
    if joined is None:
        with context.transaction() as tx:
            ring = _put(tx, run, verb, data)
        context.bell.ring([ring])
    elif joined.tx is None:
        with context.transaction() as tx:
            _found(tx, run, verb)
        joined.after_commit(lambda: tell(context, run, verb, data, {"join": False}))
    else:
        ring = _put(joined.tx, run, verb, data)
        joined.after_commit(lambda: context.bell.ring([ring]))


def _put(tx: Tx, run: UUID, verb: str, data: Mapping[str, Any]) -> RingRun:
    found = _found(tx, run, verb)
    inbox.put(tx, found.organization_id, run, verb, dict(data))
    audit.tell(tx, found.organization_id, run, verb, data.get("by"), data.get("reason"))
    return RingRun(found.organization_id, run, found.queue)


def _found(tx: Tx, run: UUID, verb: str) -> reading.RunRecord:
    found = reading.find_runs(tx, str(run), None, limit=1)
    if not found:
        raise NotFound("run", str(run))
    if verb in _BY_STATUS and verb not in allowed_actions(found[0].status):
        raise refusal(found[0])
    if verb in _REOPENING and has_told(tx, run):
        raise told(run, found[0].status)
    return found[0]


def told(run: UUID, status: str) -> NotAllowedNow:
    """That a run cannot go on because another has taken its end."""
    return NotAllowedNow(f"run {run} is {status}, and its parent has been told: what can be tried again is the parent's call", status)


def refusal(run: reading.RunRecord) -> NotAllowedNow:
    """That a run cannot be asked for this now, and what it can be asked for."""
    can = ", ".join(allowed_actions(run.status))
    return NotAllowedNow(f"run {run.id} is {run.status}" + (f"; it can be asked to {can}" if can else ""), run.status)
