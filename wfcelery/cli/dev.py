"""`wfcelery dev`: a supervisor, one worker, and a database file. All that workflows need on a desk."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from wfcelery.cli import output
from wfcelery.cli.supervisor import Child, worker_command, worker_environment
from wfcelery.cli.target import load_code, target
from wfcelery.errors import Misconfigured

FILE = "wfcelery.db"


@click.command()
@click.argument("module", required=False)
@click.option("-A", "--app", metavar="MODULE", help="The Celery app; a module with workflows and no app will do too.")
@click.option("-c", "--concurrency", default=8, show_default=True, type=click.IntRange(1, 256), help="Steps at a time.")
@click.option("-l", "--loglevel", default="INFO", show_default=True)
@click.pass_context
def dev(ctx: click.Context, module: str | None, app: str | None, concurrency: int, loglevel: str) -> None:
    """Run the workflows of MODULE until Ctrl-C: one worker, no broker, and SQLite in ./wfcelery.db unless told otherwise.

    Makes the tables or brings them up to date, and starts the worker again when it dies; what it was doing goes on.
    Any other process starts runs in the same database.
    """
    from wfcelery.store import migrations
    from wfcelery.store.database import Database

    given = target(ctx)
    name = module or app or given.app
    if name is None:
        raise click.UsageError("name the module with the workflows: wfcelery dev shop")
    if not isinstance(name, str):  # as `celery -A app workflow dev`
        name = f"{name.main}"
    url = given.database or f"sqlite:///{Path(FILE).absolute()}"
    migrations.upgrade(Database(url))
    _look_at(name)
    _introduce(name, url)
    supervise(name, url, concurrency, loglevel)


def supervise(name: str, url: str, concurrency: int, loglevel: str) -> None:
    """Until somebody interrupts it or asks it to end."""
    options = ["--every-queue", "-P", "threads", "-c", str(concurrency), "-l", loglevel, "-n", "dev@%h"]
    child = Child(
        worker_command(name, *options),
        worker_environment(url),
        died=lambda code: output.say(f"the worker ended with {code}; it is started again, and what it was doing goes on"),
    )
    enough = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: enough.set())
    child.start()
    output.say(f"worker {child.pid}")
    enough.wait()
    output.say("ending")
    child.stop()


def _look_at(name: str) -> None:
    """Import it here too: what is wrong with it is told now, once, and not by a worker that comes and goes."""
    from wfcelery.authoring.registry import registry

    load_code(name)
    if not list(registry.workflows()) and not list(registry.steps()):
        raise Misconfigured(f"{name} has no workflow and no step: import them there")


def _introduce(name: str, url: str) -> None:
    from wfcelery.authoring.registry import registry

    workflows = [workflow.name for workflow in registry.workflows()]
    output.say(f"{name}: {', '.join(workflows) or 'no workflow'}")
    output.say(f"tables  {url}")
    output.say(f"start   WFCELERY_DATABASE_URL={url} wfcelery -A {name} runs start {workflows[0] if workflows else 'WORKFLOW'} '{{…}}'")
    output.say("stop    Ctrl-C")
