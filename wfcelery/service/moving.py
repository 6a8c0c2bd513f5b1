"""Runs that go on by another version of their workflow: what that would do is worked out first, by the rules that will decide it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from wfcelery.core.events import MoveAsked
from wfcelery.definition.inputs import check_input
from wfcelery.definition.model import Definition
from wfcelery.definition.values import is_kept_back
from wfcelery.engine.apply import rehearse
from wfcelery.engine.plans import Plans
from wfcelery.errors import InvalidInput, NotAllowedNow, NotFound
from wfcelery.service import asking, standing
from wfcelery.service.asked import check_text
from wfcelery.service.context import Context
from wfcelery.service.definitions import LATEST
from wfcelery.service.views import MoveView
from wfcelery.store import definitions as stored
from wfcelery.store import reading
from wfcelery.store.database import Tx
from wfcelery.store.definitions import StoredDefinition

# What a fact of the history says of a task that a move touches.
_MEANING = {
    "step_ready": "begins",
    "step_held": "is held",
    "wait_opened": "begins to wait",
    "fan_out_opened": "begins",
    "step_skipped": "is skipped",
    "step_succeeded": "is passed",
    "step_failed": "fails",
    "step_counted_anew": "waits for others",
}


def rehearsed(context: Context, run: UUID, to: str) -> MoveView:
    """What a move would do now, and everything that forbids it; nothing is written. Raises NotFound."""
    return _rehearsed(context, _found(context, run), to, Plans())


def move(context: Context, run: UUID, to: str, by: str | None = None, **options: Any) -> MoveView:
    """Ask a run to go on by another version. Raises NotFound, and NotAllowedNow with everything that forbids it.

    A worker decides it again under the run's lock. What has changed by then can refuse it: the history says so.
    """
    if by is not None:
        check_text("move", "by", by)
    view = rehearsed(context, run, to)
    if view.problems:
        raise NotAllowedNow(f"run {run} cannot be moved to {view.to}: " + "; ".join(view.problems))
    asking.tell(context, run, "move", {"to": view.signature, "by": by, "reason": view.to}, options)
    return view


def move_all(context: Context, of: str, to: str, by: str | None = None, *, dry_run: bool = False) -> Iterator[MoveView]:
    """Move every run that has not ended of `NAME@VERSION`, or of `NAME`; those that cannot are left where they are, and say why."""
    with context.transaction() as tx:
        meant = standing.meant_by(tx, of)
    if not meant:
        raise NotFound("definition", of)
    plans = Plans()
    with context.transaction() as tx:
        going = reading.going_by(tx, [each.signature for each in meant])
    for found in going:
        view = _rehearsed(context, found, to, plans)
        if not view.problems and not dry_run:
            asking.tell(context, found.id, "move", {"to": view.signature, "by": by, "reason": view.to}, {})
        yield view


def _found(context: Context, run: UUID) -> reading.RunRecord:
    with context.transaction() as tx:
        found = reading.find_runs(tx, str(run), None, limit=1)
    if not found:
        raise NotFound("run", str(run))
    return found[0]


def _rehearsed(context: Context, run: reading.RunRecord, to: str, plans: Plans) -> MoveView:
    with context.transaction() as tx:
        target = _target(tx, run.workflow, to)
        decision = rehearse(tx, plans, run.id, [MoveAsked(target.signature)])
        problems = [] if "move" in asking.allowed_actions(run.status) else [f"the run is {run.status}"]
        facts: Sequence[Mapping[str, Any]] = [] if decision is None else decision.facts
        refused: Sequence[str] = next((fact["why"] for fact in facts if fact["fact"] == "move_refused"), [])
        problems += [why for why in refused if why not in problems]
        if target.status != "published":
            problems.append(f"{target.name}@{target.version} is {'a draft' if target.status == 'draft' else target.status}")
        problems += _of_the_input(tx, run, target)
    return MoveView(
        run=str(run.id),
        to=f"{target.name}@{target.version}",
        signature=target.signature,
        problems=problems,
        changes=[] if problems else [f"{fact['step']} {_MEANING[fact['fact']]}" for fact in facts if _is_told(fact)],
    )


def _is_told(fact: Mapping[str, Any]) -> bool:
    return fact["fact"] in _MEANING and "item" not in fact


def _of_the_input(tx: Tx, run: reading.RunRecord, target: StoredDefinition) -> list[str]:
    """What the new version's parameters say to the input; what they do not know any more stays in it unused."""
    whole = reading.input_of(tx, run.id) or {}
    definition = Definition.model_validate_json(target.body)
    if is_kept_back(whole):
        return []
    given = {name: value for name, value in whole.items() if name in definition.parameters}
    try:
        check_input(definition, given)
    except InvalidInput as wrong:
        return [f"parameter {where}: {what}" for where, what in wrong.errors if what != "it is missing"]
    return []


def _target(tx: Tx, workflow: str, to: str) -> StoredDefinition:
    """What `to` means for a run of this workflow: a label of it, `latest`, NAME@VERSION, or the beginning of a signature."""
    found = stored.newest(tx, workflow) if to == LATEST else stored.of_label(tx, workflow, to)
    if found is None:
        meant = standing.meant_by(tx, to)
        found = next((each for each in meant if each.status == "published"), meant[0] if meant else None)
    if found is None:
        labels = dict.fromkeys(each.version for each in stored.of_name(tx, workflow))
        raise NotFound(f"version of {workflow}", to, list(labels)[:2])
    return found
