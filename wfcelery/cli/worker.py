"""`wfcelery worker`: a worker that runs nothing but workflows, with or without a broker."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import click

from wfcelery.cli.target import context, find_app, target

if TYPE_CHECKING:
    from wfcelery.worker.launch import Bell


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option("-A", "--app", metavar="MODULE", help="The Celery app, or with --bell database any module with workflows.")
@click.option(
    "--bell",
    type=click.Choice(["broker", "database"]),
    help="database: no broker is needed; the worker finds in the database what is ready on its queues.",
)
@click.option("--every-queue", is_flag=True, help="Serve each queue that a workflow, a step or the app names.")
@click.argument("celery_options", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF CELERY WORKER]")
@click.pass_context
def worker(ctx: click.Context, /, app: str | None, bell: str | None, every_queue: bool, celery_options: tuple[str, ...]) -> None:
    """Run a worker with settings made for workflows; every option of `celery worker` may follow.

    Its settings are for this process alone, and what the app sets itself comes first. A stock `celery worker` of the
    same app carries workflows too.
    """
    from wfcelery.service import fleet
    from wfcelery.worker.bell import is_database
    from wfcelery.worker.launch import Launch, choose_bell, start_worker

    given = target(ctx)
    given.app = app or given.app
    if given.app is None:
        raise click.UsageError("name the Celery app: wfcelery worker -A MODULE")
    chosen = cast("Bell", bell or ("database" if is_database() else "broker"))
    choose_bell(chosen)
    given.app = celery_app = installed(given.app)
    queues: Sequence[str] = ()
    if every_queue:
        here = celery_app.wfcelery
        queues = fleet.every_queue(context(ctx), here.router.queue_for, here.default_queues())
    start_worker(celery_app, Launch(bell=chosen, queues=queues, more=celery_options))


def installed(where: Any) -> Any:
    """The app of `-A` with wfcelery on it; for a module without one, an app made for it."""
    from wfcelery.integrations.installing import install
    from wfcelery.worker.launch import bare_app

    found = find_app(where)
    if isinstance(found, ModuleType):
        found = bare_app([found.__name__])
    install(found)
    return found
