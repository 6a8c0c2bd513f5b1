"""`wfcelery definitions`: check, publish, list, show."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wfcelery.cli import output
from wfcelery.cli.target import context, load_code, target
from wfcelery.errors import DefinitionProblems, Misconfigured

if TYPE_CHECKING:
    from wfcelery.definition.model import Definition

_json = click.option("--json", "as_json", is_flag=True, help="One JSON object, or one a line.")


@click.group()
def definitions() -> None:
    """What runs go by."""


@definitions.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@_json
@click.pass_context
def check(ctx: click.Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Tell everything wrong with YAML FILES and with the workflows of the app (-A); writes nothing."""
    from wfcelery.service import definitions as service

    where = target(ctx).app
    found: list[Definition] = []
    wrong: list[str] = []
    try:
        found = service.read_files(files) if files else []
    except DefinitionProblems as problems:
        wrong = [str(problem) for problem in problems.problems]
    if where is not None:
        load_code(where)
        try:
            here = context(ctx)
        except Misconfigured:
            here = None
        wrong += service.check_code(here)
    elif not files:
        raise click.UsageError("name files, or the app with -A")
    if as_json:
        click.echo(json.dumps({"definitions": len(found), "problems": wrong}))
    else:
        for line in wrong or [f"{len(found)} definitions, no problems" if files else "no problems"]:
            output.say(line)
    if wrong:
        ctx.exit(1)


@definitions.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@_json
@click.pass_context
def publish(ctx: click.Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Store the definitions of YAML FILES and put their schedules in place, or nothing where one has a problem."""
    from wfcelery.service import publishing as service

    for file in service.publish(context(ctx), files):
        published = file.definition
        if as_json:
            click.echo(json.dumps(asdict(published) | {"schedules": list(file.schedules)}))
            continue
        for name in file.schedules:
            output.say(f"schedule {name} put in place")
        state = "new" if published.new else "unchanged"
        click.echo(f"{published.name}\t{published.version}\trevision {published.revision}\t{state}\t{published.signature[:12]}")


@definitions.command("list")
@_json
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """Every stored definition, newest first."""
    from wfcelery.service import definitions as service

    found = service.listed(context(ctx))
    columns = ("name", "version", "revision", "status", "stored_at", "signature")
    table = [{column: getattr(row, column) for column in columns} for row in found]
    if as_json:
        for row in table:
            click.echo(json.dumps(row, default=str))
    else:
        output.rows(table, columns)


@definitions.command()
@click.argument("name")
@_json
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """The newest definition of NAME, or the one of a signature, as canonical JSON; with --json on one line."""
    from wfcelery.service import definitions as service

    click.echo(json.dumps(json.loads(service.shown(context(ctx), name).body), indent=None if as_json else 2))
