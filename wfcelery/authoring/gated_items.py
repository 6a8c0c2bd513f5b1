"""Items pass no gates: a task `with_items` whose step says in its code that it is limited would not be, and is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wfcelery.authoring.registry import StepSpec, registry
from wfcelery.definition.bodies import bodies_of
from wfcelery.definition.document import Definition
from wfcelery.definition.findings import Problem
from wfcelery.definition.gating import not_for_items


def gated_items(definition: Definition) -> Iterator[Problem]:
    """Each task of a definition that would call such a step for items, as far as this process knows the code."""
    for each in (definition, *bodies_of(definition)):
        for task, _ in each.every_task():
            spec = registry.find_step(task.action) if task.action and task.with_items is not None else None
            why = None if spec is None else not_for_items(spec.name, _gates_of(spec))
            if why is not None:
                yield Problem(f"tasks.{task.name}.with_items", None, why)


def _gates_of(spec: StepSpec) -> tuple[Mapping[str, Any], ...]:
    own = spec.adopted and getattr(spec.function, "rate_limit", None)  # of the Celery task itself
    return ({"kind": "rate_limit"},) if own else spec.gates
