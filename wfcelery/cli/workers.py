"""`wfcelery workers`: who is there."""

from __future__ import annotations

import click

from wfcelery.cli import output
from wfcelery.cli.target import context


@click.group()
def workers() -> None:
    """The fleet."""


@workers.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("-q", "--quiet", is_flag=True, help="Names only.")
@click.pass_context
def list_(ctx: click.Context, as_json: bool, quiet: bool) -> None:
    """Every worker that has a row: whether its lease holds, its queues, what it executes now."""
    from wfcelery.service import fleet

    found = fleet.workers(context(ctx))
    if quiet:
        for worker in found:
            click.echo(worker.name)
    elif as_json:
        output.as_json(found)
    else:
        table = [worker.model_dump() | {"status": "alive" if worker.alive else "lost"} for worker in found]
        output.rows(table, ("name", "status", "queues", "executing", "tasks", "started", "lease_until", "process", "host", "build"))
