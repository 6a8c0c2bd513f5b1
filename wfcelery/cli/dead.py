"""`wfcelery dead`: the steps that will not be tried again by themselves."""

from __future__ import annotations

import json
from typing import Any

import click

from wfcelery.cli import bulk, output
from wfcelery.cli.target import context

_json = click.option("--json", "as_json", is_flag=True, help="One JSON object, or one a line.")


@click.group()
def dead() -> None:
    """Dead letters: exhausted and non-retryable steps."""


@dead.command("list")
@click.option("--status", default="open", show_default=True, type=click.Choice(["open", "handled", "retried", "all"]))
@click.option("--workflow")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("-q", "--quiet", is_flag=True, help="Ids only.")
@_json
@click.pass_context
def list_(ctx: click.Context, /, quiet: bool, as_json: bool, **filters: Any) -> None:
    """The newest dead letters."""
    from wfcelery.service import dead_letters as service

    found = service.listed(context(ctx), **filters)
    if quiet:
        for letter in found:
            click.echo(letter.id)
    elif as_json:
        output.as_json(found)
    else:
        output.rows(
            [letter.model_dump() | {"error": letter.error and f"{letter.error.type}: {letter.error.message}"} for letter in found],
            ("id", "run", "workflow", "step", "item", "status", "reason", "attempts", "created", "error"),
        )


@dead.command()
@click.argument("letter")
@_json
@click.pass_context
def show(ctx: click.Context, /, letter: str, as_json: bool) -> None:
    """One dead letter."""
    from wfcelery.service import dead_letters as service

    found = service.shown(context(ctx), letter)
    if as_json:
        output.as_json(found)
    else:
        for name, value in found.model_dump().items():
            click.echo(f"{name}\t{json.dumps(value, default=str) if isinstance(value, dict) else value if value is not None else ''}")


@dead.command()
@click.argument("letter", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every open dead letter.")
@click.option("--workflow", help="With --all: only those of this workflow.")
@bulk.where
@bulk.yes
@click.option("--by", help="Who asks for it, for the history.")
@_json
@click.pass_context
def retry(
    ctx: click.Context,
    /,
    letter: tuple[str, ...],
    everything: bool,
    workflow: str | None,
    where: str | None,
    yes: bool,
    by: str | None,
    as_json: bool,
) -> None:
    """Give steps another episode, with new budgets; a run that failed because of one goes on."""
    from wfcelery.service import dead_letters as service

    if where is not None and not everything:
        from wfcelery.service.bulk import of_letters

        bulk.one_or_many(letter, where, yes)
        bulk.told(of_letters(context(ctx), where, by=by, yes=yes), as_json)
        return
    if (not letter and not everything) or where is not None or yes:
        raise click.UsageError("name a dead letter, or say --all, or --where QUERY, one of them")
    count = service.retry(context(ctx), None if everything else letter, workflow=workflow, by=by)
    if as_json:
        click.echo(json.dumps({"to_be_retried": count}))
    else:
        output.say(f"{count} to be retried")


@dead.command()
@click.argument("letter", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every dead letter that is not retried.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json
@click.pass_context
def purge(ctx: click.Context, /, letter: tuple[str, ...], everything: bool, yes: bool, as_json: bool) -> None:
    """Delete dead letters; their runs stay as they are."""
    from wfcelery.service import dead_letters as service

    if not letter and not everything:
        raise click.UsageError("name a dead letter, or say --all")
    if not yes:
        click.confirm("Delete them for good?", abort=True, err=True)
    count = service.purge(context(ctx), None if everything else letter)
    if as_json:
        click.echo(json.dumps({"purged": count}))
    else:
        output.say(f"{count} purged")
