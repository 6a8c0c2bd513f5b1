"""`wfcelery db`: the tables."""

from __future__ import annotations

import json

import click

from wfcelery.cli import output
from wfcelery.cli.target import context
from wfcelery.definition.spans import seconds


@click.group()
def db() -> None:
    """The tables of wfcelery, prefixed `wf_`, in the app's own database."""


_json = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


@db.command()
@_json
@click.pass_context
def upgrade(ctx: click.Context, as_json: bool) -> None:
    """Create the tables, or bring them up to this release; does nothing where they are."""
    from wfcelery.store import migrations

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
    from wfcelery.store import migrations

    found, wanted = migrations.versions(context(ctx).database)
    if as_json:
        click.echo(json.dumps({"found": found, "wanted": wanted}))
    elif found == wanted:
        output.say(f"the tables are at {found}")
    else:
        output.say(f"the tables are at {found or 'nothing'}, this release wants {wanted}: run wfcelery db upgrade")
    if found != wanted:
        ctx.exit(1)


@db.command()
@click.option("--older-than", metavar="SPAN", help="Runs that ended longer ago than this, such as 30d; else the setting `retention`.")
@_json
@click.pass_context
def expire(ctx: click.Context, older_than: str | None, as_json: bool) -> None:
    """Delete the runs that ended long ago, with everything of them, and the keys of `once` that have expired.

    Beat asks the workers for it each minute; this is for fleets without a beat, and for operators. A run with an open
    dead letter stays until that is retried or purged.
    """
    from wfcelery.service import expiring

    here = context(ctx)
    kept_for = None if older_than is None else seconds(older_than)
    if kept_for == 0:
        raise click.BadParameter("it is longer than nothing", param_hint="--older-than")
    gone = expiring.expire(here, kept_for)
    if as_json:
        click.echo(json.dumps({"runs": gone.runs, "keys": gone.keys}))
    elif kept_for is None and not here.settings.retention:
        output.say(f"runs are kept for ever: retention is 0; {gone.keys} expired keys deleted")
    else:
        output.say(f"deleted: {gone.runs} runs, {gone.keys} expired keys")
