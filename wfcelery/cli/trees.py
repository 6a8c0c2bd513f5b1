"""A run as people read it: a tree of its steps, with their attempts, durations and errors."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from wfcelery.cli import output
from wfcelery.service.views import AttemptView, RunView, StepView


def tree_of(view: RunView, every_item: bool) -> Tree:
    """A run as people read it."""
    head = Text.assemble(output.status(view.status), "  ", (view.workflow, "bold"), f"  {view.id}")
    if view.key:
        head.append(f"  key {view.key}")
    if view.started is not None:
        head.append(f"  {output.span(((view.ended or view.started) - view.started).total_seconds())}" if view.ended else "")
    if view.error is not None:
        head.append(f"\n{view.error.type}: {view.error.message}", style="red")
    if view.reason and view.status in ("cancelled", "cancelling", "paused"):
        head.append(f"\nreason: {view.reason}", style="yellow")
    if view.parent is not None:
        head.append(f"\nbegun by run {view.parent}", style="dim")
    if view.continued_as is not None:
        head.append(f"\ncontinued as run {view.continued_as}", style="dim")
    tree = Tree(head)
    items: dict[str, list[StepView]] = {}
    for step in view.steps:
        if step.item is not None:
            items.setdefault(step.name, []).append(step)
    for step in view.steps:
        if step.item is None:
            branch = tree.add(_line(step))
            _attempts(branch, step)
            _children(branch, step)
            for item in items.get(step.name, ()):
                if every_item or item.status not in ("succeeded", "held", "ready"):
                    _attempts(branch.add(_line(item)), item)
    return tree


def _line(step: StepView) -> Text:
    name = step.name if step.item is None else f"[{step.item}]"
    line = Text.assemble(output.status(step.status), "  ", (name, "bold"))
    if step.items is not None:
        line.append(f"  {step.items - (step.items_left or 0)}/{step.items} items")
    if step.attempt > 1:
        line.append(f"  attempt {step.attempt}")
    if step.why and step.status in ("held", "skipped", "cancelled"):
        line.append(f"  ({step.why})", style="dim")
    if step.attempts:
        last = step.attempts[-1]
        if last.started is not None:
            line.append(f"  {output.span((last.ended - last.started).total_seconds())}", style="dim")
    return line


def _children(branch: Tree, step: StepView) -> None:
    """The run that was begun last, and how many came before it."""
    for child in step.children[:1]:
        line = Text.assemble(output.status(child.status), "  ", (child.workflow, "bold"), f"  {child.id}")
        if len(step.children) > 1:
            line.append(f"  (and {len(step.children) - 1} before it)", style="dim")
        branch.add(line)


def _attempts(branch: Tree, step: StepView) -> None:
    for attempt in step.attempts:
        if attempt.outcome != "succeeded" or len(step.attempts) > 1:
            branch.add(_attempt(attempt))


def _attempt(attempt: AttemptView) -> Group | Text:
    line = Text(f"attempt {attempt.number} {attempt.outcome}", style="dim")
    if attempt.error is not None:
        line.append(f": {attempt.error.type}: {attempt.error.message}", style="red")
    return line
