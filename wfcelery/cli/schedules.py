"""`wfcelery schedules`: list, show, put, pause, resume, run, delete, next, backfill."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from wfcelery.cli import output
from wfcelery.cli.runs import json_object
from wfcelery.cli.target import context

if TYPE_CHECKING:
    from wfcelery.service.views import ScheduleView

_json = click.option("--json", "as_json", is_flag=True, help="One JSON object, or one a line.")
_org = click.option("--org", "organization_id", help="The organization whose schedules are meant.")
OVERLAPS = ("skip", "buffer", "allow", "cancel")


@click.group()
def schedules() -> None:
    """Workflows that start by the clock."""


@schedules.command("list")
@click.option("-q", "--quiet", is_flag=True, help="Names only.")
@_org
@_json
@click.pass_context
def list_(ctx: click.Context, /, quiet: bool, as_json: bool, organization_id: str | None) -> None:
    """Every schedule, by name."""
    from wfcelery.service import schedules as service

    found = service.listed(context(ctx), organization_id)
    if quiet:
        for one in found:
            click.echo(one.name)
    elif as_json:
        output.as_json(found)
    else:
        output.rows([_line(one) for one in found], ("name", "workflow", "when", "status", "next", "started", "skipped", "missed", "error"))


@schedules.command()
@click.argument("name")
@_org
@_json
@click.pass_context
def show(ctx: click.Context, /, name: str, organization_id: str | None, as_json: bool) -> None:
    """One schedule: its terms, where it stands, and what became of its latest slots."""
    from wfcelery.service import schedules as service

    _say(service.shown(context(ctx), name, organization_id), as_json)


@schedules.command()
@click.argument("name")
@click.argument("workflow")
@click.argument("input", default="{}", metavar="[JSON|@FILE|-]")
@click.option("--cron", metavar="EXPRESSION", help="Five fields, as '0 3 * * *', or six with a second before them.")
@click.option("--every", metavar="SPAN", help="An interval instead, such as 15m, counted from 1970 in UTC.")
@click.option("--timezone", metavar="ZONE", help="The zone of --cron, such as Europe/Berlin.  [default: UTC]")
@click.option("--overlap", type=click.Choice(OVERLAPS), help="What to do while an earlier run is going.  [default: skip]")
@click.option("--catch-up", metavar="SPAN", help="How late a slot may be started.  [default: 1d]")
@click.option("--slot-as", metavar="PARAMETER", help="The parameter that is given the slot's time.")
@click.option("--queue", help="The queue of the steps, where the definition names none.")
@click.option("--priority", type=int)
@click.option("--deadline", metavar="SPAN", help="End a run when it takes longer.")
@click.option("--tag", "tags", multiple=True)
@_org
@_json
@click.pass_context
def put(ctx: click.Context, /, name: str, workflow: str, input: str, as_json: bool, **options: Any) -> None:  # noqa: A002
    """Make the schedule NAME of WORKFLOW with INPUT, or give it these terms; the same terms change nothing."""
    from wfcelery.service import schedules as service

    said = {option: value for option, value in options.items() if value not in (None, ())}
    _say(service.put(context(ctx), name, workflow, json_object(input), said), as_json)


@schedules.command()
@click.argument("name")
@click.option("--reason", help="Why, for whoever looks at it.")
@_org
@_json
@click.pass_context
def pause(ctx: click.Context, /, name: str, reason: str | None, organization_id: str | None, as_json: bool) -> None:
    """Start nothing until it is resumed; what has been started goes on."""
    from wfcelery.service import schedules as service

    _say(service.pause(context(ctx), name, reason, organization_id), as_json)


@schedules.command()
@click.argument("name")
@_org
@_json
@click.pass_context
def resume(ctx: click.Context, /, name: str, organization_id: str | None, as_json: bool) -> None:
    """Go on with the first slot from now."""
    from wfcelery.service import schedules as service

    _say(service.resume(context(ctx), name, organization_id), as_json)


@schedules.command()
@click.argument("name")
@click.option("--key", help="Start it once, however often it is asked for under this key.")
@_org
@_json
@click.pass_context
def run(ctx: click.Context, /, name: str, key: str | None, organization_id: str | None, as_json: bool) -> None:
    """Start a run by its terms now, whatever else is going, and paused or not; its slots stay as they are."""
    from wfcelery.service import schedules as service

    started = str(service.run_now(context(ctx), name, key, organization_id))
    click.echo(json.dumps({"id": started, "key": key}) if as_json else started)


@schedules.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_org
@_json
@click.pass_context
def delete(ctx: click.Context, /, name: str, yes: bool, organization_id: str | None, as_json: bool) -> None:
    """Forget a schedule; what it has started goes on."""
    from wfcelery.service import schedules as service

    here = context(ctx)
    service.shown(here, name, organization_id)
    if not yes:
        click.confirm(f"Delete schedule {name}?", abort=True, err=True)
    service.delete(here, name, organization_id)
    if as_json:
        click.echo(json.dumps({"deleted": name}))
    else:
        output.say(f"{name}: deleted")


@schedules.command("next")
@click.argument("name", required=False)
@click.option("--cron", metavar="EXPRESSION", help="An expression to try, instead of a schedule's NAME.")
@click.option("--every", metavar="SPAN", help="An interval to try.")
@click.option("--timezone", metavar="ZONE", help="The zone of --cron.  [default: UTC]")
@click.option("--count", default=5, show_default=True, type=click.IntRange(1, 1_000))
@_org
@_json
@click.pass_context
def next_(ctx: click.Context, /, name: str | None, count: int, organization_id: str | None, as_json: bool, **times: Any) -> None:
    """The next slots of a schedule, or of an expression before it is one."""
    from wfcelery.service import schedules as service

    said = {option: value for option, value in times.items() if value is not None}
    if (name is None) == (not said):
        raise click.UsageError("name a schedule, or give an expression with --cron or --every")
    here = context(ctx)
    slots = service.tried(here, said, count) if name is None else service.upcoming(here, name, count, organization_id)
    if as_json:
        output.as_json(slots)
    else:
        output.rows([slot.model_dump() for slot in slots], ("slot", "local"))


@schedules.command()
@click.argument("name")
@click.option("--from", "start", required=True, metavar="MOMENT", help="2026-03-01, or 2026-03-01T06:00, in the schedule's time zone.")
@click.option("--to", "end", required=True, metavar="MOMENT", help="The last moment, which is included.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000), help="Refuse more slots than this.")
@click.option("--dry-run", is_flag=True, help="Only say which slots have no run.")
@_org
@_json
@click.pass_context
def backfill(
    ctx: click.Context, /, name: str, start: str, end: str, limit: int, dry_run: bool, organization_id: str | None, as_json: bool
) -> None:
    """Start the runs of past slots that have none, all at once; may be repeated."""
    from wfcelery.service import schedules as service

    found = service.backfill(context(ctx), name, start, end, limit=limit, dry_run=dry_run, organization_id=organization_id)
    if as_json:
        output.as_json(found)
    else:
        output.rows([slot.model_dump() for slot in found], ("slot", "run", "new"))
        output.say(f"{sum(slot.new for slot in found)} of {len(found)} slots {'would be' if dry_run else 'were'} started")


def _line(one: ScheduleView) -> dict[str, Any]:
    status = "paused" if one.paused else "failing" if one.error else "waiting" if one.waiting else "active"
    error = one.error and f"{one.error.type}: {one.error.message}"
    return one.model_dump() | {"when": _when(one), "status": status, "error": error}


def _when(one: ScheduleView) -> str:
    return f"{one.cron} {one.timezone}" if one.cron is not None else f"every {output.span(one.every)}"


def _say(one: ScheduleView, as_json: bool) -> None:
    if as_json:
        output.as_json(one)
        return
    told = _line(one)
    order = ("name", "workflow", "status", "reason", "when", "overlap", "next", "waiting", "started", "skipped", "missed", "error")
    output.rows([{"field": field, "value": told[field]} for field in order if told[field] is not None], ("field", "value"))
    if one.recent:
        output.rows([slot.model_dump() for slot in reversed(one.recent)], ("slot", "fate", "run"))
