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
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from greenlet import getcurrent, greenlet

import wfcelery.clock
from tests.simulation.stories import Story
from wfcelery.engine import apply as applying
from wfcelery.engine import executing, grouping
from wfcelery.worker import transacting

Replaced = tuple[Any, str, Any]  # a module, one of its names, what it means here
ENDLESS = 30_000  # turns; a seed needs about a thousand, and seldom four
START = 1_800_000_000.0  # the database's time when a world begins


class Killed(BaseException):
    """This actor's process is no more; whatever it still does on its way out reaches nobody."""


class Violation(AssertionError):
    """The engine has broken a promise."""


@dataclass(eq=False)
class SimProcess:
    """Something that can be killed or stopped as a whole: a worker's main process or one child of it, a beat, a client."""

    name: str
    skew: float = 0.0
    mortal: bool = True  # whether faults may kill or stop it
    dead: bool = False
    stopped_until: float = 0.0
    parent: SimProcess | None = None
    orphaned: bool = False  # its parent was killed; it ends after what it executes

    def wakes(self) -> float:
        """When it may go on; a stopped parent stops its children with it."""
        return max(self.stopped_until, self.parent.stopped_until if self.parent is not None else 0.0)


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
    on_pause: Callable[[SimProcess], None] = lambda process: None
    _queue: list[tuple[float, int, greenlet]] = field(default_factory=list)
    _actors: list[greenlet] = field(default_factory=list)
    _turns: int = 0
    _hub: greenlet = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.story.seed ^ 0x5EED)
        self._hub = getcurrent()

    # ---- time and turns ----------------------------------------------------------------------------------------------

    def spawn(self, process: SimProcess, what: Callable[[], object], after: float = 0.0) -> None:
        """A new actor of a process."""

        def live() -> None:
            try:
                if not process.dead:
                    what()
            except Killed:
                pass

        actor = greenlet(live, parent=self._hub)
        actor.process = process  # type: ignore[attr-defined]
        self._actors.append(actor)
        self._later(after, actor)

    def current(self) -> SimProcess:
        """The process of the actor whose turn it is."""
        found: SimProcess = getcurrent().process  # type: ignore[attr-defined]
        return found

    def pause(self, seconds: float | None = None) -> None:
        """Let the others have their turns; raises Killed where this process has died by the time it would go on."""
        actor = getcurrent()
        process: SimProcess | None = getattr(actor, "process", None)
        if process is None:  # the hub itself, at the beginning and at the end
            return
        if process.dead:
            raise Killed
        self._later(self.random.expovariate(200.0) if seconds is None else max(seconds, 0.0), actor)
        self._hub.switch()
        if process.dead:
            raise Killed
        self.on_pause(process)
        if process.dead:
            raise Killed

    def wait(self, waiting: list[greenlet]) -> None:
        """As `pause`, until somebody takes this actor from the list and wakes it."""
        waiting.append(getcurrent())
        self._hub.switch()
        if self.current().dead:
            raise Killed

    def wake(self, actor: greenlet, seconds: float) -> None:
        """An actor that waits goes on after so many seconds."""
        self._later(seconds, actor)

    def _later(self, seconds: float, actor: greenlet) -> None:
        self._turns += 1
        heapq.heappush(self._queue, (self.now + seconds, self._turns, actor))

    def run(self, until: Callable[[], bool], limit: float) -> bool:
        """Go on until this is so, or so many seconds have passed; whether it is so."""
        end = self.now + limit
        while self._queue:
            at, turn, actor = heapq.heappop(self._queue)
            process: SimProcess = actor.process  # type: ignore[attr-defined]
            wakes = process.wakes()
            if wakes > at and not process.dead:
                heapq.heappush(self._queue, (wakes, turn, actor))
                continue
            if at > end:
                heapq.heappush(self._queue, (at, turn, actor))
                return until()
            self.now = max(self.now, at)
            if self._turns > ENDLESS:
                raise Violation(f"after {ENDLESS} turns somebody still goes round in a circle")
            actor.switch()
            if until():
                return True
        return until()

    def end(self) -> None:
        """Let every actor go."""
        for actor in self._actors:
            actor.process.dead = True  # type: ignore[attr-defined]
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
            actor = getcurrent()
            process = getattr(actor, "process", None)
            self.trace(f"{self.now:11.6f} {process.name if process else '-':12} {what}")

    # ---- the real code, on this world's time -------------------------------------------------------------------------

    @contextmanager
    def in_charge(self, more: Sequence[Replaced] = ()) -> Iterator[None]:
        """The engine's clocks, sleeps and ids are this world's, and whatever else shall be."""

        def time_ns() -> int:
            process = getattr(getcurrent(), "process", None)
            return int((START + self.now + (process.skew if process else 0.0)) * 1e9)

        time = SimpleNamespace(monotonic=lambda: self.now, time_ns=time_ns)
        os = SimpleNamespace(urandom=self.random.randbytes)
        replaced: list[Replaced] = [(wfcelery.clock, "time", time), (wfcelery.clock, "os", os), *more]
        replaced += [(module, "sleep", self.pause) for module in (applying, executing, transacting)]
        replaced += [(module, "uuid4", self.uuid) for module in (applying, executing, grouping)]
        before = [(module, name, getattr(module, name)) for module, name, _ in replaced]
        try:
            for module, name, value in replaced:
                setattr(module, name, value)
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)
