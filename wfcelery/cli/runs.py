"""`wfcelery runs`: start, list, show, watch, verify; what a run can be asked for stands in `asking`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from wfcelery.cli import again, asking, by_hand, events, items, moving, output, why
from wfcelery.cli.target import context
from wfcelery.clock import monotonic
from wfcelery.definition.spans import seconds
from wfcelery.errors import StillRunning

if TYPE_CHECKING:
    from wfcelery.service.context import Context
    from wfcelery.service.views import CommitView

ENDED = ("succeeded", "failed", "cancelled", "timed_out")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object, or one a line.")
_LEDGER = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def runs() -> None:
    """Runs of workflows."""


_OF_A_RUN = (asking.cancel, asking.terminate, asking.pause, asking.resume, asking.retry, moving.move)
_OF_A_STEP = (by_hand.skip, by_hand.complete, items.add_items, items.complete_items, items.rerun_failed)
for verb in (*_OF_A_RUN, *_OF_A_STEP, why.why, again.rerun, again.replay, events.send_event, events.requeue_event, events.list_events):
    runs.add_command(verb)


@runs.command()
@click.argument("workflow")
@click.argument("input", default="{}", metavar="[JSON|@FILE|-]")
@click.option("--version", metavar="LABEL", help="Which version, in place of the newest.")
@click.option("--key", help="A run of this key and input is started once.")
@click.option("--on-conflict", type=click.Choice(["return", "raise", "new_if_ended"]), default="return", show_default=True)
@click.option("--queue", help="The queue of its steps, where the definition names none.")
@click.option("--priority", type=int)
@click.option("--delay", metavar="SPAN", help="Begin after this span, such as 30s or 2h.")
@click.option("--deadline", metavar="SPAN", help="End it when it takes longer.")
@click.option("--tag", "tags", multiple=True)
@click.option("--org", "organization_id")
@click.option("--wait", is_flag=True, help="Wait for the end and print the result.")
@_json
@click.pass_context
def start(ctx: click.Context, /, workflow: str, input: str, wait: bool, as_json: bool, **options: Any) -> None:  # noqa: A002
    """Start a run of WORKFLOW with INPUT, a JSON object."""
    from wfcelery.service.starting import start_workflow

    context(ctx)
    given = {name: value for name, value in options.items() if value not in (None, ())}
    run = start_workflow(workflow, json_object(input), **given)
    if wait:
        from wfcelery.service.values import output_of

        run.result()  # raises what became of it
        click.echo(json.dumps(output_of(context(ctx), UUID(run.id))))
    elif as_json:
        click.echo(json.dumps({"id": run.id, "key": run.key}))
    else:
        click.echo(run.id)


def json_object(text: str) -> dict[str, Any]:
    """An input as people type it: JSON, `@FILE`, or `-` for what comes in. Raises BadParameter."""
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:  # no file, no text in it, no name of one
        raise click.BadParameter(f"it cannot be read: {type(problem).__name__}", param_hint="INPUT") from problem
    try:
        found = json.loads(text)
    except RecursionError as problem:
        raise click.BadParameter("it is nested too deep", param_hint="INPUT") from problem
    except ValueError as problem:
        raise click.BadParameter(f"not JSON: {problem}", param_hint="INPUT") from problem
    if not isinstance(found, dict):
        raise click.BadParameter("an input is a JSON object, with the workflow's parameters as names", param_hint="INPUT")
    return found


@runs.command("list")
@click.option("--status", multiple=True, help="Only runs in this status; may be given several times.")
@click.option("--workflow", help="Only runs of this workflow.")
@click.option("--org", "organization_id")
@click.option("--where", metavar="QUERY", help="Only those that match, such as 'status=failed tag=vip created>2h'.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("-q", "--quiet", is_flag=True, help="Ids only.")
@_json
@click.pass_context
def list_(ctx: click.Context, /, quiet: bool, as_json: bool, status: tuple[str, ...], **filters: Any) -> None:
    """The newest runs."""
    from wfcelery.service import runs as service

    found = service.listed(context(ctx), statuses=status, **filters)
    if quiet:
        for run in found:
            click.echo(run.id)
    elif as_json:
        output.as_json(found)
    else:
        output.rows(
            [run.model_dump() | {"error": run.error and f"{run.error.type}: {run.error.message}"} for run in found],
            ("id", "workflow", "status", "key", "created", "ended", "error"),
        )


@runs.command()
@click.argument("run")
@click.option("--items", is_flag=True, help="Every item of a fan-out, not only those that did not succeed.")
@click.option("--history", is_flag=True, help="What each commit recorded instead, oldest first.")
@click.option("--values", is_flag=True, help="Inputs, variables and results instead; what is secret in them is ***.")
@_json
@click.pass_context
def show(ctx: click.Context, /, run: str, items: bool, history: bool, values: bool, as_json: bool) -> None:
    """One run as a tree: its steps, their attempts, durations and errors."""
    from wfcelery.service import runs as service

    view = service.shown(context(ctx), run)
    if history:
        _show_history(service.told(context(ctx), UUID(view.id)), as_json)
    elif values:
        _show_values(context(ctx), UUID(view.id), as_json)
    elif as_json:
        output.as_json(view)
    else:
        from wfcelery.cli.trees import tree_of

        output.console().print(tree_of(view, items))


def _show_values(context: Context, run: UUID, as_json: bool) -> None:
    from wfcelery.service.values import values_of

    found = values_of(context, run)
    if as_json:
        output.as_json(found)
        return
    told = [{"of": "run", "input": found.input, "output": found.output}, {"of": "variables", "output": found.variables}]
    for each in found.steps:
        name = each.name if each.item is None else f"{each.name}[{each.item}]"
        told.append({"of": name, "input": each.input, "output": each.output})
    texts = [{key: value if key == "of" else json.dumps(value) for key, value in row.items() if value is not None} for row in told]
    output.rows(texts, ("of", "input", "output"))


def _show_history(commits: Sequence[CommitView], as_json: bool) -> None:
    if as_json:
        output.as_json(commits)
        return
    told = ({"version": c.version, "at": c.at, **_fact(fact)} for c in commits for fact in c.facts)
    output.rows(told, ("version", "at", "fact", "step", "more"))


def _fact(fact: Mapping[str, Any]) -> dict[str, Any]:
    item = fact.get("item")
    step = fact.get("step") if item is None or item < 0 else f"{fact.get('step')}[{item}]"
    more = {name: value for name, value in fact.items() if name not in ("fact", "step", "item")}
    return {"fact": fact["fact"], "step": step, "more": json.dumps(more, default=str) if more else None}


@runs.command()
@click.argument("run")
@click.option("--exit-status", is_flag=True, help="Exit with 5 where the run ends without success.")
@click.option("--timeout", metavar="SPAN", help="Give up after this span, with exit code 6.")
@_json
@click.pass_context
def watch(ctx: click.Context, /, run: str, exit_status: bool, timeout: str | None, as_json: bool) -> None:
    """Follow a run until it ends. With --json: a line whenever something has changed."""
    from rich.live import Live

    from wfcelery.cli.trees import tree_of
    from wfcelery.service import runs as service

    here = context(ctx)
    view, began = service.shown(here, run), monotonic()
    patience = None if timeout is None else seconds(timeout)
    live = None if as_json else Live(console=output.console(), refresh_per_second=8)
    said = -1
    with live or nullcontext():
        while True:
            if live is not None:
                live.update(tree_of(view, False))
            elif view.version != said:
                output.as_json(view)
            said = view.version
            if view.status in ENDED:
                break
            if patience is not None and monotonic() - began > patience:
                raise StillRunning(view.id, view.status)
            sleep(0.2)
            view = service.shown(here, view.id)
    if exit_status and view.status != "succeeded":
        ctx.exit(5)


@runs.command()
@click.argument("run", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every run of the database, and what holds across them.")
@click.option("--effects", type=_LEDGER, help="What steps did: JSON lines of key, run, step, attempt, token, phase.")
@click.option("--starts", type=_LEDGER, help="What clients asked for: JSON lines of phase, run, key, workflow.")
@click.option("--tap", type=_LEDGER, help="What the broker carried: JSON lines with a body each.")
@click.option("--canary", "canaries", multiple=True, help="A text of some payload, which must be in no message and no error.")
@click.option("--drained", is_flag=True, help="All has come to rest: every run must have ended, and nothing be left.")
@click.option("--bound", metavar="SPAN", help="With workers up: nothing that is due is later than this.")
@click.option("--purged", is_flag=True, help="Dead letters were purged: a missing one is no problem.")
@click.option("--fix", is_flag=True, help="Say what could be healed; with --yes, heal it.")
@click.option("--yes", is_flag=True, help="With --fix: do it.")
@_json
@click.pass_context
def verify(ctx: click.Context, /, run: tuple[str, ...], everything: bool, fix: bool, yes: bool, as_json: bool, **beside: Any) -> None:
    """Check that everything holds that must, by number: docs/reference/invariants.md. Exit code 1 where something does not."""
    from wfcelery.cli.verification import Tally, fixed, ledgers_of
    from wfcelery.service import verifying

    if not run and not everything:
        raise click.UsageError("name a run, or say --all")
    if yes and not fix:
        raise click.UsageError("--yes belongs to --fix")
    here = context(ctx)
    ledgers = ledgers_of(here.settings.retention or None, **beside)
    tally = Tally()
    for verdict in verifying.verify(here, None if everything else run, ledgers):
        if fix and verdict.problems and verdict.run != verifying.ACROSS:
            verdict = fixed(here, verdict, ledgers, yes, tally)  # noqa: PLW2901
        tally.count(verdict)
        if as_json:
            output.as_json(verdict)
        else:
            for problem in verdict.problems:
                click.echo(f"{verdict.run}\t{problem}")
    if not as_json:
        click.echo(tally.line())
        for hint in tally.hints(fix, yes):
            output.say(hint)
    if tally.bad or tally.across:
        ctx.exit(1)
