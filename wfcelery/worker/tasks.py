"""Our own Celery tasks: `wfcelery.step`, `wfcelery.dispatch` and `wfcelery.sweep` of the engine, `wfcelery.expire` beside it.

They carry messages; what they carry are the app's tasks. So they have a tracer of their own that sends no
signal, writes no line and stores no result, whatever the app's settings, and they are published by our own
post. Sentry, OpenTelemetry, Flower and logs see each step, once, under its own name, and none of these.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from uuid import UUID

from celery import Celery, Task
from celery.app.trace import trace_ok_t
from celery.worker.strategy import default as default_strategy

from wfcelery.worker.engine import Engine
from wfcelery.worker.events import Events
from wfcelery.worker.messages import DISPATCH, EXPIRE, STEP, SWEEP, VERSION, Note
from wfcelery.worker.routing import working_off

log = logging.getLogger(__name__)

_AGAIN = {SWEEP: "the next sweep finds the same", EXPIRE: "beat asks again"}


@dataclass(slots=True)
class Received:
    """What became of the messages of this process."""

    worked: int = 0
    foreign: int = 0  # of another database: staging on production's broker
    malformed: int = 0
    failed: int = 0


class MalformedMessage(ValueError):  # noqa: N818 - it says what came
    """Not a message of ours, or of a newer release."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What a message says."""

    ns: str
    organization_id: str
    run: UUID | None
    step: UUID | None


def read(kwargs: Mapping[str, Any]) -> Letter:
    """Read a message; `MalformedMessage` where it is none."""
    if kwargs.get("v") != VERSION:
        raise MalformedMessage(f"version {str(kwargs.get('v'))[:20]} instead of {VERSION}")
    ns, organization, run, step = (kwargs.get(name) for name in ("ns", "org", "run", "step"))
    if not (isinstance(ns, str) and isinstance(organization, str)):
        raise MalformedMessage("no ns or no org")
    try:
        return Letter(ns, organization, UUID(run) if run else None, UUID(step) if step else None)
    except (ValueError, AttributeError, TypeError):
        raise MalformedMessage("run or step is no id") from None


@dataclass(slots=True)
class Postman:
    """Hands messages to the engine. A message that cannot be worked off is dropped: its row is found by the sweep."""

    engine: Callable[[], Engine]
    draining: Callable[[], bool]
    received: Received
    events: Events
    expire: Callable[[], object]  # delete what has expired: no work of the engine

    def deliver(self, task: str, kwargs: Mapping[str, Any]) -> None:
        """Work off one message; never raises."""
        if self.draining() and task != SWEEP:
            return
        try:
            letter, engine = read(kwargs), self.engine()
            if letter.ns != engine.ns():
                self.received.foreign += 1
                log.error("a message of another database (%s) came by this broker; nothing was touched", letter.ns[:20])
                return
            self._hand_over(engine, task, letter)
            self.received.worked += 1
        except MalformedMessage as problem:
            self.received.malformed += 1
            log.error("a message for %s was dropped: %s", task, problem)
        except Exception:
            self.received.failed += 1
            log.exception("a message for %s could not be worked off; %s", task, _AGAIN.get(task, "the sweep will ring again"))

    def _hand_over(self, engine: Engine, task: str, letter: Letter) -> None:
        if task == SWEEP:
            engine.sweep()
        elif task == EXPIRE:
            self.expire()
        elif letter.run is None or (task == STEP and letter.step is None):
            raise MalformedMessage("no run or no step")
        elif letter.step is not None and task == STEP:
            engine.execute(letter.organization_id, letter.run, letter.step)
        else:
            engine.dispatch(letter.organization_id, letter.run)


class EngineTask(Task):
    """What the three have in common. The options stand here, so that no setting of the app has to change for them."""

    Strategy = "wfcelery.worker.tasks:quiet_strategy"
    ignore_result = True
    store_errors_even_if_ignored = False
    track_started = False
    rate_limit = 0  # not None: that would be the app's default
    send_events = False
    acks_late = False
    reject_on_worker_lost = False
    serializer = "json"
    time_limit = None
    soft_time_limit = None
    max_retries = 0

    postman: Postman
    publish: Callable[[Note], Any]
    queue_of: Callable[[str], str]

    @property
    def __trace__(self) -> Callable[..., Any]:
        """Celery gives each task of a worker a tracer; these keep their own."""
        return self._work_off

    @__trace__.setter
    def __trace__(self, tracer: Any) -> None:
        del tracer

    def _work_off(self, uuid: str, args: Any, kwargs: Mapping[str, Any], request: Mapping[str, Any] | None = None) -> Any:
        del uuid, args
        began, message = monotonic(), request or {}
        limit = (message.get("timelimit") or (None, None))[0]
        queue = message.get("wf_queue") or (message.get("delivery_info") or {}).get("routing_key")
        self.postman.events.hostname = message.get("hostname") or self.postman.events.hostname
        with working_off(queue, limit):
            self.postman.deliver(self.name, kwargs)
        return trace_ok_t(None, None, monotonic() - began, "None")

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> None:
        """Send one by our own post. Beat does; it gets no result, and no error where the broker is away."""
        del args
        queue = options.get("queue")
        name = getattr(queue, "name", queue) or self.queue_of(self.name)
        self.publish(Note(self.name, name, kwargs or {}, priority=options.get("priority"), expires=options.get("expires")))


class BeatTask(EngineTask):
    """What beat sends. Its message names the database it is sent for, which beat's static entry cannot."""

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> None:
        try:
            ns = self.postman.engine().ns()
        except Exception as problem:  # noqa: BLE001 - one publish: without the database there is nothing to do
            log.warning("%s is not asked for: %s", self.name, problem)
            return
        body = {"v": VERSION, "ns": ns, "org": "", "run": None, "step": None}
        super().apply_async(args, {**body, **(kwargs or {})}, **options)


def quiet_strategy(task: Any, app: Celery, consumer: Any) -> Callable[..., Any]:
    """Celery's default way from a message to the pool, without its log lines; what is too old or of another shape is dropped."""
    handle = default_strategy(task, app, consumer, info=lambda *_, **__: None)

    def handler(message: Any, body: Any, ack: Callable[..., Any], reject: Any, callbacks: Any, **options: Any) -> Any:
        try:
            expires = message.headers.get("expires")
            if not (expires and datetime.fromisoformat(expires) < datetime.now(UTC)):
                return handle(message, body, ack, reject, callbacks, **options)
        except (LookupError, TypeError, ValueError, AttributeError) as problem:
            # Celery takes it for its own fault and ends the worker; the broker then gives the message to the next one.
            log.error("a message for %s was dropped: its headers or body have another shape (%s)", task.name, type(problem).__name__)
        return None if message.acknowledged else ack(log, consumer.connection_errors)

    return handler


def add_tasks(app: Celery, postman: Postman, publish: Callable[[Note], Any], queue_of: Callable[[str], str]) -> None:
    """Register ours with this app, and with no other of the process."""
    shared = {"postman": postman, "publish": staticmethod(publish), "queue_of": staticmethod(queue_of)}
    for name, base in ((STEP, EngineTask), (DISPATCH, EngineTask), (SWEEP, BeatTask), (EXPIRE, BeatTask)):

        def run(**_: Any) -> None:
            raise NotImplementedError("the engine's messages are worked off by a worker")

        app.task(name=name, base=base, shared=False, typing=False, **shared)(run)
