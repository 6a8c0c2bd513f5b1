"""`wfcelery doctor`: what is wrong with the set-up and the fleet, and what helps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import click
from rich.text import Text

from wfcelery.authoring.registry import registry
from wfcelery.cli import output
from wfcelery.cli.target import context, load_app, load_code, target
from wfcelery.errors import Misconfigured, Unavailable
from wfcelery.service import definitions, fleet
from wfcelery.service.views import Finding
from wfcelery.worker import adopting
from wfcelery.worker.launch import broker_fault

_MARKS = {"ok": ("✔", "green"), "warning": ("!", "yellow"), "error": ("✘", "red")}


@click.command()
@click.option("-A", "--app", metavar="MODULE", help="The Celery app: its broker, routes and workflows are examined too.")
@click.option("--adopt", is_flag=True, help="Name what adopted tasks declare that has no effect in a workflow; needs the app.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def doctor(ctx: click.Context, app: str | None, adopt: bool, as_json: bool) -> None:
    """Examine the tables, the workers, their queues and tasks, and whether anybody sweeps. Exit code 1 for errors."""
    given = target(ctx)
    given.app = app or given.app
    if adopt and given.app is None:
        raise click.UsageError("--adopt looks at the app's tasks: name it with -A")
    celery_app = None if given.app is None else load_app(load_code(given.app))
    findings = list(_adopted(celery_app) if adopt else _findings(ctx, celery_app))
    if as_json:
        output.as_json(findings)
    else:
        _print(findings)
    if any(finding.level == "error" for finding in findings):
        ctx.exit(1)


def _findings(ctx: click.Context, app: Any) -> Iterator[Finding]:
    here = context(ctx)
    if app is None:
        yield from fleet.examine(here)
        return
    try:
        yield from fleet.examine(here, app.wfcelery.router.queue_for, app.wfcelery.dispatch_queue())
    except Misconfigured as problem:
        yield Finding(level="error", what=str(problem))
    for wrong in definitions.check_code(None):
        yield Finding(level="error", what=wrong)
    yield from _broker(app)


def _broker(app: Any) -> Iterator[Finding]:
    if app.wfcelery.database_bell is not None:
        return
    fault = broker_fault(app)
    if fault is None:
        yield Finding(level="ok", what="the broker answers")
    else:
        yield Finding(level="error", what=str(Unavailable("broker", fault)), remedy="start it; until then wfcelery worker --bell database")


def _adopted(app: Any) -> Iterator[Finding]:
    for spec in registry.steps():
        if not spec.adopted:
            continue
        task = app.tasks.get(spec.name)
        if task is None:
            yield Finding(level="error", what=f"{spec.name} is adopted, and this app has no task of that name", remedy="import its module")
            continue
        told = [Finding(level="error", what=refusal) for refusal in adopting.refusals(task)]
        told += [Finding(level="warning", what=sentence) for sentence in adopting.without_effect(task)]
        yield from told or [Finding(level="ok", what=f"{spec.name}: everything it declares has its effect")]


def _print(findings: Iterable[Finding]) -> None:
    console = output.console()
    for finding in findings:
        mark, style = _MARKS[finding.level]
        line = Text.assemble((f"{mark} ", style), finding.what)
        if finding.remedy:
            line.append(f": {finding.remedy}", style="bold")
        console.print(line)
