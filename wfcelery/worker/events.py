"""Celery's events of the steps a worker executes, under the names of their tasks, for Flower and whoever listens.

A thread sends what has gathered in a quarter of a second as one message over a connection of its own.
Nothing here can hold up a step: without a broker the events are dropped, as events are. They carry names,
ids and times, never an argument, a result or a message.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from celery import Celery, signals
from celery.events.event import get_exchange
from celery.utils.nodenames import gethostname
from celery.utils.time import utcoffset
from kombu import Producer

from wfcelery.worker.slots import EVENTS, SharedSlots

log = logging.getLogger(__name__)

GATHER = 0.25  # seconds
MOST = 10_000  # events that wait to be sent
LAST = 0.4  # seconds a recycled child waits for its last batch

TellEnd = Callable[[str | None, Mapping[str, Any] | None], None]


def _nobody_listens(state: str | None, error: Mapping[str, Any] | None) -> None:
    del state, error


@dataclass(slots=True)
class Events:
    """The events of one process; `hostname` is the worker's node name."""

    app: Celery
    slots: SharedSlots
    hostname: str = field(default_factory=gethostname)
    _queue: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MOST))
    _wake: threading.Event = field(default_factory=threading.Event)
    _pid: int = 0
    _busy: bool = False
    _producer: Producer | None = None

    def begun(self, task: Any, request: Mapping[str, Any]) -> TellEnd:
        """A step begins. What is returned is to be called with the tracer's state (None: success) when it is over."""
        if not (task.send_events and self.slots.flagged(EVENTS)):
            return _nobody_listens
        uuid, began = request["id"], time.time()
        again, root = request["retries"], request["root_id"]
        self._send("task-received", uuid, name=task.name, args="", kwargs="", retries=again, root_id=root, parent_id=None)
        self._send("task-started", uuid)

        def over(state: str | None, error: Mapping[str, Any] | None) -> None:
            if state in (None, "IGNORED") and error is None:
                self._send("task-succeeded", uuid, result="", runtime=time.time() - began)
                return
            named = str((error or {}).get("type", "Exception"))
            self._send("task-retried" if state == "RETRY" else "task-failed", uuid, exception=f"{named}()", traceback="")

        return over

    def flush(self, seconds: float = LAST) -> None:
        """Wait for what has gathered to be sent, but no longer than that."""
        end = time.monotonic() + seconds
        while self._pid == os.getpid() and (self._queue or self._busy) and time.monotonic() < end:
            time.sleep(0.02)

    def _send(self, kind: str, uuid: str, **fields: Any) -> None:
        if self._pid != os.getpid():
            self._begin()
        self._queue.append({"type": kind, "uuid": uuid, "timestamp": time.time(), **fields})
        self._wake.set()

    def _begin(self) -> None:
        self._pid, self._queue, self._wake, self._producer = os.getpid(), deque(maxlen=MOST), threading.Event(), None
        threading.Thread(target=self._run, name="wfcelery-events", daemon=True).start()
        signals.worker_process_shutdown.connect(self._last_batch, weak=False, dispatch_uid="wfcelery-events")

    def _last_batch(self, **_: Any) -> None:
        self.flush()

    def _run(self) -> None:
        while self._wake.wait():
            time.sleep(GATHER)  # gathers; also the pause between two tries
            self._wake.clear()
            self._busy = True
            same = {"hostname": self.hostname, "pid": os.getpid(), "utcoffset": utcoffset()}
            batch = [self._queue.popleft() | same | {"clock": self.app.clock.forward()} for _ in range(len(self._queue))]
            try:
                self._publish(batch)
            except Exception as problem:  # noqa: BLE001 - one publish
                log.debug("%s events were not sent: %s", len(batch), problem)
                self._producer = None
            self._busy = False

    def _publish(self, batch: list[dict[str, Any]]) -> None:
        if not batch:
            return
        if self._producer is None:
            connection = self.app.connection_for_write()
            connection.ensure_connection(max_retries=1, timeout=2)
            exchange = get_exchange(connection, self.app.conf.event_exchange)
            self._producer = Producer(connection.channel(), exchange, serializer=self.app.conf.event_serializer)
        self._producer.publish(batch, routing_key="task.multi", delivery_mode=1, retry=False, headers={"hostname": self.hostname})
