"""Which database, settings and bell this process speaks to. `install(app)` sets it; without it the environment does."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from wfcelery.core.decision import Ring
from wfcelery.engine.ports import Bell
from wfcelery.errors import Misconfigured
from wfcelery.settings import Settings
from wfcelery.store import payloads
from wfcelery.store.database import CursorTx, Database, Tx

log = logging.getLogger(__name__)


class Joined(Protocol):
    """A transaction of the app that a start, or any other wish, becomes part of."""

    tx: Tx | None  # None: it is one of another database than our tables'; then the wish itself waits for its commit

    def after_commit(self, act: Callable[[], None]) -> None:
        """Call `act` once the outermost transaction has committed; never if it, or the savepoint it is in, is rolled back."""


Joiner = Callable[["Context", dict[str, Any]], Joined | None]


class Deaf:
    """The bell of a process without a broker: the sweep finds what it does not ring for."""

    def ring(self, rings: Sequence[Ring]) -> None:
        """Nothing: a ring may be lost."""

    def ring_again(self, rings: Sequence[Ring]) -> None:
        """Nothing."""


@dataclass(slots=True)
class Context:
    """What the verbs of this process work with."""

    database: Database
    settings: Settings
    bell: Bell = field(default_factory=Deaf)
    rings: bool = True  # whether a ring of this process can reach a worker
    stored: dict[str, Any] = field(default_factory=dict)  # signatures this process knows to be stored
    looked: dict[str, float] = field(default_factory=dict)  # when it was last seen of these that they may start
    joiners: list[Joiner] = field(default_factory=list)
    told: set[str] = field(default_factory=set)  # what is to be logged once

    def tell_once(self, sentence: str) -> None:
        """Log a warning, the first time only."""
        if sentence not in self.told:
            self.told.add(sentence)
            log.warning(sentence)

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """A short transaction of our own, without a run's lock."""
        with self.database.transaction() as tx:
            if isinstance(tx, CursorTx):
                tx.waits = True
            yield tx


_make: Callable[[], Context] | None = None
_current: tuple[int, Context] | None = None


def configure(make: Callable[[], Context]) -> None:
    """Say how this process makes its context; it is made when first needed, and again after a fork."""
    global _make, _current
    _make, _current = make, None


def current() -> Context:
    """This process's context. Raises Misconfigured where nothing says which database."""
    global _current  # noqa: PLW0603
    if _current is None or _current[0] != os.getpid():
        _current = (os.getpid(), (_make or from_environment)())
    return _current[1]


def from_environment() -> Context:
    """A context by `WFCELERY_DATABASE_URL` alone: reads, starts and cancels, and leaves the rings to the sweep."""
    settings = Settings.read()
    if settings.database_url is None:
        raise Misconfigured("no database is set: call wfcelery.install(app, database_url=...) or set WFCELERY_DATABASE_URL")
    return Context(Database(settings.database_url, payloads.of(settings)), settings, rings=False)
