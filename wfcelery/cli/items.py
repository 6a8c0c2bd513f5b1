"""`wfcelery runs add-items | complete-items | rerun-failed`: what operators ask of a fan-out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from wfcelery.cli import output
from wfcelery.cli.target import context

_run = click.argument("run")
_step = click.argument("step")
_by = click.option("--by", help="Who asks for it, for the history.")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


@click.command("add-items")
@_run
@_step
@click.argument("items", metavar="JSON|@FILE|-")
@_by
@_json
@click.pass_context
def add_items(ctx: click.Context, /, run: str, step: str, items: str, by: str | None, as_json: bool) -> None:
    """Give the fan-out STEP of RUN more items, a JSON list, while it runs. One that is over is refused."""
    from wfcelery.service import fan_outs

    listed = _list(items)
    _asked(ctx, fan_outs.add_items, run, step, listed, by=by)
    _say(as_json, f"{len(listed)} items to be added", asked="add_items", run=run, step=step, items=len(listed))


@click.command("complete-items")
@_run
@_step
@_by
@_json
@click.pass_context
def complete_items(ctx: click.Context, /, run: str, step: str, by: str | None, as_json: bool) -> None:
    """End the fan-out STEP of RUN with what it has: what has not begun is skipped, what is under way is fenced."""
    from wfcelery.service import fan_outs

    _asked(ctx, fan_outs.complete_items, run, step, by=by)
    _say(as_json, f"{step} to be completed", asked="complete_items", run=run, step=step)


@click.command("rerun-failed")
@_run
@_step
@_by
@_json
@click.pass_context
def rerun_failed(ctx: click.Context, /, run: str, step: str, by: str | None, as_json: bool) -> None:
    """Run the failed items of the fan-out STEP of RUN again, and no others; a run that failed by them goes on."""
    from wfcelery.service import fan_outs

    _asked(ctx, fan_outs.rerun_failed, run, step, by=by)
    _say(as_json, f"failed items of {step} to be run again", asked="rerun_failed", run=run, step=step)


def _asked(ctx: click.Context, verb: Callable[..., None], *given: Any, **more: Any) -> None:
    context(ctx)
    verb(*given, **more)


def _say(as_json: bool, sentence: str, **facts: Any) -> None:
    if as_json:
        click.echo(json.dumps(facts))
    else:
        output.say(sentence)


def _list(text: str) -> list[Any]:
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        found = json.loads(text)
    except (OSError, ValueError, RecursionError) as problem:  # no file, no text in it, no JSON, nested too deep
        raise click.BadParameter(f"it is no JSON that can be read: {type(problem).__name__}", param_hint="ITEMS") from problem
    if not isinstance(found, list):
        raise click.BadParameter("items are a JSON list", param_hint="ITEMS")
    return found
