"""The engine's transactions on one run, as its workers, its sweeps and its callers begin them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import combinations_with_replacement
from uuid import UUID, uuid4

from tests.interleaving import beside
from tests.interleaving.scene import FAILED, LISTENER, NEW, Scene
from tests.store.rows import change, look, started
from wfcelery.clock import uuid7
from wfcelery.core.events import Expanded, Failed, GroupEnded, ItemEnd, PauseAsked, Succeeded
from wfcelery.definition.document import Overlap
from wfcelery.definition.values import dumps
from wfcelery.engine import executing, scheduling
from wfcelery.engine.apply import Keeping, apply
from wfcelery.engine.dispatching import Inbox, begin
from wfcelery.engine.gating import look_after
from wfcelery.engine.runtime import Budget
from wfcelery.engine.sweeping import Sweep
from wfcelery.engine.waking import Waking, tell
from wfcelery.errors import RowChanged
from wfcelery.service import starting
from wfcelery.store import due, events, inbox, leases, schedules
from wfcelery.store.claims import Claimed, claim, claim_group
from wfcelery.store.database import Tx
from wfcelery.store.schedules import Terms
from wfcelery.store.starting import NewRun
from wfcelery.store.transactional import report

ERROR = {"type": "Oops", "code": None, "message": "no luck"}
BESIDE_IT, INSTEAD_OF_IT = UUID(int=2**128 - 4), UUID(int=2**128 - 3)  # schedules
SENT = UUID(int=2**128 - 12)
HOLDS, WAITS = UUID(int=2**128 - 20), UUID(int=2**128 - 21)  # runs that share a lock
Side = int  # 0 or 1: two transactions of one kind are of two workers


@dataclass(frozen=True, slots=True)
class Transaction:
    """One of `PROTOCOL.md` section 2."""

    name: str
    make: Callable[[Scene, Side], Callable[[], object]]
    prepare: Callable[[Scene], None] | None = None
    locks: bool = True  # it takes the lock of the run, of which all is under way, before it reads anything
    passes: bool = False  # what it finds locked it leaves for another time
    raises: tuple[type[Exception], ...] = ()  # what its docstring says it raises where another was first
    ends: str = "succeeded"  # how the run ends with it


def _claim(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: executing._try_claim(scene.hands[side].runtime, "default", scene.ids["idle"])


def _claim_group(scene: Scene, side: Side) -> Callable[[], object]:
    def claim() -> object:
        with scene.database.transaction() as tx:
            return claim_group(tx, "default", scene.ids["pack"], 1, uuid4(), scene.hands[side].worker, "100:1")

    return claim


def _start(scene: Scene, side: Side) -> Callable[[], object]:
    """The same key at once: one of the two runs comes to be, and both callers get it."""
    new = NewRun(uuid7(), "default", "small", scene.small, "{}", "digest", key="the same", delay=3600.0)

    def start() -> object:
        with scene.database.transaction() as tx:
            return starting._insert(tx, starting.Start(scene.small, new, "return"))

    return start


def _renew(scene: Scene, side: Side) -> Callable[[], object]:
    def renew() -> object:
        with scene.database.transaction() as tx:
            return leases.renew(tx, scene.hands[side].worker, [scene.tokens["left"], scene.tokens["fast"]], 3600.0)

    return renew


def _finish(scene: Scene, side: Side) -> Callable[[], object]:
    name = ("left", "right")[side]
    return lambda: apply(scene.hands[side].runtime, scene.run, (Succeeded(scene.ids[name], scene.tokens[name], name),))


def _finish_group(scene: Scene, side: Side) -> Callable[[], object]:
    token, rows = scene.groups[side]
    ends = tuple(ItemEnd(row.id, row.item, value=row.item) for row in rows)
    return lambda: apply(scene.hands[side].runtime, scene.run, (GroupEnded(scene.ids["pack"], token, ends),))


def _hand_back_items(scene: Scene, side: Side) -> Callable[[], object]:
    token, (first, second) = scene.groups[side]
    fact = GroupEnded(scene.ids["pack"], token, (ItemEnd(first.id, first.item, value=first.item),), (second.id,))
    return lambda: apply(scene.hands[side].runtime, scene.run, (fact,))


def _finish_fast(scene: Scene, side: Side) -> Callable[[], object]:
    name, runtime = ("fast", "quick")[side], scene.hands[side].runtime
    row, known = replace(scene.rows[name], seen=(scene.rows[name].status, scene.tokens[name])), scene.known()
    return lambda: executing.finish(runtime, row, known, Succeeded(row.id, scene.tokens[name], name), Keeping(Budget(3600.0)))


def _fail(scene: Scene, side: Side) -> Callable[[], object]:
    fact = Failed(scene.ids["flaky"], scene.tokens["flaky"], ERROR)
    return lambda: apply(scene.hands[side].runtime, scene.run, (fact,))


def _fail_for_good(scene: Scene, side: Side) -> Callable[[], object]:
    fact = Failed(scene.ids["fatal"], scene.tokens["fatal"], ERROR, final=True)
    return lambda: apply(scene.hands[side].runtime, scene.run, (fact,))


def _flaky(scene: Scene) -> due.Attempt:
    return due.Attempt(scene.run, scene.ids["flaky"], scene.tokens["flaky"], "flaky")


def _lose(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: Sweep(scene.hands[side].runtime).declare_lost(_flaky(scene))


def _time_out(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: Sweep(scene.hands[side].runtime)._time_out(_flaky(scene))


def _wake(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: Waking(scene.hands[side].runtime).wake(scene.wait)


def _wake_ahead(scene: Scene, side: Side) -> Callable[[], object]:
    """As a sweep does: over the version that the run was found with, and from the lock only where that does not do."""
    waking = Waking(scene.hands[side].runtime)

    def wake() -> list[bool]:
        with scene.database.single() as tx:
            found = waking.find(tx, 100)
        return [waking.wake(wait) for wait in found]

    return wake


def _wake_along(scene: Scene, side: Side) -> Callable[[], object]:
    """As a worker does that was rung for it: it ends the sleep and keeps the step behind it, in one commit."""
    runtime = scene.hands[side].runtime
    waking = Waking(runtime)

    def wake() -> object:
        with scene.database.single() as tx:
            found = waking.find(tx, 100)
        return [tell(runtime, wait, waking._known.get(wait), Keeping(Budget(3600.0))) for wait in found]

    return wake


def _pass_the_deadline(scene: Scene) -> None:
    scene.past("wf_run", "deadline", f"id = '{scene.id_as_text(scene.run)}'")
    scene.past("wf_run", "due_at", f"id = '{scene.id_as_text(scene.run)}'")


def _end(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: Sweep(scene.hands[side].runtime)._end(due.Run(scene.run))


def _put(scene: Scene, side: Side) -> Callable[[], object]:
    def put() -> None:
        with scene.database.transaction() as tx:
            minted_long_ago(tx, UUID(int=side + 1), scene.run, {"reason": f"of caller {side}"})

    return put


def minted_long_ago(tx: Tx, id: UUID, run: UUID, data: dict[str, str]) -> None:
    """As `inbox.put`, under an id that is older than what was put before: ids are not in the order of commits."""
    tx.execute(inbox._PUT, {"id": id, "organization_id": "default", "run": run, "fact": "cancel", "data": dumps(data)})


def _put_a_cancel(scene: Scene) -> None:
    with scene.database.transaction() as tx:
        inbox.put(tx, "default", scene.run, "cancel", {"reason": "before"})


def _put_a_pause(scene: Scene) -> None:
    with scene.database.transaction() as tx:
        inbox.put(tx, "default", scene.run, "pause", {"reason": "before"})


def _pause_and_put_a_resume(scene: Scene) -> None:
    _put_a_pause(scene)
    apply(scene.hands[0].runtime, scene.run, Inbox("default"))
    with scene.database.transaction() as tx:
        inbox.put(tx, "default", scene.run, "resume", {})


def _put_a_move(scene: Scene) -> None:
    """To a version that has one task more, behind what has not ended."""
    more = scene.another_version("  - {name: more, action: x, after: [joined, after_fast]}\n")
    with scene.database.transaction() as tx:
        inbox.put(tx, "default", scene.run, "move", {"to": more, "by": None})


def _put_a_completion(scene: Scene) -> None:
    """Somebody completes the step that is ready and that nobody has claimed."""
    with scene.database.transaction() as tx:
        inbox.put(tx, "default", scene.run, "complete", {"task": "idle", "value": "by hand", "reason": "before", "by": None})


def _put_a_cancel_of_a_step(scene: Scene) -> None:
    """Somebody cancels the step that is ready and that nobody has claimed."""
    with scene.database.transaction() as tx:
        inbox.put(tx, "default", scene.run, "cancel_step", {"task": "idle", "reason": "before", "by": None})


def _pause_that_is_over(scene: Scene) -> None:
    apply(scene.hands[0].runtime, scene.run, (PauseAsked("before", delay=3600.0),))
    scene.past("wf_run", "resume_at", f"id = '{scene.id_as_text(scene.run)}'")


def _resume(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: Sweep(scene.hands[side].runtime)._resume(due.Paused(scene.run, "default", "order", "before"))


def _start_another(scene: Scene) -> None:
    started(scene.database, id=NEW, workflow="small", definition=scene.small, input="{}")


def _fail_another(scene: Scene) -> None:
    """A run that has failed, and somebody asks for its dead letter again."""
    runtime = scene.hands[0].runtime
    started(scene.database, id=FAILED, workflow="small", definition=scene.small, input="{}")
    apply(runtime, FAILED, Inbox("default"))
    [(id_,)] = look(scene.database, "select id from wf_step where run = :run", run=FAILED)
    step, token = UUID(str(id_)), uuid4()
    with scene.database.transaction() as tx:
        assert isinstance(claim(tx, "default", step, token, scene.hands[0].worker, "100:1", 0.0), Claimed)
    apply(runtime, FAILED, (Failed(step, token, ERROR, final=True),))
    with scene.database.transaction() as tx:
        inbox.put(tx, "default", FAILED, "retry", {"step": str(step), "by": None})


def _put_for_another(scene: Scene, side: Side) -> Callable[[], object]:
    def put() -> None:
        with scene.database.transaction() as tx:
            inbox.put(tx, "default", NEW, "cancel", {"reason": f"of caller {side}"})

    return put


def _begin(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: apply(scene.hands[side].runtime, NEW, Inbox("default"))


def _begin_ahead(scene: Scene, side: Side) -> Callable[[], object]:
    """As a dispatcher does: over the version that it read, and from the lock only where that does not do."""
    runtime = scene.hands[side].runtime
    return lambda: begin(runtime, NEW, "default", None) or apply(runtime, NEW, Inbox("default"))


def _drain_a_retry(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: apply(scene.hands[side].runtime, FAILED, Inbox("default"))


def _hand_back(scene: Scene, side: Side) -> Callable[[], object]:
    """The inbox of a worker that holds a step which it has not begun, and which the cancel takes from it."""
    name = ("left", "right")[side]
    return lambda: apply(scene.hands[side].runtime, scene.run, Inbox("default"), kept=(scene.ids[name], scene.tokens[name]))


def _report_of(scene: Scene, name: str) -> None:
    with scene.database.transaction() as tx:
        report(tx, "default", scene.run, scene.ids[name], scene.tokens[name], dumps(name))


def _drain(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: apply(scene.hands[side].runtime, scene.run, Inbox("default"))


def _report(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: _report_of(scene, "pay")


def _report_another(scene: Scene) -> None:
    _report_of(scene, "paid")


def _ring(scene: Scene, side: Side) -> Callable[[], object]:
    runtime = scene.hands[side].runtime

    def ring() -> object:
        with scene.database.transaction() as tx:
            return runtime.plans.with_tasks(tx, due.ring_steps(tx, 100, 3600.0))

    return ring


def _ring_runs(scene: Scene, side: Side) -> Callable[[], object]:
    def ring() -> object:
        with scene.database.transaction() as tx:
            return due.ring_runs(tx, 100, 3600.0)

    return ring


def _schedule(scene: Scene, id: UUID, overlap: Overlap) -> None:
    """A slot has come, of a schedule whose earlier run is going."""
    with scene.database.transaction() as tx:
        terms = Terms("small", "{}", None, 86_400, "UTC", overlap, 10 * 86_400.0)
        assert schedules.insert(tx, id, "default", f"one that says {overlap}", terms, schedules.now(tx) - timedelta(seconds=60), None)
    change(scene.database, "update wf_schedule set runs = :runs", runs=f'["{scene.run}"]')


def _schedule_beside(scene: Scene) -> None:
    _schedule(scene, BESIDE_IT, "allow")


def _schedule_instead(scene: Scene) -> None:
    _schedule(scene, INSTEAD_OF_IT, "cancel")


def _start_slot(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: scheduling._work_off(scene.hands[side].runtime, BESIDE_IT)


def _cancel_for_slot(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: scheduling._work_off(scene.hands[side].runtime, INSTEAD_OF_IT)


def _listen(scene: Scene) -> None:
    """A run waits for news."""
    if look(scene.database, "select id from wf_run where workflow = 'listening'"):
        return
    started(scene.database, id=LISTENER, workflow="listening", definition=scene.listening, input="{}")
    apply(scene.hands[0].runtime, LISTENER, Inbox("default"))


def _listen_to_what_came(scene: Scene) -> None:
    """And something has come: it is in its inbox."""
    _listen(scene)
    with scene.database.transaction() as tx:
        events.insert(tx, events.NewEvent(SENT, "default", "news", "", dumps("first")))
        events.lead(tx, [SENT])


def _send(scene: Scene, side: Side) -> Callable[[], object]:
    """The same event at once, from two: it counts once. (Two events that do not see each other may both be led to one wait.)"""
    new = events.NewEvent(UUID(int=2**128 - 10 - side), "default", "news", "", dumps("hello"), dedup="the same")

    def send() -> object:
        with scene.database.transaction() as tx:
            return events.lead(tx, [new.id]) if events.insert(tx, new) == new.id else None

    return send


def _hear(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: apply(scene.hands[side].runtime, LISTENER, Inbox("default"))


def _lock_up(scene: Scene) -> None:
    """A run has a lock, and executes the step that it is for; another waits for it."""
    if look(scene.database, "select id from wf_run where workflow = 'locked'"):
        return
    for id_ in (HOLDS, WAITS):
        started(scene.database, id=id_, workflow="locked", definition=scene.locked, input="{}")
        apply(scene.hands[0].runtime, id_, Inbox("default"))
    [(step,)] = look(scene.database, "select id from wf_step where run = :run", run=HOLDS)
    scene.ids["holds"], scene.tokens["holds"] = UUID(str(step)), uuid4()
    with scene.database.transaction() as tx:
        assert isinstance(claim(tx, "default", scene.ids["holds"], scene.tokens["holds"], scene.hands[0].worker, "100:1", 0.0), Claimed)


def _give_the_lock(scene: Scene) -> None:
    """And the one that has waited has been told that it has it."""
    _lock_up(scene)
    _free(scene, 0)()


def _cancel_who_waits(scene: Scene) -> None:
    _lock_up(scene)
    with scene.database.transaction() as tx:
        inbox.put(tx, "default", WAITS, "cancel", {"reason": "enough", "by": None})


def _free(scene: Scene, side: Side) -> Callable[[], object]:
    fact = Succeeded(scene.ids["holds"], scene.tokens["holds"], "x")
    return lambda: apply(scene.hands[side].runtime, HOLDS, (fact,))


def _wait_no_more(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: apply(scene.hands[side].runtime, WAITS, Inbox("default"))


def _look_after(scene: Scene, side: Side) -> Callable[[], object]:
    def looked() -> object:
        with scene.database.transaction() as tx:
            return look_after(tx, "default", ("lock", "till"))

    return looked


def _expand(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: apply(scene.hands[side].runtime, scene.run, (Expanded(scene.ids["crates"]),))


TRANSACTIONS = (
    Transaction("T1-start", _start, locks=False),
    Transaction("T1-begin", _begin, _start_another, locks=False),
    Transaction("T1-begin-ahead", _begin_ahead, _start_another, locks=False),
    Transaction("T3-claim", _claim, locks=False),
    Transaction("T3-claim-group", _claim_group, locks=False, passes=True),
    Transaction("T4-renew", _renew, locks=False),
    Transaction("T5-finish", _finish),
    Transaction("T5-finish-fast", _finish_fast, locks=False),
    Transaction("T5-finish-group", _finish_group),
    Transaction("T5-hand-back-items", _hand_back_items),
    Transaction("T6-fail", _fail),
    Transaction("T6-fail-for-good", _fail_for_good, ends="failed"),
    Transaction("T6-lost", _lose, passes=True),
    Transaction("T7-ring", _ring, locks=False, passes=True),
    Transaction("T7-ring-runs", _ring_runs, _start_another, locks=False, passes=True),
    Transaction("T7-report", _report, locks=False, raises=(RowChanged,)),
    Transaction("T7-slot", _start_slot, _schedule_beside, locks=False),
    Transaction("T7-slot-cancel", _cancel_for_slot, _schedule_instead, locks=False, ends="cancelled"),
    Transaction("T8-time-out", _time_out, passes=True),
    Transaction("T8-wake", _wake, passes=True),
    Transaction("T8-wake-ahead", _wake_ahead, locks=False, passes=True),
    Transaction("T8-wake-along", _wake_along, locks=False, passes=True),
    Transaction("T8-deadline", _end, _pass_the_deadline, passes=True, ends="timed_out"),
    Transaction("T9-put", _put, locks=False, ends="cancelled"),
    Transaction("T9-put-for-another", _put_for_another, _start_another, locks=False),
    Transaction("T9-send", _send, _listen, locks=False),
    Transaction("T10-drain-event", _hear, _listen_to_what_came, locks=False),
    Transaction("T10-drain-cancel", _drain, _put_a_cancel, ends="cancelled"),
    Transaction("T10-drain-pause", _drain, _put_a_pause),
    Transaction("T10-drain-resume", _drain, _pause_and_put_a_resume),
    Transaction("T10-drain-move", _drain, _put_a_move),
    Transaction("T10-drain-complete", _drain, _put_a_completion),
    Transaction("T8-pause-over", _resume, _pause_that_is_over, passes=True),
    Transaction("T10-drain-report", _drain, _report_another),
    Transaction("T10-drain-retry", _drain_a_retry, _fail_another, locks=False),
    Transaction("T10-hand-back", _hand_back, _put_a_cancel, ends="cancelled"),
    Transaction("T10-hand-back-paused", _hand_back, _put_a_pause),
    Transaction("T11-expand", _expand),
    Transaction("T5-free", _free, _lock_up, locks=False),
    Transaction("T10-drain-gate", _wait_no_more, _give_the_lock, locks=False),
    Transaction("T10-drain-waiter", _wait_no_more, _cancel_who_waits, locks=False),
    Transaction("T7-limits", _look_after, _lock_up, locks=False),
    Transaction("T10-drain-cancel-step", _drain, _put_a_cancel_of_a_step),
    Transaction("T9-reject", beside.reject, beside.ask, locks=False),
    Transaction("T8-remind", beside.remind, beside.ask, locks=False),
    Transaction("T10-drain-answer", beside.drain(beside.ASKING), beside.ask_and_answer, locks=False),
    Transaction("T5-end-child", beside.end_child, beside.call, locks=False),
    Transaction("T10-drain-child", beside.drain(beside.PARENT), beside.call_and_end, locks=False),
    Transaction("T10-cancel-parent", beside.drain(beside.PARENT), beside.call_and_cancel, locks=False),
    Transaction("T6-undo", beside.begin_to_undo, beside.do_what_can_be_undone, locks=False),
    Transaction("T10-cancel-undone", beside.drain(beside.UNDONE), beside.do_and_cancel, locks=False),
)
Pair = tuple[Transaction, Transaction]
PAIRS: tuple[Pair, ...] = tuple(combinations_with_replacement(TRANSACTIONS, 2))


# Of a run beside the one of which all is under way. Two transactions of two runs hardly meet: these pairs are for the long check.
BESIDE = frozenset(
    {
        *("T1-start", "T1-begin", "T1-begin-ahead", "T7-ring-runs", "T7-slot", "T7-slot-cancel", "T9-put-for-another", "T9-send"),
        *("T10-drain-event", "T10-drain-retry"),
        *("T5-free", "T7-limits", "T10-drain-gate", "T10-drain-waiter"),
    }
)
# Each of these meets itself in every check, and those of `MEET`.
APART = frozenset(
    {
        *("T9-reject", "T8-remind", "T10-drain-answer", "T5-end-child", "T10-drain-child", "T10-cancel-parent"),
        *("T6-undo", "T10-cancel-undone"),
    }
)
MEET = frozenset(
    {
        *(("T9-reject", "T10-drain-answer"), ("T8-remind", "T10-drain-answer"), ("T5-end-child", "T10-cancel-parent")),
        ("T6-undo", "T10-cancel-undone"),
    }
)


def is_short(pair: Pair) -> bool:
    """Whether a pair is part of every check."""
    names = pair[0].name, pair[1].name
    if APART & set(names):
        return names[0] == names[1] or names in MEET
    return len(BESIDE & set(names)) in (0, len(set(names)))


def named(one: str, other: str) -> Pair:
    """The pair of these names."""
    by_name = {transaction.name: transaction for transaction in TRANSACTIONS}
    return by_name[one], by_name[other]
