"""One transaction under one run's lock: lock, load, decide, save, commit. Then the rings.

This is the only writer of run state. The dispatcher, the sweeps, the worker that finishes a step
and the tests all come through here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from wfcelery.clock import uuid7
from wfcelery.core.decide import decide, give_back, keep, keepable
from wfcelery.core.decision import Decision, Missing
from wfcelery.core.events import Begun, Fact, Failed, GroupEnded, Lost, MoveAsked
from wfcelery.core.rows import NO_ITEM, Ended, Limits, RunRow, Slice, StepRow
from wfcelery.core.states import RUN_ENDED, STEP_ENDED
from wfcelery.definition.plan import Plan
from wfcelery.engine.eventing import follow_up
from wfcelery.engine.facts import fact_of
from wfcelery.engine.gating import pass_gates
from wfcelery.engine.noticing import fill_forms, tell
from wfcelery.engine.patience import until_answered
from wfcelery.engine.plans import Plans
from wfcelery.engine.routing import reached, route
from wfcelery.engine.runtime import Budget, Runtime
from wfcelery.engine.widening import widen
from wfcelery.errors import IllegalTransition, InternalError, RowChanged, Unavailable
from wfcelery.store.children import load_loose
from wfcelery.store.database import Tx
from wfcelery.store.failures import CommitUnknown, LockTimeout, SerializationClash
from wfcelery.store.hot import Stale, is_hot, save_fast
from wfcelery.store.inbox import look, read_added
from wfcelery.store.loading import load_kept, load_mine, load_results, load_run, load_steps, lock_run
from wfcelery.store.outside import MOST_TRIES, Outside
from wfcelery.store.quarantine import put_aside
from wfcelery.store.saving import save

log = logging.getLogger(__name__)

MOST_ADDED = 500  # rows of an inbox that add items, read with the end of others
_ENDS_ITEMS = (GroupEnded, Failed, Lost)  # what may end a fan-out: not before what was added to it is known
TRIES = 5  # a mismatch repeats the whole transaction from the lock, at most so often


@dataclass(slots=True)
class Known:
    """What a worker holds of a run since its own last commit: enough to go on without reading."""

    plan: Plan
    run: RunRow
    results: dict[str, Ended] = field(default_factory=dict)

    def learn(self, decision: Decision) -> None:
        """Take over what a commit has written."""
        self.run, self.plan = decision.run, decision.moved or self.plan
        self.run.version = decision.seen_version + 1
        for row in decision.steps:
            if row.items_left is not None:  # what was read of a fan-out's items was read before this commit wrote some
                self.results.pop(row.name, None)
            elif row.item == NO_ITEM and row.status in STEP_ENDED:
                self.results[row.name] = Ended(str(row.status), row.output, row.error)


@dataclass(frozen=True, slots=True)
class Keeping:
    """Which of the steps that become ready this worker may keep: how long, and under which token."""

    budget: Budget
    token: UUID = field(default_factory=uuid4)  # chosen before the first try, so that a repeated commit is known again


def keeping_for(runtime: Runtime, budget: Budget) -> Keeping | None:
    """What this worker may keep, if anything: run-ahead can be off, and its time can be over."""
    return Keeping(budget) if runtime.settings.run_ahead > 0 and budget.left() else None


@dataclass(frozen=True, slots=True)
class Applied:
    """What one commit did."""

    decision: Decision
    known: Known
    inbox: bool  # the run's inbox holds something: drain it before going on


def apply(
    runtime: Runtime,
    run: UUID,
    facts: Sequence[Fact] | Callable[[Tx, RunRow], Sequence[Fact]],
    *,
    rows: Sequence[StepRow] = (),
    keeping: Keeping | None = None,
    kept: tuple[UUID, UUID] | None = None,
    skip_locked: bool = False,
    known: Known | None = None,
) -> Applied | None:
    """Tell the run what happened, in one commit, and ring for what became ready.

    `facts` may be a function that reads them under the lock (an inbox); `rows` are rows they name, as the worker that
    executed them holds them: what is not given is read, and what is no longer its own. `kept` is a step (id, token)
    that the worker has claimed and not begun; it is handed back where the facts end the run. None: no such
    run, or it is locked and `skip_locked` said not to wait. With `keeping` it is to be called through `persist`,
    which lets the token go where nothing was kept under it.
    """
    attempt = lacked = 0
    while attempt < TRIES:
        attempt += 1
        try:
            applied = None
            if known is not None and attempt + lacked == 1 and not callable(facts):
                applied = _optimistic(runtime, facts, rows, keeping, known)
            if applied is None:
                applied = _locked(runtime, run, facts, rows, keeping, kept, skip_locked)
        except Outside:
            attempt, lacked = attempt - 1, lacked + 1
            if lacked >= MOST_TRIES:
                raise
            continue
        except (RowChanged, SerializationClash) as clash:
            log.info("run %s changed under a decision, again from the lock: %s", run, clash)
            continue
        except IllegalTransition as contradiction:
            quarantine(runtime, run, contradiction)
            raise
        if applied is not None:
            runtime.bell.ring(applied.decision.rings)
            if applied.decision.notices and applied.decision.ignored is None:
                tell(runtime, applied.decision.notices)
        return applied
    changed = RowChanged(f"run {run}", f"{TRIES} times in a row")
    quarantine(runtime, run, changed)
    raise changed


def over_version(
    runtime: Runtime, facts: Sequence[Fact], known: Known, keeping: Keeping | None, *, rows: Sequence[StepRow] = ()
) -> Applied | None:
    """As `apply`, over the version that was just read, without a lock; None where that does not do, and `apply` is to be asked."""
    try:
        applied = _optimistic(runtime, facts, rows, keeping, known)
    except (RowChanged, SerializationClash, IllegalTransition) as problem:
        log.info("run %s is decided again from the lock: %s", known.run.id, problem)
        return None
    if applied is not None:
        runtime.bell.ring(applied.decision.rings)
    return applied


def quarantine(runtime: Runtime, run: UUID, problem: Exception) -> None:
    """Put a run aside that no decision can move: its rows contradict each other, or change each time it is tried.

    The others go on; a dead letter says so, and `dead retry` lets it be tried again.
    """
    # What a driver or a template says may quote values.
    said = str(problem) if isinstance(problem, InternalError) else "the run could not be moved on; the log of the sweep says why"
    error: dict[str, str | None] = {"type": type(problem).__name__, "code": InternalError.code, "message": said}
    with runtime.database.transaction() as tx:
        if lock_run(tx, run) is not None and put_aside(tx, run, error):
            log.error("run %s is put aside until somebody looks at it: %s", run, said)


def persist(
    runtime: Runtime, what: Callable[[], Applied | None], keeping: Keeping | None = None, landed: Callable[[], Applied | None] | None = None
) -> Applied | None:
    """Do it until the database has answered: a result that was reached must not be lost with a connection.

    After an unknown commit the same transaction is repeated with the same tokens (`landed`, where `what` would find
    something else to do by then). If it had landed, the repetition finds nothing to do, and the step that was kept under
    the token chosen before is adopted. Gives up with the last error after twenty leases. Where nothing is kept in the
    end, by an error too, the token is no longer renewed: otherwise a step that was kept by a commit whose answer was
    lost would be nobody's, and never lost.
    """
    kept = False
    try:
        applied = _until_answered(runtime, what, keeping, landed or what)
        kept = applied is not None and applied.decision.kept is not None
        return applied
    finally:
        if keeping is not None and not kept:
            runtime.slots.drop(keeping.token)


def insisting(what: Callable[[], Applied | None]) -> Callable[[], Applied | None]:
    """For what only this worker knows: to `persist`, a run's lock that is held for too long is like a database that is away."""

    def insist() -> Applied | None:
        try:
            return what()
        except LockTimeout as locked:
            raise Unavailable("run's lock", str(locked)) from locked

    return insist


