"""One attempt as the author's code sees it, and what its outcome means to the run."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from datetime import datetime
from typing import Any

from wfcelery.core.draft import as_seen, lookup_in, scope_of
from wfcelery.core.events import Fact, Failed, Parked, Succeeded
from wfcelery.core.keys import idempotency_key
from wfcelery.core.rows import NO_ITEM, Ended, StepRow
from wfcelery.definition.plan import Node
from wfcelery.definition.redaction import texts_at
from wfcelery.definition.secrets import quotable
from wfcelery.definition.values import dumps, references, resolve
from wfcelery.engine.apply import Known
from wfcelery.engine.patience import until_answered
from wfcelery.engine.ports import Call, Calls, CannotBegin, LeftOut, Outcome, Raised, Returned, UnknownStep
from wfcelery.engine.runtime import Runtime
from wfcelery.engine.secrets import Unknown, spared, with_secrets
from wfcelery.errors import CannotRead, ExpressionError, ValueProblem
from wfcelery.store.leases import knows
from wfcelery.store.loading import load_item, load_results

SOON = 0.2  # seconds after which another worker is offered what this one lacks


def attempt_of(runtime: Runtime, row: StepRow, known: Known) -> Outcome:
    """Run the author's code once, unless an item's own condition leaves it out."""
    try:
        if not _is_wanted(runtime, row, known):
            return LeftOut()
        if known.plan.nodes[row.name].callee is not None:
            return Calls(input_of(runtime, row, known))
        call = call_of(runtime, row, known)
        node = known.plan.nodes[row.name]
        template = node.input if node.undoes is None else node.input or known.plan.nodes[node.undoes].input
        if template is not None and "secret" in template.roots:
            call = with_secrets(runtime.settings.secrets, call)
        hides = known.plan.nodes[row.name].hides
        if hides:
            call = replace(call, secrets=(*call.secrets, *quotable(texts_at(call.input, hides))))
    except ExpressionError as problem:  # what is recorded stays as it is: waiting for other code would not help
        return Raised({"type": "ExpressionError", "code": None, "message": str(problem)[:500]}, final=True)
    except (ValueProblem, CannotRead, Unknown) as problem:
        return CannotBegin(str(problem))
    return spared(runtime.caller.call(call), call.secrets)


def call_of(runtime: Runtime, row: StepRow, known: Known) -> Call:
    """Everything the author's code needs, with the input's references resolved."""
    node = known.plan.nodes[row.name]
    assert row.token is not None
    policy = runtime.policy(node)
    given, offered = closing_input(runtime, row, known) if node.closes else (input_of(runtime, row, known), {})
    return Call(
        organization_id=known.run.organization_id,
        run=known.run.id,
        workflow=known.run.workflow,
        step=row.id,
        name=row.name,
        action=node.action,
        item=row.item,
        attempt=row.attempt,
        failures=row.failures,
        token=row.token,
        key=idempotency_key(known.run.organization_id, known.run.id, row.name, row.item, row.round),
        input=given,
        queue=row.queue,
        deadline=None,
        timeout=row.timeout,
        soft_timeout=node.soft_timeout if node.soft_timeout is not None else policy.soft_timeout,
        retry=node.retry,
        offered=offered,
    )


def closing_input(runtime: Runtime, row: StepRow, known: Known) -> tuple[Any, dict[str, Any]]:
    """The arguments of a compensation or a hook, and what it is given besides where it has parameters of these names."""
    node = known.plan.nodes[row.name]
    if node.hook is not None:
        named = {} if node.input is not None else dict(known.run.input)
        return input_of(runtime, row, known), named | {"error": known.run.error, "ending": known.run.ending and str(known.run.ending)}
    assert node.undoes is not None
    if row.item != NO_ITEM:
        return _item_input(runtime, row, known, node)
    ended = _results_of(runtime, known, {node.undoes}).get(node.undoes)
    return input_of(runtime, row, known), {"result": None if ended is None else ended.result}


def _item_input(runtime: Runtime, row: StepRow, known: Known, node: Node) -> tuple[Any, dict[str, Any]]:
    """Of an item that is undone: what it was given, and what it was worth. The row that undoes it holds its number."""
    assert node.undoes is not None
    undone = until_answered(runtime.settings.lease, lambda: _undone_item(runtime, known, str(node.undoes), int(row.input)))
    template = node.input or known.plan.nodes[node.undoes].input
    if template is None:
        return {}, {"result": undone.output}
    scope, _ = _seen(runtime, undone, known, template.tasks)
    return template.render(scope), {"result": undone.output}


def _undone_item(runtime: Runtime, known: Known, name: str, item: int) -> StepRow:
    with runtime.database.transaction() as tx:
        found = load_item(tx, known.run.id, name, item)
    assert found is not None
    return found


def input_of(runtime: Runtime, row: StepRow, known: Known) -> Any:
    """The step's arguments: references are read now; an item's templates are rendered now."""
    template = None if row.item == NO_ITEM else known.plan.nodes[row.name].input
    scope, given = _seen(runtime, row, known, frozenset() if template is None else template.tasks)
    if template is None:
        return given if row.item == NO_ITEM and given is not None else {}
    return template.render(scope)


def _is_wanted(runtime: Runtime, row: StepRow, known: Known) -> bool:
    """What an item's own condition says, now that its turn has come."""
    condition = None if row.item == NO_ITEM else known.plan.nodes[row.name].item_when
    return condition is None or condition.holds(_seen(runtime, row, known, condition.tasks)[0])


