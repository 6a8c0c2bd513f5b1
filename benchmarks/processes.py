"""The processes of one side: an ordinary `celery worker` with two children, and the caller."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from benchmarks.servers import Servers
from benchmarks.workloads import Measured

ROOT = Path(__file__).parent.parent
GRACE = 30.0
MODULES = {"raw": "benchmarks.sides.raw", "wfcelery": "benchmarks.sides.ours"}
WORKER = ["worker", "--pool", "prefork", "--concurrency", "2", "--loglevel", "warning"]
UPGRADE = "import sys; sys.argv[1:] = ['db', 'upgrade']; from wfcelery.cli import main; main()"


class NoFigureError(Exception):
    """A cell that lost work, gave a wrong answer or never ended."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Gives orders to the client process of one side."""

    process: subprocess.Popen[str]
    log: Path

    def measure(self, workload: str, size: int) -> Measured:
        told = json.dumps({"workload": workload, "size": size})
        _pipe(self.process.stdin).write(told + "\n")
        _pipe(self.process.stdin).flush()
        line = _pipe(self.process.stdout).readline()
        answer = json.loads(line) if line else {"error": "the caller died"}
        if "error" in answer:
            raise NoFigureError(f"{answer['error']}\n{_tail(self.log)}")
        return Measured(**answer)


@contextlib.contextmanager
def side_running(name: str, servers: Servers, folder: Path) -> Iterator[Caller]:
    """Worker and caller of one side, on its own numbered databases of the Redis server."""
    environment = _environment(name, servers)
    log = folder / f"{name}.log"
    with log.open("w") as out, contextlib.ExitStack() as stack:
        if name == "wfcelery":
            subprocess.run([sys.executable, "-c", UPGRADE], cwd=ROOT, env=environment, check=True, stdout=out, stderr=subprocess.STDOUT)
        worker = [sys.executable, "-m", "celery", "-A", MODULES[name], *WORKER]
        stack.enter_context(_ended(subprocess.Popen(worker, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)))
        caller = [sys.executable, "-m", "benchmarks.client", MODULES[name]]
        pipe = subprocess.PIPE
        client = subprocess.Popen(caller, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, stderr=out, text=True)
        stack.enter_context(_ended(client))
        yield Caller(client, log)


def _environment(name: str, servers: Servers) -> Mapping[str, str]:
    first = {"raw": 0, "wfcelery": 2}[name]
    return os.environ | {
        "BENCH_BROKER": servers.redis.url(first),
        "BENCH_RESULTS": servers.redis.url(first + 1),
        "WFCELERY_DATABASE_URL": servers.postgres.socket_url(),
    }


@contextlib.contextmanager
def _ended(process: subprocess.Popen[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
