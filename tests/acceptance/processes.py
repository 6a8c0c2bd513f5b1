"""Real processes for acceptance tests: workers, beat and commands, each with its log, each of which may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import sqlalchemy

from tests.acceptance.effects import Effects
from tests.acceptance.eventually import eventually
from tests.acceptance.shell import Shell
from tests.servers import caretaker
from wfcelery.service import verifying
from wfcelery.service.context import Context
from wfcelery.settings import Settings
from wfcelery.store import migrations
from wfcelery.store.database import Database

ROOT = Path(__file__).resolve().parents[2]
Pool = Literal["prefork", "threads", "solo"]
COMMAND_LINE = "import sys; from wfcelery.cli import main; sys.exit(main())"


class Process:
    """One process that we started, and whatever it started itself."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], ready: str) -> None:
        self.name = name
        self.command = list(command)
        self.log = folder / f"{name}.log"
        self._folder = folder
        self._environment = dict(environment)
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None
        self._log_began = 0

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} was not started"
        return self._process

    def start(self) -> Process:
        """Start it, or start it again under the same name; `wait_ready()` looks at what this start logged."""
        assert not self.alive, f"{self.name} runs already"
        if self._process is not None:
            caretaker.end(self._process)
        self._log_began = self.log.stat().st_size if self.log.exists() else 0
        self._process = caretaker.start(self.command, self.log, environment=self._environment, folder=self._folder)
        return self

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait_ready(self, within: float = 30.0) -> Process:
        """Wait until it says that it is ready."""
        self.wait_says(self._ready, within)
        return self

    def wait_says(self, text: str, within: float = 20.0) -> None:
        """Wait until its log, since its last start, holds this text."""

        def said() -> bool:
            found = text in self.said()
            assert found or self.alive, f"{self.name} ended with {self._started.returncode}:\n{self.tail()}"
            return found

        eventually(said, within=within, what=f"{self.name} says {text!r}", explain=self.tail)

    def said(self) -> str:
        """All that it has logged since its last start."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[self._log_began :].decode(errors="replace")

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.said().splitlines()[-lines:])

    def children(self) -> list[int]:
        """Its living direct children: on the prefork pool, those that execute tasks."""
        return sorted(pid for pid in caretaker.session_members(self.pid) if _parent(pid) == self.pid)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """A signal to this one process. Celery has the kernel kill the children of a killed worker."""
        os.kill(self.pid, how)
        if how is signal.SIGKILL:
            self._started.wait(30)

    def kill_all(self) -> None:
        """SIGKILL to it and everything it started: the machine is gone."""
        caretaker.kill_session(self.pid)
        self._started.wait(30)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """SIGSTOP for it and its children, SIGCONT afterwards: a machine that hung and came back."""
        members = caretaker.session_members(self.pid)
        for pid in members:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in members:
                os.kill(pid, signal.SIGCONT)

    def stop(self, within: float = 30.0) -> int:
        """SIGTERM, and its exit code."""
        self.kill(signal.SIGTERM)
        return self.wait_ended(within)

    def wait_ended(self, within: float = 30.0) -> int:
        try:
            return self._started.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {within:g} s:\n{self.tail()}") from None

    def close(self) -> None:
        if self._process is not None:
            caretaker.end(self._process)


class Fleet:
    """All processes of one test: they share an app, a database, a broker and a ledger of effects."""

    def __init__(
        self,
        folder: Path,
        *,
        app: str = "tests.acceptance.app",
        database_url: str,
        broker_url: str,
        environment: Mapping[str, str] | None = None,
        python: str | Path = sys.executable,
        path: Path = ROOT,
    ) -> None:
        self.folder = folder
        self.app = app
        self.python = str(python)
        self.database_url = database_url
        self.broker_url = broker_url
        self.effects = Effects(folder / "effects.jsonl")
        self.processes: list[Process] = []
        self._shell: Shell | None = None
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(path),
            "PYTHONUNBUFFERED": "1",
            "C_FORCE_ROOT": "1",
            "WFCELERY_DATABASE_URL": database_url,
            "WFCELERY_TEST_BROKER_URL": broker_url,
            "WFCELERY_TEST_EFFECTS": str(self.effects.path),
            **_run_ahead(),
            **(environment or {}),
        }

    # ---- the team's own process --------------------------------------------------------------------------------------

    @property
    def shell(self) -> Shell:
        """A process with the app imported, that starts runs and asks for them; made when first needed."""
        if self._shell is None:
            self._shell = Shell(self.python, self.app, self.folder, self.environment)
        return self._shell

    def ready(self, *processes: Process) -> Fleet:
        """Wait until these are, and the shell too."""
        self.shell("0")
        for process in processes:
            process.wait_ready()
        return self

    def start(self, bound: str, options: str = "") -> str:
        """Start a run of a bound workflow, spelled as in the app; its id."""
        return str(self.shell(f"start_workflow({bound}, {options}).id"))

    def result(self, run: str, within: float = 40.0) -> Any:
        """What a run came to. Raises `ShellError` where `Run.result()` raises."""
        return self.shell(f"get_run({run!r}).result(timeout={within})", within + 20)

    def status(self, run: str) -> str:
        return str(self.shell(f"get_run({run!r}).status()"))

    def ended(self, run: str, within: float = 40.0) -> str:
        """Wait until a run has ended, however; its status."""
        ends = ("succeeded", "failed", "cancelled", "timed_out")
        eventually(lambda: self.status(run) in ends, within=within, what=f"{run} has ended", explain=lambda: self.status(run))
        return self.status(run)

    def facts(self, run: str, kind: str | None = None) -> list[dict[str, Any]]:
        """Everything that happened to a run, in order."""
        found = self.shell(f"[dict(fact) for entry in get_run({run!r}).history() for fact in entry.facts]")
        return [fact for fact in found if kind is None or fact["fact"] == kind]

    # ---- its tables --------------------------------------------------------------------------------------------------

    def upgrade(self) -> Fleet:
        """Make the tables."""
        database = Database(self.database_url)
        migrations.upgrade(database)
        database.close()
        return self

    def faults(self) -> dict[str, Sequence[str]]:
        """Everything that `runs verify --all` would say against its runs."""
        database = Database(self.database_url)
        context = Context(database, Settings(database_url=self.database_url))
        try:
            return {verdict.run: verdict.problems for verdict in verifying.verify(context, None) if verdict.problems}
        finally:
            database.close()

    # ---- processes ---------------------------------------------------------------------------------------------------

    def worker(
        self,
        name: str = "worker",
        *,
        pool: Pool = "prefork",
        concurrency: int = 2,
        queues: str | None = None,
        options: Sequence[str] = ("--without-mingle",),
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """A stock `celery worker -E`, started; `wait_ready()` waits for it. Without mingle it is ready a second earlier."""
        command = ["worker", "-E", "-l", "info", "-P", pool, "-c", str(concurrency), "-n", f"{name}@%h", *options]
        if queues is not None:
            command += ["-Q", queues]
        return self.celery(name, *command, ready=" ready.", environment=environment)

    def database_worker(
        self,
        name: str = "worker",
        *,
        pool: Pool = "prefork",
        concurrency: int = 2,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """A worker whose only bell is the database; it needs no broker, not even to start."""
        quiet = ("--without-mingle", "--without-gossip", "--without-heartbeat")
        command = ["worker", "-l", "info", "-P", pool, "-c", str(concurrency), "-n", f"{name}@%h", *quiet]
        return self.celery(name, *command, ready=" ready.", environment={**(environment or {}), "WFCELERY_BELL": "database"})

    def beat(self, name: str = "beat", *, options: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Process:
        """A stock `celery beat` with a schedule file of its own, started."""
        schedule = str(self.folder / f"{name}-schedule")
        command = ["beat", "-l", "info", "-s", schedule, "--pidfile=", *options]
        return self.celery(name, *command, ready="beat: Starting...", environment=environment)

    def celery(self, name: str, *command: str, ready: str, environment: Mapping[str, str] | None = None) -> Process:
        """Any `celery -A app …` that stays."""
        return self.spawn(name, [self.python, "-m", "celery", "-A", self.app, *command], ready=ready, environment=environment)

    def wfcelery(self, name: str, *command: str, ready: str, environment: Mapping[str, str] | None = None) -> Process:
        """Any `wfcelery …` that stays, such as `wfcelery worker --bell database`."""
        return self.spawn(name, [self.python, "-c", COMMAND_LINE, *command], ready=ready, environment=environment)

    def spawn(self, name: str, command: Sequence[str], *, ready: str, environment: Mapping[str, str] | None = None) -> Process:
        assert all(process.name != name for process in self.processes), f"there is a {name} already; start() it again"
        process = Process(name, command, self.folder, {**self.environment, **(environment or {})}, ready)
        self.processes.append(process)
        return process.start()

    def run(self, *command: str, code: int | None = 0, within: float = 60.0, environment: Mapping[str, str] | None = None) -> str:
        """Run `wfcelery …` to its end and give what it printed; `code` is the exit code it must have."""
        arguments = [self.python, "-c", COMMAND_LINE, *command]
        return self._ended(f"wfcelery {' '.join(command)}", arguments, code, within, environment)

    def script(self, source: str, *, code: int | None = 0, within: float = 60.0, environment: Mapping[str, str] | None = None) -> str:
        """Run Python that sees all names of the app, as a shell of the team's would, and give what it printed."""
        whole = f"from {self.app} import *\n{source}"
        return self._ended("a script", [self.python, "-c", whole], code, within, environment)

    def query(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        """The rows of one statement on the fleet's database."""
        engine = sqlalchemy.create_engine(self.database_url, poolclass=sqlalchemy.NullPool)
        with engine.begin() as connection:
            result = connection.execute(sqlalchemy.text(statement), parameters)
            return [tuple(row) for row in result] if result.returns_rows else []

    def _ended(self, what: str, arguments: Sequence[str], code: int | None, within: float, environment: Mapping[str, str] | None) -> str:
        done = subprocess.run(
            list(arguments),
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        said = f"{what} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert code is None or done.returncode == code, said
        return done.stdout

    def logs(self, lines: int = 80) -> dict[str, str]:
        return {process.name: process.tail(lines) for process in self.processes}

    def close(self) -> None:
        """End every process of the test, newest first."""
        if self._shell is not None:
            self._shell.close()
        for process in reversed(self.processes):
            process.close()


def _run_ahead() -> dict[str, str]:
    """How far the workers run ahead: as they do by default, or as the one who runs the tests says (0: one message per attempt)."""
    return {"WFCELERY_RUN_AHEAD": os.environ["WFCELERY_TEST_RUN_AHEAD"]} if "WFCELERY_TEST_RUN_AHEAD" in os.environ else {}


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except OSError:
        return 0
