"""`wfcelery runs skip | complete`: what people decide about a step that its code did not."""

from __future__ import annotations

import json
from getpass import getuser

import click

from wfcelery.cli import output
from wfcelery.cli.json_text import read_json
from wfcelery.cli.target import context
from wfcelery.errors import NotFound

_run = click.argument("run")
_step = click.argument("step")
_reason = click.option("--reason", help="Why, for the history and the audit.")
_by = click.option("--by", help="Who asks for it, for the history and the audit.  [who is logged in]")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


@click.command()
@_run
@_step
@_reason
@_by
@_json
@click.pass_context
def skip(ctx: click.Context, /, run: str, step: str, reason: str | None, by: str | None, as_json: bool) -> None:
    """Skip STEP of RUN: what comes after it goes on as behind a `when` that was false. A run that failed by it goes on."""
    from wfcelery.service import by_hand, runs

    here = context(ctx)
    found = runs.find(here, run)
    if found is None:
        raise NotFound("run", run)
    by_hand.skip(here, found.id, step, reason, by or getuser())
    _say(str(found.id), step, "skip", as_json)


@click.command()
@_run
@_step
@click.option("--result", "result", default="null", metavar="JSON|@FILE|-", help="What the step is worth.  [null]")
@_reason
@_by
@_json
@click.pass_context
def complete(ctx: click.Context, /, run: str, step: str, result: str, reason: str | None, by: str | None, as_json: bool) -> None:
    """Let STEP of RUN be worth a result, as if its code had returned it. A run that failed by it goes on."""
    from wfcelery.service import by_hand, runs

    value = read_json(result, "--result")
    here = context(ctx)
    found = runs.find(here, run)
    if found is None:
        raise NotFound("run", run)
    by_hand.complete(here, found.id, step, value, reason, by or getuser())
    _say(str(found.id), step, "complete", as_json)


def _say(run: str, step: str, verb: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"id": run, "step": step, "asked": verb}))
    else:
        output.say(f"{run}: {verb} of {step} asked for")
