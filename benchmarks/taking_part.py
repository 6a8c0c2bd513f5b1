"""Who takes part: a side that is up and has shown that it works, or one that cannot run, which the table says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import CannotRunError, without_places
from benchmarks.processes import NoFigureError, Running, side_running
from benchmarks.servers import Servers
from benchmarks.sides.catalogue import Setup
from benchmarks.sides.peers.catalogue import EVERYONE


@dataclass(frozen=True, slots=True)
class Absent:
    """A side that cannot run: the command that failed, and what it said."""

    setup: Setup
    command: str
    said: str


@contextlib.contextmanager
def taking_part(setup: Setup, servers: Servers, folder: Path, show: Callable[[Running], None]) -> Iterator[Running | Absent]:
    """The side with its processes up, after `show` has had it do a little of everything; absent where any of that fails."""
    with contextlib.ExitStack() as stack:
        yield _begun(stack, setup, servers, folder, show)


def _begun(stack: contextlib.ExitStack, setup: Setup, servers: Servers, folder: Path, show: Callable[[Running], None]) -> Running | Absent:
    place = list(EVERYONE).index(setup.name)
    with contextlib.ExitStack() as own:
        try:
            side = own.enter_context(side_running(setup, servers, folder, place))
            with side.awake():
                show(side)
        except CannotRunError as error:
            return Absent(setup, error.command, error.said)
        except NoFigureError as error:
            return Absent(setup, without_places(" ".join((setup.python, *setup.workers[0])).format(module=setup.module)), str(error))
        stack.push(own.pop_all())
        return side
