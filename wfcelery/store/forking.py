"""A process forks only while nothing of SQLite is open in it.

SQLite keeps its locks per process and file. A child that is forked while a thread of its parent holds one inherits
the note of that lock and nobody who takes it back: it could never write. So a fork waits for the connections in use,
and closes those at rest; both processes make new ones.
"""

from __future__ import annotations

import os
import threading
from typing import Any
from weakref import WeakSet

import sqlalchemy as sa

PATIENCE = 2.0  # seconds that a fork waits for threads that stay in their transactions, and they for it

_turn = threading.Condition()
_engines: WeakSet[sa.Engine] = WeakSet()
_mine = threading.local()  # connections that this thread uses
_used, _forking = 0, False


def watch(engine: sa.Engine) -> None:
    """From now on this process forks only between the uses of this engine's connections."""
    _engines.add(engine)
    sa.event.listen(engine, "checkout", _taken)
    sa.event.listen(engine, "checkin", _given_back)


def _taken(*_: Any) -> None:
    global _used  # noqa: PLW0603
    held = getattr(_mine, "held", 0)
    with _turn:
        if not held:  # who holds one already must be able to end
            _turn.wait_for(lambda: not _forking, PATIENCE)
        _used += 1
    _mine.held = held + 1


def _given_back(*_: Any) -> None:
    global _used  # noqa: PLW0603
    _mine.held = max(0, getattr(_mine, "held", 0) - 1)
    with _turn:
        _used -= 1
        _turn.notify_all()


def _before() -> None:
    global _forking  # noqa: PLW0603
    if not _engines:
        return
    with _turn:
        _forking = True
        if _turn.wait_for(lambda: _used <= getattr(_mine, "held", 0), PATIENCE):
            for engine in list(_engines):
                engine.dispose()


def _in_parent() -> None:
    global _forking  # noqa: PLW0603
    with _turn:
        _forking = False
        _turn.notify_all()


def _in_child() -> None:
    global _turn, _used, _forking
    _turn, _used, _forking = threading.Condition(), getattr(_mine, "held", 0), False


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
