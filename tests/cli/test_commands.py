"""What the command line says without anybody working on the database: help, exit codes, files, and what a doctor finds."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.cli.command_line import FLOWS, ROOT, Cli, environment
from wfcelery.clock import uuid7
from wfcelery.store import leases, migrations
from wfcelery.store.database import Database

DEFINITION = """
name: elsewhere
version: "1"
tasks:
  - {name: one, action: tests.cli.flows.greet, queue: far, input: {name: you}}
"""


def run(*arguments: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment(**more), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done


def test_help_loads_neither_celery_nor_sqlalchemy() -> None:
    script = "import sys; from click.testing import CliRunner; from wfcelery.cli import group; "
    script += "print(CliRunner().invoke(group, ['--help']).output); print({'celery', 'sqlalchemy', 'pydantic'} & sys.modules.keys())"
    said = run("-c", script).stdout
    assert "doctor" in said
    assert said.splitlines()[-1] == "set()"


def test_every_verb_has_help(empty: Cli) -> None:
    for verb in ("db", "dead", "definitions", "demo", "dev", "doctor", "runs", "schedules", "worker", "workers"):
        assert "Usage: wfcelery" in empty(verb, "--help").stdout


def test_exit_codes_tell_what_kind_of_trouble_it_is(empty: Cli, tmp_path: Path) -> None:
    assert empty("runs", "show", "no-such-run", code=3).stderr == "wfcelery: there is no run no-such-run\n"
    empty("runs", "start", "no-such-workflow", code=3)
    empty("runs", "start", "x", "not json", code=2)
    empty("runs", "verify", code=2)
    assert "name" in empty("-A", FLOWS, "runs", "start", "greeting", "{}", code=1).stderr
    away = Cli(f"sqlite:///{tmp_path / 'nowhere' / 'x.db'}")
    assert away("runs", "list", code=69).stderr.startswith("wfcelery: the database cannot be reached")
    missing = Cli(f"sqlite:///{tmp_path / 'new.db'}")
    newest = migrations.wanted()
    assert missing.json("db", "check", code=1) == [{"found": None, "wanted": newest}]
    assert missing.json("db", "upgrade") == [{"before": None, "after": newest}]
    assert missing.json("db", "check") == [{"found": newest, "wanted": newest}]


def test_definitions_are_checked_published_listed_and_shown(empty: Cli, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.yaml", tmp_path / "good.yaml"
    bad.write_text(DEFINITION.replace("queue: far", "needs: [two]"))
    good.write_text(DEFINITION)
    (found,) = empty.json("definitions", "check", str(bad), str(good), code=1)
    assert any("two" in problem for problem in found["problems"])
    empty("definitions", "publish", str(bad), str(good), code=1)
    assert empty.json("definitions", "list") == []
    (published,) = empty.json("definitions", "publish", str(good))
    assert (published["name"], published["new"]) == ("elsewhere", True)
    assert empty.json("definitions", "publish", str(good))[0]["new"] is False
    assert empty.json("definitions", "show", "elsewhere")[0]["tasks"][0]["queue"] == "far"
    empty("definitions", "show", "elsewhat", code=3)
    assert empty("-A", FLOWS, "definitions", "check").stderr == "no problems\n"


@pytest.mark.promise("A12", "B3")
def test_doctor_names_a_missing_sweep_a_queue_nobody_serves_and_a_step_nobody_knows(empty: Cli, tmp_path: Path) -> None:
    errors = {finding["what"] for finding in empty.json("doctor", code=1) if finding["level"] == "error"}
    assert errors == {"nobody has ever swept this database", "no worker is alive"}
    (tmp_path / "flow.yaml").write_text(DEFINITION)
    empty("definitions", "publish", str(tmp_path / "flow.yaml"))
    database = Database(empty.url)
    with database.transaction() as tx:
        leases.stamp(tx, 30)
        leases.register(tx, leases.WorkerRow(uuid7(), "near@host", "host", "1:1", ["celery"], [], "1"), 30)
    errors = {finding["what"] for finding in empty.json("doctor", code=1) if finding["level"] == "error"}
    assert errors == {"no worker serves queue far, named by one of elsewhere"}
    with database.transaction() as tx:
        leases.register(tx, leases.WorkerRow(uuid7(), "far@host", "host", "1:2", ["far"], [], "1"), 30)
    errors = {finding["what"] for finding in empty.json("doctor", code=1) if finding["level"] == "error"}
    assert errors == {"far@host lacks tests.cli.flows.greet, used by one of elsewhere"}
    with database.transaction() as tx:
        tx.execute(leases._FORGET, {"past": 60.0})
        leases.register(tx, leases.WorkerRow(uuid7(), "able@host", "host", "1:3", ["far"], ["tests.cli.flows.greet"], "1"), 30)
    assert {finding["level"] for finding in empty.json("doctor")} == {"ok"}
    database.close()


def test_celery_has_the_same_group(empty: Cli) -> None:
    (named,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["celery.commands"].items()
    assert named == ("workflow", "wfcelery.cli.celery_command:workflow")
    there = {"WFCELERY_DATABASE_URL": empty.url, "BROKER_URL": "redis://127.0.0.1:1/0"}
    # As the entry point does where the package is installed.
    script = (
        "from celery.bin.celery import celery; from wfcelery.cli.celery_command import workflow; celery.add_command(workflow); celery()"
    )
    said = run("-c", script, "-A", "tasks.app", "workflow", "runs", "list", **there)
    assert said.stdout.startswith("id\tworkflow\tstatus")
    assert "no-such" in run("-c", script, "-A", "tasks.app", "workflow", "runs", "show", "no-such-run", code=3, **there).stderr


def test_doctor_with_the_app_says_that_its_broker_is_away_and_what_adoption_ignores(empty: Cli) -> None:
    there = {"WFCELERY_DATABASE_URL": empty.url, "BROKER_URL": "redis://127.0.0.1:1/0"}
    said = run("-m", "wfcelery.cli", "doctor", "-A", "tasks.app", code=1, **there).stdout
    assert "the broker cannot be reached" in said
    assert (
        "tasks.orders.notify: everything it declares has its effect"
        in run("-m", "wfcelery.cli", "-A", "tasks.app", "doctor", "--adopt", **there).stdout
    )
