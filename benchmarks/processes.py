"""The processes of one side: its workers, and its caller."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.servers import Servers
from benchmarks.sides.catalogue import SIDES, Command, Setup
from benchmarks.workloads import Measured
from tests.servers import caretaker

ROOT = Path(__file__).parent.parent
GRACE = 30.0


class NoFigureError(Exception):
    """A cell that lost work, gave a wrong answer or never ended."""


@dataclass(frozen=True, slots=True)
class Running:
    """A side that is up: gives orders to its caller, and knows its processes."""

    setup: Setup
    client: subprocess.Popen[str]
    workers: tuple[subprocess.Popen[bytes], ...]
    database: str
    round_trips: Path
    log: Path

    def measure(self, workload: str, size: int) -> Measured:
        """One cell. Raises NoFigureError."""
        told = json.dumps({"workload": workload, "size": size})
        _pipe(self.client.stdin).write(told + "\n")
        _pipe(self.client.stdin).flush()
        line = _pipe(self.client.stdout).readline()
        answer = json.loads(line) if line else {"error": "the caller died"}
        if "error" in answer:
            raise NoFigureError(f"{answer['error']}\n{_tail(self.log)}")
        return Measured(**answer)


@contextlib.contextmanager
def side_running(setup: Setup, servers: Servers, folder: Path) -> Iterator[Running]:
    """Workers and caller of one side, with a database of its own and two numbered ones of the Redis server."""
    database = f"bench_{setup.name}"
    if setup.has_database:
        servers.postgres.execute(f'create database "{database}"')
    round_trips = folder / f"{setup.name}-round-trips"
    round_trips.mkdir()
    environment, log = _environment(setup, servers, database, round_trips), folder / f"{setup.name}.log"
    with log.open("a") as out, contextlib.ExitStack() as stack:
        for command in setup.prepare:
            words = _words(setup, command)
            subprocess.run(words, cwd=ROOT, env=environment, check=True, stdout=out, stderr=subprocess.STDOUT)
        workers = []
        for command in setup.workers:
            workers.append(caretaker.start(_words(setup, command), log, environment=environment, folder=ROOT))
            stack.enter_context(_ended(workers[-1]))
        # The caller ends by itself when nobody gives it orders any more.
        words, pipe = _words(setup, ("-m", "benchmarks.client", "{module}")), subprocess.PIPE
        client = subprocess.Popen(words, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, stderr=out, text=True)
        stack.enter_context(_told_to_end(client))
        yield Running(setup, client, tuple(workers), database, round_trips, log)


def _words(setup: Setup, command: Command) -> list[str]:
    return [setup.python, *(word.format(module=setup.module) if word == "{module}" else word for word in command)]


def _environment(setup: Setup, servers: Servers, database: str, round_trips: Path) -> Mapping[str, str]:
    first = 2 * [side.name for side in SIDES].index(setup.name)
    postgres = servers.postgres
    return os.environ | {
        "BENCH_BROKER": servers.redis.url(first),
        "BENCH_RESULTS": servers.redis.url(first + 1),
        "BENCH_DATABASE": f"host={postgres.folder} port={postgres.port} user=postgres dbname={database}",
        "BENCH_ROUND_TRIPS": str(round_trips),
        "WFCELERY_DATABASE_URL": postgres.socket_url(database),
    }


@contextlib.contextmanager
def _ended(worker: subprocess.Popen[bytes]) -> Iterator[None]:
    """It shuts down in its own way, or is killed with its children."""
    try:
        yield
    finally:
        worker.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(GRACE)
        caretaker.end(worker)


@contextlib.contextmanager
def _told_to_end(client: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        client.terminate()
        client.wait(GRACE)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
