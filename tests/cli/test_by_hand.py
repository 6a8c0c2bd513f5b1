"""Runs that failed, and what people do about them: retry, skip, complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.acceptance.eventually import eventually
from tests.cli.command_line import FLOWS, Cli, ended, start
from wfcelery import get_run


def _failed(cli: Cli, flag: Path) -> str:
    run = start(cli, "healing", json.dumps({"flag": str(flag)}))
    view = ended(cli, run)
    assert (view["status"], view["allowed_actions"]) == ("failed", ["retry", "rerun", "replay"])
    assert view["steps"][0]["allowed_actions"] == ["skip", "complete"]
    return run


def _succeeded(cli: Cli, run: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        (view,) = cli.json("runs", "show", run)
        return view if view["status"] == "succeeded" else None

    return eventually(look, what=f"{run} succeeds")


def test_a_failed_run_is_retried_in_place(cli: Cli, tmp_path: Path) -> None:
    run = _failed(cli, tmp_path / "flag")
    (cause,) = cli.json("runs", "why", run)
    assert (cause["kind"], cause["step"], cause["remedy"]) == ("dead_letter", "healed", f"wfcelery runs retry {run}")
    assert cli.lines("runs", "why", run[-8:])[0] == f"healing {run} is failed"
    cli("runs", "why", "nobody", code=3)
    (tmp_path / "flag").touch()
    assert cli.json("runs", "retry", run, "--by", "ada") == [{"id": run, "asked": "retry", "reason": None}]
    view = _succeeded(cli, run)
    assert [(deed["verb"], deed["actor"]) for deed in view["audit"]] == [("retry", "ada")]
    assert "succeeded" in cli("runs", "retry", run, code=4).stderr


def test_a_run_is_run_again_from_a_step_or_from_its_beginning_with_another_input(cli: Cli) -> None:
    old = start(cli, "greeting", '{"name": "Ada"}', "--tag", "vip")
    ended(cli, old)
    (new,) = cli.json("runs", "rerun", old, "--from", "shout", "--by", "ada")
    assert new["of"] == old
    view = ended(cli, new["id"])
    assert (view["status"], view["tags"]) == ("succeeded", ["vip", f"rerun_of:{old}"])
    assert {step["name"]: len(step["attempts"]) for step in view["steps"]} == {"greet": 0, "shout": 1}
    (again,) = cli.lines("-A", FLOWS, "runs", "replay", old, "--set", "name=Bo", "--key", "bo")
    ended(cli, again)
    assert get_run("bo").result() == "HELLO BO"
    assert "greet" in cli("runs", "rerun", old, "--from", "gret", code=3).stderr
    cli("runs", "replay", old, "--set", "name", code=2)
    assert "nmae" in cli("runs", "replay", old, "--edit", '[{"op": "add", "path": "/nmae", "value": "Cy"}]', code=1).stderr
    assert {deed["verb"] for deed in ended(cli, old)["audit"]} == {"rerun", "replay"}


def test_failed_runs_are_retried_by_a_query_which_first_says_what_it_comes_to(cli: Cli, tmp_path: Path) -> None:
    runs = {_failed(cli, tmp_path / "flag") for _ in range(3)}
    (tmp_path / "flag").touch()
    where = "status=failed workflow=healing error.type=GiveUp created<1h"
    assert {run["id"] for run in cli.json("runs", "list", "--where", where)} >= runs
    (dry,) = cli.json("runs", "retry", "--where", where)
    assert (dry["asked"], dry["able"] >= 3) == (None, True)
    assert "--yes" in cli("runs", "retry", "--where", where).stderr
    for wrong in (("runs", "retry"), ("runs", "retry", "a", "--where", where), ("runs", "retry", "a", "--yes"), ("dead", "retry", "--yes")):
        cli(*wrong, code=2)
    assert "did you mean" in cli("runs", "retry", "--where", "stauts=failed", code=1).stderr
    (done,) = cli.json("runs", "retry", "--where", where, "--yes")
    assert done["asked"] == dry["able"]
    for run in runs:
        _succeeded(cli, run)
    assert cli.json("dead", "retry", "--where", "workflow=healing status=open")[0]["able"] == 0


def test_a_failed_step_is_skipped_or_completed_with_what_its_annotation_promises(cli: Cli, tmp_path: Path) -> None:
    run = _failed(cli, tmp_path / "flag")
    assert "did you mean" in cli("runs", "skip", run, "heeled", code=3).stderr.lower()
    assert "result" in cli("-A", FLOWS, "runs", "complete", run, "healed", "--result", "5", code=1).stderr
    assert "JSON" in cli("runs", "complete", run, "healed", "--result", "{", code=2).stderr
    asked = cli.json("-A", FLOWS, "runs", "complete", run, "healed", "--result", '"by hand"', "--reason", "mended", "--by", "ada")
    assert asked == [{"id": run, "step": "healed", "asked": "complete"}]
    _succeeded(cli, run)
    assert get_run(run).result() == "by hand"
    assert [(deed["verb"], deed["reason"]) for deed in ended(cli, run)["audit"]] == [("complete", "mended")]
    assert "succeeded" in cli("runs", "skip", run, "healed", code=4).stderr
    skipped = get_run(_failed(cli, tmp_path / "flag"))
    skipped.skip("healed", "no need", by="ada")
    _succeeded(cli, skipped.id)
    assert skipped.result() is None
