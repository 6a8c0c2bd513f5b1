"""The processes of one side: its workers, its caller, and the servers it brings along."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks import trees
from benchmarks.environments import ROOT, CannotRunError, last_lines, make_ready, without_places
from benchmarks.servers import Servers
from benchmarks.sides.catalogue import SIDES, Command, Setup
from benchmarks.sides.peers.catalogue import Peer
from benchmarks.workloads import Measured
from tests.servers import caretaker
from tests.servers.ports import free_port

GRACE = 30.0
PREPARING = 180.0
PORTS = 4
PATIENCE = 900.0
LOOKING = 0.5  # seconds between two looks at whether a side's processes live


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
    servers: tuple[subprocess.Popen[bytes], ...] = ()
    """What it brings along beside its workers."""

    def measure(self, workload: str, size: int) -> Measured:
        """One cell. Raises NoFigureError."""
        self._all_live()
        try:
            _pipe(self.client.stdin).write(json.dumps({"workload": workload, "size": size}) + "\n")
            _pipe(self.client.stdin).flush()
        except BrokenPipeError as error:
            raise NoFigureError(f"the caller died\n{_tail(self.log)}") from error
        line = self._answer()
        answer = json.loads(line) if line else {"error": "the caller died"}
        if "error" in answer:
            raise NoFigureError(f"{last_lines(without_places(answer['error']))}\n{_tail(self.log)}")
        return Measured(**answer)

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """A peer's processes run inside the block and stand still outside it: what they do while they idle costs no other side anything."""
        if not isinstance(self.setup, Peer):
            yield
            return
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def _answer(self) -> str:
        """The caller's next line; empty when it died."""
        answers, deadline = _pipe(self.client.stdout), time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(answers, selectors.EVENT_READ)
            while not selector.select(LOOKING):
                self._all_live()
                if time.monotonic() > deadline:
                    self.client.kill()  # what it would still say belongs to no order
                    raise NoFigureError(f"no answer within {PATIENCE:g} s\n{_tail(self.log)}")
        return answers.readline()

    def _all_live(self) -> None:
        for process in (*self.servers, *self.workers):
            if process.poll() is not None:
                raise NoFigureError(f"a process of it ended with {process.returncode}\n{_tail(self.log)}")

    def _signal(self, signal_: signal.Signals) -> None:
        _signal_trees([process.pid for process in (*self.servers, *self.workers)], signal_)


@contextlib.contextmanager
def side_running(setup: Setup, servers: Servers, folder: Path, place: int | None = None) -> Iterator[Running]:
    """Workers and caller of one side, with a database of its own and two numbered ones of the Redis server.

    `place` says which two, for a side that the catalogue does not list.
    """
    if isinstance(setup, Peer):
        make_ready(setup)
    database, round_trips = f"bench_{setup.name}", folder / f"{setup.name}-round-trips"
    if setup.has_database:
        servers.postgres.execute(f'create database "{database}"')
    round_trips.mkdir()
    own = folder / f"{setup.name}-own"
    own.mkdir()
    environment, log = _environment(setup, servers, database, round_trips, place), folder / f"{setup.name}.log"
    environment = environment | {"BENCH_FOLDER": str(own), "BENCH_PORTS": ",".join(str(free_port()) for _ in range(PORTS))}
    with log.open("a") as out, contextlib.ExitStack() as stack:
        brought = _started(stack, setup, setup.servers, log, environment)
        for command in setup.prepare:
            _prepare(setup, _words(setup, command), log, environment, brought)
        workers = _started(stack, setup, setup.workers, log, environment)
        # The caller ends by itself when nobody gives it orders any more.
        words, pipe = _words(setup, ("-m", "benchmarks.client", "{module}")), subprocess.PIPE
        client = subprocess.Popen(words, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, stderr=out, text=True)
        stack.enter_context(_told_to_end(client))
        yield Running(setup, client, workers, database, round_trips, log, brought)


def _started(
    stack: contextlib.ExitStack, setup: Setup, commands: Sequence[Command], log: Path, environment: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], ...]:
    started = []
    for command in commands:
        started.append(caretaker.start(_words(setup, command), log, environment=environment, folder=ROOT))
        stack.enter_context(_ended(started[-1]))
    return tuple(started)


def _prepare(setup: Setup, words: list[str], log: Path, environment: Mapping[str, str], brought: Sequence[subprocess.Popen[bytes]]) -> None:
    """Raises CannotRunError: a side that cannot be prepared is told of, and the others go on."""
    try:
        with log.open("a") as out, subprocess.Popen(words, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT) as process:
            deadline = time.monotonic() + PREPARING
            while process.poll() is None and time.monotonic() < deadline and all(server.poll() is None for server in brought):
                time.sleep(0.05)
            process.kill()
    except OSError as error:
        raise CannotRunError(" ".join(words), str(error)) from error
    for command, server in zip(setup.servers, brought, strict=True):
        if server.poll() is not None:
            raise CannotRunError(" ".join(_words(setup, command)), f"ended with {server.returncode}\n{_tail(log)}")
    if process.returncode:
        how = "took too long" if process.returncode == -signal.SIGKILL else f"ended with {process.returncode}"
        raise CannotRunError(" ".join(words), f"{how}\n{_tail(log)}")


def _words(setup: Setup, command: Command) -> list[str]:
    return [setup.python, *(word.format(module=setup.module) if word == "{module}" else word for word in command)]


def _environment(setup: Setup, servers: Servers, database: str, round_trips: Path, place: int | None) -> dict[str, str]:
    first = 2 * ([side.name for side in SIDES].index(setup.name) if place is None else place)
    postgres = servers.postgres
    return os.environ | {
        "BENCH_BROKER": servers.redis.url(first),
        "BENCH_RESULTS": servers.redis.url(first + 1),
        "BENCH_DATABASE": f"host={postgres.folder} port={postgres.port} user=postgres dbname={database}",
        "BENCH_DATABASE_URL": postgres.url(database).replace("+psycopg", ""),
        "BENCH_ROUND_TRIPS": str(round_trips),
        "WFCELERY_DATABASE_URL": postgres.socket_url(database),
    }


@contextlib.contextmanager
def _ended(worker: subprocess.Popen[bytes]) -> Iterator[None]:
    """It shuts down in its own way, or is killed with its children."""
    try:
        yield
    finally:
        _signal_trees([worker.pid], signal.SIGCONT)
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
    return last_lines(without_places(log.read_text(errors="replace")))


def _signal_trees(roots: Sequence[int], signal_: signal.Signals) -> None:
    for process in trees.tree(trees.processes(), roots):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal_)
