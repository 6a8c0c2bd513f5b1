"""What is asked of people: an approval is opened, reminded of, put before others, and answered once.

All its times count from the moment it was opened. An answer is judged when it is applied: by whom it may be given, by what it
has to say, and by its own time against the deadline. One that does not pass is recorded, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Literal

from wfcelery.core.decision import ApprovalNotice
from wfcelery.core.draft import Draft
from wfcelery.core.events import Answered, AssignAsked, WaitCame
from wfcelery.core.rows import ApprovalRow, StepRow
from wfcelery.core.states import RUN_ENDED, StepStatus
from wfcelery.core.wait_machine import meet, on_wait_came, open_wait
from wfcelery.definition.approving import faults_of
from wfcelery.definition.plan import Node
from wfcelery.definition.values import as_text, decode, encode
from wfcelery.errors import ExpressionError

LONGEST_TITLE = 500
MOST_ASSIGNEES = 100
LONGEST_ASSIGNEE = 255


def open_approval(draft: Draft, node: Node, row: StepRow) -> None:
    """Ask: with the title and the assignees as they are now."""
    assert node.approval is not None
    asked = node.approval
    title = as_text(asked.title.render(draft.scope(asked.title.tasks)))[:LONGEST_TITLE]
    names = () if asked.assignees is None else _names(decode(asked.assignees.render(draft.scope(asked.assignees.tasks))), node)
    first = [span for span in (asked.remind, *(after for after, _ in asked.escalate[:1]), node.timeout) if span is not None]
    open_wait(draft, row, "approval", min(first, default=None))
    approval = ApprovalRow(
        id=draft.decision.waits[-1].id,
        step=row.id,
        name=node.name,
        title=title,
        assignees=names,
        form=asked.form,
        remind=asked.remind,
        escalate=asked.escalate,
        timeout=node.timeout,
    )
    draft.decision.approvals.append(approval)
    _tell(draft, "opened", approval)


def _names(given: Any, node: Node) -> tuple[str, ...]:
    names = [given] if isinstance(given, str) else given
    where = f"{node.name}.assignees"
    if not isinstance(names, list) or len(names) > MOST_ASSIGNEES:
        raise ExpressionError(where, f"they are a list of at most {MOST_ASSIGNEES} names, such as role:finance or ada")
    if not all(isinstance(name, str) and 0 < len(name.encode(errors="replace")) <= LONGEST_ASSIGNEE for name in names):
        raise ExpressionError(where, f"each is a text of at most {LONGEST_ASSIGNEE} bytes, such as role:finance or ada")
    return tuple(dict.fromkeys(names))


# ---- time ------------------------------------------------------------------------------------------------------------


def on_time(draft: Draft, fact: WaitCame) -> None:
    """The time of a wait has come: of an approval its deadline, or that somebody is reminded, or that others are asked too."""
    row = draft.by_id(fact.step)
    if row is None or row.status is not StepStatus.WAITING or draft.plan.nodes[row.name].kind != "approval":
        on_wait_came(draft, fact)
        return
    approval = draft.approval(row)
    if approval is None:
        return
    opened, now = _clock(approval)
    if approval.timeout is not None and opened + timedelta(seconds=approval.timeout) <= now:
        draft.overdue.append(fact)
        return
    _escalate(draft, row, approval, opened, now)
    _remind(draft, row, approval, opened, now)
    draft.decision.approvals_changed.append(approval)


def end_overdue(draft: Draft) -> None:
    """Behind all answers that came with it: those that came before the deadline have ended it."""
    for fact in draft.overdue:
        on_wait_came(draft, fact)


def _clock(approval: ApprovalRow) -> tuple[datetime, datetime]:
    assert approval.opened_at is not None
    assert approval.now is not None
    return approval.opened_at, approval.now


def _escalate(draft: Draft, row: StepRow, approval: ApprovalRow, opened: datetime, now: datetime) -> None:
    for after, to in approval.escalate[approval.escalated :]:
        if opened + timedelta(seconds=after) > now:
            return
        approval.escalated += 1
        approval.assignees = tuple(dict.fromkeys((*approval.assignees, *to)))
        draft.note("approval_escalated", row, to=list(to))
        _tell(draft, "escalated", approval)


def _remind(draft: Draft, row: StepRow, approval: ApprovalRow, opened: datetime, now: datetime) -> None:
    """Once for all reminders that nobody could send in time."""
    passed = 0 if approval.remind is None else int((now - opened) / timedelta(seconds=approval.remind))
    if passed > approval.reminded:
        approval.reminded = passed
        draft.note("approval_reminded", row, number=passed)
        _tell(draft, "reminded", approval)


def next_time(approval: ApprovalRow) -> datetime | None:
    """When a sweep has to look at it again."""
    opened, _ = _clock(approval)
    spans = [after for after, _ in approval.escalate[approval.escalated : approval.escalated + 1]]
    if approval.remind is not None:
        spans.append(approval.remind * (approval.reminded + 1))
    if approval.timeout is not None:
        spans.append(approval.timeout)
    return opened + timedelta(seconds=min(spans)) if spans else None


# ---- answers ---------------------------------------------------------------------------------------------------------


def on_answered(draft: Draft, fact: Answered) -> None:
    """Somebody has approved or rejected: the first answer that may be given counts."""
    row, approval, why = _asked(draft, fact.task)
    if row is None or approval is None:
        _refuse(draft, fact, why or "it is no approval")
        return
    opened, _ = _clock(approval)
    if approval.timeout is not None and fact.at > opened + timedelta(seconds=approval.timeout):
        _refuse(draft, fact, "it came after the deadline")
        on_wait_came(draft, WaitCame(row.id, approval.id))
        return
    why = refusal_of(approval.assignees, fact.by, fact.roles)
    if why is None and fact.approved:
        faults = faults_of(approval.form, fact.form)
        why = "; ".join(f"{where}: {what}" for where, what in faults[:5])[:500] or None
    if why is not None:
        _refuse(draft, fact, why)
    elif fact.approved:
        value = {"by": fact.by, "at": encode(fact.at), "comment": fact.comment, "form": fact.form}
        meet(draft, row, "approval", "approved", value, by=fact.by)
    else:
        error = {"type": "Rejected", "code": "rejected", "message": (fact.comment or f"rejected by {fact.by}")[:500]}
        meet(draft, row, "approval", "rejected", error=error, by=fact.by)


def refusal_of(assignees: Iterable[str], by: str, roles: Iterable[str]) -> str | None:
    """Why somebody in these roles may not answer what is asked of these; None: they may. Where nobody is named everybody is asked."""
    asked = list(assignees)
    mine = {by, *(f"role:{role}" for role in roles)}
    return None if not asked or mine.intersection(asked) else f"{by} is none of those who are asked: {', '.join(asked[:10])}"


def on_assign_asked(draft: Draft, fact: AssignAsked) -> None:
    """Others are asked, in place of those who were."""
    row, approval, why = _asked(draft, fact.task)
    if row is None or approval is None:
        draft.note("assign_refused", step=fact.task, why=why, by=fact.by)
        return
    approval.assignees = fact.to
    draft.note("approval_assigned", row, to=list(fact.to), by=fact.by)
    draft.decision.approvals_changed.append(approval)
    _tell(draft, "assigned", approval)


def _asked(draft: Draft, task: str) -> tuple[StepRow | None, ApprovalRow | None, str | None]:
    """The row of an approval that is open, or why there is none."""
    node = draft.plan.nodes.get(task)
    if node is None or node.kind != "approval":
        return None, None, "it is no approval"
    row = draft.step(task)
    if draft.run.status in RUN_ENDED:
        return None, None, f"the run is {draft.run.status}"
    if row is None or row.status is not StepStatus.WAITING:
        return None, None, "the run has not come to it" if row is None else f"it is {row.status}"
    return row, draft.approval(row), None


def _refuse(draft: Draft, fact: Answered, why: str) -> None:
    verb = "approve" if fact.approved else "reject"
    draft.note("answer_refused", step=fact.task, answer=verb, why=why, by=fact.by)


def _tell(draft: Draft, what: Literal["opened", "reminded", "escalated", "assigned"], approval: ApprovalRow) -> None:
    """Tell whoever listens, after the commit."""
    run = draft.run
    notice = ApprovalNotice(what, run.organization_id, run.id, run.workflow, approval.name, approval.title, approval.assignees)
    draft.decision.notices.append(notice)
