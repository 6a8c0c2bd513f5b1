"""One process's way to the engine: what messages, keepers and sweeping threads call.

Rows of another organization than the message's are never touched; such a message is counted and logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from wfcelery.clock import monotonic
from wfcelery.engine import executing
from wfcelery.engine.dispatching import ForeignRun
from wfcelery.engine.runtime import Runtime
from wfcelery.engine.sweeping import Sweep
from wfcelery.errors import NotFound
from wfcelery.store import due, leases
from wfcelery.store.meta import namespace, owner_of_step

log = logging.getLogger(__name__)

PLACE_FOR = 4.0  # intervals for which a sweeping process keeps its place without saying so again; it does so twice as often


class Starting(Protocol):
    """What a worker says of itself when it starts."""

    @property
    def worker(self) -> UUID: ...
    @property
    def name(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def process(self) -> str: ...
    @property
    def queues(self) -> Sequence[str]: ...
    @property
    def tasks(self) -> Sequence[str]: ...
    @property
    def build(self) -> str: ...


@dataclass(slots=True)
class Process:
    """The engine as one process of a fleet uses it."""

    runtime: Runtime
    owner: str  # who sweeps, for the two places
    alive: Callable[[str], bool]  # whether a process of this host, "pid:birth", still lives
    sweeps: Sweep = field(init=False)
    refused: int = 0  # messages that named a run of another organization
    _ns: str | None = None
    _place: leases.Place | None = None
    _asked: float = float("-inf")
    _free: bool | None = None  # whether a place was free at the last renewal; None: this process does not renew
    _absent: frozenset[UUID] = frozenset()
    _rung: dict[object, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sweeps = Sweep(self.runtime)

    def ns(self) -> str:
        """The short random id of this database."""
        if self._ns is None:
            with self.runtime.database.transaction() as tx:
                found = namespace(tx)
            if found is None:
                raise NotFound("table", "wf_meta")
            self._ns = found
        return self._ns

    def execute(self, organization_id: str, run: UUID, step: UUID) -> None:
        """Work off a step, or groups of a fan-out's items, and what they lead to."""
        if executing.execute(self.runtime, organization_id, step):
            return
        with self.runtime.database.single() as tx:
            owner = owner_of_step(tx, step)
        if owner not in (None, organization_id):
            self._refuse(run)

    def dispatch(self, organization_id: str, run: UUID) -> None:
        """Begin a run, or drain its inbox."""
        try:
            executing.dispatch(self.runtime, organization_id, run)
        except ForeignRun:
            self._refuse(run)

    def _refuse(self, run: UUID) -> None:
        self.refused += 1
        log.error("a message for run %s names an organization that is not the run's; nothing was touched", run)

    def sweep(self, queues: Collection[str] | None = None) -> float:
        """Sweep once, if it is this process's turn; seconds until its next look.

        With `queues`, ring besides for everything that a worker of these queues can take now, whoever else sweeps.
        """
        settings = self.runtime.settings
        place = self._turn()
        if place is not None:
            this = self.sweeps(place.half)
            pause = settings.poll if this.next_due is None else min(settings.poll, max(this.next_due, 0.001))
        else:
            pause = settings.idle_poll if self._free is None else min(settings.idle_poll, settings.poll)
        if queues is not None:
            self._ring_here(queues)
            return min(pause, settings.poll)
        return pause

    def _turn(self) -> leases.Place | None:
        if self._asks():
            keep = self.runtime.settings.poll * PLACE_FOR
            with self.runtime.database.single() as tx:
                self._place = leases.take_place(tx, self.owner, keep)
            self._asked, self._free = monotonic(), None if self._free is None else False
        return self._place

    def _asks(self) -> bool:
        """Whether it is time to ask for a place. Where renewals come as often, they have brought the answer along."""
        settings, since = self.runtime.settings, monotonic() - self._asked
        if self._place is not None:
            return since >= settings.poll * PLACE_FOR / 2
        if self._free is not None and settings.lease / 3 <= settings.idle_poll:
            return self._free
        return since >= settings.idle_poll

    def _ring_here(self, queues: Collection[str]) -> None:
        """The database as bell: ring for what is ready, and not again for what was rung a moment ago."""
        now, again = monotonic(), self.runtime.settings.ring_again
        with self.runtime.database.transaction() as tx:
            rings = self.runtime.plans.with_tasks(tx, due.ringable(tx, sorted(queues), self.runtime.settings.batch))
        fresh = [ring for ring in rings if now - self._rung.get(ring, float("-inf")) >= again]
        self._rung = {ring: at for ring, at in self._rung.items() if now - at < again} | dict.fromkeys(fresh, now)
        self.runtime.bell.ring(fresh)

    # -- a worker's life --------------------------------------------------------------------------------------------

    def register_worker(self, facts: Starting) -> None:
        """A worker has started: write its row, and declare lost what dead processes of its host have left."""
        row = leases.WorkerRow(facts.worker, facts.name, facts.host, facts.process, facts.queues, facts.tasks, facts.build)
        with self.runtime.database.transaction() as tx:
            leases.register(tx, row, self.runtime.settings.lease)
        left = self.sweeps.left_behind(facts.host, self.alive)
        if left:
            log.warning("%d attempts of dead processes of this host are lost", left)

    def renew(self, worker: UUID, tokens: Collection[UUID]) -> frozenset[UUID] | None:
        """These attempts are executed here. Answers which of them shall end; None: this worker was declared lost.

        An attempt shall end when its run is being cancelled, or when the database has not known it as this
        worker's at two renewals in a row: one may fall between the claim's commit and its answer.
        """
        database = self.runtime.database
        with database.transaction() if tokens else database.single() as tx:
            renewed = leases.renew(tx, worker, tokens, self.runtime.settings.lease)
        if renewed is None:
            return None
        self._free = renewed.free_place
        absent = frozenset(tokens) - renewed.known.keys()
        over = absent & self._absent
        self._absent = absent
        return over | frozenset(token for token, status in renewed.known.items() if status == "cancelling")

    def child_died(self, worker: UUID, child: str) -> None:
        """The child of that identity is gone, and with it what it executed."""
        self.sweeps.child_died(worker, child)

    def retire(self, worker: UUID) -> None:
        """The worker has ended in peace."""
        with self.runtime.database.transaction() as tx:
            leases.retire(tx, worker)