def _until_answered(
    runtime: Runtime, what: Callable[[], Applied | None], keeping: Keeping | None, landed: Callable[[], Applied | None]
) -> Applied | None:
    unknown = False

    def once() -> Applied | None:
        nonlocal unknown
        try:
            return landed() if unknown else what()
        except CommitUnknown:
            unknown = True
            raise

    applied = until_answered(runtime.settings.lease, once)
    if applied is None or keeping is None or not unknown:
        return applied
    # With patience of its own: what has been answered must not be done again because the database is away a moment later.
    return until_answered(runtime.settings.lease, lambda: _adopt(runtime, applied, keeping))


def _adopt(runtime: Runtime, applied: Applied, keeping: Keeping) -> Applied:
    """The step that a commit kept for this worker, though the commit's answer was lost."""
    if applied.decision.kept is None:
        runtime.slots.take(keeping.token)
        with runtime.database.transaction() as tx:
            applied.decision.kept = load_kept(tx, keeping.token)
    return applied


def _optimistic(runtime: Runtime, facts: Sequence[Fact], rows: Sequence[StepRow], keeping: Keeping | None, known: Known) -> Applied | None:
    """Write over the version this worker wrote itself, reading nothing but results it lacks; None where that does not do.

    How a step has ended changes under the run's lock alone: what is read here belongs to the version, if that is still the run's.
    """
    view = Slice(known.plan, known.run, results=known.results, by_id={row.id: row for row in rows}, limits=_limits(runtime))
    decision = decide(view, facts, uuid7)
    if isinstance(decision, Missing) and decision == Missing(results=decision.results):
        view.results = dict(known.results)  # what is read belongs to this decision: another may end a step meanwhile
        with runtime.database.single() as tx:
            _load(runtime.plans, tx, view, decision)
        decision = decide(view, facts, uuid7)
    if isinstance(decision, Missing) or decision.ignored or not is_hot(decision):
        return None
    route(runtime, known.plan, decision)
    if decision.gated or runtime.holds.found:
        return None
    _keep(runtime, known.plan, decision, keeping)
    saved = save_fast(runtime.database, decision, before=known.run)
    if isinstance(saved, Stale):
        return None
    known.learn(decision)
    return Applied(decision, known, saved.inbox)


