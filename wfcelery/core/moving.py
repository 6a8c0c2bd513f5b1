"""A run goes on by another definition: what is done stays done, what is not reached yet is the new one's.

Whatever has a row must have a task of the same name and kind in the new plan; all that is wrong is said at once, and then nothing
moves. A task without a row whose sources have ended is counted anew, and so is a blocked one to which other ways lead now: as if
those ends had just come. What a decision chose when it ended is not known any more, so where that would matter the move is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from wfcelery.core import joins
from wfcelery.core.asking import DECIDED
from wfcelery.core.draft import Draft
from wfcelery.core.events import MoveAsked
from wfcelery.core.reaching import reach
from wfcelery.core.rows import RunRow, StepRow
from wfcelery.core.states import RUN_ENDED, STEP_ENDED, StepStatus
from wfcelery.core.step_machine import skip
from wfcelery.definition.plan import NOTHING, Edge, Node, Plan
from wfcelery.definition.values import is_kept_back

MOST_TOLD = 50
Rows = Mapping[str, StepRow | None]


def on_move_asked(draft: Draft, fact: MoveAsked) -> None:
    """Let the run go on by the definition of this signature, or say in the history why it cannot. One that has not begun has none."""
    if draft.run.version == 0:
        return
    old, new = draft.plan, draft.other_plan(fact.to)
    draft.know({*old.nodes, *new.nodes})
    rows = {name: draft.step(name) for name in {**old.nodes, **new.nodes}}
    why = list(refusals(draft.run, old, new, rows))
    if why:
        draft.note("move_refused", to=fact.to, by=fact.by, why=why[:MOST_TOLD])
        return
    draft.go_by(new)
    draft.note("run_moved", was=old.signature, to=new.signature, by=fact.by)
    ends = {name: how for name, row in rows.items() if row is not None and (how := how_it_ended(row)) is not None}
    for node in new.nodes.values():
        _count_anew(draft, old.nodes.get(node.name), node, rows.get(node.name), ends)


def how_it_ended(row: StepRow) -> str | None:
    """How a task has led on, as edges see it; None: it has not yet."""
    if row.status is StepStatus.SKIPPED:
        return "dead" if row.why == "dead" else "skipped"
    if row.status is StepStatus.WAITING and row.why == DECIDED:
        return "succeeded"
    return str(row.status) if row.status in STEP_ENDED else None


# ---- what forbids it -------------------------------------------------------------------------------------------------


def refusals(run: RunRow, old: Plan, new: Plan, rows: Rows) -> Iterator[str]:
    """Everything because of which a run that stands like this cannot go by the new plan, in sentences."""
    if run.status in RUN_ENDED or run.ending is not None:
        yield f"the run is {run.status}"
        return
    if new.signature == old.signature:
        yield "the run goes by it already"
    if new.name != run.workflow:
        yield f"it is a definition of {new.name}, and the run is one of {run.workflow}"
    if is_kept_back(run.input):
        yield "its input cannot be read here, so that nobody knows what the new version lacks"
        return
    yield from (f"parameter {name} is required, and the run was started without it" for name in sorted(new.required - run.input.keys()))
    for name, row in rows.items():
        if row is not None:
            yield from _of_a_row(old.nodes[name], new.nodes.get(name), row)
    for node in new.nodes.values():
        row = rows.get(node.name)
        if row is None or (row.status is StepStatus.BLOCKED and node.name in old.nodes and not _same_ways(old.nodes[node.name], node)):
            yield from _of_its_ways(node, rows)


def _of_a_row(was: Node, node: Node | None, row: StepRow) -> Iterator[str]:
    stands = "waits for others" if row.status is StepStatus.BLOCKED else "has ended" if how_it_ended(row) else "has begun"
    if node is None:
        yield f"task {row.name} {stands}, and the new version has no such task"
    elif (node.kind, node.fans_out) != (was.kind, was.fans_out):
        yield f"task {row.name} {stands} as {_kind(was)}, and is {_kind(node)} in the new version"
    elif how_it_ended(row) == "succeeded" and set(node.cancels) != set(was.cancels):
        yield f"task {row.name} has ended, and what it cancels is not the same in the new version"
    elif row.status is StepStatus.WAITING and node.kind != "sleep" and _while_it_waits(was) != _while_it_waits(node):
        yield f"task {row.name} waits by what the old version says of it, and the new one says something else"


def _kind(node: Node) -> str:
    return f"{node.kind} for each item" if node.fans_out else node.kind


def _while_it_waits(node: Node) -> tuple[object, ...]:
    """What must stay the same of a task that waits: of one with items how these are made and counted, of any other all but its edges."""
    if not node.fans_out:
        bare = replace(node, inbound=(), outbound=(), join=None, on_error="stop", handles=NOTHING, when=None, publish={}, decision=())
        bare = replace(bare, cancels=(), passes=(), unless_reached=(), barred=False)
        return (repr(bare),)
    made = (repr(node.with_items), node.filter, node.batch_size, node.item_when)
    return (*made, node.concurrency, node.success, node.tolerate, node.closes_rest, node.commit)


def _of_its_ways(node: Node, rows: Rows) -> Iterator[str]:
    """What cannot be counted anew of a task that has not begun."""
    ended = [edge for edge in node.inbound if (row := rows.get(edge.source)) is not None and how_it_ended(row) is not None]
    for edge in ended:
        row = rows[edge.source]
        assert row is not None
        if edge.branches and how_it_ended(row) == "succeeded":
            yield f"task {edge.source} has ended, and whether its decision would have led to {node.name} is not known any more"
    if rows.get(node.name) is not None and len(node.inbound) == 1 and not ended:
        yield f"task {node.name} waits for others, and in the new version for one alone, which has not ended"
    if node.cancel_rest and ended:
        yield f"task {node.name} cancels the rest of its ways, some of which have ended before it was one"


def _same_ways(was: Node, node: Node) -> bool:
    return set(was.inbound) == set(node.inbound) and (was.join, was.cancel_rest) == (node.join, node.cancel_rest)


# ---- what moves ------------------------------------------------------------------------------------------------------


def _count_anew(draft: Draft, was: Node | None, node: Node, row: StepRow | None, ends: Mapping[str, str]) -> None:
    """A task that has not begun: which of its ways have come, by what has ended before the move."""
    if row is not None and (row.status is not StepStatus.BLOCKED or (was is not None and _same_ways(was, node))):
        return
    if not node.inbound:
        reach(draft, node, row)
        return
    came = {edge.source: _fires(edge, ends) for edge in node.inbound if edge.source in ends}
    if not came and row is None:
        return
    count, verdict = joins.untouched(node), "wait"
    for edge in node.inbound:
        if edge.source in came and verdict == "wait":
            count, verdict = joins.arrive(node, count, edge, came[edge.source])
    if row is not None:
        row.blockers, row.wants, row.fired = 0, 0, 0
    if verdict == "dead":
        skip(draft, node, row, "dead")
        return
    if verdict == "wait" or len(node.inbound) > 1:
        draft.note("step_counted_anew", step=node.name, came=came, left=count.blockers)
    if verdict == "reached":
        reach(draft, node, row)
        return
    row = row or draft.new_row(node)
    row.blockers, row.wants, row.fired = count.blockers, count.wants, count.fired
    draft.move(row, StepStatus.BLOCKED)


def _fires(edge: Edge, ends: Mapping[str, str]) -> bool:
    return edge.fires(ends[edge.source], None)
