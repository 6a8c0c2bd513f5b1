"""`wfcelery db`: the tables."""

from __future__ import annotations

import json

import click

from wfcelery.cli import output
from wfcelery.cli.target import context
from wfcelery.store import migrations


@click.group()
def db() -> None:
    """The tables of wfcelery, prefixed `wf_`, in the app's own database."""


_json = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


@db.command()
@_json
@click.pass_context
def upgrade(ctx: click.Context, as_json: bool) -> None:
    """Create the tables, or bring them up to this release; does nothing where they are."""
    before, after = migrations.upgrade(context(ctx).database)
    if as_json:
        click.echo(json.dumps({"before": before, "after": after}))
    else:
        output.say(f"the tables are at {after}" + ("" if before == after else f", from {before or 'nothing'}"))


@db.command()
@_json
@click.pass_context
def check(ctx: click.Context, as_json: bool) -> None:
    """Exit code 1 where the tables are missing or not those of this release."""
    found, wanted = migrations.versions(context(ctx).database)
    if as_json:
        click.echo(json.dumps({"found": found, "wanted": wanted}))
    elif found == wanted:
        output.say(f"the tables are at {found}")
    else:
        output.say(f"the tables are at {found or 'nothing'}, this release wants {wanted}: run wfcelery db upgrade")
    if found != wanted:
        ctx.exit(1)
