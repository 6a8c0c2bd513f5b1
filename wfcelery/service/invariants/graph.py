"""The graph: rows are what the definition and its lists expand to, and everything began in its turn."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from wfcelery.core.draft import LATE
from wfcelery.core.quorums import is_lost
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import STEP_ENDED, RunStatus, StepStatus
from wfcelery.core.step_machine import OPERATOR, PAUSED
from wfcelery.definition.plan import Edge, Node, Plan
from wfcelery.service.invariants.attempts import SLACK
from wfcelery.service.invariants.case import Case, called, named
from wfcelery.service.invariants.chronicle import Chronicle, Told
from wfcelery.service.invariants.limits import waits_its_turn
from wfcelery.service.invariants.registry import invariant

_BEGINS = ("step_ready", "wait_opened", "fan_out_opened")
_ADVANCES = (*_BEGINS, "step_blocked", "items_born", "items_let_go")
_REASONS = {"when": "when", "skipped": "when", "dead": "dead", OPERATOR: OPERATOR}  # of a skip, by what its row says
_ENDS = {
    "step_succeeded": "succeeded",
    "step_taken_over": "succeeded",
    "wait_came": "succeeded",
    "wait_met": "succeeded",
    "wait_timed_out": "timed_out",
    "fan_out_decided": "succeeded",
    "step_failed": "failed",
    "step_timed_out": "timed_out",
}


@invariant(
    4, "expansion", "The rows of tasks are those that the history and the definition know, each one once; of a run that succeeded, all."
)
def rows_are_the_expansion(case: Case) -> Iterator[str]:
    rows = {name for name, item in case.rows if item == NO_ITEM}
    if case.folded is not None:
        told = {name for name, item in case.folded.steps if item == NO_ITEM}
        yield from (f"step {name}: its history knows it, and it has no row" for name in sorted(told - rows))
        yield from (f"step {name}: it has a row, and its history does not know it" for name in sorted(rows - told))
    else:
        told = set()
    if case.plan is not None:
        yield from (f"step {name}: its definition does not know it" for name in sorted((rows & told) - case.plan.nodes.keys()))
        if case.run.status is RunStatus.SUCCEEDED and case.run.ending is None:  # no task has ended it
            unreached = {name for name, node in case.plan.nodes.items() if not node.closes} - rows - told
            yield from (f"step {name}: the run succeeded, and never came to it" for name in sorted(unreached))


@invariant(5, "definition", "The definition that the run began with is stored, whole, under its signature.")
def definition_is_the_one_of_the_run(case: Case) -> Iterator[str]:
    if case.bad_definition is not None:
        yield case.bad_definition


@invariant(6, "order", "A step begins after all that it waits for has ended, in a way that it accepts.")
def nothing_begins_too_early(case: Case) -> Iterator[str]:
    if case.story is None or case.plan is None:
        return
    closed: dict[str, str] = {}
    for told in case.story.facts:
        place = told.place
        node = case.node(place[0], told.version) if place is not None and place[1] == NO_ITEM else None
        if node is None:
            continue
        gate = node.kind == "gate" and told.what == "step_succeeded"
        if (told.what in _BEGINS or gate) and not _may_begin(node, closed):
            yield f"step {node.name} began in version {told.version}, before all that it waits for had ended"
        how = _how(told)
        if how is not None:
            closed[node.name] = how
        elif told.what == "step_reopened":
            closed.pop(node.name, None)


def _how(told: Told) -> str | None:
    """How a fact says that a task has ended, if it does."""
    if told.what == "step_cancelled" or told.fact.get("then") == "cancelled":
        return "cancelled"
    if told.what == "step_skipped":
        return "dead" if told.fact.get("why") == "dead" else "skipped"
    return _ENDS.get(told.what) if told.what != "wait_met" else told.fact.get("then", "succeeded")


def _may_begin(node: Node, closed: dict[str, str]) -> bool:
    fires = {edge.source: edge.source in closed and _may_fire(edge, closed[edge.source]) for edge in node.inbound}
    counted = [edge for edge in node.inbound if edge.counted]
    if node.join is not None:
        others = all(fires[edge.source] for edge in node.inbound if not edge.counted and edge.required is not None)
        return others and sum(fires[edge.source] for edge in counted) >= node.join
    required = all(fires[edge.source] for edge in node.inbound if edge.required is not None)
    came = not counted or any(fires[edge.source] for edge in counted)
    return required and came and all(edge.source in closed for edge in node.inbound)


def _may_fire(edge: Edge, how: str) -> bool:
    return any(edge.fires(how, branch) for branch in (edge.branches or {None}))


@invariant(
    13, "skipped", "A skipped step has a recorded reason: a false `when`, no way left, or a person, and only then may it have attempts."
)
def skipped_steps_have_a_reason(case: Case) -> Iterator[str]:
    for row in case.tasks():
        if row.status is not StepStatus.SKIPPED:
            continue
        told = [
            each.fact.get("why")
            for each in (case.story.of if case.story else {}).get((row.name, NO_ITEM), ())
            if each.what == "step_skipped"
        ]
        reason = _REASONS.get((row.why or "").removeprefix("unadvanced:"))
        if row.token is not None or (row.attempt and reason != OPERATOR):
            yield f"step {row.name} is skipped, and has an attempt"
        elif reason is None or (case.story is not None and told and told[-1] != reason):
            yield f"step {row.name} is skipped because of {row.why!r}, and its history says {told[-1] if told else None!r}"
        elif reason == "when" and not case.moves and _is_never_asked(case.node(row.name)):
            yield f"step {row.name} is skipped by its `when`, and has none"


def _is_never_asked(node: Node | None) -> bool:
    return node is not None and node.when is None and not node.unless_reached


@invariant(14, "join", "A step begins once, and a join when its rule holds: all ways have come, or as many as it asks for.")
def joins_begin_once_by_their_rule(case: Case) -> Iterator[str]:
    if case.story is None or case.plan is None:
        return
    for (name, item), told in case.story.of.items():
        node = case.plan.nodes.get(name)
        if node is None or node.closes or item != NO_ITEM:
            continue
        begun, came = 0, dict[str, bool]()
        for each in told:
            if each.what == "step_blocked":
                if each.fact["by"] in came:
                    yield f"step {name}: {each.fact['by']} came to it twice"
                came[each.fact["by"]] = bool(each.fact["fires"])
            elif each.what == "step_counted_anew":
                came = dict(each.fact["came"])
            elif each.what == "step_reopened" and each.fact.get("anew"):
                begun = 0
            elif each.what in _BEGINS:
                begun += 1
                then = case.node(name, each.version) or node
                if begun > 1:
                    yield f"step {name} began again in version {each.version}, and nothing had put it back"
                elif len(then.inbound) > 1 and not _rule_holds(then, came):
                    yield f"step {name} began in version {each.version}, with {len(came)} of {len(then.inbound)} ways before the last"


def _rule_holds(node: Node, came: dict[str, bool]) -> bool:
    """Whether one more way, the last, which is not told by itself, is enough."""
    if node.join is None:
        return len(came) >= len(node.inbound) - 1
    counted = {edge.source for edge in node.inbound if edge.counted}
    return sum(source in counted and fires for source, fires in came.items()) >= node.join - 1


@invariant(
    15,
    "items",
    "A fan-out has each index of its list once and none besides, ends after all of them, and succeeds with as many as it asks for.",
)
def items_are_the_list(case: Case) -> Iterator[str]:
    owned: set[UUID] = set()
    for row in case.tasks():
        items = case.items.get(row.id, [])
        owned.update(item.id for item in items)
        if row.items_left is not None:
            yield from _items(case, row, items)
            yield from _counted(case, row, items)
    yield from (f"step {called(row)} is an item of no fan-out" for row in case.found.steps if row.item != NO_ITEM and row.id not in owned)


def _items(case: Case, row: StepRow, items: list[StepRow]) -> Iterator[str]:
    born = row.wants if row.expanded is None else row.expanded
    if [item.item for item in items] != list(range(born)) or any(item.name != row.name for item in items):
        yield f"step {row.name} has born {born} items, and {len(items)} have rows"
    listed: int | None = None
    for told in (case.story.of if case.story else {}).get((row.name, NO_ITEM), ()):
        if told.what == "fan_out_opened":
            listed = told.fact["items"]
        elif told.what == "items_added" and listed is not None:
            listed += told.fact["items"]
    if listed is not None and listed != row.wants:
        yield f"step {row.name} came by {listed} items, and its row says {row.wants}"
    under_way = sum(item.status not in STEP_ENDED for item in items)
    if row.status in STEP_ENDED and under_way:
        yield f"step {row.name} has ended before {under_way} of its items"
    if case.folded is not None:
        known = {item for name, item in case.folded.steps if name == row.name and item != NO_ITEM}
        if known != {item.item for item in items} and len(items) == born:
            yield f"step {row.name}: its history knows {len(known)} items, and {len(items)} have rows"


def _counted(case: Case, row: StepRow, items: list[StepRow]) -> Iterator[str]:
    """What its row counts of its items, and whether it succeeded with as many as it has to."""
    failed = sum(item.status in (StepStatus.FAILED, StepStatus.TIMED_OUT) and item.why != LATE for item in items)
    left_out = sum(item.status is StepStatus.SKIPPED and item.why == "when" for item in items)
    if row.status in (StepStatus.WAITING, StepStatus.SUCCEEDED) and (failed, left_out) != (row.blockers, row.skipped or 0):
        yield f"step {row.name} counts {row.blockers} failed and {row.skipped} skipped items, there are {failed} and {left_out}"
    node = case.plan.nodes.get(row.name) if case.plan is not None else None
    told = {each.what for each in (case.story.of if case.story else {}).get((row.name, NO_ITEM), ())}
    if node is None or row.status is not StepStatus.SUCCEEDED or "items_completed" in told:
        return
    good = sum(item.status is StepStatus.SUCCEEDED and item.why != LATE for item in items)
    needed = 0 if node.success is None else node.success.at_least(row.wants - left_out)
    if good < needed or is_lost(node, row):
        yield f"step {row.name} succeeded with {good} items, {failed} failed, which is not what it asks for"


_STOPS = ("run_ending", "run_paused")
_LET_GO = ("step_released", "items_let_go", "items_released")


@invariant(
    17, "ending", "While a run is being ended, or is paused, no step begins, and only attempts that were claimed before are recorded."
)
def an_ending_or_paused_run_begins_nothing(case: Case) -> Iterator[str]:
    if case.story is None:
        return
    ending: Told | None = None
    paused: Told | None = None
    for told in case.story.facts:
        if told.what == "run_ending":
            ending, paused = told, None
        elif told.what == "run_reopened":
            ending = None
        elif told.what in ("run_paused", "run_resumed"):
            paused = told if told.what == "run_paused" else None
        elif paused is not None and told.what in _LET_GO:
            where = f"in version {told.version}, while the run was paused since version {paused.version}"
            yield f"{told.what} of step {told.fact.get('step')} {where}"
        elif ending is not None and told.what in _ADVANCES and not case.closes(told.fact["step"]):
            where = f"in version {told.version}, after the run was ending in version {ending.version}"
            yield f"{told.what} of step {told.fact.get('step')} {where}"
    yield from _late_claims(case, case.story)


def _late_claims(case: Case, story: Chronicle) -> Iterator[str]:
    endings = [told for told in story.facts if told.what in (*_STOPS, "run_reopened", "run_resumed")]
    if not endings:
        return
    for place in case.rows:
        stops = ("run_paused",) if case.closes(place[0]) else _STOPS  # an end ends a pause, and lets what closes the run begin
        for closing in story.closings(place):
            before = [told for told in endings if told.version < closing.told.version]
            if before and before[-1].what in stops and closing.started is not None and closing.started > before[-1].at + SLACK:
                yield f"step {named(place)} was claimed after {before[-1].what} in version {before[-1].version}"


@invariant(19, "timers", "A timer fires once, and never before its time by the database's clock; with workers up, not much later.", "bound")
def timers_fire_at_their_time(case: Case) -> Iterator[str]:
    for wait in case.found.waits:
        if wait.due_at is None:
            continue
        if wait.status == "due" and wait.ended_at is not None and wait.ended_at < wait.due_at - SLACK:
            yield f"a timer for {wait.due_at.isoformat()} fired at {wait.ended_at.isoformat()}"
        late = case.ledgers.bound is not None and (case.found.now - wait.due_at).total_seconds() > case.ledgers.bound
        if wait.status == "open" and late:
            yield f"a timer for {wait.due_at.isoformat()} has not fired"


@invariant(22, "waits", "Every wait has one outcome, and its step the same.")
def waits_end_with_their_steps(case: Case) -> Iterator[str]:
    fits = {
        "open": {StepStatus.WAITING},
        "met": {StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.TIMED_OUT},
        "due": {StepStatus.SUCCEEDED, StepStatus.TIMED_OUT},
        "cancelled": {StepStatus.CANCELLED},
    }
    newest = {wait.step: wait.id for wait in case.found.waits}  # of a step that was tried again
    rows = {row.id: row for row in case.found.steps}
    sleeping = sorted(row.id for row in case.tasks() if row.status is StepStatus.WAITING and row.items_left is None)
    if sleeping != sorted(case.found.open_waits):
        yield f"{len(sleeping)} steps wait, and {len(case.found.open_waits)} waits are open"
        return
    told = _opened(case.plan, case.story)
    for wait in case.found.waits:
        row = rows.get(wait.step)
        if row is None or newest[wait.step] != wait.id or (wait.status == "cancelled" and case.by_hand(row)):
            continue
        if row.status not in fits[wait.status]:
            yield f"step {row.name} is {row.status}, and its wait is {wait.status}"
    for row in case.tasks():
        many = sum(wait.step == row.id for wait in case.found.waits)
        if told is not None and many != told.get(row.name, 0) and all(wait.step in rows for wait in case.found.waits):
            yield f"step {row.name}: its history opened {told.get(row.name, 0)} waits, and it has {many}"


def _opened(plan: Plan | None, story: Chronicle | None) -> dict[str, int] | None:
    if plan is None or story is None:
        return None
    found: dict[str, int] = {}
    for told in story.facts:
        if told.what == "wait_opened":
            found[told.fact["step"]] = found.get(told.fact["step"], 0) + 1
    return found


@invariant(46, "orphans", "No row is left without the run, or the step, that it belongs to.")
def waits_belong_to_steps(case: Case) -> Iterator[str]:
    steps = {row.id for row in case.found.steps}
    yield from (f"wait {wait.id} is of a step that has no row" for wait in case.found.waits if wait.step not in steps)


@invariant(
    49, "held", "A held step has a reason that still holds: its run is paused, its fan-out has not let it go, or it waits at a gate."
)
def held_steps_have_a_reason(case: Case) -> Iterator[str]:
    fans = {row.id: row for row in case.tasks()}
    for row in case.found.steps:
        if row.status is not StepStatus.HELD or waits_its_turn(case, row):
            continue
        own = fans.get(row.fan_out) if row.fan_out is not None else None
        if row.why == PAUSED:
            if case.run.status is not RunStatus.PAUSED:
                yield f"step {called(row)} is held because its run is paused, and that is {case.run.status}"
        elif row.why not in ("concurrency", "again") or own is None:
            yield f"step {called(row)} is held because of {row.why!r}, which is no reason"
        elif own.status is not StepStatus.WAITING or (row.item < own.fired) is not (row.why == "again"):
            yield f"step {called(row)} is held, and {own.name} has let {own.fired} items go"
