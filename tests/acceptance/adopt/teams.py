"""Two teams and their projects: made in a folder of their own, with wfcelery installed from its wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import redis
from sqlalchemy.engine import make_url

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import ROOT, Fleet, Process
from tests.servers.ports import free_port

FILES = Path(__file__).parent

# The three lines.
IMPORT = "import wfcelery\n"
INSTALL = 'wfcelery.install(app)\napp.autodiscover_tasks(related_name="workflows")\n'


def build_wheel(folder: Path) -> Path:
    """The wheel that would be uploaded."""
    _done([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)], folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def make_environment(folder: Path, wheel: Path) -> Path:
    """A virtual environment's python: wfcelery is that of the wheel, all else what these tests have."""
    _done([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder.parent)
    python = folder / "bin" / "python"
    own = Path(_done([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip())
    (own / "the-tests-packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", str(python)]
    _done([*pip, "install", "--no-deps", "--no-index", "--ignore-installed", str(wheel)], folder)
    return python


@dataclass(frozen=True, slots=True)
class Team:
    """A project in its folder: its processes, its commands, its web server."""

    fleet: Fleet
    web: Web

    def wfcelery(self, *command: str, code: int = 0, environment: Mapping[str, str] | None = None) -> str:
        """The `wfcelery` script of the wheel, in the project's folder; what it printed."""
        return run_in(self.fleet, str(Path(self.fleet.python).parent / "wfcelery"), *command, code=code, environment=environment)

    def script(self, source: str, environment: Mapping[str, str] | None = None) -> str:
        """What a script of the team's prints."""
        return run_in(self.fleet, self.fleet.python, "-c", source, environment=environment)

    def find(self, name: str) -> Process | None:
        """A process of the team's, whether it lives or not."""
        return next((process for process in self.fleet.processes if process.name == name), None)

    def stop(self, name: str) -> None:
        """Have no such process run."""
        process = self.find(name)
        if process is not None and process.alive:
            process.kill_all()

    def ledger(self, what: str, **more: object) -> list[dict[str, Any]]:
        """What was done to the world, in its order."""
        return [line for line in self._lines() if {"what": what, **more}.items() <= line.items()]

    def ledger_of(self, order: int) -> list[dict[str, Any]]:
        """What was done for one order, in its order."""
        return [line for line in self._lines() if line.get("order") == order]

    def _lines(self) -> list[dict[str, Any]]:
        path = Path(self.fleet.environment["SHOP_LEDGER"])
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def ended(self, run: str, within: float = 20.0) -> str:
        """The status that a run has ended with."""
        look = "select status from wf_run where id = cast(:run as uuid) and ended_at is not null"
        found = eventually(lambda: self.fleet.query(look, run=run), within=within, what=f"run {run} ends", explain=lambda: self.told(run))
        return str(found[0][0])

    def all_ended(self, within: float = 40.0) -> None:
        """Wait for the runs that earlier tests have left open."""
        look = "select count(*) from wf_run where ended_at is null"
        eventually(lambda: self.fleet.query(look)[0][0] == 0, within=within, what="every run ends")

    def orders(self, customer: str) -> list[str]:
        """The rows of the shop's own table."""
        found = self.fleet.query("select customer from shop_order where customer like :who order by customer", who=f"{customer}%")
        return [row[0] for row in found]

    def runs_for(self, customer: str) -> list[str]:
        """The runs that were started for a customer, oldest first."""
        found = self.fleet.query("select cast(id as text) from wf_run where input like :who order by id", who=f"%{customer}%")
        return [row[0] for row in found]

    def messages(self) -> int:
        """How many messages wait for a worker."""
        with redis.Redis.from_url(self.fleet.broker_url) as broker:
            return int(broker.llen("celery"))

    def forget_messages(self) -> None:
        """Empty the broker."""
        with redis.Redis.from_url(self.fleet.broker_url) as broker:
            broker.flushdb()

    def told(self, run: str) -> str:
        """What the command line tells of a run."""
        return self.wfcelery("runs", "show", run)


def make_django_project(fleet: Fleet) -> None:
    """`django-admin startproject`, an app, and what the team has written, before it knows of wfcelery."""
    folder = fleet.folder
    run_in(fleet, fleet.python, "-m", "django", "startproject", "proj", ".", environment={"DJANGO_SETTINGS_MODULE": ""})
    run_in(fleet, fleet.python, "-m", "django", "startapp", "shop", environment={"DJANGO_SETTINGS_MODULE": ""})
    with (folder / "proj" / "settings.py").open("a") as settings:
        settings.write((FILES / "django_shop" / "settings_tail.py").read_text())
    shutil.copy(FILES / "django_shop" / "celery.py", folder / "proj" / "celery.py")
    (folder / "proj" / "__init__.py").write_text('from .celery import app as celery_app\n\n__all__ = ("celery_app",)\n')
    for name in ("models", "tasks", "workflows", "views", "urls"):
        shutil.copy(FILES / "django_shop" / f"{name}.py", folder / "shop" / f"{name}.py")
    fleet.environment.update(
        {
            "DJANGO_SETTINGS_MODULE": "proj.settings",
            "SHOP_DATABASE": json.dumps(as_django_spells_it(fleet.database_url)),
            "SHOP_BROKER": fleet.broker_url,
            "SHOP_LEDGER": str(folder / "ledger.jsonl"),
        }
    )


def make_flask_project(fleet: Fleet) -> None:
    """One file, and its own tables."""
    shutil.copy(FILES / "flask_shop" / "storefront.py", fleet.folder)
    ledger = str(fleet.folder / "ledger.jsonl")
    fleet.environment.update({"SHOP_DATABASE": fleet.database_url, "SHOP_BROKER": fleet.broker_url, "SHOP_LEDGER": ledger})
    run_in(fleet, fleet.python, "-c", "import storefront; storefront.app.app_context().push(); storefront.db.create_all()")


def migrate(fleet: Fleet) -> None:
    """The project's own tables."""
    both = "import django; django.setup(); from django.core.management import call_command as call; call('makemigrations'); call('migrate')"
    run_in(fleet, fleet.python, "-c", both)


def add_three_lines(celery: Path) -> None:
    """What a team does to adopt wfcelery."""
    before = "from celery import Celery\n"
    source = celery.read_text()
    assert before in source
    celery.write_text(source.replace(before, before + "\n" + IMPORT, 1) + INSTALL)


def as_django_spells_it(url: str) -> dict[str, object]:
    """A database as it stands in `DATABASES`, its ENGINE left out."""
    read = make_url(url)
    named = {"NAME": read.database, "HOST": read.host or read.query.get("host"), "PORT": read.port, "USER": read.username}
    return {name: value for name, value in {**named, "PASSWORD": read.password}.items() if value}


class Web:
    """A web server process of a team's, and requests to it."""

    def __init__(self, fleet: Fleet, name: str, *command: str, ready: str, environment: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        arguments = [part.format(port=self.port) for part in command]
        self.process: Process = fleet.spawn(name, [fleet.python, *arguments], ready=ready, environment=environment)

    def get(self, path: str, **query: object) -> Any:
        """The answer to a request, read as JSON."""
        status, body = self.request(path, **query)
        assert status == 200, f"{status} for {path}: {body[:500]}\n{self.process.tail()}"
        return json.loads(body)

    def request(self, path: str, **query: object) -> tuple[int, str]:
        """The status and the body of an answer."""
        url = f"http://127.0.0.1:{self.port}/{path}?{urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()


def run_in(fleet: Fleet, *command: str, code: int = 0, environment: Mapping[str, str] | None = None) -> str:
    """Run a command of the team's to its end, and give what it printed."""
    return _done(list(command), fleet.folder, {**fleet.environment, **(environment or {})}, code)


def _done(command: list[str], folder: Path, environment: Mapping[str, str] | None = None, code: int = 0) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**(environment or os.environ)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
