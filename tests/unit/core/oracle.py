"""The rules of joins, skips and failures, said a second time and as naively as possible.

Nothing of `wfcelery.core` is imported here, nor any compiled plan: a workflow is the plain dict of
`generators`, what is known of it is how some of its tasks ended, and the answer is found by passing
over the whole graph until nothing changes any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Ends = Mapping[str, str]  # task -> succeeded | failed | timed_out | cancelled: how its execution ended

TRANSITION_ENDS = {
    "success": {"succeeded"},
    "failure": {"failed"},
    "timeout": {"timed_out"},
    "cancel": {"cancelled"},
    "complete": {"succeeded", "failed", "timed_out", "skipped"},
}
MAX_LOST = 3


@dataclass
class Way:
    """Everything that leads from one task to another."""

    source: str
    after: set[str] | None = None
    needs: set[str] | None = None
    named: set[str] = field(default_factory=set)  # ends that `after` names itself
    ends: set[str] = field(default_factory=set)
    branches: list[int] = field(default_factory=list)

    @property
    def is_transition(self) -> bool:
        return bool(self.ends or self.branches)

    @property
    def is_required(self) -> bool:
        return self.after is not None or self.needs is not None

    def fires(self, end: str, branch: int | None) -> bool:
        if self.after is not None and end not in self.after:
            return False
        if self.needs is not None and end not in self.needs:
            return False
        return not self.is_transition or end in self.ends or (end == "succeeded" and branch in self.branches)


@dataclass
class Flat:
    """One task without nesting, with all ways that lead to it."""

    name: str
    task: dict[str, Any]
    kind: Literal["action", "sleep", "gate", "workflow", "end", "fail"]
    ways: dict[str, Way] = field(default_factory=dict)

    @property
    def join(self) -> int | None:
        return self.task.get("join") if not self.name.endswith(":fork") else None

    def counted(self) -> list[Way]:
        """What a join counts: transitions, or, where there are none, what `after` alone names."""
        transitions = [way for way in self.ways.values() if way.is_transition]
        return transitions or [way for way in self.ways.values() if way.needs is None]

    def handled(self, everything: Mapping[str, Flat]) -> set[str]:
        """The failing ends that somebody behind this task takes care of."""
        named: set[str] = set()
        for flat in everything.values():
            way = flat.ways.get(self.name)
            if way is not None:
                named |= {end for end in way.ends | way.named if way.fires(end, None)}
        return named & {"failed", "timed_out", "cancelled"}


def flatten(graph: Mapping[str, Any]) -> dict[str, Flat]:
    """A parallel block becomes its start (`name:fork`), its children, and its join (`name`)."""
    flats: dict[str, Flat] = {}
    for task in graph["tasks"]:
        if task["type"] == "parallel":
            flats[f"{task['name']}:fork"] = Flat(f"{task['name']}:fork", task, "gate")
            for child in task["children"]:
                flats[child["name"]] = Flat(child["name"], child, child["type"])
            flats[task["name"]] = Flat(task["name"], task, "gate")
        else:
            flats[task["name"]] = Flat(task["name"], task, task["type"])
    for task in graph["tasks"]:
        _lead(flats, task)
        for child in task.get("children", ()):
            _lead(flats, child)
    for task in graph["tasks"]:
        for child in task.get("children", ()):
            if not flats[child["name"]].ways:
                _way(flats, f"{task['name']}:fork", child["name"]).after = {"succeeded"}
            _way(flats, child["name"], task["name"]).after = _accepted(child, None)
    return flats


def _entry(flats: Mapping[str, Flat], name: str) -> str:
    """Where one comes in: a block is entered at its fork."""
    return f"{name}:fork" if f"{name}:fork" in flats else name


def _way(flats: Mapping[str, Flat], source: str, target: str) -> Way:
    return flats[target].ways.setdefault(source, Way(source))


def _accepted(source: Mapping[str, Any], ends: list[str] | None) -> set[str]:
    if ends is not None:
        return set(ends)
    return {"succeeded", "skipped"} | ({"failed", "timed_out"} if source.get("on_error") == "continue" else set())


def _lead(flats: Mapping[str, Flat], task: Mapping[str, Any]) -> None:
    name = task["name"]
    for source, ends in task.get("after", {}).items():
        way = _way(flats, source, _entry(flats, name))
        way.after, way.named = _accepted(flats[source].task, ends), set(ends or ())
    for source in task.get("needs", ()):
        _way(flats, source, _entry(flats, name)).needs = _accepted(flats[source].task, None) - {"skipped"}
    for kind, targets in task.get("on", {}).items():
        for target in targets:
            _way(flats, name, _entry(flats, target)).ends |= TRANSITION_ENDS[kind]
    for number, (_, targets) in enumerate(task.get("decision", ())):
        for target in targets:
            _way(flats, name, _entry(flats, target)).branches.append(number)


@dataclass(frozen=True)
class Place:
    """Where a task stands by the rules. `counters` of one that waits for more ways: how many are still open;
    where a join counts, also how many of these it wants besides, and how many it has."""

    what: Literal["unreached", "blocked", "started", "skipped", "dead"]
    counters: tuple[int, ...] | None = None


UNREACHED, STARTED, SKIPPED, DEAD = Place("unreached"), Place("started"), Place("skipped"), Place("dead")


def places(
    graph: Mapping[str, Any],
    ends: Ends,
    flats: Mapping[str, Flat] | None = None,
    called_off: Collection[str] = (),
    too_late: Collection[str] = (),
) -> dict[str, Place]:
    """Where every task stands once these have ended like this and everything was thought through.

    `called_off` were closed before the run had come to them, `too_late` came when their time was over.
    """
    flats = flats or flatten(graph)
    found: dict[str, Place] = dict.fromkeys(flats, UNREACHED) | dict.fromkeys(called_off, DEAD) | dict.fromkeys(too_late, SKIPPED)
    while True:
        before = dict(found)
        for name, flat in flats.items():
            if found[name].what in ("unreached", "blocked"):
                found[name] = _place(graph, flats, flat, found, ends)
        if found == before:
            return found


def _end_of(graph: Mapping[str, Any], flat: Flat, place: Place, ends: Ends) -> str | None:
    if flat.name in ends:
        return ends[flat.name]
    if place.what in ("skipped", "dead"):
        return place.what
    empty = isinstance(flat.task.get("items"), int) and size(flat.task) == 0 and "success" not in flat.task
    if place.what == "started" and (flat.kind in ("gate", "end", "fail") or empty):
        return "succeeded"
    return None


def _branch(graph: Mapping[str, Any], task: Mapping[str, Any]) -> int | None:
    for number, (parameter, _) in enumerate(task.get("decision", ())):
        if parameter is None or graph["parameters"][parameter]:
            return number
    return None


def _place(graph: Mapping[str, Any], flats: Mapping[str, Flat], flat: Flat, found: Mapping[str, Place], ends: Ends) -> Place:
    verdicts: dict[str, bool | None] = {}
    for source, way in flat.ways.items():
        end = _end_of(graph, flats[source], found[source], ends)
        verdicts[source] = None if end is None else way.fires(end, _branch(graph, flats[source].task))
    rule = may_start(flat, verdicts)
    if rule is False:
        return DEAD
    if rule is True:
        when = flat.task.get("when") if flat.kind != "gate" and flat.name not in ends else None
        return SKIPPED if when is not None and not graph["parameters"][when] else STARTED
    if all(verdict is None for verdict in verdicts.values()):
        return UNREACHED
    counted = {way.source for way in flat.counted()}
    still_open = [source for source, verdict in verdicts.items() if verdict is None]
    if flat.join is None:
        return Place("blocked", (len(still_open),))
    besides = sum(source not in counted for source in still_open)
    return Place("blocked", (len(still_open), besides, sum(verdicts[source] is True for source in counted)))


def may_start(flat: Flat, verdicts: Mapping[str, bool | None]) -> bool | None:
    """True: now. False: never. None: not yet. A verdict is True for a way that fired, False for a dead one."""
    counted = [verdicts[way.source] for way in flat.counted()]
    if flat.join is None:
        required = [verdicts[way.source] for way in flat.ways.values() if way.is_required]
        leading = [way for way in flat.ways.values() if way.is_transition]
        transitions = [verdicts[way.source] for way in leading]
        if len(leading) == 1 and not leading[0].branches and leading[0].ends != {"succeeded"} and "join" not in flat.task:
            required += transitions  # a task's only transition is another word for `after` with its ends
        if any(verdict is False for verdict in required):
            return False
        if any(verdict is None for verdict in [*required, *transitions]):
            return None
        return not transitions or any(transitions)
    others = [verdicts[source] for source, way in flat.ways.items() if way not in flat.counted()]
    if any(verdict is False for verdict in others) or sum(verdict is not False for verdict in counted) < flat.join:
        return False
    if sum(verdict is True for verdict in counted) >= flat.join and all(others):
        return True
    return None


def size(task: Mapping[str, Any], items: int | None = None) -> int:
    """How many items a fan-out has, or so many more elements make."""
    count = items if items is not None else len([item for item in range(task["items"]) if item != task.get("filter")])
    return -(-count // task.get("batch_size", 1))


def asks_for(task: Mapping[str, Any], wants: int, skipped: int) -> tuple[int, int]:
    """How many items have to succeed, and how many may fail."""
    needed = _share(task.get("success", 0), wants - skipped, up=True)
    if "tolerate" in task:
        return needed, _share(task["tolerate"], wants, up=False)
    return needed, wants if "success" in task or task.get("on_error") == "continue" else 0


def _share(said: int | str, items: int, up: bool) -> int:
    if isinstance(said, int):
        return said
    part = int(said.removesuffix("%")) * items
    return -(-part // 100) if up else part // 100


@dataclass(frozen=True)
class Fate:
    """What becomes of a step or an item whose attempts go like this."""

    end: Literal["succeeded", "failed", "timed_out"]
    attempts: int
    failures: int
    lost: int
    reason: str | None = None  # of its dead letter


def fate(task: Mapping[str, Any], words: list[str]) -> Fate:
    """Go through the attempts one by one, with two budgets."""
    if task.get("items") in ("broken", "late") or task.get("when") == "late":
        return Fate("failed", 0, 0, 0, "non_retryable")
    budget = task.get("retry", {}).get("count", 0)
    attempts = failures = lost = 0
    for word in [*words, "succeed"]:
        attempts += 1
        if word == "succeed":
            break
        if word == "lost":
            lost += 1
            if lost == MAX_LOST:
                return Fate("failed", attempts, failures, lost, "lost")
        elif word == "stale":
            return Fate("failed", attempts, failures, lost, "parked")
        elif word not in ("parked", "quota"):
            failures += 1
            if word == "fatal" or (word == "refused" and "retry" in task) or failures > budget:
                reason = "exhausted" if word == "refused" and "retry" not in task else word
                return _last(reason, Fate("timed_out" if word == "timeout" else "failed", attempts, failures, lost))
    return Fate("succeeded", attempts, failures, lost)


def _last(word: str, end: Fate) -> Fate:
    reason = {"timeout": "timed_out", "fatal": "non_retryable", "refused": "non_retryable"}.get(word, "exhausted")
    return Fate(end.end, end.attempts, end.failures, end.lost, reason)


def handles(flats: Mapping[str, Flat], name: str, end: str) -> bool:
    """Whether the run goes on although this task ended like this."""
    flat = flats[name]
    return flat.task.get("on_error") == "continue" or end in flat.handled(flats)
