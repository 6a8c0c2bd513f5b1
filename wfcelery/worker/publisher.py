"""The bell: messages that say "look at this step", sent in batches after a commit.

A ring may be lost, so a failure costs its caller one short timeout and is not tried again: for a moment
nobody rings at all, and the sweep finds the rows. Nothing is raised. The messages are built and sent
directly, so that no signal, hook or tracer of a task's publishing sees them: they are not tasks of the app.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from celery import Celery
from kombu import Connection, Producer

from wfcelery.clock import monotonic
from wfcelery.core.decision import Ring, RingStep
from wfcelery.engine.ports import Policy
from wfcelery.worker.routing import AppRouter

log = logging.getLogger(__name__)

STEP, DISPATCH, SWEEP, EXPIRE = "wfcelery.step", "wfcelery.dispatch", "wfcelery.sweep", "wfcelery.expire"
VERSION = 1
PATIENCE = 1.0  # seconds a publish, or a connection, may take
FIRST_HUSH, LONGEST_HUSH = 1.0, 8.0  # seconds of silence after a failure, doubled each time
BATCH = 500


@dataclass(frozen=True, slots=True)
class Note:
    """One message: which of our tasks, for which queue, saying what."""

    task: str
    queue: str
    body: Mapping[str, Any]
    shadow: str | None = None
    priority: int | None = None
    limits: tuple[float | None, float | None] = (None, None)  # hard and soft, of the first step it carries
    expires: float | None = None


@dataclass(slots=True)
class Notes:
    """Writes rings as messages."""

    router: AppRouter
    ns: Callable[[], str]
    policy: Callable[[str], Policy | None]
    dispatch_queue: Callable[[], str | None] = lambda: None

    def __call__(self, rings: Sequence[Ring]) -> Iterator[Note]:
        """The messages for these rings, in their order."""
        ns = self.ns()
        for ring in rings:
            body = {"v": VERSION, "ns": ns, "org": ring.organization_id, "run": str(ring.run), "step": None}
            if isinstance(ring, RingStep):
                body["step"] = str(ring.step)
                policy = self.policy(ring.name) if ring.name else None
                limits = (policy.hard_limit if policy else None, None)
                yield Note(STEP, self.router.queue_for(ring.name, ring.queue), body, ring.name or None, ring.priority, limits)
            else:
                queue = self.dispatch_queue() or self.router.queue_for(DISPATCH, None)
                yield Note(DISPATCH, queue, body)


def broker_of(app: Celery) -> Connection:
    """A connection to the app's broker that gives up soon."""
    url = str(app.conf.broker_write_url or "")
    options = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE} if url.startswith(("redis", "wfredis", "sentinel")) else {}
    given = {**options, **(app.conf.broker_transport_options or {}), "max_retries": 1}
    return app.connection_for_write(connect_timeout=PATIENCE, transport_options=given)


class Post(Protocol):
    """Sends messages; may raise."""

    def send(self, notes: Sequence[Note]) -> None: ...

    def waiting(self, queue: str) -> int: ...


@dataclass(slots=True)
class _Line:
    """One thread's connection to the broker."""

    pid: int
    connection: Connection
    producer: Producer
    declared: set[str] = field(default_factory=set)


@dataclass(slots=True)
class BrokerPost:
    """Sends over a broker; one connection for each thread, none of them shared with a parent process."""

    app: Celery
    connect: Callable[[], Connection]
    _lines: threading.local = field(default_factory=threading.local)

    def send(self, notes: Sequence[Note]) -> None:
        """Send all of them, in one round trip where the transport can."""
        line = self._line()
        try:
            for start in range(0, len(notes), BATCH):
                with line.producer.batch(max_size=BATCH):
                    for note in notes[start : start + BATCH]:
                        self._publish(line, note)
        except BaseException:
            self.hang_up()
            raise

    def waiting(self, queue: str) -> int:
        """How many messages wait in a queue; may raise."""
        line = self._line()
        try:
            return int(self.app.amqp.queues[queue](line.producer.channel).queue_declare(passive=True).message_count)
        except BaseException:
            self.hang_up()
            raise

    def hang_up(self) -> None:
        """Forget this thread's connection."""
        line: _Line | None = getattr(self._lines, "line", None)
        self._lines.line = None
        if line is not None and line.pid == os.getpid():
            try:
                line.connection.release()
            except Exception as problem:  # noqa: BLE001 - a dead connection may fail at anything
                log.debug("closing the connection to the broker: %s", problem)

    def _line(self) -> _Line:
        line: _Line | None = getattr(self._lines, "line", None)
        if line is None or line.pid != os.getpid():
            connection = self.connect()
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=PATIENCE)
            line = _Line(os.getpid(), connection, Producer(connection.channel(), auto_declare=False))
            self._lines.line = line
        return line

    def _publish(self, line: _Line, note: Note) -> None:
        if note.queue not in line.declared:
            self.app.amqp.queues[note.queue](line.producer.channel).declare()
            line.declared.add(note.queue)
        task_id = str(uuid4())
        hard, soft = note.limits
        headers, properties, body, _ = self.app.amqp.as_task_v2(
            task_id,
            note.task,
            (),
            note.body,
            shadow=note.shadow,
            argsrepr="()",
            kwargsrepr="{}",
            ignore_result=True,
            time_limit=hard,
            soft_time_limit=soft,
            expires=note.expires,
        )
        # Celery reads what is absent as it reads what is empty, and a message of ours stays small.
        headers = {name: value for name, value in headers.items() if value not in (None, {}, [])} | {"wf_queue": note.queue}
        if note.priority is not None:
            properties["priority"] = note.priority
        if note.expires is not None:
            properties["expiration"] = note.expires
        # Beneath what sentry-sdk puts around the method; the default exchange reaches every queue by its name.
        inspect.unwrap(Producer.publish)(
            line.producer,
            body,
            exchange="",
            routing_key=note.queue,
            serializer="json",
            headers=headers,
            delivery_mode=2,
            retry=False,
            timeout=PATIENCE,
            **properties,
        )


