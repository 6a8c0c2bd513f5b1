"""`wfcelery runs send-event | requeue-event | events`: what comes from outside."""

from __future__ import annotations

import json
from getpass import getuser
from typing import Any
from uuid import UUID

import click

from wfcelery.cli import output
from wfcelery.cli.json_text import read_json
from wfcelery.cli.target import context

_json = click.option("--json", "as_json", is_flag=True, help="One JSON object, or one a line.")


@click.command("send-event")
@click.argument("name")
@click.argument("data", default="null", metavar="[JSON|@FILE|-]")
@click.option("--key", help="Which of those that wait for it: the key that their wait names.")
@click.option("--run", help="The only run that it is for, by its id, a unique tail of one, or its key.")
@click.option("--everyone", is_flag=True, help="For every wait that is open now, and for none that opens later.")
@click.option("--dedup", help="Under one such key an event of this name counts once.")
@click.option("--by", help="Who sends it.  [who is logged in]")
@click.option("--role", help="As what; a wait may ask for a role.")
@click.option("--org", "organization_id")
@_json
@click.pass_context
def send_event(ctx: click.Context, /, name: str, data: str, as_json: bool, by: str | None, **options: Any) -> None:
    """Send an event NAME with DATA to who waits for it, or will."""
    from wfcelery.service.events import send_event as send

    context(ctx)
    given = {word: value for word, value in options.items() if value not in (None, False)}
    sent = send(name, read_json(data, "DATA"), actor=by or getuser(), **given)
    if as_json:
        click.echo(json.dumps({"id": sent, "name": name}))
    else:
        click.echo(sent)


@click.command("requeue-event")
@click.argument("event", type=click.UUID)
@click.option("--by", help="Who asks for it, for the audit.  [who is logged in]")
@_json
@click.pass_context
def requeue_event(ctx: click.Context, /, event: UUID, by: str | None, as_json: bool) -> None:
    """Let an event that was consumed or refused count once more."""
    from wfcelery.service import sending

    sending.requeue(context(ctx), event, by or getuser())
    if as_json:
        click.echo(json.dumps({"id": str(event), "asked": "requeue_event"}))
    else:
        output.say(f"{event}: stored again")


@click.command("events")
@click.option("--status", multiple=True, help="Only events in this status: stored, consumed, refused, sent.")
@click.option("--name", help="Only events of this name.")
@click.option("--run", type=click.UUID, help="Only events for this run alone.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@_json
@click.pass_context
def list_events(ctx: click.Context, /, as_json: bool, status: tuple[str, ...], **filters: Any) -> None:
    """The newest events."""
    from wfcelery.service import events

    found = events.listed(context(ctx), statuses=status, **filters)
    if as_json:
        output.as_json(found)
    else:
        output.rows([each.model_dump() for each in found], ("id", "name", "key", "run", "status", "actor", "role", "at", "why"))
