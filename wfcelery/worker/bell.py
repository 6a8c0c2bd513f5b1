"""The database as bell: a worker that needs no broker, and one that does without while its broker is away."""

from __future__ import annotations

import json
import logging
import os
import select
import threading
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from celery import Celery
from kombu import Connection

from wfcelery.clock import monotonic
from wfcelery.worker.messages import Note
from wfcelery.worker.publisher import BrokerPost, SafePost
from wfcelery.worker.transports import MEMORY_URL

log = logging.getLogger(__name__)

VARIABLE = "WFCELERY_BELL"  # set to `database` in the environment of such a worker and its children
PIPE = "WFCELERY_BELL_PIPE"  # where its children put what they ring
LONGEST = 4096  # bytes that a pipe takes as one
AWAY = 1.0  # seconds without a connection, after which a pool is fed


def is_database() -> bool:
    """Whether this process belongs to a worker whose bell is the database."""
    return os.environ.get(VARIABLE) == "database"


@dataclass(slots=True)
class DatabaseBell:
    """The shorter way inside such a worker: into its own process's queues, from a child through its parent."""

    app: Celery
    queues: frozenset[str] = frozenset()
    _parent: int | None = None
    _ends: tuple[int, int] | None = None
    _put_in: int | None = None
    _post: BrokerPost | None = None

    def open(self, queues: Collection[str]) -> None:
        """In the parent, before the pool: these are the queues it serves."""
        self.queues, self._parent = frozenset(queues), os.getpid()
        self._ends = os.pipe()
        for end in self._ends:
            os.set_blocking(end, False)
        self._put_in = self._ends[1]
        os.environ[PIPE] = f"/proc/{os.getpid()}/fd/{self._put_in}"
        self._post = BrokerPost(self.app, lambda: Connection(MEMORY_URL))

    def takes(self, note: Note) -> bool:
        """In the parent what the worker serves itself; in a child everything: the parent decides."""
        return os.getpid() != self._parent or note.queue in self.queues

    def send(self, notes: Sequence[Note]) -> None:
        """Put them into the worker's own queues."""
        if os.getpid() == self._parent:
            assert self._post is not None
            self._post.send(notes)
            return
        for note in notes:
            line = json.dumps(asdict(note)).encode() + b"\n"
            if len(line) <= LONGEST:
                self._into_pipe(line)

    def pass_on(self, ended: threading.Event, broker: SafePost) -> None:
        """In the parent, a thread: what its children ring."""
        assert self._ends is not None
        rest = b""
        while not ended.is_set():
            if not select.select([self._ends[0]], [], [], 0.5)[0]:
                continue
            *lines, rest = (rest + os.read(self._ends[0], 1 << 16)).split(b"\n")
            notes = [_note(line) for line in lines]
            near = [note for note in notes if self.takes(note)]
            try:
                self.send(near)
            except Exception:  # one publish: the sweep will ring
                log.exception("%s ring(s) of a child were lost", len(near))
            broker.send([note for note in notes if not self.takes(note)])

    def _into_pipe(self, line: bytes) -> None:
        if self._put_in is None:
            place = os.environ.get(PIPE)
            if place is None:
                return
            self._put_in = os.open(place, os.O_WRONLY | os.O_NONBLOCK)  # spawned, not forked
        try:
            os.write(self._put_in, line)
        except OSError as problem:  # full, or the parent is gone
            log.debug("a ring was lost: %s", problem)


def _note(line: bytes) -> Note:
    given = json.loads(line)
    return Note(**{**given, "limits": tuple(given["limits"])})


@dataclass(slots=True)
class PoolFeeder:
    """Feeds a threads or solo pool from its own process while the broker is away."""

    worker: Any
    queues: frozenset[str]
    _waiting: deque[Note] = field(default_factory=deque)
    _come: threading.Event = field(default_factory=threading.Event)
    _free: threading.Semaphore = field(init=False)
    _away_since: float | None = None

    def __post_init__(self) -> None:
        self._free = threading.Semaphore(self.worker.concurrency or 1)

    def feeding(self) -> bool:
        """Whether the broker is away, as Celery's own consumer sees it, and the pool can be fed."""
        consumer = self.worker.consumer
        if consumer is None or getattr(consumer, "connection", None) is not None:
            self._away_since = None
            return False
        if self._away_since is None:
            self._away_since = monotonic()
        # A worker that has just begun has no connection either: it is given time to get one.
        return monotonic() - self._away_since >= AWAY

    def takes(self, note: Note) -> bool:
        return note.queue in self.queues and self.feeding()

    def send(self, notes: Sequence[Note]) -> None:
        """Hand these to the pool as places become free; what is more than it can hold soon is left to the sweep."""
        room = 4 * (self.worker.concurrency or 1) - len(self._waiting)
        self._waiting.extend(notes[: max(0, room)])
        self._come.set()

    def run(self) -> None:
        """A thread: from the queue to the pool."""
        ended: threading.Event = self.worker.blueprint.shutdown_complete
        while not ended.is_set():
            if not self._come.wait(0.5):
                continue
            self._come.clear()
            while self._waiting and not ended.is_set():
                if self._free.acquire(timeout=0.5):
                    self._feed(self._waiting.popleft())

    def _feed(self, note: Note) -> None:
        try:
            self.worker.pool.apply_async(self._work_off, (note,), callback=lambda _: None)
        except Exception:  # one message: the sweep will ring
            self._free.release()
            log.exception("the pool did not take a message")

    def _work_off(self, note: Note) -> None:
        task = self.worker.app.tasks[note.task]
        try:
            task.__trace__("", (), note.body, {"wf_queue": note.queue, "timelimit": note.limits, "hostname": self.worker.hostname})
        finally:
            self._free.release()
