"""The verbs for what comes from outside: sent, listed, and let count once more."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

from tests.acceptance.eventually import eventually
from tests.cli.command_line import Cli, ended, start

WAITS = """
name: waits_for_news
tasks:
  - {name: news, type: wait, event: cli.news, key: "{{ system.key }}", roles: [editor], timeout: 1h}
  - {name: rest, type: sleep, duration: 0s, after: news}
output: "{{ [task.news.result, task.rest.status] }}"
"""


def test_an_event_is_sent_refused_listed_and_let_count_once_more(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "waits.yaml"
    file.write_text(WAITS)
    cli("definitions", "publish", str(file))
    run = start(cli, "waits_for_news", "{}", "--key", "cli-1")
    eventually(lambda: cli.json("runs", "show", run)[0]["status"] == "waiting")
    assert "send_event" in cli.json("runs", "show", run)[0]["allowed_actions"]

    (sent,) = cli.json("runs", "send-event", "cli.news", '{"a": 1}', "--run", run[-8:], "--role", "reader", "--by", "ann")
    refused = eventually(lambda: cli.json("runs", "events", "--name", "cli.news", "--status", "refused"))
    assert [(each["id"], each["actor"], each["why"]) for each in refused] == [
        (sent["id"], "ann", "it takes the role of editor, not reader")
    ]
    cli("runs", "requeue-event", sent["id"], "--by", "bob")
    eventually(lambda: cli.json("runs", "events", "--name", "cli.news", "--status", "refused"), what="it is refused once more")

    good = cli("runs", "send-event", "cli.news", '{"a": 2}', "--key", "cli-1", "--role", "editor", "--dedup", "once").stdout.strip()
    assert cli("runs", "send-event", "cli.news", "{}", "--key", "cli-1", "--dedup", "once").stdout.strip() == good
    assert ended(cli, run)["status"] == "succeeded"
    assert [each["status"] for each in cli.json("runs", "events", "--name", "cli.news", "--status", "consumed")] == ["consumed"]


def test_what_cannot_be_meant_is_told_with_its_exit_code(cli: Cli) -> None:
    assert "it is no JSON" in cli("runs", "send-event", "x", "{", code=2).stderr
    assert "everyone" in cli("runs", "send-event", "x", "--run", "nobody", "--everyone", code=1).stderr
    assert "nobody" in cli("runs", "send-event", "x", "--run", "nobody", code=3).stderr
    assert "event" in cli("runs", "requeue-event", str(uuid4()), code=3).stderr
    run = start(cli, "greeting", json.dumps({"name": "Ada"}))
    ended(cli, run)
    assert "no event moves it any more" in cli("runs", "send-event", "x", "--run", run, code=4).stderr
