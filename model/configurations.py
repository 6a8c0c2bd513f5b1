"""The worlds that are explored, each told by its name: a shape, then what may happen in it and how often.

Words beside those of BUDGET: `three`, a third worker; `down`, no broker; `asyn`, asynchronous claims; `alone`, no
run-ahead; `impatient`, a busy run's lock is not waited for (its time limit is over at once) and plain steps
report too; `limit1`, `limit2`, the concurrency of the fan-out.
"""

from __future__ import annotations

from typing import NamedTuple

from model.states import BUDGET

RETRIES = 1  # a step's code may fail so often and is tried again
GROUP = 2  # items claimed in one statement
WINDOW = 2  # messages a fan-out has under way at once


class Task(NamedTuple):
    """A step of a shape. `of`: the run that a child step stands for, or the fan-out of an item."""

    run: int
    after: tuple[int, ...] = ()
    kind: str = "plain"  # plain | tx (transactional) | child | fan | item
    of: int = -1


SHAPES = {
    "chain": (Task(0), Task(0, (0,), "tx")),
    "chain of 3": (Task(0), Task(0, (0,), "tx"), Task(0, (1,))),
    "fan-in": (Task(0, (), "tx"), Task(0), Task(0, (0, 1))),
    "fan-in of 3": (Task(0), Task(0), Task(0), Task(0, (0, 1, 2))),
    "mixed fan-in": (Task(0, (), "tx"), Task(0, (), "tx"), Task(0), Task(0, (0, 1, 2), "tx")),
    "child": (Task(0), Task(0, (0,), "child", 1), Task(0, (1,)), Task(1, (), "tx")),
    "fan-out": (Task(0, (), "fan"), *(Task(0, (), "item", 0),) * 3, Task(0, (0,))),
    "fan-out of 4": (Task(0, (), "fan"), *(Task(0, (), "item", 0),) * 4),
}

CONFIGURATIONS = (
    "chain: crash lose dup",
    "chain of 3: crash crash lose lose stall",
    "chain: unknown unknown stall crash",
    "chain: asyn dbcrash crash stall unknown",
    "chain: cancel crash lose timeout",
    "chain of 3: cancel pause resume crash",
    "fan-in: nothing",
    "fan-in: crash crash lose dup",
    "fan-in: stall unknown crash",
    "fan-in: cancel crash lose stall",
    "fan-in: cancel timeout unknown",
    "fan-in: pause resume crash",
    "fan-in: asyn dbcrash crash",
    "fan-in: down cancel crash",
    "fan-in: alone crash timeout",
    "fan-in of 3: three crash",
    "fan-in of 3: three impatient crash",
    "mixed fan-in: three crash",
    "mixed fan-in: cancel crash stall",
    "mixed fan-in: unknown cancel",
    "mixed fan-in: impatient stall",
    "child: crash crash lose stall",
    "child: cancel unknown stall",
    "chain: impatient cancel crash lose timeout",
    "fan-in: impatient nothing",
    "fan-in: impatient cancel crash stall",
    "fan-in: impatient cancel timeout unknown",
    "child: impatient cancel crash lose",
    "fan-out: crash stall",
    "fan-out: unknown lose",
    "fan-out: dup fail timeout",
    "fan-out: cancel crash",
    "fan-out: limit1 cancel fail timeout",
    "fan-out: crash stall unknown",
    "fan-out of 4: asyn dbcrash",
    "fan-out: limit2 crash stall",
    "fan-out of 4: limit2 stall",
    "fan-out of 4: limit2 fail crash",
    "fan-out: limit1 fail fail crash",
    "fan-out: limit2 fail unknown",
    "fan-out: limit1 pause resume crash",
    "chain: fail fail crash stall",
    "chain: fail fail fail retry unknown lose",
    "chain: fail fail pause resume dup",
    "chain: alone fail fail retry retry",
    "fan-in: fail fail fail retry retry",
    "fan-in: fail fail retry crash",
    "fan-in: fail fail retry stall",
    "fan-in: fail fail cancel stall",
)


class Configuration:
    """One world to explore."""

    def __init__(self, name: str) -> None:
        shape, words_ = name.split(": ")
        words = words_.split()
        self.tasks = tasks = SHAPES[shape]
        self.workers = 3 if "three" in words else 2
        self.broker, self.asyn = "down" not in words, "asyn" in words
        self.ahead, self.impatient = "alone" not in words, "impatient" in words
        self.limit = next((int(word[5:]) for word in words if word.startswith("limit")), len(tasks))
        self.budget = tuple(words.count(what) for what in BUDGET)
        runs = range(1 + max(task.run for task in tasks))
        self.of_run = [[i for i, task in enumerate(tasks) if task.run == r] for r in runs]
        self.after = [[i for i, task in enumerate(tasks) if j in task.after] for j in range(len(tasks))]
        self.items = [[i for i, task in enumerate(tasks) if task.kind == "item" and task.of == j] for j in range(len(tasks))]
        self.parent = {task.of: i for i, task in enumerate(tasks) if task.kind == "child"}
