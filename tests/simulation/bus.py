"""A broker that loses, repeats, delays and reorders messages, forgets everything at times, and carries forged ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from tests.simulation.actors import Actor, Killed
from tests.simulation.world import World
from wfcelery.core.decision import Ring, RingStep

SWEEP = "sweep"
STRANGERS = "strangers"  # an organization that has no runs here
FORGED = ("strangers organization", "no such run", "no such step", "a step of another run")


@dataclass(frozen=True, slots=True)
class Message:
    """What a worker is told: to sweep, or to look at a run or a step."""

    organization_id: str
    run: UUID | None
    step: UUID | None = None


@dataclass
class Bus:
    """One queue, from which whoever is free takes any message that has arrived."""

    world: World
    _waiting: list[tuple[float, Message]] = field(default_factory=list)
    _idle: list[Actor] = field(default_factory=list)  # children without work

    def ring(self, rings: Sequence[Ring]) -> None:
        """After a commit; its process may die before it comes to that."""
        self.world.pause(at="between a commit and its rings")
        for ring in rings:
            self.put(Message(ring.organization_id, ring.run, ring.step if isinstance(ring, RingStep) else None))

    def ring_again(self, rings: Sequence[Ring]) -> None:
        """For what nobody took, but not into a queue that holds as many messages already."""
        if len(self._waiting) < len(rings):
            self.ring(rings)

    def put(self, message: Message) -> None:
        world, faults = self.world, self.world.story.faults
        if world.strikes("message lost", faults.lost_messages):
            return
        copies = 2 if world.strikes("message repeated", faults.repeated_messages) else 1
        for _ in range(copies):
            delay = world.random.expovariate(500.0)
            if world.strikes("message late", faults.late_messages):
                delay += world.random.uniform(0.5, 20.0)
            self._waiting.append((world.now + delay, message))
            self._wake_somebody(delay)

    @property
    def empty(self) -> bool:
        """Whether no message is on its way."""
        return not self._waiting

    def take(self) -> Message | None:
        """Any message that has arrived: the order is the broker's."""
        arrived = [number for number, (at, _) in enumerate(self._waiting) if at <= self.world.now]
        if not arrived:
            return None
        return self._waiting.pop(self.world.random.choice(arrived))[1]

    def wait(self) -> None:
        """Until a message may have arrived; whoever has died by then leaves it to the next."""
        if self._waiting:
            self.world.pause(min(at for at, _ in self._waiting) - self.world.now)
            return
        try:
            self.world.wait(self._idle)
        except Killed:
            self._wake_somebody(0.0)
            raise
        if self.world.current().orphaned:
            self._wake_somebody(0.0)

    def _wake_somebody(self, seconds: float) -> None:
        """Of those who wait and still live."""
        while self._idle:
            actor = self._idle.pop(self.world.random.randrange(len(self._idle)))
            if not actor.process.dead:
                self.world.wake(actor, seconds)
                return

    def flush(self) -> None:
        """Forget everything."""
        if self._waiting:
            self.world.sometimes["a flush lost messages"] += 1
        self._waiting.clear()

    def forge(self, known: Sequence[tuple[UUID, UUID]]) -> None:
        """A message of somebody who means no good, or of a program with a bug; `known` are (run, step) that there are."""
        run, step = self.world.random.choice(known) if known else (self.world.uuid(), self.world.uuid())
        kind = self.world.random.choice(FORGED)
        organization = STRANGERS if kind == FORGED[0] else "default"
        if kind == FORGED[1]:
            run = self.world.uuid()
        if kind == FORGED[2]:
            step = self.world.uuid()
        if kind == FORGED[3] and known:
            run = self.world.random.choice(known)[0]
        self.put(Message(organization, run, self.world.random.choice((step, None))))
