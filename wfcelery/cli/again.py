"""`wfcelery runs rerun | replay`: a run once more, as another run."""

from __future__ import annotations

import json
from collections.abc import Callable
from getpass import getuser
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from wfcelery.cli.json_text import read_json
from wfcelery.cli.target import context
from wfcelery.errors import NotFound

if TYPE_CHECKING:
    from wfcelery.service.context import Context
    from wfcelery.service.replaying import Again


def _edits(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of both."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object."),
        click.option("--by", help="Who asks for it, for the audit.  [who is logged in]"),
        click.option("--key", help="The key of the new run."),
        click.option("--set", "values", metavar="PATH=VALUE", multiple=True, help="Write a value, such as order.total=5, into its input."),
        click.option("--edit", metavar="JSON|@FILE|-", help="A JSON Patch of its input: a list of operations."),
        click.argument("run"),
    ):
        function = option(function)
    return function


@click.command()
@click.option("--from", "step", required=True, metavar="STEP", help="The first step that runs anew.")
@_edits
@click.pass_context
def rerun(ctx: click.Context, /, run: str, step: str, as_json: bool, **how: Any) -> None:
    """Run RUN once more from STEP on: what stands before it is taken over with its results. Prints the new run."""
    from wfcelery.service import replaying

    again, here = _again(**how), context(ctx)
    _say(replaying.rerun(here, _id(here, run), step, again), run, as_json)


@click.command()
@click.option("--same-version", is_flag=True, help="By its own definition, not by the newest one.")
@_edits
@click.pass_context
def replay(ctx: click.Context, /, run: str, same_version: bool, as_json: bool, **how: Any) -> None:
    """Run RUN once more from its beginning, with its input, perhaps edited. Prints the new run."""
    from wfcelery.service import replaying

    again, here = _again(**how), context(ctx)
    _say(replaying.replay(here, _id(here, run), again, same_version=same_version), run, as_json)


def _again(edit: str | None, values: tuple[str, ...], key: str | None, by: str | None) -> Again:
    from wfcelery.service.replaying import Again

    written: dict[str, Any] = {}
    for each in values:
        path, equals, text = each.partition("=")
        if not path or not equals:
            raise click.BadParameter("write it as path=value, such as order.total=5", param_hint="--set")
        try:
            written[path] = json.loads(text)
        except (ValueError, RecursionError):  # a text, as people type it
            written[path] = text
    return Again(() if edit is None else read_json(edit, "--edit"), written, key, by or getuser())


def _id(here: Context, run: str) -> UUID:
    from wfcelery.service import runs

    found = runs.find(here, run)
    if found is None:
        raise NotFound("run", run)
    return found.id


def _say(new: UUID, old: str, as_json: bool) -> None:
    click.echo(json.dumps({"id": str(new), "of": old}) if as_json else str(new))
