"""Waits whose time has come: many are found by one statement, with their runs and steps; each is ended by one of its own.

Each run moves on in a commit of its own, over the version it was found with; nothing is locked, and nothing waited
for. Where that does not do (a join, another writer, something to be read) it is told under its run's lock.

What has just come due is left to the workers: a sweep rings a few of them, and each ends one after the other and goes on
with the step behind it itself, without a message and a claim for each. What none of them has ended after a quarter of a
second a sweep ends itself, the oldest first, and rings for what they lead to; at once, where very much is due.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from wfcelery.clock import monotonic
from wfcelery.core.decision import Ring
from wfcelery.core.events import WaitCame
from wfcelery.engine.apply import Applied, Keeping, Known, apply, over_version
from wfcelery.engine.ports import Bell
from wfcelery.engine.runtime import Runtime
from wfcelery.store import due
from wfcelery.store.database import Tx

log = logging.getLogger(__name__)

HELP = 10  # waits of the other's half that are taken at a time: it may be about to come to them
OURS = 0.25  # seconds after which what is due is the sweeps'; before, it is the workers'
OLDEST = 4  # waits of which a worker chooses one, so that two workers seldom choose the same
EACH = 2  # waits for which one worker is rung, which may end many more
AT_IT = 0.05  # seconds for which one that was rung is taken to end one after the other, until there is none
MOST = 64  # waits for which workers are rung at a time; where there are more, a sweep does not leave them to the workers
TOGETHER = 0.01  # seconds for which rings are gathered: what was woken first does not wait for the last


@dataclass(slots=True)
class Gathered:
    """A bell that rings for many runs at once: a message costs little, a way to the broker much more."""

    bell: Bell
    _rings: list[Ring] = field(default_factory=list)
    _since: float = 0.0

    def ring(self, rings: Sequence[Ring]) -> None:
        """Gather these; all ring when the first of them has waited long enough."""
        if not self._rings:
            self._since = monotonic()
        self._rings.extend(rings)
        if monotonic() - self._since >= TOGETHER:
            self.ring_all()

    def ring_again(self, rings: Sequence[Ring]) -> None:
        """At once: these are many already."""
        self.bell.ring_again(rings)

    def ring_all(self) -> None:
        """Ring for what is left."""
        rings, self._rings = self._rings, []
        if rings:
            self.bell.ring(rings)


class Waking:
    """Finds and ends the waits of one pass that have been due for so many seconds. `ring_all` is to be called at its end."""

    def __init__(self, runtime: Runtime, half: int | None = None, since: float = 0.0) -> None:
        self._half, self._since = half, since
        self._gathered = Gathered(runtime.bell)
        self._runtime = replace(runtime, bell=self._gathered)
        self._known: dict[due.Wait, Known] = {}

    def find(self, tx: Tx, many: int) -> Sequence[due.Wait]:
        """The oldest that are due; of two sweeping processes each takes its half first, and then helps the other."""
        found = due.waits(tx, many, self._half, self._since)
        if not found and self._half is not None:
            found = due.waits_left(tx, min(many, HELP), self._half)
        self._known = {wait: known for wait in found if (known := _known_of(self._runtime, tx, wait)) is not None}
        return found

    def wake(self, wait: due.Wait) -> bool:
        """Tell the run; False where that changed nothing, or its run is locked: next time."""
        applied = tell(self._runtime, wait, self._known.pop(wait, None))
        return applied is not None and applied.decision.ignored is None

    def ring_all(self) -> None:
        """Ring for whatever has not been rung for."""
        self._gathered.ring_all()


def left_to_workers(many: int) -> float:
    """For how many seconds so many waits are left to the workers that were rung for them."""
    return OURS if many < MOST else 0.0


@dataclass(slots=True)
class Called:
    """What one sweeping process has left to the workers, and how many of these it has rung for it."""

    waits: Sequence[due.Wait] = ()  # the oldest first
    moved: bool = False  # whether the oldest is another one than in the pass before
    _rung: int = 0
    _since: float = float("-inf")

    def more(self, found: Sequence[due.Wait]) -> int:
        """How many workers to ring now: one for a few of these, less those that are at it since what was there before."""
        before, self.waits = self.waits, found
        self.moved = before[:1] != found[:1]
        if monotonic() - self._since >= AT_IT or set(before).isdisjoint(found):
            self._rung, self._since = 0, monotonic()
        more = max(0, -(-len(found) // EACH) - self._rung)
        self._rung += more
        return more


def call_workers(runtime: Runtime, half: int | None, called: Called) -> None:
    """Leave what has just come due to the workers, and ring for it as far as none is at it."""
    with runtime.database.single() as tx:
        found = due.new_waits(tx, MOST, OURS, half)
    runtime.bell.ring([ring for _, ring in found[: called.more([wait for wait, _ in found])]])


def one_that_is_due(runtime: Runtime, number: int) -> tuple[due.Wait, Known | None] | None:
    """One of the workers' waits that are due, by any number, and what is known of its run; None: there is none."""
    with runtime.database.single() as tx:
        wait = due.new_wait(tx, OLDEST, OURS, number)
        return None if wait is None else (wait, _known_of(runtime, tx, wait))


def tell(runtime: Runtime, wait: due.Wait, known: Known | None, keeping: Keeping | None = None) -> Applied | None:
    """Tell a run that a wait of its has come; None where the run is locked, or the wait is over.

    With `keeping` it is to be called through `persist`.
    """
    fact = (WaitCame(wait.step, wait.wait),)
    if known is not None and wait.seen is not None:
        applied = over_version(runtime, fact, known, keeping, rows=(wait.seen[1],))
        if applied is not None:
            return applied
        with runtime.database.single() as tx:
            if not due.is_open(tx, wait.wait):  # whoever came between has told it
                return None
    return apply(runtime, wait.run, fact, keeping=keeping, skip_locked=True)


def _known_of(runtime: Runtime, tx: Tx, wait: due.Wait) -> Known | None:
    if wait.seen is None:
        return None
    try:
        return Known(runtime.plans.get(tx, wait.seen[0].definition), wait.seen[0])
    except Exception:  # one bad run: it is told under its lock, where it fails again and is counted
        log.debug("the definition of run %s cannot be read", wait.run, exc_info=True)
        return None
