"""The command line: `wfcelery …`, and the same group as `celery -A app workflow …`.

Reading and operating verbs need the database's URL only, never the app's code. Exit codes: 0 done, 1 refused or
failed, 2 usage, 3 not found, 4 not allowed now, 5 the run ended without success, 6 time is up, 69 the database or
broker is away, 130 interrupted.
"""

from __future__ import annotations

import os
import sys

import click

from wfcelery.cli.lazy import Lazy, Target


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--database", metavar="URL", envvar="WFCELERY_DATABASE_URL", help="Where the tables are; else the app's own settings.")
@click.option("-A", "--app", metavar="MODULE", envvar="WFCELERY_APP", help="The Celery app, where a verb needs the app's code or settings.")
@click.version_option(package_name="wfcelery")
@click.pass_context
def group(ctx: click.Context, database: str | None, app: str | None) -> None:
    """Durable workflows for the Celery you already run."""
    ctx.obj = Target(database, app)


def main() -> None:
    """The `wfcelery` script."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    group(prog_name="wfcelery")