def _seen(runtime: Runtime, row: StepRow, known: Known, tasks: Set[str]) -> tuple[dict[str, Any], Any]:
    """What expressions that look at these tasks see, and the row's own input, its references resolved."""
    wanted = references(row.input) | tasks
    _results_of(runtime, known, wanted)
    scope = scope_at(known, wanted, row)
    given = resolve(row.input, lookup_in(scope))
    if row.item != NO_ITEM:
        scope["item"] = given
    return scope, given


def _results_of(runtime: Runtime, known: Known, names: Set[str]) -> dict[str, Ended]:
    """How these tasks ended; read where it is not known."""
    missing = names - known.results.keys()
    if missing:
        known.results.update(until_answered(runtime.settings.lease, lambda: _results(runtime, known, missing)))
    return known.results


def _results(runtime: Runtime, known: Known, names: Set[str]) -> dict[str, Ended]:
    with runtime.database.transaction() as tx:
        return load_results(tx, known.run.id, names)


def scope_at(known: Known, tasks: Set[str], row: StepRow) -> dict[str, Any]:
    """What a step's references, and the templates of an item, see when it is claimed; an item's own value is not resolved yet."""
    seen = {name: as_seen(known.plan, name, known.results[name]) for name in tasks if name in known.results}
    more = {} if row.item == NO_ITEM else {"item": row.input, "index": row.item}
    return scope_of(known.plan, known.run, known.run.variables, seen, **more)


def fact_of(
    runtime: Runtime, row: StepRow, known: Known, outcome: Outcome, since: datetime | None = None, now: datetime | None = None
) -> Fact:
    """What the outcome of an attempt means to the run."""
    assert row.token is not None
    if isinstance(outcome, Returned):
        size = len(dumps(outcome.value))
        if size <= runtime.settings.input_limit:
            return Succeeded(row.id, row.token, outcome.value)
        message = f"the result has {size} bytes, more than {runtime.settings.input_limit}"
        return Failed(row.id, row.token, {"type": "BadResult", "code": "bad_result", "message": message}, final=True)
    if isinstance(outcome, Raised):
        node = known.plan.nodes[row.name]
        elapsed = (now - since).total_seconds() if now is not None and since is not None else None
        policy = node.retry or runtime.policy(node).retry
        return Failed(row.id, row.token, outcome.error, outcome.end, outcome.retry_in, outcome.final, policy, elapsed, outcome.quota)
    assert isinstance(outcome, CannotBegin)
    return _parked(runtime, row, known.plan.nodes[row.name].action, outcome, now)


def _parked(runtime: Runtime, row: StepRow, action: str, outcome: CannotBegin, now: datetime | None) -> Parked:
    """A call that cannot begin on this code is tried again with pauses, for `park_for` seconds in all.

    Where another worker of its queue has the step, they are short at first, so that it soon has it, and each is longer than
    the one before, so that a fleet of which one worker in many has it is not kept busy by that.
    """
    since = (row.error or {}).get("since") if (row.error or {}).get("type") == "IncompatibleCode" else None
    first = datetime.fromisoformat(since) if since else now
    waited = (now - first).total_seconds() if now is not None and first is not None else 0.0
    assert row.token is not None
    stamp = first.isoformat() if first is not None else ""
    pause = runtime.settings.park_pause
    if isinstance(outcome, UnknownStep) and until_answered(runtime.settings.lease, lambda: _is_known_elsewhere(runtime, row, action)):
        pause = min(max(SOON, waited / 2), pause)
    return Parked(row.id, row.token, outcome.reason, stamp, pause, dead=waited > runtime.settings.park_for)


def _is_known_elsewhere(runtime: Runtime, row: StepRow, action: str) -> bool:
    with runtime.database.transaction() as tx:
        return knows(tx, action, row.queue or "", but=row.claimed_by)
