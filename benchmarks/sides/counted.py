"""Counts how often a process waits for its PostgreSQL's answer: its round trips.

psycopg gives every exchange to `Connection.wait` as a generator that yields where it has to wait for the socket. One that
yields is a round trip; statements sent ahead in pipeline mode yield nothing until they are collected. Whoever goes past
`Connection.wait` is not seen. Each process keeps its count in a file of its own, which the benchmark reads while it runs.
"""

from __future__ import annotations

import itertools
import mmap
import os
import struct
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psycopg

_COUNT = struct.Struct("=Q")


class _Counter:
    """One process's round trips, in a file that outlives it."""

    def __init__(self, folder: Path) -> None:
        path = folder / f"{os.getpid()}.count"
        path.write_bytes(_COUNT.pack(0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _COUNT.size)
        self._next = itertools.count(1).__next__  # atomic between threads, which `+= 1` is not

    def add(self) -> None:
        _COUNT.pack_into(self._memory, 0, self._next())


def count_round_trips() -> None:
    """Begin, in this process and in those it forks, where the environment names a folder for it."""
    named = os.environ.get("BENCH_ROUND_TRIPS")
    if named is None:
        return
    folder, wait = Path(named), psycopg.Connection.wait
    counter = [_Counter(folder)]
    os.register_at_fork(after_in_child=lambda: counter.__setitem__(0, _Counter(folder)))

    def counting(self: Any, gen: Any, *args: Any, **named: Any) -> Any:
        return wait(self, _once_it_waits(gen, counter), *args, **named)

    psycopg.Connection.wait = counting  # type: ignore[method-assign]


def round_trips(folder: Path) -> int:
    """All of them so far, of every process that ever lived here."""
    return sum(_COUNT.unpack(path.read_bytes())[0] for path in folder.glob("*.count"))


def _once_it_waits(gen: Generator[Any, Any, Any], counter: list[_Counter]) -> Generator[Any, Any, Any]:
    try:
        wanted = next(gen)
    except StopIteration as end:
        return end.value
    counter[0].add()
    while True:
        ready = yield wanted
        try:
            wanted = gen.send(ready)
        except StopIteration as end:
            return end.value
