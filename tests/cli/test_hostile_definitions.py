"""Definitions that would cost without end are refused within a second: at once, or by the run that comes to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.command_line import Cli
from tests.engine.family import Family
from tests.store.rows import look
from wfcelery.cli import group
from wfcelery.store.database import Database


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < seconds


def test_workflows_that_call_each_other_in_a_circle_end_at_the_depth_that_runs_may_have(database: Database) -> None:
    ring = (("ping", "pong"), ("pong", "ping"))
    texts = [f"name: {one}\ntasks:\n  - {{name: go, type: workflow, workflow: {other}}}\n" for one, other in ring]
    machine = Family(database, "name: top\ntasks:\n  - {name: go, type: workflow, workflow: ping}\n", *texts)
    with within(1.0):
        machine.end_all()
    assert {status for _, status, _ in machine.runs()} == {"failed"}
    assert len(machine.runs()) <= 20
    [(error,)] = look(database, "select error from wf_run where parent is null")
    assert "too_deep" in error
    assert machine.all_problems() == []


@pytest.mark.parametrize(
    "bomb",
    [
        "{{ 'x' * 1000000000 }}",
        "{{ range(1000000000) | list | length }}",
        "{{ [1] * 100000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}",
    ],
    ids=["a text", "a range", "a list", "a number", "parentheses"],
)
def test_a_template_bomb_costs_neither_whoever_publishes_it_nor_a_worker_more_than_a_second(
    empty: Cli, sqlite: Database, tmp_path: Path, bomb: str
) -> None:
    file = tmp_path / "bomb.yaml"
    text = f'name: bomb\ntasks:\n  - {{name: a, action: x, input: {{n: "{bomb}"}}}}\n'
    file.write_text(text)
    with within(1.0):
        refused = empty.runner.invoke(group, ["--database", empty.url, "definitions", "publish", str(file)]).exit_code == 1
    assert len(empty.json("definitions", "list")) == (not refused)
    if not refused:
        machine = Family(sqlite, text)
        with within(1.0):
            machine.end_all()
        assert machine.status() in ("failed", "succeeded"), "a number may be as large as a float can be"


def test_ten_megabytes_of_yaml_are_refused_before_they_are_read(empty: Cli, tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_text("name: large\ntasks:\n" + "  - {name: a, action: x}\n" * 420_000)
    assert file.stat().st_size > 10_000_000
    with within(1.0):
        empty("definitions", "publish", str(file), code=1)
    assert empty.json("definitions", "list") == []
