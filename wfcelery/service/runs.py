"""What people want to know of runs: find, show, list, follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from wfcelery.core import by_hand, withdrawing
from wfcelery.core.asking import VERBS, refusal
from wfcelery.core.keys import idempotency_key
from wfcelery.core.rows import NO_ITEM
from wfcelery.definition.spans import shortly
from wfcelery.errors import AuthoringError, NotFound
from wfcelery.service import queries
from wfcelery.service.asked import text_fault
from wfcelery.service.asking import allowed_actions
from wfcelery.service.context import Context
from wfcelery.service.views import ChildView, CommitView, DeedView, RunSummary, RunView, StepView, attempts_of, error_view
from wfcelery.store import audit, matching, reading
from wfcelery.store.approvals import open_approvals
from wfcelery.store.children import Child, children_of, parent_of
from wfcelery.store.failures import CommitUnknown
from wfcelery.store.reading import HistoryRow, RunRecord, StepRecord

ENDED = ("succeeded", "failed", "cancelled", "timed_out")

MOST_CHILDREN = 200  # of them those are shown that were begun last
MOST_CHILDREN = 200  # of a run's, the newest, that are shown
MOST_ASKED = 1_000  # open approvals of a run that are looked at


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a run stands, and what became of it."""

    workflow: str
    status: str
    output: str | None
    error: dict[str, Any] | None
    reason: str | None
    age: float  # seconds from its start to its end, or until now
    continued_as: UUID | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED


def outcome_of(context: Context, run: UUID) -> Outcome | None:
    """The run's status and, when it has ended, its result; None where no committed row says anything."""
    try:
        with context.database.single() as tx:  # asked again and again by who waits: no BEGIN, and on SQLite no writer's lock
            found = reading.outcome(tx, run)
    except CommitUnknown:  # of a read: the connection had died in the pool
        with context.transaction() as tx:
            found = reading.outcome(tx, run)
    return (
        None
        if found is None
        else Outcome(found.workflow, found.status, found.output, found.error, found.reason, found.age, found.continued_as)
    )


def status_of(context: Context, run: UUID) -> Outcome:
    """As `outcome_of`; raises NotFound."""
    found = outcome_of(context, run)
    if found is None:
        raise NotFound("run", str(run))
    return found


def history_of(context: Context, run: UUID) -> Sequence[HistoryRow]:
    """One row a commit, oldest first. Raises NotFound."""
    with context.transaction() as tx:
        rows = reading.history(tx, run)
        if not rows and reading.outcome(tx, run) is None:
            raise NotFound("run", str(run))
    return rows


def told(context: Context, run: UUID) -> Sequence[CommitView]:
    """The history as programs read it. Raises NotFound."""
    return [CommitView(version=row.version, at=row.at, facts=row.facts) for row in history_of(context, run)]


def find(context: Context, id_or_key: str, workflow: str | None = None) -> RunRecord | None:
    """The run of an id, of the unique tail of one (four characters or more), or of a key; newest key first.

    Raises NotFound where a tail fits several.
    """
    if not isinstance(id_or_key, str):
        raise AuthoringError(f"a run is named by its id, a tail of it or its key, which are texts, not {shortly(id_or_key)}")
    if text_fault(id_or_key) is not None:
        return None
    with context.transaction() as tx:
        found = reading.find_runs(tx, id_or_key, workflow, limit=2)
    if len(found) > 1:
        raise NotFound("run", id_or_key, [str(run.id) for run in found])
    return found[0] if found else None


def listed(
    context: Context,
    *,
    statuses: Sequence[str] = (),
    workflow: str | None = None,
    organization_id: str | None = None,
    where: str | None = None,
    limit: int = 50,
) -> Sequence[RunSummary]:
    """The newest runs; `where` is a query as in `queries`, beside the other filters. Raises InvalidInput with all that is wrong with it."""
    if where is not None:
        terms = queries.of_runs(where)
        more = {
            "status": tuple(statuses),
            "workflow": (workflow,) if workflow else (),
            "org": (organization_id,) if organization_id else (),
        }
        terms += [matching.Term(field, "=", values) for field, values in more.items() if values]
        with context.transaction() as tx:
            return [RunSummary(**_summary(run)) for run in matching.runs(tx, terms, limit)]
    with context.transaction() as tx:
        found = reading.list_runs(tx, statuses=statuses, workflow=workflow, organization_id=organization_id, limit=limit)
    return [RunSummary(**_summary(run)) for run in found]


