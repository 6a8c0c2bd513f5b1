"""A decision in the making: working copies of the rows it reads, and what becomes of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any
from uuid import UUID

from wfcelery.core.asking import DECIDED
from wfcelery.core.decision import Decision, Missing, RingRun, RingStep
from wfcelery.core.events import TakenOver, WaitCame, note
from wfcelery.core.rows import NO_ITEM, ApprovalRow, Called, Ended, ItemRow, RunRow, Slice, StepRow, Story, WaitKind, WaitRow
from wfcelery.core.states import STEP_ENDED, STEP_TABLE, StepStatus
from wfcelery.definition.plan import Node, Plan
from wfcelery.definition.values import MISSING, dumps
from wfcelery.errors import IllegalTransition

LATE = "late"  # of an item's `why`: it ended when the run had gone on, and counts for nothing
_FAILURES = (StepStatus.FAILED, StepStatus.TIMED_OUT)
_WORTH = (StepStatus.SUCCEEDED, *_FAILURES)
_WORTH_FAILED = ("action", "call")  # kinds of nodes that are worth a Failed where their failure lets the run go on
_STEP_MOVES = {was: frozenset().union(*ways.values()) for was, ways in STEP_TABLE.items()}


class NeedMore(Exception):  # noqa: N818  not an error: the slice is too small
    """Raised inside a decision, answered by `decide` as `Missing`."""

    def __init__(self, missing: Missing) -> None:
        super().__init__(missing)
        self.missing = missing


class Draft:
    """One decision in the making. Rows of the slice are copied before they are changed."""

    def __init__(self, view: Slice, mint: Callable[[], UUID]) -> None:
        self.view, self.plan, self.mint = view, view.plan, mint
        self.run = view.run.copied()
        self.decision = Decision(self.run, view.run.version)
        self.rows: dict[UUID, StepRow] = {}
        self.named: dict[str, StepRow] = {}
        self.results: dict[str, Ended] = {}
        self.ended: deque[tuple[Node, str]] = deque()  # nodes that ended and have not yet led on
        self.anew: deque[StepRow] = deque()  # retried steps that never had an input, to be reached when all others have led on
        self.taken: TakenOver | None = None  # what a run begins with that goes on where another stood
        self.facts = self.decision.facts
        self.approvals: dict[UUID, ApprovalRow | None] = {}  # by step
        self.overdue: list[WaitCame] = []  # approvals whose deadline has passed, unless an answer came before it
        self.terminated = False  # by one of the facts of this decision
        self.laid_out: list[StepRow] = []  # what this decision found to be done before the run ends, and what of it is begun:
        self.taken_up: set[UUID] = set()
        self._written: dict[UUID, None] = {}  # in the order of their writing

    # -- reading ------------------------------------------------------------------------------------------------

    def step(self, name: str) -> StepRow | None:
        """The row of a task, if it has one; asks for it where the slice does not say."""
        if name in self.named:
            return self.named[name]
        if name not in self.view.steps:
            raise NeedMore(Missing(steps=frozenset({name})))
        row = self.view.steps[name]
        return None if row is None else self._copy(row)

    def know(self, names: Iterable[str]) -> None:
        """Make sure that all these tasks' rows are known, asking for all that are not at once."""
        unknown = frozenset(name for name in names if name not in self.named and name not in self.view.steps)
        if unknown:
            raise NeedMore(Missing(steps=unknown))

    def other_plan(self, signature: str) -> Plan:
        """The plan of another definition, which a fact has named."""
        return self.view.plans[signature]

    def go_by(self, plan: Plan) -> None:
        """From here on the run goes by this plan. Parameters that are new get their defaults."""
        self.plan = self.decision.moved = plan
        self.run.definition = plan.signature
        self.run.input = {**plan.defaults, **self.run.input}

    def by_id(self, step: UUID) -> StepRow | None:
        """The row a fact names, or None where there is none; asks for it where the slice does not say."""
        if step in self.rows:
            return self.rows[step]
        if step not in self.view.by_id:
            raise NeedMore(Missing(ids=frozenset({step})))
        row = self.view.by_id[step]
        return None if row is None else self._copy(row)

    def open_rows(self) -> list[StepRow]:
        """Every row of the run that is not over, locked, and those that this very decision has made or reopened."""
        if self.view.open_rows is None:
            raise NeedMore(Missing(open_rows=True))
        listed = [self._copy(row) for row in self.view.open_rows]
        known = {row.id for row in listed}
        return listed + [self.rows[key] for key in self._written if key not in known and self.rows[key].status not in STEP_ENDED]

    def open_waits(self) -> list[WaitRow]:
        """The waits that were open when the slice was read, the oldest first; what this decision opens is not among them."""
        if self.view.waits is None:
            raise NeedMore(Missing(waits=True))
        return self.view.waits

    def approval(self, row: StepRow) -> ApprovalRow | None:
        """What is asked of people while this step waits."""
        if self.view.approvals is None:
            raise NeedMore(Missing(approvals=True))
        if row.id not in self.approvals:
            found = next((each for each in self.view.approvals if each.step == row.id), None)
            self.approvals[row.id] = None if found is None else replace(found)
        return self.approvals[row.id]

    def called(self, name: str, signature: str | None) -> Called | None:
        """The definition a child is to go by; None where there is none."""
        key = signature or name
        if key not in self.view.called:
            raise NeedMore(Missing(called=frozenset({(name, signature)})))
        return self.view.called[key]

    def loose_children(self) -> list[tuple[UUID, str]]:
        """The children that no step waits for and that have not ended, those too that are born in this commit; with their tasks."""
        if self.view.loose is None:
            raise NeedMore(Missing(loose=True))
        return [*self.view.loose, *((child.id, self.rows[child.step].name) for child in self.decision.children if not child.waited)]

    def stopped_rows(self) -> list[StepRow]:
        """Every row that was closed because of a failure, or ended while the run was ending."""
        if self.view.stopped is None:
            raise NeedMore(Missing(stopped=True))
        return [self._copy(row) for row in self.view.stopped]

    def items_of(self, name: str) -> list[ItemRow]:
        """How the items of a fan-out stand that is over."""
        if name not in self.view.items:
            raise NeedMore(Missing(items=frozenset({name})))
        return self.view.items[name]

    def story(self) -> Story:
        """What the history says of the order in which tasks have ended."""
        if self.view.story is None:
            raise NeedMore(Missing(story=True))
        return self.view.story

    def line(self, number: int) -> list[StepRow]:
        """The next so many rows of what is to be done before the run ends, in their order."""
        if self.view.line is None or (self.view.line_asked < number and len(self.view.line) == self.view.line_asked):
            raise NeedMore(Missing(line=number))
        return [self._copy(row) for row in self.view.line]

    def scope(self, tasks: Iterable[str], **more: Any) -> dict[str, Any]:
        """What an expression sees: parameters, variables, the ends of the tasks it names, and the run itself."""
        wanted = frozenset(name for name in tasks if name in self.plan.nodes)
        unknown = wanted - self.results.keys() - self.view.results.keys()
        if unknown:
            raise NeedMore(Missing(results=unknown))
        found = {name: as_seen(self.plan, name, self._end_of(name)) for name in wanted}
        return scope_of(self.plan, self.view.run, self.run.variables, found, **more)

    def worth(self, name: str) -> Any:
        """What a task that has succeeded is worth; asks for it where the slice does not say."""
        if name not in self.results and name not in self.view.results:
            raise NeedMore(Missing(results=frozenset({name})))
        return self._end_of(name).result

    def _end_of(self, name: str) -> Ended:
        """How a task ended. Of a fan-out that ends in this very commit, the last items are only here."""
        if name in self.results:
            return self.results[name]
        known, row = self.view.results[name], self.named.get(name)
        if row is None or row.items_left is None:
            return known
        results = list(known.result or [])
        failed = set(known.failed_items)
        for item in self.rows.values():
            if item.fan_out == row.id and item.why != LATE and item.status in _WORTH:
                results.extend([None] * (item.item + 1 - len(results)))
                good = item.status is StepStatus.SUCCEEDED
                results[item.item] = item.output if good else failed_item(item)
                (failed.discard if good else failed.add)(item.item)
        status = str(StepStatus.SUCCEEDED if row.why == DECIDED else row.status)
        end = self.results[name] = Ended(status, results, row.error, tuple(sorted(failed)))
        return end

    def _copy(self, row: StepRow) -> StepRow:
        mine = self.rows.get(row.id)
        if mine is None:
            mine = self.rows[row.id] = row.copied()
            if row.item == NO_ITEM:
                self.named[row.name] = mine
        return mine

    # -- writing ------------------------------------------------------------------------------------------------

    def new_row(self, node: Node) -> StepRow:
        """A row that is born in this commit; its status is set by `move`."""
        row = StepRow(self.mint(), node.name, queue=node.queue, priority=node.priority)
        self.rows[row.id] = self.named[node.name] = row
        return row

    def move(self, row: StepRow, status: StepStatus, why: str | None = None) -> None:
        """Change a row's status along the table, and have it written."""
        was = row.status if row.seen is not None or row.id in self._written else None
        if status not in _STEP_MOVES[was] and was is not status:
            raise IllegalTransition(f"step {row.name}", str(was), str(status))
        row.status, row.why = status, why
        if row.gates is not None:
            self.decision.gated[row.id] = row
        self.write(row)

    def write(self, row: StepRow) -> None:
        """Have a row written, once."""
        before = len(self._written)
        self._written.setdefault(row.id)
        if len(self._written) > before:
            self.decision.steps.append(row)

    def note(self, what: str, row: StepRow | None = None, **more: Any) -> None:
        """Say in the history what happened."""
        self.facts.append(note(what, **more) if row is None else note(what, row.name, row.item, **more))

    def open_wait(self, row: StepRow, kind: WaitKind, delay: float | None = None, due_at: datetime | None = None, **said: Any) -> None:
        """A wait that holds no worker; `said` is what else its row says."""
        self.decision.waits.append(WaitRow(self.mint(), row.id, kind, delay, due_at, **said))

    def ring_step(self, row: StepRow, action: str, times: int = 1) -> None:
        """Tell the workers after the commit."""
        run = self.run
        ring = RingStep(run.organization_id, run.id, row.id, row.queue or run.queue, row.priority or run.priority, action)
        self.decision.rings.extend([ring] * times)

    def unring(self, step: UUID) -> None:
        """What was to be rung is over before the commit."""
        self.decision.rings = [ring for ring in self.decision.rings if not (isinstance(ring, RingStep) and ring.step == step)]

    def ring_run(self) -> None:
        """Tell a dispatcher after the commit."""
        self.decision.rings.append(RingRun(self.run.organization_id, self.run.id, self.run.queue))


