"""A call of a workflow inside another, and a loop: tasks that run a workflow as a child."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wfcelery.authoring.calls import Shaped, fanned_out, inputs_of, named_by, said_by, short_name
from wfcelery.authoring.formulas import Formula, Use
from wfcelery.authoring.options import OF_ITEMS
from wfcelery.authoring.references import Reference
from wfcelery.authoring.shape import POSITIONAL
from wfcelery.authoring.tracing import current_trace, looked_at, refusal


def traced_child(
    workflow: Shaped, options: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, waits: bool = True
) -> Reference:
    """One task that runs the workflow once."""
    for name in OF_ITEMS:
        if name in options:
            raise refusal(f"{name}= is for a fan-out: {short_name(workflow)}.options({name}=…).map(items)")
    trace = current_trace(f"{workflow.name}{'' if waits else '.start'}()")
    named = named_by(workflow, args, kwargs)
    said = said_of_child(workflow, options, named) | ({} if waits else {"wait": False})
    task = trace.add(short_name(workflow), options, said, looked_at(named))
    return Reference(Formula(f"task.{task.name}.result", (Use(task),), task=task, plain=True))


def traced_children(
    workflow: Shaped, options: Mapping[str, Any], items: Any, args: tuple[Any, ...], shared: Mapping[str, Any]
) -> Reference:
    """One task that runs the workflow once for each item."""
    named = named_by(workflow, (Reference(Formula("item", plain=True)), *args), shared)
    return fanned_out(workflow, options, items, said_of_child(workflow, options, named), named)


def said_of_child(workflow: Shaped, options: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """What a definition says of such a task."""
    said: dict[str, Any] = {"type": "workflow", "workflow": workflow.name, **said_by(options), **closing(options)}
    given = inputs_of(workflow, named)
    if POSITIONAL in given:
        raise refusal(f"{short_name(workflow)}: a workflow takes its input by name")
    return said | ({"input": given} if given else {})


def closing(options: Mapping[str, Any]) -> dict[str, Any]:
    """What becomes of the child when its parent is over."""
    return {"parent_close": options["parent_close"]} if "parent_close" in options else {}
