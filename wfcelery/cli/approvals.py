"""`wfcelery approvals`: what people are asked, and their answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from getpass import getuser
from typing import Any

import click

from wfcelery.cli import output
from wfcelery.cli.json_text import read_json
from wfcelery.cli.target import context

_json = click.option("--json", "as_json", is_flag=True, help="One JSON object, or one a line.")
_by = click.option("--by", help="Who answers, for the run, the history and the audit.  [who is logged in]")
_comment = click.option("--comment", help="A word with the answer.")
_roles = click.option("--role", "roles", multiple=True, help="A role of who answers; may be repeated.")


@click.group()
def approvals() -> None:
    """What people are asked."""


@approvals.command("list")
@click.option("--run", help="Of one run: its id, a unique tail of it, or its key.")
@click.option("--assignee", "assignees", multiple=True, help="Only what they are asked: role:finance, or a name; may be repeated.")
@click.option("--org", "organization_id")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@_json
@click.pass_context
def list_(ctx: click.Context, /, as_json: bool, **filters: Any) -> None:
    """What nobody has answered, the oldest first."""
    from wfcelery.service import approvals as service

    found = service.listed(context(ctx), **filters)
    if as_json:
        output.as_json(found)
    else:
        shown = [each.model_dump() | {"assignees": " ".join(each.assignees)} for each in found]
        output.rows(shown, ("run", "workflow", "step", "title", "assignees", "since", "due", "reminded"))


@approvals.command()
@click.argument("run")
@click.argument("step")
@_json
@click.pass_context
def show(ctx: click.Context, /, run: str, step: str, as_json: bool) -> None:
    """What STEP of RUN asks, of whom, and what an answer has to say."""
    from wfcelery.service import approvals as service

    found = service.shown(context(ctx), run, step)
    if as_json:
        output.as_json(found)
    else:
        for name, value in found.model_dump(exclude_none=True).items():
            click.echo(f"{name}\t{value if isinstance(value, str) else json.dumps(value, default=str)}")


@approvals.command()
@click.argument("run")
@click.argument("step")
@click.option("--form", metavar="JSON|@FILE|-", help="What the form asks for.")
@_comment
@_roles
@_by
@_json
@click.pass_context
def approve(
    ctx: click.Context, /, run: str, step: str, form: str | None, comment: str | None, roles: tuple[str, ...], by: str | None, as_json: bool
) -> None:
    """Approve what STEP of RUN asks."""
    from wfcelery.service import approvals as service

    given = None if form is None else read_json(form, "--form")
    context(ctx)
    _say(run, step, "approve", as_json, lambda: service.approve(run, step, actor=by or getuser(), roles=roles, form=given, comment=comment))


@approvals.command()
@click.argument("run")
@click.argument("step")
@_comment
@_roles
@_by
@_json
@click.pass_context
def reject(ctx: click.Context, /, run: str, step: str, comment: str | None, roles: tuple[str, ...], by: str | None, as_json: bool) -> None:
    """Reject what STEP of RUN asks: it fails, with the comment as its message."""
    from wfcelery.service import approvals as service

    context(ctx)
    _say(run, step, "reject", as_json, lambda: service.reject(run, step, actor=by or getuser(), roles=roles, comment=comment))


@approvals.command()
@click.argument("run")
@click.argument("step")
@click.argument("to", nargs=-1, required=True)
@_by
@_json
@click.pass_context
def assign(ctx: click.Context, /, run: str, step: str, to: tuple[str, ...], by: str | None, as_json: bool) -> None:
    """Have others asked by STEP of RUN, in place of those who are: role:finance, or names."""
    from wfcelery.service import approvals as service

    context(ctx)
    _say(run, step, "assign", as_json, lambda: service.assign(run, step, to, actor=by or getuser()))


def _say(run: str, step: str, verb: str, as_json: bool, ask: Callable[[], None]) -> None:
    ask()
    if as_json:
        click.echo(json.dumps({"run": run, "step": step, "asked": verb}))
    else:
        output.say(f"{run}: {verb} of {step} asked for")
