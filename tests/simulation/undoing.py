"""Runs that undo what they have done: steps with compensations, some of which fail, hooks, and most often a step that fails for good."""

from __future__ import annotations

import json
from collections.abc import Iterable
from random import Random
from typing import Any

from tests.unit.core.generators import HOOKS, PARAMETERS

Facts = Iterable[dict[str, Any]]
_ENDS = ("step_succeeded", "step_failed", "step_timed_out", "step_cancelled", "items_succeeded")


def undone(random: Random, number: int) -> dict[str, Any]:
    """A graph whose tasks can be undone; its last comes after all of them."""
    tasks: list[dict[str, Any]] = []
    for turn in range(random.randint(2, 5)):
        task: dict[str, Any] = {"name": f"u{number}x{turn}", "type": "action"}
        before = random.sample(tasks, min(len(tasks), random.choice((0, 1, 1, 2))))
        if before:
            task["after"] = {each["name"]: None for each in before}
        if random.random() < 0.8:
            task["undo"] = random.choice(("known", "known", "unknown"))
        if random.random() < 0.25:
            task["items"] = random.choice((1, 2, 5))
        if random.random() < 0.3:
            task["retry"] = {"count": 1, "delay": 0.5, "non_retryable": ["Refused"]}
        tasks.append(task)
    tasks.append({"name": f"u{number}z", "type": "action", "after": {task["name"]: None for task in tasks}})
    hooks = random.sample(HOOKS, random.choice((0, 1, 2)))
    return {"parameters": dict.fromkeys(PARAMETERS, False), "tasks": tasks, "hooks": hooks}


def ends_of(random: Random, graph: dict[str, Any], number: int) -> dict[tuple[str, int], list[str]]:
    """What becomes of its last task, and of those that undo the others and that its hooks call."""
    found: dict[tuple[str, int], list[str]] = {}
    if random.random() < 0.7:
        found[f"u{number}z", -1] = ["fatal"]
    closing = [f"{task['name']}:compensate" for task in graph["tasks"] if "undo" in task] + [f"{name}:hook" for name in graph["hooks"]]
    for name in closing:
        if random.random() < 0.12:
            found[name, -1] = [random.choice(("fail", "fatal"))]
    return found


def retried(letters: Iterable[tuple[str, str, str, str]], undone: set[str]) -> list[tuple[str, str, str]]:
    """Those dead letters (run, step, id, name) that may be tried again together.

    Of a run that has undone something only what undoes it and its hooks, and of these one at a time.
    """
    plain: list[tuple[str, str, str]] = []
    closing: dict[str, tuple[str, str, str]] = {}
    for run, step, letter, name in letters:
        if name.endswith((":compensate", ":hook")):
            closing.setdefault(run, (run, step, letter))
        elif run not in undone:
            plain.append((run, step, letter))
    goes_on = {run for run, _, _ in plain}
    return [*plain, *(each for run, each in closing.items() if run not in goes_on)]


def has_undone(names: Iterable[str]) -> bool:
    """Whether steps of these names undo something."""
    return any(name.endswith(":compensate") for name in names)


def wrong_order(history: Iterable[str], begun: Iterable[str]) -> str | None:
    """What is wrong with the order in which steps were undone: `begun` is what was executed, as those who did it wrote it down."""
    ended: list[str] = []
    line: list[str] = []
    for facts in history:
        for fact in json.loads(facts):
            name = fact.get("step")
            if fact["fact"] in _ENDS or fact.get("then") == "cancelled":
                ended = [*(each for each in ended if each != name), name]
            if fact["fact"] == "run_reopened":  # it had called hooks, and undone nothing
                line = []
            if fact["fact"] == "run_compensating" and not line:
                line = list(ended)
    turns = [name.removesuffix(":compensate") for name in dict.fromkeys(begun) if name.endswith(":compensate")]
    turns = [name for name in turns if name in line]  # others were fenced by the very commit that began it
    expected = sorted(turns, key=line.index, reverse=True)
    return None if turns == expected else f"{', '.join(turns)} were undone in this order, and had ended as {', '.join(line)}"
