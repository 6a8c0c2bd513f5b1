"""`wfcelery runs cancel | terminate | pause | resume | retry`: what people ask runs to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from getpass import getuser
from typing import TYPE_CHECKING, Any

import click

from wfcelery.cli import bulk, output
from wfcelery.cli.target import context
from wfcelery.errors import NotFound

if TYPE_CHECKING:
    from wfcelery.service.bulk import Verb
    from wfcelery.service.context import Context
    from wfcelery.store.reading import RunRecord


def _verb(function: Callable[..., Any]) -> click.Command:
    """A command on any number of runs, by who is logged in here unless another is named."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line."),
        click.option("--by", help="Who asks for it, for the history and the audit.  [who is logged in]"),
        bulk.yes,
        bulk.where,
        click.argument("run", nargs=-1),
    ):
        function = option(function)
    return click.command()(click.pass_context(function))


_reason = click.option("--reason", help="Why, for the history and the audit.")


@_verb
@_reason
@click.option("--step", help="End this one step, and let the run go on.")
def cancel(ctx: click.Context, /, run: tuple[str, ...], step: str | None, reason: str | None, by: str | None, **how: Any) -> None:
    """Ask runs to end: what has not begun never will, what is under way is told. One that has ended is refused.

    With --step one step of each is ended, and the run goes on by its on_cancel, or as its on_error says.
    """
    if step is None:
        _ask(ctx, run, "cancel", reason, by, **how)
    elif how["where"] is not None:
        raise click.UsageError("--step is of runs that are named: leave out --where")
    else:
        bulk.one_or_many(run, None, how["yes"])
        _ask_of_step(ctx, run, step, reason, by, how["as_json"])


@_verb
@_reason
def terminate(ctx: click.Context, /, run: tuple[str, ...], reason: str | None, by: str | None, **how: Any) -> None:
    """End runs at once: what is under way is fenced, and its results change nothing."""
    _ask(ctx, run, "terminate", reason, by, **how)


@_verb
@_reason
@click.option("--until", metavar="SPAN|TIME", help="Go on by themselves after this span, such as 2h, or at this time.")
def pause(ctx: click.Context, /, run: tuple[str, ...], reason: str | None, by: str | None, until: str | None, **how: Any) -> None:
    """Let nothing new begin in runs until they are resumed; what is under way ends as it ends."""
    _ask(ctx, run, "pause", reason, by, until=until, **how)


@_verb
def resume(ctx: click.Context, /, run: tuple[str, ...], by: str | None, **how: Any) -> None:
    """Let paused runs go on."""
    _ask(ctx, run, "resume", None, by, **how)


@_verb
def retry(ctx: click.Context, /, run: tuple[str, ...], by: str | None, **how: Any) -> None:
    """Give everything that stopped failed or timed-out runs another episode, with new budgets."""
    _ask(ctx, run, "retry", None, by, **how)


def _ask(
    ctx: click.Context,
    runs: tuple[str, ...],
    verb: Verb,
    reason: str | None,
    by: str | None,
    *,
    as_json: bool,
    where: str | None,
    yes: bool,
    until: str | None = None,
) -> None:
    from wfcelery.service import asking
    from wfcelery.service.bulk import of_runs

    bulk.one_or_many(runs, where, yes)
    here, more = context(ctx), asking.end_of_pause(_moment(until))
    if where is not None:
        bulk.told(of_runs(here, verb, where, reason=reason, by=by or getuser(), yes=yes, more=more), as_json)
        return
    for one in runs:
        found = _that_can(here, one, verb)
        asking.ask(here, found.id, verb, reason, by or getuser(), more)
        if as_json:
            click.echo(json.dumps({"id": str(found.id), "asked": verb, "reason": reason}))
        else:
            output.say(f"{found.id}: {verb} asked for")


def _ask_of_step(ctx: click.Context, runs: tuple[str, ...], step: str, reason: str | None, by: str | None, as_json: bool) -> None:
    from wfcelery.service import by_hand
    from wfcelery.service import runs as found_runs

    here = context(ctx)
    for one in runs:
        found = found_runs.find(here, one)
        if found is None:
            raise NotFound("run", one)
        by_hand.cancel_step(here, found.id, step, reason, by or getuser())
        if as_json:
            click.echo(json.dumps({"id": str(found.id), "step": step, "asked": "cancel", "reason": reason}))
        else:
            output.say(f"{found.id}: cancel of {step} asked for")


def _moment(until: str | None) -> datetime | str | None:
    """A date, if it is one; else what may be a span."""
    try:
        return None if until is None else datetime.fromisoformat(until)
    except ValueError:
        return until


def _that_can(here: Context, one: str, verb: str) -> RunRecord:
    from wfcelery.service import asking, runs

    found = runs.find(here, one)
    if found is None:
        raise NotFound("run", one)
    if verb not in asking.allowed_actions(found.status):
        raise asking.refusal(found)
    return found
