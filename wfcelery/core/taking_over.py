"""A run that begins with what another run has: the steps it names are over as soon as they are reached, worth what they were there.

Everything else is as ever: joins count, decisions choose, variables are published, a `when` says no. So a run that takes over
all that stands before one step stands at that step when its first commit is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from wfcelery.core.draft import Draft, digest
from wfcelery.core.events import TakenOver
from wfcelery.core.rows import Ended, StepRow
from wfcelery.core.states import StepStatus
from wfcelery.core.step_machine import OPERATOR, end
from wfcelery.definition.plan import Node, Plan

_NOTHING_IN_THEM = ("gate", "end", "fail")


class StepLike(Protocol):
    """What is looked at of a step of the other run."""

    @property
    def name(self) -> str: ...
    @property
    def item(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def why(self) -> str | None: ...
    @property
    def blockers(self) -> int: ...


def to_take(plan: Plan, steps: Sequence[StepLike], start: str) -> tuple[list[str], list[str]]:
    """The steps to take over, and those that a person skipped, for a run that begins at `start`.

    What is behind it runs anew, and so does what did not succeed elsewhere, with all that is behind that. A fan-out is taken
    over as a whole, or, where an item of it has failed, not at all.
    """
    entry = f"{start}:fork" if f"{start}:fork" in plan.nodes else start
    found = {step.name: step for step in steps if step.item < 0}
    skipped = [name for name, step in found.items() if step.status == StepStatus.SKIPPED and step.why == OPERATOR]
    anew = [entry, *(name for name, step in found.items() if name in plan.nodes and _begins_anew(plan.nodes[name], step))]
    behind = _behind(plan, anew)
    good = [
        name
        for name, step in found.items()
        if step.status == StepStatus.SUCCEEDED and name in plan.nodes and plan.nodes[name].kind not in _NOTHING_IN_THEM
    ]
    return [name for name in good if name not in behind], [name for name in skipped if name not in behind]


def _begins_anew(node: Node, step: StepLike) -> bool:
    if step.status in (StepStatus.SUCCEEDED, StepStatus.SKIPPED):
        return node.fans_out and step.blockers > 0
    return not (step.status == StepStatus.CANCELLED and (step.why or "").startswith("rest:"))  # a join closes it again


def _behind(plan: Plan, names: Sequence[str]) -> set[str]:
    """These and everything that can be reached from them."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left.extend(edge.target for edge in plan.nodes[name].outbound)
    return found


def on_taken_over(draft: Draft, fact: TakenOver) -> None:
    """Remembered for when the run begins, in this very commit."""
    draft.taken = fact


def take_over(draft: Draft, node: Node, row: StepRow | None, source: UUID, found: Mapping[str, Ended]) -> None:
    """The node is over, as it was in the other run."""
    row = row or draft.new_row(node)
    draft.run.open_steps += 1
    was = found[node.name]
    if was.status == StepStatus.SKIPPED:
        draft.move(row, StepStatus.SKIPPED, OPERATOR)
        draft.note("step_skipped", row, why=OPERATOR, run=str(source))
        end(draft, row, "skipped")
        return
    row.output = was.result
    draft.move(row, StepStatus.SUCCEEDED)
    draft.note("step_taken_over", row, run=str(source), value=digest(row.output))
    end(draft, row, "succeeded")
    draft.results[node.name] = Ended("succeeded", row.output)
