"""What a chaos run starts: servers on ports and in folders of their own, workers, beats, the client. All of it ends with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import amqp
import sqlalchemy
from sqlalchemy import text

from tests.acceptance.processes import COMMAND_LINE, ROOT, Fleet, Process
from tests.servers import caretaker
from tests.servers.ports import free_port
from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import RabbitMQ, find_server
from tests.servers.valkey import Valkey

LEASE = 3.0
FAST = 3600.0  # seconds that a wrong clock is ahead
SETTINGS = {"WFCELERY_LEASE": str(LEASE), "WFCELERY_POLL": "0.5", "WFCELERY_RING_AGAIN": "2", "WFCELERY_IDLE_POLL": "1"}
BOOKINGS = "create table bookings (key text, run text, name text, item integer, attempt integer, token text)"
TABLES = "wfcelery/store/migrations/versions"
BACK = 10  # commits among which the previous release is looked for
QUIET = ("--without-mingle", "--without-gossip")


@dataclass
class Member:
    """A worker or a beat of the fleet: its process, and who may do something to it now."""

    process: Process
    role: str  # worker | beat | dev
    prefork: bool = False  # whether it has children that execute
    old: bool = False  # of the previous commit
    skewed: bool = False  # its clock is fast
    struck: bool = False  # ended by the nemesis: any other end is its own
    wanted: bool = True  # whether it shall run: a beat may be off for a while
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pids(self) -> set[int]:
        """Its processes: itself and everything it has started."""
        return {self.process.pid, *caretaker.session_members(self.process.pid)} if self.process.alive else set()


@dataclass(frozen=True, slots=True)
class Ended:
    """A member that nobody had killed, and that had ended all the same."""

    name: str
    code: int
    said: str  # since it was started

    @staticmethod
    def of(process: Process) -> Ended:
        return Ended(process.name, process.wait_ended(1), process.said())


@dataclass
class Stack:
    """Everything together. `start` first; `close` leaves nothing but the folder."""

    folder: Path
    setup: str  # production | embedded
    old: Path | None = None  # the tree of the previous commit, if half of the workers shall be of it
    postgres: Postgres | None = None
    valkey: Valkey | None = None
    rabbit: RabbitMQ | None = None
    members: list[Member] = field(default_factory=list)
    database: str = ""
    direct_url: str = ""
    fleet: Fleet = field(init=False)
    client: Process | None = None
    engine: sqlalchemy.Engine = field(init=False)
    database_lock: threading.Lock = field(default_factory=threading.Lock)
    valkey_lock: threading.Lock = field(default_factory=threading.Lock)
    rabbit_lock: threading.Lock = field(default_factory=threading.Lock)
    client_lock: threading.Lock = field(default_factory=threading.Lock)
    weather_lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def production(self) -> bool:
        return self.setup == "production"

    # ---- starting ------------------------------------------------------------------------------------------------------

    def start(self, seed: int) -> None:
        """Servers, tables, workers, beat and client; ready when it returns."""
        shutil.copy(Path(__file__).with_name("app.py"), self.folder / "chaos_app.py")
        for name, said in (("tempo", "0"), ("cutting", "0"), ("weather", "clear")):
            self.tell(name, said)
        url, broker = self._servers() if self.production else self._file()
        self.engine = sqlalchemy.create_engine(self.direct_url, poolclass=sqlalchemy.NullPool, connect_args=self._patience())
        path = os.pathsep.join([str(ROOT), str(self.folder)])
        environment = {**SETTINGS, "WFCELERY_CHAOS_FOLDER": str(self.folder), "PYTHONPATH": path}
        self.fleet = Fleet(self.folder, app="chaos_app", database_url=url, broker_url=broker, environment=environment)
        self.fleet.database_url = self.direct_url  # those who look go around the proxy
        self.fleet.upgrade()
        self.query(BOOKINGS)
        self._production() if self.production else self._embedded()
        self.client = self.fleet.spawn(
            "client", [sys.executable, "-m", "tests.chaos.client", str(self.folder), str(seed)], ready="the client is ready"
        )
        for process in self.fleet.processes:
            process.wait_ready(90)

    def _servers(self) -> tuple[str, str]:
        self.postgres = Postgres(max_connections="120").start()
        self.database = self.postgres.create_database()
        self.direct_url = self.postgres.url(self.database)
        self.valkey = Valkey().start()
        script = find_server()
        self.rabbit = RabbitMQ(script).start() if script is not None else None
        port = free_port()
        proxy = [sys.executable, "-m", "tests.chaos.proxy", str(port), str(self.postgres.port), str(self.folder)]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.proxy = Process("proxy", proxy, self.folder, environment, "the proxy is ready")
        self.proxy.start().wait_ready()
        options = "?sslmode=disable&gssencmode=disable"
        return f"postgresql+psycopg://postgres@127.0.0.1:{port}/{self.database}{options}", self.valkey.url()

    def _file(self) -> tuple[str, str]:
        self.direct_url = f"sqlite:///{self.folder / 'wfcelery.db'}"
        return self.direct_url, "memory://"

    def _patience(self) -> dict[str, Any]:
        return {"connect_timeout": 2} if self.production else {"timeout": 30}

    def _production(self) -> None:
        """Stock workers on both brokers, one on threads, one whose bell is the database; every other one of the previous commit."""
        rabbit = {"WFCELERY_TEST_BROKER_URL": self.rabbit.url()} if self.rabbit is not None else {}
        self._worker("one", {}, 2)
        self._worker("two", {**rabbit, **self._old()}, 2, old=self.old is not None)
        self._worker("threads", {"WFCELERY_CHAOS_CLOCK": str(FAST)}, 4, pool="threads")
        command = ["worker", "-A", "chaos_app", "--bell", "database", "-P", "prefork", "-c", "1", "-n", "bell@%h", "-l", "info"]
        bell = self.fleet.wfcelery("bell", *command, ready=" ready.", environment=self._old())
        self.members.append(Member(bell, "worker", prefork=True, old=self.old is not None))
        for number in (1, 2, 3):
            beat = self.fleet.beat(f"beat-{number}")
            self.members.append(Member(beat, "beat", wanted=number == 1))

    def _embedded(self) -> None:
        """`wfcelery dev`, and beside it a worker that shares the file."""
        dev = [sys.executable, "-c", COMMAND_LINE, "dev", "chaos_app", "-c", "4"]
        self.members.append(Member(self.fleet.spawn("dev", dev, ready=" ready."), "dev", prefork=True))
        command = ["worker", "-A", "chaos_app", "--bell", "database", "-P", "prefork", "-c", "2", "-n", "beside@%h", "-l", "info"]
        beside = self.fleet.wfcelery("beside", *command, ready=" ready.", environment=self._old())
        self.members.append(Member(beside, "worker", prefork=True, old=self.old is not None))

    def _worker(self, name: str, environment: Mapping[str, str], many: int, *, pool: Any = "prefork", old: bool = False) -> None:
        process = self.fleet.worker(name, pool=pool, concurrency=many, options=QUIET, environment=environment)
        self.members.append(Member(process, "worker", prefork=pool == "prefork", old=old, skewed=pool == "threads"))

    def _old(self) -> dict[str, str]:
        return {} if self.old is None else {"PYTHONPATH": os.pathsep.join([str(self.old), str(self.folder)])}

    # ---- while it runs -------------------------------------------------------------------------------------------------

    def tell(self, name: str, said: str) -> None:
        """Write a word for the client or the proxy, whole or not at all."""
        made = self.folder / f".{name}"
        made.write_text(said)
        os.replace(made, self.folder / name)

    def query(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        """The rows of one statement, past the proxy; raises while the database is away."""
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), parameters)
            return [tuple(row) for row in result] if result.returns_rows else []

    @contextmanager
    def rabbit_link(self) -> Iterator[amqp.Channel]:
        """A channel of the RabbitMQ node."""
        assert self.rabbit is not None
        with amqp.Connection(f"127.0.0.1:{self.rabbit.port}", userid="guest", password="guest", connect_timeout=2) as connection:
            yield connection.channel()

    def workers(self) -> Sequence[Member]:
        return [member for member in self.members if member.role != "beat"]

    def commits(self) -> dict[str, int]:
        """Commits that the proxy has seen, and cuts by their way."""
        return self._told("commits")

    def felt(self) -> Counter[str]:
        """How many messages and connections have felt each weather, as the proxy says."""
        return Counter(self._told("held"))

    def _told(self, name: str) -> dict[str, int]:
        place = self.folder / name
        found: dict[str, int] = json.loads(place.read_text()) if place.exists() else {}
        return found

    def revive(self) -> list[Ended]:
        """Start again whatever shall run and does not; what had ended by itself. What somebody holds is left alone."""
        by_themselves: list[Ended] = []
        for member in self.members:
            if member.wanted and member.lock.acquire(blocking=False):
                try:
                    if not member.process.alive:
                        by_themselves += [] if member.struck else [Ended.of(member.process)]
                        member.struck = False
                        member.process.start()
                finally:
                    member.lock.release()
        return by_themselves

    def close(self) -> None:
        """End everything, newest first."""
        with suppress(AttributeError):
            self.fleet.close()
        with suppress(AttributeError):
            self.proxy.close()
        for server in (self.rabbit, self.valkey, self.postgres):
            if server is not None:
                with suppress(Exception):
                    server.close()


def previous_commit(folder: Path) -> Path | None:
    """A tree of the last commit before this one's product, so that half of the workers can be of it; None where there is none.

    None too where its tables differ: workers of both commits refuse tables that are not theirs. A commit that cannot be
    imported is no release, and is passed over.
    """
    place = folder / "previous"
    for before in _git("rev-list", f"-{BACK}", "HEAD", "--", "wfcelery").splitlines()[1:]:
        if _git("rev-parse", f"{before}:{TABLES}") != _git("rev-parse", f"HEAD:{TABLES}"):
            return None
        packed = subprocess.run(["git", "-C", str(ROOT), "archive", "--format=tar", before, "wfcelery"], capture_output=True, check=False)
        if packed.returncode:
            return None
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        subprocess.run(["tar", "-x", "-C", str(place)], input=packed.stdout, check=True)
        if _can_begin(place):
            return place
    return None


def _can_begin(tree: Path) -> bool:
    command = [sys.executable, "-c", "import wfcelery.cli.worker, wfcelery.cli.celery_command"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tree)}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, check=False).returncode == 0


def commit() -> str:
    """The commit that the run is about, and whether the tree differs from it."""
    changed = _git("status", "--porcelain", "--", "wfcelery")
    return (_git("rev-parse", "HEAD") or "unknown") + (" with uncommitted changes" if changed else "")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False).stdout.strip()


def wait_until_it_answers(stack: Stack, within: float = 60.0) -> None:
    """Until the database answers those who look."""
    deadline = time.monotonic() + within
    while True:
        try:
            stack.query("select 1")
        except sqlalchemy.exc.SQLAlchemyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
