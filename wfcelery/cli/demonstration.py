"""What `wfcelery demo` does: a report on real data, with the worker killed in the middle, and the figures checked."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import random
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import Any

import click
from rich.live import Live

import wfcelery
from wfcelery.cli import output
from wfcelery.cli.servers import servers
from wfcelery.cli.supervisor import Child, path, worker_command, worker_environment
from wfcelery.cli.trees import tree_of
from wfcelery.clock import monotonic
from wfcelery.core.states import RUN_ENDED
from wfcelery.errors import Misconfigured, StillRunning
from wfcelery.service import fleet, runs, verifying
from wfcelery.service.context import Context, configure, current
from wfcelery.service.starting import start_workflow
from wfcelery.service.views import RunView, StepView
from wfcelery.settings import Settings
from wfcelery.store import migrations
from wfcelery.store.database import Database

ROOT = Path(wfcelery.__file__).resolve().parents[1]
LONGEST = 120.0  # seconds for the whole run
LINKS = 3.5  # of the report's five steps in a row: by then one is surely still to come


def play(seed: int, size: int, pace: float, production: bool, folder: Path, as_json: bool) -> bool:
    """Tell the story, or with `as_json` its end alone; whether a step was interrupted and ran again, and every figure is right."""
    report, check = _workflow()
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tell = Tell(as_json)
    with (_production if production else _embedded)(folder, tell) as workers:
        tell(f"supervisor {os.getpid()}, " + ", ".join(f"{name} {child.pid}" for name, child in workers.items()))
        run = start_workflow(report.airport_report.bind(seed=seed, size=size, pace=pace))
        story = Story(run.id, random.Random().uniform(0.2, LINKS) * pace, tell)  # noqa: S311 - a moment, no secret
        story.follow()
        found = run.result(timeout=10)
        wrong = [*story.wrong(), *_compare(found, check.right_figures(seed, size))]
        wrong += [problem for verdict in verifying.verify(current(), [run.id]) for problem in verdict.problems]
    written = _write(folder, found)
    _close(tell, story, found, written, wrong)
    return not wrong


@dataclass(slots=True)
class Tell:
    """The story for people; nothing of it where a program reads."""

    silent: bool

    def __call__(self, text: str) -> None:
        if not self.silent:
            click.echo(text)


@dataclass(slots=True)
class Story:
    """One run, followed to its end, with a SIGKILL to the worker that executes a step of it."""

    run: str
    after: float  # seconds from the first claim to the kill
    tell: Tell
    killed: int | None = None
    interrupted: Sequence[StepView] = ()
    ended: RunView | None = None
    _began: float | None = None
    _seen: set[tuple[str, int | None]] = field(default_factory=set)

    def follow(self) -> None:
        """Until the run has ended. Raises StillRunning after two minutes."""
        end = monotonic() + LONGEST
        live = None if self.tell.silent or not sys.stdout.isatty() else Live(console=output.console(), refresh_per_second=10)
        with live or ExitStack():
            while True:
                view = runs.shown(current(), self.run)
                if live is not None:
                    live.update(tree_of(view, False))
                else:
                    self._tell_ends(view)
                if view.status in RUN_ENDED:
                    self.ended = view
                    return
                if monotonic() > end:
                    raise StillRunning(view.id, view.status)
                self._perhaps_kill(view)
                sleep(0.05)

    def wrong(self) -> Iterator[str]:
        """What did not go as promised, read from the rows."""
        assert self.ended is not None
        if self.ended.status != "succeeded":
            yield f"the run is {self.ended.status}"
        if self.killed is None:
            yield "the run ended before its worker was killed"
        again = {step.id for step in self.again()}
        yield from (f"{_named(step)} was interrupted and did not run again" for step in self.interrupted if step.id not in again)

    def again(self) -> list[StepView]:
        """The rows of `wf_step` with a second attempt."""
        return [] if self.ended is None else [step for step in self.ended.steps if step.attempt > 1]

    def _perhaps_kill(self, view: RunView) -> None:
        now, busy = monotonic(), [step for step in view.steps if step.status == "running"]
        if self.interrupted or not busy:
            return
        self._began = self._began or now
        if now - self._began < self.after:
            return
        victim = busy[0].worker
        pid = next((int(worker.process.partition(":")[0]) for worker in fleet.workers(current()) if worker.id == victim), None)
        if pid is None:
            return
        os.kill(pid, signal.SIGKILL)
        self.killed = pid
        sleep(0.2)  # what it had sent to be committed may still land
        left = [step for step in runs.shown(current(), self.run).steps if step.status == "running" and step.worker == victim]
        self.interrupted = left
        self.tell(f"SIGKILL to {pid} after {now - self._began:.1f} s, while it ran {', '.join(map(_named, left)) or 'nothing'}")

    def _tell_ends(self, view: RunView) -> None:
        for step in view.steps:
            if step.ended is not None and (step.name, step.item) not in self._seen:
                self._seen.add((step.name, step.item))
                self.tell(f"  {step.status}  {_named(step)}" + (f", attempt {step.attempt}" if step.attempt > 1 else ""))


@contextmanager
def _embedded(folder: Path, tell: Tell) -> Iterator[Mapping[str, Child]]:
    """SQLite, and one worker child without a broker."""
    file = (folder / "demo.db").absolute()
    for part in ("", "-wal", "-shm"):
        Path(f"{file}{part}").unlink(missing_ok=True)
    url = f"sqlite:///{file}"
    tell(f"embedded: SQLite in {file}, no broker")
    options = ["-P", "threads", "-c", "4", "-l", "INFO", "-n", "demo@%h"]
    child = Child(worker_command("tasks.report", *options), worker_environment(url, ROOT), folder / "worker.log")
    with _running(url, {"worker": child}, tell):
        configure(lambda: Context(Database(url), Settings.read(database_url=url), rings=False))
        _wait_for(1)
        yield {"worker": child}


@contextmanager
def _production(folder: Path, tell: Tell) -> Iterator[Mapping[str, Child]]:
    """PostgreSQL, a broker, two stock workers and a beat."""
    with servers() as found:
        tell(f"production: {found.database_url}, {found.broker_url}")
        environment = {"WFCELERY_DATABASE_URL": found.database_url, "BROKER_URL": found.broker_url, "PYTHONPATH": path(ROOT)}
        os.environ.update(environment)
        celery = [sys.executable, "-m", "celery", "-A", "tasks.app"]
        children = {
            name: Child([*celery, "worker", "-l", "INFO", "-c", "2", "-n", f"{name}@%h"], environment, folder / f"{name}.log")
            for name in ("worker1", "worker2")
        }
        schedule = str(folder.absolute() / "beat-schedule")
        children["beat"] = Child([*celery, "beat", "-l", "INFO", "-s", schedule, "--pidfile="], environment, folder / "beat.log")
        with _running(found.database_url, children, tell):
            importlib.import_module("tasks.app")
            _wait_for(2)
            yield children


@contextmanager
def _running(url: str, children: Mapping[str, Child], tell: Tell) -> Iterator[None]:
    database = Database(url)
    migrations.upgrade(database)
    database.close()
    with ExitStack() as ends:
        for name, child in children.items():
            child.died = lambda code, name=name, child=child: tell(f"{name} {child.pid} ended with {code}; the supervisor starts another")  # type: ignore[misc]
            ends.callback(child.stop)
            child.start()
        yield
        for child in children.values():
            child.ask()


def _wait_for(many: int) -> None:
    end = monotonic() + 60
    while len(fleet.workers(current())) < many:
        if monotonic() > end:
            raise Misconfigured("the worker did not start; its log is in the output folder")
        sleep(0.05)


def _workflow() -> tuple[Any, Any]:
    """The workflow, and the direct computation of its figures."""
    if importlib.util.find_spec("tasks.report") is None if _finds_tasks() else True:
        raise Misconfigured("the demo's workflow is not part of the package: run make demo in a clone of the repository")
    if importlib.util.find_spec("airportsdata") is None:
        raise Misconfigured("the demo's data is not installed: pip install 'wfcelery[demo]'")
    return importlib.import_module("tasks.report"), importlib.import_module("tasks.report_check")


def _finds_tasks() -> bool:
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.util.find_spec("tasks") is not None


def _compare(found: Any, right: Mapping[str, Any]) -> Iterator[str]:
    if found.airports != right["airports"]:
        yield f"the report counts {found.airports} airports, and there are {right['airports']}"
    if found.left_out != right["left_out"]:
        yield f"the report leaves out {found.left_out} instead of {right['left_out']}"
    figures = [figure.model_dump(exclude={"places"}) for figure in found.figures]
    if figures != right["figures"]:
        yield "the report's figures are not those of the direct computation"


def _write(folder: Path, found: Any) -> list[str]:
    files = {"airports.svg": found.picture, "airports.md": f"# {found.title}\n\n{found.table}\n"}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [str(folder / name) for name in files]


def _close(tell: Tell, story: Story, found: Any, written: Sequence[str], wrong: Sequence[str]) -> None:
    again = [{"step": _named(step), "attempt": step.attempt} for step in story.again()]
    if tell.silent:
        interrupted = [_named(step) for step in story.interrupted]
        said = {"run": story.run, "supervisor": os.getpid(), "killed": story.killed, "interrupted": interrupted, "again": again}
        click.echo(json.dumps({**said, "airports": found.airports, "files": written, "wrong": list(wrong)}))
        return
    for step in story.again():
        tell(f"wf_step says: {_named(step)}, attempt {step.attempt}, {step.status}")
    tell(f"\n{found.title}: {found.airports:,} airports\n\n{found.table}\n")
    tell(f"written: {', '.join(written)}")
    tell("every figure is that of a direct computation, and the history folds to the rows" if not wrong else "\n".join(["WRONG:", *wrong]))


def _named(step: StepView) -> str:
    return step.name if step.item is None else f"{step.name}[{step.item}]"
