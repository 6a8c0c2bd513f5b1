"""Which queue a step's message goes to, and what the message at hand may still carry."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from celery import Celery
from celery.app.routes import MapRoute

from wfcelery.clock import monotonic
from wfcelery.engine.ports import Policy

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """The message that this thread works off: the queue it came by, and when Celery would kill the process over it."""

    queue: str | None
    ends: float | None = None  # monotonic; None: no hard limit


MESSAGE: ContextVar[Message | None] = ContextVar("wfcelery_message", default=None)


@contextmanager
def working_off(queue: str | None, hard_limit: float | None) -> Iterator[None]:
    """Say which message this is."""
    before = MESSAGE.set(Message(queue, None if hard_limit is None else monotonic() + hard_limit))
    try:
        yield
    finally:
        MESSAGE.reset(before)


@dataclass(slots=True)
class AppRouter:
    """The engine's `Router`, over the routes of one Celery app. `draining` says that the worker is going down."""

    app: Celery
    policy: Callable[[str], Policy | None]
    draining: Callable[[], bool] = lambda: False
    _known: dict[str, str] = field(default_factory=dict)

    def queue_for(self, action: str, queue: str | None) -> str:
        """`queue` is what the definition or the run says; else the step's own default; else the app's routes."""
        if queue is not None:
            return queue
        known = self._known.get(action)
        if known is not None:
            return known
        policy = self.policy(action)
        if policy is not None and policy.queue is not None:
            return policy.queue
        found, lasting = self._routed(action)
        if lasting:
            self._known[action] = found
        return found

    def may_keep(self, action: str, queue: str, hard_limit: float | None) -> bool:
        """Whether the message that is being worked off may carry this step too.

        Not on another queue, not while the worker goes down, and not where Celery would kill the process
        too late for the step, or because of a step before it.
        """
        del action
        message = MESSAGE.get()
        if message is None or message.queue != queue or self.draining():
            return False
        if message.ends is None or hard_limit is None:
            return message.ends is None and hard_limit is None
        return message.ends - monotonic() >= hard_limit

    def _routed(self, action: str) -> tuple[str, bool]:
        """The queue of the app's routes for that task, and whether they would say the same tomorrow."""
        lasting = all(isinstance(route, MapRoute) for route in self.app.amqp.routes)
        try:
            route = self.app.amqp.router.route({}, action, (), {}, self.app.tasks.get(action))
        except Exception as problem:  # noqa: BLE001 - a router is the author's code
            log.warning("the app's routes have no answer for %s (%s); its default queue is used", action, problem)
            return self.app.conf.task_default_queue, False
        queue = route.get("queue")
        name = getattr(queue, "name", queue)
        return str(name or route.get("routing_key") or self.app.conf.task_default_queue), lasting
