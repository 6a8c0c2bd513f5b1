"""Everything of ours that hangs on one Celery app, and how it gets there.

Nothing of the app changes that another task could feel: four tasks, the tasks of the steps, a bootstep
and two entries of beat's schedule are added, and on `redis://` our transport is chosen where the app chose none.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import cached_property, wraps
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from celery import Celery

from wfcelery.authoring.context import step_context
from wfcelery.authoring.registry import Registry, StepSpec
from wfcelery.authoring.registry import registry as the_registry
from wfcelery.settings import Settings
from wfcelery.worker import beat, transports
from wfcelery.worker.attempts import CURRENT
from wfcelery.worker.bell import DatabaseBell, is_database
from wfcelery.worker.calling import TaskCaller, hide_values
from wfcelery.worker.engine import Engine
from wfcelery.worker.events import Events
from wfcelery.worker.keeper import Keeper, Surroundings
from wfcelery.worker.loops import LOOP
from wfcelery.worker.messages import DISPATCH, EXPIRE, SWEEP, Note, Notes
from wfcelery.worker.outbound import Outbound
from wfcelery.worker.publisher import AppBell, BrokerPost, SafePost, broker_of
from wfcelery.worker.routing import AppRouter
from wfcelery.worker.slots import DRAINING, UNKNOWN, VARIABLE, SharedSlots
from wfcelery.worker.tasks import Postman, Received, add_tasks


class Installation:
    """One app's parts. Cheap to make: the configuration and the database are looked at when first needed."""

    def __init__(
        self,
        app: Celery,
        connect: Callable[[Installation], Engine],
        given: dict[str, Any],
        registry: Registry = the_registry,
        started: Callable[[Installation], None] = lambda installation: None,  # noqa: ARG005
        expire: Callable[[Installation], object] = lambda installation: None,  # noqa: ARG005
    ) -> None:
        Settings(**given)  # what is wrong with them is told where they are given
        self.app, self.registry, self.given = app, registry, given
        self._connect, self._started = connect, started
        self._engines: dict[int, Engine] = {}
        self._locks: dict[int, threading.Lock] = {}
        self._added: set[str] = set()
        self.slots = SharedSlots()
        self.events = Events(app, self.slots)
        self.caller = TaskCaller(app, registry, self.slots, self.events)
        self.router = AppRouter(app, self.caller.policy, self.draining)
        broker = SafePost(BrokerPost(app, lambda: broker_of(app)), silent=lambda: bool(app.conf.task_always_eager))
        notes = Notes(self.router, self.ns, self.caller.policy, lambda: self.settings.dispatch_queue)
        self.database_bell = DatabaseBell(app) if is_database() else None
        self.outbound = Outbound(broker, self._sends_at_once)
        self.bell = AppBell(notes, broker, self.database_bell, self.outbound)
        self.received = Received()
        self.postman = Postman(self.engine, self.draining, self.received, self.events, lambda: expire(self))

    @cached_property
    def settings(self) -> Settings:
        """What was given to `install`, before the environment, before `app.conf.wfcelery_...`."""
        said = {name: self.app.conf.get(f"wfcelery_{name}") for name in Settings.model_fields}
        return Settings.read({name: value for name, value in said.items() if value is not None}, **self.given)

    def engine(self) -> Engine:
        """This process's engine: a child makes its own, and leaves its parent's connections alone."""
        pid = os.getpid()
        found = self._engines.get(pid)
        if found is None:
            with self._locks.setdefault(pid, threading.Lock()):
                found = self._engines.get(pid) or self._connect(self)
                self._engines[pid] = found
        return found

    def ns(self) -> str:
        """The database's short id."""
        return self.engine().ns()

    def draining(self) -> bool:
        """Whether this process's worker is going down, or unknown to the database: claim nothing."""
        return self.slots.flagged(DRAINING) or self.slots.flagged(UNKNOWN)

    def is_heard(self) -> bool:
        """Whether a ring of this process can reach a worker: not by an in-process broker, nor where tasks run eagerly."""
        return not (self._is_near or self.database_bell is not None or self.app.conf.task_always_eager)

    @cached_property
    def _is_near(self) -> bool:
        """Whether the broker is this process's own memory."""
        conf = self.app.conf
        return str(conf.broker_write_url or conf.broker_url or "").startswith(("memory", "wfmem"))

    def _sends_at_once(self) -> bool:
        """Whether who rings in this process also sends: in a worker, which may be killed, and where sending waits for nobody."""
        return VARIABLE in os.environ or self._is_near

    def names(self) -> list[str]:
        """What this process knows to execute."""
        tasks = (name for name in self.app.tasks if not name.startswith(("celery.", "wfcelery.")))
        return sorted({*tasks, *self.registry.names()})

    def dispatch_queue(self) -> str:
        """Where wishes to begin a run, and what came for one, are sent."""
        return self._queue_of(DISPATCH)

    def default_queues(self) -> list[str]:
        """What a worker of this app serves that is told nothing, and where the engine's own messages go."""
        return sorted({*self.app.amqp.queues, self.dispatch_queue(), self._queue_of(SWEEP), self._queue_of(EXPIRE)})

    # ---- putting it there --------------------------------------------------------------------------------------------

    def put(self) -> None:
        """Hang everything on the app."""
        transports.register()
        hide_values()
        beat.keep_quiet()
        add_tasks(self.app, self.postman, self._publish, self._queue_of)
        self.registry.on_step(self._add_step)
        self.registry.submit_with(self._submit)
        self.app.steps["worker"].add(type("WfceleryKeeper", (Keeper,), {"surroundings": staticmethod(self._surroundings)}))
        if self.app.configured:
            self._configure(self.app)
        self.app.on_after_configure.connect(self._configure, weak=False)

    def _configure(self, sender: Celery, **_: Any) -> None:
        conf = sender.conf
        conf.beat_schedule = {**(conf.beat_schedule or {}), **beat.entries(self.settings.poll, self.settings.expire_every)}
        if self.database_bell is not None:
            conf.broker_read_url, conf.broker_transport = transports.MEMORY_URL, None
        elif self.settings.mend_redis and conf.broker_transport is None:
            conf.broker_transport = transports.mended(_urls(conf))

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            slots=self.slots,
            bell=self.bell,
            engine=self.engine,
            lease=self.settings.lease,
            poll=self.settings.poll,
            names=self.names,
            build=_build(),
            database_bell=self.database_bell,
            carry_on_after=self.settings.carry_on_after if self.settings.broker_loss == "carry_on" else None,
            named=self._named,
            started=lambda: self._started(self),
        )

    def _named(self, hostname: str) -> None:
        self.events.hostname = hostname

    def _publish(self, note: Note) -> None:
        self.bell.send([note])

    def _queue_of(self, task: str) -> str:
        return self.settings.dispatch_queue or self.router.queue_for(task, None)

    # ---- steps as ordinary tasks -------------------------------------------------------------------------------------

    def _add_step(self, spec: StepSpec) -> None:
        if spec.adopted or spec.function is None or spec.name in self._added:
            return
        self._added.add(spec.name)
        self.app.task(name=spec.name, shared=False)(self._plain(spec))

    def _plain(self, first: StepSpec) -> Callable[..., Any]:
        """A step's function as that of an ordinary task: `async def` is run, and `current_step()` answers."""
        assert first.function is not None

        @wraps(first.function)
        def plain(*args: Any, **kwargs: Any) -> Any:
            spec = self.registry.find_step(first.name) or first  # a module that was loaded again has a newer one
            assert spec.function is not None
            attempt = CURRENT.get()
            if attempt is not None and attempt.spec.name == spec.name:
                return spec.function(*args, **kwargs)
            with step_context():
                result = spec.function(*args, **kwargs)
                return LOOP.run(result) if spec.is_async else result

        if not plain.__name__.isidentifier():  # a lambda: Celery makes a function of the name
            plain.__name__ = "step"
        return plain

    def _submit(self, spec: StepSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.app.tasks[spec.name].apply_async(args, kwargs)


def _urls(conf: Any) -> list[str]:
    given: list[str] = []
    for name in ("broker_url", "broker_read_url", "broker_write_url"):
        value: str | Sequence[str] | None = getattr(conf, name, None)
        if value:
            given += value.split(";") if isinstance(value, str) else list(value)
    return given


def _build() -> str:
    try:
        return version("wfcelery")
    except PackageNotFoundError:
        return "0"
