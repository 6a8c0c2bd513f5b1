"""What people decide about a step that its code did not: it is skipped, is worth what they say, or is cancelled."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any
from uuid import UUID

from wfcelery.authoring.registry import registry
from wfcelery.authoring.shape import stored_by_itself
from wfcelery.core import withdrawing
from wfcelery.core.by_hand import refusal
from wfcelery.definition.document import Task
from wfcelery.definition.model import Definition
from wfcelery.definition.values import dumps
from wfcelery.errors import CannotCarry, InvalidInput, NotAllowedNow, NotFound
from wfcelery.service import asking
from wfcelery.service.asked import check_text
from wfcelery.service.context import Context
from wfcelery.store import reading
from wfcelery.store.definitions import load_body


def skip(context: Context, run: UUID, step: str, reason: str | None = None, by: str | None = None) -> None:
    """Have a step skipped, and what comes after it go on as behind a `when` that was false; a run that failed by it goes on.

    Raises `NotFound` with what is near, `NotAllowedNow` where the step is being executed or over, `InvalidInput`.
    """
    _decidable(context, run, "skip", step)
    _ask(context, run, "skip", step, reason, by, {})


def complete(context: Context, run: UUID, step: str, result: Any, reason: str | None = None, by: str | None = None) -> None:
    """Have a step be worth this, as if its code had returned it; a run that failed by it goes on.

    Where this process knows the step, the result must be what its annotation promises. Raises as `skip`.
    """
    task = _decidable(context, run, "complete", step)
    _ask(context, run, "complete", step, reason, by, {"value": _stored(context, task, result)})


def cancel_step(context: Context, run: UUID, step: str, reason: str | None = None, by: str | None = None) -> None:
    """Have a step end, what executes it fenced, and the run go on by its `on_cancel`, or as its `on_error` says. Raises as `skip`."""
    _decidable(context, run, "cancel_step", step)
    _ask(context, run, "cancel_step", step, reason, by, {})


def _ask(context: Context, run: UUID, verb: str, step: str, reason: str | None, by: str | None, more: dict[str, Any]) -> None:
    for name, given in (("reason", reason), ("by", by)):
        if given is not None:
            check_text(verb, name, given)
    asking.tell(context, run, verb, {"task": step, "reason": reason or f"operator {verb.partition('_')[0]}", "by": by, **more}, {})


def _decidable(context: Context, run: UUID, verb: str, step: str) -> Task | None:
    """What the definition says of the step; None: it is a part that the definition does not name. The run looks again under its lock."""
    check_text(verb, "step", step)
    with context.transaction() as tx:
        found = reading.find_runs(tx, str(run), limit=1)
        if not found:
            raise NotFound("run", str(run))
        row = reading.task(tx, run, step)
        body = load_body(tx, found[0].definition)
    tasks = {} if body is None else {task.name: task for task, _ in Definition.model_validate_json(body).every_task()}
    if row is None and step not in tasks:
        raise NotFound("step", step, get_close_matches(step, tasks, 1))
    why = withdrawing.refusal(found[0], row) if verb == "cancel_step" else refusal(found[0], row)
    if why is not None:
        raise NotAllowedNow(f"{verb.partition('_')[0]}: step {step} of run {run}: {why}", found[0].status)
    return tasks.get(step)


def _stored(context: Context, task: Task | None, result: Any) -> Any:
    """The result in stored form, as the step's own code would have it stored. Raises `InvalidInput`."""
    known = None if task is None or task.action is None or task.with_items is not None else registry.find_step(task.action)
    try:
        stored = stored_by_itself(result) if known is None else known.carry(result)
    except CannotCarry as problem:
        raise InvalidInput("complete", [("result" if not problem.path else f"result.{problem.path}", problem.why)]) from None
    size = len(dumps(stored))
    if size > context.settings.input_limit:
        raise InvalidInput("complete", [("result", f"it has {size} bytes, more than {context.settings.input_limit}")])
    return stored
