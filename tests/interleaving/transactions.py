"""The engine's transactions on one run, as its workers, its sweeps and its callers begin them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

from tests.interleaving.scene import Scene
from wfcelery.core.events import Expanded, Failed, GroupEnded, ItemEnd, Succeeded
from wfcelery.definition.values import dumps
from wfcelery.engine import executing, grouping
from wfcelery.engine.apply import Keeping, apply
from wfcelery.engine.dispatching import Inbox
from wfcelery.engine.runtime import Budget
from wfcelery.engine.sweeping import Sweep
from wfcelery.errors import RowChanged
from wfcelery.store import due, inbox, leases
from wfcelery.store.transactional import report

ERROR = {"type": "Oops", "code": None, "message": "no luck"}
Side = int  # 0 or 1: two transactions of one kind are of two workers


@dataclass(frozen=True, slots=True)
class Transaction:
    """One of `PROTOCOL.md` section 2."""

    name: str
    make: Callable[[Scene, Side], Callable[[], object]]
    prepare: Callable[[Scene], None] | None = None
    locks: bool = True  # it takes the run's lock before it reads anything
    passes: bool = False  # what it finds locked it leaves for another time
    raises: tuple[type[Exception], ...] = ()  # what its docstring says it raises where another was first
    ends: str = "succeeded"  # how the run ends with it


def _claim(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: executing._try_claim(scene.hands[side].runtime, "default", scene.ids["idle"])


def _claim_group(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: grouping._claim(scene.hands[side].runtime, "default", scene.run, scene.ids["pack"], 1)


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
    return lambda: Sweep(scene.hands[side].runtime)._wake(scene.wait)


def _put(scene: Scene, side: Side) -> Callable[[], object]:
    def put() -> None:
        with scene.database.transaction() as tx:
            inbox.put(tx, "default", scene.run, "cancel", {"reason": f"of caller {side}"})

    return put


def _put_a_cancel(scene: Scene) -> None:
    with scene.database.transaction() as tx:
        inbox.put(tx, "default", scene.run, "cancel", {"reason": "before"})


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


def _expand(scene: Scene, side: Side) -> Callable[[], object]:
    return lambda: apply(scene.hands[side].runtime, scene.run, (Expanded(scene.ids["crates"]),))


TRANSACTIONS = (
    Transaction("T3-claim", _claim, locks=False),
    Transaction("T3-claim-group", _claim_group, locks=False, passes=True),
    Transaction("T4-renew", _renew, locks=False),
    Transaction("T5-finish", _finish),
    Transaction("T5-finish-fast", _finish_fast, locks=False),
    Transaction("T5-finish-group", _finish_group),
    Transaction("T6-fail", _fail),
    Transaction("T6-fail-for-good", _fail_for_good, ends="failed"),
    Transaction("T6-lost", _lose, passes=True),
    Transaction("T7-ring", _ring, locks=False, passes=True),
    Transaction("T7-report", _report, locks=False, raises=(RowChanged,)),
    Transaction("T8-time-out", _time_out, passes=True),
    Transaction("T8-wake", _wake, passes=True),
    Transaction("T9-put", _put, locks=False, ends="cancelled"),
    Transaction("T10-drain-cancel", _drain, _put_a_cancel, ends="cancelled"),
    Transaction("T10-drain-report", _drain, _report_another),
    Transaction("T11-expand", _expand),
)
Pair = tuple[Transaction, Transaction]
PAIRS: tuple[Pair, ...] = tuple(combinations_with_replacement(TRANSACTIONS, 2))

# In thousands of orders neither of the two waits; these pairs are for the long check.
MANY_STATEMENTS_WITHOUT_THE_LOCK = frozenset({"T3-claim-group", "T4-renew", "T7-ring", "T7-report"})
# As are those that differ from another in what they decide alone: they lock, read and write in the same order.
MORE_OF_A_KIND = frozenset(
    {"T5-finish-group", "T6-fail", "T6-fail-for-good", "T6-lost", "T8-wake", "T10-drain-report", "T11-expand"},
)


def is_short(pair: Pair) -> bool:
    """Whether a pair is part of every check."""
    names = {transaction.name for transaction in pair}
    many = names & MANY_STATEMENTS_WITHOUT_THE_LOCK and any(transaction.locks for transaction in pair)
    return not many and not names & MORE_OF_A_KIND


def named(one: str, other: str) -> Pair:
    """The pair of these names."""
    by_name = {transaction.name: transaction for transaction in TRANSACTIONS}
    return by_name[one], by_name[other]
