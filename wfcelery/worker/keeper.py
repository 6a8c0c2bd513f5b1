"""What a worker does beside its tasks: renews its lease, sees its children die, sweeps, and says what it executes.

Two threads of the parent. They begin after the pool and end with the worker: a warm shutdown waits for
running steps, and so long they are renewed.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from celery import bootsteps, signals

from wfcelery.clock import monotonic, uuid7
from wfcelery.worker import processes
from wfcelery.worker.bell import DatabaseBell, PoolFeeder
from wfcelery.worker.beside import Beside
from wfcelery.worker.deaths import ChildWatch
from wfcelery.worker.engine import Engine, WorkerFacts
from wfcelery.worker.publisher import AppBell
from wfcelery.worker.slots import DRAINING, EVENTS, UNKNOWN, Child, SharedSlots
from wfcelery.worker.supervised import end_with_supervisor

log = logging.getLogger(__name__)

TICK = 0.2  # seconds between two looks at the slots
LAST_WORD = 3.0  # seconds that a worker waits for its row to be deleted when it ends
AGAIN = 2  # renewals after which a dead child's attempts are declared lost again: its last COMMIT may land late


@dataclass(slots=True)
class Surroundings:
    """What a keeper is given by `install`."""

    slots: SharedSlots
    bell: AppBell
    engine: Callable[[], Engine]
    lease: float
    poll: float
    names: Callable[[], Collection[str]]  # of the steps this process knows
    build: str
    database_bell: DatabaseBell | None = None
    carry_on_after: float | None = None  # seconds without a broker after which a prefork worker has one beside it
    named: Callable[[str], None] = lambda name: None  # noqa: ARG005 - told the worker's node name
    started: Callable[[], None] = lambda: None  # before the first message; may raise to stop the start


@dataclass(slots=True)
class Keeping:
    """The thread that renews and watches, of one started worker."""

    worker: Any
    around: Surroundings
    watch: ChildWatch
    id: UUID | None = None
    dead: dict[Child, int] = field(default_factory=dict)
    renewed: float = float("-inf")
    well: bool = True

    def run(self) -> None:
        """Until the worker has ended."""
        while not self.worker.blueprint.shutdown_complete.is_set():
            for child in self.watch.look(TICK):
                self._died(child)
            self._flag_events()
            if monotonic() - self.renewed >= self._pause():
                self.keep()
        self.watch.close()
        if self.id is not None:
            self._attempt(partial(self.around.engine().retire, self.id))

    def _pause(self) -> float:
        """Seconds between two renewals; after one that failed much less, since the lease goes on running."""
        return self.around.lease / 3 if self.id and self.well else min(1.0, self.around.lease / 6)

    def keep(self) -> None:
        """Renew once, and register before, where that has not worked yet."""
        self.renewed = monotonic()
        self._attempt(self._renew)

    def _died(self, child: Child) -> None:
        hub = self.worker.hub
        if hub is not None:
            hub.call_soon(self.worker.pool.maintain_pool)  # else Celery may sleep on for up to 5 s before it replaces the child
        if self.worker.blueprint.state == bootsteps.RUN:
            log.warning("child %s of this worker is gone", child.pid)
        self.dead[child] = AGAIN
        if self.id is not None:
            self._attempt(partial(self.around.engine().child_died, self.id, str(child)))

    def _renew(self) -> None:
        engine, slots = self.around.engine(), self.around.slots
        if self.id is None:
            self.id = self._register(engine)
        for child in list(self.dead):
            engine.child_died(self.id, str(child))
            self.dead[child] -= 1
            if self.dead[child] <= 0:
                del self.dead[child]
        now = slots.children()
        tokens = slots.own().union(*(now[child] for child in self.watch.living.keys() & now.keys()))
        cancelled = engine.renew(self.id, tokens)
        if cancelled is None:
            log.error("this worker was declared lost; what it executes belongs to others now, and it goes on as a new one")
            slots.flag(UNKNOWN, True)
            slots.tell_cancelled(tokens)
            self.dead.clear()
            self.id, self.renewed = None, float("-inf")
        else:
            slots.tell_cancelled(cancelled)

    def _register(self, engine: Engine) -> UUID:
        worker, app = uuid7(), self.worker.app
        queues, names = sorted(app.amqp.queues.consume_from), sorted(self.around.names())
        facts = WorkerFacts(worker, self.worker.hostname, processes.host(), processes.identity(), queues, names, self.around.build)
        engine.register_worker(facts)
        self.around.slots.known_as(worker)
        return worker

    def _flag_events(self) -> None:
        dispatcher = getattr(self.worker.consumer, "event_dispatcher", None) if self.worker.consumer else None
        if dispatcher is not None:  # else there is none yet, and what the worker was started with holds
            wanted = bool(dispatcher.enabled and (not dispatcher.groups or "task" in dispatcher.groups))
            self.around.slots.flag(EVENTS, wanted)

    def _attempt(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as problem:  # noqa: BLE001 - one renewal; the database may be away, the thread must not end
            if self.well:
                log.warning("the worker's lease could not be renewed (%s: %s); it goes on trying", type(problem).__name__, problem)
            self.well = False
        else:
            self.well = True


@dataclass(slots=True)
class Sweeping:
    """The thread that sweeps, of one started worker."""

    worker: Any
    around: Surroundings
    feeder: PoolFeeder | None

    def run(self) -> None:
        """Until the worker has ended. Where the database is the bell, or the pool is fed, only for its own queues."""
        ended: threading.Event = self.worker.blueprint.shutdown_complete
        pause, well = 0.0, True
        while not ended.wait(pause):
            try:
                pause = self.around.engine().sweep(self._queues())
                well = True
            except Exception as problem:  # noqa: BLE001 - one sweep; the database may be away, the thread must not end
                log.log(logging.WARNING if well else logging.DEBUG, "no sweep: %s: %s", type(problem).__name__, problem)
                pause, well = self.around.poll, False

    def _queues(self) -> Collection[str] | None:
        if self.around.database_bell is not None:
            return self.around.database_bell.queues
        if self.feeder is not None and self.feeder.feeding():
            return self.feeder.queues
        return None


class Keeper(bootsteps.StartStopStep):
    """The bootstep. Made before the pool forks, started after it."""

    requires = ("celery.worker.components:Pool",)
    surroundings: Callable[[], Surroundings]  # of a subclass for each app

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        around = self.around = self.surroundings()
        around.slots.open()
        around.named(worker.hostname)
        around.started()
        if worker.pool_cls.uses_semaphore:
            _share_with_children()
        signals.worker_shutting_down.connect(self._drain, weak=False, dispatch_uid=f"wfcelery-{id(around.slots)}")
        if around.database_bell is not None:
            around.database_bell.open(sorted(worker.app.amqp.queues.consume_from))
            self._speak_to_nobody(worker)
        self.feeder: PoolFeeder | None = None

    def start(self, worker: Any) -> None:
        """Start the threads."""
        around = self.around
        end_with_supervisor(worker.blueprint.shutdown_complete)
        if around.database_bell is not None:
            self._thread(worker, "bell", partial(around.database_bell.pass_on, worker.blueprint.shutdown_complete, around.bell.broker))
        elif not worker.pool_cls.uses_semaphore and not worker.pool_cls.is_green:
            self.feeder = around.bell.local = PoolFeeder(worker, frozenset(worker.app.amqp.queues.consume_from))
            self._thread(worker, "feeder", self.feeder.run)
        elif around.carry_on_after is not None:
            self._thread(worker, "beside", Beside(worker, around.carry_on_after).run)
        around.slots.flag(EVENTS, bool(getattr(worker, "task_events", False)))
        keeping = Keeping(worker, around, ChildWatch(around.slots))
        keeping.keep()  # at once, since messages come next
        keeper = self._thread(worker, "keeper", keeping.run)
        # The last that a worker does is to let it say that it is gone: else its lease would have to run out.
        signals.worker_shutdown.connect(lambda **_: keeper.join(LAST_WORD), weak=False, dispatch_uid=f"wfcelery-end-{id(around.slots)}")
        self._thread(worker, "sweeper", Sweeping(worker, around, self.feeder).run)

    def stop(self, worker: Any) -> None:
        """Claim no more. What runs is renewed until it is over."""
        del worker
        self._drain()

    terminate = stop

    def _speak_to_nobody(self, worker: Any) -> None:
        """Events would go to the broker that this worker does without, and it would wait for it before it does anything."""
        worker.task_events = False
        worker.options |= {"without_heartbeat": True, "without_gossip": True, "without_mingle": True}

    def _drain(self, **_: Any) -> None:
        if self.around.slots.parent == os.getpid():
            self.around.slots.flag(DRAINING, True)

    def _thread(self, worker: Any, what: str, target: Callable[[], None]) -> threading.Thread:
        del worker
        thread = threading.Thread(target=target, name=f"wfcelery-{what}", daemon=True)
        thread.start()
        return thread


def _share_with_children() -> None:
    """Before the pool forks: what is made by now stays shared memory, since no child's garbage collection writes into it."""
    gc.collect()
    gc.freeze()
