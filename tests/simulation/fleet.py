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

from tests.simulation.actors import Actor, Killed, SimProcess
from tests.simulation.authors import Authors, unknown
from tests.simulation.bus import STRANGERS, Bus, Message
from tests.simulation.database import SimDatabase
from tests.simulation.world import ENGINE_PAUSES, Violation, World
from wfcelery.core.decision import Ring
from wfcelery.engine.plans import Plans
from wfcelery.engine.ports import Call, Outcome, Policy
from wfcelery.engine.process import Process
from wfcelery.engine.runtime import Runtime
from wfcelery.errors import IllegalTransition, Unavailable
from wfcelery.settings import Settings
from wfcelery.store.failures import CommitUnknown, LockTimeout, SerializationClash

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
        runtime = Runtime(fleet.database, fleet.settings, self, self, self, self, fleet.plans)
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
    keeper: Actor = field(init=False)

    def __post_init__(self) -> None:
        self.main = Child(self, self.process, self.fleet.new_identity(self.process))

    def start(self) -> None:
        world = self.fleet.world
        for _ in range(world.story.children):
            self.add_child()
        self.process.fate = partial(self.fleet.fate, self, self.process)
        self.keeper = world.spawn(self.process, self.keep)
        world.spawn(self.process, self.sweep, 0.01)

    def add_child(self) -> None:
        process = SimProcess(f"{self.process.name}.{self.fleet.next_number()}", self.process.skew, parent=self.process)
        child = Child(self, process, self.fleet.new_identity(process))
        process.fate = partial(self.fleet.fate, self, process)
        self.children.append(child)
        self.fleet.world.spawn(process, child.live, 0.005)

    def keep(self) -> None:
        """The keeper: renew each third of a lease, and at once when a child is gone."""
        world, lease = self.fleet.world, self.fleet.settings.lease
        next_ = 0.0
        while True:
            gone = [child for child in self.children if child.process.dead]
            for child in gone:
                self.children.remove(child)
                self.add_child()
                self.dead[child.identity_] = 2
                if self.id is not None:
                    self._attempt(partial(self.main.engine.child_died, self.id, child.identity_))
            if world.now >= next_:
                began = world.now
                renewed = self._attempt(self._renew) and self.id is not None
                next_ = began + (lease / 3 if renewed else min(1.0, lease / 6))
            world.pause(max(next_ - world.now, 0.001))  # or until a child dies

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

    def _attempt(self, what: Callable[[], None]) -> bool:
        with suppress(*PASSING):
            what()
            return True
        return False


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
    plans: Plans = field(default_factory=Plans)  # a plan is pure: to compile it once is enough for all processes
    deployed: bool = False
    known: list[tuple[UUID, UUID]] = field(default_factory=list)  # (run, step), for those who forge messages
    _number: int = 0

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
        lacks = story.deploy if not self.deployed and self.world.random.random() < 0.6 else None
        worker = Worker(self, process, lacks)
        self.workers.append(worker)
        worker.start()
        return worker

    def deploy(self) -> None:
        """Every worker is replaced by one that knows all steps, while runs are under way."""
        self.deployed = True
        self.world.sometimes["a deploy in mid-run"] += 1
        for worker in [each for each in self.workers if each.lacks is not None]:
            self.kill(worker)

    def add_beat(self, number: int) -> None:
        process = SimProcess(f"beat{number}")

        def beat() -> None:
            while True:
                self.bus.put(Message("default", None))
                self.world.pause(self.settings.poll)

        self.world.spawn(process, beat, self.world.random.random())

    def fate(self, worker: Worker, process: SimProcess, at: str) -> None:
        """Whether the process whose turn it is dies now, or is stopped for longer than a lease."""
        world, faults = self.world, self.world.story.faults
        if world.calm:
            return
        if process is not worker.process and world.strikes("child killed", faults.killed_children * (5 if at == ENGINE_PAUSES else 1)):
            process.dead = True
            world.sometimes[f"killed {at}"] += 1
            world.wake(worker.keeper, world.random.uniform(0.0, 0.3))
        elif world.strikes("worker killed", faults.killed_workers):
            world.sometimes[f"killed {at}"] += 1
            self.kill(worker)
        elif world.strikes("stopped", faults.stalls):
            stopped = process if world.random.random() < 0.5 else worker.process
            leases = world.random.uniform(0.5, 2.5)
            world.sometimes["a process was stopped past its lease"] += leases > 1.0
            stopped.stopped_until = world.now + leases * self.settings.lease

    def kill(self, worker: Worker) -> None:
        """The main process is gone; each child goes with it, or ends after what it executes. Another worker is started."""
        worker.process.dead = True
        self.workers.remove(worker)
        for child in worker.children:
            if self.world.random.random() < 0.5:
                child.process.dead = True
            child.process.orphaned = True
            child.process.let_go()
        self.world.spawn(SimProcess("host"), self.add_worker, self.world.random.uniform(0.1, 3.0))

    def trouble(self) -> None:
        """What befalls the servers, second by second."""
        process = SimProcess("nemesis")
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
