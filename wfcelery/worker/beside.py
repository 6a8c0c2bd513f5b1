"""`broker_loss="carry_on"`: while the broker is away, a prefork worker has one beside itself whose bell is the database.

A prefork parent that reconnects cannot feed its children. So it starts a second worker from its own command line,
which needs no broker, and ends it when the broker is back. Both claim by the same statement: nothing runs twice.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wfcelery.clock import monotonic
from wfcelery.worker import bell, supervised

log = logging.getLogger(__name__)

LOOK = 0.5  # seconds between two looks
WITHOUT = ("--without-heartbeat", "--without-gossip", "--without-mingle")


@dataclass(slots=True)
class Beside:
    """The thread of a prefork parent that watches its connection."""

    worker: Any
    patience: float  # seconds without a broker
    _gone_since: float | None = None
    _other: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Until the worker has ended."""
        ended: threading.Event = self.worker.blueprint.shutdown_complete
        while not ended.wait(LOOK):
            self.look()
        self._end()

    def look(self) -> None:
        """Start the other worker when it is time, and end it when it is over."""
        consumer = self.worker.consumer
        if consumer is not None and getattr(consumer, "connection", None) is not None:
            self._gone_since = None
            self._end()
            return
        now = monotonic()
        self._gone_since = self._gone_since or now
        if now - self._gone_since >= self.patience and (self._other is None or self._other.poll() is not None):
            self._start()
            self._gone_since = now  # one that ends at once is not started again at once

    def _start(self) -> None:
        command = command_beside(sys.orig_argv)
        if command is None:
            log.warning("broker_loss='carry_on' needs a worker that was started by a command line; this one waits for its broker")
            return
        log.warning("no broker for %g s: a worker beside this one carries on, with the database as its bell", self.patience)
        environment = {**os.environ, bell.VARIABLE: "database", **supervised.environment()}
        self._other = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, process_group=0)  # noqa: S603 - our own

    def _end(self) -> None:
        if self._other is not None and self._other.poll() is None:
            log.warning("the broker is back: the worker beside this one ends what it does, and itself")
            self._other.terminate()
        self._other = None


def command_beside(own: Sequence[str]) -> list[str] | None:
    """The command line of the worker beside the one of this command line; None where that is not a worker's."""
    if "worker" not in own:
        return None
    more = ["--pidfile", ""] if any(part.startswith("--pidfile") for part in own) else []
    return [sys.executable, *own[1:], "--hostname", f"beside-{os.getpid()}@%h", *WITHOUT, *more]
