"""A broker inside one process: kombu's memory transport with a condition instead of a pause between two looks."""

from __future__ import annotations

from queue import Empty
from threading import Condition, Lock
from time import monotonic
from typing import Any

from kombu.transport import memory as stock

LONGEST = 0.1  # seconds of one wait: Celery asks for 2, and a stop would have to sit them out


class _Arrivals:
    """Counts what has arrived, so that nobody sleeps through what came between a look and a wait."""

    def __init__(self) -> None:
        self._condition = Condition(Lock())
        self.count = 0

    def note(self) -> None:
        with self._condition:
            self.count += 1
            self._condition.notify_all()

    def wait(self, since: int, seconds: float) -> None:
        with self._condition:
            if self.count == since:
                self._condition.wait(seconds)


ARRIVALS = _Arrivals()


class Channel(stock.Channel):
    """Wakes who waits whenever a message arrives or an acknowledgement makes room for one."""

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        super()._put(queue, message, **options)
        ARRIVALS.note()

    def _put_fanout(self, *args: Any, **options: Any) -> None:
        super()._put_fanout(*args, **options)
        ARRIVALS.note()

    def basic_ack(self, *args: Any, **options: Any) -> None:
        super().basic_ack(*args, **options)
        ARRIVALS.note()


class Transport(stock.Transport):
    """Queues live as long as the process, and are seen by all its threads."""

    Channel = Channel
    global_state = stock.Transport.global_state
    driver_name = "wfmem"

    def drain_events(self, connection: Any, timeout: float | None = None) -> Any:
        del connection
        end = monotonic() + (LONGEST if timeout is None else min(timeout, LONGEST))
        while True:
            seen = ARRIVALS.count
            try:
                return self.cycle.get(self._deliver, timeout=LONGEST)
            except Empty:
                left = end - monotonic()
                if left <= 0:
                    raise TimeoutError from None
                ARRIVALS.wait(seen, left)


def forget() -> None:
    """Empty every queue of this process; for tests."""
    Channel.queues.clear()
    Transport.global_state.clear()
