"""The history, folded: what all facts of a run together say about its present state.

Folding gives the stored state less what a claim writes (a claim writes no history): a step that the
history knows as `ready` may be `running` or `reported` in its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wfcelery.core.rows import NO_ITEM
from wfcelery.core.states import STEP_ENDED, STEP_OPEN, RunStatus, StepStatus

Place = tuple[str, int]  # a task's name and its item, -1 for the task itself


@dataclass(slots=True)
class Folded:
    """What the history says of one run."""

    status: RunStatus = RunStatus.PENDING
    version: int = 0
    ending: str | None = None
    steps: dict[Place, StepStatus] = field(default_factory=dict)
    failures: dict[Place, int] = field(default_factory=dict)
    lost: dict[Place, int] = field(default_factory=dict)
    values: dict[Place, str] = field(default_factory=dict)  # digests of results
    variables: dict[str, str] = field(default_factory=dict)  # digests
    sizes: dict[str, int] = field(default_factory=dict)  # items of a fan-out
    waits: set[str] = field(default_factory=set)  # tasks whose wait is open

    def items_left(self, name: str) -> int:
        """How many items of a fan-out have not ended."""
        return self.sizes[name] - self.items_ended(name)

    def items_ended(self, name: str) -> int:
        """How many items of a fan-out have ended."""
        return sum(1 for (step, item), status in self.steps.items() if step == name and item != NO_ITEM and status in STEP_ENDED)

    def open_steps(self) -> int:
        """How many steps are born and not over; items count through their fan-out."""
        return sum(1 for (_, item), status in self.steps.items() if item == NO_ITEM and status in STEP_OPEN)


def fold(history: Iterable[tuple[int, Sequence[Mapping[str, Any]]]]) -> Folded:
    """Fold the rows of a run's history, (version, facts), in the order of their versions.

    Raises ValueError where a version is missing or a fact is unknown.
    """
    state = Folded()
    for version, facts in history:
        if version != state.version + 1:
            raise ValueError(f"version {state.version + 1} is missing from the history")
        state.version = version
        for fact in facts:
            try:
                told = _FACTS[fact["fact"]]
            except KeyError:
                raise ValueError(f"version {version}: nobody knows the fact {fact.get('fact')!r}") from None
            told(state, fact)
        if state.ending is None and state.status in (RunStatus.RUNNING, RunStatus.WAITING):
            only_waits = len(state.waits) == state.open_steps() > 0
            state.status = RunStatus.WAITING if only_waits else RunStatus.RUNNING
    return state


def _place(fact: Mapping[str, Any]) -> Place:
    return fact["step"], fact.get("item", NO_ITEM)


def _becomes(status: StepStatus) -> Callable[[Folded, Mapping[str, Any]], None]:
    def told(state: Folded, fact: Mapping[str, Any]) -> None:
        place = _place(fact)
        state.steps[place] = StepStatus(fact.get("then", status))
        if "value" in fact:
            state.values[place] = fact["value"]
        if "failures" in fact:
            state.failures[place] = fact["failures"]
        if status in STEP_ENDED:
            state.waits.discard(place[0])

    return told


def _items_become(status: StepStatus) -> Callable[[Folded, Mapping[str, Any]], None]:
    def told(state: Folded, fact: Mapping[str, Any]) -> None:
        for first, last in fact["items"]:
            for item in range(first, last + 1):
                state.steps[fact["step"], item] = StepStatus(fact.get("then", status))

    return told


def _failed(status: StepStatus) -> Callable[[Folded, Mapping[str, Any]], None]:
    def told(state: Folded, fact: Mapping[str, Any]) -> None:
        place = _place(fact)
        state.steps[place] = status
        if place[1] == NO_ITEM:
            state.waits.discard(place[0])
        if "failures" in fact:
            state.failures[place] = fact["failures"]
        elif "lost" in fact:
            state.lost[place] = fact["lost"]
        elif "attempt" in fact:
            state.failures[place] = state.failures.get(place, 0) + 1

    return told


def _put_back(counter: str | None) -> Callable[[Folded, Mapping[str, Any]], None]:
    def told(state: Folded, fact: Mapping[str, Any]) -> None:
        place = _place(fact)
        state.steps[place] = StepStatus(fact.get("then", "ready"))
        if counter is not None:
            counts = getattr(state, counter)
            counts[place] = counts.get(place, 0) + 1

    return told


def _child_retried(state: Folded, fact: Mapping[str, Any]) -> None:
    state.steps[_place(fact)] = StepStatus(fact["then"])
    state.failures[_place(fact)] = fact["failures"]


def _round_ended(state: Folded, fact: Mapping[str, Any]) -> None:
    state.failures.pop(_place(fact), None)


def _run_is(status: RunStatus) -> Callable[[Folded, Mapping[str, Any]], None]:
    def told(state: Folded, _: Mapping[str, Any]) -> None:
        state.status = status

    return told


def _resumed(state: Folded, _: Mapping[str, Any]) -> None:
    state.status = RunStatus.RUNNING if state.ending is None else RunStatus.COMPENSATING


def _ending(state: Folded, fact: Mapping[str, Any]) -> None:
    state.ending, state.status = fact["ending"], RunStatus.CANCELLING


def _reopened(state: Folded, _: Mapping[str, Any]) -> None:
    state.ending, state.status = None, RunStatus.RUNNING


def _variables(state: Folded, fact: Mapping[str, Any]) -> None:
    state.variables.update(fact["values"])


def _opened(state: Folded, fact: Mapping[str, Any]) -> None:
    state.steps[_place(fact)] = StepStatus.WAITING
    state.waits.add(fact["step"])


def _fanned(state: Folded, fact: Mapping[str, Any]) -> None:
    state.steps[_place(fact)] = StepStatus.WAITING
    state.sizes[fact["step"]] = fact["items"]


def _added(state: Folded, fact: Mapping[str, Any]) -> None:
    state.sizes[fact["step"]] += fact["items"]


def _items_reopened(state: Folded, fact: Mapping[str, Any]) -> None:
    for first, last in fact["items"]:
        for item in range(first, last + 1):
            place = fact["step"], item
            state.steps[place] = StepStatus(fact["to"])
            state.failures.pop(place, None)
            state.lost.pop(place, None)


def _born(state: Folded, fact: Mapping[str, Any]) -> None:
    for item in range(fact["first"], fact["last"]):
        state.steps[fact["step"], item] = StepStatus.READY if item < fact["let_go"] else StepStatus.HELD


def _not_born(state: Folded, fact: Mapping[str, Any]) -> None:
    state.sizes[fact["step"]] = fact["first"]


def _let_go(state: Folded, fact: Mapping[str, Any]) -> None:
    for item in range(fact["first"], fact["last"]):
        if state.steps.get((fact["step"], item)) is StepStatus.HELD:
            state.steps[fact["step"], item] = StepStatus.READY


def _step_reopened(state: Folded, fact: Mapping[str, Any]) -> None:
    place, to = _place(fact), StepStatus(fact["to"])
    state.steps[place] = to
    if fact.get("anew"):
        state.failures.pop(place, None)
        state.lost.pop(place, None)
    if to is StepStatus.WAITING and place[1] == NO_ITEM:
        if "items" in fact:
            state.sizes[place[0]] = state.items_ended(place[0]) + fact["items"]
        else:
            state.waits.add(place[0])


def _nothing(_: Folded, __: Mapping[str, Any]) -> None:
    """A fact for the reader, which changes no state by itself."""


_FACTS: dict[str, Callable[[Folded, Mapping[str, Any]], None]] = {
    "run_begun": _run_is(RunStatus.RUNNING),
    "run_ending": _ending,
    "run_reopened": _reopened,
    "run_paused": _run_is(RunStatus.PAUSED),
    "run_resumed": _resumed,
    "run_compensating": _run_is(RunStatus.COMPENSATING),
    "run_terminated": _nothing,
    "run_healed": _nothing,
    "run_succeeded": _run_is(RunStatus.SUCCEEDED),
    "run_failed": _run_is(RunStatus.FAILED),
    "run_cancelled": _run_is(RunStatus.CANCELLED),
    "run_timed_out": _run_is(RunStatus.TIMED_OUT),
    "variables_set": _variables,
    "step_ready": _becomes(StepStatus.READY),
    "step_held": _becomes(StepStatus.HELD),
    "step_released": _becomes(StepStatus.READY),
    "step_blocked": _becomes(StepStatus.BLOCKED),
    "step_skipped": _becomes(StepStatus.SKIPPED),
    "step_taken_over": _becomes(StepStatus.SUCCEEDED),
    "step_succeeded": _becomes(StepStatus.SUCCEEDED),
    "step_cancelled": _becomes(StepStatus.CANCELLED),
    "step_compensated": _becomes(StepStatus.COMPENSATED),
    "step_failed": _failed(StepStatus.FAILED),
    "step_timed_out": _failed(StepStatus.TIMED_OUT),
    "step_retried": _put_back("failures"),
    "step_lost": _put_back("lost"),
    "step_parked": _put_back(None),
    "step_put_off": _put_back(None),
    "step_handed_back": _becomes(StepStatus.READY),
    "step_reopened": _step_reopened,
    "section_entered": _becomes(StepStatus.SUCCEEDED),
    "step_advanced": _nothing,
    "step_unadvanced": _nothing,
    "wait_opened": _opened,
    "child_begun": _becomes(StepStatus.WAITING),
    "child_ended": _nothing,
    "child_retried": _child_retried,
    "round_ended": _round_ended,
    "wait_came": _becomes(StepStatus.SUCCEEDED),
    "wait_met": _becomes(StepStatus.SUCCEEDED),
    "event_refused": _nothing,
    "wait_timed_out": _becomes(StepStatus.TIMED_OUT),
    "fan_out_opened": _fanned,
    "items_born": _born,
    "items_let_go": _let_go,
    "items_held": _items_become(StepStatus.HELD),
    "items_released": _items_become(StepStatus.READY),
    "items_not_born": _not_born,
    "items_succeeded": _items_become(StepStatus.SUCCEEDED),
    "items_cancelled": _items_become(StepStatus.CANCELLED),
    "items_skipped": _items_become(StepStatus.SKIPPED),
    "items_reopened": _items_reopened,
    "items_added": _added,
    "items_completed": _nothing,
    "items_refused": _nothing,
    "fan_out_decided": _nothing,
    "items_handed_back": _items_become(StepStatus.READY),
    "step_counted_anew": _becomes(StepStatus.BLOCKED),
    "run_moved": _nothing,
    "move_refused": _nothing,
    "retry_refused": _nothing,
    "skip_refused": _nothing,
    "complete_refused": _nothing,
    "approval_reminded": _nothing,
    "approval_escalated": _nothing,
    "approval_assigned": _nothing,
    "answer_refused": _nothing,
    "assign_refused": _nothing,
    "step_cancel_asked": _nothing,
    "step_cancel_refused": _nothing,
    "pause_refused": _nothing,
    "resume_refused": _nothing,
}
