"""Actors: greenlets, with types. One has its turn until it gives it back to the hub.

The package `greenlet` brings no types, so it is met here alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

_greenlet: Any = import_module("greenlet")


class Killed(BaseException):
    """This actor's process is no more; whatever it still does on its way out reaches nobody."""


def _no_fate(at: str) -> None:
    """Nothing befalls it."""


@dataclass(eq=False, slots=True)
class SimProcess:
    """Something that can be killed or stopped as a whole: a worker's main process or one child of it, a beat, a client."""

    name: str
    skew: float = 0.0
    fate: Callable[[str], None] = _no_fate  # what may befall it at each of its turns, and where that finds it
    dead: bool = False
    stopped_until: float = 0.0
    parent: SimProcess | None = None
    orphaned: bool = False  # its parent was killed; it ends after what it executes

    def wakes(self) -> float:
        """When it may go on; a stopped parent stops its children with it."""
        parent = self.parent
        if parent is None or parent.stopped_until <= self.stopped_until:
            return self.stopped_until
        return parent.stopped_until

    def let_go(self) -> None:
        """From now on nothing befalls it."""
        self.fate = _no_fate


class Actor(_greenlet.greenlet):
    """One thread of a simulated process."""

    process: SimProcess
    turn: int  # its next, by number: whoever is woken earlier forgets the later one


def actor_of(process: SimProcess, what: Callable[[], object], hub: Any) -> Actor:
    """An actor that has not begun. It ends where its process is killed."""

    def live() -> None:
        try:
            if not process.dead:
                what()
        except Killed:
            pass

    actor = Actor(live, hub)
    actor.process = process
    return actor


def current() -> Actor | None:
    """Whose turn it is; None: the hub's own."""
    found = _greenlet.getcurrent()
    return found if found.__class__ is Actor else None


def hub() -> Any:
    """The greenlet of whoever asks, to which actors give their turns back."""
    return _greenlet.getcurrent()
