"""What people answer, from any process: they approve or reject what a run asks, or have others asked.

Each is a row in the run's inbox and one of the audit; the run judges it under its own lock, by the time at which it was put.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from wfcelery.authoring.registry import registry
from wfcelery.authoring.shape import stored_by_itself
from wfcelery.core.approval_machine import refusal_of
from wfcelery.definition.approving import faults_of
from wfcelery.definition.forms import NAME, SCHEMA
from wfcelery.definition.model import Definition
from wfcelery.definition.values import dumps
from wfcelery.errors import CannotCarry, InvalidInput, NotAllowedNow, NotFound
from wfcelery.service import asking, runs
from wfcelery.service.asked import LONGEST_NAME, text_fault
from wfcelery.service.context import Context, current
from wfcelery.service.handles import Run
from wfcelery.service.views import View
from wfcelery.store import reading
from wfcelery.store.approvals import OpenApproval, open_approvals
from wfcelery.store.definitions import load_body
from wfcelery.store.reading import RunRecord

MOST = 1_000  # open approvals of one run that are looked at
LONGEST_COMMENT = 10_000


class ApprovalView(View):
    """What somebody is asked, and has not answered."""

    run: str
    workflow: str
    key: str | None = None
    organization_id: str
    step: str
    title: str
    assignees: Sequence[str]
    form: dict[str, Any] | None = None  # a name, a JSON schema, or both
    since: datetime | None = None
    due: datetime | None = None  # when somebody is reminded, others are asked, or it is too late
    reminded: int = 0
    escalated: int = 0


def approve(
    run: Run[Any] | str, step: str, *, actor: str, roles: Iterable[str] = (), form: object = None, comment: str | None = None
) -> None:
    """Approve what the step of a run asks, as `actor` in these roles. The first answer that may be given counts.

    Raises `NotFound`; `NotAllowedNow` where nothing is asked any more, or the actor is none of those who are asked, which is
    recorded; and `InvalidInput` with everything that is wrong with the form.
    """
    _answer("approve", run, step, actor, roles, form, comment)


def reject(run: Run[Any] | str, step: str, *, actor: str, roles: Iterable[str] = (), comment: str | None = None) -> None:
    """Reject what the step of a run asks: the step fails with an error of the type `Rejected`. Raises as `approve`."""
    _answer("reject", run, step, actor, roles, None, comment)


def assign(run: Run[Any] | str, step: str, to: str | Iterable[str], *, actor: str | None = None) -> None:
    """Have others asked, in place of those who are: `role:finance`, or names of actors. Raises as `approve`."""
    context, names = current(), [to] if isinstance(to, str) else list(to)
    wrong = [("to", fault) for name in names if (fault := text_fault(name, LONGEST_NAME)) is not None]
    if not names:
        wrong.append(("to", "somebody has to be asked"))
    if actor is not None and (fault := text_fault(actor, LONGEST_NAME)) is not None:
        wrong.append(("actor", fault))
    if wrong:
        raise InvalidInput("assign", wrong)
    found, _ = _open(context, "assign", run, step)
    asking.tell(context, found.id, "assign", {"task": step, "to": names, "by": actor, "reason": f"{step}: {', '.join(names)}"[:1000]}, {})


async def aapprove(
    run: Run[Any] | str, step: str, *, actor: str, roles: Iterable[str] = (), form: object = None, comment: str | None = None
) -> None:
    """`approve` from a coroutine."""
    await asyncio.to_thread(approve, run, step, actor=actor, roles=roles, form=form, comment=comment)


async def areject(run: Run[Any] | str, step: str, *, actor: str, roles: Iterable[str] = (), comment: str | None = None) -> None:
    """`reject` from a coroutine."""
    await asyncio.to_thread(reject, run, step, actor=actor, roles=roles, comment=comment)


async def aassign(run: Run[Any] | str, step: str, to: str | Iterable[str], *, actor: str | None = None) -> None:
    """`assign` from a coroutine."""
    await asyncio.to_thread(assign, run, step, to, actor=actor)


def listed(
    context: Context, *, run: str | None = None, assignees: Sequence[str] = (), organization_id: str | None = None, limit: int = 50
) -> Sequence[ApprovalView]:
    """What is asked and not answered, the oldest first; of these assignees alone, if any are given. Raises NotFound."""
    found = None if run is None else _run(context, run)
    with context.transaction() as tx:
        rows = open_approvals(tx, organization_id, None if found is None else found.id, limit if not assignees else 10_000)
    asked = set(assignees)
    return [_view(row) for row in rows if not asked or not row.asked.assignees or asked.intersection(row.asked.assignees)][:limit]


def shown(context: Context, run: str, step: str) -> ApprovalView:
    """One of them. Raises NotFound, NotAllowedNow."""
    return _view(_open(context, "show", run, step)[1])


def _answer(verb: str, run: Run[Any] | str, step: str, actor: str, roles: Iterable[str], form: object, comment: str | None) -> None:
    context = current()
    mine = [roles] if isinstance(roles, str) else list(roles)
    _check(verb, step, actor, mine, comment)
    found, approval = _open(context, verb, run, step)
    stored = _stored(context, approval, form) if verb == "approve" else None
    data = {"task": step, "by": actor, "roles": mine, "form": stored, "comment": comment, "reason": comment}
    why = refusal_of(approval.asked.assignees, actor, mine)
    asking.tell(context, found.id, verb, data, {} if why is None else {"join": False})
    if why is not None:
        raise NotAllowedNow(f"{verb}: step {step} of run {found.id}: {why}; that they tried is recorded", found.status)


def _check(verb: str, step: str, actor: str, roles: list[str], comment: str | None) -> None:
    given = [("step", step, LONGEST_NAME), ("actor", actor, LONGEST_NAME), *(("roles", role, LONGEST_NAME) for role in roles)]
    if comment is not None:
        given.append(("comment", comment, LONGEST_COMMENT))
    wrong = [(name, fault) for name, value, longest in given if (fault := text_fault(value, longest)) is not None]
    if wrong:
        raise InvalidInput(verb, wrong)


def _run(context: Context, run: Run[Any] | str) -> RunRecord:
    named = run.id if isinstance(run, Run) else run
    found = runs.find(context, named)
    if found is None:
        raise NotFound("run", named)
    return found


def _open(context: Context, verb: str, run: Run[Any] | str, step: str) -> tuple[RunRecord, OpenApproval]:
    """The run, and what it asks by this step."""
    found = _run(context, run)
    with context.transaction() as tx:
        asked = {row.asked.name: row for row in open_approvals(tx, None, found.id, MOST)}
        if step in asked:
            return found, asked[step]
        row, body = reading.task(tx, found.id, step), load_body(tx, found.definition)
    tasks = [] if body is None else [task.name for task, _ in Definition.model_validate_json(body).every_task() if task.type == "approval"]
    if step not in tasks:
        raise NotFound("approval", step, get_close_matches(step, tasks, 1))
    why = "the run has not come to it" if row is None else f"it is {row.status}"
    raise NotAllowedNow(f"{verb}: step {step} of run {found.id}: {why}", found.status)


def _stored(context: Context, approval: OpenApproval, form: object) -> Any:
    """What the form says, in stored form. Raises `InvalidInput` with everything that is wrong with it."""
    try:
        stored = None if form is None else stored_by_itself(form)
    except CannotCarry as problem:
        raise InvalidInput("approve", [(f"form.{problem.path}" if problem.path else "form", problem.why)]) from None
    asked = approval.asked.form
    if asked is not None and SCHEMA not in asked and (schema := registry.find_form(asked[NAME])) is not None:
        asked = {**asked, SCHEMA: schema}
    wrong = faults_of(asked, stored)
    size = len(dumps(stored))
    if size > context.settings.input_limit:
        wrong = [*wrong, ("form", f"it has {size} bytes, more than {context.settings.input_limit}")]
    if wrong:
        raise InvalidInput("approve", wrong)
    return {} if stored is None and asked is not None else stored


def _view(row: OpenApproval) -> ApprovalView:
    asked = row.asked
    return ApprovalView(
        run=str(row.run),
        workflow=row.workflow,
        key=row.key,
        organization_id=row.organization_id,
        step=asked.name,
        title=asked.title,
        assignees=asked.assignees,
        form=None if asked.form is None else dict(asked.form),
        since=asked.opened_at,
        due=row.due_at,
        reminded=asked.reminded,
        escalated=asked.escalated,
    )
