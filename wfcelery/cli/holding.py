"""`wfcelery hold | release | held-up` and `wfcelery limits`: what keeps steps from beginning."""

from __future__ import annotations

import json
from getpass import getuser

import click

from wfcelery.cli import output
from wfcelery.cli.target import context

_json = click.option("--json", "as_json", is_flag=True, help="One JSON object, or one a line.")
_org = click.option("--org", "organization_id", help="Of this organization alone.")
_by = click.option("--by", help="Who does it, for the audit.  [who is logged in]")


@click.command()
@click.argument("scope")
@click.option("--reason", help="Why, for whoever looks at it.")
@click.option("--until", metavar="SPAN", help="Released by itself after so long, such as 6h.")
@_by
@_org
@_json
@click.pass_context
def hold(
    ctx: click.Context,
    /,
    scope: str,
    reason: str | None,
    until: str | None,
    by: str | None,
    organization_id: str | None,
    as_json: bool,
) -> None:
    """Let nothing begin of SCOPE: step:NAME, workflow:NAME, queue:NAME or org:NAME. What is under way ends as it ends."""
    from wfcelery.service import holds

    context(ctx)
    holds.hold(scope, reason=reason, until=until, by=by or getuser(), organization_id=organization_id)
    _say(as_json, f"{scope} is held; `wfcelery release {scope}` lets it go", scope=scope, asked="hold", reason=reason)


@click.command()
@click.argument("scope")
@click.option("--rate", metavar="RATE", help="Not all at once, but so many in a time: 20/s.")
@_by
@_org
@_json
@click.pass_context
def release(ctx: click.Context, /, scope: str, rate: str | None, by: str | None, organization_id: str | None, as_json: bool) -> None:
    """Let go what `hold SCOPE` holds."""
    from wfcelery.service import holds

    context(ctx)
    holds.release(scope, rate=rate, by=by or getuser(), organization_id=organization_id)
    _say(as_json, f"{scope} is released", scope=scope, asked="release", rate=rate)


@click.command("held-up")
@_json
@click.pass_context
def held_up(ctx: click.Context, /, as_json: bool) -> None:
    """What is held, why and since when, and the command that lets it go."""
    from wfcelery.service import holds

    found = holds.what_is_held_up(context(ctx))
    if as_json:
        output.as_json(found)
    else:
        output.rows([each.model_dump() for each in found], ("what", "status", "steps", "runs", "since", "until", "reason", "by", "remedy"))


@click.group()
def limits() -> None:
    """Limits, locks, rates and breakers that steps share."""


@limits.command("list")
@_json
@click.pass_context
def list_(ctx: click.Context, /, as_json: bool) -> None:
    """Every limit that is in use now: how much of it, and how many wait."""
    from wfcelery.service import holds

    found = holds.limits_in_use(context(ctx))
    if as_json:
        output.as_json(found)
    else:
        columns = ("kind", "key", "status", "slots", "used", "waiting", "since", "every", "burst", "failures", "organization_id")
        output.rows([each.model_dump() for each in found], columns)


@limits.command()
@click.argument("key")
@_json
@click.pass_context
def show(ctx: click.Context, /, key: str, as_json: bool) -> None:
    """Who uses the limits of KEY, and who waits for them, in their order."""
    from wfcelery.service import holds

    found = holds.users_of(context(ctx), key)
    if as_json:
        output.as_json(found)
    else:
        output.rows([each.model_dump() for each in found], ("kind", "status", "run", "step", "since", "due"))


def _say(as_json: bool, sentence: str, **facts: str | None) -> None:
    if as_json:
        click.echo(json.dumps(facts))
    else:
        output.say(sentence)
