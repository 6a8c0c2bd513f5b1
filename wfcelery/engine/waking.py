"""Waits whose time has come: many are found by one statement, with their runs and steps; each is ended by one of its own.

Each run moves on in a commit of its own, over the version it was found with; nothing is locked, and nothing waited
for. Where that does not do (a join, another writer, something to be read) it is told under its run's lock.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from wfcelery.clock import monotonic
from wfcelery.core.decision import Ring
from wfcelery.core.events import WaitCame
from wfcelery.engine.apply import Known, apply
from wfcelery.engine.ports import Bell
from wfcelery.engine.runtime import Runtime
from wfcelery.store import due
from wfcelery.store.database import Tx

log = logging.getLogger(__name__)

HELP = 10  # waits of the other's half that are taken at a time: it may be about to come to them
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
    """Finds and ends the waits of one pass. `ring_all` is to be called at its end."""

    def __init__(self, runtime: Runtime, half: int | None = None) -> None:
        self._half = half
        self._gathered = Gathered(runtime.bell)
        self._runtime = replace(runtime, bell=self._gathered)
        self._known: dict[due.Wait, Known] = {}

    def find(self, tx: Tx, many: int) -> Sequence[due.Wait]:
        """The oldest that are due; of two sweeping processes each takes its half first, and then helps the other."""
        found = due.waits(tx, many, self._half)
        if not found and self._half is not None:
            found = due.waits_left(tx, min(many, HELP), self._half)
        self._known = {wait: known for wait in found if (known := self._know(tx, wait)) is not None}
        return found

    def _know(self, tx: Tx, wait: due.Wait) -> Known | None:
        if wait.seen is None:
            return None
        try:
            return Known(self._runtime.plans.get(tx, wait.seen[0].definition), wait.seen[0])
        except Exception:  # one bad run: it is told under its lock, where it fails again and is counted
            log.debug("the definition of run %s cannot be read", wait.run, exc_info=True)
            return None

    def wake(self, wait: due.Wait) -> bool:
        """Tell the run; False where that changed nothing, or its run is locked: next time."""
        known = self._known.pop(wait, None)
        rows = () if known is None or wait.seen is None else (wait.seen[1],)
        fact = WaitCame(wait.step, wait.wait)
        applied = apply(self._runtime, wait.run, (fact,), rows=rows, known=known, skip_locked=True)
        return applied is not None and applied.decision.ignored is None

    def ring_all(self) -> None:
        """Ring for whatever has not been rung for."""
        self._gathered.ring_all()
