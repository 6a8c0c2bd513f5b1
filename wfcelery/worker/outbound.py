"""The ring off the caller's thread: whoever starts work leaves it here, and one thread of the process sends it.

The caller has its commit and goes on; what it would have waited for is the broker. A process that ends has its last
rings sent first, and a child that is forked begins anew: what its parent has not sent, its parent sends. What is
lost all the same (a full queue, a SIGKILL) costs time: the sweep finds the rows.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.util import Finalize

from wfcelery.clock import monotonic
from wfcelery.worker.messages import Note
from wfcelery.worker.publisher import SafePost

log = logging.getLogger(__name__)

MOST = 10_000  # calls' worth of notes that may wait; what is more is left to the sweep
LAST_WORD = 2.0  # seconds that a process which ends waits for its last rings
GATHER = 0.001  # seconds that a ring waits for others where one was sent just before; a single one waits for nothing
ASK_AGAIN = 60.0  # seconds after which a process that could not have a thread asks for one again


@dataclass(slots=True)
class Outbound:
    """The way of notes to the broker. `at_once`: in this process who rings also sends, as a worker does."""

    post: SafePost
    at_once: Callable[[], bool] = lambda: False
    _desks: dict[int, _Desk] = field(default_factory=dict)

    def send(self, notes: Sequence[Note]) -> None:
        """Have these sent; never raises, and waits for the broker only where there is no thread to do so."""
        if not notes:
            return
        desk = None if self.at_once() else self._desk()
        if desk is None or not desk.has_thread():
            self.post.send(notes)
        else:
            desk.leave(notes)

    def settle(self, seconds: float) -> bool:
        """Wait until all that was left so far is sent or given up; False where the time was too short."""
        desk = self._desks.get(os.getpid())
        return desk is None or desk.settle(seconds)

    def close(self) -> None:
        """End this process's thread and its connection, when what was left is sent. The next ring begins anew."""
        desk = self._desks.pop(os.getpid(), None)
        if desk is not None:
            desk.close()

    def _desk(self) -> _Desk:
        """This process's; a child has its own, and leaves alone what its parent has not sent yet."""
        pid = os.getpid()
        return self._desks.get(pid) or self._desks.setdefault(pid, _Desk(self.post))


class _Done(threading.Event):
    """Left among the notes: set when those before it are sent or given up."""


class _Desk:
    """What waits to be sent in one process, and the thread that sends it."""

    def __init__(self, post: SafePost) -> None:
        self._post = post
        self._waiting: deque[Sequence[Note] | _Done] = deque()
        self._come = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._without_until = 0.0
        self._full = self._closed = self._ending = False
        self._last_word: Finalize | None = None

    def has_thread(self) -> bool:
        """Whether somebody sends; starts the thread where there is none."""
        if self._ending:
            return False
        if self._thread is not None and self._thread.is_alive():
            return True
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return True
            return monotonic() >= self._without_until and self._start()

    def leave(self, notes: Sequence[Note]) -> None:
        """Put these there for the thread, unless too much waits already."""
        if len(self._waiting) < MOST:
            self._put(notes)
            return
        self._post.give_up(len(notes))
        if not self._full:
            self._full = True
            log.warning("rings are made faster than the broker takes them; the sweep will ring for what does not fit any more")

    def settle(self, seconds: float) -> bool:
        """Wait until everything that was left before has been sent or given up; False where the time was too short."""
        if self._thread is None or not self._thread.is_alive():
            return not self._waiting
        done = _Done()
        self._put(done)
        return done.wait(seconds)

    def close(self) -> None:
        """The thread ends when it has sent what is there."""
        self._closed = True
        self._come.set()
        if self._thread is not None:
            self._thread.join(LAST_WORD)
        if self._last_word is not None:
            self._last_word.cancel()

    def _say_last_word(self) -> None:
        self._ending = True  # what is rung from now on is sent by who rings
        self.settle(LAST_WORD)

    def _put(self, item: Sequence[Note] | _Done) -> None:
        self._waiting.append(item)
        if not self._come.is_set():
            self._come.set()

    def _start(self) -> bool:
        if not _threads_run():
            self._without_until = math.inf
            return False
        self._post.load()
        thread = threading.Thread(target=self._run, name="wfcelery-outbound", daemon=True)
        try:
            thread.start()
        except RuntimeError as problem:  # this process may have no more threads, or is at its end
            log.info("rings are sent by those who make them: %s", problem)
            self._without_until = monotonic() + ASK_AGAIN
            return False
        self._thread = thread
        if self._last_word is None:
            # Run at the end of a script and of a child of multiprocessing, which knows no atexit; never in a forked child.
            self._last_word = Finalize(None, self._say_last_word, exitpriority=100)
        return True

    def _run(self) -> None:
        sent = -math.inf
        while self._waiting or not self._closed:
            self._come.wait()
            if monotonic() - sent < GATHER:
                time.sleep(GATHER)
            self._come.clear()
            items = [self._waiting.popleft() for _ in range(len(self._waiting))]
            self._full = False
            self._post.send([note for item in items if not isinstance(item, _Done) for note in item])
            sent = monotonic()
            for item in items:
                if isinstance(item, _Done):
                    item.set()
        self._post.hang_up()


def _threads_run() -> bool:
    """Whether a thread gets to run between two requests: under uWSGI only where it was asked for."""
    uwsgi = sys.modules.get("uwsgi")
    asked = getattr(uwsgi, "opt", {})
    return uwsgi is None or "threads" in asked or asked.get("enable-threads") not in (None, False, b"false", b"0", "false", "0")
