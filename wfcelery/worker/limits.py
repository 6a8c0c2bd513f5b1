"""Soft time limits that work wherever a step runs.

Celery's own reach the first step of a message, on prefork alone. Here a thread raises Celery's
`SoftTimeLimitExceeded` in the thread that executes the step: through the signal that billiard keeps for it
in a prefork child (it wakes a sleeping call), through the interpreter elsewhere (seen at the next line).
"""

from __future__ import annotations

import ctypes
import heapq
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import count

from billiard import pool as billiard_pool
from celery.exceptions import SoftTimeLimitExceeded

from wfcelery.clock import monotonic


@dataclass(slots=True, eq=False)
class _Limit:
    thread: int
    over: bool = False
    fired: bool = False


@dataclass(slots=True)
class _Watch:
    """One thread per process, started when the first limit is set."""

    running: bool = False
    due: list[tuple[float, int, _Limit]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def forget(self) -> None:
        """A forked child has none of its parent's threads."""
        self.running, self.due, self.changed = False, [], threading.Condition()

    def add(self, seconds: float) -> _Limit:
        limit = _Limit(threading.get_ident())
        with self.changed:
            if not self.running:
                self.running = True
                threading.Thread(target=self._run, name="wfcelery-limits", daemon=True).start()
            heapq.heappush(self.due, (monotonic() + seconds, next(self.numbers), limit))
            self.changed.notify()
        return limit

    def end(self, limit: _Limit) -> None:
        """The step is over; what was fired and has not arrived is taken back."""
        with self.changed:
            limit.over = True
            if limit.fired and not _by_signal(limit.thread):
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(limit.thread), None)

    def _run(self) -> None:
        with self.changed:
            while True:
                while self.due and (self.due[0][2].over or self.due[0][0] <= monotonic()):
                    limit = heapq.heappop(self.due)[2]
                    if not limit.over:
                        limit.fired = True
                        _fire(limit.thread)
                self.changed.wait(max(0.0, self.due[0][0] - monotonic()) if self.due else None)


_WATCH = _Watch()
os.register_at_fork(after_in_child=_WATCH.forget)


def _by_signal(thread: int) -> bool:
    handler = signal.getsignal(signal.SIGUSR1) if hasattr(signal, "SIGUSR1") else None
    return handler is billiard_pool.soft_timeout_sighandler and thread == threading.main_thread().ident


def _fire(thread: int) -> None:
    if _by_signal(thread):
        signal.pthread_kill(thread, signal.SIGUSR1)
    else:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(SoftTimeLimitExceeded))


def soft_limit(seconds: float | None) -> AbstractContextManager[None]:
    """Raise `SoftTimeLimitExceeded` in this thread after that time, unless the block is over by then."""
    return _UNLIMITED if seconds is None else _limited(seconds)


_UNLIMITED = nullcontext()


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    limit = _WATCH.add(seconds)
    try:
        yield
    finally:
        _WATCH.end(limit)
