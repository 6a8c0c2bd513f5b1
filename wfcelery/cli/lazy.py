"""The group of commands, each loaded when it is asked for: the command line starts fast, and one broken import breaks one verb."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

import click

COMMANDS = {
    "approvals": ("wfcelery.cli.approvals:approvals", "What people are asked: list, show, approve, reject, assign."),
    "db": ("wfcelery.cli.db:db", "The tables: upgrade, check."),
    "dead": ("wfcelery.cli.dead:dead", "Steps that failed for good: list, show, retry, purge."),
    "definitions": ("wfcelery.cli.definitions:definitions", "What runs go by: check, publish, list, show."),
    "demo": ("wfcelery.cli.demo:demo", "A report on real data, with its worker killed on the way."),
    "dev": ("wfcelery.cli.dev:dev", "One worker and a database file: all that workflows need on a desk."),
    "doctor": ("wfcelery.cli.doctor:doctor", "What is wrong with the set-up and the fleet."),
    "held-up": ("wfcelery.cli.holding:held_up", "What is held, why and since when."),
    "hold": ("wfcelery.cli.holding:hold", "Let nothing begin of a step, a workflow, a queue or an organization."),
    "limits": ("wfcelery.cli.holding:limits", "What steps share: list, show."),
    "release": ("wfcelery.cli.holding:release", "Let go what is held."),
    "runs": ("wfcelery.cli.runs:runs", "Runs: start, list, show, watch, cancel, verify."),
    "schedules": ("wfcelery.cli.schedules:schedules", "Workflows that start by the clock: list, show, put, pause, next, backfill."),
    "worker": ("wfcelery.cli.worker:worker", "A worker that runs nothing but workflows."),
    "workers": ("wfcelery.cli.workers:workers", "The fleet: list."),
}
INTERRUPTED = 130


@dataclass(slots=True)
class Target:
    """What a command line speaks to. `app` is the name of a module, or a Celery app itself."""

    database: str | None = None
    app: Any = None


class Lazy(click.Group):
    """Knows its commands by name. wfcelery's own errors become one sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        found: click.Command = getattr(importlib.import_module(module), name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of `--help`, without loading any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(COMMANDS.items())])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb."""
        errors = importlib.import_module("wfcelery.errors")
        try:
            return super().invoke(ctx)
        except errors.WfceleryError as problem:
            click.echo(f"wfcelery: {problem}", err=True)
            ctx.exit(problem.exit_code)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:  # `wfcelery runs list | head`
            sys.stderr.close()
            ctx.exit(0)
