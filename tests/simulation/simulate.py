"""One seed from its first commit to its last: start, trouble, calm, drain, and every check."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from unittest import mock
from uuid import UUID

from tests.simulation import times, verdicts
from tests.simulation.actors import SimProcess
from tests.simulation.authors import Authors
from tests.simulation.bus import Bus, Message
from tests.simulation.database import SimDatabase
from tests.simulation.families import KID, has_calls
from tests.simulation.fans import Ask
from tests.simulation.fleet import PASSING, Fleet
from tests.simulation.listening import Listening, has_listeners
from tests.simulation.loops import Loop, has_a_loop
from tests.simulation.people import People, asks_people
from tests.simulation.scheduled import Scheduled, has_a_schedule
from tests.simulation.stories import Graph, Story, story_of
from tests.simulation.undoing import retried
from tests.simulation.world import Violation, World
from tests.unit.core.generators import flat
from wfcelery.definition.document import Definition
from wfcelery.definition.model import canonical_json, signature
from wfcelery.engine import waking
from wfcelery.settings import Settings
from wfcelery.store import definitions
from wfcelery.store.inbox import put
from wfcelery.store.starting import NewRun, insert_run

TAIL = 40.0  # seconds in which late messages and late attempts must have come
LOOK_AFTER = 8  # commits that changed runs, at least, between two looks of the checker at one of them
OF_RUNS = {"wf_run", "wf_step", "wf_inbox", "wf_wait", "wf_dead_letter", "wf_history"}
DRAINED_WITHIN = 400.0  # seconds of calm, in which every run must end: leases, pauses of retries and parked calls
SETTINGS = Settings(lease=9.0, park_pause=2.0)


@dataclass
class Told:
    """What came of a seed."""

    seed: int
    violation: str | None = None
    turns: int = 0
    commits: int = 0
    unknown: int = 0
    runs: int = 0
    sometimes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    overlapping: int = 0  # kinds of faults in this one seed


@dataclass
class Simulation:
    """The runs of one story, and those who want something of them."""

    story: Story
    world: World
    fleet: Fleet
    runs: list[UUID] = field(default_factory=list)
    scheduled: Scheduled | None = None
    listening: Listening | None = None
    loop: Loop | None = None
    people: People | None = None
    cancelled: set[UUID] = field(default_factory=set)
    versions: dict[str, tuple[int, str]] = field(default_factory=dict)
    _open: bool = True
    _changes: int = 0  # commits that changed a run
    _next_look: int = 8

    def after_commit(self, changed: set[str]) -> None:
        """What must hold then, of the tables that this commit has changed."""
        if "wf_run" in changed:
            verdicts.at_any_time(self.fleet, self.versions)
            self._look_for_open()
        if "wf_limit_use" in changed:
            verdicts.slots(self.fleet)
        if changed.isdisjoint(OF_RUNS):
            return
        self._changes += 1
        if self._changes >= self._next_look:
            self._next_look = int(self._changes * 1.1) + LOOK_AFTER  # a run that never ends gets longer and longer
            run = self.world.random.choice(self.runs)
            if run.hex in self.versions:
                verdicts.of_run(self.fleet, run)
            if self.story.faults.forged_messages:
                look = "select run, id from wf_step order by id limit 5"
                self.fleet.known = [(UUID(hex=run), UUID(hex=step)) for run, step in self.fleet.database.query(look)]

    def _look_for_open(self) -> None:
        many = sum(run.hex in self.versions for run in self.runs)
        self._open = many < len(self.runs) or any(status not in verdicts.ENDED for _, status in self.versions.values())

    def go(self) -> None:
        """The whole story."""
        for number in range(self.story.workers):
            del number
            self.fleet.add_worker()
        for number in range(self.story.beats):
            self.fleet.add_beat(number)
        self.fleet.trouble()
        if self.story.deploy is not None and self.story.deploys_after is not None:
            self.world.spawn(SimProcess("deployer"), self._deploy, self.story.deploys_after)
        self.world.sometimes[f"{self.story.beats} beats"] += 1
        self.world.sometimes["clocks differed"] += bool(self.story.faults.skew)
        for number, graph in enumerate(self.story.graphs):
            self._client(number, graph)
        if self.scheduled is not None:
            self.scheduled.begin()
        if self.loop is not None:
            self.loop.begin()
        if self.people is not None:
            self.people.begin()
        if self.listening is not None:
            self.listening.begin()
        lingers = self.story.lingers
        self.world.run(lambda: not lingers and self._at_rest(), self.story.trouble)
        self._calm_down()
        self._drain("the story")
        for round_ in range(self.story.retries):
            asked = self._retry_all()
            if asked:
                self._drain(f"retry {round_ + 1}")
                self._were_retried(asked)
        self._check()

    # ---- clients -----------------------------------------------------------------------------------------------------

    def _client(self, number: int, graph: Graph) -> None:
        definition = self.story.definitions[number]
        run = UUID(int=(self.story.seed << 16 | number) & (2**128 - 1), version=4)
        self.runs.append(run)
        self.fleet.authors.outcomes[run] = self.story.outcomes[number]
        self.fleet.authors.tasks[run] = {task["name"]: task for task in flat(graph["tasks"])}
        client = SimProcess(f"client{number}")
        self.world.spawn(client, lambda: self._start(number, run, definition, graph), self.world.random.uniform(0.0, 2.0))
        pause = self.story.pauses[number]
        if pause is not None:
            self._then(client, run, pause[0], partial(self._pause, run, pause[1]))
        for ask in self.story.asks:
            if ask.graph == number:
                self._expect(ask, run, client)
        self._then(client, run, self.story.cancels[number], partial(self._cancel, run))

    def _then(self, client: SimProcess, run: UUID, when: float | str | None, what: Callable[[], None]) -> None:
        """After so many seconds, or while this step is executed, once."""
        if isinstance(when, str):
            self.fleet.authors.meanwhile[run, when] = partial(self.world.spawn, client, what)
        elif when is not None:
            self.world.spawn(client, what, when)

    def _expect(self, ask: Ask, run: UUID, client: SimProcess) -> None:
        """Something will be asked of a fan-out of this run."""
        if ask.after is None:
            own = self.fleet.authors.adds.setdefault((run, ask.task), [])
            own.append(lambda call: self._ask(ask, run, str(call.token)))
        else:
            self.world.spawn(client, lambda: self._ask(ask, run, None), ask.after)

    def _start(self, number: int, run: UUID, definition: Definition, graph: Graph) -> None:
        """As `start_workflow`: until there is an answer, with the same id; then a ring, which may be lost."""
        signed = signature(definition)
        given = json.dumps(graph["parameters"])
        new = NewRun(
            run, "default", "random", signed, given, "d", delay=self.story.delays[number], deadline_in=self.story.deadlines[number]
        )

        def insert() -> None:
            with self.fleet.database.transaction() as tx:
                self.fleet.database.land()  # an insert waits for one of the same id, and is none then
                if has_calls(graph):
                    definitions.store(tx, signature(KID), KID.name, KID.version, canonical_json(KID), strict=False)
                definitions.store(tx, signed, definition.name, definition.version, canonical_json(definition), strict=False)
                if not self.fleet.database.exists(tx, run):
                    insert_run(tx, new)

        self._until_answered(insert)
        self.fleet.bus.put(Message("default", run))

    def _cancel(self, run: UUID) -> None:
        self.cancelled.add(run)
        self._tell(run, "terminate" if self.story.terminates else "cancel")

    def _pause(self, run: UUID, seconds: float) -> None:
        self._tell(run, "pause")
        self.world.pause(seconds)
        self._tell(run, "resume")

    def _resume_all(self) -> None:
        """An operator who forgets none: a pause whose answer was lost may have been asked for twice."""
        while self._open:
            for (run,) in self.fleet.database.query("select id from wf_run where status = 'paused'"):
                self._tell(UUID(hex=run), "resume")
            self.world.pause(3.0)

    def _tell(self, run: UUID, verb: str) -> None:
        def ask() -> None:
            with self.fleet.database.transaction() as tx:
                if self.fleet.database.exists(tx, run):
                    put(tx, "default", run, verb, {"reason": "changed their mind", "by": None})

        self._until_answered(ask)
        self.fleet.bus.put(Message("default", run))

    def _ask(self, ask: Ask, run: UUID, by: str | None) -> None:
        """As `add_items` and its like: a row in the inbox, and a ring."""
        items = [f"added {number}" for number in range(ask.items)]

        def put_it() -> None:
            with self.fleet.database.transaction() as tx:
                if self.fleet.database.exists(tx, run):
                    said = {"value": "by hand", "reason": "enough"} if ask.verb in ("skip", "complete") else {"items": items}
                    put(tx, "default", run, ask.verb, {"task": ask.task, "by": by, **said})

        self._until_answered(put_it)
        self.fleet.bus.put(Message("default", run))

    def _until_answered(self, what: Callable[[], None]) -> None:
        while True:
            try:
                what()
                return
            except PASSING:
                self.world.pause(0.1)

    # ---- the end -----------------------------------------------------------------------------------------------------

    def _deploy(self) -> None:
        if self._open and not self.world.calm:
            self.fleet.deploy()

    def _calm_down(self) -> None:
        self.world.calm = True
        self.world.say("calm")
        if self.scheduled is not None:
            self.scheduled.stop()
        for worker in self.fleet.workers:
            for process in [worker.process, *(child.process for child in worker.children)]:
                process.stopped_until = 0.0
        if any(self.story.pauses):
            self.world.spawn(SimProcess("operator"), self._resume_all)

    def _drain(self, what: str) -> None:
        self._look_for_open()
        if not self.world.run(lambda: not self._open, DRAINED_WITHIN):
            left = self.fleet.database.query("select id, status from wf_run where ended_at is null")
            steps = self.fleet.database.query(
                "select name, item, status, due_at, ring_at, attempt from wf_step where ended_at is null order by name, item"
            )
            raise Violation(f"after {what}: not ended within {DRAINED_WITHIN:g} s: {left}; open steps: {steps}")
        self.world.run(lambda: False, 1.0)  # whoever still looks around
        self.world.run(self._at_rest, TAIL)

    def _at_rest(self) -> bool:
        """Every run has ended, no message is on its way, and nobody executes anything any more."""
        return not self._open and self.fleet.bus.empty and not any(self.fleet.authors.under_way.values())

    def _retry_all(self) -> list[str]:
        """Somebody retries all open dead letters; their ids."""
        letters = self.fleet.database.query(
            "select l.run, l.step, l.id, s.name from wf_dead_letter l join wf_run r on r.id = l.run join wf_step s on s.id = l.step "
            "where l.status = 'open' and r.status in ('failed', 'timed_out') and r.parent is null "
            "and (s.items_left is null or s.wants = 0) order by l.id"  # a fan-out with items has nothing to run but these
        )
        undone = {run for (run,) in self.fleet.database.query("select run from wf_step where name like '%:compensate'")}
        letters = retried(letters, undone)
        for run, step, _ in letters:
            with self.fleet.database.quietly() as tx:
                put(tx, "default", UUID(hex=run), "retry", {"step": str(UUID(hex=step)), "by": None})
            self.versions[run] = (self.versions[run][0], "retried")
            self.fleet.bus.put(Message("default", UUID(hex=run)))
        if letters:
            self.world.sometimes["a dead letter was retried"] += 1
        return [letter for _, _, letter in letters]

    def _were_retried(self, asked: Sequence[str]) -> None:
        """What somebody asked for is not forgotten."""
        for letter in asked:
            [(status, run)] = self.fleet.database.query("select status, run from wf_dead_letter where id = ?", letter)
            if status == "open" and not self._failed_by_itself(run):
                raise Violation(f"the retry of dead letter {letter} was forgotten")

    def _failed_by_itself(self, run: str) -> bool:
        """Whether the run came to a `fail`: a retry is refused, and the history says so."""
        facts = [
            fact for (text,) in self.fleet.database.query("select facts from wf_history where run = ?", run) for fact in json.loads(text)
        ]
        own = any(fact["fact"] == "run_failed" and fact["error"].get("code") == "own" for fact in facts)
        return own and any(fact["fact"] == "retry_refused" for fact in facts)

    def _check(self) -> None:
        for (facts,) in self.fleet.database.query("select facts from wf_history"):
            self.world.sometimes.update(f"history: {fact['fact']}" for fact in json.loads(facts))
        for number, run in enumerate(self.runs):
            verdicts.at_rest(self.fleet, run, self.story.graphs[number], run in self.cancelled)
            times.check(self.fleet, run, self.story.delays[number], self.story.deadlines[number])
        for (child,) in self.fleet.database.query("select id from wf_run where parent_step is not null"):
            verdicts.of_run(self.fleet, UUID(hex=child))
        verdicts.effects(self.fleet)
        verdicts.nobody_has_a_slot(self.fleet)
        if self.scheduled is not None:
            self.scheduled.check()
        if self.loop is not None:
            self.loop.check()
        if self.people is not None:
            self.people.check()
        if self.listening is not None:
            self.listening.check()
        if self.story.only_outages:
            verdicts.nothing_was_lost(self.fleet)


def simulate(seed: int, trace: Callable[[str], None] | None = None) -> Told:
    """Run one seed; what it found is in what it returns."""
    story = story_of(seed)
    world = World(story, trace)
    database = SimDatabase(world)
    settings = SETTINGS.model_copy(update={"run_ahead": story.run_ahead, "poll": story.poll})
    fleet = Fleet(world, database, settings, Bus(world), Authors(world, database, SETTINGS))
    simulation = Simulation(story, world, fleet)
    simulation.scheduled = Scheduled(fleet) if has_a_schedule(seed) else None
    simulation.loop = Loop(fleet) if has_a_loop(seed) else None
    simulation.people = People(fleet) if asks_people(seed) else None
    simulation.listening = Listening(fleet) if has_listeners(seed) else None
    database.after_commit = simulation.after_commit
    told = Told(seed)
    logging.disable(logging.NOTSET if trace is not None else logging.CRITICAL)
    try:
        with world.in_charge(database.noting()), mock.patch.object(waking, "OURS", story.left):
            try:
                simulation.go()
            except Violation as violation:
                told.violation = str(violation)
            except Exception as problem:  # whatever leaves the engine is a finding too
                told.violation = f"{type(problem).__name__}: {problem}"
                if trace is not None:
                    logging.getLogger(__name__).exception("the engine raised")
            finally:
                world.end()
    finally:
        logging.disable(logging.NOTSET)
    told.turns = world.turns
    told.commits, told.unknown, told.runs = database.commits, database.unknown, len(story.graphs)
    told.sometimes, told.faults, told.overlapping = world.sometimes, world.faults, len(world.faults)
    database.close()
    return told
