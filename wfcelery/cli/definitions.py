"""`wfcelery definitions`: check, publish, archive, unarchive, list, show, diff, graph."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wfcelery.cli import output
from wfcelery.cli.target import context, find_app, load_code, target
from wfcelery.errors import DefinitionProblems, Misconfigured

if TYPE_CHECKING:
    from wfcelery.definition.model import Definition
    from wfcelery.store.definitions import StoredDefinition

COLUMNS = ("name", "version", "revision", "status", "stored_at", "signature")
_by = click.option("--by", help="Who asks for it, for the audit.  [who is logged in]")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object, or one a line.")


@click.group()
def definitions() -> None:
    """What runs go by."""


@definitions.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@_json
@click.pass_context
def check(ctx: click.Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Tell everything wrong with YAML FILES and with the workflows of the app (-A); writes nothing.

    With a database, also each task that runs under way have still to call and that the app's code does not know any
    more, or cannot be called with; and each version whose body has changed. Exit code 1 where anything is wrong.
    """
    from wfcelery.service import checking
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
        if here is not None:
            wrong += checking.against_live_runs(here, _foreign(find_app(where)))
    elif not files:
        raise click.UsageError("name files, or the app with -A")
    if as_json:
        click.echo(json.dumps({"definitions": len(found), "problems": wrong}))
    else:
        for line in wrong or [f"{len(found)} definitions, no problems" if files else "no problems"]:
            output.say(line)
    if wrong:
        ctx.exit(1)


def _foreign(app: Any) -> Callable[[str, Collection[str]], list[str] | None]:
    """The app's own tasks, which a definition may name without their being adopted."""

    def say(action: str, names: Collection[str]) -> list[str] | None:
        from wfcelery.worker.adopting import refusals

        task = getattr(app, "tasks", {}).get(action)
        return None if task is None else refusals(task, names)

    return say


@definitions.command()
@click.argument("what", nargs=-1, required=True, metavar="FILE|NAME@VERSION...")
@click.option("--draft", is_flag=True, help="Store the files as drafts: nothing starts by them, and no schedule is put in place.")
@_by
@_json
@click.pass_context
def publish(ctx: click.Context, /, what: tuple[str, ...], draft: bool, by: str | None, as_json: bool) -> None:
    """Store the definitions of YAML FILES and put their schedules in place, or nothing where one has a problem.

    A draft is published by its file, or by NAME@VERSION.
    """
    from wfcelery.service import publishing as service
    from wfcelery.service import standing

    files, names = [Path(one) for one in what if Path(one).exists()], [one for one in what if not Path(one).exists()]
    wrong = [name for name in names if name.endswith((".yaml", ".yml")) or draft]
    if wrong:
        raise click.UsageError(f"there is no file {wrong[0]}")
    here = context(ctx)
    for file in service.publish(here, files, draft=draft, by=by or getuser()):
        published = file.definition
        if as_json:
            click.echo(json.dumps(asdict(published) | {"schedules": list(file.schedules)}))
            continue
        for name in file.schedules:
            output.say(f"schedule {name} put in place")
        state = "new" if published.new else "unchanged"
        status = "" if published.status == "published" else f", {published.status}"
        click.echo(f"{published.name}\t{published.version}\trevision {published.revision}\t{state}{status}\t{published.signature[:12]}")
    for name in names:
        _stood(standing.publish_drafts(here, name, by or getuser()), as_json)


@definitions.command()
@click.argument("name", nargs=-1, required=True, metavar="NAME[@VERSION]...")
@_by
@_json
@click.pass_context
def archive(ctx: click.Context, /, name: tuple[str, ...], by: str | None, as_json: bool) -> None:
    """Let no run begin any more by a version, or by any of a workflow; runs under way go on."""
    from wfcelery.service import standing

    for one in name:
        _stood(standing.archive(context(ctx), one, by or getuser()), as_json)


@definitions.command()
@click.argument("name", nargs=-1, required=True, metavar="NAME[@VERSION]...")
@_by
@_json
@click.pass_context
def unarchive(ctx: click.Context, /, name: tuple[str, ...], by: str | None, as_json: bool) -> None:
    """Let runs begin again by what was archived."""
    from wfcelery.service import standing

    for one in name:
        _stood(standing.unarchive(context(ctx), one, by or getuser()), as_json)


def _stood(found: Sequence[StoredDefinition], as_json: bool) -> None:
    for each in found:
        if as_json:
            click.echo(json.dumps({column: getattr(each, column) for column in COLUMNS}, default=str))
        else:
            click.echo(f"{each.name}\t{each.version}\trevision {each.revision}\t{each.status}\t{each.signature[:12]}")


@definitions.command()
@click.argument("old", metavar="NAME@OLD")
@click.argument("new", metavar="NAME@NEW")
@_json
@click.pass_context
def diff(ctx: click.Context, /, old: str, new: str, as_json: bool) -> None:
    """What differs between two definitions; a YAML file may stand for either. Exit code 1 where something does."""
    from wfcelery.definition.comparing import differences

    found = differences(_definition(ctx, old), _definition(ctx, new))
    if as_json:
        for one in found:
            click.echo(json.dumps(asdict(one)))
    else:
        output.rows([asdict(one) | {"is": one.is_} for one in found], ("what", "part", "name", "was", "is"))
    if found:
        ctx.exit(1)


@definitions.command()
@click.argument("name", metavar="NAME[@VERSION]")
@click.pass_context
def graph(ctx: click.Context, /, name: str) -> None:
    """The picture of a definition, or of a YAML file, as a Mermaid flowchart."""
    from wfcelery.definition.drawing import mermaid

    click.echo(mermaid(_definition(ctx, name)), nl=False)


def _definition(ctx: click.Context, name: str) -> Definition:
    from wfcelery.definition.model import Definition
    from wfcelery.service import definitions as service
    from wfcelery.service import standing

    if Path(name).is_file():
        return service.read_files([Path(name)])[0]
    return Definition.model_validate_json(standing.one_of(context(ctx), name).body)


@definitions.command("list")
@_json
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """Every stored definition, newest first."""
    from wfcelery.service import definitions as service

    found = service.listed(context(ctx))
    table = [{column: getattr(row, column) for column in COLUMNS} for row in found]
    if as_json:
        for row in table:
            click.echo(json.dumps(row, default=str))
    else:
        output.rows(table, COLUMNS)


@definitions.command()
@click.argument("name", metavar="NAME[@VERSION]")
@_json
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """The newest definition of NAME, of a version of it, or the one of a signature, as canonical JSON; with --json on one line."""
    from wfcelery.service import standing

    click.echo(json.dumps(json.loads(standing.one_of(context(ctx), name).body), indent=None if as_json else 2))
