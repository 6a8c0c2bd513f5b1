"""One process in which a whole fleet lives: virtual time, and actors that take turns at every pause.

An actor is a greenlet of one simulated process. Wherever the real engine would wait for the world (a transaction,
a commit's answer, the author's code, a sleep) it pauses here, and the seed decides who goes on, when, and whether it
is still alive. Nothing else decides anything, so one seed is one history, byte for byte.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import wfcelery.clock
from tests.simulation.actors import Actor, Killed, SimProcess, actor_of, current, hub
from tests.simulation.stories import Story
from wfcelery.engine import apply as applying
from wfcelery.engine import executing, grouping, patience
from wfcelery.worker import transacting

Replaced = tuple[Any, str, Any]  # a module, one of its names, what it means here
ENDLESS = 30_000  # turns; a seed needs about five hundred, and seldom ten thousand, where the database is away for long
ENGINE_PAUSES = "in a pause of the engine"
START = 1_800_000_000.0  # the database's time when a world begins


class Violation(BaseException):
    """The engine has broken a promise; no `except Exception` of the engine may keep that to itself."""


@dataclass
class World:
    """The clock, the actors and the dice of one seed."""

    story: Story
    trace: Callable[[str], None] | None = None
    now: float = 0.0
    calm: bool = False  # whether things no longer go wrong
    random: Random = field(init=False)
    sometimes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    _queue: list[tuple[float, int, Actor]] = field(default_factory=list)
    _actors: list[Actor] = field(default_factory=list)
    turns: int = 0
    _end: float = 0.0  # of the time that goes on now
    _hub: Any = field(default_factory=hub)

    def __post_init__(self) -> None:
        self.random = Random(self.story.seed ^ 0x5EED)

    # ---- time and turns ----------------------------------------------------------------------------------------------

    def spawn(self, process: SimProcess, what: Callable[[], object], after: float = 0.0) -> Actor:
        """A new actor of a process."""
        actor = actor_of(process, what, self._hub)
        self._actors.append(actor)
        self._later(after, actor)
        return actor

    def current(self) -> SimProcess:
        """The process of the actor whose turn it is."""
        actor = current()
        assert actor is not None
        return actor.process

    def pause(self, seconds: float | None = None, at: str = "idle") -> None:
        """Let the others have their turns; raises Killed where this process has died by the time it would go on.

        `at` says where in its work the process is, if that is where its fate finds it.
        """
        actor = current()
        if actor is None:  # the hub itself, at the beginning and at the end
            return
        process = actor.process
        if process.dead:
            raise Killed
        if seconds is None:
            seconds = self.random.expovariate(200.0)
        then = self.now + seconds if seconds > 0.0 else self.now
        queue = self._queue
        if then <= self._end and self.turns < ENDLESS and (not queue or then < queue[0][0]) and process.wakes() <= then:
            self.now = then  # nobody else has a turn before
            self.turns += 1
        else:
            self._later(seconds, actor)
            self._hub.switch()
            if process.dead:
                raise Killed
        process.fate(at)
        if process.dead:
            raise Killed

    def wait(self, waiting: list[Actor]) -> None:
        """As `pause`, until somebody takes this actor from the list and wakes it."""
        actor = current()
        assert actor is not None
        waiting.append(actor)
        self._hub.switch()
        if actor.process.dead:
            raise Killed

    def wake(self, actor: Actor, seconds: float) -> None:
        """An actor that waits, or pauses, goes on after so many seconds."""
        self._later(seconds, actor)

    def _later(self, seconds: float, actor: Actor) -> None:
        self.turns += 1
        actor.turn = self.turns
        heapq.heappush(self._queue, (self.now + seconds if seconds > 0.0 else self.now, self.turns, actor))

    def run(self, until: Callable[[], bool], limit: float) -> bool:
        """Go on until this is so, or so many seconds have passed; whether it is so."""
        self._end = end = self.now + limit
        queue = self._queue
        while queue:
            entry = heapq.heappop(queue)
            at, turn, actor = entry
            if actor.turn != turn:
                continue
            process = actor.process
            wakes = process.wakes()
            if wakes > at and not process.dead:
                heapq.heappush(queue, (wakes, turn, actor))
                continue
            if at > end:
                heapq.heappush(queue, entry)
                self.now = end
                return until()
            self.now = max(self.now, at)
            if self.turns >= ENDLESS:
                raise Violation(f"after {ENDLESS} turns somebody still goes round in a circle")
            actor.switch()
            if until():
                return True
        return until()

    def end(self) -> None:
        """Let every actor go."""
        for actor in self._actors:
            actor.process.dead = True
            if actor:  # has begun and not ended
                actor.throw(Killed)

    # ---- dice --------------------------------------------------------------------------------------------------------

    def strikes(self, fault: str, chance: float) -> bool:
        """Whether this goes wrong now."""
        if self.calm or chance <= 0.0 or self.random.random() >= chance:
            return False
        self.faults[fault] += 1
        self.say(f"fault {fault}")
        return True

    def uuid(self) -> UUID:
        """A random id (version 4)."""
        return UUID(int=self.random.getrandbits(128), version=4)

    def say(self, what: str) -> None:
        """A line of the trace."""
        if self.trace is not None:
            actor = current()
            self.trace(f"{self.now:11.6f} {actor.process.name if actor else '-':12} {what}")

    # ---- the real code, on this world's time -------------------------------------------------------------------------

    @contextmanager
    def in_charge(self, more: Sequence[Replaced] = ()) -> Iterator[None]:
        """The engine's clocks, sleeps and ids are this world's, and whatever else shall be."""

        def time_ns() -> int:
            actor = current()
            return int((START + self.now + (actor.process.skew if actor else 0.0)) * 1e9)

        time = SimpleNamespace(monotonic=lambda: self.now, time_ns=time_ns)
        os = SimpleNamespace(urandom=self.random.randbytes)
        replaced: list[Replaced] = [(wfcelery.clock, "time", time), (wfcelery.clock, "os", os), *more]
        replaced += [(module, "sleep", partial(self.pause, at=ENGINE_PAUSES)) for module in (patience, executing, transacting)]
        replaced += [(module, "uuid4", self.uuid) for module in (applying, executing, grouping)]
        before = [(module, name, getattr(module, name)) for module, name, _ in replaced]
        try:
            for module, name, value in replaced:
                setattr(module, name, value)
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)
