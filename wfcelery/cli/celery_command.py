"""`celery -A app workflow …` is `wfcelery -A app …`. Loaded by every call of `celery`, so it loads nothing else."""

from __future__ import annotations

import click
from celery.bin.base import handle_preload_options

from wfcelery.cli.lazy import Lazy, Target


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--database", metavar="URL", envvar="WFCELERY_DATABASE_URL", help="Where the tables are; else the app's own settings.")
@click.pass_context
@handle_preload_options
def workflow(ctx: click.Context, database: str | None) -> None:
    """Durable workflows: the commands of `wfcelery`, for this app."""
    app = ctx.obj.app
    ctx.obj = Target(database, app if getattr(app, "wfcelery", None) is not None else None)
