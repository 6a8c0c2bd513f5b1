"""The processes of a world: workers with children, beats, and a client; the real engine in each of them.

What is replayed here of the worker's floor is the keeper (register, renew, see children die, sweep); the messages,
the slots and the author's code are simulated; everything below is the product's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from tests.simulation.authors import Authors, unknown
from tests.simulation.bus import STRANGERS, Bus, Message
from tests.simulation.database import SimDatabase
from tests.simulation.world import Killed, SimProcess, Violation, World
from wfcelery.core.decision import Ring
from wfcelery.engine.ports import Call, Outcome, Policy
from wfcelery.engine.process import Process
from wfcelery.engine.runtime import Runtime
from wfcelery.errors import IllegalTransition, Unavailable
from wfcelery.settings import Settings
from wfcelery.store.database import CommitUnknown, LockTimeout, SerializationClash

PASSING = (Unavailable, CommitUnknown, SerializationClash, LockTimeout)  # what the world's faults may raise through a message
HOST = "simulated"


@dataclass
class Child:
    """One process of a worker's pool: what it executes, and the real engine in it."""

    worker: Worker
    process: SimProcess
    identity_: str
    tokens: dict[UUID, None] = field(default_factory=dict)
    engine: Process = field(init=False)

    def __post_init__(self) -> None:
        fleet = self.worker.fleet
        runtime = Runtime(fleet.database, fleet.settings, self, self, self, self)
        self.engine = Process(runtime, self.identity_, fleet.alive)

    def live(self) -> None:
        """Take messages until it is killed, or its parent is."""
        fleet = self.worker.fleet
        while True:
            fleet.world.pause(fleet.world.random.uniform(0.001, 0.05))
            if self.process.orphaned:
                return
            if self.worker.id is None:
                fleet.world.pause(0.2)
                continue
            message = fleet.bus.take()
            if message is None:
                fleet.bus.wait()
            else:
                fleet.world.say(f"takes {message.run} {message.step}")
                fleet.hand_over(self.engine, message)
                if self.tokens:
                    raise Violation(f"an idle child holds {len(self.tokens)} tokens, which are renewed for ever")

    # ---- the engine's ports ------------------------------------------------------------------------------------------

    def policy(self, action: str) -> Policy | None:
        fleet = self.worker.fleet
        if self.worker.lacks == action and not fleet.world.calm:
            return None
        return fleet.authors.policy(action, action in fleet.world.story.transactional)

    def call(self, call: Call) -> Outcome:
        if call.token not in self.tokens:
            raise Violation(f"{call.name} is executed under a token that nobody renews")
        if self.policy(call.action) is None:
            return unknown(call)
        return self.worker.fleet.authors.execute(call, call.action in self.worker.fleet.world.story.transactional)

    def ring(self, rings: Sequence[Ring]) -> None:
        self.worker.fleet.bus.ring(rings)

    def ring_again(self, rings: Sequence[Ring]) -> None:
        self.worker.fleet.bus.ring_again(rings)

    def queue_for(self, action: str, queue: str | None) -> str:
        return queue or "celery"

    def may_keep(self, action: str, queue: str, hard_limit: float | None) -> bool:
        return True

    def take(self, token: UUID) -> None:
        self.tokens[token] = None

    def drop(self, token: UUID) -> None:
        self.tokens.pop(token, None)

    def identity(self) -> tuple[UUID, str]:
        assert self.worker.id is not None
        return self.worker.id, self.identity_


@dataclass(frozen=True)
class Starting:
    """What a worker says of itself when it starts."""

    worker: UUID
    process: str
    name: str = "worker@simulated"
    host: str = HOST
    queues: Sequence[str] = ("celery",)
    tasks: Sequence[str] = ()
    build: str = "1"


@dataclass
class Worker:
    """A main process, its keeper and its sweeping thread, and its children."""

    fleet: Fleet
    process: SimProcess
    lacks: str | None = None  # an action that its deploy does not know
    id: UUID | None = None
    children: list[Child] = field(default_factory=list)
    dead: dict[str, int] = field(default_factory=dict)
    main: Child = field(init=False)

    def __post_init__(self) -> None:
        self.main = Child(self, self.process, self.fleet.new_identity(self.process))

    def start(self) -> None:
        world = self.fleet.world
        for _ in range(world.story.children):
            self.add_child()
        world.spawn(self.process, self.keep)
        world.spawn(self.process, self.sweep, 0.01)

    def add_child(self) -> None:
        process = SimProcess(f"{self.process.name}.{self.fleet.next_number()}", self.process.skew, parent=self.process)
        child = Child(self, process, self.fleet.new_identity(process))
        self.children.append(child)
        self.fleet.world.spawn(process, child.live, 0.005)

    def keep(self) -> None:
        """The keeper: renew each third of a lease, and at once when a child is gone."""
        world, lease = self.fleet.world, self.fleet.settings.lease
        renewed = float("-inf")
        while True:
            gone = [child for child in self.children if child.process.dead]
            for child in gone:
                self.children.remove(child)
                self.add_child()
                self.dead[child.identity_] = 2
                if self.id is not None:
                    self._attempt(partial(self.main.engine.child_died, self.id, child.identity_))
            if world.now - renewed >= (lease / 3 if self.id is not None else 1.0):
                renewed = world.now
                self._attempt(self._renew)
            world.pause(0.3)

    def _renew(self) -> None:
        engine = self.main.engine
        if self.id is None:
            id_ = self.fleet.world.uuid()
            engine.register_worker(Starting(id_, self.main.identity_))
            self.id = id_
        for identity in list(self.dead):
            engine.child_died(self.id, identity)
            self.dead[identity] -= 1
            if self.dead[identity] <= 0:
                del self.dead[identity]
        tokens = {token for child in [self.main, *self.children] if not child.process.dead for token in child.tokens}
        if engine.renew(self.id, tokens) is None:
            self.fleet.world.sometimes["a worker was declared lost and went on as a new one"] += 1
            self.id = None

    def sweep(self) -> None:
        """The sweeping thread."""
        while True:
            pause = self.fleet.settings.poll
            with suppress(*PASSING):
                pause = self.main.engine.sweep()
            self.fleet.world.pause(pause)

    def _attempt(self, what: Callable[[], None]) -> None:
        with suppress(*PASSING):
            what()