def as_seen(plan: Plan, name: str, end: Ended) -> dict[str, Any]:
    """How a template sees the end of a task. One that failed under `on_error: continue` is worth a `Failed`, as an item is."""
    many = end.result if isinstance(end.result, list) else None
    result = end.result
    node = plan.nodes.get(name)
    if end.status in _FAILURES and result is None and node is not None and node.on_error == "continue" and node.kind in _WORTH_FAILED:
        result = {"$wf": ["failed", {"index": None, "item": None, "error": end.error}]}
    return {
        "status": end.status,
        "result": result,
        "output": result,
        "results": many,
        "failed_items": list(end.failed_items),
        "error": None if end.error is None else dict(end.error),
    }


def scope_of(plan: Plan, run: RunRow, variables: Mapping[str, Any], tasks: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The scopes of the language; `more` adds item, index or error."""
    system = _system(run.id, run.workflow, plan.version, run.organization_id, run.key, run.created_at)
    return {"parameters": run.input, "vars": variables, "task": tasks, "system": system, **more}


@lru_cache(maxsize=256)  # the same for all steps of a run
def _system(
    run: UUID, workflow: str, version: str, organization_id: str, key: str | None, created_at: datetime | None
) -> Mapping[str, Any]:
    return {
        "run_id": str(run),
        "workflow": workflow,
        "version": version,
        "organization_id": organization_id,
        "key": key,
        "workflow_start": None if created_at is None else {"$wf": ["datetime", created_at.isoformat()]},
    }


def failed_item(row: StepRow) -> dict[str, Any]:
    """What a failed item is worth under `on_error: continue`."""
    return {"$wf": ["failed", {"index": row.item, "item": row.input, "error": row.error}]}


def lookup_in(scope: Mapping[str, Any]) -> Callable[[str, str | int], Any]:
    """Where a stored reference finds what it stands for."""
    return lambda root, name: scope[root].get(name, MISSING)


class Digest(str):
    """A digest among the words of a fact. Where values are encoded, the store seals it with a key before it writes it."""

    __slots__ = ()


def digest(value: Any) -> Digest:
    """What the history says of a value: enough to compare, nothing to read."""
    return Digest(sha256(dumps(value).encode()).hexdigest()[:16])


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as [first, last] pairs, so that ten thousand items are one short fact."""
    pairs: list[list[int]] = []
    for number in sorted(numbers):
        if pairs and pairs[-1][1] == number - 1:
            pairs[-1][1] = number
        else:
            pairs.append([number, number])
    return pairs