def _locked(
    runtime: Runtime,
    run: UUID,
    facts: Sequence[Fact] | Callable[[Tx, RunRow], Sequence[Fact]],
    rows: Sequence[StepRow],
    keeping: Keeping | None,
    kept: tuple[UUID, UUID] | None,
    skip_locked: bool,
) -> Applied | None:
    with runtime.database.transaction() as tx:
        row = lock_run(tx, run, skip_locked=skip_locked)
        if row is None:
            return None
        plan = runtime.plans.get(tx, row.definition)
        looked = None if callable(facts) or not any(isinstance(fact, _ENDS_ITEMS) for fact in facts) else look(tx, run)
        added = read_added(tx, run, MOST_ADDED) if looked else []
        told = facts(tx, row) if callable(facts) else (*map(fact_of, added), *facts)
        view = Slice(plan, row, by_id=_still(tx, rows), plans=_plans_named(runtime.plans, tx, told), limits=_limits(runtime))
        named = _named(told) | ({kept[0]} if kept else set())
        _load(runtime.plans, tx, view, Missing(ids=frozenset(named - view.by_id.keys())))
        decision = _decide(runtime.plans, tx, view, told, kept)
        decision.inbox_done = [*getattr(facts, "ids", ()), *(each.id for each in added)]
        if decision.ignored is None or decision.inbox_done:
            route(runtime, plan, decision)
            if runtime.holds.found:
                runtime.holds.apply(decision.moved or plan, decision)
            if decision.gated:
                pass_gates(tx, decision)
            if decision.approvals:
                fill_forms(decision)
            _keep(runtime, plan, decision, keeping if kept is None else None)
            save(tx, decision)
            decision.rings.extend(follow_up(tx, decision, getattr(facts, "taken", ()), runtime.settings.events))
        inbox = looked is not False and look(tx, run)
    known = Known(plan, row, dict(view.results))
    if decision.ignored is None:
        known.learn(decision)
    return Applied(decision, known, inbox)


