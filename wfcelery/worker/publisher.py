"""The bell: messages that say "look at this step", sent in batches after a commit.

A ring may be lost, so a failure costs its caller one short timeout and is not tried again: for a moment
nobody rings at all, and the sweep finds the rows. Nothing is raised.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from celery import Celery
from kombu import Connection, Producer

from wfcelery.clock import monotonic
from wfcelery.core.decision import Ring
from wfcelery.worker.messages import Note, Notes, Writer

log = logging.getLogger(__name__)

PATIENCE = 1.0  # seconds a publish, or a connection, may take
FIRST_HUSH, LONGEST_HUSH = 1.0, 8.0  # seconds of silence after a failure, doubled each time
BATCH = 500


def broker_of(app: Celery) -> Connection:
    """A connection to the app's broker that gives up soon."""
    url = str(app.conf.broker_write_url or "")
    options = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE} if url.startswith(("redis", "wfredis", "sentinel")) else {}
    given = {**options, **(app.conf.broker_transport_options or {}), "max_retries": 1}
    return app.connection_for_write(connect_timeout=PATIENCE, transport_options=given)


class Post(Protocol):
    """Sends messages; may raise."""

    def load(self) -> None: ...

    def send(self, notes: Sequence[Note]) -> None: ...

    def waiting(self, queue: str) -> int: ...

    def hang_up(self) -> None: ...


@dataclass(slots=True)
class _Line:
    """One thread's connection to the broker."""

    pid: int
    connection: Connection
    producer: Producer
    publish: Callable[..., Any]
    writer: Writer = field(default_factory=Writer)
    declared: set[str] = field(default_factory=set)


@dataclass(slots=True)
class BrokerPost:
    """Sends over a broker; one connection for each thread, none of them shared with a parent process."""

    app: Celery
    connect: Callable[[], Connection]
    _lines: threading.local = field(default_factory=threading.local)

    def load(self) -> None:
        """Have in memory what sending takes, in a thread that may import and whose locks no fork leaves behind.

        At the end of a process no thread can import a module any more that wants to be told of that end.
        """
        len(self.app.amqp.queues)
        self.connect().get_transport_cls()

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
            producer = Producer(connection.channel(), auto_declare=False)
            # Beneath what sentry-sdk puts around the method: these are no tasks of the app.
            line = _Line(os.getpid(), connection, producer, partial(inspect.unwrap(Producer.publish), producer))
            self._lines.line = line
        return line

    def _publish(self, line: _Line, note: Note) -> None:
        if note.queue not in line.declared:
            self.app.amqp.queues[note.queue](line.producer.channel).declare()
            line.declared.add(note.queue)
        message = line.writer.write(note)
        line.publish(
            message.body,
            exchange="",  # the default exchange reaches every queue by its name
            routing_key=note.queue,
            content_type="application/json",
            content_encoding="utf-8",
            headers=message.headers,
            delivery_mode=2,
            retry=False,
            timeout=PATIENCE,
            **message.properties,
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

    def load(self) -> None:
        """Import what sending takes."""
        try:
            self.post.load()
        except Exception as problem:  # noqa: BLE001 - whatever it is, the first message will say it
            log.debug("the broker's transport was not loaded: %s", problem)

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

    def give_up(self, count: int) -> None:
        """So many will not be sent at all."""
        self.unsent += count

    def hang_up(self) -> None:
        """Let this thread's connection go."""
        self.post.hang_up()

    def _failed(self, count: int, problem: Exception) -> None:
        now = monotonic()
        self.unsent += count
        self._hush = min(LONGEST_HUSH, self._hush * 2) if self._hush else FIRST_HUSH
        self._still_until = now + self._hush
        if self.failing_since is None:
            self.failing_since = now
        log.warning("%s ring(s) not sent (%s); the sweep will ring, next try in %g s", count, type(problem).__name__, self._hush)


class Way(Protocol):
    """Has messages sent; never raises."""

    def send(self, notes: Sequence[Note]) -> object: ...


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
    outbound: Way | None = None  # how to the broker; None: in the thread of who rings

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
        local, far = self.local, notes
        if local is not None:
            near, far = list[Note](), list[Note]()
            for note in notes:
                (near if local.takes(note) else far).append(note)
            if near:
                local.send(near)
        (self.outbound or self.broker).send(far)
