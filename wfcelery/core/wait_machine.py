"""Waits hold no worker: a row that is open until what it waits for comes (`met`), its time does (`due`), or its run goes on without it.

Whatever its kind, it is opened, met and closed here. To a sleep its time is what it waits for; to any other wait it is a
deadline, and the step has `timed_out`. Such an end leaves no dead letter: nobody executed anything that could be tried again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from wfcelery.core.draft import Draft, digest
from wfcelery.core.events import WaitCame
from wfcelery.core.rows import StepRow, WaitKind
from wfcelery.core.states import StepStatus
from wfcelery.core.step_machine import end
from wfcelery.definition.plan import Node
from wfcelery.definition.spans import seconds
from wfcelery.definition.values import decode
from wfcelery.errors import ExpressionError


def open_wait(draft: Draft, row: StepRow, kind: WaitKind, delay: float | None = None, until: datetime | None = None, **said: Any) -> None:
    """A step begins to wait. `said` is what else its wait's row says (`WaitRow`): what it waits for, by name and key."""
    draft.run.open_steps += 1
    draft.run.open_waits += 1
    draft.move(row, StepStatus.WAITING)
    draft.open_wait(row, kind, delay, until, **said)
    draft.note("wait_opened", row, kind=kind, delay=delay, until=until and until.isoformat(), name=said.get("name"))


def open_sleep(draft: Draft, node: Node, row: StepRow) -> None:
    """A span counts from this commit; a time without a zone is UTC, and one that has passed is due at once."""
    delay: float | None = None
    until: datetime | None = None
    if node.duration is not None:
        delay = span(node.duration.render(draft.scope(node.duration.tasks)), f"{node.name}.duration")
    elif node.until is not None:
        until = _moment(node.until.render(draft.scope(node.until.tasks)), node)
    open_wait(draft, row, "sleep", delay, until, name=node.race)


def on_wait_came(draft: Draft, fact: WaitCame) -> None:
    """The time of a wait has come; the row says so by its id, never by its status alone."""
    row = draft.by_id(fact.step)
    if row is None or row.status is not StepStatus.WAITING:
        return
    draft.decision.waits_came.append(fact.wait)
    if draft.plan.nodes[row.name].kind != "sleep":
        _too_late(draft, row)
        return
    draft.run.open_waits -= 1
    row.output = None
    draft.move(row, StepStatus.SUCCEEDED)
    draft.note("wait_came", row, cause="timer", value=digest(row.output))
    end(draft, row, "succeeded")


def _too_late(draft: Draft, row: StepRow) -> None:
    draft.run.open_waits -= 1
    row.error = {"type": "TimedOut", "code": "timeout", "message": "what it waits for did not come in time"}
    draft.move(row, StepStatus.TIMED_OUT)
    _mark(draft, row, "timed_out")
    draft.note("wait_timed_out", row, error=row.error)
    end(draft, row, "timed_out")


def meet(
    draft: Draft, row: StepRow, cause: WaitKind, outcome: str, value: Any = None, error: dict[str, Any] | None = None, **more: Any
) -> None:
    """What a step waited for has come, and is worth this; with an `error` it is a failure. `outcome` is the word on the wait's row."""
    draft.run.open_waits -= 1
    draft.decision.waits_met.append((row.id, outcome))
    if error is None:
        row.output, row.error = value, None
        draft.move(row, StepStatus.SUCCEEDED)
        draft.note("wait_met", row, cause=cause, outcome=outcome, value=digest(value), **more)
        end(draft, row, "succeeded")
    else:
        row.error = error
        draft.move(row, StepStatus.FAILED)
        _mark(draft, row, "failed")
        draft.note("wait_met", row, cause=cause, outcome=outcome, then="failed", error=error, **more)
        end(draft, row, "failed")


def _mark(draft: Draft, row: StepRow, how: str) -> None:
    """What a retry of the run must know of a failure that nothing handles."""
    node = draft.plan.nodes[row.name]
    if how not in node.handles and node.on_error != "continue":
        row.why = "unhandled"


def close_wait(draft: Draft, row: StepRow) -> None:
    """The run goes on, or ends, without waiting any longer."""
    draft.run.open_waits -= 1
    if row.id in draft.decision.waits_reopened:  # by a retry that failed again in its own commit
        draft.decision.waits_reopened.remove(row.id)
    else:
        draft.decision.waits_closed.append(row.id)


def span(value: Any, where: str) -> float:
    """A span of time that an expression gave. Raises ExpressionError."""
    try:
        return seconds(decode(value))
    except (TypeError, ValueError) as problem:  # whose text quotes a value of the run
        raise ExpressionError(where, "it is no span of time, such as 30s, 5m, 12h or 2d") from problem


def _moment(value: Any, node: Node) -> datetime:
    found = decode(value)
    if isinstance(found, str):
        try:
            found = datetime.fromisoformat(found)
        except ValueError as problem:
            raise ExpressionError(node.name, "its until is no time, such as 2030-01-31T12:00:00Z") from problem
    if not isinstance(found, datetime):
        raise ExpressionError(node.name, f"{type(found).__name__} is not a time")
    try:
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except OverflowError as problem:
        raise ExpressionError(node.name, "its until is beyond the first or the last day that there is") from problem