def shown(context: Context, id_or_key: str) -> RunView:
    """One run with its steps and attempts. Raises NotFound."""
    found = find(context, id_or_key)
    if found is None:
        raise NotFound("run", id_or_key)
    with context.transaction() as tx:
        steps = reading.steps(tx, found.id)
        history = reading.history(tx, found.id)
        label = reading.definition_label(tx, found.definition)
        deeds = audit.deeds(tx, found.id)
        children = children_of(tx, found.id, MOST_CHILDREN)
        parent = parent_of(tx, found.id)
        waits = any(step.status == "waiting" and step.items_left is None for step in steps)
        asked = {each.asked.step for each in open_approvals(tx, None, found.id, MOST_ASKED)} if waits else set()
    attempts = attempts_of(history)
    views = [_step(found, step, attempts, step.id in asked) for step in steps]
    views = [view.model_copy(update={"children": begun}) if (begun := _begun(view, children)) else view for view in views]
    counts: dict[str, int] = {}
    for view in views:
        counts[view.status] = counts.get(view.status, 0) + 1
    return RunView(
        **_summary(found),
        version=found.version,
        definition=found.definition,
        version_label=label or "",
        deadline=found.deadline,
        counts=counts,
        executing=[view.name if view.item is None else f"{view.name}[{view.item}]" for view in views if view.status == "running"],
        steps=views,
        has_output=found.has_output,
        parent=None if parent is None else str(parent[0]),
        continued_as=None if found.continued_as is None else str(found.continued_as),
        allowed_actions=allowed_actions(found.status),
        audit=[DeedView(at=deed.at, actor=deed.actor, verb=deed.verb, reason=deed.reason) for deed in deeds],
    )


def _begun(view: StepView, children: Sequence[Child]) -> list[ChildView]:
    return [ChildView(id=str(each.id), workflow=each.workflow, status=each.status) for each in children if str(each.step) == view.id]


def _summary(run: RunRecord) -> dict[str, Any]:
    return {
        "id": str(run.id),
        "workflow": run.workflow,
        "status": run.status,
        "organization_id": run.organization_id,
        "key": run.key,
        "tags": run.tags,
        "created": run.created_at,
        "started": run.started_at,
        "ended": run.ended_at,
        "due": run.due_at,
        "resumes": run.resume_at if run.status == "paused" else None,
        "reason": run.reason,
        "error": error_view(run.error),
    }


def _actions(run: RunRecord, step: StepRecord, asks: bool) -> list[str]:
    """What people can ask of this step now."""
    if step.item != NO_ITEM:
        return []
    found = ["cancel_step"] if withdrawing.refusal(run, step) is None else []
    if step.items_left is not None:
        return [*(verb for verb in VERBS if refusal(verb, run, step) is None), *found]
    answers = ["approve", "reject", "assign"] if asks else []
    return [*answers, *(["skip", "complete"] if by_hand.refusal(run, step) is None else []), *found]


def _step(run: RunRecord, step: StepRecord, attempts: dict[tuple[str, int], Any], asks: bool) -> StepView:
    return StepView(
        id=str(step.id),
        name=step.name,
        item=None if step.item == NO_ITEM else step.item,
        status=step.status,
        why=step.why,
        attempt=step.attempt,
        failures=step.failures,
        lost=step.lost,
        queue=step.queue,
        worker=None if step.claimed_by is None else str(step.claimed_by),
        key=idempotency_key(run.organization_id, run.id, step.name, step.item, step.round),
        claimed=step.claimed_at,
        ended=step.ended_at,
        due=step.due_at,
        items=step.wants if step.items_left is not None else None,
        items_left=step.items_left,
        error=error_view(step.error),
        attempts=attempts.get((step.name, step.item), ()),
        allowed_actions=_actions(run, step, asks),
    )
