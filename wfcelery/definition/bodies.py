"""The tasks of a loop, or of a call, as the definition of their own that they are: stored, signed and run like any other.

Its parameters are the names of what the task gives it as `input`; nothing else of the workflow around it is seen inside.
"""

from __future__ import annotations

from collections.abc import Iterator

from wfcelery.definition.document import Definition, Parameter, Task

BODIES = ("workflow", "loop")


def embeds(task: Task) -> bool:
    """Whether the task brings the definition it calls."""
    return task.type in BODIES and bool(task.tasks)


def embedded(definition: Definition, task: Task) -> Definition:
    """The definition that a task of this one brings. Nothing of it is checked here."""
    return Definition.model_construct(
        name=f"{definition.name}.{task.name}",
        version=definition.version,
        label=task.label,
        description=task.description,
        parameters={name: Parameter(required=True) for name in task.input},
        vars={},
        tasks=task.tasks,
        output=task.output,
        timeout=None,
        on_error=definition.on_error,
        tags=(),
        schedules=(),
    )


def called_by(definition: Definition) -> tuple[str, ...]:
    """The names of the workflows that it calls, those that what stands inside of it calls too."""
    found = (task.workflow for each in (definition, *bodies_of(definition)) for task, _ in each.every_task() if task.type in BODIES)
    return tuple(dict.fromkeys(name for name in found if name is not None))


def bodies_of(definition: Definition) -> Iterator[Definition]:
    """Every definition that stands inside this one, those inside of these too."""
    for task, _ in definition.every_task():
        if embeds(task):
            body = embedded(definition, task)
            yield body
            yield from bodies_of(body)
