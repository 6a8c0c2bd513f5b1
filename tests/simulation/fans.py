"""Runs that fan out and say more of it than their list, and those who ask something of them on the way."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from tests.unit.core.generators import PARAMETERS

Verb = Literal["add_items", "complete_items", "rerun_failed", "skip", "complete", "retry"]


@dataclass(frozen=True)
class Ask:
    """Somebody wants something of the fan-out of a run, or of a step: after so many seconds, or an item's own code while it runs (None)."""

    graph: int
    verb: Verb
    task: str
    after: float | None
    items: int = 0


def fanned(random: Random, number: int) -> dict[str, Any]:
    """A fan-out, perhaps behind a step, and a step that takes its results."""
    name = f"f{number}"
    task: dict[str, Any] = {"name": name, "type": "action", "items": random.choice((1, 3, 5, 9, 20))}
    if random.random() < 0.5:
        task["concurrency"] = random.randint(1, 4)
    if random.random() < 0.3:
        task["filter"] = random.randint(0, 4)
    if random.random() < 0.3:
        task["batch_size"] = random.randint(2, 3)
    if random.random() < 0.4:
        task["skips"] = random.sample(range(6), 2)
    if random.random() < 0.5:
        task["success"] = random.choice((1, 2, "30%", "60%"))
        task |= {"closes_rest": True} if random.random() < 0.5 else {}
    if random.random() < 0.4:
        task["tolerate"] = random.choice((1, 3, "20%", "50%"))
    elif random.random() < 0.3:
        task["on_error"] = "continue"
    if random.random() < 0.5:
        task["retry"] = {"count": random.randint(0, 2), "delay": random.choice((0.0, 0.5)), "non_retryable": ["Refused"]}
    behind = {"name": f"{name}b", "type": "action", "needs": [name]}
    return {"parameters": dict.fromkeys(PARAMETERS, False), "tasks": [task, behind]}


def asked(random: Random, graph: int, name: str) -> list[Ask]:
    """What is asked of it."""
    found: list[Ask] = []
    for _ in range(random.choice((0, 1, 1, 2))):
        found.append(Ask(graph, "add_items", name, None if random.random() < 0.6 else random.uniform(0.0, 8.0), random.randint(1, 6)))
    if random.random() < 0.15:
        found.append(Ask(graph, "complete_items", name, random.uniform(0.5, 6.0)))
    if random.random() < 0.3:
        found.append(Ask(graph, "rerun_failed", name, random.uniform(1.0, 20.0)))
    return found
