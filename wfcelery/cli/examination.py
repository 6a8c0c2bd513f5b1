"""What `wfcelery doctor` looks at, and how it is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import click
from rich.text import Text

from wfcelery.authoring.registry import registry
from wfcelery.cli import output
from wfcelery.cli.target import context
from wfcelery.errors import Misconfigured, Unavailable
from wfcelery.service import definitions, fleet
from wfcelery.service.views import Finding
from wfcelery.worker import adopting
from wfcelery.worker.launch import broker_fault

_MARKS = {"ok": ("✔", "green"), "warning": ("!", "yellow"), "error": ("✘", "red")}


def findings(ctx: click.Context, app: Any) -> Iterator[Finding]:
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


def adopted(app: Any) -> Iterator[Finding]:
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


def show(found: Iterable[Finding]) -> None:
    console = output.console()
    for finding in found:
        mark, style = _MARKS[finding.level]
        line = Text.assemble((f"{mark} ", style), finding.what)
        if finding.remedy:
            line.append(f": {finding.remedy}", style="bold")
        console.print(line)
