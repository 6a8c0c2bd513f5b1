"""Runs that call a workflow, once or for each item of a list, behind a step and before one; and the workflow that they call."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.unit.core.generators import PARAMETERS
from wfcelery.definition.document import Definition

# Nothing that it does fails: what becomes of a child is what becomes of its parent, and of those who carry both.
KID = Definition.model_validate(
    {
        "name": "kid",
        "tasks": [
            {"name": "k1", "action": "do.k1"},
            {"name": "nap", "type": "sleep", "duration": "0.3s", "after": ["k1"]},
            {"name": "k2", "action": "do.k2", "after": ["nap"]},
        ],
        "output": "{{ task.k2.result }}",
    }
)


def family(random: Random, number: int) -> dict[str, Any]:
    """A graph with a call."""
    name = f"w{number}"
    first = {"name": f"{name}a", "type": "action"}
    call: dict[str, Any] = {"name": name, "type": "workflow", "after": {first["name"]: None}}
    if random.random() < 0.5:
        call["items"] = random.choice((1, 2, 5, 9))
        if random.random() < 0.6:
            call["concurrency"] = random.randint(1, 4)
    if random.random() < 0.3:
        call["retry"] = {"count": 1, "delay": 0.5}
    behind = {"name": f"{name}b", "type": "action", "after": {name: None}}
    return {"parameters": dict.fromkeys(PARAMETERS, False), "tasks": [first, call, behind]}


def has_calls(graph: dict[str, Any]) -> bool:
    """Whether a task of it calls a workflow."""
    return any(task["type"] == "workflow" for task in graph["tasks"])
