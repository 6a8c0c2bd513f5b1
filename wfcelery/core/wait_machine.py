"""Waits hold no worker: a row with a time, judged by the database's clock. So far there is one kind, the sleep."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from wfcelery.core.draft import Draft, digest
from wfcelery.core.events import WaitCame
from wfcelery.core.rows import StepRow
from wfcelery.core.states import StepStatus
from wfcelery.core.step_machine import end
from wfcelery.definition.plan import Node
from wfcelery.definition.spans import seconds
from wfcelery.definition.values import decode
from wfcelery.errors import ExpressionError


def open_sleep(draft: Draft, node: Node, row: StepRow) -> None:
    """A span counts from this commit; a time without a zone is UTC, and one that has passed is due at once."""
    delay: float | None = None
    until: datetime | None = None
    if node.duration is not None:
        delay = _span(node.duration.render(draft.scope(node.duration.tasks)), node)
    elif node.until is not None:
        until = _moment(node.until.render(draft.scope(node.until.tasks)), node)
    draft.run.open_steps += 1
    draft.run.open_waits += 1
    draft.move(row, StepStatus.WAITING)
    draft.open_wait(row, "sleep", delay, until)
    draft.note("wait_opened", row, kind="sleep", delay=delay, until=until and until.isoformat())


def on_wait_came(draft: Draft, fact: WaitCame) -> None:
    """The time of a wait has come; the row says so by its id, never by its status alone."""
    row = draft.by_id(fact.step)
    if row is None or row.status is not StepStatus.WAITING:
        return
    draft.decision.waits_came.append(fact.wait)
    draft.run.open_waits -= 1
    row.output = None
    draft.move(row, StepStatus.SUCCEEDED)
    draft.note("wait_came", row, cause="timer", value=digest(row.output))
    end(draft, row, "succeeded")


def close_sleep(draft: Draft, row: StepRow) -> None:
    """The run goes on, or ends, without waiting any longer."""
    draft.run.open_waits -= 1
    if row.id in draft.decision.waits_reopened:  # by a retry that failed again in its own commit
        draft.decision.waits_reopened.remove(row.id)
    else:
        draft.decision.waits_closed.append(row.id)


def _span(value: Any, node: Node) -> float:
    try:
        return seconds(decode(value))
    except (TypeError, ValueError) as problem:  # whose text quotes a value of the run
        raise ExpressionError(node.name, "its duration is no span of time, such as 30s, 5m, 12h or 2d") from problem


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
