"""`wfcelery runs`: start, list, show, watch, cancel, verify."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any
from uuid import UUID

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from wfcelery.cli import output
from wfcelery.cli.target import context
from wfcelery.clock import monotonic
from wfcelery.definition.spans import seconds
from wfcelery.errors import NotAllowedNow, NotFound, RowChanged, StillRunning
from wfcelery.service import healing, verifying
from wfcelery.service import runs as service
from wfcelery.service.context import Context
from wfcelery.service.invariants import Ledgers, read_effects, read_starts, read_tap
from wfcelery.service.starting import start_workflow
from wfcelery.service.views import AttemptView, CommitView, RunView, StepView, Verdict
from wfcelery.store.failures import LockTimeout

ENDED = ("succeeded", "failed", "cancelled", "timed_out")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object, or one a line.")
_LEDGER = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def runs() -> None:
    """Runs of workflows."""


@runs.command()
@click.argument("workflow")
@click.argument("input", default="{}", metavar="[JSON|@FILE|-]")
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
    context(ctx)
    given = {name: value for name, value in options.items() if value not in (None, ())}
    run = start_workflow(workflow, _object(input), **given)
    if wait:
        result = run.result()
        click.echo(json.dumps(result, default=str))
    elif as_json:
        click.echo(json.dumps({"id": run.id, "key": run.key}))
    else:
        click.echo(run.id)


def _object(text: str) -> dict[str, Any]:
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
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("-q", "--quiet", is_flag=True, help="Ids only.")
@_json
@click.pass_context
def list_(ctx: click.Context, /, quiet: bool, as_json: bool, status: tuple[str, ...], **filters: Any) -> None:
    """The newest runs."""
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
@_json
@click.pass_context
def show(ctx: click.Context, /, run: str, items: bool, history: bool, as_json: bool) -> None:
    """One run as a tree: its steps, their attempts, durations and errors."""
    view = service.shown(context(ctx), run)
    if history:
        _show_history(service.told(context(ctx), UUID(view.id)), as_json)
    elif as_json:
        output.as_json(view)
    else:
        output.console().print(tree_of(view, items))


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
@click.argument("run", nargs=-1, required=True)
@click.option("--reason", default="operator cancel", show_default=True)
@_json
@click.pass_context
def cancel(ctx: click.Context, /, run: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Ask runs to end: what has not begun never will, what is under way is told. One that has ended is refused."""
    here = context(ctx)
    for one in run:
        found = service.find(here, one)
        if found is None:
            raise NotFound("run", one)
        if found.status in ENDED:
            raise NotAllowedNow(f"run {found.id} is {found.status}", found.status)
        service.cancel(here, found.id, reason)
        if as_json:
            click.echo(json.dumps({"id": str(found.id), "asked": "cancel", "reason": reason}))
        else:
            output.say(f"{found.id}: cancel asked for")


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
    if not run and not everything:
        raise click.UsageError("name a run, or say --all")
    if yes and not fix:
        raise click.UsageError("--yes belongs to --fix")
    here = context(ctx)
    ledgers = _ledgers(here.settings.retention or None, **beside)
    tally = _Tally()
    for verdict in verifying.verify(here, None if everything else run, ledgers):
        if fix and verdict.problems and verdict.run != verifying.ACROSS:
            verdict = _fixed(here, verdict, ledgers, yes, tally)  # noqa: PLW2901
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


@dataclass(slots=True)
class _Tally:
    """What a check has come to, and what to do about it."""

    runs: int = 0
    bad: int = 0
    across: int = 0  # problems of no single run
    healable: int = 0

    def count(self, verdict: Verdict) -> None:
        if verdict.run == verifying.ACROSS:
            self.across += len(verdict.problems)
        else:
            self.runs, self.bad = self.runs + 1, self.bad + bool(verdict.problems)

    def line(self) -> str:
        across = f"; {self.across} problems across runs (*)" if self.across else ""
        return f"{self.runs} runs verified, {self.bad} with problems{across}"

    def hints(self, fix: bool, yes: bool) -> Iterator[str]:
        if self.bad and not fix:
            yield "the same with --fix says what can be healed, and writes nothing"
        elif self.healable and not yes:
            yield f"nothing was written; the same with --fix --yes heals what can be healed of {self.healable} runs"


