"""What a seed tells: a random graph, what becomes of each attempt, and which faults there are and how often.

Graphs are the plain dicts of `tests.unit.core.generators`, so that their oracle can say how the run must end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from tests.simulation.families import family
from tests.simulation.fans import Ask, Verb, asked, fanned
from tests.simulation.undoing import ends_of, undone
from tests.unit.core.generators import KINDS, LATE_ENDS, PARAMETERS, WORDS, countable, definition_of, flat, names_of
from wfcelery.definition.document import Definition
from wfcelery.definition.problems import problems

Task = dict[str, Any]
Graph = dict[str, Any]

# What becomes of an attempt, by how often the step has failed so far; after the last word it succeeds.
OUTCOMES = ("fail", "fail", "refused", "fatal", "later", "slow", "quota")
TIMEOUT = 8.0  # seconds that a task with `timeout` may take


@dataclass(frozen=True)
class Faults:
    """How often each thing goes wrong, while things go wrong at all. Chances are per chance: a message, a pause, a commit."""

    lost_messages: float = 0.0
    repeated_messages: float = 0.0
    late_messages: float = 0.0
    flushes: float = 0.0  # of the whole broker, per second
    forged_messages: float = 0.0  # per second
    killed_children: float = 0.0  # per pause
    killed_workers: float = 0.0
    stalls: float = 0.0  # a process is stopped for longer than its lease
    clashes: float = 0.0  # per transaction
    away: float = 0.0  # the database, per transaction
    unknown_lost: float = 0.0  # commits without an answer that did not land
    unknown_landed: float = 0.0
    unknown_late: float = 0.0  # that land later
    crashes_at_claims: float = 0.0  # of the database, per claim
    crashes: float = 0.0  # of the database, per second: claims of the last moment are taken back
    skew: float = 0.0  # seconds that clocks of processes differ
    outages: float = 0.0  # of the database, per transaction, for up to one and a half leases


@dataclass(frozen=True)
class Story:
    """Everything that a seed decides beforehand; the order of things is drawn as they happen."""

    seed: int
    graphs: tuple[Graph, ...]
    definitions: tuple[Definition, ...]
    outcomes: tuple[dict[tuple[str, int], list[str]], ...]
    faults: Faults
    workers: int
    children: int
    beats: int
    run_ahead: float
    trouble: float  # seconds for which things go wrong
    cancels: tuple[float | str | None, ...] = ()  # when somebody cancels the run: after seconds, or while this step is executed
    pauses: tuple[tuple[float | str, float] | None, ...] = ()  # when somebody pauses the run, as `cancels`, and for how long
    terminates: bool = False  # whether a cancel is a terminate
    deadlines: tuple[float | None, ...] = ()
    delays: tuple[float | None, ...] = ()
    retries: int = 0  # rounds in which somebody retries all open dead letters
    deploy: str | None = None  # an action that workers do not know while things go wrong
    transactional: frozenset[str] = field(default_factory=frozenset)  # actions
    deploys_after: float | None = None  # seconds until workers that know it take over; None: with the calm
    poll: float = 1.0  # seconds between two sweeps
    left: float = 0.25  # seconds for which sleeps that are over are left to the workers
    asks: tuple[Ask, ...] = ()  # what people and items want of fan-outs
    lingers: bool = True  # whether things go on going wrong when every run has ended

    @property
    def only_outages(self) -> bool:
        """Whether the database is away for a while now and then, and nothing else goes wrong."""
        return self.faults == Faults(outages=self.faults.outages) and self.faults.outages > 0.0 and self.deploy is None


def story_of(seed: int) -> Story:
    """The story of a seed; the same for ever."""
    random = Random(seed)
    story = _troubled(random, seed)
    story = _with_sleepers(story, Random(f"{seed} sleeps"))
    story = _with_fans(story, Random(f"{seed} fans"))
    story = _with_families(story, Random(f"{seed} families"))
    story = _with_undoing(story, Random(f"{seed} undoing"))
    story = _with_ends(story, Random(f"{seed} ends"))
    story = _with_regions(story, Random(f"{seed} regions"))
    story = _with_pauses(story, Random(f"{seed} pauses"))
    story = _with_hands(story, Random(f"{seed} hands"))
    story = _with_gates(story, Random(f"{seed} gates"))
    apart = Random(f"{seed} apart")
    if apart.random() < 0.1:  # nothing else goes wrong
        transactional = _actions(story.graphs) if apart.random() < 0.4 else []
        return replace(story, faults=Faults(outages=apart.uniform(0.03, 0.2)), deploy=None, transactional=frozenset(transactional))
    return story


def _with_sleepers(story: Story, random: Random) -> Story:
    """In some seeds there are besides runs that sleep, do something, and sleep again; all are over at about the same time."""
    left = random.choice((0.25, 5.0, 30.0))
    story = replace(story, left=left if story.run_ahead else min(left, 5.0))  # who keeps no step ends no sleep: only sweeps do
    if random.random() < 0.75:
        return story
    more = [_sleeper(number, random.randint(1, 3)) for number in range(random.randint(2, 5))]
    none = (None,) * len(more)
    return replace(
        story,
        graphs=(*story.graphs, *more),
        definitions=(*story.definitions, *map(definition_of, more)),
        outcomes=(*story.outcomes, *(_outcomes(random, graph) for graph in more)),
        cancels=(*story.cancels, *(_cancel(random, graph) for graph in more)),
        deadlines=(*story.deadlines, *none),
        delays=(*story.delays, *none),
    )


def _with_ends(story: Story, random: Random) -> Story:
    """In some runs there is a task that ends them, behind one of the others."""
    graphs = [_with_an_end(random, graph) if random.random() < 0.15 else graph for graph in story.graphs]
    definitions = [
        old if graph is was else definition_of(graph) for graph, was, old in zip(graphs, story.graphs, story.definitions, strict=True)
    ]
    return replace(story, graphs=tuple(graphs), definitions=tuple(definitions))


def _with_regions(story: Story, random: Random) -> Story:
    """In some runs the success of a step calls others off, or comes too late for them, as far as that may be published."""
    graphs, definitions = list(story.graphs), list(story.definitions)
    for number, graph in enumerate(graphs):
        plain = [task for task in graph["tasks"] if task["type"] in ("action", "sleep")]
        if len(plain) < 3 or random.random() > 0.25:
            continue
        one, *others = random.sample(plain, 3)
        named = {**one, random.choice(("cancels", "cancels", "unless_reached")): [task["name"] for task in others]}
        changed = {**graph, "tasks": [named if task is one else task for task in graph["tasks"]]}
        definition = definition_of(changed)
        if not any(problem.severity == "error" for problem in problems(definition)):
            graphs[number], definitions[number] = changed, definition
    return replace(story, graphs=tuple(graphs), definitions=tuple(definitions))


def _with_an_end(random: Random, graph: Graph) -> Graph:
    source = str(random.choice(graph["tasks"])["name"])
    ends = random.choice((None, None, ["failed"]))
    last = {"name": "last", "type": random.choice(("end", "fail")), "after": {source: ends}}
    return {**graph, "tasks": [*graph["tasks"], last]}


def _with_gates(story: Story, random: Random) -> Story:
    """In some seeds steps of all runs share limits, locks and a breaker: these change when something happens, and nothing else."""
    if random.random() < 0.6:
        return story
    graphs = tuple({**graph, "tasks": [_gated(random, task) for task in graph["tasks"]]} for graph in story.graphs)
    return replace(story, graphs=graphs, definitions=tuple(map(definition_of, graphs)))


def _gated(random: Random, task: Task) -> Task:
    if task["type"] != "action" or "items" in task or random.random() < 0.5:
        return task
    gates: list[dict[str, Any]] = [
        {"lock": "till"},
        {"limit": {"key": random.choice("ab"), "slots": random.randint(1, 2)}},
        {"limit": {"key": "a", "slots": 2}, "lock": "till"},
        {"breaker": {"key": "gateway", "failures": 3, "within": 60.0, "open_for": 2.0}},
        {"rate": {"limit": "2/s", "key": "gateway"}},
    ]
    return {**task, **random.choice(gates)}


def _with_pauses(story: Story, random: Random) -> Story:
    pauses = tuple(_pause(random, graph) if random.random() < 0.2 else None for graph in story.graphs)
    return replace(story, pauses=pauses, terminates=random.random() < 0.3)


def _with_hands(story: Story, random: Random) -> Story:
    """Of some runs somebody skips or completes a step, whatever it is about then, or has the whole run tried again."""
    more: list[Ask] = []
    for number, graph in enumerate(story.graphs):
        while random.random() < 0.2:
            verb: Verb = random.choice(("skip", "skip", "complete", "complete", "retry"))
            more.append(Ask(number, verb, str(random.choice(names_of(graph["tasks"]))), random.uniform(0.0, 20.0)))
    return replace(story, asks=(*story.asks, *more))


def _pause(random: Random, graph: Graph) -> tuple[float | str, float]:
    when = random.uniform(0.0, 10.0) if random.random() < 0.5 else str(random.choice(names_of(graph["tasks"])))
    return when, random.uniform(0.05, 8.0)


def _with_fans(story: Story, random: Random) -> Story:
    """In some seeds there are besides runs that say more of a fan-out than its list."""
    if random.random() < 0.6:
        return story
    first = len(story.graphs)
    more = [fanned(random, number) for number in range(first, first + random.randint(1, 2))]
    none = (None,) * len(more)
    names = [f"do.{graph['tasks'][0]['name']}" for graph in more]
    return replace(
        story,
        graphs=(*story.graphs, *more),
        definitions=(*story.definitions, *map(definition_of, more)),
        outcomes=(*story.outcomes, *(_outcomes(random, graph) for graph in more)),
        cancels=(*story.cancels, *(_cancel(random, graph) for graph in more)),
        deadlines=(*story.deadlines, *none),
        delays=(*story.delays, *none),
        asks=tuple(ask for number, graph in enumerate(more, first) for ask in asked(random, number, graph["tasks"][0]["name"])),
        transactional=story.transactional | {name for name in names if random.random() < 0.15},
    )


def _with_families(story: Story, random: Random) -> Story:
    """In some seeds there are besides runs that begin other runs."""
    if random.random() < 0.7:
        return story
    first = len(story.graphs)
    more = [family(random, number) for number in range(first, first + random.randint(1, 2))]
    none = (None,) * len(more)
    return replace(
        story,
        graphs=(*story.graphs, *more),
        definitions=(*story.definitions, *map(definition_of, more)),
        outcomes=(*story.outcomes, *({} for _ in more)),
        cancels=(*story.cancels, *(_cancel(random, graph) for graph in more)),
        deadlines=(*story.deadlines, *none),
        delays=(*story.delays, *none),
    )


def _with_undoing(story: Story, random: Random) -> Story:
    """In some seeds there are besides runs that undo what they have done."""
    if random.random() < 0.7:
        return story
    first = len(story.graphs)
    more = [undone(random, number) for number in range(first, first + random.randint(1, 2))]
    none = (None,) * len(more)
    return replace(
        story,
        graphs=(*story.graphs, *more),
        definitions=(*story.definitions, *map(definition_of, more)),
        outcomes=(*story.outcomes, *({**_outcomes(random, graph), **ends_of(random, graph, n)} for n, graph in enumerate(more, first))),
        cancels=(*story.cancels, *(_cancel(random, graph) for graph in more)),
        deadlines=(*story.deadlines, *(random.uniform(1.0, 15.0) if random.random() < 0.15 else None for _ in more)),
        delays=(*story.delays, *none),
    )


def _sleeper(number: int, naps: int) -> Graph:
    tasks: list[Task] = []
    for turn in range(2 * naps):
        before = {"after": {tasks[-1]["name"]: None}} if tasks else {}
        tasks.append({"name": f"n{number}x{turn}", "type": ("sleep", "action")[turn % 2], **before})
    return {"parameters": dict.fromkeys(PARAMETERS, False), "tasks": tasks}


def _actions(graphs: Iterable[Graph]) -> list[str]:
    return sorted({f"do.{task['name']}" for graph in graphs for task in flat(graph["tasks"]) if task["type"] == "action"})


def _troubled(random: Random, seed: int) -> Story:
    sound = [_sound_graph(random, random.choice((3, 6, 6, 10))) for _ in range(random.choice((1, 1, 2, 3)))]
    graphs = tuple(graph for graph, _ in sound)
    names = _actions(graphs)
    return Story(
        seed,
        graphs,
        tuple(definition for _, definition in sound),
        tuple(_outcomes(random, graph) for graph in graphs),
        _faults(random),
        workers=random.choice((1, 2, 2, 3)),
        children=random.choice((1, 2, 2, 3)),
        beats=random.choice((0, 1, 1, 2, 3)),
        run_ahead=random.choice((0.0, 1.0, 1.0, 5.0)),
        trouble=random.uniform(1.0, 25.0),
        cancels=tuple(_cancel(random, graph) for graph in graphs),
        deadlines=tuple(random.uniform(1.0, 30.0) if random.random() < 0.12 else None for _ in graphs),
        delays=tuple(random.uniform(0.5, 5.0) if random.random() < 0.1 else None for _ in graphs),
        retries=random.choice((0, 0, 1, 2)),
        deploy=random.choice(names) if names and random.random() < 0.12 else None,
        transactional=frozenset(name for name in names if random.random() < 0.15),
        deploys_after=random.uniform(0.5, 8.0) if random.random() < 0.6 else None,
        poll=random.choice((1.0, 2.0, 3.0, 3.0)),
        lingers=random.random() < 0.2,
    )


def _cancel(random: Random, graph: Graph) -> float | str | None:
    draw = random.random()
    if draw < 0.1:
        return random.uniform(0.0, 15.0)
    return str(random.choice(names_of(graph["tasks"]))) if draw < 0.2 else None


def _faults(random: Random) -> Faults:
    """Each seed draws which faults there are at all: a world with all of them hides what only one would show."""

    def some(most: float, share: float = 0.35) -> float:
        return random.uniform(most / 20, most) if random.random() < share else 0.0

    return Faults(
        lost_messages=some(0.9),
        repeated_messages=some(0.5),
        late_messages=some(0.5),
        flushes=some(0.3, 0.2),
        forged_messages=some(0.5, 0.1),
        killed_children=some(0.08),
        killed_workers=some(0.01),
        stalls=some(0.04),
        clashes=some(0.08),
        away=some(0.05, 0.25),
        unknown_lost=some(0.15),
        unknown_landed=some(0.15),
        unknown_late=some(0.15),
        crashes=some(0.1, 0.15),
        crashes_at_claims=some(0.3, 0.1),
        skew=some(3600.0, 0.3),
    )


def _outcomes(random: Random, graph: Graph) -> dict[tuple[str, int], list[str]]:
    found: dict[tuple[str, int], list[str]] = {}
    for task in flat(graph["tasks"]):
        if task["type"] != "action":
            continue
        words = [word for word in OUTCOMES if word != "slow" or "timeout" in task]
        for item in range(task["items"]) if "items" in task else (-1,):
            if random.random() < 0.3:
                found[task["name"], item] = [random.choice(words) for _ in range(random.randint(1, 3))]
    return found


# ---- graphs -----------------------------------------------------------------------------------------------------------


def _sound_graph(random: Random, most: int) -> tuple[Graph, Definition]:
    """One that may be published: a definition with problems never starts."""
    while True:
        graph = _graph(random, most)
        definition = definition_of(graph)
        if not any(problem.severity == "error" for problem in problems(definition)):
            return graph, definition


def _graph(random: Random, most: int) -> Graph:
    count = random.randint(1, most)
    tasks: list[Task] = []
    while len(names_of(tasks)) < count:
        room = count - len(names_of(tasks))
        if room >= 3 and random.random() < 0.12:
            tasks.append(_block(random, f"t{len(tasks)}", min(room - 1, 3)))
        else:
            tasks.append(_task(random, f"t{len(tasks)}"))
    for position, target in enumerate(tasks):
        near = min(position, 4)
        ways = min(near, max(random.randint(0, 3), 1 if random.random() < 0.75 else 0))
        for distance in random.sample(range(1, near + 1), ways):
            _edge(random, tasks[position - distance], target)
        counted = countable(tasks, target)
        if target["type"] != "parallel" and counted and random.random() < 0.3:
            target["join"] = random.randint(1, counted)
            if random.random() < 0.25:
                target["cancel_rest"] = True
    return {"parameters": {name: random.random() < 0.5 for name in PARAMETERS}, "tasks": tasks}


def _task(random: Random, name: str) -> Task:
    task: Task = {"name": name, "type": "sleep" if random.random() < 0.12 else "action"}
    if random.random() < 0.15:
        task["when"] = random.choice(PARAMETERS)
    if task["type"] == "sleep":
        return task
    if random.random() < 0.25:
        task["items"] = random.choice((0, 1, 2, 3, 5, 9))
        if random.random() < 0.4:
            task["concurrency"] = random.randint(1, 3)
    if random.random() < 0.3:
        task["on_error"] = "continue"
    if random.random() < 0.2:
        task["timeout"] = f"{TIMEOUT:g}s"
    if random.random() < 0.6:
        task["retry"] = {
            "count": random.randint(0, 3),
            "delay": random.choice((0.0, 0.5, 2.0)),
            "backoff": random.choice(("constant", "linear", "exponential")),
            "jitter": random.random() < 0.5,
            "non_retryable": ["Refused"],
        }
    return task


def _block(random: Random, name: str, most: int) -> Task:
    children = [_task(random, f"{name}c{number}") for number in range(random.randint(1, most))]
    for position, child in enumerate(children[1:], 1):
        if random.random() < 0.3:
            child.setdefault("after", {})[children[random.randrange(position)]["name"]] = None
    block: Task = {"name": name, "type": "parallel", "children": children}
    if random.random() < 0.3:
        block["join"] = random.randint(1, len(children))
    return block


def _edge(random: Random, source: Task, target: Task) -> None:
    name = target["name"]
    for word in random.choice(WORDS):
        if word == "after":
            target.setdefault("after", {})[source["name"]] = None
        elif word == "ends":
            target.setdefault("after", {})[source["name"]] = random.sample(["succeeded", *LATE_ENDS], random.randint(1, 2))
        elif word == "needs":
            target.setdefault("needs", []).append(source["name"])
        elif word == "decision" and source["type"] == "action":
            _branch(random, source, name)
        else:
            kinds = ["success"] if word == "success" else random.sample(KINDS, random.randint(1, 2))
            for kind in kinds:
                source.setdefault("on", {}).setdefault(kind, []).append(name)


def _branch(random: Random, source: Task, target: str) -> None:
    branches = source.setdefault("decision", [])
    parameter = random.choice((*PARAMETERS, None))
    for branch in branches:
        if branch[0] == parameter:
            branch[1].append(target)
            return
    branches.append([parameter, [target]])
    branches.sort(key=lambda branch: branch[0] is None)