@dataclass(slots=True)
class SafePost:
    """A post that never raises, and keeps still for a moment after a failure."""

    post: Post
    silent: Callable[[], bool] = lambda: False  # nobody is to be rung at all (an app that runs its tasks eagerly)
    sent: int = 0
    unsent: int = 0
    failing_since: float | None = None
    _hush: float = 0.0
    _still_until: float = 0.0

    def send(self, notes: Sequence[Note]) -> bool:
        """Send these; False where that was not tried or did not work."""
        if not notes or self.silent():
            return False
        if monotonic() < self._still_until:
            self.unsent += len(notes)
            return False
        try:
            self.post.send(notes)
        except Exception as problem:  # noqa: BLE001 - one publish
            self._failed(len(notes), problem)
            return False
        self.sent += len(notes)
        self._hush, self.failing_since = 0.0, None
        return True

    def _failed(self, count: int, problem: Exception) -> None:
        now = monotonic()
        self.unsent += count
        self._hush = min(LONGEST_HUSH, self._hush * 2) if self._hush else FIRST_HUSH
        self._still_until = now + self._hush
        if self.failing_since is None:
            self.failing_since = now
        log.warning("%s ring(s) not sent (%s); the sweep will ring, next try in %g s", count, type(problem).__name__, self._hush)


class Local(Protocol):
    """A shorter way than the broker, for some messages."""

    def takes(self, note: Note) -> bool: ...

    def send(self, notes: Sequence[Note]) -> None: ...


@dataclass(slots=True)
class AppBell:
    """The engine's `Bell`: each ring takes the shorter way where there is one, else the broker."""

    notes: Notes
    broker: SafePost
    local: Local | None = None

    def waiting(self, queue: str) -> int | None:
        """How many messages wait in a queue of the broker; None where that cannot be known now."""
        if self.broker.failing_since is not None:
            return None
        try:
            return self.broker.post.waiting(queue)
        except Exception as problem:  # noqa: BLE001 - one look
            log.debug("the length of queue %s is not known: %s", queue, problem)
            return None

    def ring(self, rings: Sequence[Ring]) -> None:
        """Ring all of these in one batch; never raises."""
        if not rings:
            return
        try:
            self.send(list(self.notes(rings)))
        except Exception as problem:  # noqa: BLE001 - one publish: whatever it is, the sweep will ring
            log.warning("%s ring(s) not sent (%s: %s); the sweep will ring", len(rings), type(problem).__name__, problem)

    def ring_again(self, rings: Sequence[Ring]) -> None:
        """Ring where it is needed: a backlog is not flooded, and after the loss of a broker's queues all is rung at once."""
        if not rings:
            return
        try:
            by_queue: dict[str, list[Note]] = {}
            for note in self.notes(rings):
                by_queue.setdefault(note.queue, []).append(note)
            for queue, notes in by_queue.items():
                waiting = 0 if self.local is not None and self.local.takes(notes[0]) else self.waiting(queue)
                if waiting is None or waiting < len(notes):
                    self.send(notes)
        except Exception as problem:  # noqa: BLE001 - one publish: whatever it is, the sweep will ring
            log.warning("%s ring(s) not sent (%s: %s); the sweep will ring", len(rings), type(problem).__name__, problem)

    def send(self, notes: Sequence[Note]) -> None:
        """Send these messages."""
        local = self.local
        near = [note for note in notes if local is not None and local.takes(note)]
        if local is not None and near:
            local.send(near)
        self.broker.send([note for note in notes if note not in near] if near else notes)