@dataclass
class Fleet:
    """All processes, and what they share."""

    world: World
    database: SimDatabase
    settings: Settings
    bus: Bus
    authors: Authors
    workers: list[Worker] = field(default_factory=list)
    identities: dict[str, SimProcess] = field(default_factory=dict)
    known: list[tuple[UUID, UUID]] = field(default_factory=list)  # (run, step), for those who forge messages
    _number: int = 0

    def __post_init__(self) -> None:
        self.world.on_pause = self.fate

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def new_identity(self, process: SimProcess) -> str:
        identity = f"{1000 + self.next_number()}:{int(self.world.now)}"
        self.identities[identity] = process
        return identity

    def alive(self, identity: str) -> bool:
        """Whether a process of this host still lives."""
        process = self.identities.get(identity)
        return process is not None and not process.dead

    # ---- who lives ---------------------------------------------------------------------------------------------------

    def add_worker(self) -> Worker:
        story = self.world.story
        process = SimProcess(f"w{self.next_number()}", self.world.random.uniform(-story.faults.skew, story.faults.skew))
        worker = Worker(self, process, story.deploy if self.world.random.random() < 0.6 else None)
        self.workers.append(worker)
        worker.start()
        return worker

    def add_beat(self, number: int) -> None:
        process = SimProcess(f"beat{number}")

        def beat() -> None:
            while True:
                self.bus.put(Message("default", None))
                self.world.pause(self.settings.poll)

        self.world.spawn(process, beat, self.world.random.random())

    def fate(self, process: SimProcess) -> None:
        """Whether the process whose turn it is dies now, or is stopped for longer than a lease."""
        if not process.mortal or self.world.calm:
            return
        world, faults = self.world, self.world.story.faults
        worker = next((each for each in self.workers if each.process in (process, process.parent)), None)
        if worker is None:
            return
        if process is not worker.process and world.strikes("child killed", faults.killed_children):
            process.dead = True
        elif world.strikes("worker killed", faults.killed_workers):
            self.kill(worker)
        elif world.strikes("stopped", faults.stalls):
            stopped = process if world.random.random() < 0.5 else worker.process
            stopped.stopped_until = world.now + world.random.uniform(0.5, 2.5) * self.settings.lease

    def kill(self, worker: Worker) -> None:
        """The main process is gone; each child goes with it, or ends after what it executes. Another worker is started."""
        worker.process.dead = True
        self.workers.remove(worker)
        for child in worker.children:
            if self.world.random.random() < 0.5:
                child.process.dead = True
            child.process.orphaned = True
        successor = SimProcess("host", mortal=False)
        self.world.spawn(successor, self.add_worker, self.world.random.uniform(0.1, 3.0))

    def trouble(self) -> None:
        """What befalls the servers, second by second."""
        process = SimProcess("nemesis", mortal=False)
        faults = self.world.story.faults

        def go_on() -> None:
            while not self.world.calm:
                self.world.pause(self.world.random.uniform(0.1, 1.0))
                if self.world.strikes("flush", faults.flushes):
                    self.bus.flush()
                if self.world.strikes("forged message", faults.forged_messages):
                    self.bus.forge(self.known)
                if self.world.strikes("database crash", faults.crashes):
                    self.database.crash()

        self.world.spawn(process, go_on)

    def knows(self, run: UUID) -> bool:
        """Whether there is such a run."""
        return bool(self.database.query("select 1 from wf_run where id = ?", run.hex))

    def hand_over(self, engine: Process, message: Message) -> None:
        """As the worker's own task: what the world raises is survived, since the sweep rings again."""
        try:
            if message.run is None:
                engine.sweep()
            elif message.step is None:
                refused = engine.refused
                engine.dispatch(message.organization_id, message.run)
                if message.organization_id == STRANGERS and engine.refused == refused and self.knows(message.run):
                    raise Violation("a message of another organization was obeyed")
            else:
                engine.execute(message.organization_id, message.run, message.step)
        except PASSING as passing:
            self.world.say(f"failed: {type(passing).__name__}")
        except IllegalTransition as contradiction:
            raise Violation(f"a decision contradicts its rows: {contradiction}") from contradiction
        except Killed:
            raise
