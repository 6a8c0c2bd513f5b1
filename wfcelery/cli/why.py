"""`wfcelery runs why`: what a run waits for, and what helps."""

from __future__ import annotations

import click

from wfcelery.cli import output
from wfcelery.cli.target import context
from wfcelery.errors import NotFound


@click.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a cause.")
@click.pass_context
def why(ctx: click.Context, /, run: str, as_json: bool) -> None:
    """Why RUN stands where it stands: each cause as a sentence, with the command that helps."""
    from wfcelery.service import runs
    from wfcelery.service.explaining import explained

    here = context(ctx)
    found = runs.find(here, run)
    if found is None:
        raise NotFound("run", run)
    told = explained(here, found.id)
    if as_json:
        output.as_json(told.causes)
        return
    click.echo(f"{found.workflow} {found.id} is {found.status}")
    for cause, sentence in zip(told.causes, told.sentences, strict=True):
        child = "" if cause.run == str(found.id) else f"run {cause.run}: "
        click.echo(f"  {child}{sentence}")
        if cause.remedy is not None:
            click.echo(f"      {cause.remedy}")
