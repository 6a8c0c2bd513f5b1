"""Whoever makes things go wrong: faults drawn from a seed, overlapping, each with what it hit while it was under way."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from random import Random
from threading import Lock

import redis

from tests.chaos.looking import AWAY, Attempt, under_way
from tests.chaos.stack import LEASE, Ended, Member, Stack

PATIENCE = 4.0  # seconds for which a fault waits for something to hit
LATELY = 30.0  # seconds that a worker needs at most to begin, and to find out that it cannot
READY, UNREACHED = " ready.", "the database cannot be reached"
AWAY_FAULTS = ("database_restart", "database_crash", "crowded_database", "terminated_backends", "cut_commits", "black_hole", "half_open")
MOST = 10  # faults that are under way
AT_ONCE = 0.35  # of all faults come at the same moment as the one before


@dataclass(frozen=True, slots=True)
class Kill:
    """Attempts whose process was killed, or steps whose messages were lost, and when."""

    kind: str  # worker | child | ring
    at: float
    attempts: Sequence[Attempt]


@dataclass
class Nemesis:
    """Strikes until it is told to stop; then ends what it has begun."""

    stack: Stack
    random: Random
    deck: Mapping[str, Callable[[Nemesis, Random], int]]  # a fault's name, and how to do it: answers how much work it hit
    gap: float
    faults: Counter[str] = field(default_factory=Counter)
    in_flight: Counter[str] = field(default_factory=Counter)
    kills: list[Kill] = field(default_factory=list)
    strikes: list[tuple[str, float, float]] = field(default_factory=list)  # which fault, from when, until when
    crashes: list[float] = field(default_factory=list)  # of the database: each may have taken back a claim
    overlapping: int = 0
    wrong: list[str] = field(default_factory=list)  # what faults found that must not be
    over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _now: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, seconds: float) -> None:
        """Strike for so long, and heal what was struck."""
        end = time.monotonic() + seconds
        for name in self._names():
            at_once = self.random.random() < AT_ONCE
            pause = 0.0 if at_once else min(self.random.expovariate((1 - AT_ONCE) / self.gap), 4 * self.gap)
            if self.over.wait(pause) or time.monotonic() > end:
                break
            if not self._may(name):
                continue
            thread = threading.Thread(target=self._strike, args=(name, Random(self.random.getrandbits(64))), name=name)
            self._threads.append(thread)
            thread.start()
        self.heal()

    def _may(self, name: str) -> bool:
        """No fault overlaps itself, and beyond a number of them nothing would work that could be hit."""
        with self._lock:
            return not self._now[name] and sum(self._now.values()) < MOST

    def one_by_one(self, names: Sequence[str], seconds: float) -> None:
        """Strike with nothing else going wrong, for so long; between two strikes what was hit has time to run again."""
        end = time.monotonic() + seconds
        for name in cycle(names):
            if time.monotonic() > end or self.over.is_set():
                return
            self._strike(name, Random(self.random.getrandbits(64)))
            self.rest(2 * LEASE + 2.0)

    def heal(self) -> None:
        """No more of it; returns when every fault has been taken back."""
        self.over.set()
        for thread in self._threads:
            thread.join(120)

    def _names(self) -> Iterator[str]:
        """Every fault comes up once before one comes up again."""
        while True:
            names = list(self.deck)
            self.random.shuffle(names)
            yield from names

    def _strike(self, name: str, random: Random) -> None:
        began = time.time()
        with self._lock:
            self._now[name] += 1
            self.overlapping = max(self.overlapping, sum(1 for many in self._now.values() if many))
        try:
            hit = self.deck[name](self, random)
            self.count(name, hit)
        except Missed:
            hit = -1
        except AWAY:
            hit = -2
        except Exception:
            hit = -3
            self.note("the rig's own fault", {"fault": name, "trace": traceback.format_exc()})
        with self._lock:
            self._now[name] -= 1
            if hit >= 0:
                self.strikes.append((name, began, time.time()))
        self.note(name, {"began": began, "hit": hit})

    def count(self, name: str, hit: int, often: int = 1) -> None:
        """This fault has struck, and hit so much."""
        with self._lock:
            self.faults[name] += often
            self.in_flight[name] += often if hit > 0 else 0

    def note(self, name: str, more: Mapping[str, object]) -> None:
        with self._lock, (self.stack.folder / "faults.jsonl").open("a") as file:
            file.write(json.dumps({"at": time.time(), "fault": name, **more}) + "\n")

    def explains(self, member: Ended) -> str | None:
        """What ended this member, if it was a fault: a worker that begins without a database says so, and is begun again."""
        if READY in member.said or UNREACHED not in member.said:
            return None
        with self._lock:
            under_way = {name for name, many in self._now.items() if many}
            lately = {name for name, _, until in self.strikes if until > time.time() - LATELY}
        return "it began while the database was away" if (under_way | lately) & set(AWAY_FAULTS) else None

    # ---- what faults ask for --------------------------------------------------------------------------------------------

    def rest(self, seconds: float) -> None:
        """Let it last so long, or until all is to be healed."""
        self.over.wait(seconds)

    def something_under_way(self, of: Callable[[], Sequence[Attempt]] | None = None) -> Sequence[Attempt]:
        """Wait a moment until attempts run; what runs then, maybe nothing."""
        look = of or (lambda: under_way(self.stack))
        deadline = time.monotonic() + PATIENCE
        found: Sequence[Attempt] = ()
        while True:
            with suppress(*AWAY):
                found = look()
            if found or time.monotonic() > deadline or self.over.is_set():
                return found
            time.sleep(0.02)

    @contextmanager
    def one_that_works(self, look: Callable[[], Sequence[tuple[Member, bool]]]) -> Iterator[Member]:
        """A member that nobody else holds, held; wait a moment for one that works, then take any. Raises Missed."""
        deadline = time.monotonic() + PATIENCE
        while True:
            late = time.monotonic() > deadline or self.over.is_set()
            found: Sequence[tuple[Member, bool]] = ()
            with suppress(*AWAY):
                found = look()
            for member, works in found:
                if (works or late) and member.lock.acquire(blocking=False):
                    try:
                        yield member
                    finally:
                        member.lock.release()
                    return
            if late:
                raise Missed
            time.sleep(0.02)

    def killed(self, kind: str, attempts: Sequence[Attempt]) -> None:
        with self._lock:
            self.kills.append(Kill(kind, time.time(), attempts))

    def crashed(self) -> None:
        """The database is about to crash."""
        with self._lock:
            self.crashes.append(time.time())


class Missed(Exception):
    """The fault could not be done now: its target is in another's hands."""


@contextmanager
def free(lock: Lock) -> Iterator[None]:
    """The target, if nobody else has it. Raises Missed otherwise, and when a Redis-compatible server is away."""
    if not lock.acquire(blocking=False):
        raise Missed
    try:
        yield
    except redis.exceptions.RedisError as away:
        raise Missed from away
    finally:
        lock.release()
