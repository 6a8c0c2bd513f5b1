"""The verbs for the items of a fan-out: more of them, enough of them, the failed ones again."""

from __future__ import annotations

import json
from typing import Any

from tests.acceptance.eventually import eventually
from tests.cli.command_line import Cli, ended, start


def items(cli: Cli, run: str) -> list[str]:
    (view,) = cli.json("runs", "show", run)
    return [step["status"] for step in sorted(view["steps"], key=lambda step: step["item"] or 0) if step["item"] is not None]


def fan_out(cli: Cli, run: str) -> dict[str, Any]:
    (view,) = cli.json("runs", "show", run)
    return next(step for step in view["steps"] if step["item"] is None)


def test_items_are_added_to_a_fan_out_that_runs_until_somebody_ends_it(cli: Cli) -> None:
    run = start(cli, "many_naps", json.dumps({"seconds": [0, 60]}))
    eventually(lambda: items(cli, run) == ["succeeded", "running"], what="the second naps")
    assert fan_out(cli, run)["allowed_actions"] == ["add_items", "complete_items", "cancel_step"]

    assert cli.json("runs", "add-items", run[-8:], "nap", "[60, 60]") == [
        {"asked": "add_items", "run": run[-8:], "step": "nap", "items": 2}
    ]
    eventually(lambda: items(cli, run) == ["succeeded", "running", "held", "held"], what="they are added")
    assert "none of its items has failed" in cli("runs", "rerun-failed", run, "nap", code=4).stderr
    cli("runs", "complete-items", run, "nap", "--by", "ops")

    assert ended(cli, run)["status"] == "succeeded"
    assert items(cli, run) == ["succeeded", "cancelled", "skipped", "skipped"]
    for verb, more in (("add-items", ["[1]"]), ("complete-items", []), ("rerun-failed", [])):
        assert "step nap" in cli("runs", verb, run, "nap", *more, code=4).stderr
    assert fan_out(cli, run)["allowed_actions"] == []


def test_what_cannot_be_meant_is_told_with_its_exit_code(cli: Cli) -> None:
    run = start(cli, "greeting", json.dumps({"name": "Ada"}))
    ended(cli, run)
    assert "it is no JSON" in cli("runs", "add-items", run, "greet", "[1", code=2).stderr
    assert "items are a JSON list" in cli("runs", "add-items", run, "greet", "{}", code=2).stderr
    assert "it is no task with items" in cli("runs", "add-items", run, "greet", "[1]", code=4).stderr
    assert "there is no step gret; did you mean greet?" in cli("runs", "complete-items", run, "gret", code=3).stderr
    cli("runs", "complete-items", "no-such-run", "greet", code=3)