def _fixed(here: Context, verdict: Verdict, ledgers: Ledgers, yes: bool, tally: _Tally) -> Verdict:
    """Heal a run, or say what healing would do; the verdict after it."""
    run = UUID(verdict.run)
    try:
        sayings = healing.heal(here, run) if yes else healing.planned(here, run)
    except (RowChanged, LockTimeout):
        output.say(f"{run}: it was being written, and is left as it is; verify it again")
        return verdict
    if not sayings:
        output.say(f"{run}: nothing can be healed without making something up; look at wfcelery runs show {run} --history")
        return verdict
    tally.healable += 1
    for says in sayings:
        output.say(f"{run}: {'healed' if yes else 'would be healed'}: {says}")
    return next(verifying.verify(here, [verdict.run], ledgers)) if yes else verdict


def _ledgers(
    retention: float | None,
    effects: Path | None,
    starts: Path | None,
    tap: Path | None,
    canaries: tuple[str, ...],
    drained: bool,
    bound: str | None,
    purged: bool,
) -> Ledgers:
    late = None if bound is None else seconds(bound)
    found = Ledgers(canaries=canaries, drained=drained, bound=late, retention=retention, purged=purged)
    try:
        if effects is not None:
            found.effects, found.kinds, found.crashes = read_effects(effects)
        found.starts = None if starts is None else read_starts(starts)
        found.tap = None if tap is None else read_tap(tap)
    except RecursionError as problem:
        raise click.UsageError("a ledger is nested too deep") from problem
    except ValueError as problem:
        raise click.UsageError(str(problem)) from problem
    return found


def tree_of(view: RunView, every_item: bool) -> Tree:
    """A run as people read it."""
    head = Text.assemble(output.status(view.status), "  ", (view.workflow, "bold"), f"  {view.id}")
    if view.key:
        head.append(f"  key {view.key}")
    if view.started is not None:
        head.append(f"  {output.span(((view.ended or view.started) - view.started).total_seconds())}" if view.ended else "")
    if view.error is not None:
        head.append(f"\n{view.error.type}: {view.error.message}", style="red")
    if view.reason and view.status in ("cancelled", "cancelling"):
        head.append(f"\nreason: {view.reason}", style="yellow")
    tree = Tree(head)
    items: dict[str, list[StepView]] = {}
    for step in view.steps:
        if step.item is not None:
            items.setdefault(step.name, []).append(step)
    for step in view.steps:
        if step.item is None:
            branch = tree.add(_line(step))
            _attempts(branch, step)
            for item in items.get(step.name, ()):
                if every_item or item.status not in ("succeeded", "held", "ready"):
                    _attempts(branch.add(_line(item)), item)
    return tree


def _line(step: StepView) -> Text:
    name = step.name if step.item is None else f"[{step.item}]"
    line = Text.assemble(output.status(step.status), "  ", (name, "bold"))
    if step.items is not None:
        line.append(f"  {step.items - (step.items_left or 0)}/{step.items} items")
    if step.attempt > 1:
        line.append(f"  attempt {step.attempt}")
    if step.why and step.status in ("held", "skipped", "cancelled"):
        line.append(f"  ({step.why})", style="dim")
    if step.attempts:
        last = step.attempts[-1]
        if last.started is not None:
            line.append(f"  {output.span((last.ended - last.started).total_seconds())}", style="dim")
    return line


def _attempts(branch: Tree, step: StepView) -> None:
    for attempt in step.attempts:
        if attempt.outcome != "succeeded" or len(step.attempts) > 1:
            branch.add(_attempt(attempt))


def _attempt(attempt: AttemptView) -> Group | Text:
    line = Text(f"attempt {attempt.number} {attempt.outcome}", style="dim")
    if attempt.error is not None:
        line.append(f": {attempt.error.type}: {attempt.error.message}", style="red")
    return line
