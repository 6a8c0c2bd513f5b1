"""`wfcelery doctor`: what is wrong with the set-up and the fleet, and what helps."""

from __future__ import annotations

import click

from wfcelery.cli import output
from wfcelery.cli.target import load_app, load_code, target


@click.command()
@click.option("-A", "--app", metavar="MODULE", help="The Celery app: its broker, routes and workflows are examined too.")
@click.option("--adopt", is_flag=True, help="Name what adopted tasks declare that has no effect in a workflow; needs the app.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def doctor(ctx: click.Context, app: str | None, adopt: bool, as_json: bool) -> None:
    """Examine the tables, the workers, their queues and tasks, and whether anybody sweeps. Exit code 1 for errors."""
    from wfcelery.cli import examination

    given = target(ctx)
    given.app = app or given.app
    if adopt and given.app is None:
        raise click.UsageError("--adopt looks at the app's tasks: name it with -A")
    celery_app = None if given.app is None else load_app(load_code(given.app))
    findings = list(examination.adopted(celery_app) if adopt else examination.findings(ctx, celery_app))
    if as_json:
        output.as_json(findings)
    else:
        examination.show(findings)
    if any(finding.level == "error" for finding in findings):
        ctx.exit(1)
