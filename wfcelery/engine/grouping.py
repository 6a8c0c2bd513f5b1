"""Items of a fan-out in groups: claimed in one statement, recorded in one commit.

A group grows while its work takes less than half of 50 ms, to what would take half of it, and halves when it takes
more, so that a crash repeats at most 50 ms of work or one item. Recording does not count: a group that waits for the
lock of its run behind others must not become a smaller one, which would make more of them wait.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from wfcelery.clock import monotonic
from wfcelery.core.decision import RingStep
from wfcelery.core.events import Expanded, Fact, Failed, GroupEnded, ItemEnd, ItemsCalled, Parked, Succeeded, TurnedAway
from wfcelery.core.rows import StepRow
from wfcelery.definition.gating import not_for_items
from wfcelery.definition.plan import Plan
from wfcelery.engine.apply import Applied, Keeping, Known, apply, insisting, keeping_for, persist
from wfcelery.engine.calling import attempt_of, fact_of
from wfcelery.engine.dispatching import drain
from wfcelery.engine.patience import until_answered
from wfcelery.engine.ports import Calls, CannotBegin, Fenced, LeftOut, Outcome, ReportedItself
from wfcelery.engine.runtime import Budget, Runtime
from wfcelery.store.claims import claim_group, set_deadline
from wfcelery.store.database import Tx
from wfcelery.store.outside import again

log = logging.getLogger(__name__)

GROUP_SECONDS = 0.05
MOST = 64
GROWTH = 8  # times as large at most: the first items of many may be the quick ones


@dataclass(slots=True)
class Group:
    """Items that this worker has claimed under one token, and what has become of them so far."""

    fan_out: UUID
    token: UUID
    rows: list[StepRow]
    known: Known
    ends: list[ItemEnd]
    calls: list[tuple[UUID, Mapping[str, Any]]]
    began: float
    holds: int  # that stood when they were claimed

    @property
    def done(self) -> bool:
        """Whether there is something to record."""
        return bool(self.ends or self.calls)


def work_off(runtime: Runtime, organization_id: str, fan_out: UUID, budget: Budget) -> Applied | None:
    """Take groups of a fan-out's items until none is ready or the budget is spent; then ring for the rest.

    Returns the commit that ended the fan-out and kept what follows, if it was this worker's; else the last one.
    """
    applied = None
    while True:
        limit = runtime.paces.get(fan_out)
        group = again(partial(_claim, runtime, organization_id, fan_out, limit))
        if group is None:
            return applied
        try:
            away = _turned_away(runtime, group)
            took, applied = (0.0, away) if away is not None else _perform(runtime, group, budget)
        finally:
            runtime.slots.drop(group.token)
        if away is not None or applied is None or applied.decision.ended or applied.decision.kept is not None:
            return applied
        if applied.inbox:
            drain(runtime, group.known.run.id)
        # Where the run goes on with enough of them, none that is done may wait for a slow one to be recorded with it.
        runtime.paces.keep(fan_out, 1 if _decides(group) else next_limit(limit, len(group.rows), took))
        if not budget.left() or runtime.settings.run_ahead == 0:
            _ring_on(runtime, group)
            return applied


def _turned_away(runtime: Runtime, group: Group) -> Applied | None:
    """Where somebody holds the fan-out: its items go back as if they had never been claimed, and the others are held too."""
    until_answered(runtime.settings.lease, lambda: runtime.holds.learn(group.holds))
    row, known = group.rows[0], group.known
    why = runtime.holds.why(known.run, known.plan.nodes[row.name], row.queue)
    if why is None:
        return None
    fact = TurnedAway(group.fan_out, group.token, why, tuple(each.id for each in group.rows))
    return persist(runtime, insisting(lambda: apply(runtime, known.run.id, (fact,), rows=group.rows)))


def _decides(group: Group) -> bool:
    """Whether the run goes on before all items have ended."""
    return group.known.plan.nodes[group.rows[0].name].success is not None


def next_limit(limit: int, items: int, took: float) -> int:
    """How many items to claim at a time, after a group of so many has taken so many seconds."""
    half = GROUP_SECONDS / 2
    if took >= half:
        return max(1, limit // 2)
    fitting = int(half * items / took) if took > 0.0 else MOST
    return max(limit, min(MOST, limit * GROWTH, fitting))


def _claim(runtime: Runtime, organization_id: str, fan_out: UUID, limit: int) -> Group | None:
    token = uuid4()
    worker, child = runtime.slots.identity()
    runtime.slots.take(token)
    group: Group | None = None
    expanded: Applied | None = None
    try:
        rows: list[StepRow] = []
        with runtime.database.writing() as tx:
            claimed = claim_group(tx, organization_id, fan_out, limit, token, worker, child)
            if claimed is not None and claimed.items:
                plan = runtime.plans.get(tx, claimed.run.definition)
                _limit(runtime, tx, plan, claimed.items, token)
                rows = claimed.items
        if claimed is not None and claimed.unexpanded:
            expanded = apply(runtime, claimed.run.id, (Expanded(fan_out),))
        if claimed is not None and rows:  # not before all is answered: a claim that nobody knows of must not be renewed
            group = Group(fan_out, token, rows, Known(plan, claimed.run), [], [], monotonic(), claimed.holds)
    finally:
        if group is None:
            runtime.slots.drop(token)
    if group is None and expanded is not None and not expanded.decision.ignored:
        return _claim(runtime, organization_id, fan_out, limit)
    return group


def _limit(runtime: Runtime, tx: Tx, plan: Plan, rows: Sequence[StepRow], token: UUID) -> None:
    """Where the code of this worker knows another time limit than the items were born with."""
    timeout = runtime.timeout(plan.nodes[rows[0].name])
    if timeout != rows[0].timeout:
        for row in rows:
            set_deadline(tx, row.id, token, timeout)
            row.timeout = timeout


def _perform(runtime: Runtime, group: Group, budget: Budget) -> tuple[float, Applied | None]:
    """Execute the group; what took 50 ms is recorded, and what has not begun by then goes back.

    Returns how long the items took, with their commits only where each has its own. A step is kept by the last commit
    alone: while items of the group are still to come nobody would go on with it.
    """
    node = group.known.plan.nodes[group.rows[0].name]
    policy = runtime.policy(node)
    each = node.commit == "each" or policy.commit == "each" or policy.transactional
    refused = None if node.closes else not_for_items(node.action, policy.gates)
    began = monotonic()
    last: Applied | None = None
    took = 0.0
    for number, row in enumerate(group.rows):
        outcome = attempt_of(runtime, row, group.known) if refused is None else CannotBegin(refused)
        rest = group.rows[number + 1 :]
        if isinstance(outcome, ReportedItself):
            last = _drained(runtime, group, None if rest or group.done else keeping_for(runtime, budget))
        elif isinstance(outcome, Calls):
            group.calls.append((row.id, outcome.input))
        elif not isinstance(outcome, Fenced):
            group.ends.append(_end(runtime, group.known, row, outcome))
        took = monotonic() - began
        slow = monotonic() - group.began > GROUP_SECONDS
        if rest and group.done and (slow or each):
            last = _record(runtime, group, rest if slow else (), keeping_for(runtime, budget) if slow else None)
            group.began = monotonic()
            if slow:
                return took, last
    if group.done:
        last = _record(runtime, group, (), keeping_for(runtime, budget))
    return took, last


def _drained(runtime: Runtime, group: Group, keeping: Keeping | None) -> Applied | None:
    """An item has reported itself; now its run advances."""
    return persist(runtime, lambda: drain(runtime, group.known.run.id, keeping=keeping), keeping)


def _end(runtime: Runtime, known: Known, row: StepRow, outcome: Outcome) -> ItemEnd:
    if isinstance(outcome, LeftOut):
        return ItemEnd(row.id, row.item, skipped=True)
    fact = fact_of(runtime, row, known, outcome)
    if isinstance(fact, Succeeded):
        return ItemEnd(row.id, row.item, value=fact.value)
    assert isinstance(fact, Failed | Parked)
    return ItemEnd(row.id, row.item, failure=fact)


def _record(runtime: Runtime, group: Group, back: Sequence[StepRow], keeping: Keeping | None) -> Applied | None:
    facts: list[Fact] = []
    if group.ends or back:
        facts.append(GroupEnded(group.fan_out, group.token, tuple(group.ends), tuple(row.id for row in back)))
    if group.calls:
        facts.append(ItemsCalled(group.fan_out, group.token, tuple(group.calls)))
    group.ends, group.calls = [], []
    return persist(runtime, insisting(lambda: apply(runtime, group.known.run.id, facts, rows=group.rows, keeping=keeping)), keeping)


def _ring_on(runtime: Runtime, group: Group) -> None:
    run, row = group.known.run, group.rows[0]
    action = group.known.plan.nodes[row.name].action
    runtime.bell.ring([RingStep(run.organization_id, run.id, group.fan_out, row.queue, row.priority, action)])
