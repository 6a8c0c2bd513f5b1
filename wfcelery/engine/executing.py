"""From a message to a result: claim, bring the input, run the author's code, record, advance, and go on with what was kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from time import sleep
from uuid import UUID, uuid4

from wfcelery.core.events import Fact, Succeeded, TurnedAway
from wfcelery.core.rows import StepRow
from wfcelery.core.states import RunStatus
from wfcelery.definition.values import dumps
from wfcelery.engine import grouping
from wfcelery.engine.apply import Applied, Keeping, Known, apply, insisting, keeping_for, persist
from wfcelery.engine.calling import attempt_of, fact_of
from wfcelery.engine.dispatching import AtRest, begin, drain
from wfcelery.engine.gating import may_begin
from wfcelery.engine.patience import until_answered
from wfcelery.engine.ports import Fenced, ReportedItself
from wfcelery.engine.runtime import Budget, Runtime
from wfcelery.engine.waking import one_that_is_due, tell
from wfcelery.errors import CannotRead
from wfcelery.store.claims import Claimed, DueIn, claim, set_deadline
from wfcelery.store.database import Tx
from wfcelery.store.due import Wait
from wfcelery.store.failures import LockTimeout
from wfcelery.store.outside import again
from wfcelery.store.transactional import report

log = logging.getLogger(__name__)

ALONG = 0.1  # seconds for which one message ends sleeps
MISSES = 3  # times in a row that others were first


@dataclass(slots=True)
class Attempt:
    """One claimed attempt, with what this worker knows of its run."""

    row: StepRow
    known: Known
    since: datetime | None = None  # when the first attempt began, where this is a later one
    now: datetime | None = None  # the database's time of the claim
    holds: int = 0  # that stood then


def execute(runtime: Runtime, organization_id: str, step: UUID) -> bool:
    """Work off one message: the step it names, or groups of the fan-out it names, and what they lead to.

    False where there was nothing to do. Whose step it is says its row: what a message says of the run is not believed.
    """
    budget = Budget(runtime.settings.run_ahead)
    attempt = None if runtime.paces.met(step) else _claim(runtime, organization_id, step)
    if attempt is not None and turned_away(runtime, attempt):
        return True
    if attempt is not None:
        _go_on(runtime, attempt, budget)
        end_sleeps(runtime, budget)
        return True
    applied = grouping.work_off(runtime, organization_id, step, budget)
    carry_on(runtime, applied, budget)
    return applied is not None


def dispatch(runtime: Runtime, organization_id: str, run: UUID) -> None:
    """Begin a run or drain its inbox, and go on with a step of it that was kept. A run at rest: end sleeps. Raises ForeignRun."""
    budget = Budget(runtime.settings.run_ahead)
    keeping = keeping_for(runtime, budget)
    at_rest = False

    def drained() -> Applied | None:
        return drain(runtime, run, organization_id=organization_id, keeping=keeping)

    def advance() -> Applied | None:
        nonlocal at_rest
        begun = begin(runtime, run, organization_id, keeping)
        at_rest = isinstance(begun, AtRest)
        return None if isinstance(begun, AtRest) else begun or drained()

    applied = persist(runtime, advance, keeping, landed=drained)
    if at_rest and applied is None:
        end_sleeps(runtime, budget)
    else:
        carry_on(runtime, applied, budget)


def carry_on(runtime: Runtime, applied: Applied | None, budget: Budget) -> None:
    """Go on with the step, or the fan-out, that a commit of this worker left to it."""
    attempt = _kept(runtime, applied)
    if attempt is not None:
        _go_on(runtime, attempt, budget)


def end_sleeps(runtime: Runtime, budget: Budget) -> None:
    """End sleeps that are over, one after the other, and go on with the step behind each, until there is none that is the workers'.

    What may not be kept here is rung for.
    """
    until, missed = Budget(ALONG), 0
    while until.left() and missed < MISSES and (keeping := keeping_for(runtime, budget)) is not None:
        found = one_that_is_due(runtime, keeping.token.int)
        if found is None:
            return
        applied = _woken(runtime, *found, keeping)
        missed = missed + 1 if applied is None else 0
        if applied is not None:
            carry_on(runtime, applied, budget)


def _woken(runtime: Runtime, wait: Wait, known: Known | None, keeping: Keeping) -> Applied | None:
    """None: another was first, or the run is locked."""
    return persist(
        runtime,
        lambda: tell(runtime, wait, known, keeping),
        keeping,
        landed=lambda: drain(runtime, wait.run, keeping=keeping),
    )


def _go_on(runtime: Runtime, attempt: Attempt | None, budget: Budget) -> None:
    while attempt is not None:
        token = attempt.row.token
        assert token is not None
        try:
            applied = perform(runtime, attempt, budget)
        finally:
            runtime.slots.drop(token)
        attempt = _kept(runtime, applied)


def _kept(runtime: Runtime, applied: Applied | None) -> Attempt | None:
    """The kept step, after a look at the inbox: a cancel is never behind a queue."""
    if applied is None:
        return None
    kept = applied.decision.kept
    if kept is None:
        if applied.inbox:
            drain(runtime, applied.decision.run.id)
        return None
    assert kept.token is not None
    known: Known | None = applied.known
    if applied.inbox:
        known = _still_wanted(runtime, applied.decision.run.id, (kept.id, kept.token))
    if known is None:
        return None
    kept.seen = (kept.status, kept.token)
    return Attempt(kept, known)


def _still_wanted(runtime: Runtime, run: UUID, kept: tuple[UUID, UUID]) -> Known | None:
    """What is known of the run after a drain of its inbox; None where that has ended or paused the run, and the step was handed back."""
    wanted = None
    try:
        drained = persist(runtime, insisting(lambda: drain(runtime, run, kept=kept)))
        if drained is not None and drained.known.run.ending is None and drained.known.run.status is not RunStatus.PAUSED:
            wanted = drained.known
        return wanted
    finally:
        if wanted is None:
            runtime.slots.drop(kept[1])


def _claim(runtime: Runtime, organization_id: str, step: UUID) -> Attempt | None:
    """Take the step, or wait in place where it falls due within a sweep interval."""
    for _ in range(2):
        found = again(lambda: _try_claim(runtime, organization_id, step))
        if not isinstance(found, DueIn):
            return found
        sleep(found.seconds)
    return None


def _try_claim(runtime: Runtime, organization_id: str, step: UUID) -> Attempt | DueIn | None:
    token = uuid4()
    worker, child = runtime.slots.identity()
    runtime.slots.take(token)
    mine: Attempt | None = None
    try:
        with runtime.database.writing() as tx:
            claimed = claim(tx, organization_id, step, token, worker, child, runtime.settings.poll)
            attempt = _attempt(runtime, tx, claimed) if isinstance(claimed, Claimed) else None
        mine = attempt  # not before the commit is answered: a claim that nobody knows of must not be renewed
    finally:
        if mine is None:
            runtime.slots.drop(token)
    return claimed if isinstance(claimed, DueIn) else mine


def turned_away(runtime: Runtime, attempt: Attempt) -> bool:
    """Whether somebody holds this step, which was ready before, or a gate has closed: it goes back as if it had never been claimed."""
    row, known = attempt.row, attempt.known
    assert row.token is not None
    goes_on = False
    try:
        # The claim has landed: what is asked now is asked until the database answers, or the attempt would be lost.
        why, goes_on = until_answered(runtime.settings.lease, lambda: _may_go_on(runtime, attempt))
        if not goes_on:
            fact = TurnedAway(row.id, row.token, why)
            persist(runtime, insisting(lambda: apply(runtime, known.run.id, (fact,), rows=(row,))))
    finally:
        if not goes_on:
            runtime.slots.drop(row.token)
    return not goes_on


def _may_go_on(runtime: Runtime, attempt: Attempt) -> tuple[str | None, bool]:
    row, run = attempt.row, attempt.known.run
    runtime.holds.learn(attempt.holds)
    why = runtime.holds.why(run, attempt.known.plan.nodes[row.name], row.queue)
    return why, why is None and (row.gates is None or may_begin(runtime.database, run.organization_id, row))


def _attempt(runtime: Runtime, tx: Tx, claimed: Claimed) -> Attempt:
    plan = runtime.plans.get(tx, claimed.run.definition)
    attempt = Attempt(claimed.step, Known(plan, claimed.run), claimed.first_claimed_at, claimed.claimed_at, claimed.holds)
    timeout = runtime.timeout(plan.nodes[claimed.step.name])
    if timeout != claimed.step.timeout:
        assert claimed.step.token is not None
        set_deadline(tx, claimed.step.id, claimed.step.token, timeout)
        claimed.step.timeout = timeout
    return attempt


def perform(runtime: Runtime, attempt: Attempt, budget: Budget) -> Applied | None:
    """Run one attempt and record what came of it."""
    row, known = attempt.row, attempt.known
    outcome = attempt_of(runtime, row, known)
    if isinstance(outcome, Fenced):
        log.info("run %s step %s attempt %s is not this worker's any more", known.run.id, row.name, row.attempt)
        return None
    keeping = keeping_for(runtime, budget)
    if isinstance(outcome, ReportedItself):
        return persist(runtime, lambda: drain(runtime, known.run.id, keeping=keeping), keeping)
    fact = fact_of(runtime, row, known, outcome, attempt.since, attempt.now)
    return persist(runtime, insisting(lambda: finish(runtime, row, known, fact, keeping)), keeping)


def finish(runtime: Runtime, row: StepRow, known: Known, fact: Fact, keeping: Keeping | None) -> Applied | None:
    """Record a result and advance, in one commit; where the run's lock is not to be had, or the run not read, report the result beside it.

    Raises LockTimeout for a failure, which has no place beside it.
    """
    try:
        applied = apply(runtime, known.run.id, (fact,), rows=(row,), keeping=keeping, known=known)
    except (LockTimeout, CannotRead) as problem:
        if not isinstance(fact, Succeeded):
            raise
        why = "is locked" if isinstance(problem, LockTimeout) else "holds what cannot be read here"
        log.warning("run %s %s; the result of step %s is reported beside it", known.run.id, why, row.name)
        with runtime.database.transaction() as tx:
            report(tx, known.run.organization_id, known.run.id, fact.step, fact.token, dumps(fact.value))
        return None
    if applied is not None and applied.decision.ignored:
        log.warning("run %s step %s: attempt %s was over before its outcome came; it changes nothing", known.run.id, row.name, row.attempt)
    return applied
