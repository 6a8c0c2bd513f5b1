"""One event loop per process, in a thread of its own, for every `async def` step."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded


@dataclass(slots=True)
class Loop:
    """Started at its first use, and again in a forked child."""

    _loop: asyncio.AbstractEventLoop | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, coroutine: Coroutine[Any, Any, Any], soft: float | None = None) -> Any:
        """Run it to its end, in the caller's context; after `soft` seconds it is cancelled and `SoftTimeLimitExceeded` raised."""
        done: Future[Any] = Future()
        context = copy_context()
        loop = self._running()
        loop.call_soon_threadsafe(lambda: loop.create_task(_into(done, coroutine, soft), context=context))
        return done.result()

    def forget(self) -> None:
        """A forked child has none of its parent's threads."""
        self._loop, self._lock = None, threading.Lock()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="wfcelery-loop", daemon=True).start()
            return self._loop


async def _into(done: Future[Any], coroutine: Coroutine[Any, Any, Any], soft: float | None) -> None:
    try:
        async with asyncio.timeout(soft) as limit:
            done.set_result(await coroutine)
    except TimeoutError as error:
        done.set_exception(SoftTimeLimitExceeded(soft) if limit.expired() else error)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the caller's thread waits for it
        done.set_exception(error)


LOOP = Loop()
os.register_at_fork(after_in_child=LOOP.forget)
