"""`wfcelery runs move`, on a database that a `wfcelery dev` works on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.eventually import eventually
from tests.cli.command_line import FLOWS, Cli, ended
from wfcelery import NotAllowedNow, get_run

TEXT = """
name: {name}
version: "{version}"
tasks:
  - {{name: rest, type: sleep, duration: {rest}}}
  - {{name: say, action: tests.cli.flows.greet, after: [rest], input: {{name: {word}}}}}
{more}output: "{{{{ task.say.result }}}}"
"""


def published(cli: Cli, folder: Path, name: str, version: str, *, rest: str = "1h", word: str = "old", more: str = "") -> None:
    file = folder / f"{name}-{version}.yaml"
    file.write_text(TEXT.format(name=name, version=version, rest=rest, word=word, more=more))
    cli("definitions", "publish", str(file))


def waiting(cli: Cli, name: str) -> str:
    run = cli("runs", "start", name).stdout.strip()
    eventually(lambda: cli.json("runs", "show", run)[0]["status"] == "waiting", what="it waits")
    return run


@pytest.mark.promise("D24")
def test_a_run_is_moved_to_a_newer_version_after_a_look_at_what_that_does(cli: Cli, tmp_path: Path) -> None:
    published(cli, tmp_path, "one-moved", "1", rest="3s")
    run = waiting(cli, "one-moved")
    more = "  - {name: first, action: tests.cli.flows.greet, input: {name: x}}\n"
    published(cli, tmp_path, "one-moved", "2", word="new", more=more)
    (view,) = cli.json("runs", "move", run, "--to", "2", "--dry-run")
    assert (view["problems"], view["changes"]) == ([], ["first begins"])
    assert cli.json("runs", "show", run)[0]["version_label"] == "1"
    assert "move" in cli.json("runs", "show", run)[0]["allowed_actions"]
    assert "first begins" in cli("runs", "move", run, "--to", "2", "--by", "ada").stdout
    view = ended(cli, run)
    assert (view["status"], view["version_label"]) == ("succeeded", "2")
    assert {step["name"]: step["status"] for step in view["steps"]} == dict.fromkeys(("rest", "say", "first"), "succeeded")
    assert ("move", "ada", "one-moved@2") in [(deed["verb"], deed["actor"], deed["reason"]) for deed in view["audit"]]
    facts = [fact for commit in cli.json("runs", "show", run, "--history") for fact in commit["facts"]]
    assert [fact["by"] for fact in facts if fact["fact"] == "run_moved"] == ["ada"]
    cli("runs", "verify", run)
    assert get_run(run).result() == "hello new"
    cli("runs", "move", run, "--to", "1", code=1)


def test_what_forbids_a_move_is_told_at_once(cli: Cli, tmp_path: Path) -> None:
    published(cli, tmp_path, "not-moved", "1")
    run = waiting(cli, "not-moved")
    file = tmp_path / "other.yaml"
    file.write_text(
        "name: not-moved\nversion: '2'\nparameters: {who: {type: string, required: true}}\n"
        "tasks:\n  - {name: say, action: tests.cli.flows.greet, input: {name: x}}\n"
    )
    cli("definitions", "publish", "--draft", str(file))
    (view,) = cli.json("runs", "move", run, "--to", "not-moved@2", code=1)
    assert view["problems"] == [
        "parameter who is required, and the run was started without it",
        "task rest has begun, and the new version has no such task",
        "not-moved@2 is a draft",
    ]
    with pytest.raises(NotAllowedNow, match=r"who is required.*is a draft"):
        get_run(run).move("2")
    assert get_run(run).move("2", dry_run=True).problems
    cli("runs", "move", run, "--to", "3", code=3)
    cli("runs", "move", "--to", "2", code=2)
    cli("runs", "cancel", run)


def test_all_runs_of_a_version_are_moved_together(cli: Cli, tmp_path: Path) -> None:
    published(cli, tmp_path, "all-moved", "1")
    runs = [waiting(cli, "all-moved") for _ in range(3)]
    published(cli, tmp_path, "all-moved", "2", word="new")
    assert len(cli.json("runs", "move", "--all", "all-moved@1", "--to", "latest", "--dry-run")) == 3
    assert {view["run"] for view in cli.json("-A", FLOWS, "runs", "move", "--all", "all-moved@1", "--to", "latest")} == set(runs)
    eventually(lambda: cli.json("runs", "move", "--all", "all-moved@1", "--to", "2") == [], what="none is left")
    for run in runs:
        assert cli.json("runs", "show", run)[0]["version_label"] == "2"
        get_run(run).terminate()