def _still(tx: Tx, rows: Sequence[StepRow]) -> dict[UUID, StepRow | None]:
    """Those of the rows that are still as their worker holds them: one look at the tokens in place of reading all again."""
    mine = load_mine(tx, rows[0].token, [row.id for row in rows]) if rows and rows[0].token is not None else frozenset()
    return {row.id: row for row in rows if row.id in mine}


def rehearse(tx: Tx, plans: Plans, run: UUID, facts: Sequence[Fact]) -> Decision | None:
    """What would be decided about these facts now; written nowhere. None where there is no such run."""
    row = load_run(tx, run)
    if row is None:
        return None
    view = Slice(plans.get(tx, row.definition), row, plans=_plans_named(plans, tx, facts))
    _load(plans, tx, view, Missing(ids=frozenset(_named(facts))))
    return _decide(plans, tx, view, facts, None)


def _plans_named(plans: Plans, tx: Tx, facts: Sequence[Fact]) -> dict[str, Plan]:
    """The plans of other definitions that facts name."""
    return {fact.to: plans.get(tx, fact.to) for fact in facts if isinstance(fact, MoveAsked)}


def _limits(runtime: Runtime) -> Limits:
    return Limits(runtime.settings.max_depth, runtime.settings.input_limit)


def _decide(plans: Plans, tx: Tx, view: Slice, facts: Sequence[Fact], kept: tuple[UUID, UUID] | None) -> Decision:
    while True:
        decision = decide(view, facts, uuid7) if kept is None else give_back(view, kept, facts, uuid7)
        if isinstance(decision, Decision):
            return decision
        _load(plans, tx, view, decision)


def _load(plans: Plans, tx: Tx, view: Slice, missing: Missing) -> None:
    """Widen the slice by what the decision asked for, under the lock."""
    run = view.run.id
    if missing.ids:
        view.by_id.update(dict.fromkeys(missing.ids))
        for row in load_steps(tx, run, ids=missing.ids):
            view.by_id[row.id] = row
    if missing.steps:
        view.steps.update(dict.fromkeys(missing.steps))
        for row in load_steps(tx, run, names=missing.steps):
            view.steps[row.name] = row
    if missing.results:
        view.results.update(load_results(tx, run, missing.results))
        for name in missing.results - view.results.keys():
            view.results[name] = Ended("pending")
    if missing.open_rows:
        view.open_rows = load_steps(tx, run, open_locked=True)
    if missing.stopped:
        view.stopped = load_steps(tx, run, stopped=True)
    if missing.loose:
        view.loose = load_loose(tx, run)
    for name, signature in missing.called:
        view.called[signature or name] = plans.called(tx, name, signature)
    widen(tx, view, missing)


def _named(facts: Sequence[Fact]) -> set[UUID]:
    """The rows that facts name."""
    ids: set[UUID] = set()
    for fact in facts:
        for name in ("step", "fan_out"):
            found = getattr(fact, name, None)
            if found is not None:
                ids.add(found)
        ids.update(end.step for end in getattr(fact, "ends", ()))
        ids.update(step for step, _ in getattr(fact, "calls", ()))
        ids.update(getattr(fact, "unstarted", ()))
    return ids


def _keep(runtime: Runtime, plan: Plan, decision: Decision, keeping: Keeping | None) -> None:
    """Keep one of the steps that become ready for this worker."""
    run, plan = decision.run, decision.moved or plan
    if keeping is None or run.status in RUN_ENDED or run.ending is not None or not keeping.budget.left():
        return
    for row in keepable(decision):
        node = plan.nodes[row.name]
        policy = runtime.caller.policy(node.action)  # None: another worker has to have it
        if policy is not None and reached(row) and runtime.router.may_keep(node.action, row.queue or "", policy.hard_limit):
            worker, child = runtime.slots.identity()
            runtime.slots.take(keeping.token)
            keep(decision, row, keeping.token, worker, child, row.timeout)
            return


def begun(_: Tx, run: RunRow) -> Sequence[Fact]:
    """The facts of a run that nobody has begun."""
    return (Begun(),) if run.version == 0 else ()
