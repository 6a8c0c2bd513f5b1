"""`wfcelery runs move`: runs go on by another version of their workflow."""

from __future__ import annotations

from collections.abc import Iterator
from getpass import getuser
from typing import TYPE_CHECKING
from uuid import UUID

import click

from wfcelery.cli import output
from wfcelery.cli.target import context

if TYPE_CHECKING:
    from wfcelery.service.context import Context
    from wfcelery.service.views import MoveView


@click.command()
@click.argument("run", nargs=-1)
@click.option("--to", required=True, metavar="VERSION", help="A version of the workflow, or latest.")
@click.option("--all", "every", metavar="NAME[@VERSION]", help="Every run that goes by this and has not ended, in place of RUN.")
@click.option("--dry-run", is_flag=True, help="Only say what would become of the tasks, and what forbids it.")
@click.option("--by", help="Who asks for it, for the history and the audit.  [who is logged in]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def move(ctx: click.Context, /, run: tuple[str, ...], to: str, every: str | None, dry_run: bool, by: str | None, as_json: bool) -> None:
    """Let runs go on by another version: what is done stays done, what is not reached yet is the new version's.

    Exit code 1 where something forbids it for one of them; the others are moved.
    """
    if bool(run) == bool(every):
        raise click.UsageError("name runs, or say --all NAME@VERSION")
    refused = 0
    for view in _moves(context(ctx), run, to, every, dry_run, by or getuser()):
        refused += bool(view.problems)
        if as_json:
            output.as_json(view)
            continue
        said = "cannot be moved" if view.problems else "would be moved" if dry_run else "is asked to move"
        output.say(f"{view.run}: {said} to {view.to}")
        for line in view.problems or view.changes:
            click.echo(f"{view.run}\t{line}")
    if refused:
        ctx.exit(1)


def _moves(here: Context, runs: tuple[str, ...], to: str, every: str | None, dry_run: bool, by: str) -> Iterator[MoveView]:
    from wfcelery.service import moving, verifying

    if every is not None:
        yield from moving.move_all(here, every, to, by, dry_run=dry_run)
        return
    for one in runs:
        found: UUID = verifying.id_of(here, one)
        view = moving.rehearsed(here, found, to)
        if not view.problems and not dry_run:
            view = moving.move(here, found, to, by)
        yield view
