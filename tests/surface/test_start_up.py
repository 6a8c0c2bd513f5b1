"""What starting costs: processes of their own, judged by the CPU time of the best of several, so that a busy machine changes nothing."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import wfcelery

ROOT = Path(__file__).resolve().parents[2]
TRIES = 9
IMPORT_MS = 50  # the deadlines that we promise
COMMAND_MS = 300
HEAVY = ("celery", "kombu", "sqlalchemy", "alembic", "psycopg")
WFCELERY = "import sys; sys.argv[0] = 'wfcelery'; from wfcelery.cli import main; main()"


def _python(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A new interpreter, which keeps its compiled modules as an installed package does."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", source, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def _loaded(source: str, among: Iterable[str] = HEAVY) -> list[str]:
    """Which of these a new interpreter has loaded after this code."""
    told = _python(f"{source}\nimport json, sys\nprint(json.dumps([name for name in {tuple(among)!r} if name in sys.modules]))")
    found: list[str] = json.loads(told.stdout.splitlines()[-1])
    return found


def _cpu_ms_of(source: str, *arguments: str) -> float:
    """The CPU time, user and system, of a whole process: the least of several."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        _python(source, *arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000

    return min(once() for _ in range(TRIES))


def _import_ms(statement: str) -> float:
    """The CPU time of one import, the interpreter's own start left out: the least of several."""
    source = f"import time\nbefore = time.process_time()\n{statement}\nprint((time.process_time() - before) * 1000)"
    return min(float(_python(source).stdout) for _ in range(TRIES))


def test_importing_wfcelery_loads_none_of_the_large_packages_below_it() -> None:
    assert _loaded("import wfcelery") == []


def test_importing_wfcelery_takes_50_ms_at_most() -> None:
    took = _import_ms("import wfcelery")

    print(f"import wfcelery: {took:.1f} ms of CPU, {IMPORT_MS} at most")
    assert took <= IMPORT_MS


def test_a_module_of_steps_and_workflows_is_written_without_celery_and_without_the_store() -> None:
    module = """
from wfcelery import Retry, step, workflow

@step(retry=Retry(count=3))
def charge(amount: int) -> int:
    return amount

@workflow
def order(amount: int) -> int:
    return charge(charge(amount))

assert order.bind(amount=1).definition.tasks
"""
    assert _loaded(module) == []
    print(f"from wfcelery import step, workflow: {_import_ms('from wfcelery import step, workflow'):.0f} ms of CPU, most of it pydantic's")


def test_every_public_name_is_there_to_be_seen_and_comes_with_its_import() -> None:
    assert set(wfcelery.__all__) <= set(dir(wfcelery))
    assert sorted(wfcelery.__all__) == wfcelery.__all__
    _python(f"from wfcelery import {', '.join(wfcelery.__all__)}\nfrom wfcelery import *")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        wfcelery.nothing  # noqa: B018


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("runs", "--help"), ("worker", "--help")], ids=" ".join)
def test_the_command_starts_in_300_ms(words: tuple[str, ...]) -> None:
    took = _cpu_ms_of(WFCELERY, *words)

    print(f"wfcelery {' '.join(words)}: {took:.0f} ms of CPU, {COMMAND_MS} at most")
    assert took <= COMMAND_MS


def test_the_help_of_every_verb_loads_nothing_that_only_the_verb_needs() -> None:
    every = """
import click
from wfcelery.cli import group

def ask(command, words):
    command.main([*words, "--help"], prog_name="wfcelery", standalone_mode=False) if not words else None
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            found.main(["--help"], prog_name=name, standalone_mode=False)
            ask(found, [*words, name])

ask(group, [])
"""
    assert _loaded(every, (*HEAVY, "pydantic", "rich")) == []


def test_looking_at_runs_loads_neither_celery_nor_what_makes_the_tables(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'workflows.db'}"
    _python(WFCELERY, "--database", address, "db", "upgrade")
    look = f"from wfcelery.cli import group; group.main(['--database', {address!r}, 'runs', 'list'], standalone_mode=False)"

    assert _loaded(look, ("celery", "kombu", "alembic", "mako", "sqlalchemy.orm", "rich")) == []
