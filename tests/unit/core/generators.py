"""Random workflows as plain dicts, what shall happen to their attempts, and the definitions they make.

A workflow is `{"parameters": {name: bool}, "tasks": [task, ...]}`. A task has a `name` and a `type` (action,
sleep, parallel), and any of:

- `after`: {source: None | [ends]}, `needs`: [source]
- `on`: {"success" | "failure" | "timeout" | "cancel" | "complete": [target]}
- `decision`: [[parameter | None, [target]], ...] (None: the default branch, always last)
- `join`, `cancel_rest`, `when` (a parameter's name), `items`, `concurrency`, `on_error`, `retry`, `publish`
- of one with items: `filter` (the item that is left out), `batch_size`, `skips` (numbers its `when` leaves out), `success`,
  `tolerate`, `closes_rest`
- `cancels` and `unless_reached`: names of others that are no blocks
- `children` (of a parallel block)
- `undo`: "known" | "unknown", where it has a compensation

`hooks` of the workflow are the names of those it has.

`when`, `items`, a branch, what is published and the workflow's `output` may read `late` (see LATE).

Every edge leads from an earlier task to a later one, so that each draw is a graph without cycles.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from wfcelery.definition.document import Definition
from wfcelery.definition.gating import GATES

Task = dict[str, Any]
Graph = dict[str, Any]

PARAMETERS = ("p0", "p1", "p2", "p3")
BROKEN = "broken"  # `items` that turn out not to be a list: no attempt can mend that
LATE = "late"  # a variable that is empty once somebody has published it: to read it before that is an error
KINDS = ("success", "failure", "timeout", "cancel", "complete")
LATE_ENDS = ("failed", "timed_out", "cancelled")
# What can become of one attempt, written as the world would say it. `fatal` is GiveUp, `refused` a
# type that the policy never retries, `later` RetryLater, `stale` a call parked for longer than it may.
ALIKE = ("name", "type", "needs", "join", "cancel_rest", "on_error", "retry", "publish", "timeout")
OF_OTHERS = ("cancels", "unless_reached")  # what one task says of others without an edge
HOOKS = ("on_failure", "on_cancel", "on_complete")
OF_ITEMS = ("concurrency", "batch_size", "success", "tolerate")
ENDS_OF_CHILDREN = ("succeed", "fail", "timeout", "cancel")
ATTEMPTS = ("succeed", "fail", "timeout", "fatal", "refused", "later", "lost", "parked", "stale", "quota")


@dataclass(frozen=True)
class Scenario:
    """A graph, the outcomes of its attempts ((task, item) -> one word an attempt, then `succeed`), and a schedule."""

    graph: Graph
    attempts: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    seed: int = 0
    cancel_after: int | None = None  # doings after which somebody cancels; -1: before the run is begun
    end_after: int | None = None  # doings after which the run's deadline passes
    pause_after: int | None = None  # doings after which somebody pauses it, to be resumed by a doing; -1: as it is begun
    terminates: bool = False  # whether a cancel is a terminate
    grace_passes: bool = False  # whether the grace of a cancel ends before what is under way
    end_again: int | None = None  # the same, counted from each retry
    retries: int = 0  # how often a failed run's open dead letters are tried again
    keep: bool = True  # whether the worker keeps a step
    adds: int = 0  # how often somebody adds items to a fan-out
    completes: int = 0  # how often somebody ends one with what it has
    hands: int = 0  # how often somebody skips or completes a step by hand
    reruns: int = 0  # how often somebody runs the failed items of one again, while it runs or afterwards


@st.composite
def graphs(draw: st.DrawFn, most: int = 12, smooth: bool = False) -> Graph:
    """1 to `most` tasks with edges of every kind."""
    count = draw(st.integers(1, most))
    parameters = {name: draw(st.booleans()) for name in PARAMETERS}
    tasks: list[Task] = []
    while len(names_of(tasks)) < count:
        room = count - len(names_of(tasks))
        if room >= 3 and draw(st.integers(0, 7)) == 0:
            tasks.append(draw(_block(f"t{len(tasks)}", min(room - 1, 3), smooth)))
        else:
            tasks.append(draw(_task(f"t{len(tasks)}", "t", smooth)))
    _draw_edges(draw, tasks)
    if not smooth and draw(st.integers(0, 4)) == 0:
        tasks.append(_last(draw, tasks))
    if not smooth and draw(st.integers(0, 3)) == 0:
        _draw_regions(draw, tasks)
    graph = {"parameters": parameters, "tasks": tasks}
    if not smooth and draw(st.integers(0, 5)) == 0:
        _draw_late(draw, graph)
    return graph


def _last(draw: st.DrawFn, tasks: list[Task]) -> Task:
    """A task that ends the run, behind one or two others."""
    task: Task = {"name": f"t{len(tasks)}", "type": draw(st.sampled_from(["end", "fail"]))}
    for source in draw(st.lists(st.sampled_from([task["name"] for task in tasks]), min_size=1, max_size=2, unique=True)):
        task.setdefault("after", {})[source] = draw(st.sampled_from([None, ["failed"], ["succeeded"]]))
    if draw(st.integers(0, 3)) == 0:
        task["when"] = draw(st.sampled_from(PARAMETERS))
    return task


def _draw_regions(draw: st.DrawFn, tasks: list[Task]) -> None:
    """What the success of one calls off, or comes too late for."""
    plain = [task for task in flat(tasks) if task["type"] in ("action", "sleep")]
    for _ in range(draw(st.integers(1, 2)) if len(plain) > 1 else 0):
        one, *others = draw(st.permutations(plain))
        named = [task["name"] for task in others[: draw(st.integers(1, 3))]]
        one[draw(st.sampled_from(["cancels", "unless_reached"]))] = named


def _draw_late(draw: st.DrawFn, graph: Graph) -> None:
    """Somebody publishes a variable, perhaps, and others read it, perhaps too early."""
    graph["output"] = LATE if draw(st.integers(0, 2)) == 0 else None
    for task in graph["tasks"]:
        if task["type"] != "action":
            continue
        match draw(st.integers(0, 9)):
            case 0 | 1:
                task["publish"] = {"last": task["name"], LATE: []}
            case 2:
                task["publish"] = {"last": task["name"], "copy": _reads(LATE)}
            case 3:
                task["when"] = LATE
            case 4:
                task["items"] = LATE
            case 5 if "decision" in task:
                task["decision"] = [[LATE, task["decision"][0][1]], *task["decision"][1:]]


@st.composite
def undone_scenarios(draw: st.DrawFn) -> Scenario:
    """A story of a run that may undo what it has done: tasks with compensations, some of which fail, and hooks."""
    story = draw(scenarios(most=8))
    attempts, graph = dict(story.attempts), story.graph
    for task in flat(graph["tasks"]):
        if task["type"] != "action":
            continue
        if draw(st.integers(0, 2)):
            task["undo"] = draw(st.sampled_from(["known", "known", "unknown"]))
            if draw(st.integers(0, 4)) == 0:
                attempts[f"{task['name']}:compensate", -1] = draw(st.lists(st.sampled_from(ATTEMPTS), min_size=1, max_size=2))
        if "on_error" not in task and draw(st.integers(0, 9)) == 0:
            task["on_error"] = "stop"
    graph["hooks"] = draw(st.lists(st.sampled_from(HOOKS), max_size=2, unique=True))
    ends = draw(st.integers(0, 2))  # most end badly: that is what is looked at
    return replace(story, attempts=attempts, cancel_after=draw(st.integers(0, 12)) if ends else story.cancel_after)


@st.composite
def _task(draw: st.DrawFn, name: str, where: str, smooth: bool) -> Task:
    task: Task = {"name": name, "type": draw(st.sampled_from(["sleep", *["workflow"] * 2, *["action"] * 8]))}
    if draw(st.integers(0, 4)) == 0:
        task["when"] = draw(st.sampled_from(PARAMETERS))
    if task["type"] == "sleep":
        return task
    if draw(st.integers(0, 3)) == 0:
        task["items"] = draw(st.integers(0, 4))
        if draw(st.booleans()):
            task["concurrency"] = draw(st.integers(1, 3))
        if draw(st.integers(0, 3)) == 0:
            _draw_fan_out(draw, task, smooth)
    if not smooth and task["type"] == "action" and draw(st.integers(0, 11)) == 0:
        task["items"] = BROKEN
    if draw(st.integers(0, 3)) == 0:
        task["on_error"] = "continue"
    if draw(st.booleans()):
        task["retry"] = draw(_policy())
    if where == "t" and draw(st.integers(0, 4)) == 0:
        task["publish"] = {"last": name}
    return task


def _draw_fan_out(draw: st.DrawFn, task: Task, smooth: bool) -> None:
    """A fan-out that says more than its list."""
    task["items"] = draw(st.integers(0, 7))
    if draw(st.integers(0, 2)) == 0:
        task["filter"] = draw(st.integers(0, 6))
    if draw(st.integers(0, 3)) == 0:
        task["batch_size"] = draw(st.integers(1, 3))
    if draw(st.integers(0, 2)) == 0:
        task["skips"] = draw(st.lists(st.integers(0, 6), min_size=1, max_size=3, unique=True))
    if not smooth and draw(st.booleans()):
        task["success"] = draw(st.one_of(st.integers(1, 4), st.sampled_from(["25%", "50%", "100%"])))
        if draw(st.booleans()):
            task["closes_rest"] = True
    if draw(st.integers(0, 2)) == 0:
        task["tolerate"] = draw(st.one_of(st.integers(0, 3), st.sampled_from(["20%", "50%"])))


@st.composite
def _policy(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "count": draw(st.integers(0, 3)),
        "delay": draw(st.sampled_from([0.0, 1.0, 2.0])),
        "backoff": draw(st.sampled_from(["constant", "linear", "exponential"])),
        "jitter": draw(st.booleans()),
        "non_retryable": ["Refused"],
    }


@st.composite
def _block(draw: st.DrawFn, name: str, most: int, smooth: bool) -> Task:
    children = [draw(_task(f"{name}c{number}", "c", smooth)) for number in range(draw(st.integers(1, most)))]
    for position, child in enumerate(children[1:], 1):
        if draw(st.integers(0, 3)) == 0:
            child.setdefault("after", {})[children[draw(st.integers(0, position - 1))]["name"]] = None
    block: Task = {"name": name, "type": "parallel", "children": children}
    if draw(st.integers(0, 3)) == 0:
        block["join"] = draw(st.integers(1, len(children)))
    return block


def _draw_edges(draw: st.DrawFn, tasks: list[Task]) -> None:
    for position, target in enumerate(tasks):
        ways = draw(st.integers(0, min(3, position)))
        if ways == 0 and position and draw(st.integers(0, 3)):
            ways = 1
        near = min(position, 4)  # near ones, so that chains and diamonds come up rather than stars
        ways = min(ways, near)
        back = draw(st.lists(st.integers(1, near), min_size=ways, max_size=ways, unique=True)) if ways else []
        for distance in back:
            _draw_edge(draw, tasks[position - distance], target)
        _draw_join(draw, tasks, target)


# What one task may say of another at once. Two words that contradict each other (`needs` and `on_failure`)
# make an edge that never fires; definitions like that are refused before they run.
WORDS = (("after",), ("after", "needs"), ("after", "success"), ("ends",), ("needs",), ("needs", "success"), ("on",), ("on",), ("decision",))


def _draw_edge(draw: st.DrawFn, source: Task, target: Task) -> None:
    name = target["name"]
    for word in draw(st.sampled_from(WORDS)):
        if word == "after":
            target.setdefault("after", {})[source["name"]] = None
        elif word == "ends":
            ends = draw(st.lists(st.sampled_from(["succeeded", *LATE_ENDS]), min_size=1, max_size=2, unique=True))
            target.setdefault("after", {})[source["name"]] = ends
        elif word == "needs":
            target.setdefault("needs", []).append(source["name"])
        elif word == "decision" and source["type"] == "action":
            _draw_branch(draw, source, name)
        else:
            kinds = ["success"] if word == "success" else draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=2, unique=True))
            for kind in kinds:
                source.setdefault("on", {}).setdefault(kind, []).append(name)


def _draw_branch(draw: st.DrawFn, source: Task, target: str) -> None:
    branches = source.setdefault("decision", [])
    parameter = draw(st.sampled_from([*PARAMETERS, None]))
    for branch in branches:
        if branch[0] == parameter:
            branch[1].append(target)
            return
    branches.append([parameter, [target]])
    branches.sort(key=lambda branch: branch[0] is None)


def _draw_join(draw: st.DrawFn, tasks: list[Task], target: Task) -> None:
    counted = countable(tasks, target)
    if target["type"] != "parallel" and "success" not in target and counted and draw(st.integers(0, 2)) == 0:
        target["join"] = draw(st.integers(1, counted))
        if draw(st.integers(0, 4)) == 0:
            target["cancel_rest"] = True


def countable(tasks: list[Task], target: Task) -> int:
    """How many ways `join: n` counts: transitions, or, where there are none, what `after` alone names."""
    name = target["name"]
    leads = [task for task in flat(tasks) if any(name in names for names in task.get("on", {}).values()) or _branches_to(task, name)]
    return len(leads) or len([source for source in target.get("after", {}) if source not in target.get("needs", [])])


def _branches_to(task: Task, name: str) -> bool:
    return any(name in names for _, names in task.get("decision", []))


def flat(tasks: list[Task]) -> list[Task]:
    """All tasks, those inside of parallel blocks too."""
    return [inner for task in tasks for inner in (task, *task.get("children", ()))]


def names_of(tasks: list[Task]) -> list[str]:
    return [task["name"] for task in flat(tasks)]


def _items_of(task: Task) -> range:
    return range(-1, 0) if task.get("items", BROKEN) in (BROKEN, LATE) else range(task["items"])


@st.composite
def scenarios(draw: st.DrawFn, most: int = 12, smooth: bool = False, again: bool = False) -> Scenario:
    """A graph and a story for it. `smooth`: nothing fails for good, and nobody cancels. `again`: dead letters are retried."""
    graph = draw(graphs(most, smooth))
    words = ("succeed", "lost", "parked") if smooth else ATTEMPTS
    attempts: dict[tuple[str, int], list[str]] = {}
    for task in flat(graph["tasks"]):
        for item in _items_of(task) if task["type"] == "workflow" and not smooth else ():
            if draw(st.integers(0, 2)) == 0:
                attempts[task["name"], item] = draw(st.lists(st.sampled_from(ENDS_OF_CHILDREN), min_size=1, max_size=3))
        if task["type"] != "action":
            continue
        for item in _items_of(task):
            if draw(st.integers(0, 2)) == 0:
                attempts[task["name"], item] = draw(st.lists(st.sampled_from(words), min_size=1, max_size=2 if smooth else 4))
    seed = draw(st.integers(0, 2**32 - 1))
    if smooth:
        return Scenario(graph, attempts, seed, keep=draw(st.booleans()))
    story = draw(st.integers(0, 9))
    return Scenario(
        graph,
        attempts,
        seed,
        cancel_after=draw(st.integers(-1, 12)) if story == 0 else None,
        pause_after=draw(st.integers(-1, 12)) if draw(st.integers(0, 2)) == 0 else None,
        terminates=draw(st.booleans()),
        end_after=draw(st.integers(-1, 12)) if story == 1 else None,
        grace_passes=draw(st.booleans()),
        end_again=draw(st.integers(0, 8)) if again and story == 2 else None,
        retries=draw(st.integers(1, 3)) if again else 0,
        keep=draw(st.booleans()),
        adds=draw(st.integers(0, 2)),
        completes=draw(st.sampled_from([0, 0, 0, 1])),
        reruns=draw(st.sampled_from([0, 0, 1, 2])),
        hands=draw(st.sampled_from([0, 0, 1, 2])),
    )


def definition_of(graph: Graph) -> Definition:
    """The same workflow as an author would write it."""
    return Definition.model_validate(
        {
            "name": "random",
            "parameters": {name: {"type": "boolean", "default": value} for name, value in graph["parameters"].items()},
            "tasks": [_document(task) for task in graph["tasks"]],
        }
        | ({"output": _reads(LATE)} if graph.get("output") else {})
        | ({"hooks": {name: f"do.{name}" for name in graph["hooks"]}} if graph.get("hooks") else {})
    )


def _document(task: Task) -> dict[str, Any]:
    document: dict[str, Any] = {key: task[key] for key in (*ALIKE, *OF_ITEMS, *OF_OTHERS, *GATES) if key in task}
    if task["type"] == "action":
        document["action"] = f"do.{task['name']}"
        document["input"] = {source: "{{ task." + source + ".result }}" for source in task.get("needs", ())}
    if "undo" in task:
        document["compensate"] = {"action": f"undo.{task['name']}", "even_if_unknown": task["undo"] == "unknown"}
    if task["type"] == "sleep":
        document["duration"] = "1s"
    if task["type"] == "workflow":
        document["workflow"] = "kid"
    if task["type"] == "end":
        document["output"] = task["name"]
    if task["type"] == "fail":
        document |= {"message": task["name"], "code": "own"}
    conditions = [_read(task["when"], "!= []")] if "when" in task else []
    if "skips" in task and "items" in task:
        conditions.append(f"index not in {task['skips']}")
    if conditions:
        document["when"] = "{{ " + " and ".join(conditions) + " }}"
    if "filter" in task:
        document["filter"] = f"item != {task['filter']}"
    if "closes_rest" in task:
        document["cancel_rest"] = True
    if "items" in task:
        document["with_items"] = _items(task["items"])
    if "after" in task:
        document["after"] = [{"task": source, "ends": ends} if ends else source for source, ends in task["after"].items()]
    document |= {f"on_{kind}": targets for kind, targets in task.get("on", {}).items()}
    if "decision" in task:
        document["decision"] = [
            {"default": True, "next": targets} if parameter is None else {"when": _reads(parameter, "!= []"), "next": targets}
            for parameter, targets in task["decision"]
        ]
    if "children" in task:
        document["tasks"] = [_document(child) for child in task["children"]]
    return document


def _items(items: int | str) -> Any:
    if isinstance(items, int):
        return list(range(items))
    return _reads(LATE if items == LATE else "p0")


def _reads(parameter: str, test: str = "") -> str:
    return "{{ " + _read(parameter, test) + " }}"


def _read(parameter: str, test: str = "") -> str:
    return f"vars.late {test}".rstrip() if parameter == LATE else f"parameters.{parameter}"
